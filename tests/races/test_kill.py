"""Kill -9 at every request of a push: the remote stays consistent, others go on, the clone's next command tidies up."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gitref_lock.testing.faults import DropBefore, FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import Request, RequestKind
from tests.support.gitcli import Repo
from tests.support.race import finish, make_racers, race, start_push
from tests.support.runners import acquire_at, add_key, history_at, keys_at, push_from, release, remote_at, subjects_at

WRITE = RequestKind.RECEIVE_PACK
BOUNDARIES = [
    (RequestKind.LS_REFS, 1),
    (RequestKind.ADVERTISE_RECEIVE, 1),
    (WRITE, 1),
    (RequestKind.LS_REFS, 2),
    (RequestKind.FETCH, 1),
    (WRITE, 2),
]
DEADLINE_S = 60


class Killer:
    """Kills the process that sends the nth request of a kind, before or after git has done the work."""

    def __init__(self) -> None:
        """Start with nobody to kill."""
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.killed: list[str] = []
        self._ready = threading.Event()

    def arm(self, processes: dict[str, subprocess.Popen[str]]) -> None:
        """Name the processes, by what they write in their X-Runner header."""
        self.processes = processes
        self._ready.set()

    def __call__(self, request: Request) -> None:
        """Kill the sender and wait until it is dead."""
        assert self._ready.wait(DEADLINE_S)
        name = request.headers["x-runner"]
        process = self.processes[name]
        os.kill(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
        self.killed.append(name)


def named(racers: dict[str, Repo]) -> dict[str, Repo]:
    """Let each clone's requests say whose they are."""
    for name, repo in racers.items():
        repo.git("config", "http.extraHeader", f"X-Runner: {name}")
    return racers


def plan_at(when: str, kind: RequestKind, nth: int, act: Callable[[Request], None]) -> FaultPlan:
    """Return the plan that acts on the nth request of a kind: instead of git's work, meanwhile, or after it."""
    plan = FaultPlan()
    if when == "before":
        plan.on(kind, nth, DropBefore())
    return plan.after(kind, nth, act) if when == "after" else plan.before(kind, nth, act)


@pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
@pytest.mark.parametrize(("kind", "nth"), BOUNDARIES)
def test_a_push_killed_at_any_request_is_finished_or_dropped_by_the_next_command(
    git_server: GitHttpServer,
    bare_repo: Repo,
    repo_url: str,
    tmp_path: Path,
    kind: RequestKind,
    nth: int,
    when: str,
) -> None:
    """The next push from the killed clone ends the local move, and each change is in the branch exactly once."""
    racers = named(make_racers(tmp_path, repo_url, ["killed", "other", "first"]))
    if kind is RequestKind.FETCH:
        [first] = race({"first": racers["first"]})
        assert first.code == 0, "only a tip that the clone lacks has to be fetched"
    killer = Killer()
    git_server.set_faults(plan_at(when, kind, nth, killer))
    process = start_push(racers["killed"].path, "killed")
    killer.arm({"killed": process})
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    process.communicate()
    git_server.set_faults(FaultPlan())
    is_landing = (kind, nth) == (WRITE, 2)
    if when != "meanwhile":
        assert subjects_at(bare_repo).count("killed") == (1 if is_landing and when == "after" else 0)
    [other] = race({"other": racers["other"]})
    assert other.code == 0, other.stderr
    add_key(racers["killed"], "again")
    report = push_from(racers["killed"], repo_url, "again")
    assert report.landed is not None
    assert subjects_at(bare_repo).count("killed") == (1 if is_landing and when != "before" else 0)
    assert subjects_at(bare_repo).count("again") == 1
    before = {"first": 1} if kind is RequestKind.FETCH else {}
    assert keys_at(bare_repo) == {**before, "killed": 1, "other": 1, "again": 1}
    assert racers["killed"].git("status", "--porcelain") == ""
    bare_repo.git("fsck", "--strict", "--no-dangling")


@pytest.mark.parametrize("words", [(), ("--combined-trailer", "Landed-by")], ids=["plain", "trailer"])
@pytest.mark.parametrize("newest", ["waiter", "other"])
def test_the_change_of_a_killed_waiter_is_landed_by_others_and_its_clone_finishes(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path, newest: str, words: tuple[str, ...]
) -> None:
    """A posted change counts as submitted: another runner lands it, and the killed clone's next command sees that.

    Where it became the tip itself, that clone knows it by name before it has the commit. A trailer that the other
    runner added on demand hides nothing.
    """
    lease = acquire_at(remote_at(repo_url))
    racers = named(make_racers(tmp_path, repo_url, ["waiter", "other"]))
    killer = Killer()
    git_server.set_faults(FaultPlan().after(WRITE, 1, killer))
    process = start_push(racers["waiter"].path, "waiter", *words)
    killer.arm({"waiter": process})
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    process.communicate()
    git_server.set_faults(FaultPlan())
    release(lease)
    [other] = race({"other": racers["other"]}, "--priority", "1000" if newest == "waiter" else "-1000")
    assert (other.code, other.said["landed"]) == (0, "queued")
    assert sorted(subjects_at(bare_repo))[-2:] == ["other", "waiter"]
    assert subjects_at(bare_repo)[0] == newest
    add_key(racers["waiter"], "again")
    report = push_from(racers["waiter"], repo_url, "again")
    assert "finished" in report.recovered
    assert keys_at(bare_repo) == {"waiter": 1, "other": 1, "again": 1}
    assert subjects_at(bare_repo).count("again") == 1
    assert subjects_at(bare_repo).count("waiter") == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_combiner_loses_nothing_and_lands_nothing_twice(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path, when: str
) -> None:
    """When the runner that lands the queue dies before or after its swap, the others still land each once."""
    names = ["a", "b", "c", "d"]
    lease = acquire_at(remote_at(repo_url))
    racers = named(make_racers(tmp_path, repo_url, names))
    killer = Killer()
    posted = threading.Semaphore(0)
    plan = plan_at(when, WRITE, len(names) + 2, killer)
    for nth in range(1, len(names) + 1):
        plan.after(WRITE, nth, lambda _: posted.release())
    git_server.set_faults(plan)
    processes = {name: start_push(repo.path, name) for name, repo in racers.items()}
    killer.arm(processes)
    for _ in names:
        assert posted.acquire(timeout=DEADLINE_S)
    release(lease)
    ended = [finish(name, process) for name, process in processes.items()]
    assert len(killer.killed) == 1
    for run in ended:
        if run.name not in killer.killed:
            assert run.code == 0, (run.name, run.stderr)
            assert subjects_at(bare_repo).count(run.name) == 1
    # The killed runner's change was posted: it is landed with the others, and its clone finds that out.
    victim = racers[killer.killed[0]]
    add_key(victim, "again")
    report = push_from(victim, repo_url, "again")
    assert report.landed is not None
    assert [subjects_at(bare_repo).count(name) for name in names] == [1, 1, 1, 1]
    assert keys_at(bare_repo) == dict.fromkeys([*names, "again"], 1)
    assert {line["event"] for line in history_at(bare_repo)} <= {"create", "acquire", "release", "land", "abandon"}
