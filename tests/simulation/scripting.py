"""Small worlds with a plan: who does what when, and what happens to which request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gitref_lock.testing.oracles import judge
from gitref_lock.testing.sim import finish
from gitref_lock.testing.sim_actors import LOCK, Job, Runner
from gitref_lock.testing.sim_faults import Faults
from gitref_lock.testing.sim_jobs import launch
from gitref_lock.testing.sim_network import Fate
from gitref_lock.testing.sim_world import Setting, World, build

Fates = Mapping[tuple[str, str, int], Fate]
"""By runner, kind of request, and which of these it is (from 1)."""

JobsOf = Callable[[Sequence[Runner]], Mapping[int, list[tuple[float, Job]]]]
"""Given the runners, what each does: seconds of true time before it, and the job."""


def hold(runner: Runner, **options: object) -> Job:
    """Return a job that acquires, works and releases."""
    settings = {"locks": (LOCK,), "ttl_s": 10.0, "wait_s": 120.0, "work_s": 1.0, **options}
    return partial(runner.hold, **settings)  # type: ignore[arg-type]  # options as they came


def push(runner: Runner, kind: str = "own", **options: object) -> Job:
    """Return a job that pushes one change."""
    return partial(runner.push, kind=kind, **{"wait_s": 60.0, **options})  # type: ignore[arg-type]  # as they came


def play(runners: int, jobs: JobsOf, fates: Fates | None = None, tune: Callable[[World], None] | None = None) -> World:
    """Run a planned world to its end."""
    counts: Counter[tuple[str, str]] = Counter()

    def script(runner: str, kind: str, _number: int) -> Fate | None:
        counts[runner, kind] += 1
        return (fates or {}).get((runner, kind, counts[runner, kind]))

    def honest(world: World) -> None:
        world.server.agent, world.server.atomic, world.server.lies = "git/2.39.5", True, 0.0
        world.history.is_fenced = True
        if tune is not None:
            tune(world)

    world = build(Setting(1, runners, faults=Faults(), is_quiet=True, script=script, tune=honest))
    for index, work in jobs(world.runners).items():
        launch(world, world.runners[index], work, 0.0)
    return finish(world)


def results(world: World) -> list[str]:
    """Return what every push and acquire was told, in the order in which they began."""
    told = [(push.began_s, push.result) for push in world.history.pushes]
    told += [(acquire.began_s, acquire.result) for acquire in world.history.acquires]
    return [result for _, result in sorted(told, key=lambda item: item[0])]


def faults_of(world: World) -> list[str]:
    """Return everything that the oracles find wrong."""
    return judge(world.history)
