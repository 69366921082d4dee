"""The local move where something is in its way: collisions, races, foreign locks, odd file systems."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.landing.local_move import MoveReport, Recovery, recover
from gitref_lock.landing.place import describe
from gitref_lock.landing.stage import stage
from tests.support.clones import commit_staged, land, move_to, open_checkout, write
from tests.support.gitcli import git, git_env, git_result

Edit = Callable[[Path], None]


def repository(path: Path, **files: str) -> Path:
    """Make a repository with these files in its first commit."""
    git("init", "-q", path, cwd=path.parent)
    for name, content in files.items():
        write(path, name.replace("__", "/"), content)
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    return path


def incoming(path: Path, edit: Edit) -> Oid:
    """Return a commit that somebody else made on top, and leave everything else as it was."""
    other = path.with_name("other")
    git("worktree", "add", "-q", "--detach", other, cwd=path)
    edit(other)
    git("add", "-A", cwd=other)
    git("commit", "-q", "-m", "theirs", cwd=other)
    new = Oid(git("rev-parse", "HEAD", cwd=other))
    git("worktree", "remove", "--force", other, cwd=path)
    return new


def moved(path: Path, new: Oid, *, step: Callable[[str], None] | None = None) -> MoveReport:
    """Move the clone to ``new``."""
    with open_checkout(path) as checkout, checkout.exclusive():
        return move_to(checkout, new, step=step)


def status(path: Path) -> list[str]:
    """Return git's short status, line by line."""
    return git_result("status", "--porcelain", cwd=path).stdout.decode().splitlines()


def test_a_folder_of_mine_in_a_files_place_stays(tmp_path: Path) -> None:
    """An incoming file does not remove a folder that holds something of the user's."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "x", "theirs\n"))
    write(path, "x/mine", "mine\n")
    report = moved(path, new)
    assert [(left.path, left.reason) for left in report.left] == [(b"x", "a folder is in its place here")]
    assert (path / "x/mine").read_bytes() == b"mine\n"
    assert describe(report.left) == "x (a folder is in its place here)"


def test_a_file_of_mine_in_a_folders_place_stays(tmp_path: Path) -> None:
    """An incoming folder does not replace an untracked file of its name."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "x/theirs", "theirs\n"))
    write(path, "x", "mine\n")
    report = moved(path, new)
    assert [left.path for left in report.left] == [b"x/theirs"]
    assert (path / "x").read_bytes() == b"mine\n"


def test_nothing_is_written_through_a_symlinked_folder(tmp_path: Path) -> None:
    """A symlink in a folder's place is not followed, so nothing outside the clone is ever written."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "d/file", "theirs\n"))
    (tmp_path / "outside").mkdir()
    (path / "d").symlink_to(tmp_path / "outside")
    report = moved(path, new)
    assert [left.path for left in report.left] == [b"d/file"]
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_tracked_file_that_is_a_folder_here_stays(tmp_path: Path) -> None:
    """A file that the user replaced by a folder is left, changed or removed by theirs alike."""
    path = repository(tmp_path / "r", a="1\n", b="1\n")

    def edit(root: Path) -> None:
        write(root, "a", "theirs\n")
        (root / "b").unlink()

    new = incoming(path, edit)
    for name in ("a", "b"):
        (path / name).unlink()
        write(path, f"{name}/mine", "mine\n")
    report = moved(path, new)
    assert [(left.path, left.reason) for left in report.left] == [(b"a", "a folder is in its place here")]
    assert (path / "a/mine").exists()
    assert (path / "b/mine").exists()


def test_the_same_change_here_is_no_collision(tmp_path: Path) -> None:
    """A file that already has the incoming content is simply up to date."""
    path = repository(tmp_path / "r", a="1\n")

    def edit(root: Path) -> None:
        write(root, "a", "2\n")
        write(root, "n", "new\n")

    new = incoming(path, edit)
    edit(path)
    assert moved(path, new) == MoveReport(local_updated=True)
    assert status(path) == []


def test_an_edit_between_comparison_and_writing_stays(tmp_path: Path) -> None:
    """A file edited, or one that appears, in the very moment of the move is noticed and left."""
    path = repository(tmp_path / "r", a="1\n", gone="1\n")

    def edit(root: Path) -> None:
        write(root, "a", "theirs\n")
        write(root, "n", "theirs\n")
        (root / "gone").unlink()

    def meddle(name: str) -> None:
        if name == "place-files":
            for file in ("a", "n", "gone"):
                write(path, file, "edited in this moment\n")

    report = moved(path, incoming(path, edit), step=meddle)
    assert [(left.path, left.reason) for left in report.left] == [
        (b"a", "it was edited meanwhile"),
        (b"gone", "it was edited meanwhile"),
        (b"n", "an untracked file of that name is here"),
    ]
    assert all((path / file).read_bytes() == b"edited in this moment\n" for file in ("a", "n", "gone"))


def test_a_branch_that_moves_in_the_last_moment_undoes_the_preparation(tmp_path: Path) -> None:
    """When the compare-and-swap of the branch fails nothing was changed, and no lock stays behind."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "a", "theirs\n"))
    other = git("commit-tree", "-m", "mine", "-p", "HEAD", "HEAD^{tree}", cwd=path)

    def meddle(name: str) -> None:
        if name == "move-branch":
            git("update-ref", "refs/heads/main", other, cwd=path)

    report = moved(path, new, step=meddle)
    assert report == MoveReport(local_updated=False, reason="refs/heads/main was moved meanwhile")
    assert git("rev-parse", "HEAD", cwd=path) == other
    assert status(path) == []
    assert sorted(item.name for item in (path / ".git/gitref-lock").iterdir()) == ["busy", "journal.json"]
    assert list((path / ".git").glob("**/*.lock")) == []


def test_a_ref_held_by_git_is_waited_for_by_the_next_command(tmp_path: Path) -> None:
    """While git holds the branch's lock the clone stays as it was; its lock is never taken away."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "a", "theirs\n"))
    lock = path / ".git/refs/heads/main.lock"
    lock.touch()
    report = moved(path, new)
    assert not report.local_updated
    assert "main.lock exists" in (report.reason or "")
    assert status(path) == []
    with open_checkout(path) as checkout, checkout.exclusive():
        assert recover(checkout, lambda _journal: True).outcome is Recovery.WAITING
        assert lock.exists()
        lock.unlink()
        assert recover(checkout, lambda _journal: True).outcome is Recovery.FINISHED
    assert git("rev-parse", "HEAD", cwd=path) == new


def test_a_file_system_without_hard_links_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hard links are refused, exclusive creation and rename do the same."""
    path = repository(tmp_path / "r", a="1\n")

    def edit(root: Path) -> None:
        write(root, "a", "theirs\n")
        write(root, "n/new", "theirs\n")

    new = incoming(path, edit)

    def refused(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    assert moved(path, new) == MoveReport(local_updated=True)
    assert status(path) == []
    assert list((path / ".git").glob("**/*.lock")) == []
    new = incoming(path, lambda root: write(root, "m", "theirs\n"))
    write(path, "m", "mine\n")
    assert [left.path for left in moved(path, new).left] == [b"m"]
    (path / ".git/index.lock").touch()
    new = incoming(path, lambda root: write(root, "o", "theirs\n"))
    assert not moved(path, new).local_updated


def test_a_git_directory_on_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When finished files cannot be renamed into the work tree they are copied beside it first."""
    path = repository(tmp_path / "r", a="1\n")

    def edit(root: Path) -> None:
        write(root, "a", "theirs\n", mode=0o755)
        write(root, "n", "new\n")

    new = incoming(path, edit)
    real = os.replace

    def across(source: bytes, target: bytes) -> None:
        if b"gitref-lock/files-" in os.fsencode(source):
            raise OSError(18, "Invalid cross-device link")
        real(source, target)

    def refused(*_arguments: object, **_options: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.replace", across)
    monkeypatch.setattr("os.link", refused)
    assert moved(path, new) == MoveReport(local_updated=True)
    assert status(path) == []
    assert os.access(path / "a", os.X_OK)


def test_a_disk_that_fills_up_while_files_are_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the branch has moved, a full disk only costs the noted file status: git looks again and all is clean."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "a", "theirs\n"))

    def full(_path: Path, _data: bytes, *, is_hardened: bool) -> None:
        raise OSError(28, f"No space left on device ({is_hardened})")

    monkeypatch.setattr("gitref_lock.landing.index_lock.write_new", full)
    assert moved(path, new) == MoveReport(local_updated=True)
    assert status(path) == []
    assert sorted(item.name for item in (path / ".git/gitref-lock").iterdir()) == ["busy"]


def test_an_index_that_cannot_be_replaced_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last rename fails the journal waits, git is not locked out, and the next command finishes."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "a", "theirs\n"))

    def refused(_lock: object, _date_ns: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("gitref_lock.landing.index_lock.IndexLock.commit", refused)
    assert moved(path, new) == MoveReport(local_updated=False, reason="Input/output error")
    assert not (path / ".git/index.lock").exists()
    monkeypatch.undo()
    with open_checkout(path) as checkout, checkout.exclusive():
        assert recover(checkout, lambda _journal: True).outcome is Recovery.FINISHED
    assert git("rev-parse", "HEAD", cwd=path) == new
    assert status(path) == []


def test_a_path_that_cannot_be_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be made costs that path, not the move."""
    path = repository(tmp_path / "r", a="1\n")

    def edit(root: Path) -> None:
        write(root, "a", "theirs\n")
        write(root, "d/new", "theirs\n")

    new = incoming(path, edit)

    def refused(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.makedirs", refused)
    report = moved(path, new)
    assert [(left.path, left.reason) for left in report.left] == [(b"d/new", "Permission denied")]
    assert (path / "a").read_bytes() == b"theirs\n"


def submodule(path: Path, name: str) -> None:
    """Add a populated submodule and commit it."""
    source = repository(path.parent / "source", inner="1\n")
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), name, cwd=path)
    git("commit", "-q", "-m", "submodule", cwd=path)


def without_submodule(root: Path) -> None:
    """Remove the submodule from the index."""
    git("rm", "-q", "-f", "--cached", "sub", cwd=root)


def test_a_submodule_that_theirs_removed_keeps_its_files(tmp_path: Path) -> None:
    """The folder of a removed submodule stays when it is populated, and goes when it is empty."""
    path = repository(tmp_path / "r", a="1\n")
    submodule(path, "sub")
    new = incoming(path, without_submodule)
    assert moved(path, new).local_updated
    assert (path / "sub/inner").exists()
    path = repository(tmp_path / "e", a="1\n")
    shutil.rmtree(tmp_path / "source")
    submodule(path, "sub")
    shutil.rmtree(path / "sub")
    (path / "sub").mkdir()
    new = incoming(path, without_submodule)
    assert moved(path, new) == MoveReport(local_updated=True)
    assert not (path / "sub").exists()


def test_a_file_in_a_populated_submodules_place(tmp_path: Path) -> None:
    """A submodule that theirs replaced by a file is left, with the reason."""
    path = repository(tmp_path / "r", a="1\n")
    submodule(path, "sub")

    def edit(root: Path) -> None:
        git("rm", "-q", "-f", "sub", cwd=root)
        write(root, "sub", "a file now\n")

    report = moved(path, incoming(path, edit))
    assert [(left.path, left.reason) for left in report.left] == [(b"sub", "a submodule's folder is in its place")]
    assert (path / "sub/inner").exists()


def test_filtered_files_are_compared_through_git(tmp_path: Path) -> None:
    """Whether a file under a filter was edited is judged by what the filter makes of it."""
    path = repository(tmp_path / "r", a="1\n")
    for key in ("clean", "smudge"):
        git("config", f"filter.swap.{key}", "tr xy yx", cwd=path)
    write(path, ".gitattributes", "*.f filter=swap\n")
    write(path, "same.f", "xx\n")
    write(path, "edited.f", "xx\n")
    land(path, take_all=True)
    assert git("show", "HEAD:same.f", cwd=path) == "yy"

    def edit(root: Path) -> None:
        write(root, "same.f", "xy\n")
        write(root, "edited.f", "xy\n")

    new = incoming(path, edit)
    write(path, "edited.f", "my edit\n")
    os.utime(path / "same.f")
    report = moved(path, new)
    assert [left.path for left in report.left] == [b"edited.f"]
    assert (path / "same.f").read_bytes() == b"xy\n"
    assert status(path) == [" M edited.f"]


def test_without_git_a_filtered_file_is_left(tmp_path: Path) -> None:
    """A file whose filter cannot be run is not written wrongly but left, with the reason."""
    path = repository(tmp_path / "r", a="1\n")
    for key in ("clean", "smudge"):
        git("config", f"filter.swap.{key}", "tr xy yx", cwd=path)
    write(path, ".gitattributes", "*.f filter=swap\n")
    land(path, take_all=True)
    new = incoming(path, lambda root: write(root, "n.f", "xy\n"))
    os.environ["PATH"], saved = str(tmp_path), os.environ["PATH"]
    try:
        with open_checkout(path) as checkout, checkout.exclusive():
            report = move_to(checkout, new)
    finally:
        os.environ["PATH"] = saved
    assert [left.path for left in report.left] == [b"n.f"]
    assert "goes through the filter swap" in report.left[0].reason
    assert not (path / "n.f").exists()


def test_the_folder_of_the_command_is_kept(tmp_path: Path) -> None:
    """A folder that becomes empty is removed, but never the one the command was started in."""
    path = repository(tmp_path / "r", a="1\n", d__e__f="1\n", g__f="1\n")

    def edit(root: Path) -> None:
        shutil.rmtree(root / "d")
        shutil.rmtree(root / "g")

    new = incoming(path, edit)
    with open_checkout(path / "d/e") as checkout, checkout.exclusive():
        assert move_to(checkout, new) == MoveReport(local_updated=True)
    assert (path / "d/e").is_dir()
    assert not (path / "g").exists()


def test_a_staged_deletion_of_mine_and_a_change_of_theirs(tmp_path: Path) -> None:
    """A path staged as deleted by the user, not pushed, stays staged that way and is named."""
    path = repository(tmp_path / "r", a="1\n", b="1\n")
    new = incoming(path, lambda root: write(root, "a", "theirs\n"))
    git("rm", "-q", "a", cwd=path)
    report = moved(path, new)
    assert [left.path for left in report.left] == [b"a"]
    assert status(path) == ["D  a"]


def test_paths_are_relative_to_the_folder_of_the_command(tmp_path: Path) -> None:
    """PATH arguments count from where the command runs; absolute ones and ``:/`` work from everywhere."""
    path = repository(tmp_path / "r", a="1\n", d__f="1\n", d__g="1\n")
    write(path, "a", "2\n")
    write(path, "d/f", "2\n")
    write(path, "d/g", "2\n")
    for given, expected in (
        ((b"f",), [b"d/f"]),
        ((b"../a", b"*"), [b"a", b"d/f", b"d/g"]),
        ((os.fsencode(path / "d/g"),), [b"d/g"]),
        ((b":/a",), [b"a"]),
        ((b".", b":!g"), [b"d/f"]),
        ((os.fsencode(path),), [b"a", b"d/f", b"d/g"]),
    ):
        with open_checkout(path / "d") as checkout:
            assert [item.path for item in stage(checkout, given).changes] == expected, given
    with open_checkout(path / "d") as checkout:
        assert [item.path for item in stage(checkout, take_all=True).changes] == [b"a", b"d/f", b"d/g"]
        assert [item.path for item in stage(checkout).changes] == [b"a", b"d/f", b"d/g"]


def test_staging_alone_changes_nothing_that_git_shows(tmp_path: Path) -> None:
    """Index bytes, refs and files are the same after staging, in-process and through git."""
    path = repository(tmp_path / "r", a="1\n")
    git("config", "filter.up.clean", "tr a-z A-Z", cwd=path)
    write(path, ".gitattributes", "*.up filter=up\n")
    write(path, "a", "2\n")
    write(path, "n.up", "abc\n")
    shown = status(path)  # also lets git settle what it notes in the index
    before = ((path / ".git/index").read_bytes(), git("for-each-ref", cwd=path), shown)
    with open_checkout(path) as checkout:
        assert stage(checkout).through_git is None
        assert stage(checkout, take_all=True).through_git == "n.up goes through the filter up"
        staged = stage(checkout, [b"n.up", b"a"])
        assert checkout.blob(staged.changes[1].new_id.encode() if staged.changes[1].new_id else b"") == b"ABC\n"
    assert ((path / ".git/index").read_bytes(), git("for-each-ref", cwd=path), status(path)) == before


def test_a_staged_removal_beside_filtered_paths(tmp_path: Path) -> None:
    """Through git, too, a PATH whose removal is staged counts as a change and not as an unknown path."""
    path = repository(tmp_path / "r", a="1\n", b="1\n")
    git("config", "filter.up.clean", "tr a-z A-Z", cwd=path)
    write(path, ".gitattributes", "*.up filter=up\n")
    write(path, "n.up", "abc\n")
    git("rm", "-q", "a", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"a", b"n.up"])
        assert staged.through_git is not None
        assert [item.path for item in staged.changes] == [b"a", b"n.up"]
        assert move_to(checkout, commit_staged(checkout, staged), staged).local_updated
    assert status(path) == ["?? .gitattributes"]


def test_folders_of_killed_commands_are_removed(tmp_path: Path) -> None:
    """Whatever a killed hook, staging, conflict command, rescue or signature left goes with the next command."""
    path = repository(tmp_path / "r", a="1\n")
    private = path / ".git/gitref-lock"
    for name in ("files-0", "hook-x1", "stage-x1", "driver-x1", "rescue-x1", "tmpx1", "unknown"):
        write(private, f"{name}/deep/file", "left\n")
    write(private, "edited.json", "{}")
    write(private, "hook-file", "no folder\n")
    (private / "stage-link").symlink_to(private / "unknown")
    with open_checkout(path) as checkout, checkout.exclusive():
        assert recover(checkout, lambda _journal: None).outcome is Recovery.NOTHING
    assert sorted(item.name for item in private.iterdir()) == [
        "busy", "edited.json", "hook-file", "stage-link", "unknown",
    ]  # fmt: skip
    assert (private / "unknown/deep/file").exists()


def test_a_killed_hook_leaves_nothing_for_ever(tmp_path: Path) -> None:
    """A push that is killed in its pre-commit hook leaves a folder, which the next command takes away."""
    path = repository(tmp_path / "r", a="1\n")
    write(path, ".git/hooks/pre-commit", "#!/bin/sh\nkill -9 $PPID\n", mode=0o755)
    write(path, "a", "2\n")
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from gitref_lock.landing.checkout import Checkout\n"
        "from gitref_lock.landing.hooks import Hooks\n"
        "from gitref_lock.landing.stage import stage\n"
        "with Checkout.open(Path(sys.argv[1]), os.environ) as checkout, checkout.exclusive():\n"
        "    Hooks(checkout).pre_commit(stage(checkout))\n"
    )
    environ = {**git_env(), "PYTHONPATH": str(Path(__file__).parents[3])}
    killed = subprocess.run([sys.executable, "-c", code, path], env=environ, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    private = path / ".git/gitref-lock"
    assert [item.name for item in private.iterdir() if item.is_dir()] != []
    with open_checkout(path) as checkout, checkout.exclusive():
        recover(checkout, lambda _journal: None)
    assert [item.name for item in private.iterdir()] == ["busy"]


def test_attributes_that_cannot_be_read_leave_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error before anything is prepared gives the index back at once."""
    path = repository(tmp_path / "r", a="1\n")
    new = incoming(path, lambda root: write(root, "a", "theirs\n"))

    def refused(*_arguments: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("gitref_lock.landing.place.Attributes", refused)
    assert moved(path, new) == MoveReport(local_updated=False, reason="Input/output error")
    assert not (path / ".git/index.lock").exists()
    assert status(path) == []
