"""Paths of a tree that lead out of the work tree or into git's folder are never written, replaced or removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich.objects import Blob, Commit, ObjectID, Tree

from gitref_lock.core.names import Oid
from gitref_lock.landing.local_move import MoveReport
from gitref_lock.landing.unsafe_names import is_unsafe_path
from tests.support.clones import move_to, open_checkout, write
from tests.support.gitcli import git, git_result

BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
UNSAFE = [
    b".git/hooks/pre-push",
    b".GIT/config",
    b"a/.git/x",
    b"a/.Git",
    b"git~1/config",
    b"GIT~1",
    b".git /x",
    b".git./x",
    b"../x",
    b"a/../../x",
    b"./x",
    b"a//x",
    b"/x",
    b"a/",
    b".git::$INDEX_ALLOCATION/x",
    b"a\\.git\\x",
    ".g\u200cit/x".encode(),
]
SAFE = [
    b".github/workflows/ci.yml",
    b".gitignore",
    b".gitattributes",
    b".gitmodules",
    b"g/git",
    b"a.git",
    b"git~2",
    b"...",
    b"a/..b",
    b"x y",
    "\u00e9/\u00fc".encode(),
    b"\xff\xfe",
    b"a\\b",
]


def git_accepts(root: Path, path: bytes, mode: int) -> bool:
    """Tell whether git takes a path into its index, with the rules of every system on."""
    line = b"%o %s\t%s\0" % (mode, BLOB.encode(), path)
    options = ("-c", "core.protectNTFS=true", "-c", "core.protectHFS=true")
    done = git_result(*options, "update-index", "-z", "--index-info", cwd=root, stdin=line)
    return done.returncode == 0 and git_result("ls-files", "-z", cwd=root).stdout != b""


@pytest.mark.parametrize("path", UNSAFE + SAFE)
def test_git_agrees_which_paths_are_unsafe(tmp_path: Path, path: bytes) -> None:
    """What is written here is what git would take into an index, no more and no less."""
    git("init", "-q", tmp_path, cwd=tmp_path)
    git("hash-object", "-w", "--stdin", cwd=tmp_path, stdin=b"")
    assert is_unsafe_path(path, 0o100644) is (path in UNSAFE)
    assert git_accepts(tmp_path, path, 0o100644) is (path in SAFE)


@pytest.mark.parametrize("path", [b".gitmodules", b".GitModules", b"GITMOD~1"])
def test_a_symbolic_link_for_the_modules_is_unsafe(tmp_path: Path, path: bytes) -> None:
    """Git reads that file by name, so a link there could lead anywhere."""
    git("init", "-q", tmp_path, cwd=tmp_path)
    git("hash-object", "-w", "--stdin", cwd=tmp_path, stdin=b"")
    assert is_unsafe_path(path, 0o120000)
    assert not git_accepts(tmp_path, path, 0o120000)


def planted(path: Path, names: list[bytes]) -> Oid:
    """Return a commit beyond HEAD whose tree holds a program under these nested names."""
    with open_checkout(path) as checkout:
        blob = Blob.from_string(b"#!/bin/sh\n")
        checkout.store.add_object(blob)
        mode, below = 0o100755, blob.id
        for name in reversed(names):
            tree = Tree()
            tree.add(name, mode, below)
            checkout.store.add_object(tree)
            mode, below = 0o040000, tree.id
        commit = Commit()
        commit.tree = below
        commit.parents = [ObjectID(git("rev-parse", "HEAD", cwd=path).encode())]
        commit.author = commit.committer = b"a <a@example.org>"
        commit.author_time = commit.commit_time = 1_700_000_000
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"planted\n"
        checkout.store.add_object(commit)
        return Oid(commit.id.decode())


@pytest.mark.parametrize("names", [[b".git", b"hooks", b"pre-push"], [b"..", b"beside"], [b"x", b"..", b"..", b"y"]])
def test_a_landed_tree_with_such_a_path_moves_nothing(tmp_path: Path, names: list[bytes]) -> None:
    """The clone stays as it is, with the reason, and the next command is free to work."""
    path = tmp_path / "clone"
    git("init", "-q", path, cwd=tmp_path)
    write(path, "a", "1\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    before = git("rev-parse", "HEAD", cwd=path)
    hooks = sorted(item.name for item in (path / ".git/hooks").iterdir())
    with open_checkout(path) as checkout, checkout.exclusive():
        report = move_to(checkout, planted(path, names))
    shown = b"/".join(names).decode()
    reason = f"the branch holds {shown!r}, a path that no clone may check out"
    assert report == MoveReport(local_updated=False, reason=reason, is_final=True)
    assert git("rev-parse", "HEAD", cwd=path) == before
    assert git("status", "--porcelain", cwd=path) == ""
    assert sorted(item.name for item in (path / ".git/hooks").iterdir()) == hooks
    assert sorted(item.name for item in tmp_path.iterdir()) == ["clone"]
    assert not (path / ".git/gitref-lock/journal.json").exists()
