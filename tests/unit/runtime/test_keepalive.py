"""Which process stands for a job's life, and telling it from a later one with the same number."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gitref_lock.runtime.keepalive import Process, job_process
from tests.scheduling.jobs import eventually


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that waits."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait(30)


def test_a_running_process_is_found(child: subprocess.Popen[bytes]) -> None:
    """With its parent, and alive for as long as it runs."""
    found = Process.find(child.pid)
    assert found is not None
    assert found.parent == os.getpid()
    assert found.is_alive


def test_what_is_left_of_an_ended_process_is_none(child: subprocess.Popen[bytes]) -> None:
    """A zombie has ended, and so has a process that nobody remembers."""
    found = Process.find(child.pid)
    assert found is not None
    child.send_signal(signal.SIGKILL)
    eventually(lambda: not found.is_alive)
    assert Process.find(child.pid) is None
    child.wait(30)
    assert Process.find(child.pid) is None


def test_another_process_with_the_same_number_is_another_one(child: subprocess.Popen[bytes]) -> None:
    """The instant of the start tells them apart."""
    found = Process.find(child.pid)
    assert found is not None
    assert not replace(found, started="0").is_alive


def test_the_job_is_the_parent_of_the_shell() -> None:
    """Of the shell that ran us, the parent; of a process that is nobody's child, nobody."""
    mine = Process.find(os.getpid())
    assert mine is not None
    assert job_process(os.getpid()) == Process.find(mine.parent)
    assert job_process(1) is None
    assert job_process(2**22 + 1) is None


def test_ps_tells_the_same(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc the program ps is asked."""
    found = Process._ask_ps(child.pid)
    assert found is not None
    assert (found.pid, found.parent) == (child.pid, os.getpid())
    assert found == Process._ask_ps(child.pid)
    child.kill()
    child.wait(30)
    assert Process._ask_ps(child.pid) is None
