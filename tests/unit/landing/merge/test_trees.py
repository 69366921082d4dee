"""The tree merge: what one side changed is taken, what both changed is decided by the policy, nothing in silence."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import ObjectID

from gitref_lock.core.names import Oid
from gitref_lock.landing.merge.objects import MissingObjectError
from gitref_lock.landing.merge.policy import Policy, PolicyError, parse_rules
from gitref_lock.landing.merge.results import TreeMerge
from gitref_lock.landing.merge.trees import merge_trees
from gitref_lock.landing.strategies.base import Merged, RunRequest, StrategyFailed
from tests.unit.landing.merge.memory import (
    EXECUTABLE,
    SUBMODULE,
    SYMLINK,
    Files,
    Merging,
    read_tree,
    write_tree,
)

_TEN = b"".join(b"line %d\n" % number for number in range(10))
_FIRST = _TEN.replace(b"line 0\n", b"first\n")
_LAST = _TEN.replace(b"line 9\n", b"last\n")


def test_changes_of_different_files_are_both_taken() -> None:
    """Files that one side changed need no strategy and no report."""
    merging = Merging(
        {"a": b"1", "d/b": b"1", "d/c": b"1"},
        {"a": b"2", "d/b": b"1", "d/c": b"1", "new": b"n"},
        {"a": b"1", "d/b": b"2", "e": b"e"},
        "**=fail",
    )

    assert merging.files == {"a": b"2", "d/b": b"2", "e": b"e", "new": b"n"}
    assert merging.result.resolutions == ()


def test_a_clean_text_merge_is_not_reported() -> None:
    """Edits of different lines are git's everyday merge."""
    merging = Merging({"f": _TEN}, {"f": _FIRST}, {"f": _LAST})

    assert merging.files == {"f": _FIRST.replace(b"line 9\n", b"last\n")}
    assert merging.result.resolutions == ()


@pytest.mark.parametrize(("side", "kept"), [("ours", b"A"), ("theirs", b"B")])
def test_a_side_wins_the_whole_file_and_is_reported(side: str, kept: bytes) -> None:
    """A resolution names the path, the strategy, and the objects of both sides and of the result."""
    merging = Merging({"f": b"1"}, {"f": b"A"}, {"f": b"B"}, f"f={side}")

    assert merging.files == {"f": kept}
    (resolution,) = merging.result.resolutions
    assert (resolution.path, resolution.strategy) == (b"f", side)
    contents = [
        None if oid is None else merging.store[ObjectID(oid.encode())].as_raw_string()
        for oid in (resolution.ours, resolution.theirs, resolution.result)
    ]
    assert contents == [b"A", b"B", kept]


@pytest.mark.parametrize(
    ("path", "kept", "strategy"), [("data/x", b"A", "ours"), ("src/x", b"B", "theirs"), ("data", b"B", "theirs")]
)
def test_built_in_policy_on_a_true_conflict(path: str, kept: bytes, strategy: str) -> None:
    """Without rules our data wins and the remote's other files stay."""
    merging = Merging({path: b"1"}, {path: b"A"}, {path: b"B"})

    assert merging.files == {path: kept}
    assert merging.resolved == {path: strategy}


def test_a_conflict_has_no_tree_and_leaves_no_objects() -> None:
    """One conflict refuses the whole merge: nothing is stored, and every conflict is named."""
    merging = Merging(
        {"f": b"1", "g": _TEN, "h": b"1"},
        {"f": b"A", "g": _FIRST, "h": b"A"},
        {"f": b"B", "g": _LAST, "h": b"B"},
        "**=text",
    )

    assert merging.result.tree is None
    assert merging.conflicts == {
        "f": "text: both sides changed the same lines",
        "h": "text: both sides changed the same lines",
    }
    assert merging.added == []


STRUCTURE: list[tuple[str, Files, Files, Files, str]] = [
    ("delete against modify", {"f": b"1", "r": b""}, {"r": b""}, {"f": b"2", "r": b""}, "f"),
    ("modify against delete", {"f": b"1", "r": b""}, {"f": b"2", "r": b""}, {"r": b""}, "f"),
    ("mode against delete", {"f": b"1", "r": b""}, {"f": (EXECUTABLE, b"1"), "r": b""}, {"r": b""}, "f"),
    ("added with two modes", {}, {"f": b"1"}, {"f": (EXECUTABLE, b"1")}, "f"),
    ("file against symlink", {"f": b"1"}, {"f": b"2"}, {"f": (SYMLINK, b"x")}, "f"),
    ("two symlinks", {"f": (SYMLINK, b"x")}, {"f": (SYMLINK, b"y")}, {"f": (SYMLINK, b"z")}, "f"),
    ("submodules", {"s": (SUBMODULE, b"1" * 40)}, {"s": (SUBMODULE, b"2" * 40)}, {"s": (SUBMODULE, b"3" * 40)}, "s"),
    ("file against folder", {}, {"f": b"1"}, {"f/x": b"2", "f/y": b"3"}, "f"),
    ("folder against file", {}, {"f/x": b"2", "f/y": b"3"}, {"f": b"1"}, "f"),
    ("edited file against folder", {"f": b"1"}, {"f": b"2"}, {"f/x": b"new"}, "f"),
    ("rename against delete", {"a": _TEN, "r": b""}, {"b": _TEN, "r": b""}, {"r": b""}, "b"),
    ("rename against another kind", {"a": _TEN}, {"b": _TEN}, {"a": (SYMLINK, b"x")}, "b"),
    ("rename onto an added file", {"a": _TEN}, {"b": _TEN}, {"a": _LAST, "b": b"new"}, "b"),
    ("two renames of one file", {"a": _TEN}, {"b": _FIRST}, {"c": _LAST}, "b"),
]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "path"), [row[1:] for row in STRUCTURE], ids=[row[0] for row in STRUCTURE]
)
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_wins_clashes_of_structure(side: str, base: Files, ours: Files, theirs: Files, path: str) -> None:
    """A rule for a side decides what has no lines to merge too; the result is that side's, and it is reported."""
    merging = Merging(base, ours, theirs, f"**={side}")

    wanted = ours if side == "ours" else theirs
    assert merging.files == dict(wanted)
    assert merging.resolved[path] == side


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "path"), [row[1:] for row in STRUCTURE], ids=[row[0] for row in STRUCTURE]
)
@pytest.mark.parametrize("spec", ["text", "fail", "union", "json"])
def test_clashes_of_structure_conflict_without_a_side(
    spec: str, base: Files, ours: Files, theirs: Files, path: str
) -> None:
    """A strategy for contents does not decide about structure."""
    merging = Merging(base, ours, theirs, f"**={spec}")

    assert merging.result.tree is None
    assert path in merging.conflicts


MOVED_INTO_A_CLASH: list[tuple[str, Files, Files, str, bool]] = [
    ("ours moved, the other file wins", {"d/f": _TEN, "r": b""}, {"f": _TEN, "d": b"x", "r": b""}, "theirs", True),
    ("theirs moved, our file wins", {"f": _TEN, "d": b"x", "r": b""}, {"d/f": _TEN, "r": b""}, "ours", True),
    ("theirs moved and wins, we edited", {"f": _LAST, "d": b"x"}, {"d/f": _TEN}, "theirs", True),
    ("ours moved and wins, they edited", {"d/f": _TEN}, {"f": _LAST, "d": b"x"}, "ours", True),
    ("ours moved and edited, the other file wins", {"d/f": _LAST}, {"f": _TEN, "d": b"x"}, "theirs", True),
    ("theirs moved and wins, we did not edit", {"f": _TEN, "d": b"x"}, {"d/f": _TEN}, "theirs", False),
    ("ours moved and wins, they did not edit", {"d/f": _TEN}, {"f": _TEN, "d": b"x"}, "ours", False),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "side", "is_conflict"),
    [row[1:] for row in MOVED_INTO_A_CLASH],
    ids=[row[0] for row in MOVED_INTO_A_CLASH],
)
def test_a_file_moved_into_a_clash_is_never_lost(ours: Files, theirs: Files, side: str, is_conflict: bool) -> None:
    """Where a file and a folder share a name, no rule makes a file vanish, or its edits, that nobody deleted."""
    merging = Merging({"f": _TEN, "r": b""} if "r" in ours else {"f": _TEN}, ours, theirs, f"**={side}")
    if is_conflict:
        assert merging.result.tree is None
        assert "a file was moved there" in merging.conflicts["d"]
    else:
        assert merging.files == dict(ours if side == "ours" else theirs)


def test_a_report_says_what_the_tree_holds() -> None:
    """A file that was decided, and then lost its place to a file in its folder's stead, is reported as absent."""
    merging = Merging({"d/f": b"1"}, {"d/f": b"2"}, {"d": b"x"}, "d/f=ours", "d=theirs")
    assert merging.files == {"d": b"x"}
    assert {item.path: item.result is None for item in merging.result.resolutions} == {b"d": False, b"d/f": True}


def test_thousands_of_equal_files_are_paired_in_no_time() -> None:
    """Equal contents are paired with work in proportion to their number."""
    count = 20_000
    base: Files = {f"a/{number}": b"same" for number in range(count)}
    ours: Files = {f"b/{number}": b"same" for number in range(count)}
    began = time.process_time()
    merging = Merging(base, ours, {**base, "a/0": b"edited"})
    assert time.process_time() - began < 20
    assert len(merging.files) == count


def test_an_edit_follows_a_rename() -> None:
    """A file that one side renamed and the other edited has the new name and the edit."""
    merging = Merging({"a": _TEN, "r": b"r"}, {"d/b": _FIRST, "r": b"r"}, {"a": _LAST, "r": b"r"}, "**=text")

    assert merging.files == {"d/b": _FIRST.replace(b"line 9\n", b"last\n"), "r": b"r"}


def test_a_conflict_in_a_renamed_file_is_decided_under_its_new_name() -> None:
    """Rules see the name that the file will have."""
    merging = Merging({"a": _TEN}, {"b": _TEN.replace(b"line 9", b"other")}, {"a": _LAST}, "b=ours", "**=fail")

    assert merging.files == {"b": _TEN.replace(b"line 9", b"other")}
    assert merging.resolved == {"b": "ours"}


@pytest.mark.parametrize("are_ours_moved", [True, False])
def test_a_file_added_to_a_moved_folder(are_ours_moved: bool) -> None:
    """Git stops there; a strict rule does too, and any other policy keeps the file where it was added, and says so."""
    base = {"d/a": _TEN, "d/b": b"b\n" * 9}
    moved, grown = {"e/a": _TEN, "e/b": b"b\n" * 9}, base | {"d/new": b"new"}
    ours, theirs = (moved, grown) if are_ours_moved else (grown, moved)

    assert list(Merging(base, ours, theirs, "**=text").conflicts) == ["d/new"]
    lenient = Merging(base, ours, theirs)
    assert lenient.files == moved | {"d/new": b"new"}
    assert lenient.resolved == {"d/new": "theirs" if are_ours_moved else "ours"}


def test_mode_and_content_merge_apart() -> None:
    """One side's mode and the other side's content are both kept."""
    merging = Merging({"f": b"1"}, {"f": (EXECUTABLE, b"1")}, {"f": b"2"}, "**=fail")

    assert merging.files == {"f": (EXECUTABLE, b"2")}


def test_an_emptied_folder_vanishes() -> None:
    """When each side deletes half of a folder no empty tree stays behind."""
    merging = Merging(
        {"d/a": b"1", "d/b": b"22", "r": b""}, {"d/a": b"1", "r": b""}, {"d/b": b"22", "r": b""}, "**=fail"
    )

    assert merging.files == {"r": b""}
    root = merging.store[ObjectID((merging.result.tree or "").encode())]
    assert b"d" not in root.as_raw_string().split(b"\0")[0]


def test_everything_deleted_is_the_empty_tree() -> None:
    """A merge may leave nothing."""
    merging = Merging({"a": b"1", "b": b"22"}, {"a": b"1"}, {"b": b"22"}, "**=fail")

    assert merging.files == {}


def test_no_base_is_the_empty_tree() -> None:
    """Two trees without a common past merge when they do not collide."""
    merging = Merging(None, {"a": b"1", "c": b"3"}, {"b": b"2", "c": b"3"}, "**=fail")

    assert merging.files == {"a": b"1", "b": b"2", "c": b"3"}


@pytest.mark.parametrize("unchanged", ["ours", "theirs", "both alike"])
def test_one_changed_side_is_the_result(unchanged: str) -> None:
    """Where one side is the base, or both are alike, no object is read, let alone written."""
    store = MemoryObjectStore()
    base, changed = Oid("1" * 40), Oid("2" * 40)
    ours = base if unchanged == "ours" else changed
    theirs = base if unchanged == "theirs" else changed

    assert merge_trees(store, base, ours, theirs, Policy(), store.add_object) == TreeMerge(changed)


def test_only_new_objects_are_added_and_equal_folders_stay_unread() -> None:
    """The merge reads what changed and writes what is new: one blob and the trees above it."""
    merging = Merging(
        {"d/f": _TEN, "big/x": b"x", "e": b"e"},
        {"d/f": _FIRST, "big/x": b"x", "e": b"e"},
        {"d/f": _LAST, "big/x": b"x", "e": b"e"},
    )

    assert sorted(thing.type_name for thing in merging.added) == [b"blob", b"tree", b"tree"]
    assert merging.added[-1].id.decode() == merging.result.tree


def test_group_writable_modes_of_old_trees_are_read_as_git_reads_them() -> None:
    """A mode that git made long ago is not a change."""
    merging = Merging({"f": (0o100664, b"1")}, {"f": b"1", "g": b"g"}, {"f": (0o100664, b"2")}, "**=fail")

    assert merging.files == {"f": b"2", "g": b"g"}


def test_a_strategy_reports_only_what_lines_could_not_do() -> None:
    """An explicit json rule over edits that lines merge cleanly as well reports nothing."""
    base = b'{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}\n'
    apart = Merging(
        {"f.json": base}, {"f.json": base.replace(b"1", b"9")}, {"f.json": base.replace(b"3", b"8")}, "*.json=json"
    )
    touching = Merging({"f.json": base}, {"f.json": base.replace(b"1", b"9")}, {"f.json": base.replace(b"2", b"8")})

    assert apart.files == {"f.json": b'{\n  "a": 9,\n  "b": 2,\n  "c": 8\n}\n'}
    assert apart.result.resolutions == ()
    assert touching.files == {"f.json": b'{\n  "a": 9,\n  "b": 8,\n  "c": 3\n}\n'}
    assert touching.resolved == {"f.json": "json"}


def test_a_key_that_both_sides_set_is_named() -> None:
    """The report of a json merge holds the pointers of what one side lost."""
    merging = Merging({"f.json": b'{"a": {"b": 1}}'}, {"f.json": b'{"a": {"b": 2}}'}, {"f.json": b'{"a": {"b": 3}}'})

    assert merging.files == {"f.json": b'{"a": {"b": 2}}'}
    assert merging.result.resolutions[0].detail == ("/a/b",)


def test_invalid_json_is_merged_as_text_or_conflicts() -> None:
    """A file that only looks like JSON is never damaged."""
    clean = Merging({"f.json": _TEN}, {"f.json": _FIRST}, {"f.json": _LAST})
    clash = Merging({"f.json": b"1x\n"}, {"f.json": b"2x\n"}, {"f.json": b"3x\n"})

    assert clean.files == {"f.json": _FIRST.replace(b"line 9\n", b"last\n")}
    assert clash.conflicts == {
        "f.json": "json: not valid JSON at line 1; text: both sides changed the same lines",
    }


def test_regeneration_sees_everything_else_merged() -> None:
    """The command runs once the tree is known, holds the remote's version till then, and makes the file."""
    seen: list[tuple[RunRequest, dict[str, bytes | tuple[int, bytes]]]] = []
    store = MemoryObjectStore()

    def run(request: RunRequest) -> Merged | StrategyFailed:
        seen.append((request, read_tree(store, Oid(request.tree or ""))))
        return Merged(b"made")

    base = write_tree(store, {"x.lock": b"1", "f": _TEN})
    ours = write_tree(store, {"x.lock": b"2", "f": _FIRST})
    theirs = write_tree(store, {"x.lock": b"3", "f": _LAST})
    policy = Policy(parse_rules(["*.lock=regenerate:make lock"]), runner=run)
    result = merge_trees(store, base, ours, theirs, policy, store.add_object)

    merged = _FIRST.replace(b"line 9\n", b"last\n")
    assert read_tree(store, result.tree) == {"x.lock": b"made", "f": merged}
    ((request, tree),) = seen
    assert (request.kind, request.command, request.path) == ("regenerate", "make lock", b"x.lock")
    assert tree == {"x.lock": b"3", "f": merged}
    assert [(item.path, item.strategy) for item in result.resolutions] == [(b"x.lock", "regenerate")]


def test_a_failed_command_is_a_conflict() -> None:
    """Without a runner, or when the command fails, there is no tree."""
    merging = Merging({"f": b"1"}, {"f": b"2"}, {"f": b"3"}, "f=regenerate:make f")

    assert merging.conflicts == {"f": "regenerate: no command can be run here, so 'make f' was not"}


def test_a_merge_driver_is_asked_through_the_runner() -> None:
    """The attribute of a path leads to git's configured driver, which the landing code runs."""

    def run(request: RunRequest) -> Merged | StrategyFailed:
        return Merged(b"%s %s %s" % (request.base, request.ours, request.theirs))

    policy = Policy(attributes=lambda _path: "driver:mine", runner=run)
    merging = Merging({"f": b"1"}, {"f": b"2"}, {"f": b"3"}, policy=policy)

    assert merging.files == {"f": b"1 2 3"}
    assert merging.resolved == {"f": "driver"}


def test_the_binary_attribute_forbids_to_merge_lines() -> None:
    """Edits that lines would merge are decided whole where the attribute says so."""
    policy = Policy(attributes=lambda _path: "binary")
    merging = Merging({"f": _TEN}, {"f": _FIRST}, {"f": _LAST}, policy=policy)

    assert merging.files == {"f": _LAST}
    assert merging.resolved == {"f": "theirs"}


def test_missing_blobs_are_fetched_in_one_request() -> None:
    """In a partial clone the three versions are asked for together, once, and only where both sides changed."""
    remote, local = MemoryObjectStore(), MemoryObjectStore()
    files: list[Files] = [{"f": _TEN, "g": b"1"}, {"f": _FIRST, "g": b"1"}, {"f": _LAST, "g": b"2"}]
    trees = [write_tree(remote, version) for version in files]
    for oid in remote:
        if remote[oid].type_name == b"tree":
            local.add_object(remote[oid])
    asked: list[Sequence[Oid]] = []

    def fetch(oids: Sequence[Oid]) -> None:
        asked.append(oids)
        for oid in oids:
            local.add_object(remote[ObjectID(oid.encode())])

    result = merge_trees(local, trees[0], trees[1], trees[2], Policy(), local.add_object, fetch)

    assert [len(request) for request in asked] == [3]
    assert result.tree is not None


@pytest.mark.parametrize("can_fetch", [True, False])
def test_a_blob_that_stays_missing_is_named(can_fetch: bool) -> None:
    """An object that is nowhere raises the typed error with its id."""
    store = MemoryObjectStore()
    base, ours, theirs = (write_tree(store, {"f": data}) for data in (_TEN, _FIRST, _LAST))
    gone = next(oid for oid in store if store[oid].as_raw_string() == _FIRST)
    without = MemoryObjectStore()
    without.add_objects([(store[oid], None) for oid in store if oid != gone])

    fetch = (lambda _oids: None) if can_fetch else None
    with pytest.raises(MissingObjectError) as caught:
        merge_trees(without, base, ours, theirs, Policy(), without.add_object, fetch)
    assert caught.value.oid == gone.decode()


def test_a_path_is_reported_once() -> None:
    """A path that clashes twice, as a deletion and as a folder, has one resolution and one conflict."""
    versions: list[Files] = [{"f": b"1"}, {"f": b"2"}, {"f/x": b"new"}]

    decided = Merging(versions[0], versions[1], versions[2], "**=ours")
    refused = Merging(versions[0], versions[1], versions[2], "**=fail")

    assert [resolution.path for resolution in decided.result.resolutions] == [b"f"]
    assert [conflict.path for conflict in refused.result.conflicts] == [b"f"]


def test_an_unknown_attribute_reaches_the_caller() -> None:
    """A policy that cannot be carried out is an error, never a guess."""
    with pytest.raises(PolicyError):
        Merging({"f": b"1"}, {"f": b"2"}, {"f": b"3"}, policy=Policy(attributes=lambda _path: "odd"))
