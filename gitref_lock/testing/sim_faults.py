"""What can go wrong in a run, drawn from its seed and printed with it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property

STALE_S = 1.0
"""By how much a listing may lag behind: what read-backs surely bridge (docs/protocol.md, section 11)."""

_RATES = (
    "slow",
    "no_connection",
    "lose_request",
    "lose_reply",
    "late_copy",
    "duplicate",
    "pause",
    "crash",
    "torn",
    "stale",
)


@dataclass(frozen=True, slots=True)
class Partition:
    """A time during which one runner's requests, or the replies to them, do not arrive."""

    runner: str
    from_s: float
    until_s: float
    outbound: bool
    inbound: bool


@dataclass(frozen=True)
class Faults:
    """Probabilities for each request, and how long things take (seconds)."""

    delay_s: tuple[float, float] = (0.02, 0.08)
    slow: float = 0.0
    no_connection: float = 0.0
    lose_request: float = 0.0
    lose_reply: float = 0.0
    late_copy: float = 0.0
    duplicate: float = 0.0
    proxy_share: float = 0.3
    pause: float = 0.0
    pauses_s: tuple[float, ...] = (0.5, 5.0, 30.0, 120.0)
    suspend_share: float = 0.3
    crash: float = 0.0
    torn: float = 0.0
    stale: float = 0.0
    stale_s: float = 0.0

    @cached_property
    def on(self) -> tuple[str, ...]:
        """The faults that can happen."""
        return tuple(name for name in _RATES if getattr(self, name) > 0)

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong."""
        return not self.on

    def describe(self) -> str:
        """Return the faults that can happen, with their probabilities."""
        return " ".join(f"{name}={getattr(self, name):g}" for name in self.on) or "none"


def drawn(dice: random.Random) -> Faults:
    """Draw a mix of faults; about one run in six has none."""
    if dice.random() < 0.15:
        return Faults()

    def rate(share: float, high: float) -> float:
        return round(dice.uniform(0.1, 1.0) * high, 4) if dice.random() < share else 0.0

    low = dice.choice((0.002, 0.02, 0.1))
    return Faults(
        delay_s=(low, low * dice.choice((1.5, 4.0))),
        slow=rate(0.4, 0.1),
        no_connection=rate(0.4, 0.05),
        lose_request=rate(0.5, 0.06),
        lose_reply=rate(0.6, 0.15),
        late_copy=rate(0.6, 0.1),
        duplicate=rate(0.5, 0.1),
        pause=rate(0.4, 0.03),
        crash=rate(0.4, 0.02),
        torn=rate(0.5, 0.2),
        stale=rate(0.2, 0.1),
        stale_s=STALE_S,
    )
