"""Objects built here are the bytes that git itself would store: same ids, and nothing that fsck objects to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind, build_commit, build_state_commit, build_tree, clean_ident
from gitref_lock.testing.strategies import texts
from tests.support.gitcli import Repo, git

HOSTILE_NAMES = [
    "Ann <ann@example.invalid>",
    "a\nparent " + "0" * 40,
    "nul\x00byte",
    "<<<>>>",
    "",
    " . , : ; \" ' ",
    '\\"quoted\\"',
    "\U0001f512 lock",
    "\udcff\ud800 surrogates",
    "tab\tand\rreturn",
    "x" * 5000,
    "\x85\u2028\u202e",
    "name> 0 +0000\nauthor evil <e> 1 +0000",
]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Return an empty bare repository for objects."""
    path = tmp_path_factory.mktemp("objects")
    git("init", "--quiet", "--bare", cwd=path)
    return Repo(path)


def store(repo: Repo, objects: list[GitObject], folder: Path) -> list[Oid]:
    """Store objects of one kind with one git process and return the ids that git gave them, in order."""
    files = []
    for number, item in enumerate(objects):
        file = folder / f"{item.kind.value}-{number}"
        file.write_bytes(item.data)
        files.append(str(file))
    kind = objects[0].kind.value
    listing = "".join(f"{name}\n" for name in files).encode()
    return [Oid(line) for line in repo.git("hash-object", "-w", "-t", kind, "--stdin-paths", stdin=listing).split()]


@pytest.mark.parametrize("data", [b"", b"hello\n", b"\x00\xff" * 40_000])
def test_a_blob_has_the_id_that_git_gives_it(repo: Repo, data: bytes) -> None:
    """Header, length and payload are hashed as git does."""
    assert GitObject(ObjectKind.BLOB, data).oid == repo.git("hash-object", "-t", "blob", "--stdin", stdin=data)


def test_the_payload_is_left_out_of_the_text_form() -> None:
    """Showing an object in a message never prints its content."""
    assert "secret" not in repr(GitObject(ObjectKind.BLOB, b"secret"))


@settings(deadline=None, max_examples=8)
@given(
    names=st.lists(st.text(alphabet="az.-_\u00e9\U0001f512\uffee", min_size=1, max_size=6), max_size=6, unique=True),
    data=st.binary(max_size=20),
)
def test_a_tree_has_the_id_that_git_gives_it(repo: Repo, names: list[str], data: bytes) -> None:
    """Entries are in git's order whatever order the files came in, and mktree makes the same tree."""
    usable = [name for name in names if name not in {".", ".."}]
    blob = GitObject(ObjectKind.BLOB, data)
    repo.git("hash-object", "-w", "-t", "blob", "--stdin", stdin=data)
    listing = "".join(f"100644 blob {blob.oid}\t{name}\0" for name in usable)
    assert build_tree(dict.fromkeys(usable, blob)).oid == repo.git("mktree", "-z", stdin=listing.encode())


def test_a_commit_is_byte_for_byte_what_commit_tree_writes(repo: Repo) -> None:
    """With the same parts, git's own commit-tree writes the identical commit."""
    tree = Oid(repo.git("mktree", stdin=b""))
    first = build_commit(
        tree=tree, parents=(), author_name="Ann", author_email="a@b", at_s=1_700_000_000, message="one\n\ntwo\n\n\n"
    )
    names = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "Ann"}
    env = {**names, "GIT_COMMITTER_EMAIL": "a@b"}
    assert first.oid == repo.git("commit-tree", tree, "-F", "-", stdin=b"one\n\ntwo\n", env=env)
    second = build_commit(
        tree=tree, parents=(first.oid,), author_name="Ann", author_email="a@b", at_s=1_700_000_000, message="next"
    )
    assert second.oid == repo.git("commit-tree", tree, "-p", first.oid, "-F", "-", stdin=b"next\n", env=env)


def test_states_of_hostile_holders_are_stored_as_computed_and_pass_fsck(repo: Repo, tmp_path: Path) -> None:
    """Whatever the holder calls itself, ids agree with git and a strict fsck finds nothing to object to."""
    states = [
        build_state_commit(
            {"lock.json": name.encode("utf-8", "replace"), "b": b"x"},
            author_name=name,
            at_s=at_s,
            message=f"main: held by {name.strip(chr(0)).replace(chr(0), '')}",
        )
        for at_s, name in enumerate(HOSTILE_NAMES)
    ]
    for position in range(4):
        batch = [state[position] for state in states]
        assert store(repo, batch, tmp_path) == [item.oid for item in batch]
    for number, state in enumerate(states):
        repo.set_ref(f"refs/locks/l{number}", state[0].oid)
    repo.fsck()


@settings(deadline=None, max_examples=10)
@given(names=st.lists(texts(), min_size=20, max_size=40))
def test_commits_of_any_name_pass_a_strict_fsck(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """Any text as name and address gives a commit that git stores under the computed id and fsck accepts."""
    folder = tmp_path_factory.mktemp("fsck")
    fresh = Repo(folder)
    fresh.git("init", "--quiet", "--bare")
    tree = Oid(fresh.git("mktree", stdin=b""))
    commits = [
        build_commit(tree=tree, parents=(), author_name=name, author_email=name, at_s=number, message=str(number))
        for number, name in enumerate(names)
    ]
    assert store(fresh, commits, folder) == [commit.oid for commit in commits]
    fresh.fsck()


@settings(deadline=None)
@given(text=texts())
@example(text="<>")
def test_a_clean_name_has_no_brackets_or_controls_and_is_never_empty(text: str) -> None:
    """The name of a commit header stays on its line and within its brackets, and is at most 100 characters."""
    clean = clean_ident(text, "fallback")
    assert clean
    assert len(clean) <= 100
    assert not set(clean) & set("<>\n\r\x00\x7f")


@pytest.mark.parametrize(
    ("text", "clean"), [("Ann Lee", "Ann Lee"), ("a<b>c", "a b c"), ("...", "none"), ('"Ann"', "Ann"), ("", "none")]
)
def test_a_name_is_changed_no_more_than_needed(text: str, clean: str) -> None:
    """Ordinary names stay, forbidden characters become spaces, edge punctuation goes, and nothing left is replaced."""
    assert clean_ident(text, "none") == clean


def test_a_state_is_its_commit_its_tree_and_its_blobs() -> None:
    """The commit comes first, points at the tree, has no parent unless given, and the tree names every blob."""
    objects = build_state_commit({"b": b"2", "a": b"1"}, author_name="n", at_s=7, message="m")
    commit, tree, *blobs = objects
    assert [item.kind for item in objects] == [ObjectKind.COMMIT, ObjectKind.TREE, ObjectKind.BLOB, ObjectKind.BLOB]
    assert commit.data.startswith(f"tree {tree.oid}\nauthor n <gitref-lock@localhost> 7 +0000\n".encode())
    assert all(bytes.fromhex(blob.oid) in tree.data for blob in blobs)
    assert {blob.data for blob in blobs} == {b"1", b"2"}


def test_parents_stand_in_the_order_given() -> None:
    """The first parent stays the first."""
    parents = (Oid("b" * 40), Oid("a" * 40))
    commit = build_state_commit({"a": b""}, author_name="n", at_s=7, message="m", parents=parents)[0]
    assert f"parent {parents[0]}\nparent {parents[1]}\nauthor ".encode() in commit.data
