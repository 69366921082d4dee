"""Where git stages and writes the index, the marks of its entries count as they do elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.landing.index_access import GitIndex, take_index
from tests.support.clones import land, move_to, open_checkout, write
from tests.support.gitcli import git, git_result

SWITCHES = ("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a repository with the files f, g and d/a."""
    path = tmp_path / "r"
    git("init", "-q", path, cwd=tmp_path)
    for name in ("f", "g", "d/a"):
        write(path, name, f"{name}\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    return path


def landed(path: Path) -> list[str]:
    """Return the paths that the last commit changed, with the letter of the change."""
    return git("show", "--format=", "--name-status", cwd=path).splitlines()


@pytest.mark.parametrize("kind", ["split", "names"])
def test_what_is_only_intended_does_not_land(path: Path, kind: str) -> None:
    """A file of ``git add -N`` lands neither empty nor as deleted, and stays intended until its content is pushed."""
    if kind == "split":
        git("update-index", "--split-index", cwd=path)
    else:
        git("config", "core.ignoreCase", "true", cwd=path)
    write(path, "ita", "content\n")
    write(path, "empty", "")
    git("add", "-N", "ita", cwd=path)
    write(path, "f", "changed\n")
    git("add", "f", "empty", cwd=path)
    land(path)
    assert landed(path) == ["A\tempty", "M\tf"]
    assert git_result("status", "--porcelain", cwd=path).stdout == b" A ita\n"
    write(path, "g", "changed\n")
    land(path, b"g")
    assert landed(path) == ["M\tg"]
    assert git_result("status", "--porcelain", cwd=path).stdout == b" A ita\n"
    land(path)
    assert landed(path) == ["A\tita"]
    assert git("show", "HEAD:ita", cwd=path) == "content"
    assert git("status", "--porcelain", cwd=path) == ""


def test_an_intended_file_is_told_from_an_empty_one(path: Path) -> None:
    """An index that only git reads tells what ``git add -N`` made from files that are empty."""
    write(path, "ita", "content\n")
    write(path, "empty", "")
    git("add", "empty", cwd=path)
    git("add", "-N", "ita", cwd=path)
    git("update-index", "--split-index", cwd=path)
    with open_checkout(path) as checkout:
        index = take_index(checkout, "0" * 24, 1)
        assert isinstance(index, GitIndex)
        marks = {name: entry.is_intent_to_add for name in (b"empty", b"ita") if (entry := index.find(name)) is not None}
    assert marks == {b"empty": False, b"ita": True}


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("takes_all", [False, True], ids=["tracked", "all"])
def test_the_users_meaning_of_pathspecs_is_for_the_users_paths(path: Path, switch: str, *, takes_all: bool) -> None:
    """Variables that change what a PATH means change nothing for the paths that this tool gives to git."""
    git("update-index", "--split-index", cwd=path)
    write(path, "f", "changed\n")
    land(path, take_all=takes_all, extra={switch: "1"})
    assert landed(path) == ["M\tf"]
    assert git("status", "--porcelain", cwd=path) == ""


def test_plumbing_finds_nothing_to_report_in_a_split_index(path: Path) -> None:
    """The index that git writes for a landing knows the status of files that were placed or pushed."""
    write(path, "f", "theirs\n")
    git("commit", "-q", "-a", "-m", "theirs", cwd=path)
    theirs = Oid(git("rev-parse", "HEAD", cwd=path))
    git("reset", "-q", "--hard", "HEAD~", cwd=path)
    git("update-index", "--split-index", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        assert move_to(checkout, theirs).local_updated
    assert git("diff-files", "--name-only", cwd=path) == ""
    write(path, "d/a", "mine\n")
    write(path, "g", "an edit\n")
    land(path, b"d/a")
    assert git("diff-files", "--name-only", cwd=path) == "g"
