"""A system whose sleep passes no real time: its clocks jump ahead instead.

For tests and dry runs of code that waits: what would take minutes takes none, and nothing depends on luck. Network
waits still take their real time.
"""

from __future__ import annotations

import time
from random import Random

from gitref_lock.core.names import Nonce
from gitref_lock.ports import System


class JumpingClock:
    """This machine's clocks plus everything that was slept."""

    def __init__(self) -> None:
        """Start without an offset."""
        self.slept_s = 0.0

    def monotonic(self) -> float:
        """Return the steady clock, ahead by what was slept."""
        return time.monotonic() + self.slept_s

    def boottime(self) -> float:
        """Return the same as the steady clock."""
        return self.monotonic()

    def wall(self) -> float:
        """Return Unix time, ahead by what was slept."""
        return time.time() + self.slept_s

    def boot_id(self) -> str:
        """Return a word of its own."""
        return "jumping"


class SeededEntropy:
    """Nonces and jitter from a seed."""

    def __init__(self, seed: int) -> None:
        """Seed the generator."""
        self._random = Random(seed)

    def nonce(self) -> Nonce:
        """Return 96 bits as hex."""
        return Nonce(f"{self._random.getrandbits(96):024x}")

    def uniform(self, low: float, high: float) -> float:
        """Return a number between ``low`` and ``high``."""
        return self._random.uniform(low, high)


class JumpingSleeper:
    """Sleeps by moving the clock."""

    def __init__(self, clock: JumpingClock) -> None:
        """Move ``clock``."""
        self._clock = clock

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        self._clock.slept_s += max(0.0, seconds)


def jumping_system(seed: int) -> System:
    """Return a system whose waits take no time."""
    clock = JumpingClock()
    return System(clock, SeededEntropy(seed), JumpingSleeper(clock))
