"""What a push is worth when the server or the network fails: landed once and exit 0, or surely not landed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.errors import GitrefLockError, OutcomeUnknownError
from gitref_lock.testing.faults import (
    DropAfter,
    DropBefore,
    EmptyOk,
    Fault,
    FaultPlan,
    LateCopy,
    ResetMidReply,
    Stall,
    Status,
    Truncate,
)
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.support.gitcli import Repo
from tests.support.runners import acquire_at, add_key, in_folder, keys_at, push_from, release, remote_at, subjects_at

WRITE = RequestKind.RECEIVE_PACK

BROKEN_REPLIES: dict[str, type[Fault] | Fault] = {
    "drop-before": DropBefore,
    "drop-after": DropAfter,
    "503-before": Status(503, retry_after="1"),
    "503-after": Status(503, retry_after="1", after_work=True),
    "429": Status(429, retry_after="2"),
    "502-after": Status(502, after_work=True),
    "truncate": Truncate,
    "reset": ResetMidReply,
    "empty": EmptyOk,
}


def made(fault: type[Fault] | Fault) -> Fault:
    """Return a fresh instance of a fault."""
    return fault() if isinstance(fault, type) else fault


@pytest.fixture
def clone(repo_url: str, tmp_path: Path) -> Repo:
    """Return a clone with one change that waits to be pushed."""
    repo = in_folder(tmp_path, "runner", repo_url)
    add_key(repo, "mine")
    return repo


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("name", BROKEN_REPLIES)
def test_push_lands_exactly_once_whatever_becomes_of_one_write(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, clone: Repo, name: str, nth: int
) -> None:
    """A write whose reply is lost, broken or an error is found out and the change lands exactly once."""
    git_server.set_faults(FaultPlan().on(WRITE, nth, made(BROKEN_REPLIES[name])))
    report = push_from(clone, repo_url, "mine")
    assert report.landed is not None
    assert subjects_at(bare_repo).count("mine") == 1
    assert keys_at(bare_repo) == {"mine": 1}
    assert clone.ref("HEAD") == bare_repo.ref("refs/heads/main")
    assert clone.git("status", "--porcelain") == ""


@pytest.mark.parametrize("kind", [RequestKind.LS_REFS, RequestKind.FETCH, RequestKind.ADVERTISE_RECEIVE])
@pytest.mark.parametrize("name", ["drop-before", "drop-after", "503-before", "429", "truncate", "reset"])
def test_push_survives_a_failing_read(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, clone: Repo, name: str, kind: RequestKind
) -> None:
    """A read that fails once is tried again; the change lands exactly once."""
    release(acquire_at(remote_at(repo_url))) if kind is RequestKind.FETCH else None
    git_server.set_faults(FaultPlan().on(kind, 1, made(BROKEN_REPLIES[name])))
    report = push_from(clone, repo_url, "mine")
    assert report.landed is not None
    assert subjects_at(bare_repo).count("mine") == 1


def test_push_lands_once_when_its_first_copy_is_applied_after_the_second(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, clone: Repo
) -> None:
    """A copy of the swap that the server applies after the retry has landed is refused."""
    release(acquire_at(remote_at(repo_url)))
    late = LateCopy()
    git_server.set_faults(FaultPlan().on(WRITE, 1, late))
    report = push_from(clone, repo_url, "mine")
    assert report.landed is not None
    tip = bare_repo.ref("refs/heads/main")
    late.apply()
    assert bare_repo.ref("refs/heads/main") == tip
    assert subjects_at(bare_repo).count("mine") == 1


def test_push_that_gives_up_kills_its_copy_first(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, clone: Repo
) -> None:
    """After a failed push the copy that was still on its way is refused: failed means not there, now and later."""
    release(acquire_at(remote_at(repo_url)))
    before = bare_repo.ref("refs/heads/main")
    late = LateCopy()
    plan = FaultPlan().on(WRITE, 1, late).on(WRITE, range(2, 8), Status(503))
    git_server.set_faults(plan)
    remote = remote_at(repo_url)
    with pytest.raises(GitrefLockError) as failed:
        push_from(clone, repo_url, "mine", remote=remote, timeout_s=0.8, wait_s=0.5)
    late.apply()
    if isinstance(failed.value, OutcomeUnknownError):
        pytest.fail("the lock could be moved, so the outcome could be shown")
    assert bare_repo.ref("refs/heads/main") == before
    assert clone.git("status", "--porcelain") != ""


def test_push_says_unknown_when_the_server_is_gone_for_good(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, clone: Repo
) -> None:
    """With no way to decide or kill the swap the error is 'outcome unknown' and names what finds out."""
    release(acquire_at(remote_at(repo_url)))
    plan = FaultPlan().on(WRITE, 1, DropAfter()).on(WRITE, range(2, 500), DropBefore())
    plan.before(WRITE, 1, lambda _: plan.always(RequestKind.LS_REFS, DropBefore()))
    git_server.set_faults(plan)
    with pytest.raises(OutcomeUnknownError) as unknown:
        push_from(clone, repo_url, "mine", timeout_s=20.0)
    assert "run the same push again" in unknown.value.hint
    assert subjects_at(bare_repo).count("mine") == 1
    git_server.set_faults(FaultPlan())
    again = push_from(clone, repo_url, "again")
    assert "finished" in again.recovered
    assert subjects_at(bare_repo).count("mine") == 1
    assert clone.git("status", "--porcelain") == ""


def test_push_finds_out_when_the_reply_stalls(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, clone: Repo
) -> None:
    """A reply that never comes ends at the client's own limit; the branch then shows the landing."""
    release(acquire_at(remote_at(repo_url)))
    git_server.set_faults(FaultPlan().on(WRITE, 1, Stall(timeout_s=30.0)))
    report = push_from(clone, repo_url, "mine", remote=remote_at(repo_url, read_timeout_s=0.5))
    assert report.landed is not None
    assert subjects_at(bare_repo).count("mine") == 1


@pytest.mark.parametrize("name", BROKEN_REPLIES)
@pytest.mark.parametrize("nth", [1, 2])
def test_acquire_takes_the_lock_once_whatever_becomes_of_one_write(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, name: str, nth: int
) -> None:
    """An acquire whose reply is lost holds the lock under its own token, and release frees it."""
    git_server.set_faults(FaultPlan().on(WRITE, nth, made(BROKEN_REPLIES[name])))
    lease = acquire_at(remote_at(repo_url), wait_s=60.0)
    assert bare_repo.ref("refs/locks/main") == lease.tip(lease.names[0])
    release(lease)
    assert '"state": "free"' in bare_repo.git("show", "refs/locks/main:lock.json")


def test_a_late_copy_of_an_acquire_does_not_lock_after_its_owner_gave_up(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str
) -> None:
    """An acquire that failed leaves nothing that could still take the lock."""
    release(acquire_at(remote_at(repo_url)))
    late = LateCopy()
    git_server.set_faults(FaultPlan().on(WRITE, 1, late).on(WRITE, 2, Status(503)).on(WRITE, 3, Status(503)))
    remote = remote_at(repo_url)
    remote.call_timeout_s = 5.0
    from gitref_lock.core.names import lock_name
    from gitref_lock.core.timing import LeaseTiming
    from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
    from gitref_lock.runtime.deadline import Deadline
    from tests.support.runners import holder

    request = AcquireRequest((lock_name("main"),), holder("late"), LeaseTiming.for_ttl(60), 0.0)
    try:
        lease = Acquirer(remote, request, Deadline.after(remote.system, 0.3)).run()
    except GitrefLockError:
        late.apply()
        assert '"state": "free"' in bare_repo.git("show", "refs/locks/main:lock.json")
    else:
        late.apply()
        assert bare_repo.ref("refs/locks/main") == lease.tip(lease.names[0])
