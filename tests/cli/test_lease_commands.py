"""acquire, renew and release, from real processes over HTTP and a local path."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.testing.faults import FaultPlan, Stall
from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from tests.cli.conftest import Cli, end
from tests.support.gitcli import Repo


def test_acquire_prints_the_token_and_release_needs_no_argument(cli: Cli, bare_repo: Repo) -> None:
    """The lock is the branch; stdout is the token alone; release finds the lease by itself and frees the lock."""
    token = cli("acquire").token
    assert re.fullmatch("[0-9a-f]{24}", token)
    assert token in bare_repo.git("show", "refs/locks/main:lock.json")
    released = cli("release", "--json").json
    assert (released["released"], released["name"], released["lock_ref"]) == (True, "main", "refs/locks/main")
    assert released["lock_oid"] == bare_repo.ref("refs/locks/main")
    assert "free, released by tester" in bare_repo.git("log", "-1", "--format=%s", "refs/locks/main")


def test_acquire_as_json(cli: Cli, bare_repo: Repo) -> None:
    """The document carries the keys that scripts know, and stdout nothing else."""
    found = cli("acquire", "deploy/prod", "--json", "--ttl", "2m", "--reason", "a test", "--priority", "7").json
    assert found["acquired"] is True
    assert found["reused"] is False
    assert found["lock_ref"] == "refs/locks/deploy/prod"
    assert found["lock_oid"] == bare_repo.ref("refs/locks/deploy/prod")
    assert found["holder"]["name"] == "tester"
    assert (found["ttl_seconds"], found["priority"], found["attempts"]) == (120.0, 7, 1)
    assert found["waited_seconds"] >= 0
    assert found["generation"] > 1_000_000_000
    assert "a test" in bare_repo.git("show", "refs/locks/deploy/prod:lock.json")


def test_release_and_renew_take_one_request(cli: Cli, git_server: GitHttpServer) -> None:
    """What the lease file remembers spares every read."""
    cli("acquire")
    before = git_server.counts.snapshot().requests
    cli("renew", "--ttl", "5m")
    cli("release")
    assert git_server.counts.snapshot().requests - before == 2


def test_the_lease_file_is_private(cli: Cli) -> None:
    """The file lies in the git directory, mode 0600, and is gone after release."""
    cli("acquire")
    (path,) = (cli.cwd / ".git" / "gitref-lock").glob("lease-*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    cli("release")
    assert not path.exists()


def test_acquire_again_in_the_same_job_reuses_the_lease(cli: Cli) -> None:
    """A second acquire of the same job returns the lease it has."""
    first = cli("acquire", "--json").json
    again = cli("acquire", "--json").json
    assert (again["reused"], again["lease"], again["generation"]) == (True, first["lease"], first["generation"])


def test_another_job_of_the_same_clone_does_not_adopt_the_lease(cli: Cli) -> None:
    """Two CI jobs in one workspace are two jobs: the second waits like anybody, and cannot release."""
    job = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "a"}
    cli.under(**job, RUNNER_TRACKING_ID="one")("acquire")
    second = cli.under(**job, RUNNER_TRACKING_ID="two")
    assert second("acquire", "-n", "--json", code=4).error["code"] == "lock-timeout"
    assert second("release", "--json", code=5).error["code"] == "held-by-another"
    cli.under(**job, RUNNER_TRACKING_ID="one")("release")


def test_another_terminal_of_the_same_clone_does_not_adopt_the_lease(cli: Cli) -> None:
    """Outside CI two login sessions are two jobs: the lock excludes them from each other too."""
    cli("acquire")
    done = subprocess.run(
        [sys.executable, "-m", "gitref_lock", "acquire", "-n"],
        cwd=cli.cwd,
        env=cli.environ,
        capture_output=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )
    assert done.returncode == 4


def test_a_held_lock_is_not_acquired(cli: Cli, other: Cli) -> None:
    """Nonblocking: exit 4 at once, with the holder; -E replaces the code."""
    cli("acquire", "main", "--workflow", "nightly")
    refused = other("acquire", "main", "--nonblock", "--json", code=4).error
    assert refused["holder"]["name"] == "tester"
    assert refused["lock"] == "main"
    assert "gitref-lock break main --expect" in refused["hint"]
    assert other("acquire", "main", "--wait", "0", "-E", "77", "--json", code=77).error["exit"] == 77


def test_a_wait_that_ends_takes_its_ticket_back(cli: Cli, other: Cli, bare_repo: Repo) -> None:
    """A wait of a second says whom it waits for, ends with 4 and leaves no ticket."""
    cli("acquire", "main", "--workflow", "nightly")
    waited = other("acquire", "main", "--wait", "1s", code=4)
    assert "waiting for main: held by tester (nightly)" in waited.err
    assert "place 1 of 1" in waited.err
    assert bare_repo.refs("refs/lock-queue") == {}


def test_a_waiter_is_served_after_release(cli: Cli, other: Cli) -> None:
    """The waiter takes the lock as soon as it is released, with the next generation."""
    first = cli("acquire", "main", "--json").json
    waiter = other.start("acquire", "main", "--json")
    assert waiter.stderr is not None
    assert any("waiting for main" in line for line in waiter.stderr)
    cli("release", "main")
    out, err = waiter.communicate(timeout=30)
    assert waiter.returncode == 0, err
    assert f'"generation": {first["generation"] + 1}' in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_wait_cleanly(cli: Cli, other: Cli, bare_repo: Repo, number: int) -> None:
    """The ticket is taken back and the exit code is 128 plus the signal's number."""
    cli("acquire", "main")
    waiter = other.start("acquire", "main", "--json")
    assert waiter.stderr is not None
    waiter.stderr.readline()
    ended = end(waiter, number)
    assert ended.code == 128 + number
    assert ended.error["code"] == "interrupted"
    assert bare_repo.refs("refs/lock-queue") == {}


def test_an_ignored_hangup_stays_ignored(cli: Cli, other: Cli, bare_repo: Repo) -> None:
    """Under nohup a closed terminal does not end the wait."""
    cli("acquire", "main")
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        waiter = other.start("acquire", "main")
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert waiter.stderr is not None
    waiter.stderr.readline()
    os.kill(waiter.pid, signal.SIGHUP)
    assert end(waiter, signal.SIGTERM).code == 128 + signal.SIGTERM


def test_a_free_lock_cannot_be_released(cli: Cli) -> None:
    """Exit 6 for a lock that is free, 0 with --if-held."""
    assert cli("release", "--json", code=6).error["code"] == "not-held"
    assert cli("release", "--if-held", "--json").json["released"] is False
    cli("acquire")
    cli("release")
    assert cli("release", "--json", code=6).error["code"] == "not-held"


def test_a_lock_of_somebody_else_is_left_alone(cli: Cli, other: Cli, bare_repo: Repo) -> None:
    """Exit 5 for release and renew, and the lock stays where it is."""
    cli("acquire", "main")
    tip = bare_repo.ref("refs/locks/main")
    assert other("release", "main", "--json", code=5).error["holder"]["name"] == "tester"
    assert other("renew", "main", "--json", code=5).error["code"] == "held-by-another"
    other("release", "main", "--if-held")
    assert bare_repo.ref("refs/locks/main") == tip


def test_a_lease_that_was_broken_is_not_released_again(cli: Cli, other: Cli) -> None:
    """After a break and a new holder my release exits 5, my renewal 5; a broken free lock gives 6."""
    cli("acquire", "main")
    other("break", "main", "--force")
    assert cli("renew", "main", "--json", code=6).error["code"] == "not-held"
    cli("acquire", "main")
    other("break", "main", "--force")
    other("acquire", "main")
    assert cli("release", "main", "--json", code=5).error["holder"]["name"] == "other"


def test_release_if_held_says_that_a_lock_stays_held(cli: Cli, other: Cli) -> None:
    """From a folder without the lease it is told and no failure; where the same CI job holds it, with the way out."""
    job = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "a"}
    cli.under(**job, GITHUB_ACTOR="octo")("acquire", "main")
    stranger = other("release", "main", "--if-held", "--json")
    assert stranger.json["released"] is False
    assert "main stays held: this folder holds no lease on it" in stranger.err
    assert "octo" not in stranger.err
    same = other.under(**job)("release", "main", "--if-held")
    assert "this CI job does (octo, github:1/1/a" in same.err
    assert "--lease TOKEN" in same.err
    cli.under(**job)("release", "main")
    assert "stays held" not in other("release", "main", "--if-held").err


def test_a_token_frees_a_lock_from_anywhere(cli: Cli, other: Cli) -> None:
    """--lease, and the environment for the lock that it names, stand for the lease file."""
    token = cli("acquire", "main").token
    other.under(GITREF_LOCK_LEASE=token, GITREF_LOCK_NAME="staging")("release", "main", code=5)
    other("release", "main", "--lease", "0" * 24, code=5)
    assert other("renew", "main", "--lease", token, "--ttl", "10m", "--json").json["ttl_seconds"] == 600.0
    other.under(GITREF_LOCK_LEASE=token, GITREF_LOCK_NAME="main")("release", "main")
    cli("release", "main", code=6)


def test_several_locks_are_taken_together(cli: Cli, other: Cli, bare_repo: Repo) -> None:
    """All or none: a busy one leaves the others free; taken ones are released in one command."""
    other("acquire", "b")
    assert cli("acquire", "a", "b", "-n", "--json", code=4).error["lock"] == "b"
    assert bare_repo.ref("refs/locks/a") is None
    other("release", "b")
    found = cli("acquire", "a", "b", "--json").json
    assert [lock["name"] for lock in found["locks"]] == ["a", "b"]
    cli("acquire", "a", "c", code=2)
    assert len(cli("release", "a", "b", "--json").json["locks"]) == 2


def test_preempt_takes_the_lock_and_says_who_may_go_on(cli: Cli, other: Cli) -> None:
    """The old holder is named with the end of its lease; the generation rises."""
    first = cli("acquire", "main", "--json").json
    taken = other("acquire", "main", "--preempt", "--reason", "emergency", "--json")
    assert taken.json["generation"] == first["generation"] + 1
    assert f"main was taken from tester, who may go on until {first['expires_at']}" in taken.err


def test_outside_a_repository_with_a_path(home: Path, bare_repo: Repo, cli: Cli, tmp_path: Path) -> None:
    """A path works anywhere; the lease file lies in the user's state directory."""
    away = cli.at(tmp_path)
    away("acquire", "main", "-r", bare_repo.path)
    assert list((home / ".local/state/gitref-lock").glob("lease-*.json"))
    assert away("inspect", "main", "-r", bare_repo.path, "--json").json["locks"][0]["state"] == "held"
    away("release", "main", "-r", bare_repo.path)


def test_shared_options_may_stand_in_front(cli: Cli, tmp_path: Path) -> None:
    """``gitref-lock -C DIR acquire`` reads like ``git -C DIR``."""
    assert cli.at(tmp_path)("-C", cli.cwd, "--json", "acquire").json["name"] == "main"


def test_a_killed_run_knows_its_lock_again(cli: Cli, git_server: GitHttpServer) -> None:
    """The token is on disk before the swap is sent: what was killed with the reply under way finds its own lock."""
    stall = Stall()
    git_server.set_faults(FaultPlan().on(RequestKind.RECEIVE_PACK, 1, stall))
    process = cli.start("acquire", "main")
    assert stall.arrived.wait(30)
    process.kill()
    process.communicate(timeout=30)
    git_server.set_faults()
    stall.let_go()
    assert cli("acquire", "main", "--json").json["reused"] is True
    cli("release", "main")


def test_a_signal_while_the_swap_is_under_way_leaves_nothing(
    cli: Cli, git_server: GitHttpServer, bare_repo: Repo
) -> None:
    """The lock that was just taken is given back before the process ends with the signal's code."""
    stall = Stall()
    git_server.set_faults(FaultPlan().on(RequestKind.RECEIVE_PACK, 1, stall))
    process = cli.start("acquire", "main")
    assert stall.arrived.wait(30)
    assert end(process).code == 128 + signal.SIGTERM
    stall.let_go()
    assert '"state": "free"' in bare_repo.git("show", "refs/locks/main:lock.json")
    assert not list((cli.cwd / ".git" / "gitref-lock").glob("lease-*.json"))


def test_a_signal_after_the_swap_gives_the_lock_back(cli: Cli, bare_repo: Repo, tmp_path: Path) -> None:
    """A lease that nobody was told of is not left behind: the process is caught while it reports."""
    fifo = tmp_path / "output"
    os.mkfifo(fifo)
    process = cli.under(GITHUB_OUTPUT=str(fifo)).start("acquire", "main")
    assert process.stdout is not None
    assert re.fullmatch("[0-9a-f]{24}\n", process.stdout.readline())
    assert end(process).code == 128 + signal.SIGTERM
    assert '"state": "free"' in bare_repo.git("show", "refs/locks/main:lock.json")
    assert not list((cli.cwd / ".git" / "gitref-lock").glob("lease-*.json"))
