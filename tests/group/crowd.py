"""A small crowd around one lock in virtual time, where a test decides what happens to each single request.

``holder`` keeps the lock until three changes are posted. Then ``head`` lands the queue, ``waiter`` is landed by it, and
``leaver`` gives up at the time the test asks for. Much later ``last`` pushes: what the others left is ended then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from gitref_lock.core.ticket import Kind, Ticket, VerdictKind
from gitref_lock.testing.sim import finish
from gitref_lock.testing.sim_actors import LOCK, Job, Runner
from gitref_lock.testing.sim_faults import Faults
from gitref_lock.testing.sim_jobs import launch
from gitref_lock.testing.sim_network import Fate
from gitref_lock.testing.sim_world import Setting, World, build

EPOCH_S = 1_700_000_000.0
LAST_S = 900.0
"""Past the life of every ticket and its verdict."""

ROLES = {"r1": "head", "r2": "waiter", "r3": "leaver"}

Fates = Mapping[tuple[str, int], Fate]
"""By runner and which of its requests it is (from 1)."""


def play(
    fates: Fates, *, leaves_s: float, kinds: tuple[str, ...] = ("lines", "lines", "lines"), script: Tune | None = None
) -> tuple[World, Counter[str], dict[tuple[str, int], str]]:
    """Run the crowd; return its world, the requests of each runner, and the kind of each request."""
    counts: Counter[str] = Counter()
    kind_of: dict[tuple[str, int], str] = {}

    def decide(runner: str, kind: str, _number: int) -> Fate | None:
        counts[runner] += 1
        kind_of[runner, counts[runner]] = kind
        return fates.get((runner, counts[runner]))

    def honest(world: World) -> None:
        server = world.server
        server.agent, server.atomic, server.lies, server.dies, server.apart_s = "git/2.39.5", True, 0.0, 0.0, 0.0
        server.clock = lambda: EPOCH_S + world.kernel.now
        server.keeps_past = True
        world.history.is_fenced = True
        if script is not None:
            script(world)

    world = build(
        Setting(1, 5, faults=Faults(), is_quiet=True, script=decide, tune=honest, safety_s=1200.0, liveness_s=1200.0)
    )
    holder, head, waiter, leaver, last = world.runners
    jobs: dict[int, list[tuple[float, Job]]] = {
        0: [(0.0, partial(holder.hold, locks=(LOCK,), ttl_s=30.0, wait_s=0.0, work_s=4.0))],
        1: [(0.5, push(head, kinds[0], 300.0))],
        2: [(1.0, push(waiter, kinds[1], 300.0))],
        3: [(1.5, push(leaver, kinds[2], leaves_s))],
        4: [(LAST_S, push(last, "own", 300.0)), (200.0, push(last, "own", 300.0))],
    }
    for index, work in jobs.items():
        launch(world, world.runners[index], work, 0.0)
    return finish(world), counts, kind_of


Tune = Callable[[World], None]


def push(runner: Runner, kind: str, wait_s: float, *, is_combinable: bool = True) -> Job:
    """Return a push as a job."""
    return partial(runner.push, kind=kind, wait_s=wait_s, is_combinable=is_combinable)


def told(world: World) -> dict[str, str]:
    """Return what the first push of each runner was told."""
    found: dict[str, str] = {}
    for result in world.history.pushes:
        found.setdefault(result.runner, result.result)
    return found


def ends(world: World) -> dict[str, list[VerdictKind]]:
    """Return, by ref of each land ticket that ever was, the verdicts it was given, in order."""
    found: dict[str, list[VerdictKind]] = {}
    for ref in world.history.refs("refs/lock-queue/"):
        for _, move in world.history.moves(ref):
            ticket: Ticket | None = world.history.ticket(move.after) if move.after is not None else None
            if ticket is None or ticket.kind is not Kind.LAND:
                continue
            verdicts = found.setdefault(ref, [])
            if ticket.verdict is not None:
                verdicts.append(ticket.verdict.kind)
    return found


def times_in_branch(world: World, runner: str) -> int:
    """Return how often the first change of a runner is in the history of the branch."""
    change = next(result.change for result in world.history.pushes if result.runner == runner)
    return world.history.changes_in(world.server.refs[world.history.branch]).count(change)
