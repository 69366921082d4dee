"""What lies between runners and server: delays, losses, copies and partitions, decided for each request by the seed.

A test may decide the fate of single requests itself: ``script`` is asked first.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gitref_lock.testing.sim_clock import SimClock
from gitref_lock.testing.sim_faults import Faults, Partition
from gitref_lock.testing.sim_history import History
from gitref_lock.testing.sim_kernel import Kernel, Stop, Task
from gitref_lock.testing.simserver import SimServer


@dataclass(slots=True)
class Fate:
    """What happens to one request; durations in seconds of true time.

    ``crash`` is ``before`` (nothing is sent), ``sent`` or ``after`` (the reply has come). ``late_s`` makes the only
    copy arrive that much later, with its client seeing a failure at once, or at its timeout (``is_quiet``). ``again_s``
    sends a second copy; with ``is_second_heard`` only the reply to that one comes back, as when a proxy sends again.
    ``torn_s`` reads the last names of a listing that much later than the first ones; ``lag_s`` answers from a replica
    that is behind.
    """

    out_s: float = 0.05
    back_s: float = 0.05
    pause_s: float = 0.0
    suspends: bool = False
    crash: str = ""
    refused: bool = False
    lost: bool = False
    late_s: float | None = None
    again_s: float | None = None
    is_second_heard: bool = False
    reply_lost: bool = False
    is_quiet: bool = False
    torn_s: float | None = None
    torn_at: float = 0.5
    lag_s: float | None = None


Script = Callable[[str, str, int], Fate | None]
"""Given runner, kind of request (``ls-refs``, ``fetch``, ``probe``, ``swap``) and its number, its fate or None."""


@dataclass(slots=True)
class Machine:
    """One runner's machine as the network sees it."""

    name: str
    clock: SimClock
    task: Task | None = None
    stop: Stop = field(default_factory=Stop)

    def running(self) -> Task:
        """Return the process that runs now."""
        assert self.task is not None
        return self.task


@dataclass(slots=True)
class Network:
    """The way of every request. ``is_healed`` ends all faults; copies that are under way still arrive."""

    kernel: Kernel
    server: SimServer
    history: History
    faults: Faults
    dice: random.Random
    partitions: list[Partition] = field(default_factory=list)
    script: Script | None = None
    is_healed: bool = False
    requests: int = 0

    def fate(self, runner: str, kind: str) -> tuple[int, Fate]:
        """Number the next request of a runner and decide what happens to it."""
        self.requests += 1
        scripted = self.script(runner, kind, self.requests) if self.script is not None else None
        return self.requests, scripted or self._drawn(is_write=kind == "swap", is_listing=kind == "ls-refs")

    def _drawn(self, *, is_write: bool, is_listing: bool) -> Fate:
        faults, dice = self.faults, self.dice
        low, high = faults.delay_s
        fate = Fate(low + (high - low) * dice.random(), low + (high - low) * dice.random())
        if self.is_healed or faults.is_calm:
            return fate
        rolls = {name: dice.random() for name in faults.on}
        hit = {name for name, roll in rolls.items() if roll < getattr(faults, name)}
        if "slow" in hit:
            fate.out_s *= dice.uniform(5, 60)
            fate.back_s *= dice.uniform(5, 60)
        if "pause" in hit:
            fate.pause_s = dice.choice(faults.pauses_s) * dice.uniform(0.5, 1.5)
            fate.suspends = dice.random() < faults.suspend_share
        if "crash" in hit:
            fate.crash = dice.choice(("before", "sent", "after"))
        fate.refused = "no_connection" in hit
        fate.lost = "lose_request" in hit
        fate.reply_lost = "lose_reply" in hit
        fate.is_quiet = dice.random() < 0.5
        if is_write and "late_copy" in hit:
            fate.late_s = self._late()
        if is_write and "duplicate" in hit:
            fate.again_s = self._late()
            fate.is_second_heard = fate.again_s < 5.0 and dice.random() < faults.proxy_share
        if is_listing and "torn" in hit:
            fate.torn_s, fate.torn_at = dice.uniform(0.001, 0.3), dice.random()
        if is_listing and "stale" in hit:
            fate.lag_s = dice.uniform(0, faults.stale_s)
        return fate

    def _late(self) -> float:
        """Return how much later a stray copy arrives."""
        return self.dice.choice((0.05, 0.5, 3.0, 20.0, 120.0)) * self.dice.uniform(0.5, 1.5)

    def is_cut(self, runner: str, *, inbound: bool) -> bool:
        """Tell whether a partition stops this direction for this runner now."""
        now = self.kernel.now
        return not self.is_healed and any(
            cut.runner == runner and cut.from_s <= now < cut.until_s and (cut.inbound if inbound else cut.outbound)
            for cut in self.partitions
        )

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.history.note(self.kernel.now, text)
