"""A file that is edited here while the remote changes it: both changes survive, whenever the edit is pushed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.errors import ConflictError
from gitref_lock.landing import edited
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.journal import read_journal, write_journal
from gitref_lock.landing.local_move import apply_move
from gitref_lock.landing.move_plan import plan_move
from gitref_lock.landing.workspace import Selection
from tests.support.clones import landing, open_checkout
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


def left_alone(two: tuple[Repo, Repo], repo_url: str) -> None:
    """Leave the first clone with an edit of data.json that its last landing left alone."""
    mine, other = two
    add_key(other, "theirs")
    push_from(other, repo_url, "theirs")
    add_key(mine, "mine")
    (mine.path / "g.txt").write_text("g\n")
    report = push_from(mine, repo_url, "only g", selection=Selection((b"g.txt",)))
    assert report.move is not None
    assert [item.path for item in report.move.left] == [b"data.json"]


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


def test_a_landing_that_moves_no_file_forgets_nothing(two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str) -> None:
    """A push to another branch leaves the files, so what their edits stand on is known afterwards as before."""
    mine, _ = two
    mine.git("push", "-q", "origin", "HEAD:refs/heads/side")
    left_alone(two, repo_url)
    (mine.path / "h.txt").write_text("h\n")
    push_from(mine, repo_url, "elsewhere", selection=Selection((b"h.txt",)), branch="side")
    assert bare_repo.git("show", "side:h.txt") == "h"
    (mine.path / "h.txt").unlink()
    push_from(mine, repo_url, "all")
    assert keys_at(bare_repo) == {"start": 1, "theirs": 1, "mine": 1}


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["branch moved meanwhile", "another branch checked out"])
def test_a_move_that_ends_early_forgets_nothing(two: tuple[Repo, Repo], repo_url: str, *, is_elsewhere: bool) -> None:
    """Where the branch was moved meanwhile, or another one is checked out, no file is touched and nothing forgotten."""
    mine, other = two
    left_alone(two, repo_url)
    with open_checkout(mine.path) as checkout:
        before = edited.bases(checkout)
    assert before.keys() == {b"data.json"}
    add_key(other, "more")
    push_from(other, repo_url, "more")
    mine.git("fetch", "-q")
    with open_checkout(mine.path) as checkout, checkout.exclusive():
        move = plan_move(checkout, checkout.head(), Oid(mine.git("rev-parse", "origin/main")), None)
        journal = write_journal(checkout, move, landing())
        if is_elsewhere:
            mine.git("checkout", "-q", "-b", "elsewhere")
        else:
            mine.git("commit", "-q", "--allow-empty", "-m", "meanwhile")
        report = apply_move(checkout, journal)
        assert report.reason
        assert edited.bases(checkout) == before
        assert read_journal(checkout) is None


def test_an_edit_that_was_given_up_is_forgotten(two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str) -> None:
    """After git checkout of the file a new edit stands on what is checked out, and conflicts with nothing."""
    mine, other = two
    (other.path / "notes.txt").write_text("theirs\n")
    push_from(other, repo_url, "theirs")
    (mine.path / "notes.txt").write_text("mine\n")
    (mine.path / "g.txt").write_text("g\n")
    push_from(mine, repo_url, "only g", selection=Selection((b"g.txt",)))
    mine.git("checkout", "--", "notes.txt")
    push_from(mine, repo_url, "nothing")
    (mine.path / "notes.txt").write_text("theirs, then mine\n")
    push_from(mine, repo_url, "all", rules=("notes.txt=fail",))
    assert bare_repo.git("show", "main:notes.txt") == "theirs, then mine"
    assert not (mine.path / ".git/gitref-lock/edited.json").exists()


@pytest.mark.parametrize("how", ["staged", "stashed"])
def test_an_edit_that_is_kept_elsewhere_is_not_forgotten(
    two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str, how: str
) -> None:
    """A clean file does not mean that its edit was given up while it is still staged, or something is stashed."""
    mine, _ = two
    left_alone(two, repo_url)
    content = (mine.path / "data.json").read_bytes()
    if how == "staged":
        mine.git("add", "data.json")
        (mine.path / "data.json").write_text(bare_repo.git("show", "main:data.json") + "\n")
    else:
        mine.git("stash", "-q")
    (mine.path / "h.txt").write_text("h\n")
    push_from(mine, repo_url, "only h", selection=Selection((b"h.txt",)))
    if how == "staged":
        (mine.path / "data.json").write_bytes(content)
    else:
        mine.git("stash", "pop", "-q")
    push_from(mine, repo_url, "all")
    assert keys_at(bare_repo) == {"start": 1, "theirs": 1, "mine": 1}


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"a": 1}', b'{"a": [33188, "x"]}', b'{"a": ["x", 1]}', b'{"a": {}}', b'{"a": {"withheld": 1}}',
     b"\xff", b"[" * 100000],
)  # fmt: skip
def test_a_damaged_note_is_set_aside(two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str, damage: bytes) -> None:
    """A note that cannot be read ends no push: it is kept beside, and the clone goes on like one without it."""
    mine, _ = two
    folder = mine.path / ".git/gitref-lock"
    folder.mkdir(exist_ok=True)
    (folder / "edited.json").write_bytes(damage)
    add_key(mine, "mine")
    push_from(mine, repo_url, "mine")
    assert keys_at(bare_repo) == {"start": 1, "mine": 1}
    assert (folder / "edited.json.damaged").read_bytes() == damage
    assert not (folder / "edited.json").exists()


def test_a_damaged_note_that_cannot_be_set_aside_is_an_error(two: tuple[Repo, Repo], repo_url: str) -> None:
    """Where even that is impossible the push ends with the file's name, and nothing lands."""
    mine, _ = two
    folder = mine.path / ".git/gitref-lock"
    folder.mkdir(exist_ok=True)
    (folder / "edited.json").write_bytes(b"")
    (folder / "edited.json.damaged").mkdir()
    add_key(mine, "mine")
    with pytest.raises(LandingError, match=r"edited\.json") as caught:
        push_from(mine, repo_url, "mine")
    assert caught.value.code == "bad-note"


def test_the_note_is_on_the_disk_before_it_is_relied_on(
    two: tuple[Repo, Repo], repo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note is waited for before it takes the old one's place."""
    seen: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr("os.fsync", noted)
    left_alone(two, repo_url)
    assert "edited.new" in seen
    assert (two[0].path / ".git/gitref-lock/edited.json").stat().st_mode & 0o777 == 0o600


def test_a_note_that_finds_no_room_is_made_by_the_next_command(
    two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the note leaves a whole clone and the journal; the next command notes what it finds."""
    mine, other = two
    add_key(other, "theirs")
    push_from(other, repo_url, "theirs")
    add_key(mine, "mine")
    (mine.path / "g.txt").write_text("g\n")

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gitref_lock.landing.edited.write_private", full)
    report = push_from(mine, repo_url, "only g", selection=Selection((b"g.txt",)))
    assert report.move is not None
    assert not report.move.local_updated
    assert mine.git("status", "--porcelain", "-uno") == "M data.json"
    monkeypatch.undo()
    push_from(mine, repo_url, "all")
    assert keys_at(bare_repo) == {"start": 1, "theirs": 1, "mine": 1}


@pytest.mark.parametrize("is_staged", [True, False])
def test_a_file_that_was_merged_by_hand_lands_as_it_is(
    two: tuple[Repo, Repo], bare_repo: Repo, repo_url: str, *, is_staged: bool
) -> None:
    """Where the user put the remote's line beside the own one, no rule takes one side whole."""
    mine, other = two
    lines = "".join(f"{number}\n" for number in range(1, 21))
    (other.path / "notes.txt").write_text(lines)
    push_from(other, repo_url, "lines")
    push_from(mine, repo_url, "nothing")
    mine.git("pull", "-q", "--ff-only")
    (other.path / "notes.txt").write_text(lines.replace("10\n", "ten\n"))
    push_from(other, repo_url, "ten")
    (mine.path / "notes.txt").write_text(lines.replace("11\n", "eleven\n"))
    (mine.path / "g.txt").write_text("g\n")
    report = push_from(mine, repo_url, "only g", selection=Selection((b"g.txt",)))
    assert report.move is not None
    assert [item.path for item in report.move.left] == [b"notes.txt"]
    merged = lines.replace("10\n", "ten\n").replace("11\n", "eleven\n")
    (mine.path / "notes.txt").write_text(merged)
    if is_staged:
        mine.git("add", "notes.txt")
    push_from(mine, repo_url, "all")
    assert bare_repo.git("show", "main:notes.txt") + "\n" == merged
    assert (mine.path / "notes.txt").read_text() == merged
    assert mine.git("status", "--porcelain") == ""
    assert not (mine.path / ".git/gitref-lock/edited.json").exists()
