"""Runners of a simulation: the product's own code, started as a process would be, with its results written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gitref_lock.core.machine import Stance
from gitref_lock.core.names import LockName, Nonce, Oid, branch_ref
from gitref_lock.core.objects import build_state_commit
from gitref_lock.core.record import Event, Holder
from gitref_lock.core.text import JsonObject
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import GitrefLockError, LeaseLostError, OutcomeUnknownError
from gitref_lock.landing.change import Change
from gitref_lock.landing.graph import OurCommits, commit_of
from gitref_lock.landing.replay import Committer, Replayer
from gitref_lock.ports import RemoteError, System
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import PushRequest
from gitref_lock.runtime.landing_plan import Target
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.push import Pusher
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.swapper import LockMove, Swapper, plan_for_locks
from gitref_lock.runtime.writing import Found, move, write
from gitref_lock.testing.sim_clock import SimClock, SimEntropy, SimSleeper
from gitref_lock.testing.sim_content import POLICY, edited, files_of
from gitref_lock.testing.sim_history import AcquireResult, LeaseSpan, PushResult
from gitref_lock.testing.sim_kernel import Crashed, Task
from gitref_lock.testing.sim_network import Machine, Network
from gitref_lock.testing.simserver import SimObjectStore
from gitref_lock.testing.simstore import SimRefStore

BRANCH = "main"
LOCK = LockName("main")

Job = Callable[[Task], None]
"""What one process does."""

_POLICY_JSON: JsonObject = {"rules": [[rule.glob, rule.spec] for rule in POLICY.rules]}
_RELEASE_S = 30.0


@dataclass(slots=True)
class Runner:
    """One machine with a clone. What it keeps between its processes is the clone, the clocks and the randomness."""

    name: str
    network: Network
    machine: Machine
    entropy: SimEntropy
    store: SimObjectStore
    base: Oid
    call_timeout_s: float = 20.0
    serial: int = 0
    holder_id: str = ""

    @property
    def clock(self) -> SimClock:
        """This machine's clocks."""
        return self.machine.clock

    @property
    def now(self) -> float:
        """True time."""
        return self.network.kernel.now

    @property
    def holder(self) -> Holder:
        """Who this runner says it is; the legs of one CI job all have one id."""
        return Holder(id=self.holder_id or self.name, name=self.name, workflow="sim", host=self.name, pid=1)

    def remote(self, task: Task) -> Remote:
        """Return a fresh connection, as every process begins with one."""
        self.machine.task = task
        system = System(self.clock, self.entropy, SimSleeper(self.clock, self.machine.running))
        return Remote(SimRefStore(self.network, self.machine, system), system, call_timeout_s=self.call_timeout_s)

    def say(self, text: str) -> None:
        """Add a line to the trace."""
        self.network.note(f"{self.name} {text}")

    # Pushing.

    def change(self, kind: str) -> tuple[str, Change]:
        """Make a commit in the clone, and return its name and the change to land."""
        self.serial += 1
        name = f"{self.name}-{self.serial}-{kind}"
        objects = build_state_commit(
            edited(files_of(self.store, self.base), name, kind),
            author_name=self.name,
            at_s=int(self.clock.wall()),
            message=name,
            parents=[self.base],
        )
        self.store.take(objects)
        self.network.history.archive.update((item.oid, item) for item in objects)
        committer = Committer(f"{self.name} <sim@localhost>".encode(), int(self.clock.wall()))
        replayer = Replayer(self.store, POLICY, committer, add=self.store.add_object)
        ours = OurCommits((objects[0].oid,), self.base, has_merge=False)
        return name, Change(self.store, ours, replayer, (self.base,))

    def push(
        self,
        task: Task,
        kind: str,
        *,
        wait_s: float,
        priority: int = 0,
        may_create: bool = False,
        is_combinable: bool = True,
        emergency: str = "",
        lease_ttl_s: float | None = None,
    ) -> None:
        """Push one change and record what came of it; with ``lease_ttl_s`` under a lease taken before."""
        remote = self.remote(task)
        lease = span = None
        if lease_ttl_s is not None:
            lease, span = self.acquire(remote, (LOCK,), LeaseTiming.for_ttl(lease_ttl_s), wait_s, priority)
        name, change = self.change(kind)
        request = PushRequest(
            Target(BRANCH, branch_ref(BRANCH), LOCK),
            self.holder,
            wait_s=wait_s,
            priority=priority,
            policy=_POLICY_JSON,
            may_create=may_create,
            is_combinable=is_combinable,
            emergency=emergency,
            lease=lease,
        )
        result = PushResult(self.name, name, self.now, wait_s, result="crashed", priority=priority)
        result.is_emergency = bool(emergency)
        self.network.history.pushes.append(result)
        if span is not None:
            span.given_up_s = self.now  # from here on the fence protects the landing, not the holder's belief
        try:
            landed = Pusher.of(remote, change, request, Deadline(self.clock)).run()
        except OutcomeUnknownError as error:
            result.result = "unknown"
            self.say(f"push {name} is unknown: {error}")
        except (GitrefLockError, RemoteError) as error:
            result.result = error.code
            self.say(f"push {name} failed: {error.code}: {error}")
        else:
            result.result, result.how, result.head = "landed", landed.how.value, landed.head
            self.say(f"push {name} landed ({landed.how.value}) as {landed.head[:7]}")
            if commit_of(self.store, landed.head) is not None:
                self.base = landed.head
        result.ended_s = self.now
        if lease is not None and span is not None:
            self.release(lease, span)

    # Holding.

    def hold(
        self,
        task: Task,
        locks: Sequence[LockName],
        *,
        ttl_s: float,
        wait_s: float,
        work_s: float,
        priority: int = 0,
        is_polite: bool = True,
        preempt: bool = False,
        cancel_older: bool = False,
    ) -> None:
        """Acquire, work, renew while the work lasts, release unless impolite."""
        timing = LeaseTiming.for_ttl(ttl_s)
        lease, span = self.acquire(
            self.remote(task), tuple(locks), timing, wait_s, priority, preempt=preempt, cancel_older=cancel_older
        )
        if lease is None or span is None:
            return
        try:
            self._work(lease, span, work_s)
            if is_polite:
                self.release(lease, span)
        except Crashed:
            span.given_up_s = self.now if span.given_up_s is None else span.given_up_s
            raise

    def acquire(
        self,
        remote: Remote,
        locks: tuple[LockName, ...],
        timing: LeaseTiming,
        wait_s: float,
        priority: int,
        *,
        preempt: bool = False,
        cancel_older: bool = False,
    ) -> tuple[Lease | None, LeaseSpan | None]:
        """Acquire and write down what came of it; from then on a watchdog looks after the lease."""
        result = AcquireResult(self.name, locks, self.now, wait_s, result="crashed", priority=priority)
        self.network.history.acquires.append(result)

        def planned(token: Nonce, _moves: Mapping[LockName, LockMove]) -> None:
            result.tokens.append(token)

        request = AcquireRequest(
            locks, self.holder, timing, wait_s, priority, preempt=preempt, cancel_older=cancel_older
        )
        lease = span = None
        try:
            lease = Acquirer(remote, request, Deadline(self.clock), planned=planned).run()
        except OutcomeUnknownError as error:
            result.result = "unknown"
            self.say(f"acquire is unknown: {error}")
        except (GitrefLockError, RemoteError) as error:
            result.result = error.code
            self.say(f"acquire failed: {error.code}: {error}")
        else:
            result.result = "acquired"
            self.say(f"acquired {', '.join(locks)}, generation {lease.generation}")
            kill_after_s = timing.kill_after_s / self.clock.rate
            span = LeaseSpan(self.name, lease.names, lease.token, self.now, kill_after_s)
            self.network.history.leases.append(span)
            self._watch(lease, span)
        result.ended_s = self.now
        return lease, span

    def _watch(self, lease: Lease, span: LeaseSpan) -> None:
        """Start what kills the command when the lease is over by the holder's own count: a process of its own."""

        def body(task: Task) -> None:
            while span.given_up_s is None and span.noticed_s is None:
                left_s = lease.left_s()
                if left_s <= 0:
                    self._notice(span)
                    return
                task.sleep(left_s / self.clock.rate)

        self.network.kernel.spawn(f"{self.name} watchdog", body, stop=self.machine.stop)

    def _notice(self, span: LeaseSpan) -> None:
        """Write down that the lease is over, and whether the machine has just come back from standing still."""
        if span.noticed_s is None:
            span.noticed_s = self.now
            since = self.now
            for begin, end in reversed(self.network.history.paused.get(self.name, [])):
                if end < since:
                    break
                since = begin
            span.stopped_from_s = since if since < self.now else None

    def _work(self, lease: Lease, span: LeaseSpan, work_s: float) -> None:
        """Work until it is done or the lease is lost; a lost lease's command needs a little to die."""
        done_s = self.now + work_s
        sleeper = lease.remote.system.sleeper
        try:
            while self.now < done_s:
                sleeper.sleep(min(lease.timing.renew_interval_s, done_s - self.now))
                lease.check()
                if self.now < done_s:
                    self.renew(lease)
        except LeaseLostError as error:
            self.say(f"lost its lease: {error}")
            self._notice(span)
        except GitrefLockError as error:
            self.say(f"cannot renew: {error}")
            span.given_up_s = self.now

    def renew(self, lease: Lease) -> None:
        """Renew a lease; what fails is tried again at the next renewal. Raises LeaseLostError."""
        try:
            lease.renew(Deadline(self.clock))
        except (RemoteError, OutcomeUnknownError) as error:
            self.say(f"renewal failed: {error}")

    def release(self, lease: Lease, span: LeaseSpan) -> None:
        """Let what still runs end, then free the locks."""
        span.given_up_s = span.given_up_s or (self.now if span.noticed_s is None else span.end_s())
        lease.remote.system.sleeper.sleep(max(0.0, span.given_up_s - self.now) * self.clock.rate)
        try:
            failure = lease.release(Deadline.after(lease.remote.system, _RELEASE_S))
        except RemoteError as error:
            self.say(f"release failed: {error}")
        else:
            self.say("released" if failure is None else f"release: {failure}")
            span.released_s = self.now if failure is None else None

    # Breaking.

    def break_lock(self, task: Task, lock: LockName = LOCK) -> None:
        """End another's lease, as an operator does: one swap that names the tip it saw."""
        remote = self.remote(task)
        deadline = Deadline.after(remote.system, 30.0)
        try:
            state = remote.look([lock], deadline, with_queue=False).locks[lock]
            if state is None or remote.stance(lock, state) is not Stance.OTHER:
                return
            step = move(Found(lock, state, Stance.OTHER), Event.BREAK, write(remote, self.holder))
            outcome = Swapper(remote).carry(plan_for_locks(remote, [step]), deadline)
            self.say(f"breaks {lock}: {type(outcome).__name__}")
        except RemoteError as error:
            self.say(f"break failed: {error}")
