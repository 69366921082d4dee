"""Runners in virtual time: the real runtime on a memory server, with clocks that drift and requests that take time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from gitref_lock.core.names import LockName, lock_name
from gitref_lock.core.record import Holder
from gitref_lock.core.timing import LeaseTiming, QueueTiming
from gitref_lock.errors import NotAcquiredError
from gitref_lock.ports import RemoteError, System
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.waiting import Listener, no_listener
from gitref_lock.testing.memory import MemoryRefStore
from gitref_lock.testing.memory_server import MemoryServer
from gitref_lock.testing.sim_clock import SimClock, SimEntropy
from gitref_lock.testing.sim_kernel import Kernel, Task

EPOCH_S = 1_700_000_000.0
_T = TypeVar("_T")


@dataclass
class Sleeper:
    """Sleep on one machine's steady clock."""

    clock: SimClock
    task: Task | None = None

    def sleep(self, seconds: float) -> None:
        """Let time pass for the runner's process."""
        assert self.task is not None
        self.task.sleep(max(0.0, seconds) / self.clock.rate)


class TimedStore(MemoryRefStore):
    """A store whose requests take time, and fail while ``is_cut``."""

    def __init__(self, world: World, system: System, sleeper: Sleeper, name: str) -> None:
        """Draw latencies from the world's seed."""
        super().__init__(world.server, system)
        self.world = world
        self.sleeper = sleeper
        self.dice = random.Random(f"{world.seed}/{name}/latency")
        self.is_cut = False
        self.loses_replies = False
        self.applied_s = 0.0

    def _exchange(self, kind: str, work: Callable[[], _T]) -> _T:
        task = self.sleeper.task
        assert task is not None
        task.sleep(self.dice.uniform(0.0, self.world.latency_s))
        if self.is_cut:
            raise RemoteError("unreachable", "cut off", transient=True)
        answer = work()
        if kind == "swap":
            self.applied_s = self.world.kernel.now
        task.sleep(self.dice.uniform(0.0, self.world.latency_s))
        if self.loses_replies:
            raise RemoteError("unreachable", "the reply is lost", transient=True)
        return answer


@dataclass
class World:
    """True time, one server, and the seed that everything is drawn from."""

    seed: int
    latency_s: float = 0.05
    has_dates: bool = True
    server_drift: float = 0.0
    kernel: Kernel = field(default_factory=Kernel)
    server: MemoryServer = field(init=False)
    tasks: list[Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the server."""
        rate = 1 + self.server_drift
        self.server = MemoryServer(clock=(lambda: EPOCH_S + self.kernel.now * rate) if self.has_dates else None)

    def runner(self, name: str, *, drift: float = 0.0, skew_s: float = 0.0) -> Runner:
        """Return a runner on a machine of its own."""
        clock = SimClock(self.kernel, epoch_s=EPOCH_S, skew_s=skew_s, drift=drift)
        sleeper = Sleeper(clock)
        system = System(clock, SimEntropy(f"{self.seed}/{name}"), sleeper)
        store = TimedStore(self, system, sleeper, name)
        return Runner(self, name, clock, sleeper, store, Remote(store, system))

    def run(self, until_s: float) -> None:
        """Let everything happen until a true time; a task that failed fails the test."""
        self.kernel.run(until_s, is_done=lambda: all(task.is_over for task in self.tasks))
        for task in self.tasks:
            if task.failure is not None:
                raise task.failure
        stuck = [task.name for task in self.tasks if not task.is_over]
        assert not stuck, f"seed {self.seed}: never ended: {stuck}"


@dataclass
class Runner:
    """One machine with one process."""

    world: World
    name: str
    clock: SimClock
    sleeper: Sleeper
    store: TimedStore
    remote: Remote

    def spawn(self, body: Callable[[Task], None], *, at_s: float = 0.0) -> None:
        """Run ``body`` from a true time on."""

        def whole(task: Task) -> None:
            self.sleeper.task = task
            task.sleep(max(0.0, at_s - self.world.kernel.now))
            body(task)

        self.world.tasks.append(self.world.kernel.spawn(self.name, whole))

    def acquire(
        self,
        *names: str,
        ttl_s: float = 60.0,
        wait_s: float = 3600.0,
        priority: int = 0,
        workflow: str = "",
        cancel_older: bool = False,
        queue: QueueTiming | None = None,
        listener: Listener = no_listener,
    ) -> Lease:
        """Acquire; for use in a body."""
        request = AcquireRequest(
            tuple(LockName(lock_name(name)) for name in names or ("main",)),
            Holder(id=self.name, name=self.name, workflow=workflow),
            LeaseTiming.for_ttl(ttl_s),
            wait_s=wait_s,
            priority=priority,
            cancel_older=cancel_older,
            queue=queue or QueueTiming(),
        )
        return Acquirer(self.remote, request, Deadline(self.clock), listener).run()

    def try_acquire(self, *names: str, wait_s: float) -> Lease | None:
        """Acquire, or None when the wait is over."""
        try:
            return self.acquire(*names, wait_s=wait_s)
        except NotAcquiredError:
            return None

    def release(self, lease: Lease) -> None:
        """Release; it must work."""
        failure = lease.release(Deadline.after(self.remote.system, 60.0))
        if failure is not None:
            raise failure
