"""The library: the same locks without a command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gitref_lock
from gitref_lock import Lease, LeaseLostError, Lock, NotAcquiredError, PushOptions
from gitref_lock.config import DEFAULT_PRIORITY, Settings
from gitref_lock.core.names import LockName
from gitref_lock.core.record import Holder
from gitref_lock.runtime.deadline import Deadline
from tests.support.gitcli import Repo, git_env


def lock(repo: Repo, tmp_path: Path, **options: float) -> Lock:
    """Return a lock of a repository on disk, seen from an empty folder."""
    return Lock(str(repo.path), "main", directory=tmp_path, environ=git_env(tmp_path), holder="me", **options)  # type: ignore[arg-type]  # numbers by name


def test_holding(bare_repo: Repo, tmp_path: Path) -> None:
    """Inside of the block the lock is held, the lease knows its generation and is good; afterwards it is free."""
    with lock(bare_repo, tmp_path, ttl=60).hold() as lease:
        assert isinstance(lease, Lease)
        assert lease.generation > 1_000_000_000
        lease.check()
        assert "held by me" in bare_repo.git("log", "-1", "--format=%s", "refs/locks/main")
        with pytest.raises(NotAcquiredError), lock(bare_repo, tmp_path, wait=0).hold():
            pass
    assert "free, released by me" in bare_repo.git("log", "-1", "--format=%s", "refs/locks/main")


def test_a_program_queues_like_a_command(bare_repo: Repo, tmp_path: Path) -> None:
    """Without a word about it both have the same priority; a lower one would put every program behind by minutes."""
    assert lock(bare_repo, tmp_path).priority == DEFAULT_PRIORITY
    assert PushOptions(Holder("me")).priority == Settings().priority_for("") == DEFAULT_PRIORITY


def test_the_lock_is_freed_when_the_body_fails(bare_repo: Repo, tmp_path: Path) -> None:
    """The body's own error comes out, unchanged."""
    with pytest.raises(ZeroDivisionError) as caught, lock(bare_repo, tmp_path).hold():
        raise ZeroDivisionError
    assert not hasattr(caught.value, "__notes__")
    assert "free, released by me" in bare_repo.git("log", "-1", "--format=%s", "refs/locks/main")


def test_a_lease_lost_in_the_body_is_an_error(bare_repo: Repo, tmp_path: Path) -> None:
    """Work that outlived its lease must not look done; what is still mine is freed all the same."""
    with pytest.raises(LeaseLostError, match="too slow"), lock(bare_repo, tmp_path).hold() as lease:
        lease.lose("too slow")
    assert "free, released by me" in bare_repo.git("log", "-1", "--format=%s", "refs/locks/main")


def test_a_release_in_the_body_is_no_loss(bare_repo: Repo, tmp_path: Path) -> None:
    """Whoever is done early may free the lock early."""
    with lock(bare_repo, tmp_path).hold() as lease:
        assert lease.release(Deadline.after(lease.remote.system, 30.0)) is None
    assert lease.released[LockName("main")] is not None


def test_public_names() -> None:
    """At most twenty, each of them loads, and nothing else does."""
    assert len(gitref_lock.__all__) <= 20
    assert all(getattr(gitref_lock, name) is not None for name in gitref_lock.__all__)
    assert set(gitref_lock.__all__) <= set(dir(gitref_lock))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gitref_lock.nothing


def test_the_library_needs_no_command_line(tmp_path: Path, bare_repo: Repo) -> None:
    """Neither typer nor rich is imported by a program that holds a lock."""
    program = (
        "import sys; from gitref_lock import Lock\n"
        "with Lock(sys.argv[1], 'main').hold() as lease: lease.check()\n"
        "assert not {'typer', 'rich'} & set(sys.modules)\n"
    )
    root = Path(gitref_lock.__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, str(bare_repo.path)],
        cwd=tmp_path,
        env={**git_env(tmp_path), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
