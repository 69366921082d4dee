"""A signal that comes while a child is started does its work once there is a handle on the child, and it does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from gitref_lock.errors import Interrupted
from gitref_lock.remotes import unbroken as module
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


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Gate:
    """Raises for the first signal and lets later ones pass, as the command line does; counts all of them."""

    def __init__(self) -> None:
        """No signal has come yet."""
        self.seen: list[int] = []

    def arrived(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self.seen.append(number)
        if len(self.seen) == 1:
            raise Interrupted(number)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Have every stopping signal go through a gate."""
    made = Gate()
    former = {number: signal.signal(number, made.arrived) for number in STOPPING}
    yield made
    for number, handler in former.items():
        signal.signal(number, handler)


class Injection:
    """Sends signals at the step ``at`` of the code under test, counted in bytecodes and lines."""

    def __init__(self, at: int, numbers: tuple[int, ...]) -> None:
        """Nothing is sent before ``at`` steps were taken."""
        self.at, self.numbers, self.steps = at, numbers, 0

    def __call__(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """Follow the frames of the module only."""
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        self.steps += 1
        if self.steps == self.at:
            former = signal.pthread_sigmask(signal.SIG_BLOCK, self.numbers)
            try:
                for number in self.numbers:
                    signal.pthread_kill(threading.get_ident(), number)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, former)
        return self._step

    def run(self) -> bool:
        """Return whether a signal raised."""
        former = sys.gettrace()
        sys.settrace(self)
        try:
            with unbroken():
                pass
        except Interrupted:
            return True
        finally:
            sys.settrace(former)
        return False


def run_pending() -> None:
    """Run the handlers of signals that have come and waited for one that raised."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("numbers", [(number,) for number in STOPPING] + [STOPPING])
def test_a_signal_at_any_step_counts_once_and_leaves_every_handler(gate: Gate, numbers: tuple[int, ...]) -> None:
    """Wherever in the exchange of the handlers it comes, a signal raises, and all handlers are the former ones."""
    steps = 0
    while True:
        gate.seen.clear()
        injection = Injection(steps + 1, numbers)
        raised = injection.run()
        run_pending()
        if injection.steps <= steps:
            break
        steps += 1
        assert raised, f"step {steps}: the signal is lost"
        assert sorted(gate.seen) == sorted(numbers), f"step {steps}: not each signal came once"
        assert [signal.getsignal(number) for number in STOPPING] == [gate.arrived] * 3, f"step {steps}"
    assert steps > 50


def test_what_raises_again_and_again_leaves_no_dead_handler(gate: Gate) -> None:
    """Where handlers raise each time, what stays in place of one that could not be put back does the same."""

    def always(number: int, _frame: FrameType | None) -> None:
        gate.seen.append(number)
        raise Interrupted(number)

    for at in range(1, 200):
        for number in STOPPING:
            signal.signal(number, always)
        with suppress(Interrupted):
            Injection(at, STOPPING).run()
            run_pending()
        with suppress(Interrupted):
            run_pending()
        for number in STOPPING:
            with pytest.raises(Interrupted):
                signal.raise_signal(number)
        with unbroken():
            pass
        assert [signal.getsignal(number) for number in STOPPING] == [always] * 3
