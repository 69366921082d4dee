"""Who is served when several real runners wait for one lock over HTTP, and what that costs the server."""

from __future__ import annotations

import os
import random
import signal
import statistics
import time

import pytest

from gitref_lock.core.timing import QueueTiming
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.scheduling.jobs import Job, Jobs, eventually, served, waiting
from tests.support.gitcli import Repo
from tests.support.runners import history_at

TIMING = QueueTiming()
CLAIM_S, POLL_S = TIMING.claim_window_s, TIMING.pace_cap_s
SPARE_S = 6.0
"""For the machine: processes that start, and two cores for many of them."""


def test_service_is_by_priority_then_by_entry(jobs: Jobs, bare_repo: Repo, git_server: GitHttpServer) -> None:
    """One holder, six waiters of priorities 20 to 100 that enter in random order: each is served in its turn.

    Each hold costs at most three pushes: enqueue, claim, release.
    """
    holder = jobs.run("main")
    holder.held()
    before = git_server.counts.snapshot()
    priorities = [100, 80, 60, 40, 20, 20]
    random.Random(7).shuffle(priorities)
    entered: list[tuple[int, int, Job]] = []
    for number, priority in enumerate(priorities):
        entered.append((-priority, number, jobs.run("main", "--priority", str(priority), "--holder", f"job{number}")))
        waiting(bare_repo, number + 1)
    holder.let_go()
    waiters = [job for _, _, job in entered]
    order = []
    while waiters:
        job = served(waiters)
        job.held()
        waiters.remove(job)
        order.append(job)
        job.let_go()
        assert job.end()[0] == 0
    assert order == [job for _, _, job in sorted(entered, key=lambda item: item[:2])]
    kinds = git_server.counts.snapshot().diff(before).by_kind
    assert kinds[RequestKind.RECEIVE_PACK] == 3 * len(entered) + 1  # and the release of the first holder
    assert waiting(bare_repo, 0) == []


@pytest.mark.slow
def test_hand_over_is_quick_and_reads_stay_within_the_law(
    jobs: Jobs, bare_repo: Repo, git_server: GitHttpServer
) -> None:
    """After holds of 1 to 3 s the head is served within 1.5 s of the release in the median, polling by the pace law."""
    delays = []
    for hold_s in (1.0, 1.5, 2.0, 3.0):
        holder = jobs.run("main")
        holder.held()
        waiter = jobs.run("main")
        waiting(bare_repo, 1)
        before, since = git_server.counts.snapshot(), time.monotonic()
        eventually(lambda since=since, hold_s=hold_s: time.monotonic() - since > hold_s)  # type: ignore[misc]  # bound now
        holder.let_go()
        assert holder.end()[0] == 0
        released_s = time.monotonic()
        waiter.held()
        delays.append(time.monotonic() - released_s)
        listings = git_server.counts.snapshot().diff(before).by_kind.get(RequestKind.LS_REFS, 0)
        lasted = time.monotonic() - since
        # The head looks at most every floor less jitter; the look that wins the race belongs to it.
        assert listings <= lasted / (TIMING.pace_floor_s * 0.7) + 3
        waiter.let_go()
        assert waiter.end()[0] == 0
    assert statistics.median(delays) < 1.5


def test_a_killed_head_is_passed_within_its_window(jobs: Jobs, bare_repo: Repo) -> None:
    """kill -9 of the head waiter: the next is served within one claim window plus a poll of the release."""
    holder = jobs.run("main")
    holder.held()
    head = jobs.run("main", "--priority", "100")
    waiting(bare_repo, 1)
    following = jobs.run("main", "--priority", "20")
    waiting(bare_repo, 2)
    head.send(signal.SIGKILL)
    holder.let_go()
    assert holder.end()[0] == 0
    released_s = time.monotonic()
    following.held()
    assert time.monotonic() - released_s < CLAIM_S + POLL_S + SPARE_S
    following.let_go()
    assert following.end()[0] == 0
    assert waiting(bare_repo, 0) == []  # the dead ticket is removed by the one who passed it


@pytest.mark.slow
def test_a_killed_holders_lock_is_taken_over(jobs: Jobs, bare_repo: Repo) -> None:
    """kill -9 of the holder with --ttl 10s: the next holds within ttl, the observer's allowance and a poll."""
    holder = jobs.run("main", "--ttl", "10s")
    group = holder.held()
    held_s = time.monotonic()
    waiter = jobs.run("main")
    waiting(bare_repo, 1)
    holder.send(signal.SIGKILL)
    os.killpg(group, signal.SIGKILL)
    waiter.held()
    # By the waiter's own observation: it saw the lease up to a poll after it began.
    assert 10 - 1 < time.monotonic() - held_s < 10 + 2 * POLL_S + SPARE_S
    waiter.let_go()
    assert waiter.end()[0] == 0
    assert [line["event"] for line in history_at(bare_repo)][1] == "take-over"


def test_a_newer_run_supersedes_its_older_one(jobs: Jobs, bare_repo: Repo) -> None:
    """--cancel-older: the older waiter of the same workflow ends with 4 and says why; others wait on."""
    holder = jobs.run("main")
    holder.held()
    older = jobs.run("main", "--workflow", "deploy", "--json")
    waiting(bare_repo, 1)
    other = jobs.run("main", "--workflow", "test")
    waiting(bare_repo, 2)
    newer = jobs.run("main", "--workflow", "deploy", "--cancel-older")
    code, said = older.end()
    assert code == 4
    assert "newer run of deploy" in said
    assert older.process.stdout is not None
    assert b'"superseded"' in older.process.stdout.read()
    holder.let_go()
    other.held()
    other.let_go()
    newer.held()
    newer.let_go()
    assert [job.end()[0] for job in (other, newer)] == [0, 0]


def test_priority_comes_from_flag_environment_and_file(jobs: Jobs, bare_repo: Repo) -> None:
    """The file's table matches the workflow's name in slug form; the environment and the flag come before it."""
    (jobs.folder / ".gitref-lock.toml").write_text(
        '[priorities]\ncv-enhancement = 100\n"nightly-*" = 5\ndefault = 30\n[workflows."deploy*"]\npriority = 70\n'
    )
    for words, environ, priority in (
        (("--workflow", "CV Enhancement"), {}, 100),
        (("--workflow", "nightly-build"), {}, 5),
        (("--workflow", "Deploy it"), {}, 70),
        ((), {}, 30),
        ((), {"GITREF_LOCK_PRIORITY": "44"}, 44),
        (("--priority", "55"), {"GITREF_LOCK_PRIORITY": "44"}, 55),
    ):
        code, out, _ = jobs.done("acquire", "main", "--json", *words, environ=environ)
        assert code == 0
        assert f'"priority": {priority}' in out
        assert jobs.done("release", "main")[0] == 0


def test_several_locks_in_any_order(jobs: Jobs, bare_repo: Repo) -> None:
    """Runs for a and b, b and c, c and a at once: each gets its turn, whatever the order of names."""
    sets = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b", "a")]
    started = [jobs.run(*(word for name in names for word in ("-l", name)), "-w", "60s") for names in sets]
    left = list(started)
    while left:
        job = served(left, alone=False)
        job.held()
        left.remove(job)
        job.let_go()
        assert job.end()[0] == 0
    assert all(line["event"] in {"acquire", "release"} for name in "abc" for line in history_at(bare_repo, name))
