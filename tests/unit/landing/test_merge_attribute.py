"""The merge attribute of a path, also where only git can read the index or fetch the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.workspace import merge_attribute
from tests.support.clones import open_checkout, write
from tests.support.gitcli import git

_PATHS = ("hidden/lock", "hidden/other", "shown/lock", "shown/text", "top")
_EXPECTED = {"hidden/lock": "union", "hidden/other": None, "shown/lock": "binary", "shown/text": "unset", "top": "set"}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Return a repository with merge rules in three folders."""
    root = tmp_path / "origin"
    git("init", "-q", root, cwd=tmp_path)
    git("config", "uploadpack.allowFilter", "true", cwd=root)
    git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=root)
    for name in _PATHS:
        write(root, name, f"{name}\n")
    write(root, ".gitattributes", "top merge\n")
    write(root, "hidden/.gitattributes", "lock merge=union\n")
    write(root, "shown/.gitattributes", "lock merge=binary\ntext -merge\n")
    git("add", ".", cwd=root)
    git("commit", "-q", "-m", "base", cwd=root)
    return root


def cloned(origin: Path, path: Path, kind: str) -> Path:
    """Return a clone of a kind."""
    flags = {"partial": ("--filter=blob:none", "--sparse")}.get(kind, ())
    git("clone", "-q", *flags, f"file://{origin}", path, cwd=origin)
    if kind == "split":
        git("update-index", "--split-index", cwd=path)
    elif kind == "sparse":
        git("sparse-checkout", "set", "--sparse-index", "shown", cwd=path)
    elif kind == "partial":
        git("sparse-checkout", "set", "--no-cone", "/shown", cwd=path)
    return path


@pytest.mark.parametrize("kind", ["plain", "split", "partial"])
def test_the_rules_are_found_in_every_kind_of_clone(origin: Path, tmp_path: Path, kind: str) -> None:
    """Rules in files that the work tree lacks count as well, whoever has to read the index."""
    with open_checkout(cloned(origin, tmp_path / "clone", kind)) as checkout:
        attribute = merge_attribute(checkout)
        assert {name: attribute(name.encode()) for name in _PATHS} == _EXPECTED


def test_a_sparse_index_is_left_to_git(origin: Path, tmp_path: Path) -> None:
    """With a sparse index the rules are those that the installed git finds, which differ between its versions."""
    path = cloned(origin, tmp_path / "clone", "sparse")
    told = git("check-attr", "merge", "--", "hidden/lock", cwd=path).rpartition(": ")[2]
    with open_checkout(path) as checkout:
        attribute = merge_attribute(checkout)
        assert (attribute(b"hidden/lock") or "unspecified", attribute(b"shown/lock")) == (told, "binary")


def test_without_git_the_work_tree_tells(origin: Path, tmp_path: Path) -> None:
    """An index that only git reads is no reason to stop a merge where git is missing."""
    path = cloned(origin, tmp_path / "clone", "split")
    with open_checkout(path, {"PATH": str(tmp_path / "nowhere")}) as checkout:
        attribute = merge_attribute(checkout)
        assert {name: attribute(name.encode()) for name in _PATHS} == _EXPECTED


def test_rules_that_nobody_can_fetch_stop_the_landing(origin: Path, tmp_path: Path) -> None:
    """Without git the rules that a partial clone lacks are not taken for none; the error says what is missing."""
    path = cloned(origin, tmp_path / "clone", "partial")
    with open_checkout(path, {"PATH": str(tmp_path / "nowhere")}) as checkout:
        with pytest.raises(LandingError, match="partial clone") as caught:
            merge_attribute(checkout)(b"hidden/lock")
        assert caught.value.code == "needs-git"
