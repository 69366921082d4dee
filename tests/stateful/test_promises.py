"""Any sequence of acts of runners, operators, people and the network keeps the promises, step by step.

The steps run the product in virtual time against the memory server; a plain model says what must be true of the remote.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gitref_lock.core.names import LockName
from gitref_lock.core.record import Event, LockRecord, State
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import GitrefLockError, LeaseLostError
from gitref_lock.testing.oracles import judge
from gitref_lock.testing.sim_actors import LOCK, Runner
from gitref_lock.testing.sim_faults import Faults, Partition
from gitref_lock.testing.sim_history import SWAP, LeaseSpan
from gitref_lock.testing.sim_kernel import Crashed, Task
from gitref_lock.testing.sim_network import Fate
from gitref_lock.testing.sim_people import Person
from gitref_lock.testing.sim_world import Setting, World, build

RUNNERS = 3
WHO = st.integers(0, RUNNERS - 1)
EDITS = st.sampled_from(("json", "lines", "own", "clash", "mixed-json"))
CUTS = ((True, True), (True, False), (False, True))
"""Whether requests, and whether replies, are lost while a partition lasts."""

FATES: dict[str, Fate] = {
    "reply lost": Fate(reply_lost=True),
    "no answer": Fate(reply_lost=True, is_quiet=True),
    "request lost": Fate(lost=True),
    "late copy": Fate(late_s=3.0),
    "very late copy": Fate(late_s=90.0),
    "second copy": Fate(again_s=1.0),
    "second copy heard": Fate(again_s=0.1, is_second_heard=True),
    "slow": Fate(out_s=4.0, back_s=4.0),
    "stopped before sending": Fate(pause_s=25.0),
    "asleep before sending": Fate(pause_s=25.0, suspends=True),
    "crash before sending": Fate(crash="before"),
    "crash after sending": Fate(crash="sent"),
    "crash after the reply": Fate(crash="after"),
}


@dataclass(slots=True)
class Model:
    """The lock and the branch in the plainest words."""

    generation: int = 0
    holder: str | None = None
    landed: list[str] = field(default_factory=list)

    def follow(self, record: LockRecord | None, actor: str) -> None:
        """Take a step of the lock, and refuse one that a lock must never take."""
        assert record is not None, "the lock is gone"
        assert record.generation >= self.generation, "the generation fell"
        is_new_lease = record.state is State.HELD and record.event not in {Event.RENEW, Event.LAND_KEEP}
        if is_new_lease:
            assert record.generation > self.generation, "a new lease has an old generation"
        if record.event in {Event.RENEW, Event.RELEASE, Event.LAND_KEEP}:
            assert self.holder == actor, f"{actor} moved a lease of {self.holder}"
        self.generation = record.generation
        self.holder = record.holder.host if record.holder is not None else None


class Promises(RuleBasedStateMachine):
    """Three runners, one remote; every act starts a process, and time passes only when told."""

    def __init__(self) -> None:
        """Begin with a fresh world."""
        super().__init__()
        self.fates: dict[str, deque[Fate]] = {f"r{index}": deque() for index in range(RUNNERS)}
        self.busy: dict[str, Task] = {}
        self.leases: dict[str, tuple[object, LeaseSpan]] = {}
        self.model = Model()
        self.followed = 0

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        """Draw clocks and server."""

        def honest(world: World) -> None:
            world.server.atomic, world.server.lies = True, 0.0
            world.history.is_fenced = True

        self.world = build(Setting(seed, RUNNERS, faults=Faults(), is_quiet=True, script=self.script, tune=honest))
        self.world.history.is_calm = False
        self.person = Person(self.world.network, self.world.network.dice)

    def script(self, runner: str, kind: str, _number: int) -> Fate | None:
        """Give the next write of a runner the fate that was chosen for it."""
        chosen = self.fates.get(runner)
        return chosen.popleft() if kind == "swap" and chosen else None

    def spawn(self, runner: Runner, work: Callable[[Task], None]) -> None:
        """Start a process on a runner's machine."""

        def body(task: Task) -> None:
            runner.machine.task = task
            work(task)

        task = self.world.kernel.spawn(runner.name, body, stop=runner.machine.stop)
        self.busy[runner.name] = task
        self.world.tasks.append(task)
        self.advance(0.3)

    def idle(self, who: int) -> Runner | None:
        """Return a runner whose last process has ended; one that crashed has lost its leases."""
        runner = self.world.runners[who]
        task = self.busy.get(runner.name)
        if task is not None and task.is_dead and runner.name in self.leases:
            _, span = self.leases.pop(runner.name)
            span.given_up_s = span.given_up_s or self.world.kernel.now
        return runner if task is None or task.is_over or task.is_dead else None

    @rule(who=WHO, ttl_s=st.sampled_from((5.0, 10.0, 30.0)), wait_s=st.sampled_from((0.0, 8.0, 60.0)))
    def acquire(self, who: int, ttl_s: float, wait_s: float) -> None:
        """A runner acquires the lock and keeps it."""
        runner = self.idle(who)
        if runner is None or runner.name in self.leases:
            return

        def work(task: Task) -> None:
            lease, span = runner.acquire(runner.remote(task), (LOCK,), LeaseTiming.for_ttl(ttl_s), wait_s, 0)
            if lease is not None and span is not None:
                self.leases[runner.name] = (lease, span)

        self.spawn(runner, work)

    @rule(who=WHO)
    def renew(self, who: int) -> None:
        """A holder renews."""
        runner = self.idle(who)
        if runner is None or runner.name not in self.leases:
            return
        lease, span = self.leases[runner.name]

        def work(_task: Task) -> None:
            try:
                runner.renew(lease)  # type: ignore[arg-type]  # leases are kept untyped here
            except LeaseLostError:
                span.given_up_s = span.given_up_s or self.world.kernel.now
                self.leases.pop(runner.name, None)
            except GitrefLockError:
                pass
            except Crashed:
                span.given_up_s = self.world.kernel.now
                raise

        self.spawn(runner, work)

    @rule(who=WHO)
    def release(self, who: int) -> None:
        """A holder releases."""
        runner = self.idle(who)
        if runner is None or runner.name not in self.leases:
            return
        lease, span = self.leases.pop(runner.name)
        self.spawn(runner, lambda _task: runner.release(lease, span))  # type: ignore[arg-type]  # as above

    @rule(who=WHO, kind=EDITS, wait_s=st.sampled_from((5.0, 60.0)), is_combinable=st.booleans())
    def push(self, who: int, kind: str, wait_s: float, is_combinable: bool) -> None:
        """A runner lands a change."""
        runner = self.idle(who)
        if runner is not None and runner.name not in self.leases:
            self.spawn(
                runner,
                lambda task: runner.push(task, kind, wait_s=wait_s, may_create=True, is_combinable=is_combinable),
            )

    @rule()
    def break_lock(self) -> None:
        """An operator ends a lease."""
        runner = self.idle(RUNNERS - 1)
        if runner is not None and runner.name not in self.leases:
            self.spawn(runner, runner.break_lock)

    @rule(who=WHO, name=st.sampled_from(sorted(FATES)))
    def decide(self, who: int, name: str) -> None:
        """The network or the machine will do something to a runner's next write."""
        if len(self.fates[f"r{who}"]) < 3:
            self.fates[f"r{who}"].append(FATES[name])

    @rule(who=WHO, cut=st.sampled_from(CUTS), seconds=st.sampled_from((2.0, 15.0, 60.0)))
    def partition(self, who: int, cut: tuple[bool, bool], seconds: float) -> None:
        """A runner is cut off for a while: its requests do not arrive, the replies do not, or neither."""
        outbound, inbound = cut
        now = self.world.kernel.now
        self.world.network.partitions.append(Partition(f"r{who}", now, now + seconds, outbound, inbound))

    @rule(who=WHO)
    def kill(self, who: int) -> None:
        """A runner's process is killed where it stands."""
        task = self.busy.get(f"r{who}")
        if task is not None:
            task.kill()
            self.idle(who)

    @rule(seconds=st.sampled_from((0.1, 1.0, 4.0, 12.0, 40.0)))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.world.kernel.run(self.world.kernel.now + seconds)

    @rule(who=WHO, step_s=st.sampled_from((-3600.0, 3600.0)))
    def set_clock(self, who: int, step_s: float) -> None:
        """A wall clock is set."""
        self.world.runners[who].clock.jump(step_s)

    @rule()
    def human_push(self) -> None:
        """Somebody pushes without the lock."""
        self.person.push()

    @precondition(lambda self: len(self.world.history.applied) > 4)
    @rule()
    def human_rewind(self) -> None:
        """Somebody rewinds the branch, and the server collects what is left over."""
        self.person.rewind()
        self.world.server.collect()

    @invariant()
    def the_model_follows(self) -> None:
        """Every step of the remote is one that the plain model allows."""
        if not hasattr(self, "world"):
            return
        history = self.world.history
        for event in history.applied[self.followed :]:
            fence, landing = event.move_of(history.lock_ref), event.move_of(history.branch)
            if fence is not None:
                record = history.state(LockName("main"), fence.after).record if fence.after is not None else None
                assert record is None or isinstance(record, LockRecord)
                self.model.follow(record, event.actor)
            if landing is not None and event.kind == SWAP:
                assert fence is not None, "a landing without the lock"
            if landing is not None:
                names = list(history.changes_in(landing.after))
                assert len(set(names)) == len(names), "a change landed twice"
                if event.kind == SWAP:
                    assert names[: len(self.model.landed)] == self.model.landed, "a landed change is gone"
                self.model.landed = names
        self.followed = len(history.applied)

    @invariant()
    def the_oracles_are_silent(self) -> None:
        """No promise is broken so far."""
        if hasattr(self, "world"):
            assert judge(self.world.history) == []

    def teardown(self) -> None:
        """Without further faults every process comes to its end, and every promise has been kept."""
        if not hasattr(self, "world"):
            return
        for chosen in self.fates.values():
            chosen.clear()
        self.world.network.is_healed = True
        self.advance(1500.0)
        history = self.world.history
        history.oddities += [repr(task.failure) for task in self.world.tasks if task.failure is not None]
        history.unfinished += [task.name for task in self.world.tasks if not task.is_over and not task.is_dead]
        self.the_model_follows()
        assert judge(history) == []


TestPromises = Promises.TestCase
