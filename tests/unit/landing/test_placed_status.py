"""The file status that the index gets after a move: only that of the file as this tool wrote it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.landing.index_file import UNKNOWN_STAT, Entry, stat_data
from gitref_lock.landing.local_move import MoveReport
from tests.support.clones import move_to, open_checkout, write
from tests.support.gitcli import git, git_result

PAST_NS = 100 * 10**9
"""How far back files are dated here, so that neither git nor this tool can take them for just written."""

Step = Callable[[str], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a repository whose branch theirs changes ``a`` and adds ``n``."""
    path = tmp_path / "clone"
    git("init", "-q", path, cwd=tmp_path)
    write(path, "a", "1\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    git("checkout", "-q", "-b", "theirs", cwd=path)
    write(path, "a", "theirs\n")
    write(path, "n", "theirs\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "theirs", cwd=path)
    git("checkout", "-q", "main", cwd=path)
    return path


def moved(path: Path, step: Step) -> MoveReport:
    """Move the clone to theirs."""
    with open_checkout(path) as checkout, checkout.exclusive():
        return move_to(checkout, Oid(git("rev-parse", "theirs", cwd=path)), step=step)


def entry(path: Path, name: bytes) -> Entry:
    """Return the index entry of a path."""
    with open_checkout(path) as checkout:
        found = checkout.read_index().find(name)
    assert found is not None
    return found


def status(path: Path) -> list[str]:
    """Return git's short status, line by line."""
    return git_result("status", "--porcelain", cwd=path).stdout.decode().splitlines()


def differing(path: Path) -> list[str]:
    """Return the files that differ from HEAD by git's plumbing, which refreshes nothing."""
    return git("diff-index", "--name-only", "HEAD", cwd=path).split()


def date_back(file: Path) -> None:
    """Give a file a modification time of long ago."""
    then = file.lstat().st_mtime_ns - PAST_NS
    os.utime(file, ns=(then, then), follow_symlinks=False)


def date_prepared_back(path: Path) -> None:
    """Date every prepared file back, as if preparing had taken long."""
    for file in (path / ".git/gitref-lock").glob("files-*/*"):
        date_back(file)


def in_place(path: Path, name: str) -> None:
    """Edit a file in its place, keeping its size."""
    write(path, name, "edited\n")
    date_back(path / name)


def replaced(path: Path, name: str) -> None:
    """Edit a file as an editor does that writes a new one, keeping size and modification time."""
    shutil.copy2(path / name, path / "new")
    kept = (path / name).stat().st_mtime_ns
    write(path, "new", "edited\n")
    os.utime(path / "new", ns=(kept, kept))
    (path / "new").replace(path / name)


def in_place_with_its_time(path: Path, name: str) -> None:
    """Edit a file in its place, keeping size and modification time."""
    kept = (path / name).stat().st_mtime_ns
    write(path, name, "edited\n")
    os.utime(path / name, ns=(kept, kept))


@pytest.mark.parametrize("edit", [in_place, replaced, in_place_with_its_time], ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("moment", ["file-placed", "refresh-index"])
@pytest.mark.parametrize("is_old", [False, True])
def test_an_edit_after_placing_is_seen(
    path: Path, moment: str, edit: Callable[[Path, str], None], *, is_old: bool
) -> None:
    """A placed file that is edited before the index is written shows as edited, and the next landing leaves it."""

    def meddle(name: str) -> None:
        if name == "place-files" and is_old:
            date_prepared_back(path)
        if name == moment:
            for file in ("a", "n"):
                if (path / file).exists() and (path / file).read_bytes() == b"theirs\n":
                    edit(path, file)

    assert moved(path, meddle) == MoveReport(local_updated=True)
    assert differing(path) == ["a", "n"]
    assert status(path) == [" M a", " M n"]
    back = git("commit-tree", "-m", "back", "-p", "HEAD", "HEAD~1^{tree}", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        report = move_to(checkout, Oid(back))
    assert [left.path for left in report.left] == [b"a", b"n"]
    assert (path / "a").read_bytes() == (path / "n").read_bytes() == b"edited\n"


def test_a_file_as_written_is_known_and_an_edit_afterwards_is_seen(path: Path) -> None:
    """A placed file counts as unchanged for git's plumbing at once, and as changed when it changes within its tick."""
    assert moved(path, lambda _name: None) == MoveReport(local_updated=True)
    for name in ("a", "n"):
        assert entry(path, name.encode()).stat == stat_data((path / name).lstat())
    assert differing(path) == []
    for name in ("a", "n"):
        in_place_with_its_time(path, name)
    assert differing(path) == ["a", "n"]


def test_a_file_that_is_older_than_the_index_is_not_vouched_for(path: Path) -> None:
    """Where a placed file is dated before the index, git would believe its status for ever: it gets none."""

    def slowly(name: str) -> None:
        if name == "place-files":
            date_prepared_back(path)

    assert moved(path, slowly) == MoveReport(local_updated=True)
    assert entry(path, b"a").stat == entry(path, b"n").stat == UNKNOWN_STAT
    assert status(path) == []


def test_a_copied_file_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was copied onto another file system, whose clock may be another, is not vouched for."""
    real = os.replace

    def across(source: bytes, target: bytes) -> None:
        if b"gitref-lock/files-" in os.fsencode(source):
            raise OSError(18, "Invalid cross-device link")
        real(source, target)

    real_link = os.link

    def refused(source: bytes, target: bytes, *, follow_symlinks: bool = True) -> None:
        if b"gitref-lock/files-" in os.fsencode(source):
            raise OSError(18, "Invalid cross-device link")
        real_link(source, target, follow_symlinks=follow_symlinks)

    def slowly(name: str) -> None:
        if name == "place-files":
            date_prepared_back(path)
        if name == "refresh-index":
            in_place_with_its_time(path, "a")

    monkeypatch.setattr("os.replace", across)
    monkeypatch.setattr("os.link", refused)
    assert moved(path, slowly) == MoveReport(local_updated=True)
    assert entry(path, b"a").stat == entry(path, b"n").stat == UNKNOWN_STAT
    assert status(path) == [" M a"]
