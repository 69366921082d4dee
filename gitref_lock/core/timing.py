"""How long things last, and the relations that must hold between them: checked once, when the timing is built.

Every relation has its own message, so that a configuration mistake is found before a lock is taken, not after it was
lost (docs/protocol.md, sections 4 and 5).
"""

from __future__ import annotations

from gitref_lock.core.lean import dataclass
from gitref_lock.core.record import MAX_TTL_S, MIN_TTL_S

MAX_CLOCK_SKEW_S = 10.0


class TimingError(ValueError):
    """A relation between durations does not hold; the text names both and what is required."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Durations of one lease in seconds.

    A holder counts its lease as lost at ``ttl_s - margin_s`` after the first sending of the bytes that were confirmed;
    ``kill_after_s`` lies between SIGTERM and SIGKILL for a wrapped command.
    """

    ttl_s: float
    kill_after_s: float
    margin_s: float
    renew_interval_s: float

    def __post_init__(self) -> None:
        """Check every relation."""
        if not MIN_TTL_S <= self.ttl_s <= MAX_TTL_S:
            raise TimingError(f"ttl is {self.ttl_s:g} s; it must be from {MIN_TTL_S:g} s to {MAX_TTL_S:g} s")
        if not self.kill_after_s >= 0:
            raise TimingError(f"kill-after is {self.kill_after_s:g} s; it must not be negative")
        if not self.margin_s >= self.kill_after_s + 1:
            raise TimingError(
                f"the margin ({self.margin_s:g} s) must be at least kill-after ({self.kill_after_s:g} s) plus 1 s"
            )
        if not self.margin_s < self.ttl_s:
            raise TimingError(
                f"ttl ({self.ttl_s:g} s) must be longer than the safety margin ({self.margin_s:g} s); "
                "raise --ttl or lower --kill-after"
            )
        if not 0 < self.renew_interval_s < self.ttl_s - self.margin_s:
            raise TimingError(
                f"the renew interval ({self.renew_interval_s:g} s) must be shorter than ttl less the safety margin "
                f"({self.ttl_s - self.margin_s:g} s)"
            )

    @classmethod
    def for_ttl(cls, ttl_s: float, *, kill_after_s: float | None = None) -> LeaseTiming:
        """Return the default timing for a ttl: kill-after min(5 s, ttl/5), margin kill-after + max(1 s, ttl/10)."""
        kill_after = min(5.0, ttl_s / 5) if kill_after_s is None else kill_after_s
        return cls(
            ttl_s=ttl_s,
            kill_after_s=kill_after,
            margin_s=kill_after + max(1.0, ttl_s / 10),
            renew_interval_s=ttl_s / 3,
        )

    @property
    def usable_s(self) -> float:
        """Seconds after the first sending at which the holder counts its lease as lost."""
        return self.ttl_s - self.margin_s


@dataclass(frozen=True, slots=True)
class QueueTiming:
    """Durations of waiting in seconds; ``head_start_s`` is what one point of priority is worth.

    ``gather_s`` is how long the head of a queue that lands waits for more, ``landing_s`` what its landing takes,
    ``land_change_s`` what each change of a crowd adds to that.
    """

    head_start_s: float = 10.0
    claim_window_s: float = 6.0
    claim_step_s: float = 1.0
    land_window_s: float = 0.5
    land_step_s: float = 1.0
    land_change_s: float = 0.03
    pace_floor_s: float = 0.5
    pace_cap_s: float = 5.0
    pace_factor_s: float = 0.04
    reads_per_s: float = 10.0
    gather_s: float = 0.3
    landing_s: float = 1.0

    def __post_init__(self) -> None:
        """Check every relation."""
        if not self.claim_window_s > self.pace_cap_s:
            raise TimingError(
                f"the claim window ({self.claim_window_s:g} s) must be longer than the longest pace of the first "
                f"places ({self.pace_cap_s:g} s), else a live head is passed over"
            )
        if not 0 < self.pace_floor_s <= self.pace_cap_s:
            raise TimingError(
                f"the pace floor ({self.pace_floor_s:g} s) must be above 0, its cap ({self.pace_cap_s:g} s) not lower"
            )
        if not 0 <= self.head_start_s <= 3600:
            raise TimingError(f"the head start is {self.head_start_s:g} s a point; it must be from 0 to 3600")
        laws = (self.claim_step_s, self.land_window_s, self.land_step_s, self.pace_factor_s, self.reads_per_s)
        if not all(value > 0 for value in laws):
            raise TimingError("claim step, land window, land step, pace factor and reads per second must be above 0")


def default_wait_s(ttl_s: float | None) -> float:
    """Return the default wait limit: the larger of 30 minutes and the present lease's ttl plus 5 minutes."""
    return max(1800.0, (ttl_s or 0.0) + 300.0)
