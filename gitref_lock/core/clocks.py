"""What two machines may conclude from clocks: the server's Date, and how much time has surely or at most passed.

Wall clocks of different machines are never compared. A holder counts the most time that can have passed since its lease
was written, an observer the least (docs/protocol.md, section 4).
"""

from __future__ import annotations

import itertools

from gitref_lock.core.lean import dataclass

_KEPT_DATES = 16


@dataclass(frozen=True, slots=True)
class ServerDate:
    """One reading of the server's clock, taken from the ``Date`` of a complete 2xx git reply to a POST without ``Age``.

    ``date_s`` is a Unix second, truncated by the server; ``sent_s`` and ``received_s`` are this process's monotonic
    clock around the request.
    """

    date_s: int
    sent_s: float
    received_s: float


@dataclass(frozen=True, slots=True)
class ServerClock:
    """The readings of one server's clock so far, oldest first.

    ``is_consistent`` turns False for good once a reading contradicts what the server's clock has shown before: its
    front ends disagree, and rule B is off for this remote.
    """

    dates: tuple[ServerDate, ...] = ()
    is_consistent: bool = True

    def with_date(self, date: ServerDate | None) -> ServerClock:
        """Return the clock with one more reading."""
        if date is None or (self.dates and self.dates[-1] == date):
            return self
        return ServerClock((*self.dates[-(_KEPT_DATES - 1) :], date), self.is_consistent)

    def contradicted(self) -> ServerClock:
        """Return the clock as one whose front ends disagree."""
        return ServerClock(self.dates, is_consistent=False)

    @property
    def is_known(self) -> bool:
        """Whether there is any reading."""
        return bool(self.dates)

    def earliest(self, now_s: float) -> float:
        """Return the earliest that the server's clock can show at monotonic ``now_s``; needs a reading."""
        last = self.dates[-1]
        return last.date_s + max(0.0, now_s - last.received_s)

    def latest(self, now_s: float) -> float:
        """Return the latest that the server's clock can show at monotonic ``now_s``; needs a reading."""
        last = self.dates[-1]
        return last.date_s + 1 + max(0.0, now_s - last.sent_s)

    def agree_past(self, instant_s: float, *, apart_s: float = 2.0) -> bool:
        """Tell whether the newest readings, over at least ``apart_s``, all show more than ``instant_s``.

        A newer reading that denies it wins over older ones: front ends that disagree end no lease.
        """
        past = [
            date.received_s for date in itertools.takewhile(lambda date: date.date_s > instant_s, reversed(self.dates))
        ]
        return bool(past) and past[0] - past[-1] >= apart_s


@dataclass(frozen=True, slots=True)
class ClockReading:
    """This machine's clocks at one moment, in seconds: steady, steady through suspend, and Unix time."""

    monotonic_s: float
    boottime_s: float
    wall_s: float


def elapsed_for_holder(start: ClockReading, now: ClockReading) -> float:
    """Return the most time that can have passed: the largest difference of the three clocks, never negative.

    A holder that trusts one clock alone believes in its lease after a suspend or a step: early perhaps, late never.
    """
    return max(now.monotonic_s - start.monotonic_s, now.boottime_s - start.boottime_s, now.wall_s - start.wall_s, 0.0)
