"""The watchdog: it ends a process group at an instant, whatever has become of the one who started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitref_lock.runtime.watchdog import Watchdog
from tests.scheduling.jobs import ROOT, eventually, is_running

SUPERVISOR = """
import os, sys, time
from gitref_lock.runtime.watchdog import start_watchdog
from gitref_lock.system import SystemClock
clock = SystemClock()
dog = start_watchdog(clock, int(sys.argv[1]), clock.boottime() + float(sys.argv[2]), float(sys.argv[3]))
print(dog.pid, flush=True)
for line in sys.stdin:
    word, _, value = line.strip().partition(" ")
    if word == "until":
        print(dog.until(clock.boottime() + float(value)), flush=True)
    elif word == "dismiss":
        dog.dismiss()
        print("dismissed", flush=True)
"""
STUBBORN = "trap 'echo term' TERM; echo ready; while :; do sleep 0.02; done"
Start = Callable[..., "Scene"]


class Scene:
    """A group, and a process that has set a watchdog on it."""

    def __init__(self, script: str, until_s: float, kill_after_s: float) -> None:
        """Start both."""
        self.group = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True, text=True)
        assert self.group.stdout is not None
        assert self.group.stdout.readline() == "ready\n"
        self.started_s = time.monotonic()
        self.owner = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(self.group.pid), str(until_s), str(kill_after_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        assert self.owner.stdout is not None
        self.watchdog = int(self.owner.stdout.readline())
        eventually(self._is_watching)

    def _is_watching(self) -> bool:
        """Tell whether the watchdog has let go of everything inherited, or has ended already."""
        try:
            return len(os.listdir(f"/proc/{self.watchdog}/fd")) <= 1  # noqa: PTH208 - entries of /proc, not files
        except FileNotFoundError:
            return True

    def ask(self, text: str) -> str:
        """Say something to the owner and return its answer."""
        assert self.owner.stdin is not None
        assert self.owner.stdout is not None
        self.owner.stdin.write(f"{text}\n")
        self.owner.stdin.flush()
        return self.owner.stdout.readline().strip()

    def said(self) -> str:
        """Return the rest of what the group has said."""
        assert self.group.stdout is not None
        return self.group.stdout.read()

    def close(self) -> None:
        """End everything."""
        for process in (self.group, self.owner):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL) if process is self.group else process.kill()
            process.wait(30)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        eventually(lambda: not is_running(self.watchdog))


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what sets a scene."""
    scenes: list[Scene] = []

    def begin(script: str = STUBBORN, *, until_s: float = 600.0, kill_after_s: float = 0.3) -> Scene:
        scenes.append(Scene(script, until_s, kill_after_s))
        return scenes[-1]

    yield begin
    for scene in scenes:
        scene.close()


def test_term_once_then_kill(start: Start) -> None:
    """At the deadline the group gets SIGTERM, once, and SIGKILL after kill-after, not before."""
    scene = start(until_s=0.4)
    assert scene.group.wait(30) == -signal.SIGKILL
    assert time.monotonic() - scene.started_s >= 0.4 + 0.3
    assert scene.said() == "term\n"
    eventually(lambda: not is_running(scene.watchdog))


def test_a_group_that_obeys_is_not_killed(start: Start) -> None:
    """Who ends on SIGTERM ends with an exit code of its own, and the watchdog ends with it."""
    scene = start("trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done", until_s=0.3, kill_after_s=60.0)
    assert scene.group.wait(30) == 7
    eventually(lambda: not is_running(scene.watchdog))


def test_a_stopped_group_hears_the_end(start: Start) -> None:
    """A stopped process is continued, so that it can end in good order."""
    scene = start("trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done", until_s=0.5, kill_after_s=60.0)
    os.killpg(scene.group.pid, signal.SIGSTOP)
    assert scene.group.wait(30) == 7


def test_each_renewal_moves_the_deadline(start: Start) -> None:
    """The last word counts, later or earlier; an owner that is alive is obeyed."""
    scene = start(until_s=600.0)
    assert scene.ask("until 500") == "True"
    assert scene.group.poll() is None
    assert scene.ask("until 0") == "True"
    assert scene.group.wait(30) == -signal.SIGKILL


def test_after_its_end_the_owner_is_told(start: Start) -> None:
    """A watchdog that has acted cannot be told anything any more, and the owner learns that."""
    scene = start(until_s=0.0)
    assert scene.group.wait(30) == -signal.SIGKILL
    eventually(lambda: not is_running(scene.watchdog))
    assert scene.ask("until 10") == "False"


def test_a_killed_owner_changes_nothing(start: Start) -> None:
    """The watchdog does its work for an owner that was killed."""
    scene = start(until_s=1.0)
    scene.owner.kill()
    scene.owner.wait(30)
    assert is_running(scene.watchdog)
    assert scene.group.wait(30) == -signal.SIGKILL
    assert time.monotonic() - scene.started_s >= 1.0


def test_without_owner_and_group_it_ends(start: Start) -> None:
    """When the group ends after its owner, the watchdog ends too, long before the deadline."""
    scene = start("echo ready; read line", until_s=600.0)
    scene.owner.kill()
    scene.owner.wait(30)
    os.killpg(scene.group.pid, signal.SIGKILL)
    scene.group.wait(30)
    eventually(lambda: not is_running(scene.watchdog), within_s=20)


def test_dismissal_leaves_the_group_alone(start: Start) -> None:
    """A dismissed watchdog is gone at once, even a stopped one, and nothing happens to the group."""
    scene = start(until_s=600.0)
    os.kill(scene.watchdog, signal.SIGSTOP)
    assert scene.ask("dismiss") == "dismissed"
    assert not is_running(scene.watchdog)
    assert scene.group.poll() is None


def test_a_renewal_that_ends_after_the_dismissal_writes_nowhere(tmp_path: Path) -> None:
    """The renewing thread may speak last: the file that got the pipe's number by then stays as it is."""
    reader, writer = os.pipe()
    stand_in = subprocess.Popen(["sleep", "600"])
    dog = Watchdog(stand_in.pid, writer)
    dog.dismiss()
    stand_in.wait(30)
    successor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert successor == writer
        assert not dog.until(1.0)
        assert (tmp_path / "file").read_bytes() == b""
    finally:
        os.close(successor)
        os.close(reader)


def test_signals_to_the_owners_group_do_not_reach_it(start: Start) -> None:
    """It lives in a session of its own and shrugs off what is meant for others."""
    scene = start(until_s=600.0)
    assert os.getsid(scene.watchdog) == scene.watchdog
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(scene.watchdog, number)
    assert scene.ask("until 0") == "True"
    assert scene.group.wait(30) == -signal.SIGKILL


def test_it_holds_no_descriptor_but_its_pipe(start: Start) -> None:
    """Whoever waits for the end of a pipe of ours does not wait for the watchdog."""
    scene = start(until_s=600.0)
    assert len(os.listdir(f"/proc/{scene.watchdog}/fd")) == 1  # noqa: PTH208 - entries of /proc, not files
