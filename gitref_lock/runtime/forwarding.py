"""Signals of ``run``: before the command they end the wait, then they are the command's, at last they do not disturb.

A cancelled CI job sends a signal, then another one after seconds, then kills; the release happens in between. So the
release goes on through further signals, up to a third one (docs/protocol.md, section 2).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from enum import Enum
from types import FrameType
from typing import Any, Self

from gitref_lock.errors import Interrupted
from gitref_lock.ports import Clock
from gitref_lock.runtime.command import signal_group

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_GRACE_S = 5.0
_PATIENCE = 3


class Phase(Enum):
    """What a signal means at the moment."""

    WAITING = "ends the wait"
    COMMAND = "belongs to the command"
    RELEASING = "does not disturb"


class SignalDesk:
    """Takes the signals of the main thread while it is entered. ``received`` are those that came, in order."""

    def __init__(self, clock: Clock) -> None:
        """Take nothing before it is entered."""
        self.phase = Phase.WAITING
        self.received: list[int] = []
        self.group: int | None = None
        self._clock = clock
        self._first_s: float | None = None
        self._disturbed = 0
        self._former: dict[int, Callable[[int, FrameType | None], Any] | int | signal.Handlers | None] = {}
        self._reader = self._writer = self._former_fd = -1

    def __enter__(self) -> Self:
        """Take the signals; one that is ignored stays so, for the command as well."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        for number in FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._arrived)
        self._former[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._former_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._former_fd)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def wake(self) -> None:
        """End a pause of the main thread; may be called from any thread."""
        with contextlib.suppress(BlockingIOError):  # full: it wakes up anyway
            os.write(self._writer, b"\0")

    def pause(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as a signal, a child's end or ``wake`` comes."""
        ready, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)

    @contextlib.contextmanager
    def held_up(self) -> Iterator[set[signal.Signals]]:
        """Let all signals wait until the end of the block; yields the mask from before."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            yield {signal.Signals(number) for number in before}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def forward_to(self, group: int) -> None:
        """Hand signals to a process group from now on."""
        self.group = group
        self.phase = Phase.COMMAND

    def release_begins(self) -> None:
        """Let signals not disturb from now on."""
        self.phase = Phase.RELEASING

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        if self.phase is Phase.COMMAND and self.group is not None:
            signal_group(self.group, number)
            return
        now_s = self._clock.monotonic()
        if self.phase is Phase.WAITING and self._first_s is None:
            self._first_s = now_s
            raise Interrupted(number)
        self._disturbed += 1
        was_long_ago = self._first_s is not None and now_s - self._first_s >= _GRACE_S
        if was_long_ago or self._disturbed >= _PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
