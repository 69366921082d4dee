"""What people know from auto-commit actions: the same calls do the same, and the remote may move meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.errors import PolicyError
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.errors import LandingError
from tests.support.ci import advance, assert_sound, content, land, write
from tests.support.gitcli import Repo, clone
from tests.support.race import command_env
from tests.support.runners import subjects_at, tip_at


@pytest.fixture
def folder(url: str, tmp_path: Path) -> Repo:
    """Return a clone."""
    return clone(url, tmp_path / "c")


def paths_of(bare: Repo, branch: str = "main") -> list[str]:
    """Return the paths of the newest commit with their letters."""
    return bare.git("show", "--format=", "--name-status", "--no-renames", branch).replace("\t", " ").splitlines()


def test_no_change_is_success_without_a_commit(bare: Repo, url: str, folder: Repo) -> None:
    """A clean tree lands nothing, whatever the remote has meanwhile."""
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    report = land(folder, url)
    assert (report.landed, report.to_json()["changes_detected"]) == (None, False)
    assert subjects_at(bare)[0] == "theirs"


def test_touched_files_without_a_change_make_no_commit(bare: Repo, url: str, folder: Repo) -> None:
    """A file that was rewritten with the same content is no change."""
    path = folder.path / "docs/guide.md"
    path.write_bytes(path.read_bytes())
    assert land(folder, url).landed is None
    assert subjects_at(bare)[0] == "base"


def test_deletions_and_additions_land(bare: Repo, url: str, folder: Repo) -> None:
    """A deleted file is deleted there too, also when it was the last of its folder."""
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"docs/guide.md": None, "docs/old.md": None, "new/deep/er.txt": "new\n"})
    land(folder, url)
    assert paths_of(bare) == ["D docs/guide.md", "D docs/old.md", "A new/deep/er.txt"]
    assert folder.git("status", "--porcelain") == ""
    assert_sound(folder)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["*.md"], ["M README.md", "A docs/deep/a.md", "M docs/guide.md"]),
        ([":(glob)*.md"], ["M README.md"]),
        (["docs"], ["A docs/deep/a.md", "A docs/deep/b.txt", "M docs/guide.md"]),
        (["docs", ":(exclude)*.txt"], ["A docs/deep/a.md", "M docs/guide.md"]),
        ([":(glob)docs/**/*.txt"], ["A docs/deep/b.txt"]),
        (["docs/deep/"], ["A docs/deep/a.md", "A docs/deep/b.txt"]),
        (["README.md", "docs/guide.md"], ["M README.md", "M docs/guide.md"]),
    ],
)
def test_patterns_and_folders(bare: Repo, url: str, folder: Repo, paths: list[str], expected: list[str]) -> None:
    """A pattern takes what git takes; everything else stays as it is in the work tree."""
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    new = {
        "README.md": "x\n",
        "docs/guide.md": "x\n",
        "docs/deep/a.md": "x\n",
        "docs/deep/b.txt": "x\n",
        "top.txt": "x\n",
    }
    write(folder, new)
    land(folder, url, *paths)
    assert paths_of(bare) == expected
    assert {name: (folder.path / name).read_text() for name in new} == new
    assert "top.txt" in folder.git("status", "--porcelain")
    assert_sound(folder)


def test_from_a_subfolder(bare: Repo, url: str, folder: Repo) -> None:
    """Started in a folder, a path is relative to it, and the folder survives the landing."""
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"docs/mine.md": "mine\n", "mine.md": "not taken\n"})
    land(Repo(folder.path / "docs"), url, "mine.md")
    assert paths_of(bare) == ["A docs/mine.md"]


def test_ignored_files_stay_out(bare: Repo, url: str, folder: Repo) -> None:
    """An ignored file is not taken by -A; named as a path it is refused as in git."""
    write(folder, {".gitignore": "*.log\n", "debug.log": "log\n", "kept.txt": "kept\n"})
    land(folder, url)
    assert paths_of(bare) == ["A .gitignore", "A kept.txt"]
    with pytest.raises(LandingError, match="ignored") as caught:
        land(folder, url, "debug.log")
    assert caught.value.code == "path-ignored"
    assert (folder.path / "debug.log").read_text() == "log\n"


def test_a_tracked_file_that_is_ignored_now_still_lands(bare: Repo, url: str, folder: Repo) -> None:
    """Ignoring stops at what is tracked."""
    write(folder, {".git/info/exclude": "docs/guide.md\n", "docs/guide.md": "changed\n"})
    land(folder, url)
    assert paths_of(bare) == ["M docs/guide.md"]


def test_a_branch_named_like_a_file(bare: Repo, url: str, folder: Repo) -> None:
    """A branch `docs` beside a folder `docs` is no ambiguity."""
    folder.git("checkout", "-q", "-b", "docs")
    write(folder, {"docs/guide.md": "changed\n"})
    land(folder, url, "docs", message="first")
    write(folder, {"docs/guide.md": "changed again\n"})
    land(folder, url, "docs", message="second")
    assert subjects_at(bare, "docs")[:3] == ["second", "first", "base"]
    assert folder.git("rev-parse", "HEAD") == tip_at(bare, "docs")


def test_a_new_branch_that_is_checked_out_is_created(bare: Repo, url: str, folder: Repo) -> None:
    """A local branch that the remote never had is created there with its commits, and tracked from then on."""
    folder.git("checkout", "-q", "-b", "feature/new")
    write(folder, {"a.txt": "a\n"})
    folder.git("add", "a.txt")
    folder.git("commit", "-qm", "local work")
    write(folder, {"b.txt": "b\n"})
    land(folder, url)
    assert subjects_at(bare, "feature/new")[:3] == ["mine", "local work", "base"]
    assert folder.git("rev-parse", "origin/feature/new") == tip_at(bare, "feature/new")


def test_an_existing_remote_branch_ahead_of_us(bare: Repo, url: str, folder: Repo) -> None:
    """A branch that others created and moved since is landed upon, though this clone never saw it."""
    bare.set_ref("refs/heads/results", tip_at(bare))
    for number in range(3):
        advance(bare, {f"run-{number}.txt": "run\n"}, f"run {number}", "results")
    write(folder, {"mine.txt": "mine\n"})
    land(folder, url, branch="results")
    assert subjects_at(bare, "results")[:4] == ["mine", "run 2", "run 1", "run 0"]
    assert paths_of(bare, "results") == ["A mine.txt"]
    assert subjects_at(bare)[0] == "base"


def test_a_branch_that_vanished_is_not_brought_back(bare: Repo, url: str, folder: Repo) -> None:
    """A branch that was there and is gone is refused, until it is named by hand."""
    advance(bare, {"x.txt": "x\n"}, "work", "feature")
    folder.git("fetch", "-q")
    folder.git("checkout", "-q", "feature")
    bare.delete_ref("refs/heads/feature")
    write(folder, {"mine.txt": "mine\n"})
    with pytest.raises(PolicyError) as caught:
        land(folder, url)
    assert caught.value.code == "branch-gone"
    land(folder, url, branch="feature")
    assert subjects_at(bare, "feature")[0] == "mine"


def test_tags_follow_the_replayed_commit(bare: Repo, url: str, folder: Repo) -> None:
    """Tags point at the commit that landed, not at the one that was replaced."""
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"mine.txt": "mine\n"})
    land(folder, url, tags=("v1.0", "latest/1"), tag_message="Release 1.0")
    assert bare.git("rev-parse", "v1.0^{commit}") == bare.git("rev-parse", "latest/1^{commit}") == tip_at(bare)
    assert bare.git("for-each-ref", "--format=%(contents)", "refs/tags/v1.0").strip() == "Release 1.0"
    bare.fsck()


def test_author_options_and_messages(bare: Repo, url: str, folder: Repo) -> None:
    """Author, sign-off, trailers and paragraphs come through; the committer is who runs the push."""
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"mine.txt": "mine\n"})
    message = "Füge hinzu\n\nein Absatz\nmit zwei Zeilen"
    wish = CommitWish(
        (message, "# kein Kommentar"), "Ada Lovelace <ada@example.invalid>", is_signed_off=True, trailers=("Run: 7",)
    )
    land(folder, url, wish=wish)
    assert bare.git("log", "-1", "--format=%an <%ae> %cn <%ce>", "main") == (
        "Ada Lovelace <ada@example.invalid> Test Committer <committer@example.invalid>"
    )
    assert bare.git("log", "-1", "--format=%B", "main").splitlines() == [
        "Füge hinzu", "", "ein Absatz", "mit zwei Zeilen", "", "# kein Kommentar", "", "Run: 7",
        "Signed-off-by: Test Committer <committer@example.invalid>",
    ]  # fmt: skip


@pytest.mark.parametrize("operation", ["rename", "file to folder", "folder to file", "file to link"])
def test_changes_of_shape(bare: Repo, url: str, folder: Repo, operation: str) -> None:
    """Renames and changes between files, folders and links land, and the clone follows what the remote did."""
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    if operation == "rename":
        (folder.path / "src/app.py").rename(folder.path / "src/main.py")
    elif operation == "file to folder":
        write(folder, {"README.md": None})
        write(folder, {"README.md/inner.md": "inner\n"})
    elif operation == "folder to file":
        write(folder, {"docs/guide.md": None, "docs/old.md": None})
        (folder.path / "docs").rmdir()
        write(folder, {"docs": "a file\n"})
    else:
        write(folder, {"README.md": None})
        (folder.path / "README.md").symlink_to("docs/guide.md")
    land(folder, url)
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert folder.git("status", "--porcelain") == ""
    assert (folder.path / "theirs.txt").exists()
    assert_sound(folder)
    bare.fsck()


def outputs_of(path: Path) -> dict[str, str]:
    """Read a file of GitHub outputs as the runner does."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_outputs_for_later_steps(bare: Repo, folder: Repo, tmp_path: Path) -> None:
    """In a GitHub job the outputs name what happened, with and without a change."""
    output = tmp_path / "output"
    env = command_env(
        GITHUB_ACTIONS="true",
        GITHUB_REF="refs/heads/main",
        GITHUB_OUTPUT=str(output),
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary"),
    )
    words = [sys.executable, "-m", "gitref_lock", "push", "-A", "-m", "mine"]
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"mine.txt": "mine\n"})
    subprocess.run(words, cwd=folder.path, env=env, check=True, capture_output=True, timeout=120)
    said = outputs_of(output)
    assert (said["changes_detected"], said["committed"], said["pushed"], said["landed"]) == ("true",) * 3 + ("fast",)
    assert (said["commit_hash"], said["branch"], said["local_updated"]) == (tip_at(bare), "main", "true")
    output.unlink()
    subprocess.run(words, cwd=folder.path, env=env, check=True, capture_output=True, timeout=120)
    said = outputs_of(output)
    assert (said["changes_detected"], said["committed"], said["pushed"]) == ("false",) * 3
    assert said["commit_hash"] == tip_at(bare)


def test_content_of_the_remote_that_we_did_not_touch_survives(bare: Repo, url: str, folder: Repo) -> None:
    """A clone that is far behind changes only what its commit changed."""
    for number in range(5):
        advance(bare, {f"run-{number}.txt": "run\n", "docs/guide.md": f"guide {number}\n"}, f"run {number}")
    write(folder, {"README.md": "mine\n"})
    land(folder, url)
    assert paths_of(bare) == ["M README.md"]
    assert content(bare, "docs/guide.md") == b"guide 4\n"
    assert (folder.path / "run-4.txt").exists()
