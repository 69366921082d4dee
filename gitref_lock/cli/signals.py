"""A signal ends the command once, with time to clean up: SIGINT, SIGTERM and SIGHUP raise Interrupted.

A cancelled CI job sends a second signal after 7.5 s and then kills; so later signals do not disturb the cleaning up for
five seconds, and end the process at once afterwards.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from gitref_lock.errors import Interrupted
from gitref_lock.ports import Clock

GRACE_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SignalGate:
    """Turns the first signal into an Interrupted in the main thread."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is installed before ``install``."""
        self._clock = clock
        self._first_s: float | None = None

    def install(self) -> None:
        """Take the signals; one that is ignored (``nohup``) stays so."""
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self._first_s is None:
            self._first_s = self._clock.monotonic()
            raise Interrupted(number)
        if self._clock.monotonic() - self._first_s >= GRACE_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
