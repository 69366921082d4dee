"""Files that git was told to keep out of commits stay out of them when the remote changes what lies at their path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ci import advance, content, land, write
from tests.support.gitcli import Repo, clone, git_result
from tests.support.runners import tip_at

APP = "".join(f"line {number}\n" for number in range(1, 21))


def left(report: object) -> list[str]:
    """Return the paths that a push reports as left."""
    move = getattr(report, "move", None)
    assert move is not None
    assert move.local_updated
    return [item.path.decode() for item in move.left]


def is_there(bare: Repo, path: str) -> bool:
    """Tell whether the remote's branch has a file."""
    return git_result("cat-file", "-e", f"main:{path}", cwd=bare.path).returncode == 0


@pytest.fixture(params=["in-process", "split"])
def folder(request: pytest.FixtureRequest, bare: Repo, url: str, tmp_path: Path) -> Repo:
    """Return a clone whose index is read in-process, or by git only."""
    del bare  # the clone needs it
    folder = clone(url, tmp_path / "c")
    if request.param == "split":
        folder.git("update-index", "--split-index")
    return folder


def test_a_file_that_is_assumed_unchanged_is_not_pushed(bare: Repo, url: str, folder: Repo) -> None:
    """An edit under --assume-unchanged is left and named, keeps its mark, and later pushes of everything pass it."""
    folder.git("update-index", "--assume-unchanged", "src/app.py")
    write(folder, {"src/app.py": APP + "secret\n", "n": "1\n"})
    advance(bare, {"src/app.py": APP.replace("line 3\n", "three\n")}, "theirs")
    assert left(land(folder, url)) == ["src/app.py"]
    assert folder.git("ls-files", "-v", "src/app.py") == "h src/app.py"
    write(folder, {"n": "2\n"})
    land(folder, url)
    assert content(bare, "n") == b"2\n"
    assert b"secret" not in content(bare, "src/app.py")
    assert (folder.path / "src/app.py").read_text() == APP + "secret\n"
    folder.git("update-index", "--no-assume-unchanged", "src/app.py")
    land(folder, url)
    assert content(bare, "src/app.py").decode() == APP.replace("line 3\n", "three\n") + "secret\n"


def test_a_hidden_file_that_the_remote_removes_is_not_added_again(bare: Repo, url: str, folder: Repo) -> None:
    """A file under --skip-worktree is left and named when its entry goes, and only its own name pushes it again."""
    folder.git("update-index", "--skip-worktree", "docs/guide.md")
    write(folder, {"docs/guide.md": "private\n", "n": "1\n"})
    advance(bare, {"docs/guide.md": None}, "theirs")
    assert left(land(folder, url)) == ["docs/guide.md"]
    for number, paths in enumerate(([], ["."], ["docs"], ["docs/*.md"])):
        write(folder, {"n": f"more {number}\n", "docs/old.md": f"{number}\n"})
        land(folder, url, *paths)
        assert not is_there(bare, "docs/guide.md")
        assert content(bare, "docs/old.md") == f"{number}\n".encode()
    assert (folder.path / "docs/guide.md").read_text() == "private\n"
    land(folder, url, "docs/guide.md", rules=("docs/guide.md=ours",))
    assert content(bare, "docs/guide.md") == b"private\n"


def test_a_hidden_file_that_the_remote_changes_is_named(bare: Repo, url: str, folder: Repo) -> None:
    """A file under --skip-worktree stays as it is, hidden, and is reported."""
    folder.git("update-index", "--skip-worktree", "docs/guide.md")
    write(folder, {"docs/guide.md": "private\n", "n": "1\n"})
    advance(bare, {"docs/guide.md": "theirs\n"}, "theirs")
    assert left(land(folder, url)) == ["docs/guide.md"]
    assert folder.git("ls-files", "-t", "docs/guide.md") == "S docs/guide.md"
    assert (folder.path / "docs/guide.md").read_text() == "private\n"


def test_an_ignored_file_in_an_incoming_files_place_is_not_pushed(bare: Repo, url: str, folder: Repo) -> None:
    """An ignored file stays when the remote adds one of its name, and only its own name pushes it."""
    (folder.path / ".git/info/exclude").write_text("s.json\n")
    write(folder, {"s.json": '{"secret": 2}\n', "n": "1\n"})
    advance(bare, {"s.json": '{"theirs": 1}\n'}, "theirs")
    assert left(land(folder, url)) == ["s.json"]
    for number, paths in enumerate(([], ["."], ["*.json", "n"])):
        write(folder, {"n": f"more {number}\n"})
        land(folder, url, *paths)
        assert content(bare, "n") == f"more {number}\n".encode()
        assert content(bare, "s.json") == b'{"theirs": 1}\n'
    before = tip_at(bare)
    land(folder, url)
    assert tip_at(bare) == before
    advance(bare, {"s.json": '{"theirs": 2}\n'}, "theirs again")
    write(folder, {"n": "last\n"})
    assert left(land(folder, url)) == ["s.json"]
    land(folder, url)
    assert content(bare, "s.json") == b'{"theirs": 2}\n'
    assert (folder.path / "s.json").read_text() == '{"secret": 2}\n'
    land(folder, url, "s.json")
    assert b"secret" in content(bare, "s.json")
