"""The world of one run, drawn from its seed: server, clocks, runners, and what people and administrators do to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dulwich.objects import ObjectID, ShaFile

from gitref_lock.core.names import branch_ref
from gitref_lock.testing.sim_actors import BRANCH, Runner
from gitref_lock.testing.sim_clock import SimClock, SimEntropy
from gitref_lock.testing.sim_content import first_commit
from gitref_lock.testing.sim_faults import Faults, Partition, drawn
from gitref_lock.testing.sim_history import SEED, History
from gitref_lock.testing.sim_kernel import Kernel, Task
from gitref_lock.testing.sim_network import Machine, Network, Script
from gitref_lock.testing.sim_people import Person
from gitref_lock.testing.simserver import SimObjectStore, SimServer

EPOCH_S = 1_700_000_000.0
MAX_SKEW_S = 40_000.0
"""Wall clocks of two machines differ by less than a day: the one thing that is asked of them."""

FRONT_ENDS_APART_S = 4.9
MAX_DRIFT = 0.02


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is made of. What is None is drawn from the seed; ``is_quiet`` leaves people and administrators out;
    ``holds`` is the share of jobs that hold a lock, ``impolite`` of those the share that never release it.
    ``tune`` changes the world before anything happens in it."""

    seed: int
    runners: int | None = None
    steps: int | None = None
    faults: Faults | None = None
    is_quiet: bool = False
    holds: float = 0.3
    impolite: float = 0.2
    safety_s: float = 240.0
    liveness_s: float = 1200.0
    script: Script | None = None
    tune: Callable[[World], None] | None = None


@dataclass(slots=True)
class World:
    """Everything of one run; ``facts`` say what was drawn."""

    setting: Setting
    kernel: Kernel
    history: History
    network: Network
    runners: list[Runner]
    tasks: list[Task] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    @property
    def server(self) -> SimServer:
        """The server."""
        return self.network.server


def build(setting: Setting) -> World:
    """Draw a world from its seed."""
    dice = random.Random(f"{setting.seed}/world")
    kernel, history = Kernel(), History()
    faults = setting.faults if setting.faults is not None else drawn(dice)
    server = _server(kernel, history, dice)
    network = Network(kernel, server, history, faults, random.Random(f"{setting.seed}/network"), script=setting.script)
    shared: dict[ObjectID, ShaFile] = {}
    first = first_commit(shared)
    server.put(first)
    server.do("seed", SEED, {branch_ref(BRANCH): first[0].oid})
    runners = []
    server.keeps_past = faults.stale > 0
    count = dice.choice((3, 3, 4, 4, 5, 6, 8, 12))
    for index in range(setting.runners or count):
        name = f"r{index}"
        clock = SimClock(
            kernel,
            epoch_s=EPOCH_S,
            skew_s=dice.choice((0.0, 0.0, dice.uniform(-30, 30), dice.uniform(-MAX_SKEW_S, MAX_SKEW_S))),
            drift=dice.uniform(-MAX_DRIFT, MAX_DRIFT),
        )
        store = SimObjectStore(shared)
        store.take(first)
        entropy = SimEntropy(f"{setting.seed}/{name}/entropy")
        runners.append(Runner(name, network, Machine(name, clock), entropy, store, first[0].oid))
    if dice.random() < 0.3:
        for runner in runners:
            runner.holder_id = "ci/1/legs"
    world = World(setting, kernel, history, network, runners)
    skews = [runner.clock.wall() - EPOCH_S for runner in runners]
    history.rank_slack_s = _rank_slack_s(server, skews, setting.safety_s + setting.liveness_s)
    world.facts += [f"{count} runners" if setting.runners is None else f"{setting.runners} runners"]
    world.facts += [f"agent={server.agent or 'none'}", f"atomic={server.atomic}", f"holes={server.holes}"]
    if server.lies or server.dies:
        world.facts.append(f"server: lies={server.lies:g} dies={server.dies:g}")
    world.facts += [f"dates={server.clock is not None}", f"faults: {faults.describe()}"]
    history.is_fenced = server.atomic
    if not (setting.is_quiet or (faults.is_calm and dice.random() < 0.5)):
        _disturb(world, random.Random(f"{setting.seed}/people"))
    if setting.tune is not None:
        setting.tune(world)
    history.is_calm = len(world.facts) == _QUIET_FACTS and faults.is_calm
    return world


_QUIET_FACTS = 6


def _rank_slack_s(server: SimServer, skews: list[float], longest_s: float) -> float:
    """Return by how much the clocks behind two tickets' ranks may differ."""
    if server.clock is None:
        return max(skews) - min(skews) + 2 * MAX_DRIFT * longest_s
    return 2.0 if server.apart_s == 0 else 61.0


def _server(kernel: Kernel, history: History, dice: random.Random) -> SimServer:
    drift = dice.uniform(-0.005, 0.005)
    apart = dice.choice((0.0, 0.0, FRONT_ENDS_APART_S))
    ends = random.Random(dice.random())

    def clock() -> float:
        return EPOCH_S + kernel.now * (1 + drift) + ends.uniform(-apart, apart)

    has_dates = dice.random() < 0.6
    server = SimServer(
        kernel,
        history,
        atomic=dice.random() < 0.92,
        agent=dice.choice(("git/2.39.5", "git/2.39.5", "git/2.39.5", "", "git/gitlab")),
        holes=dice.random() < 0.7,
        clock=clock if has_dates else None,
    )
    server.apart_s = apart
    server.dice = random.Random(dice.random())
    if server.agent != "git/2.39.5" and dice.random() < 0.5:
        server.lies = 0.05
    return server


def _disturb(world: World, dice: random.Random) -> None:
    """Draw what people and administrators do during the safety phase; each kind in a part of the runs only."""
    server, person = world.server, Person(world.network, dice)
    kinds: tuple[tuple[float, int, str, Callable[[], object]], ...] = (
        (0.4, 4, "a human pushes without the lock", person.push),
        (0.1, 2, "a human rewinds the branch", person.rewind),
        (0.05, 1, "a human deletes the branch", person.delete),
        (0.2, 6, "unreachable objects are collected", server.collect),
        (0.3, 8, "the server's ref lock is taken", lambda: setattr(server, "busy_pushes", dice.randint(1, 4))),
        (0.1, 2, "a hook refuses for a while", lambda: _refuse(world, dice.uniform(0.5, 10.0))),
        (0.3, 4, "a wall clock is set", lambda: dice.choice(world.runners).clock.jump(dice.choice(_JUMPS_S))),
        (0.3, 3, "an operator breaks the lock", lambda: _operator(world)),
        (0.06, 1, "an old mirror is pushed back", server.push_mirror),
        (0.3, 3, "a partition begins", lambda: _cut(world, dice)),
    )
    for share, most, text, action in kinds:
        if dice.random() >= share:
            continue
        longest_s = world.setting.safety_s * dice.choice((0.2, 1.0))
        times = sorted(round(dice.uniform(0.5, longest_s), 2) for _ in range(dice.randint(1, most)))
        world.facts.append(f"{text} at {', '.join(f'{at:g}' for at in times)} s")
        for at_s in times:
            world.kernel.at(at_s, action)
            if action == server.push_mirror:
                world.kernel.at(at_s * dice.random(), server.remember_mirror)


_JUMPS_S = (-3600.0, -5.0, 5.0, 3600.0)
_CUTS = ((True, True), (True, False), (False, True))


def _refuse(world: World, seconds: float) -> None:
    """Let a hook refuse every push for a while."""
    server = world.server
    server.pre_receive_hook = lambda _: "no pushes now, please"
    world.kernel.after(seconds, lambda: setattr(server, "pre_receive_hook", None))


def _cut(world: World, dice: random.Random) -> None:
    """Cut one runner off, in one direction or both."""
    outbound, inbound = dice.choice(_CUTS)
    now = world.kernel.now
    runner = dice.choice(world.runners).name
    world.network.partitions.append(Partition(runner, now, now + dice.uniform(1.0, 90.0), outbound, inbound))


def _operator(world: World) -> None:
    """Let an operator with a machine of their own break the lock."""
    index = len([task for task in world.tasks if task.name.startswith("op")])
    name = f"op{index}"
    shared: dict[ObjectID, ShaFile] = {}
    operator = Runner(
        name,
        world.network,
        Machine(name, SimClock(world.kernel, epoch_s=EPOCH_S)),
        SimEntropy(f"{world.setting.seed}/{name}"),
        SimObjectStore(shared),
        world.runners[0].base,
    )
    world.tasks.append(world.kernel.spawn(name, operator.break_lock))
