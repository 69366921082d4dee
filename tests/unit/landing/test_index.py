"""The index read and patched in-process, judged by the real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Blob, ObjectID, Tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.index_diff import diff_index
from gitref_lock.landing.index_file import (
    UNKNOWN_STAT,
    Entry,
    IndexFile,
    UnreadableIndexError,
    empty_index,
    parse_index,
    read_index,
)
from gitref_lock.landing.index_patch import new_entry, patched
from gitref_lock.landing.trees import (
    TreeEntry,
    apply_changes,
    change,
    diff_trees,
    files_below,
    load_tree,
    lookup,
)
from tests.support.clones import open_checkout, write
from tests.support.gitcli import git, git_result

BLOB = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
OTHER = b"8ba3a16384aacc37d01564b28401755ce8053f51"
NAMES = st.sampled_from([b"a", b"b", b"a.b", b"a-b", b"ab", b"\xc3\xa9", b"\xff", b"z" * 30])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
FILES = st.dictionaries(PATHS, st.sampled_from([TreeEntry(0o100644, BLOB), TreeEntry(0o100755, OTHER)]), max_size=12)


def consistent(files: dict[bytes, TreeEntry]) -> dict[bytes, TreeEntry]:
    """Drop paths that need a file's place as a folder."""
    return {
        path: entry
        for path, entry in files.items()
        if not any(other != path and path.startswith(other + b"/") for other in files)
    }


def entry(path: bytes, item: TreeEntry) -> Entry:
    """Return an index entry."""
    return new_entry(path, item.mode, item.oid, UNKNOWN_STAT)


def listing(index: IndexFile) -> dict[bytes, TreeEntry]:
    """Return what an index holds."""
    return {index.names[at]: TreeEntry(index.entry(at).mode, index.entry(at).oid) for at in range(len(index))}


def after(files: dict[bytes, TreeEntry], edits: dict[bytes, TreeEntry | None]) -> dict[bytes, TreeEntry]:
    """Return the plain model of an edit: what is set drops what stands in its way."""
    result = dict(files)
    for path, item in edits.items():
        if item is None:
            result.pop(path, None)
    for path, item in edits.items():
        if item is not None:
            for other in list(result):
                if other.startswith(path + b"/") or path.startswith(other + b"/"):
                    del result[other]
            result[path] = item
    return result


EDITS = st.dictionaries(PATHS, st.sampled_from([TreeEntry(0o120000, OTHER), None]), max_size=6).map(
    lambda edits: {
        path: item
        for path, item in edits.items()
        if item is None or not any(edits[other] and path.startswith(other + b"/") for other in edits)
    }
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository in which git reads the indexes that are made here."""
    root = tmp_path_factory.mktemp("index") / "repo"
    git("init", "-q", root, cwd=root.parent)
    git("hash-object", "-w", "--stdin", cwd=root)
    git("hash-object", "-w", "--stdin", cwd=root, stdin=b"n\n")
    return root


def as_git_reads(scratch: Path, data: bytes) -> dict[bytes, TreeEntry]:
    """Let git list an index."""
    path = scratch / ".git/try-index"
    path.write_bytes(data)
    done = git_result("ls-files", "-s", "-z", cwd=scratch, env={"GIT_INDEX_FILE": str(path)})
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.split(b"\0")[:-1]:
        facts, _, name = line.partition(b"\t")
        mode, oid, _stage = facts.split()
        found[name] = TreeEntry(int(mode, 8), oid)
    return found


def by_git(scratch: Path, files: dict[bytes, TreeEntry], version: int) -> bytes:
    """Let git write an index of the given version, with a valid cache tree."""
    path = scratch / ".git/made-index"
    path.unlink(missing_ok=True)
    lines = b"".join(b"%o %s\t%s\0" % (item.mode, item.oid, name) for name, item in files.items())
    environment = {"GIT_INDEX_FILE": str(path)}
    git("update-index", f"--index-version={version}", "-z", "--index-info", cwd=scratch, env=environment, stdin=lines)
    git("write-tree", cwd=scratch, env=environment)
    return path.read_bytes() if path.exists() else empty_index().data


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES.map(consistent), edits=EDITS, version=st.sampled_from([2, 4]))
def test_a_patched_index_is_the_edited_one(
    scratch: Path, files: dict[bytes, TreeEntry], edits: dict[bytes, TreeEntry | None], version: int
) -> None:
    """Any edit of any index of git's is read back by git, and by us, as the plain model says; its tree is right too."""
    index = parse_index(by_git(scratch, files, version), 0) if files else empty_index()
    assert listing(index) == files
    wanted = {path: entry(path, item) if item else None for path, item in edits.items()}
    data = patched(index, wanted)
    expected = after(files, edits)
    assert listing(parse_index(data, 0)) == expected
    assert as_git_reads(scratch, data) == expected
    environment = {"GIT_INDEX_FILE": str(scratch / ".git/try-index")}
    assert git("write-tree", cwd=scratch, env=environment) == _tree(expected)


def _tree(files: dict[bytes, TreeEntry]) -> str:
    return apply_changes(MemoryObjectStore(), None, list(files.items())).tree


@settings(max_examples=200, deadline=None)
@given(files=FILES.map(consistent), edits=EDITS)
def test_a_changed_tree_is_the_one_built_afresh(
    files: dict[bytes, TreeEntry], edits: dict[bytes, TreeEntry | None]
) -> None:
    """Changing a tree in place gives the tree of the changed files, and the difference of the two is the change."""
    store = MemoryObjectStore()
    base = apply_changes(store, None, list(files.items())).tree
    changed = apply_changes(store, base.encode(), list(edits.items()))
    expected = after(files, edits)
    assert changed.tree == apply_changes(store, None, list(expected.items())).tree
    assert dict(files_below(store, changed.tree.encode())) == expected
    found = {item.path: item for item in diff_trees(store, base.encode(), changed.tree.encode())}
    assert found == {
        path: change(path, files.get(path), expected.get(path))
        for path in files.keys() | expected.keys()
        if files.get(path) != expected.get(path)
    }
    assert all(ObjectID(oid.encode()) in store for oid in changed.new_trees)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES.map(consistent), edits=EDITS)
def test_what_is_staged_is_found_with_and_without_a_cache_tree(
    scratch: Path, files: dict[bytes, TreeEntry], edits: dict[bytes, TreeEntry | None]
) -> None:
    """The comparison of index and tree is the same whether git's cache tree helps or not."""
    store = MemoryObjectStore()
    tree = apply_changes(store, None, list(files.items())).tree.encode()
    index = parse_index(by_git(scratch, files, 2), 0) if files else empty_index()
    changed = parse_index(patched(index, {path: entry(path, i) if i else None for path, i in edits.items()}), 0)
    expected = after(files, edits)
    plain = parse_index(patched(empty_index(), {path: entry(path, item) for path, item in expected.items()}), 0)
    assert plain.cache_tree() is None
    for candidate in (changed, plain):
        found = diff_index(store, candidate, tree)
        assert {path: item.head for path, item in found.items()} == {
            path: files.get(path) for path in files.keys() | expected.keys() if files.get(path) != expected.get(path)
        }
        assert all((item.entry is not None) == (path in expected) for path, item in found.items())


def test_conflicts_and_flags_are_read(tmp_path: Path) -> None:
    """Conflict sides, intent-to-add, skip-worktree and assume-valid are known for what they are."""
    git("init", "-q", tmp_path / "r", cwd=tmp_path)
    root = tmp_path / "r"
    for name in ("a", "b", "c", "d"):
        write(root, name, "x\n")
    git("add", "a", "b", "d", cwd=root)
    git("add", "-N", "c", cwd=root)
    git("update-index", "--skip-worktree", "a", cwd=root)
    git("update-index", "--assume-unchanged", "b", cwd=root)
    blob = git("hash-object", "d", cwd=root)
    sides = "".join(f"100644 {blob} {stage}\td\n" for stage in (1, 2, 3))
    git("update-index", "--index-info", cwd=root, stdin=f"0 {'0' * 40}\td\n{sides}".encode())
    index = read_index(root / ".git/index")
    found = {name: index.find(name.encode()) for name in "abcd"}
    assert found["a"] is not None
    assert found["a"].is_skip_worktree
    assert found["b"] is not None
    assert found["b"].is_assumed_valid
    assert found["c"] is not None
    assert found["c"].is_intent_to_add
    assert found["d"] is not None
    assert found["d"].stage == 1
    assert index.unmerged() == (b"d",)
    assert index.version == 3
    resolved = parse_index(patched(index, {b"d": new_entry(b"d", 0o100644, blob.encode(), UNKNOWN_STAT)}), 0)
    assert resolved.unmerged() == ()
    kept = resolved.find(b"a")
    assert kept is not None
    assert kept.is_skip_worktree


def test_an_entry_with_extended_flags_lifts_the_version(scratch: Path) -> None:
    """A skip-worktree entry in a version 2 index makes it version 3, and git agrees."""
    index = parse_index(by_git(scratch, {b"a": TreeEntry(0o100644, BLOB)}, 2), 0)
    assert index.version == 2
    data = patched(index, {b"b": new_entry(b"b", 0o100644, BLOB, UNKNOWN_STAT, extended=0x4000)})
    assert parse_index(data, 0).version == 3
    assert set(as_git_reads(scratch, data)) == {b"a", b"b"}


def test_damage_is_noticed() -> None:
    """A truncated, altered, foreign or future index is refused instead of misread."""
    good = patched(empty_index(), {b"a": entry(b"a", TreeEntry(0o100644, BLOB))})
    for bad in (
        b"",
        b"x" * 60,
        good[:-1],
        good[:40] + b"!" + good[41:],
        good.replace(b"DIRC\0\0\0\2", b"DIRC\0\0\0\7"),
    ):
        with pytest.raises(UnreadableIndexError):
            parse_index(bad, 0)


@pytest.mark.parametrize(("flag", "word"), [("--split-index", "split"), ("--sparse-index", "sparse")])
def test_split_and_sparse_indexes_are_named(tmp_path: Path, flag: str, word: str) -> None:
    """Formats that only git handles are refused with their name."""
    root = tmp_path / "r"
    git("init", "-q", root, cwd=tmp_path)
    write(root, "d/x", "1\n")
    write(root, "e/x", "1\n")
    git("add", ".", cwd=root)
    git("commit", "-q", "-m", "x", cwd=root)
    if word == "split":
        git("update-index", flag, cwd=root)
    else:
        git("sparse-checkout", "set", flag, "d", cwd=root)
    with open_checkout(root) as checkout, pytest.raises(UnreadableIndexError, match=f"the index is {word}"):
        checkout.read_index()


def test_long_names_cross_the_length_field(scratch: Path) -> None:
    """A path longer than the entry's length field can say is read and written as git does."""
    long_path = b"/".join([b"n" * 200] * 25)
    for version in (2, 4):
        data = by_git(scratch, {long_path: TreeEntry(0o100644, BLOB), b"o": TreeEntry(0o100644, BLOB)}, version)
        index = parse_index(data, 0)
        assert index.names == [long_path, b"o"]
        again = patched(
            index, {long_path + b"x": entry(b"", TreeEntry(0o100644, BLOB))._replace(path=long_path + b"x")}
        )
        assert set(as_git_reads(scratch, again)) == {long_path, long_path + b"x", b"o"}


def test_an_index_is_parsed_once_for_each_state(tmp_path: Path) -> None:
    """Reading twice gives the same object until somebody writes the index."""
    root = tmp_path / "r"
    git("init", "-q", root, cwd=tmp_path)
    write(root, "a", "1\n")
    git("add", ".", cwd=root)
    with open_checkout(root) as checkout:
        first = checkout.read_index()
        assert checkout.read_index() is first
        write(root, "b", "1\n")
        git("add", ".", cwd=root)
        assert checkout.read_index().names == [b"a", b"b"]


def test_odd_modes_of_old_trees_are_no_change() -> None:
    """A tree that says 100664, as early git wrote, counts as 100644."""
    store = MemoryObjectStore()
    blob = Blob.from_string(b"x")
    tree = Tree()
    tree.add(b"f", 0o100664, blob.id)
    store.add_object(tree)
    index = parse_index(patched(empty_index(), {b"f": entry(b"f", TreeEntry(0o100644, bytes(blob.id)))}), 0)
    assert diff_index(store, index, bytes(tree.id)) == {}
    assert lookup(store, bytes(tree.id), b"f") == TreeEntry(0o100644, bytes(blob.id))


def test_lookup_and_missing_trees() -> None:
    """Looking up takes no path through files, and a missing or wrong object is a clear error."""
    store = MemoryObjectStore()
    files = [(b"d/f", TreeEntry(0o100644, BLOB))]
    tree = apply_changes(store, None, files).tree.encode()
    assert lookup(store, tree, b"d/f") == TreeEntry(0o100644, BLOB)
    assert lookup(store, tree, b"d/f/x") is None
    assert lookup(store, tree, b"e") is None
    assert lookup(store, None, b"e") is None
    with pytest.raises(LandingError, match="not in this clone"):
        load_tree(store, b"1" * 40)
    blob = Blob.from_string(b"x")
    store.add_object(blob)
    with pytest.raises(LandingError, match="not a tree"):
        load_tree(store, bytes(ObjectID(blob.id)))


def test_removing_everything_is_the_empty_tree() -> None:
    """The last removal leaves git's empty tree, and empty folders go with their last file."""
    store = MemoryObjectStore()
    tree = apply_changes(store, None, [(b"d/e/f", TreeEntry(0o100644, BLOB))]).tree.encode()
    assert apply_changes(store, tree, [(b"d/e/f", None)]).tree == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert apply_changes(store, tree, [(b"d/e/g", None)]).tree.encode() == tree
