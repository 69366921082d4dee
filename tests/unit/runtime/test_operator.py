"""Breaking, reaping, sweeping and pruning: exactly what was seen, and never what is alive."""

from __future__ import annotations

import pytest

from gitref_lock.core.machine import LockState, Stance
from gitref_lock.core.names import LockName, Nonce, TicketName, branch_ref
from gitref_lock.core.record import Holder, LockRecord, State
from gitref_lock.core.ticket import Kind, Ticket, Verdict, VerdictKind, build_ticket
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import HeldByAnotherError, NotHeldError
from gitref_lock.ports import System
from gitref_lock.runtime import operator
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.clock import jumping_system
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer

MAIN = LockName("main")
ANN, BOB = Holder(id="ann"), Holder(id="bob")


class World:
    """A server and runners that share one jumping clock."""

    def __init__(self, *, has_dates: bool = False) -> None:
        """Begin empty."""
        self.system: System = jumping_system(5)
        self.server = MemoryServer(clock=self.system.clock.wall if has_dates else None)
        self.remote = self.join()

    def join(self) -> Remote:
        """Return another runner's view of the server."""
        return Remote(MemoryRefStore(self.server, self.system), self.system)

    @property
    def deadline(self) -> Deadline:
        """A minute from now."""
        return Deadline.after(self.system, 60.0)

    def acquire(self, *, ttl_s: float = 30.0, name: LockName = MAIN) -> Lease:
        """Acquire as Ann."""
        return Acquirer(self.join(), AcquireRequest((name,), ANN, LeaseTiming.for_ttl(ttl_s), 0.0), self.deadline).run()

    def seen(self, name: LockName = MAIN) -> LockState:
        """Read a lock that exists."""
        state = self.remote.look([name], self.deadline).locks[name]
        assert state is not None
        return state


@pytest.fixture(params=[False, True], ids=["no dates", "dates"])
def world(request: pytest.FixtureRequest) -> World:
    """Return a world with and without a server's clock."""
    return World(has_dates=request.param)


def test_a_broken_lock_is_free_with_the_next_generation(world: World) -> None:
    """The reason and the old holder stand in the history."""
    lease = world.acquire()
    free = operator.break_lock(world.remote, MAIN, world.seen(), BOB, "stuck", world.deadline)
    assert isinstance(free.record, LockRecord)
    assert (free.record.state, free.record.generation) == (State.FREE, lease.generation + 1)
    assert world.seen() == free
    assert "was ann's; stuck" in free.ring.lines[-1].note


def test_an_expired_lock_is_reaped(world: World) -> None:
    """A break of a lease that is over is a reaping, with the reason kept."""
    world.acquire(ttl_s=5.0)
    world.seen()
    world.system.sleeper.sleep(6.0)
    free = operator.break_lock(world.remote, MAIN, world.seen(), BOB, "old", world.deadline)
    assert (free.ring.lines[-1].event.value, free.ring.lines[-1].note) == ("reap", "was ann's; old")


def test_what_moved_on_is_not_broken(world: World) -> None:
    """The operator saw another state: whoever renewed since then keeps the lock."""
    lease = world.acquire()
    seen = world.seen()
    lease.renew(world.deadline)
    with pytest.raises(HeldByAnotherError, match="moved on"):
        operator.break_lock(world.remote, MAIN, seen, BOB, "", world.deadline)
    assert world.seen().tip == lease.tip(MAIN)


def test_expectations(world: World) -> None:
    """Object id or generation, both in full; anything else, and a free lock, is refused."""
    lease = world.acquire()
    state = world.seen()
    for expect in (None, state.tip, str(lease.generation)):
        assert operator.require_expected(MAIN, state, expect) is state
    for expect in ("", state.tip[:12], str(lease.generation + 1)):
        with pytest.raises(HeldByAnotherError, match="not in the expected state"):
            operator.require_expected(MAIN, state, expect)
    lease.release(world.deadline)
    for free in (world.seen(), None):
        with pytest.raises(NotHeldError):
            operator.require_expected(MAIN, free, None)


def test_a_live_lease_is_not_cleaned_up(world: World) -> None:
    """Nothing to do is an empty plan."""
    world.acquire()
    assert operator.plan_cleanup(world.remote, [MAIN], world.deadline).is_empty


def test_an_expired_lease_is_freed() -> None:
    """With a server's clock one command is enough: it looks twice, two seconds apart."""
    world = World(has_dates=True)
    lease = world.acquire(ttl_s=5.0)
    world.system.sleeper.sleep(30.0)
    fresh = world.join()
    plan = operator.plan_cleanup(fresh, [MAIN], world.deadline)
    assert [found.stance for found in plan.reaps] == [Stance.EXPIRED]
    report = operator.clean_up(fresh, plan, BOB, world.deadline)
    assert (report.reaped, report.left) == ([MAIN], [])
    record = world.seen().record
    assert isinstance(record, LockRecord)
    assert (record.state, record.generation) == (State.FREE, lease.generation + 1)


def test_a_lease_renewed_after_the_plan_is_left_alone() -> None:
    """The plan names the tip it saw, so what moved since stays."""
    world = World(has_dates=True)
    lease = world.acquire(ttl_s=5.0)
    world.system.sleeper.sleep(30.0)
    plan = operator.plan_cleanup(world.remote, [MAIN], world.deadline)
    lease.release(world.deadline)
    renewed = world.acquire()
    report = operator.clean_up(world.remote, plan, BOB, world.deadline)
    assert report.reaped == []
    assert report.left == [(MAIN, "it moved on")]
    assert world.seen().tip == renewed.tip(MAIN)


def _post(world: World, kind: Kind, *, expires_in_s: float, verdict: Verdict | None = None) -> TicketName:
    now_s = world.system.clock.wall()
    nonce = world.system.entropy.nonce()
    ticket = Ticket(
        kind=kind,
        locks=(MAIN,),
        nonce=Nonce(nonce),
        holder=ANN,
        priority=0,
        enqueued_ms=int(now_s * 1000),
        expires_at=int(now_s + expires_in_s),
        branch="main" if kind is Kind.LAND else "",
        verdict=verdict,
    )
    name = TicketName(ticket.enqueued_ms, ticket.nonce)
    objects = build_ticket(ticket, at_s=int(now_s))
    world.server.put(objects)
    world.server.set_ref(world.remote.namespace.ticket_ref(MAIN, name), objects[0].oid)
    return name


LANDED = Verdict(VerdictKind.LANDED)


@pytest.mark.parametrize(
    ("kind", "verdict", "expires_in_s", "is_dead"),
    [
        (Kind.ACQUIRE, None, 100, False),
        (Kind.ACQUIRE, None, -5, False),
        (Kind.ACQUIRE, None, -700, True),
        (Kind.LAND, None, -9000, False),
        (Kind.LAND, LANDED, -60, False),
        (Kind.LAND, LANDED, -800, True),
        (Kind.ACQUIRE, Verdict(VerdictKind.SUPERSEDED), -800, True),
    ],
)
def test_dead_tickets(world: World, kind: Kind, verdict: Verdict | None, expires_in_s: float, is_dead: bool) -> None:
    """Dead are waits long over and verdicts long given; a change that waits to be landed never is."""
    name = _post(world, kind, expires_in_s=expires_in_s, verdict=verdict)
    plan = operator.plan_cleanup(world.remote, [MAIN], world.deadline)
    assert [dead.entry.name for dead in plan.tickets] == ([name] if is_dead else [])
    report = operator.clean_up(world.remote, plan, BOB, world.deadline)
    assert len(report.swept) == is_dead
    assert (world.remote.namespace.ticket_ref(MAIN, name) in world.server.refs) is not is_dead


def test_an_unreadable_ticket_is_left(world: World) -> None:
    """Nobody knows what it waits for."""
    name = TicketName(1, world.system.entropy.nonce())
    world.acquire()
    world.server.set_ref(world.remote.namespace.ticket_ref(MAIN, name), world.seen().tip)
    assert operator.plan_cleanup(world.remote, [MAIN], world.deadline).tickets == ()


DAY = 86_400.0


@pytest.mark.parametrize(
    ("idle_s", "has_branch", "has_waiter", "is_held", "kept"),
    [
        (31 * DAY, False, False, False, ""),
        (29 * DAY, False, False, False, "--older-than"),
        (31 * DAY, True, False, False, "its branch exists"),
        (31 * DAY, False, True, False, "somebody waits"),
        (31 * DAY, False, False, True, "it is held"),
    ],
    ids=["idle", "too young", "branch", "waiter", "held"],
)
def test_pruning(world: World, idle_s: float, has_branch: bool, has_waiter: bool, is_held: bool, kept: str) -> None:
    """Only a free lock, idle for long, without branch and waiters, is removed; of any other the reason is told."""
    lease = world.acquire()
    if not is_held:
        lease.release(world.deadline)
    world.system.sleeper.sleep(idle_s)
    if has_branch:
        world.server.set_ref(branch_ref("main"), world.seen().tip)
    if has_waiter:
        _post(world, Kind.ACQUIRE, expires_in_s=100)
    plan = operator.plan_cleanup(world.remote, [MAIN], world.deadline, prune=True)
    report = operator.clean_up(world.remote, plan, BOB, world.deadline)
    assert report.pruned == ([] if kept else [MAIN])
    assert (world.remote.namespace.lock_ref(MAIN) in world.server.refs) is bool(kept)
    assert [kept in why for _, why in plan.kept] == ([True] if kept else [])


@pytest.mark.parametrize(("age_s", "is_pruned"), [(DAY - 60, False), (DAY + 60, True)])
def test_a_lock_of_the_last_day_is_kept_however_short_the_idle_time(
    world: World, age_s: float, is_pruned: bool
) -> None:
    """A lock that is made anew within a day could repeat a generation: it stays, and the plan says why."""
    world.acquire().release(world.deadline)
    world.system.sleeper.sleep(age_s)
    plan = operator.plan_cleanup(world.remote, [MAIN], world.deadline, prune=True, idle_s=0)
    assert [found.name for found in plan.prunes] == ([MAIN] if is_pruned else [])
    assert plan.kept == (() if is_pruned else ((MAIN, "it was made less than a day ago"),))


def test_a_pruned_lock_begins_above_its_old_generation(world: World) -> None:
    """Fencing tokens never fall, also over a removal."""
    lease = world.acquire()
    lease.release(world.deadline)
    world.system.sleeper.sleep(31 * DAY)
    plan = operator.plan_cleanup(world.remote, [MAIN], world.deadline, prune=True)
    operator.clean_up(world.remote, plan, BOB, world.deadline)
    assert world.acquire().generation > lease.generation


def test_without_prune_nothing_is_removed(world: World) -> None:
    """Pruning is never automatic."""
    world.acquire().release(world.deadline)
    world.system.sleeper.sleep(400 * DAY)
    assert operator.plan_cleanup(world.remote, [MAIN], world.deadline).is_empty
