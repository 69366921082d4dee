"""One whole run of the product in virtual time, from one seed: a safety phase with faults, then heal, then liveness.

``python -m gitref_lock.testing.sim --seed N`` replays a run exactly, and prints its faults and what happened.
"""

from __future__ import annotations

from gitref_lock.testing.oracles import judge
from gitref_lock.testing.sim_jobs import start
from gitref_lock.testing.sim_world import Setting, World, build


def run(setting: Setting) -> World:
    """Carry out one run and return its world with the whole record."""
    world = build(setting)
    start(world)
    return finish(world)


def finish(world: World) -> World:
    """Let a prepared world go through its phases: faults until the end of safety, then none until everything ended."""
    kernel, setting = world.kernel, world.setting
    kernel.run(setting.safety_s)
    world.network.is_healed = True
    world.server.pre_receive_hook = None
    world.server.busy_pushes = 0
    kernel.run(setting.safety_s + setting.liveness_s)
    for task in world.tasks:
        if task.failure is not None:
            world.history.oddities.append(f"{task.name}: {task.failure!r}")
        if not task.is_over:
            world.history.unfinished.append(f"{task.name} has not come to its end at {kernel.now:.0f} s")
    return world


def check(setting: Setting) -> tuple[World, list[str]]:
    """Carry out one run and judge it."""
    world = run(setting)
    return world, judge(world.history)


def replay_command(setting: Setting) -> str:
    """Return the one command that repeats a run."""
    parts = [f"SEED={setting.seed}"]
    if setting.runners is not None:
        parts.append(f"RUNNERS={setting.runners}")
    if setting.steps is not None:
        parts.append(f"STEPS={setting.steps}")
    return "make simulate " + " ".join(parts)
