"""What the runners of a run do: pushes and holds, drawn from the seed."""

from __future__ import annotations

import random
from functools import partial

from gitref_lock.core.names import LockName
from gitref_lock.testing.sim_actors import LOCK, Job, Runner
from gitref_lock.testing.sim_kernel import Task
from gitref_lock.testing.sim_world import Setting, World

_EDITS = ("json", "json", "lines", "own", "own", "clash", "mixed-json")
_OTHER = LockName("deploy/prod")


def draw_jobs(runner: Runner, dice: random.Random, steps: int, setting: Setting) -> list[tuple[float, Job]]:
    """Return what one runner does, in order: seconds before it, and the job."""
    jobs: list[tuple[float, Job]] = []
    for _ in range(steps):
        before_s = dice.choice((0.0, 0.0, 0.2, 2.0, 20.0)) * dice.random()
        is_hold = dice.random() < setting.holds
        jobs.append((before_s, _hold(runner, dice, setting.impolite) if is_hold else _push(runner, dice)))
    return jobs


def _push(runner: Runner, dice: random.Random) -> Job:
    return partial(
        runner.push,
        kind=dice.choice(_EDITS),
        wait_s=dice.choice((5.0, 60.0, 300.0)),
        priority=dice.choice((0, 0, 0, 5)),
        is_combinable=dice.random() < 0.9,
        may_create=dice.random() < 0.7,
        emergency="the site is down" if dice.random() < 0.04 else "",
        lease_ttl_s=dice.choice((5.0, 30.0)) if dice.random() < 0.1 else None,
    )


def _hold(runner: Runner, dice: random.Random, impolite: float) -> Job:
    locks = dice.choice(((LOCK,), (LOCK,), (LOCK,), (_OTHER,), (LOCK, _OTHER)))
    return partial(
        runner.hold,
        locks=locks,
        ttl_s=dice.choice((5.0, 10.0, 30.0)),
        wait_s=dice.choice((0.0, 5.0, 60.0, 300.0)),
        work_s=dice.choice((0.0, 1.0, 10.0, 40.0)) * dice.random(),
        priority=dice.choice((0, 0, 0, 5)),
        is_polite=dice.random() >= impolite,
        preempt=dice.random() < 0.05,
        cancel_older=dice.random() < 0.05,
    )


def start(world: World) -> None:
    """Give every runner its jobs."""
    dice = random.Random(f"{world.setting.seed}/jobs")
    drawn = dice.randint(1, 3)
    steps = world.setting.steps or drawn
    for runner in world.runners:
        jobs = draw_jobs(runner, dice, steps, world.setting)
        launch(world, runner, jobs, dice.choice((0.0, 0.5, 5.0)) * dice.random())


def launch(world: World, runner: Runner, jobs: list[tuple[float, Job]], at_s: float) -> None:
    """Run jobs one after the other; a crash ends the process, and another process goes on with the next job."""
    left = list(jobs)

    def body(task: Task) -> None:
        while left:
            before_s, job = left.pop(0)
            task.sleep(before_s)
            job(task)

    def on_end(task: Task) -> None:
        if task.is_dead and left:
            world.kernel.after(world.network.dice.uniform(0.5, 20.0), begin)

    def begin() -> None:
        task = Task(world.kernel, runner.name, body, on_end=on_end, stop=runner.machine.stop)
        world.tasks.append(task)
        task.start()

    world.kernel.at(at_s, begin)
