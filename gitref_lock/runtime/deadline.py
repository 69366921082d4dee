"""How long one command may take, on the steady clock, and how it ends when that is over."""

from __future__ import annotations

from gitref_lock.core.lean import dataclass
from gitref_lock.ports import Clock, System


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on the monotonic clock; ``at_s`` None never comes."""

    clock: Clock
    at_s: float | None = None

    @classmethod
    def after(cls, system: System, seconds: float | None) -> Deadline:
        """Return the deadline ``seconds`` from now; None for no limit."""
        return cls(system.clock, None if seconds is None else system.clock.monotonic() + max(0.0, seconds))

    def remaining_s(self) -> float | None:
        """Return the seconds left, never negative; None without limit."""
        return None if self.at_s is None else max(0.0, self.at_s - self.clock.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.at_s is not None and self.clock.monotonic() >= self.at_s

    def capped(self, seconds: float | None) -> float | None:
        """Return the smaller of ``seconds`` and the time left, for one call's timeout; None when neither limits."""
        left = self.remaining_s()
        if left is None or seconds is None:
            return seconds if left is None else left
        return min(left, seconds)

    def earlier(self, other: Deadline) -> Deadline:
        """Return the one that comes first."""
        if self.at_s is None:
            return other
        return self if other.at_s is None or self.at_s <= other.at_s else other
