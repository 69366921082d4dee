"""A file that is edited here while the remote changes it: both changes survive, whenever the edit is pushed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitref_lock.errors import ConflictError
from gitref_lock.landing.workspace import Selection
from tests.support.gitcli import Repo
from tests.support.runners import add_key, in_folder, keys_at, push_from


@pytest.fixture
def two(repo_url: str, tmp_path: Path) -> tuple[Repo, Repo]:
    """Return two clones of a remote that holds data.json and notes.txt."""
    first = in_folder(tmp_path, "first", repo_url)
    add_key(first, "start")
    (first.path / "notes.txt").write_text("line\n")
    push_from(first, repo_url, "start")
    return first, in_folder(tmp_path, "second", repo_url)


def test_an_edit_that_was_left_alone_is_merged_when_it_is_pushed(
    two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str
) -> None:
    """The remote's change to an edited file is not taken back by a later push of that file."""
    mine, other = two
    add_key(other, "theirs")
    push_from(other, repo_url, "theirs")
    add_key(mine, "mine")
    (mine.path / "g.txt").write_text("g\n")
    first = push_from(mine, repo_url, "only g", selection=Selection((b"g.txt",)))
    assert first.move is not None
    assert [item.path for item in first.move.left] == [b"data.json"]
    push_from(mine, repo_url, "all")
    assert keys_at(bare_repo) == {"start": 1, "theirs": 1, "mine": 1}
    assert json.loads((mine.path / "data.json").read_text()) == keys_at(bare_repo)
    assert mine.git("status", "--porcelain") == ""
    add_key(mine, "later")
    push_from(mine, repo_url, "later")
    assert keys_at(bare_repo) == {"start": 1, "theirs": 1, "mine": 1, "later": 1}


def test_an_edit_keeps_its_base_over_several_landings_and_local_commits(
    two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str
) -> None:
    """However often the remote changes the file before the edit is pushed, the edit is measured from where it began."""
    mine, other = two
    add_key(mine, "mine")
    for name in ("one", "two"):
        add_key(other, name)
        push_from(other, repo_url, name)
        (mine.path / f"{name}.g").write_text("g\n")
        push_from(mine, repo_url, f"g {name}", selection=Selection((f"{name}.g".encode(),)))
    (mine.path / "local.txt").write_text("local\n")
    mine.git("add", "local.txt")
    mine.git("commit", "-q", "-m", "local")
    push_from(mine, repo_url, "all")
    assert keys_at(bare_repo) == {"start": 1, "one": 1, "two": 1, "mine": 1}
    assert bare_repo.git("show", "main:local.txt") == "local"
    assert mine.git("status", "--porcelain") == ""


def test_an_edit_that_cannot_be_merged_is_a_conflict_and_no_revert(
    two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str
) -> None:
    """Where both sides changed the same line and the rule says fail, the push ends with 7 and the file stays."""
    mine, other = two
    (other.path / "notes.txt").write_text("theirs\n")
    push_from(other, repo_url, "theirs")
    (mine.path / "notes.txt").write_text("mine\n")
    (mine.path / "g.txt").write_text("g\n")
    push_from(mine, repo_url, "only g", selection=Selection((b"g.txt",)))
    with pytest.raises(ConflictError):
        push_from(mine, repo_url, "all", rules=("notes.txt=fail",))
    assert bare_repo.git("show", "main:notes.txt") == "theirs"
    assert (mine.path / "notes.txt").read_text() == "mine\n"
