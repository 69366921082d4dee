"""What inspect knows about a lock: state, expiry, queue and expected wait, from one read."""

from __future__ import annotations

import json

import pytest

from gitref_lock.core.expiry import Rule
from gitref_lock.core.names import LockName, Namespace, RefName, TicketName
from gitref_lock.core.objects import build_state_commit
from gitref_lock.core.record import Holder
from gitref_lock.core.ticket import Kind, Ticket, build_ticket
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.insight.status import LockStatus, all_locks, collect
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.clock import jumping_system
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer

MAIN = LockName("main")


class World:
    """A server with a clock, and runners beside it."""

    def __init__(self) -> None:
        """Begin empty."""
        self.system = jumping_system(3)
        self.server = MemoryServer(clock=self.system.clock.wall)
        self.remote = self.join()

    def join(self) -> Remote:
        """Return another view of the server."""
        return Remote(MemoryRefStore(self.server, self.system), self.system)

    @property
    def deadline(self) -> Deadline:
        """A minute from now."""
        return Deadline.after(self.system, 60.0)

    def acquire(self, ttl_s: float = 30.0, name: LockName = MAIN) -> Lease:
        """Acquire as Ann."""
        who = Holder(id="ann", name="Ann", workflow="nightly")
        return Acquirer(self.join(), AcquireRequest((name,), who, LeaseTiming.for_ttl(ttl_s), 0.0), self.deadline).run()

    def status(self) -> LockStatus:
        """Look at the lock with fresh eyes."""
        (found,) = collect(self.join(), [MAIN], self.deadline)
        return found

    def post(self, holder: str, priority: int) -> None:
        """Put a waiter into the queue."""
        nonce, now_ms = self.system.entropy.nonce(), int(self.system.clock.wall() * 1000)
        ticket = Ticket(Kind.ACQUIRE, (MAIN,), nonce, Holder(id=holder), priority, now_ms, now_ms // 1000 + 100)
        objects = build_ticket(ticket, at_s=now_ms // 1000)
        self.server.put(objects)
        name = TicketName(now_ms - priority * 10_000, nonce)
        self.server.set_ref(Namespace().ticket_ref(MAIN, name), objects[0].oid)


@pytest.fixture
def world() -> World:
    """Return a server with nothing on it."""
    return World()


def test_an_absent_lock(world: World) -> None:
    """It would be had at once."""
    found = world.status()
    assert (found.word, found.tip, found.expected_wait_s, found.held_for_s) == ("absent", None, 0.0, None)
    assert found.to_json()["holder"] is None
    assert found.history(5) == ()


def test_a_held_lock(world: World) -> None:
    """Who, since when, until when; without earlier holds nobody knows for how long."""
    lease = world.acquire()
    world.system.sleeper.sleep(3.0)
    found = world.status()
    value = found.to_json(history=5)
    assert (value["state"], value["generation"], value["lock_oid"]) == ("held", lease.generation, lease.tip(MAIN))
    assert value["holder"] == {"id": "ann", "name": "Ann", "workflow": "nightly"}
    assert (value["expired"], value["expired_by"], value["expected_wait_seconds"]) == (False, None, None)
    assert found.held_for_s == pytest.approx(3.0, abs=2.5)
    assert [line["event"] for line in value["history"]] == ["acquire"]  # type: ignore[union-attr,index,call-overload]  # JSON
    json.dumps(value)


def test_a_free_lock(world: World) -> None:
    """Nothing of the last holder is left in it."""
    world.acquire().release(world.deadline)
    value = world.status().to_json()
    assert (value["state"], value["holder"], value["expires_at"], value["priority"]) == ("free", None, None, None)
    assert value["expected_wait_seconds"] == 0.0


def test_expired_by_one_date(world: World) -> None:
    """To show that a lease is over, the server's clock is read once; no waiting is needed."""
    world.acquire(ttl_s=5.0)
    world.system.sleeper.sleep(60.0)
    found = world.status()
    assert found.expired is Rule.SERVER_CLOCK
    assert found.to_json()["expired_by"] == "B"


def test_the_queue_is_in_service_order(world: World) -> None:
    """Priority first, then entry; positions count from 1, and each adds a mean hold to the expected wait."""
    for _ in range(2):
        lease = world.acquire()
        world.system.sleeper.sleep(10.0)
        lease.release(world.deadline)
    world.acquire()
    alone = world.status().expected_wait_s
    world.post("low", 0)
    world.post("high", 50)
    found = world.status()
    queue = found.to_json()["queue"]
    assert isinstance(queue, list)
    assert [(item["holder"], item["position"]) for item in queue if isinstance(item, dict)] == [
        ({"id": "high"}, 1),
        ({"id": "low"}, 2),
    ]
    assert alone is not None
    assert found.expected_wait_s == pytest.approx(alone + 2 * 10.0, abs=4.0)


def test_an_unreadable_lock_and_ticket(world: World) -> None:
    """Shown as what they are, with the reason."""
    objects = build_state_commit({"lock.json": b"{"}, author_name="x", at_s=0, message="x")
    world.server.put(objects)
    world.server.set_ref(RefName("refs/locks/main"), objects[0].oid)
    ticket = TicketName(5, world.system.entropy.nonce())
    world.server.set_ref(Namespace().ticket_ref(MAIN, ticket), objects[0].oid)
    value = world.status().to_json()
    assert (value["state"], value["generation"]) == ("unreadable", None)
    assert "not JSON" in str(value["why"])
    assert value["queue"] == [
        {
            "ticket": ticket.leaf,
            "kind": None,
            "holder": None,
            "priority": None,
            "enqueued_at": None,
            "expires_at": None,
            "position": 1,
        }
    ]


def test_all_locks_are_listed_with_those_that_are_only_queued_for(world: World) -> None:
    """Names come sorted; what is no lock or ticket by its name is left out."""
    world.acquire(name=LockName("b"))
    world.acquire(name=LockName("a/c"))
    world.post("waiter", 0)
    tip = world.server.refs[RefName("refs/locks/b")]
    world.server.set_ref(RefName("refs/lock-queue/x/nonsense"), tip)
    assert all_locks(world.remote, world.deadline) == ("a/c", "b", "main")
