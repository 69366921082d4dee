"""A submodule that is checked out while the remote moves it to another commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ci import advance, land, write
from tests.support.gitcli import Repo, clone
from tests.support.runners import tip_at

CLONES = ("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")


def commit(inner: Repo, text: str) -> str:
    """Add a commit to the submodule's repository and return it."""
    write(inner, {"inner.txt": text})
    inner.git("add", "-A")
    inner.git("commit", "-qm", text.strip())
    return inner.git("rev-parse", "HEAD")


def recorded(bare: Repo) -> str:
    """Return the submodule's commit on the remote."""
    return bare.git("rev-parse", "main:lib")


@pytest.fixture
def inner(tmp_path: Path) -> Repo:
    """Return the repository of the submodule ``lib``, without a commit."""
    inner = Repo(tmp_path / "inner")
    inner.path.mkdir()
    inner.git("init", "-q")
    return inner


@pytest.fixture(params=["full", "partial"])
def folder(request: pytest.FixtureRequest, bare: Repo, url: str, tmp_path: Path, inner: Repo) -> Repo:
    """Return a clone with the submodule checked out, which the remote has moved to a second commit since."""
    modules = f'[submodule "lib"]\n\tpath = lib\n\turl = {inner.path}\n'
    advance(bare, {".gitmodules": modules, "lib": ("160000", commit(inner, "one\n").encode())}, "submodule")
    folder = clone(url, tmp_path / "c")
    folder.git(*CLONES)
    if request.param == "partial":
        Repo(folder.path / "lib").git("config", "core.repositoryFormatVersion", "1")
        Repo(folder.path / "lib").git("config", "extensions.partialClone", "origin")
    advance(bare, {"lib": ("160000", commit(inner, "two\n").encode())}, "bump")
    write(folder, {"n": "1\n"})
    report = land(folder, url)
    assert report.move is not None
    assert [(item.path, "git submodule update" in item.reason) for item in report.move.left] == [(b"lib", True)]
    return folder


def test_a_push_of_everything_does_not_take_a_submodule_back(bare: Repo, url: str, inner: Repo, folder: Repo) -> None:
    """The checked-out commit of before is no edit: however often everything is pushed, the remote's commit stays."""
    for number in range(2):
        write(folder, {"n": f"more {number}\n"})
        land(folder, url)
        assert recorded(bare) == inner.git("rev-parse", "HEAD")
    before = tip_at(bare)
    land(folder, url)
    assert tip_at(bare) == before
    assert (folder.path / "lib/inner.txt").read_text() == "one\n"


def test_a_submodule_that_was_brought_up_to_date_can_be_moved_on(
    bare: Repo, url: str, inner: Repo, folder: Repo
) -> None:
    """After git submodule update a push finds nothing old, and another commit of the submodule lands."""
    folder.git(*CLONES)
    write(folder, {"n": "2\n"})
    report = land(folder, url)
    assert report.move is not None
    assert report.move.left == ()
    third = commit(inner, "three\n")
    Repo(folder.path / "lib").git("fetch", "-q")
    Repo(folder.path / "lib").git("checkout", "-q", third)
    land(folder, url, rules=("lib=fail",))
    assert recorded(bare) == third
