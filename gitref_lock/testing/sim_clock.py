"""The clocks of simulated machines: skewed, drifting, stepping, and stopping in suspend as Linux's do.

A clock is a list of straight pieces over true time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from gitref_lock.core.names import Nonce
from gitref_lock.testing.sim_kernel import Kernel, Task


@dataclass(frozen=True, slots=True)
class Piece:
    """From true time ``from_s`` on the clock shows ``value_s`` and goes at ``rate``."""

    from_s: float
    value_s: float
    rate: float

    def at(self, true_s: float) -> float:
        """Return what the clock shows within this piece."""
        return self.value_s + (true_s - self.from_s) * self.rate


@dataclass(slots=True)
class Curve:
    """One clock over true time."""

    pieces: list[Piece]

    def at(self, true_s: float) -> float:
        """Return what the clock shows at a true time."""
        for piece in reversed(self.pieces):
            if piece.from_s <= true_s:
                return piece.at(true_s)
        return self.pieces[0].at(true_s)

    def change(self, true_s: float, *, rate: float | None = None, step_s: float = 0.0) -> None:
        """Begin a new piece at a true time that is not before the last one."""
        last = self.pieces[-1]
        begin = max(true_s, last.from_s)
        self.pieces.append(Piece(begin, last.at(begin) + step_s, last.rate if rate is None else rate))


class SimClock:
    """One machine's clocks."""

    def __init__(self, kernel: Kernel, *, epoch_s: float, skew_s: float = 0.0, drift: float = 0.0) -> None:
        """``skew_s`` is added to the wall clock, ``drift`` is the relative error of every rate."""
        self.kernel = kernel
        rate = 1.0 + drift
        self.rate = rate
        self.mono = Curve([Piece(0.0, 1000.0, rate)])
        self.boot = Curve([Piece(0.0, 1000.0, rate)])
        self.unix = Curve([Piece(0.0, epoch_s + skew_s, rate)])

    def monotonic(self) -> float:
        """Steady; stops in suspend."""
        return self.mono.at(self.kernel.now)

    def boottime(self) -> float:
        """Steady; goes on in suspend."""
        return self.boot.at(self.kernel.now)

    def wall(self) -> float:
        """Unix time of this machine."""
        return self.unix.at(self.kernel.now)

    def boot_id(self) -> str:
        """One boot."""
        return "simulated"

    def suspend(self, seconds: float) -> None:
        """Stop the monotonic clock for ``seconds`` of true time from now."""
        self.mono.change(self.kernel.now, rate=0.0)
        self.mono.change(self.kernel.now + seconds, rate=self.rate)

    def jump(self, step_s: float) -> None:
        """Step the wall clock."""
        self.unix.change(self.kernel.now, step_s=step_s)


class SimEntropy:
    """Randomness from the seed."""

    def __init__(self, seed: str) -> None:
        """Equal seeds yield equal numbers."""
        self._random = random.Random(seed)

    def nonce(self) -> Nonce:
        """Return 96 bits as hex."""
        return Nonce(f"{self._random.getrandbits(96):024x}")

    def uniform(self, low: float, high: float) -> float:
        """Return a number between ``low`` and ``high``."""
        return self._random.uniform(low, high)


@dataclass(slots=True)
class SimSleeper:
    """Sleep on a machine's own steady clock; ``task`` tells which process runs on it now."""

    clock: SimClock
    task: Callable[[], Task]

    def sleep(self, seconds: float) -> None:
        """Let time pass for the task."""
        self.task().sleep(max(0.0, seconds) / self.clock.rate)
