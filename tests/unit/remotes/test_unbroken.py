"""A signal that comes while a child is started does its work once there is a handle on the child, and it does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from gitref_lock.errors import Interrupted
from gitref_lock.remotes.unbroken import unbroken


@pytest.fixture
def raising() -> Iterator[None]:
    """Have SIGTERM raise Interrupted, as the command line does."""

    def arrived(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    former = signal.signal(signal.SIGTERM, arrived)
    yield
    signal.signal(signal.SIGTERM, former)


@pytest.mark.usefixtures("raising")
def test_what_was_begun_is_finished_before_the_signal_counts() -> None:
    """The block runs to its end; then the signal's handler does what it would have done."""
    done = False

    def begin() -> None:
        nonlocal done
        with unbroken():
            os.kill(os.getpid(), signal.SIGTERM)
            done = True

    with pytest.raises(Interrupted):
        begin()
    assert done
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("raising")
def test_an_error_of_the_block_does_not_lose_the_signal() -> None:
    """When the block fails too, the signal is what counts."""

    def begin() -> None:
        with unbroken():
            os.kill(os.getpid(), signal.SIGTERM)
            raise OSError("no such program")

    with pytest.raises(Interrupted):
        begin()


@pytest.mark.usefixtures("raising")
def test_a_child_of_the_block_can_be_ended_by_the_signal() -> None:
    """Nothing of it is inherited: SIGTERM ends the child."""
    with unbroken():
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with child:
        child.terminate()
        assert child.wait(60) == -signal.SIGTERM


def test_in_another_thread_there_is_nothing_to_hold_back() -> None:
    """Handlers run in the main thread only, and only there can they be set."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with unbroken():
                pass
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not failures
