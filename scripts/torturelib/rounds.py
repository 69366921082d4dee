"""One round from its plan to its verdict."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.torturelib import processes, serving
from scripts.torturelib.http_side import Director, Timers
from scripts.torturelib.judge import Round, judge
from scripts.torturelib.people import NAME, Person
from scripts.torturelib.plan import LOCKS, Job, Plan
from scripts.torturelib.runner import Runner
from scripts.torturelib.world import World

_LONGEST_LEASE_S = 12.0
_PATIENCE_S = 10.0


@dataclass(slots=True)
class Score:
    """What came of a round, in numbers and, where something is wrong, in words."""

    plan: Plan
    jobs: int = 0
    landed: int = 0
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    signs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def play(plan: Plan, folder: Path) -> tuple[Score, Round]:
    """Run one round in an empty folder and judge it; everything that was started has ended afterwards."""
    began = time.monotonic()
    timers = Timers()
    director = Director(timers)
    server: AbstractContextManager[World] = (
        serving.http(folder, director) if plan.transport == "http" else serving.ssh(folder)
    )
    with server as world:
        round_ = _played(plan, world, director, timers)
        left = processes.await_end(folder, _PATIENCE_S)
    round_.oddities += [f"process {number} was left running: {words}" for number, words in left.items()]
    score = _scored(plan, round_, director)
    score.violations = judge(round_)
    score.seconds = time.monotonic() - began
    return score, round_


def _played(plan: Plan, world: World, director: Director, timers: Timers) -> Round:
    """Run all jobs of the plan, then a last push of every clone without any fault, then look at the locks."""
    world.make()
    names = [f"c{number:02d}" for number in range(len(plan.clones))]
    runners = [Runner(world, name, director, timers) for name in names]
    person = Person(world, plan.number)
    for index, name in enumerate((*names, NAME)):
        world.make_clone(name, is_shallow=index % 4 == 3 and name != NAME)
    _all(
        *(threading.Thread(target=one.run, args=(jobs,)) for one, jobs in zip(runners, plan.clones, strict=True)),
        threading.Thread(target=person.run, args=(plan.people,)),
    )
    timers.finish()  # what is late arrives, and what was stopped goes on, before the last pushes
    director.is_calm = True
    left = processes.await_end(world.folder, _LONGEST_LEASE_S + _PATIENCE_S)
    last = [Job(f"r{plan.number}{one.name}last", "push", options=("--wait", "90s")) for one in runners]
    _all(*(threading.Thread(target=one.one, args=(job,)) for one, job in zip(runners, last, strict=True)))
    checks = [Job(f"r{plan.number}history{index}", "history", lock, ("--verify",)) for index, lock in enumerate(LOCKS)]
    for check in checks:
        runners[0].one(check)
    done = sorted((one for runner in runners for one in runner.done), key=lambda one: one.began_s)
    round_ = Round(world, done, person.done, [text for runner in runners for text in runner.oddities])
    round_.oddities += [f"process {number} outlived its lease: {words}" for number, words in left.items()]
    for one in done:
        if one.job in last and one.code != 0:
            said = one.errors.strip()[-400:]
            round_.oddities.append(f"the last push of {one.clone}, without faults, exits {one.code}: {said}")
    return round_


def _all(*threads: threading.Thread) -> None:
    """Run threads at once and wait for each."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _scored(plan: Plan, round_: Round, director: Director) -> Score:
    score = Score(plan, jobs=len(round_.done))
    score.faults += director.done
    for one in round_.done:
        score.faults.update(one.faults)
        score.codes[f"{one.job.kind} {one.code}"] += 1
        if one.is_hit and one.job.kill is not None:
            score.kills[one.job.kill.step] += 1
            score.signs[one.job.kill.sign] += 1
        score.landed += one.job.kind == "push" and one.code == 0
    return score
