"""`cleanup --local`: what a dead job left in a clone goes, after its plan was shown, and no byte of work is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.testing.faults import FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.support.ci import advance, assert_sound, land, picture, write
from tests.support.gitcli import Repo, clone, git_env, git_result
from tests.support.race import command_env, start_push
from tests.support.runners import subjects_at, tip_at

OLD_S = 10_000_000


@pytest.fixture
def folder(url: str, tmp_path: Path) -> Repo:
    """Return a clone."""
    return clone(url, tmp_path / "c")


def run(folder: Repo, *words: str, code: int = 0) -> dict[str, object]:
    """Run `cleanup --local` and return its document."""
    done = subprocess.run(
        [sys.executable, "-m", "gitref_lock", "cleanup", "--local", "--json", *words],
        cwd=folder.path,
        env=command_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


def collide(folder: Repo, operation: str) -> None:
    """Leave an operation half done, with one conflict solved, one open, and an untracked file."""
    folder.git("checkout", "-q", "-b", "side")
    write(folder, {"README.md": "side\n", "docs/guide.md": "side\n"})
    folder.git("commit", "-qam", "side work")
    folder.git("checkout", "-q", "main")
    write(folder, {"README.md": "main\n", "docs/guide.md": "main\n"})
    folder.git("commit", "-qam", "main work")
    words = {"rebase": ["rebase", "side"], "merge": ["merge", "side"]}.get(operation, [operation, "side"])
    if operation == "revert":
        write(folder, {"README.md": "later\n", "docs/guide.md": "later\n"})
        folder.git("commit", "-qam", "later work")
        words = ["revert", "--no-edit", "HEAD~1"]
    done = git_result(*words, cwd=folder.path)
    assert done.returncode != 0
    write(folder, {"README.md": "solved by hand\n", "untracked.txt": "untracked\n", "src/app.py": "edited too\n"})
    folder.git("add", "README.md")


@pytest.mark.parametrize("operation", ["rebase", "merge", "cherry-pick", "revert"])
def test_an_unfinished_operation_is_ended_and_everything_kept(folder: Repo, operation: str) -> None:
    """The clone is back where it was before; files, solved conflicts and edits are in the rescue ref."""
    collide(folder, operation)
    branch_before = folder.git("rev-parse", "main")
    files = {
        name: (folder.path / name).read_bytes()
        for name in ("README.md", "docs/guide.md", "src/app.py", "untracked.txt")
    }
    said = run(folder)
    assert said["done"] == [operation]
    rescue = str(said["rescue"])
    assert rescue.startswith("refs/gitref-lock/rescue/")
    for name, data in files.items():
        assert git_result("cat-file", "blob", f"{rescue}:{name}", cwd=folder.path).stdout == data
    assert folder.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert folder.git("rev-parse", "main") == branch_before
    assert (folder.path / "untracked.txt").read_text() == "untracked\n"
    assert git_result("status", "--porcelain", cwd=folder.path).stdout.find(b"UU") == -1
    kept = folder.git("rev-list", rescue).split()
    assert folder.git("rev-parse", "side") in kept or operation == "revert"
    folder.git("checkout", rescue, "--", ".")
    assert (folder.path / "README.md").read_text() == "solved by hand\n"
    folder.git("reset", "-q", "--hard")
    assert_sound(folder)


def test_commits_made_during_a_rebase_are_kept(folder: Repo) -> None:
    """Commits that a rebase made before it stopped stay reachable."""
    collide(folder, "rebase")
    folder.git("add", "-A")
    folder.git("commit", "-qm", "made during the rebase")
    made = folder.git("rev-parse", "HEAD")
    rescue = str(run(folder)["rescue"])
    assert made in folder.git("rev-list", rescue).split()


def test_the_plan_is_shown_and_a_dry_run_changes_nothing(folder: Repo) -> None:
    """--dry-run names what would be done and leaves every byte."""
    collide(folder, "merge")
    (folder.path / ".git/index.lock").touch()
    os.utime(folder.path / ".git/index.lock", (OLD_S, OLD_S))
    before = picture(folder)
    said = run(folder, "--dry-run")
    plan = said["plan"]
    assert isinstance(plan, dict)
    assert plan["operations"] == ["merge"]
    assert [Path(name).name for name in plan["lock_files"]] == ["index.lock"]
    assert picture(folder) == before
    assert (folder.path / ".git/index.lock").exists()
    assert (folder.path / ".git/MERGE_HEAD").exists()


def test_nothing_left_is_nothing_done(folder: Repo) -> None:
    """A sound clone is left alone, its edits and staged content too."""
    write(folder, {"README.md": "edited\n", "staged.txt": "staged\n"})
    folder.git("add", "staged.txt")
    before = picture(folder)
    said = run(folder)
    assert (said["done"], said["rescue"], said["left"]) == ([], "", [])
    assert picture(folder) == before


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "refs/heads/main.lock"])
def test_an_old_lock_without_an_owner_goes(folder: Repo, name: str) -> None:
    """A lock that nobody can own any more is removed, and what a lock held is kept aside."""
    lock = folder.path / ".git" / name
    lock.write_bytes(b"half an index" if name == "index.lock" else b"")
    os.utime(lock, (OLD_S, OLD_S))
    assert run(folder)["done"] == [lock.name]
    assert not lock.exists()
    kept = list((folder.path / ".git/gitref-lock").glob("kept-*"))
    assert [item.read_bytes() for item in kept] == ([b"half an index"] if name == "index.lock" else [])


def test_a_fresh_lock_stays(folder: Repo) -> None:
    """A young lock may be somebody's, though no process shows: it stays, with the reason."""
    lock = folder.path / ".git/index.lock"
    lock.touch()
    said = run(folder)
    assert said["done"] == []
    assert "a lock counts as left behind after" in str(said["left"])
    assert lock.exists()


def test_a_lock_that_a_process_has_open_stays(folder: Repo) -> None:
    """However old a lock is: while a process has it open it is that one's."""
    lock = folder.path / ".git/index.lock"
    lock.touch()
    os.utime(lock, (OLD_S, OLD_S))
    words = [sys.executable, "-c", f"f = open({str(lock)!r}); print('open', flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        said = run(folder)
        assert f"process {owner.pid} uses it" in str(said["left"])
        assert lock.exists()
        owner.communicate("\n")
    assert run(folder)["done"] == ["index.lock"]


def test_a_git_that_runs_here_keeps_its_lock(folder: Repo) -> None:
    """A git that waits for an editor holds its lock without having it open."""
    lock = folder.path / ".git/index.lock"
    lock.touch()
    os.utime(lock, (OLD_S, OLD_S))
    with subprocess.Popen(
        ["git", "cat-file", "--batch"], cwd=folder.path, env=git_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"HEAD\n")
        running.stdin.flush()
        running.stdout.readline()
        assert f"process {running.pid} uses it" in str(run(folder)["left"])
        assert lock.exists()
        running.stdin.close()
        running.stdout.read()


def test_an_earlier_push_that_was_killed_is_finished(bare: Repo, server_root: Path, tmp_path: Path) -> None:
    """Killed after its landing was applied: the clone follows, without another push."""
    with GitHttpServer(server_root) as server:
        folder = clone(server.repo_url("repo.git"), tmp_path / "c")
        land(clone(server.repo_url("repo.git"), tmp_path / "other"), server.repo_url("repo.git"))
        write(folder, {"mine.txt": "mine\n"})
        processes: list[subprocess.Popen[str]] = []

        def kill(_: object) -> None:
            while not processes:
                pass
            processes[0].kill()
            processes[0].wait(60)

        server.set_faults(FaultPlan().after(RequestKind.RECEIVE_PACK, 2, kill))
        processes.append(start_push(folder.path, "mine"))
        processes[0].communicate(timeout=60)
        server.set_faults()
        assert subjects_at(bare)[0] == "mine"
        assert folder.git("rev-parse", "HEAD") != tip_at(bare)
        run(folder)
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert folder.git("status", "--porcelain") == ""
    assert_sound(folder)


def test_after_it_a_push_works(bare: Repo, url: str, folder: Repo) -> None:
    """What stood in the way of pushes is gone."""
    collide(folder, "merge")
    run(folder)
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"untracked.txt": "pushed now\n"})
    land(folder, url, "untracked.txt")
    assert subjects_at(bare)[0] == "mine"


def test_names_and_prune_do_not_go_with_it(folder: Repo) -> None:
    """--local is about this clone alone."""
    said = run(folder, "main", code=2)
    assert "this clone alone" in str(said["error"])


def test_a_dead_lease_file_goes_and_a_living_one_stays(bare: Repo, url: str, folder: Repo) -> None:
    """A lease that ended by every clock leaves; one that may live keeps its file; an unreadable one is nobody's."""
    words = [sys.executable, "-m", "gitref_lock"]
    env = command_env()
    for name in ("dead", "living"):
        subprocess.run(
            [*words, "acquire", name, "--ttl", "1h"], cwd=folder.path, env=env, check=True, capture_output=True
        )
    files = {
        json.loads(path.read_text())["lock"]: path for path in (folder.path / ".git/gitref-lock").glob("lease-*.json")
    }
    stored = json.loads(files["dead"].read_text())
    for clock in ("wall_s", "boottime_s", "monotonic_s"):
        stored[clock] = max(0.0, stored[clock] - 7200)
    stored["boot_id"] = "an earlier boot"
    files["dead"].write_text(json.dumps(stored))
    run(folder)
    assert (files["dead"].exists(), files["living"].exists()) == (False, True)
