"""Signals of ``run`` in its three phases."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from gitref_lock.errors import Interrupted
from gitref_lock.runtime.forwarding import FORWARDED, Phase, SignalDesk
from gitref_lock.testing.clock import JumpingClock


@pytest.fixture
def desk() -> Iterator[SignalDesk]:
    """Return a desk that takes the signals."""
    before = [signal.getsignal(number) for number in FORWARDED]
    with SignalDesk(JumpingClock()) as taken:
        yield taken
    assert [signal.getsignal(number) for number in FORWARDED] == before


@pytest.mark.parametrize("number", FORWARDED)
def test_while_waiting_the_first_signal_ends_the_wait(desk: SignalDesk, number: signal.Signals) -> None:
    """Each of them raises, once; a second one does not disturb the cleaning up."""
    with pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.signum == number
    os.kill(os.getpid(), number)
    assert desk.received == [number, number]


def test_the_commands_signals_go_to_its_group(desk: SignalDesk) -> None:
    """Nothing is raised here, and a group that is gone is no error."""
    command = subprocess.Popen(["sleep", "600"], start_new_session=True)
    desk.forward_to(command.pid)
    os.kill(os.getpid(), signal.SIGTERM)
    assert command.wait(30) == -signal.SIGTERM
    os.kill(os.getpid(), signal.SIGTERM)
    assert desk.received == [signal.SIGTERM] * 2


def test_the_release_goes_on_through_signals(desk: SignalDesk) -> None:
    """Two more do not disturb it."""
    desk.release_begins()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert desk.phase is Phase.RELEASING
    assert desk.received == [signal.SIGTERM, signal.SIGINT]


def test_a_pause_ends_with_a_signal_a_child_or_a_word(desk: SignalDesk) -> None:
    """None of these is slept through, even when it came before the pause."""
    desk.release_begins()
    desk.wake()
    desk.pause(600)
    os.kill(os.getpid(), signal.SIGUSR1)
    desk.pause(600)
    child = subprocess.Popen(["true"])
    desk.pause(600)
    assert child.wait(30) == 0


def test_signals_held_up_arrive_afterwards(desk: SignalDesk) -> None:
    """Between the lease and the command nothing is lost."""

    def interrupted() -> None:
        with desk.held_up() as mask:
            os.kill(os.getpid(), signal.SIGTERM)
            assert desk.received == []
            assert signal.SIGTERM not in mask

    with pytest.raises(Interrupted):
        interrupted()
    assert desk.received == [signal.SIGTERM]


def test_what_is_ignored_stays_ignored() -> None:
    """A caller's nohup holds for the command as well."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalDesk(JumpingClock()) as taken:
            os.kill(os.getpid(), signal.SIGHUP)
            assert taken.received == []
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)
