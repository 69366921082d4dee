"""The enforcement hook on a real server: pushes through the lock pass, others do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.core.names import TicketName, lock_name
from gitref_lock.errors import GitrefLockError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import Remote
from gitref_lock.system import real_system
from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo, git_result
from tests.support.race import PROJECT, assert_all_landed_once, command_env, finish, make_racers, start_push
from tests.support.runners import (
    acquire_at,
    add_key,
    history_at,
    in_folder,
    push_from,
    release,
    remote_at,
    subjects_at,
    tip_at,
)


@pytest.fixture
def guarded(bare_repo: Repo) -> Repo:
    """Return the served repository with the hook installed, requiring a lock for main."""
    hook = bare_repo.path / "hooks" / "pre-receive"
    hook.write_text(
        f"#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -m gitref_lock hook pre-receive --require main\n"
    )
    hook.chmod(0o755)
    return bare_repo


def test_a_plain_push_past_the_lock_is_refused_with_advice(
    guarded: Repo, git_server: GitHttpServer, repo_url: str, tmp_path: Path
) -> None:
    """A git push that does not move the lock is refused, before the lock exists and after, and told what to do."""
    clone = in_folder(tmp_path, "plain", repo_url)
    (clone.path / "x.txt").write_text("x\n")
    clone.git("add", ".")
    clone.git("commit", "-q", "-m", "x")
    for _ in range(2):
        done = git_result("push", "-q", "origin", "main", cwd=clone.path)
        assert done.returncode != 0
        assert b"gitref-lock push" in done.stderr
        release(acquire_at(remote_at(repo_url)))
    assert subjects_at(guarded) == ["first"]
    assert git_result("push", "-q", "origin", "main:free", cwd=clone.path).returncode == 0


def test_landings_pass_alone_and_combined(
    guarded: Repo, git_server: GitHttpServer, repo_url: str, tmp_path: Path
) -> None:
    """Racing pushes land through the hook: those that waited together land in one swap."""
    names = ["a", "b", "c"]
    lease = acquire_at(remote_at(repo_url))
    processes = {name: start_push(repo.path, name) for name, repo in make_racers(tmp_path, repo_url, names).items()}
    wait_for_tickets(repo_url, len(names))
    release(lease)
    ended = [finish(name, process) for name, process in processes.items()]
    assert_all_landed_once(guarded, ended)
    assert [(line["event"], line.get("landed")) for line in history_at(guarded)][-1] == ("land", len(names))


def test_a_rewind_in_a_landing_is_refused(
    guarded: Repo, git_server: GitHttpServer, repo_url: str, tmp_path: Path
) -> None:
    """A push that moves branch and lock together but drops a commit is refused."""
    clone = in_folder(tmp_path, "racer", repo_url)
    add_key(clone, "mine")
    push_from(clone, repo_url, "mine")
    tip, free = tip_at(guarded), guarded.ref("refs/locks/main")
    add_key(clone, "more")
    push_from(clone, repo_url, "more")
    assert free is not None
    words = ["push", "-q", "--atomic", "--force", "origin", f"{tip}:refs/heads/main", f"{free}:refs/locks/main"]
    clone.git("fetch", "-q", "origin", free)
    done = git_result(*words, cwd=clone.path)
    assert done.returncode != 0
    assert subjects_at(guarded)[0] == "more"


def test_a_lock_is_not_deleted_nor_taken_back_to_an_old_state(
    guarded: Repo, git_server: GitHttpServer, repo_url: str, tmp_path: Path
) -> None:
    """Deleting a lock, or pushing an old state of it, is refused."""
    lease = acquire_at(remote_at(repo_url))
    held = lease.tip(lock_name("main"))
    release(lease)
    clone = in_folder(tmp_path, "operator", repo_url)
    clone.git("fetch", "-q", "origin", held)
    assert git_result("push", "-q", "origin", ":refs/locks/main", cwd=clone.path).returncode != 0
    assert git_result("push", "-q", "-f", "origin", f"{held}:refs/locks/main", cwd=clone.path).returncode != 0
    release(acquire_at(remote_at(repo_url)))


def test_a_posted_change_is_not_deleted(
    guarded: Repo, git_server: GitHttpServer, repo_url: str, tmp_path: Path
) -> None:
    """The ticket of a waiting change cannot be deleted by a push; withdrawing it is an update and passes."""
    lease = acquire_at(remote_at(repo_url))
    clone = in_folder(tmp_path, "waiter", repo_url)
    add_key(clone, "mine")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "gitref_lock", "push", "-A", "-m", "mine", "--json"],
        cwd=clone.path,
        env=command_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    [posted] = wait_for_tickets(repo_url, 1)
    ref = f"refs/lock-queue/main/{posted.leaf}"
    assert git_result("push", "-q", "origin", f":{ref}", cwd=clone.path).returncode != 0
    waiting.terminate()
    waiting.communicate(timeout=60)
    assert guarded.git("show", f"{ref}:ticket.json").count('"withdrawn"') == 1
    release(lease)


def wait_for_tickets(url: str, count: int) -> list[TicketName]:
    """Return the tickets for main, once there are ``count``."""
    remote = Remote(remote_at(url).store, real_system())
    deadline = Deadline.after(remote.system, 60)
    while not deadline.is_over:
        queue = remote.look([lock_name("main")], deadline).queues[lock_name("main")]
        if len(queue) == count:
            return [entry.name for entry in queue]
        remote.system.sleeper.sleep(0.1)
    raise AssertionError(f"no {count} tickets within a minute")


def test_a_server_that_hides_the_lock_moves_no_branch(guarded: Repo, repo_url: str, tmp_path: Path) -> None:
    """Where the lock's ref became hidden, C git would move the branch alone; the hook refuses the whole push."""
    clone = in_folder(tmp_path, "racer", repo_url)
    add_key(clone, "mine")
    push_from(clone, repo_url, "mine")
    guarded.config("receive.hideRefs", "refs/locks")
    add_key(clone, "more")
    with pytest.raises(GitrefLockError):
        push_from(clone, repo_url, "more")
    assert "more" not in subjects_at(guarded)
