"""``run`` and the lease's life: renewing, losing, dying, being stopped, being cut off; and what the next one sees."""

from __future__ import annotations

import os
import signal
import time

from gitref_lock.testing.faults import DropBefore, FaultPlan, Stall
from gitref_lock.testing.gitserver import GitHttpServer
from tests.scheduling.jobs import Jobs, eventually, is_running, waiting
from tests.support.gitcli import Repo
from tests.support.runners import history_at

TTL_S = 5.0
USABLE_S = 3.0
"""With a ttl of 5 s: kill-after 1 s, margin 2 s."""
_CUT = ("ls-refs", "fetch", "receive-pack", "advertise-upload", "advertise-receive")


def partition(server: GitHttpServer) -> None:
    """Let no request through any more."""
    plan = FaultPlan()
    for kind in _CUT:
        plan.always(kind, DropBefore())
    server.set_faults(plan)


def events(bare: Repo, lock: str = "main") -> list[object]:
    """Return the lock's events so far."""
    return [line["event"] for line in history_at(bare, lock)]


def test_a_lease_is_renewed_while_the_command_runs(jobs: Jobs, bare_repo: Repo) -> None:
    """A command may take longer than the ttl; its generation stays, and the others stay out."""
    job = jobs.run("main", "--ttl", "5s")
    job.held()
    eventually(lambda: "renew" in events(bare_repo))
    eventually(lambda: time.monotonic() - job.started_s > TTL_S + 1)
    assert jobs.done("run", "main", "-n", "--", "true")[0] == 4
    job.let_go()
    assert job.end() == (0, "")
    assert events(bare_repo) == ["acquire", "renew", "release"]
    assert len({line["generation"] for line in history_at(bare_repo)}) == 1


def test_a_broken_lease_ends_the_command(jobs: Jobs, bare_repo: Repo) -> None:
    """An operator's break is noticed at the next renewal: SIGTERM once, then exit 6 with the reason."""
    job = jobs.run(
        "main",
        "--ttl",
        "6s",
        command=("sh", "-c", "trap 'echo term; exit 3' TERM; echo $$; while :; do sleep 0.05; done"),
    )
    job.held()
    assert jobs.done("break", "main", "--force", "--reason", "test")[0] == 0
    assert job.line() == "term"
    assert job.line() == ""
    code, said = job.end()
    assert code == 6
    assert "lost" in said
    assert "exit code: 3" in said


def test_a_command_that_ignores_sigterm_is_killed(jobs: Jobs, bare_repo: Repo) -> None:
    """After --kill-after the whole group gets SIGKILL, children included."""
    script = "trap '' TERM; sleep 600 & echo $$; echo $!; while :; do sleep 0.05; done"
    job = jobs.run("main", "--ttl", "5s", "--kill-after", "500ms", command=("sh", "-c", script))
    group, child = job.held(), int(job.line())
    assert jobs.done("break", "main", "--force", "--reason", "test")[0] == 0
    assert job.end()[0] == 6
    assert not is_running(group)
    eventually(lambda: not is_running(child))
    assert events(bare_repo) == ["acquire", "break"]


def test_a_lease_broken_unnoticed_is_reported_at_the_end(jobs: Jobs, bare_repo: Repo) -> None:
    """A command that ended without hearing of the break still was without its lock: exit 6, nothing is released."""
    job = jobs.run("main", "--ttl", "60s")
    job.held()
    assert jobs.done("break", "main", "--force", "--reason", "test")[0] == 0
    job.let_go()
    assert job.end()[0] == 6
    assert events(bare_repo) == ["acquire", "break"]


def test_a_partition_ends_the_command_before_the_lease_can_be_taken(
    jobs: Jobs, git_server: GitHttpServer, bare_repo: Repo
) -> None:
    """Cut off from the remote, run stops its command within ttl less margin, plus kill-after, of the last renewal."""
    job = jobs.run("main", "--ttl", "5s", command=("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"))
    group = job.held()
    held_s = time.monotonic()
    partition(git_server)
    eventually(lambda: not is_running(group))
    lasted_s = time.monotonic() - held_s
    assert job.end()[0] == 6
    assert USABLE_S - 1 < lasted_s < TTL_S - 0.5
    git_server.set_faults()
    assert events(bare_repo) == ["acquire"]


def test_a_stalled_renewal_does_not_hold_up_the_release(jobs: Jobs, git_server: GitHttpServer, bare_repo: Repo) -> None:
    """The command ends while a renewal hangs: the lock is released at once, through another connection."""
    stall = Stall(before_work=True)
    git_server.set_faults(FaultPlan().on("receive-pack", 2, stall))
    job = jobs.run("main", "--ttl", "15s", "--kill-after", "1s")
    job.held()
    assert stall.arrived.wait(40)
    before = time.monotonic()
    job.let_go(7)
    assert job.end() == (7, "")
    assert time.monotonic() - before < 5
    assert events(bare_repo) == ["acquire", "release"]
    stall.let_go()


def test_a_cancelled_job_releases_within_its_time(jobs: Jobs, bare_repo: Repo) -> None:
    """A CI job that is cancelled has 7.5 s from SIGINT to SIGTERM: ended and released well inside."""
    job = jobs.run("main")
    job.held()
    before = time.monotonic()
    job.send(signal.SIGINT)
    assert job.end()[0] == 130
    assert time.monotonic() - before < 5
    assert events(bare_repo) == ["acquire", "release"]


def test_a_release_that_fails_keeps_the_commands_code(jobs: Jobs, git_server: GitHttpServer, bare_repo: Repo) -> None:
    """A command that succeeded has succeeded; a warning tells that the lease has to expire by itself."""
    job = jobs.run("main", "--ttl", "60s")
    job.held()
    partition(git_server)
    job.send(signal.SIGUSR1)  # ends the command, and lets the release be a short one
    code, said = job.end()
    assert code == 128 + signal.SIGUSR1
    assert "could not be released" in said
    git_server.set_faults()
    assert events(bare_repo) == ["acquire"]


def test_killed_run_does_not_leave_its_command_running(jobs: Jobs, bare_repo: Repo) -> None:
    """kill -9 of run itself: the watchdog ends the command with the lease, and the next one then takes over."""
    job = jobs.run("main", "--ttl", "5s", command=("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"))
    group = job.held()
    held_s = time.monotonic()
    waiter = jobs.run("main")
    waiting(bare_repo, 1)
    job.send(signal.SIGKILL)
    eventually(lambda: not is_running(group))
    assert time.monotonic() - held_s < TTL_S - 0.5
    waiter.held(within_s=30)
    waiter.let_go()
    assert waiter.end()[0] == 0
    assert events(bare_repo)[:2] == ["acquire", "take-over"]


def test_a_stopped_run_does_not_keep_its_command(jobs: Jobs, bare_repo: Repo) -> None:
    """SIGSTOP of run: the command ends with the lease; continued, run finds it lost and says so."""
    job = jobs.run("main", "--ttl", "5s")
    group = job.held()
    held_s = time.monotonic()
    job.send(signal.SIGSTOP)
    eventually(lambda: not is_running(group))
    assert time.monotonic() - held_s < TTL_S - 0.5
    job.send(signal.SIGCONT)
    code, said = job.end()
    assert code == 6
    assert "lost" in said


def test_a_stopped_command_is_ended_with_its_lease_too(jobs: Jobs) -> None:
    """A command that was stopped cannot sit out its lease."""
    job = jobs.run("main", "--ttl", "5s")
    group = job.held()
    os.kill(group, signal.SIGSTOP)
    assert jobs.done("break", "main", "--force", "--reason", "test")[0] == 0
    assert job.end()[0] == 6
    assert not is_running(group)


def test_nothing_is_left_behind(jobs: Jobs) -> None:
    """After run has ended no process of it is left: no watchdog, no helper."""
    job = jobs.run("main", command=("sh", "-c", "echo $$; ps -o pid= --ppid $PPID; read line"))
    command = job.held()
    others = {int(job.line()), int(job.line())}
    job.let_go()
    assert job.end()[0] == 0
    for pid in {command, *others}:
        eventually(lambda pid=pid: not is_running(pid))  # type: ignore[misc]  # bound now
