"""What may be landed for somebody else, beside git fsck itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich.object_store import MemoryObjectStore
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind, build_state_commit, build_tree
from gitref_lock.landing.vetting import UnfitError, vet
from tests.group.memory import NUMBERS
from tests.group.test_hostile_tickets import BLOB, HEADERS, INNER, LONG_LINE, TREES, commit_on, tree_of
from tests.support.gitcli import git_result, make_bare

ROOM = 1 << 20
STRICTER = {
    "a submodule's configuration",
    "a strange mode",
    "no end",
    "a file that is a folder",
    "a line without a value",
    "a committer of two lines",
}
"""What git fsck lets pass or only warns of, and is left to its author all the same."""


class Raw(MemoryObjectStore):
    """Objects that are kept as they are, however malformed."""

    def __init__(self, *objects: GitObject) -> None:
        """Keep these."""
        super().__init__()
        self.raw = {item.oid.encode(): (NUMBERS[item.kind], item.data) for item in objects}

    def get_raw(self, name: object) -> tuple[int, bytes]:
        """Return an object's type and bytes."""
        return self.raw[bytes(name)]  # type: ignore[call-overload]  # an object id

    def __contains__(self, name: object) -> bool:
        """Tell whether an object is here."""
        return name in self.raw


BASE = build_state_commit({"README.md": b"first\n"}, author_name="x", at_s=1_700_000_000, message="base")


@pytest.mark.parametrize("what", [*TREES, *HEADERS])
def test_what_git_fsck_refuses_is_unfit(what: str, tmp_path: Path) -> None:
    """Every hostile shape is refused here, and git fsck --strict agrees unless it is known to be more lenient."""
    if what in TREES:
        tree = tree_of(*TREES[what])
        commit = commit_on(BASE[0].oid, tree)
    else:
        tree = build_tree({"a": BLOB})
        commit = GitObject(ObjectKind.COMMIT, HEADERS[what](commit_on(BASE[0].oid, tree).data))
    objects = (commit, tree, BLOB, INNER, LONG_LINE, *BASE)
    with pytest.raises(UnfitError):
        vet(Raw(*objects), [commit.oid], max_bytes=ROOM)
    bare = make_bare(tmp_path / "bare.git", with_commit=False)
    bare.store(*objects)
    (bare.path / "refs/heads/main").write_text(f"{commit.oid}\n")
    refused = git_result("fsck", "--strict", "--no-dangling", cwd=bare.path).returncode != 0
    assert refused or what in STRICTER


@given(
    st.dictionaries(
        st.text(
            st.characters(exclude_characters="/\0\\:~", exclude_categories=("Cs", "Cf")), min_size=1, max_size=12
        ).filter(lambda name: not name.startswith((".", "g", "G"))),
        st.binary(max_size=50),
        max_size=8,
    )
)
def test_what_git_writes_is_fit(files: dict[str, bytes]) -> None:
    """Whatever names and contents files have, a commit as git writes it passes."""
    objects = build_state_commit(files, author_name="x", at_s=1_700_000_000, message="x", parents=[BASE[0].oid])
    vet(Raw(*objects, *BASE), [objects[0].oid], max_bytes=ROOM)


def test_what_a_parent_has_in_the_same_place_is_not_looked_at() -> None:
    """An old tree that git would not write today does not keep anybody from changing a file beside it."""
    old = tree_of(*TREES["a mode with a zero"])
    before = build_state_commit({}, author_name="x", at_s=1, message="x")
    parent_tree = tree_of(("40000", "old", old))
    parent = commit_on(before[0].oid, parent_tree)
    tree = tree_of(("100644", "new", BLOB), ("40000", "old", old))
    commit = commit_on(parent.oid, tree)
    vet(Raw(commit, tree, BLOB, parent, parent_tree, old, *before), [commit.oid], max_bytes=ROOM)


def test_a_change_has_so_many_bytes_and_no_more() -> None:
    """The bytes of all new objects count together."""
    objects = build_state_commit(
        {"a": bytes(1000), "b": bytes(1001)}, author_name="x", at_s=1, message="x", parents=[BASE[0].oid]
    )
    store = Raw(*objects, *BASE)
    vet(store, [objects[0].oid], max_bytes=sum(len(item.data) for item in objects))
    with pytest.raises(UnfitError, match="too large"):
        vet(store, [objects[0].oid], max_bytes=sum(len(item.data) for item in objects) - 1)


def test_a_missing_file_is_the_remote_s_own_in_a_partial_clone_only() -> None:
    """A file that is not here is unfit, except where a filter keeps files away."""
    commit, tree, _blob = build_state_commit(
        {"a": b"far away"}, author_name="x", at_s=1, message="x", parents=[BASE[0].oid]
    )
    store = Raw(commit, tree, *BASE)
    vet(store, [commit.oid], max_bytes=ROOM, is_partial=True)
    with pytest.raises(UnfitError, match="not there"):
        vet(store, [commit.oid], max_bytes=ROOM)
    with pytest.raises(UnfitError, match="not there"):
        vet(store, [Oid("ab" * 20)], max_bytes=ROOM)


def test_unicode_that_some_systems_fold_is_told_from_the_rest() -> None:
    """Names that only look similar to .git pass."""
    for name in (".gitignore", ".github", "git", "a.git", ".gi\u0442", "git~2", ".g it"):
        tree = tree_of(("100644", name, BLOB))
        commit = commit_on(BASE[0].oid, tree)
        vet(Raw(commit, tree, BLOB, *BASE), [commit.oid], max_bytes=ROOM)
