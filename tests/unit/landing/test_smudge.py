"""A file that arrives together with the attributes that filter it is written as a checkout writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.landing.local_move import MoveReport
from tests.support.clones import land, move_to, open_checkout, write
from tests.support.gitcli import git

ROT = ("filter.rot.clean", "filter.rot.smudge")


def repository(path: Path, files: Mapping[str, str]) -> Path:
    """Make a repository with these files in its first commit, and the filter ``rot``."""
    git("init", "-q", path, cwd=path.parent)
    for key in ROT:
        git("config", key, "tr a-z n-za-m", cwd=path)
    for name, content in files.items():
        write(path, name, content)
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    return path


def incoming(path: Path, files: Mapping[str, str | bytes]) -> Oid:
    """Return a commit that somebody else made on top with git, and leave everything else as it was."""
    other = path.with_name("other")
    git("worktree", "add", "-q", "--detach", other, cwd=path)
    for name, content in files.items():
        write(other, name, content)
    git("add", "-A", cwd=other)
    git("commit", "-q", "-m", "theirs", cwd=other)
    new = Oid(git("rev-parse", "HEAD", cwd=other))
    git("worktree", "remove", "--force", other, cwd=path)
    return new


def moved(path: Path, new: Oid) -> MoveReport:
    """Move the clone to ``new``."""
    with open_checkout(path) as checkout, checkout.exclusive():
        return move_to(checkout, new)


@pytest.mark.parametrize(
    ("attributes", "content", "is_below"),
    [
        ("*.bin filter=rot", b"hello\n", False),
        ("*.bin filter=rot", b"hello\n", True),
        ("*.bin ident", b"$Id$\n", False),
        ("*.bin text working-tree-encoding=UTF-16LE", "grüße\n".encode("utf-16-le"), False),
    ],
)
def test_attributes_that_arrive_with_a_file_decide_how_it_is_written(
    tmp_path: Path, attributes: str, content: bytes, *, is_below: bool
) -> None:
    """The file is as a checkout writes it, and neither git nor the next push finds anything changed."""
    path = repository(tmp_path / "r", {"a": "1\n"})
    folder = "d/" if is_below else ""
    new = incoming(path, {f"{folder}.gitattributes": attributes + "\n", f"{folder}x.bin": content})
    git("clone", "-q", "--no-checkout", path, tmp_path / "plain", cwd=tmp_path)
    for key in ROT:
        git("config", key, "tr a-z n-za-m", cwd=tmp_path / "plain")
    git("checkout", "-q", "--detach", new, cwd=tmp_path / "plain")
    assert moved(path, new) == MoveReport(local_updated=True)
    assert (path / folder / "x.bin").read_bytes() == (tmp_path / "plain" / folder / "x.bin").read_bytes()
    assert git("status", "--porcelain", cwd=path) == ""
    assert land(path, take_all=True).is_empty


def test_attributes_that_go_no_longer_filter(tmp_path: Path) -> None:
    """A file that changes while its attributes file is removed is written as it is stored."""
    path = repository(tmp_path / "r", {"d/.gitattributes": "*.bin filter=rot\n", "d/x.bin": "hello\n"})
    other = path.with_name("other")
    git("worktree", "add", "-q", "--detach", other, cwd=path)
    (other / "d/.gitattributes").unlink()
    write(other, "d/x.bin", "plain\n")
    git("add", "-A", cwd=other)
    git("commit", "-q", "-m", "theirs", cwd=other)
    assert moved(path, Oid(git("rev-parse", "HEAD", cwd=other))) == MoveReport(local_updated=True)
    assert (path / "d/x.bin").read_bytes() == b"plain\n"
    assert git("status", "--porcelain", cwd=path) == ""


def test_attributes_that_are_left_keep_their_say(tmp_path: Path) -> None:
    """Where the arriving attributes are left, files are written by those that stay, so that none looks edited."""
    path = repository(tmp_path / "r", {".gitattributes": "# none\n", "x.bin": "hello\n"})
    new = incoming(path, {".gitattributes": "*.bin filter=rot\n", "x.bin": "changed\n"})
    write(path, ".gitattributes", "# mine\n")
    report = moved(path, new)
    assert [left.path for left in report.left] == [b".gitattributes"]
    assert git("status", "--porcelain", cwd=path) == "M .gitattributes"


def test_a_required_filter_that_fails_leaves_the_file(tmp_path: Path) -> None:
    """Content that a required filter could not make is never written unfiltered: the path is named."""
    path = repository(tmp_path / "r", {"a": "1\n"})
    new = incoming(path, {".gitattributes": "*.bin filter=rot\n", "x.bin": "hello\n"})
    git("config", "filter.rot.smudge", "false", cwd=path)
    git("config", "filter.rot.required", "true", cwd=path)
    report = moved(path, new)
    assert [left.path for left in report.left] == [b"x.bin"]
    assert "goes through the filter rot" in report.left[0].reason
    assert not (path / "x.bin").exists()
    assert not list((path / ".git/gitref-lock").glob("files-*"))
