"""Taking turns, medians and ratios: the only numbers that mean anything on a machine that others use too.

Absolute times depend on the machine and its load; each is therefore taken beside its peer's, in turns (A B A B), in the
same run, and only the ratio of the medians is compared with earlier runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts.benchlib.serving import Counts, Served


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do an operation: ``prepare`` before each turn, unmeasured; ``work`` measured."""

    name: str
    work: Callable[[], None]
    prepare: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Taken:
    """What one side took, a value a turn."""

    seconds: list[float] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """The median time, in milliseconds."""
        return statistics.median(self.seconds) * 1000

    def typical(self, key: str) -> int:
        """Return the median of one of the server's counts."""
        values: list[int] = [getattr(one, key) for one in self.counts]
        return round(statistics.median(values))


def take_turns(sides: Sequence[Side], server: Served, *, turns: int, warm_up: int = 1) -> dict[str, Taken]:
    """Run the sides in turns and return what each took; the first ``warm_up`` turns are dropped."""
    taken = {side.name: Taken() for side in sides}
    for turn in range(-warm_up, turns):
        for side in sides if turn % 2 == 0 else reversed(sides):
            side.prepare()
            before = server.counts()
            began = time.perf_counter()
            side.work()
            seconds = time.perf_counter() - began
            if turn >= 0:
                taken[side.name].seconds.append(seconds)
                taken[side.name].counts.append(server.counts().since(before))
    return taken


def ratio(ours: Taken, peer: Taken) -> float:
    """Return our median time as a multiple of the peer's."""
    return statistics.median(ours.seconds) / statistics.median(peer.seconds)
