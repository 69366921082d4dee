"""``acquire --keep-alive``: a renewer that lives exactly as long as it should."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scheduling.jobs import Jobs, eventually, is_running
from tests.support.gitcli import Repo
from tests.support.runners import history_at


class Kept:
    """Acquires with --keep-alive and knows the renewer's process."""

    def __init__(self, jobs: Jobs) -> None:
        """Nothing is started yet."""
        self.jobs = jobs
        self.pids: list[int] = []

    def acquire(self, *words: str, **more: object) -> int:
        """Acquire ``main`` for 5 s at a time; return the renewer's process number."""
        code, _, said = self.jobs.done("acquire", "main", "--ttl", "5s", "--keep-alive", *words, **more)
        assert code == 0, said
        return self.note(said)

    def note(self, said: str) -> int:
        """Return the process number that acquire has told."""
        found = re.search(r"kept alive by process (\d+), which writes to (\S+)", said)
        assert found is not None, said
        self.pids.append(int(found[1]))
        self.log = Path(found[2])
        return int(found[1])

    def gone(self, pid: int, within_s: float = 20.0) -> None:
        """Wait for a renewer's end."""
        eventually(lambda: not is_running(pid), within_s=within_s)


@pytest.fixture
def kept(jobs: Jobs) -> Iterator[Kept]:
    """Return what acquires; renewers that a failing test left behind are ended."""
    keeper = Kept(jobs)
    yield keeper
    for pid in keeper.pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_it_renews_past_the_ttl_and_ends_with_the_release(jobs: Jobs, kept: Kept, bare_repo: Repo) -> None:
    """The lease outlives its ttl; a release by another process ends the renewer and leaves the lock free."""
    pid = kept.acquire()
    acquired_s = time.monotonic()
    eventually(lambda: time.monotonic() - acquired_s > 6)
    assert is_running(pid)
    assert jobs.done("run", "main", "-n", "--", "true", environ={"HOME": str(jobs.folder)})[0] == 4
    assert jobs.done("release", "main")[0] == 0
    kept.gone(pid)
    assert [line["event"] for line in history_at(bare_repo)] == ["acquire", "renew", "release"]
    assert not kept.log.exists()


def test_inspect_shows_whether_a_lease_is_kept_alive(jobs: Jobs, kept: Kept) -> None:
    """While the process runs, after it was killed, and of a lease for which none was ever started."""

    def shown(*words: str) -> tuple[object, str]:
        found = json.loads(jobs.done("inspect", "main", "--json", *words)[1])["locks"][0]["kept_alive"]
        return found, jobs.done("inspect", "main")[1]

    pid = kept.acquire()
    state, text = shown()
    assert (state, "  kept alive by a process of this machine" in text) == (True, True)
    assert json.loads(jobs.done("acquire", "main", "--json")[1])["reused"] is True
    os.kill(pid, signal.SIGKILL)
    kept.gone(pid)
    state, text = shown()
    assert (state, "not kept alive any more" in text) == (False, True)
    assert jobs.done("release", "main")[0] == 0
    assert jobs.done("acquire", "main")[0] == 0
    state, text = shown()
    assert (state, "kept alive" in text) == (None, False)


def test_a_lost_lease_ends_it_with_a_word(jobs: Jobs, kept: Kept, bare_repo: Repo) -> None:
    """After an operator's break it ends at its next renewal, says why, and takes nothing back."""
    pid = kept.acquire()
    assert jobs.done("break", "main", "--force", "--reason", "test")[0] == 0
    kept.gone(pid)
    assert "is lost" in kept.log.read_text()
    assert [line["event"] for line in history_at(bare_repo)][-1] == "break"
    assert jobs.done("release", "main")[0] == 6


def test_it_ends_at_its_greatest_age(kept: Kept) -> None:
    """--keep-alive-for bounds its life; the log says that the lease now runs out."""
    pid = kept.acquire("--keep-alive-for", "2s")
    kept.gone(pid)
    assert "2 s are over" in kept.log.read_text()


def test_it_ends_with_the_job(jobs: Jobs, kept: Kept) -> None:
    """It outlives the step's shell that ran acquire, and not the process above, which stands for the job."""
    step = f"{sys.executable} -m gitref_lock acquire main -r {jobs.url} --ttl 5s --keep-alive; exit 0"
    done, go = jobs.folder / "step-done", jobs.folder / "go"
    os.mkfifo(go)
    script = f"sh -c '{step}'; : >{done}; read line <{go}"
    job = subprocess.Popen(["sh", "-c", script], cwd=jobs.folder, env=jobs.environ, stderr=subprocess.PIPE, text=True)
    assert job.stderr is not None
    said = job.stderr.readline()
    pid = kept.note(said)
    eventually(done.exists)
    assert is_running(pid)
    job.terminate()
    job.wait(10)
    job.stderr.close()
    kept.gone(pid)
    assert "the job is over" in kept.log.read_text()


def test_another_process_can_be_named(kept: Kept, jobs: Jobs) -> None:
    """--keep-alive-pid names the process whose end ends the job."""
    watched = jobs.run("other")
    pid = kept.acquire("--keep-alive-pid", str(watched.held()))
    watched.let_go()
    kept.gone(pid)


def test_a_second_one_is_not_needed(kept: Kept) -> None:
    """Acquiring again what this job holds leaves one renewer, not two."""
    first = kept.acquire()
    second = kept.acquire()
    kept.gone(second)
    assert is_running(first)
    os.kill(first, signal.SIGTERM)
    kept.gone(first)


def test_no_secret_is_an_argument(kept: Kept) -> None:
    """Neither the lease token nor the remote's address is on the renewer's command line."""
    pid = kept.acquire()
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert kept.log.name[11:23].encode() not in arguments
    assert b"http" not in arguments
    os.kill(pid, signal.SIGTERM)
    kept.gone(pid)
