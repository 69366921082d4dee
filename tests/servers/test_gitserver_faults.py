"""Every fault does exactly what its name says, at exactly the request that the plan names."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from gitref_lock.core.names import ZERO_OID
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
    Trickle,
    Truncate,
    WithHeaders,
    WorkTwice,
)
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import Request
from tests.support.gitcli import Repo, git_result
from tests.support.rawgit import Command, HttpReply, RawHttp, lock_state, push_body, read_answer

LOCK = "refs/locks/main"
MINE, *_ = MINE_OBJECTS = lock_state("mine")
RIVAL, *_ = RIVAL_OBJECTS = lock_state("rival")
CREATE = Command(LOCK, ZERO_OID, MINE.oid)


@pytest.fixture
def remote(repo_url: str) -> Iterator[RawHttp]:
    """Return a raw connection to ``bare_repo``."""
    with RawHttp(repo_url) as connection:
        yield connection


def push_mine(remote: RawHttp) -> HttpReply:
    """Create the lock and return the reply as it came."""
    return remote.post("git-receive-pack", push_body([CREATE], MINE_OBJECTS))


@pytest.mark.parametrize(
    ("fault", "is_applied", "error"),
    [
        (DropBefore(), False, http.client.RemoteDisconnected),
        (DropAfter(), True, http.client.RemoteDisconnected),
        (Truncate(), True, http.client.IncompleteRead),
        (ResetMidReply(), True, ConnectionResetError),
        (LateCopy(), False, http.client.RemoteDisconnected),
    ],
    ids=["drop before", "drop after", "truncate", "reset", "late copy"],
)
def test_broken_connections(
    git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo, fault: Fault, is_applied: bool, error: type[Exception]
) -> None:
    """Each way to break the connection leaves the ref as promised; the next request works."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, fault))
    with pytest.raises(error):
        push_mine(remote)
    assert (bare_repo.ref(LOCK) == MINE.oid) == is_applied
    assert set(remote.ls_refs("refs/heads/")) == {"refs/heads/main"}


@pytest.mark.parametrize("code", [401, 403, 404, 429, 502, 503])
@pytest.mark.parametrize("after_work", [False, True])
def test_status_before_or_after_the_work(
    git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo, code: int, after_work: bool
) -> None:
    """An error status comes with its Retry-After, and the push is applied only if asked."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, Status(code, retry_after="7", after_work=after_work)))
    reply = push_mine(remote)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (code, "7", b"")
    assert (bare_repo.ref(LOCK) is not None) == after_work


def test_status_carries_other_headers(git_server: GitHttpServer, remote: RawHttp) -> None:
    """A redirect is a status with a Location."""
    git_server.set_faults(FaultPlan().on("ls-refs", 1, Status(307, headers={"Location": "http://127.0.0.1:9/x"})))
    reply = remote.post("git-upload-pack", b"0014command=ls-refs\n0000", {"Git-Protocol": "version=2"})
    assert (reply.status, reply.headers["location"]) == (307, "http://127.0.0.1:9/x")


def test_with_headers_replaces_gits_own(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """A reply may carry an Age, or a Date that is nonsense, and is otherwise git's own."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, WithHeaders({"Age": "30", "Date": "yesterday"})))
    reply = push_mine(remote)
    assert (reply.headers["age"], reply.headers["date"]) == ("30", "yesterday")
    assert read_answer(reply.body).is_ok(LOCK)


def test_trickle_sends_everything_byte_by_byte(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """A trickling reply is complete in the end, and the connection goes on."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, Trickle(pause_s=0.0001)))
    assert read_answer(push_mine(remote).body).is_ok(LOCK)
    assert LOCK in remote.ls_refs(LOCK)
    assert git_server.counts.snapshot().connections == 1


def test_trickle_sends_the_rest_once_let_go(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """A reply that would take minutes arrives at once after ``let_go``."""
    trickle = Trickle(pause_s=60)
    plan = FaultPlan().on("receive-pack", 1, trickle).after("receive-pack", 1, lambda _: trickle.let_go())
    git_server.set_faults(plan)
    assert read_answer(push_mine(remote).body).is_ok(LOCK)


def test_empty_ok_does_no_work(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """An empty 200 has git's own content type and nothing behind it."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, EmptyOk()))
    reply = push_mine(remote)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"] == "application/x-git-receive-pack-result"
    assert bare_repo.ref(LOCK) is None


def test_ordinals_count_one_kind_only(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """The second and third push fail, whatever listings come between."""
    plan = FaultPlan().on("receive-pack", (2, 3), Status(503))
    git_server.set_faults(plan)
    codes = []
    for _ in range(4):
        remote.ls_refs("refs/")
        codes.append(push_mine(remote).status)
    assert codes == [200, 503, 503, 200]
    assert (plan.seen("receive-pack"), plan.seen("ls-refs")) == (4, 4)


def test_a_fault_may_last(git_server: GitHttpServer, remote: RawHttp) -> None:
    """A lasting fault meets every request of its kind that has no rule of its own, and no other kind."""
    git_server.set_faults(FaultPlan().always("receive-pack", Status(503)).on("receive-pack", 2, Status(429)))
    assert [push_mine(remote).status for _ in range(4)] == [503, 429, 503, 503]
    assert remote.ls_refs("refs/locks/") == {}


def test_a_new_plan_counts_from_one(git_server: GitHttpServer, remote: RawHttp) -> None:
    """Setting a plan restarts its count; setting none heals the server."""
    push_mine(remote)
    git_server.set_faults(FaultPlan().on("receive-pack", range(1, 10), Status(503)))
    assert push_mine(remote).status == 503
    git_server.set_faults()
    assert push_mine(remote).status == 200


def test_stall_holds_the_reply_after_the_work(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """The push is applied while its reply is held, and the reply arrives once let go."""
    stall = Stall()
    git_server.set_faults(FaultPlan().on("receive-pack", 1, stall))
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(push_mine, remote)
        assert stall.arrived.wait(30)
        assert bare_repo.ref(LOCK) == MINE.oid
        assert not pending.done()
        stall.let_go()
        assert read_answer(pending.result(30).body).is_ok(LOCK)


def test_stall_before_the_work_holds_the_request(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """A request held before its work is applied only once let go."""
    stall = Stall(before_work=True)
    git_server.set_faults(FaultPlan().on("receive-pack", 1, stall))
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(push_mine, remote)
        assert stall.arrived.wait(30)
        assert bare_repo.ref(LOCK) is None
        stall.let_go()
        assert read_answer(pending.result(30).body).is_ok(LOCK)


def test_stall_ends_by_its_own_limit(git_server: GitHttpServer, remote: RawHttp) -> None:
    """A stall that nobody ends lasts no longer than its limit."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, Stall(timeout_s=0.01)))
    assert push_mine(remote).status == 200


def test_a_late_copy_is_applied_when_the_test_says_so(
    git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo
) -> None:
    """A copy given up by its sender takes effect later, and git's answer to it is known to the test alone."""
    late = LateCopy()
    git_server.set_faults(FaultPlan().on("receive-pack", 1, late))
    with pytest.raises(http.client.RemoteDisconnected):
        push_mine(remote)
    assert bare_repo.ref(LOCK) is None
    assert read_answer(late.apply().body).is_ok(LOCK)
    assert bare_repo.ref(LOCK) == MINE.oid


def test_a_late_copy_loses_to_a_rival(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """A late copy is still a compare-and-swap: it is refused once somebody else has the lock."""
    late = LateCopy()
    git_server.set_faults(FaultPlan().on("receive-pack", 1, late))
    with pytest.raises(http.client.RemoteDisconnected):
        push_mine(remote)
    assert remote.push([Command(LOCK, ZERO_OID, RIVAL.oid)], RIVAL_OBJECTS).is_ok(LOCK)
    assert not read_answer(late.apply().body).is_ok(LOCK)
    assert bare_repo.ref(LOCK) == RIVAL.oid


def test_a_late_copy_that_never_arrived_cannot_be_applied() -> None:
    """Applying before anything was held is an error of the test, said at once."""
    with pytest.raises(LookupError, match="no request has been held"):
        LateCopy().apply()


@pytest.mark.parametrize("first", [True, False])
def test_work_twice(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo, first: bool) -> None:
    """A duplicated request is applied once; the client sees either the ok or the refusal of its double."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, WorkTwice(first=first)))
    assert read_answer(push_mine(remote).body).is_ok(LOCK) == first
    assert bare_repo.ref(LOCK) == MINE.oid


def test_hooks_run_before_and_after_the_work(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """Callbacks see the request, and the repository before and after git has worked."""
    seen: list[tuple[str, object]] = []

    def note(request: Request) -> None:
        seen.append((request.kind, bare_repo.ref(LOCK)))

    git_server.set_faults(FaultPlan().before("receive-pack", 1, note).after("receive-pack", 1, note))
    push_mine(remote)
    push_mine(remote)
    assert seen == [("receive-pack", None), ("receive-pack", MINE.oid)]


def test_a_rival_between_listing_and_push(git_server: GitHttpServer, remote: RawHttp, bare_repo: Repo) -> None:
    """A callback may itself push through the server: the client's swap then loses, every time."""

    def rival_pushes(_: Request) -> None:
        with RawHttp(git_server.repo_url("repo.git")) as rival:
            assert rival.push([Command(LOCK, ZERO_OID, RIVAL.oid)], RIVAL_OBJECTS).is_ok(LOCK)

    git_server.set_faults(FaultPlan().before("receive-pack", 1, rival_pushes))
    assert not read_answer(push_mine(remote).body).is_ok(LOCK)
    assert bare_repo.ref(LOCK) == RIVAL.oid


def test_closing_the_server_ends_a_stall(bare_repo: Repo) -> None:
    """A server that closes lets go of everything it holds, at once."""
    stall = Stall(timeout_s=600)
    with ThreadPoolExecutor(1) as pool:
        with GitHttpServer(bare_repo.path.parent, faults=FaultPlan().on("receive-pack", 1, stall)) as server:
            pending = pool.submit(push_mine, RawHttp(server.repo_url("repo.git")))
            assert stall.arrived.wait(30)
        assert pending in wait([pending], timeout=30).done
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("git-server")]


def test_stock_git_meets_the_faults_too(git_server: GitHttpServer, work_clone: Repo, bare_repo: Repo) -> None:
    """Stock git reports failure for a push that was applied and whose reply was lost."""
    git_server.set_faults(FaultPlan().on("receive-pack", 1, DropAfter()))
    tip = work_clone.commit({"a": b"1\n"}, parents=("HEAD",))
    result = git_result("push", "origin", f"{tip}:refs/heads/main", cwd=work_clone.path)
    assert result.returncode != 0
    assert bare_repo.ref("refs/heads/main") == tip
