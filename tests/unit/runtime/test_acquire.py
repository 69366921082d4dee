"""Acquiring: what happens to tickets and leases when a signal, a failure or the clock comes in between."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

import pytest

from gitref_lock.core.names import LockName
from gitref_lock.core.record import LockRecord, State
from gitref_lock.core.refs import SwapOutcome
from gitref_lock.errors import Interrupted, NotAcquiredError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.waiting import WaitReport
from gitref_lock.testing.sim_kernel import Task
from gitref_lock.testing.waiters import Runner, World

MAIN = LockName("main")


def record_of(world: World) -> LockRecord | None:
    """Return the lock's record as it is on the server; None when the lock does not exist."""
    runner, found = world.runner(f"looker{len(world.tasks)}"), []

    def look(_: Task) -> None:
        found.append(runner.remote.look([MAIN], Deadline(runner.clock)).locks[MAIN])

    runner.spawn(look, at_s=world.kernel.now)
    world.run(world.kernel.now + 60)
    record = found[0].record if found[0] is not None else None
    assert record is None or isinstance(record, LockRecord)
    return record


def tickets(world: World) -> list[str]:
    """Return the tickets on the server."""
    return [ref for ref in world.server.refs if ref.startswith("refs/lock-queue/")]


def interrupting(runner: Runner, number: int, *, after: bool) -> None:
    """Let a signal come during the runner's write number ``number`` (from 1), before or after the server has it."""
    store = runner.store
    original: Callable[..., SwapOutcome] = store.swap
    writes = 0

    def swap(*args: object, **more: object) -> SwapOutcome:
        nonlocal writes
        writes += 1
        if writes != number:
            return original(*args, **more)
        if after:
            original(*args, **more)
        raise Interrupted(signal.SIGTERM)

    store.swap = swap  # type: ignore[method-assign]


def ended(runner: Runner, into: list[object]) -> Callable[[Task], None]:
    """Return a body that acquires and notes how that ended."""

    def body(_: Task) -> None:
        try:
            into.append(runner.acquire())
        except Interrupted as signal_:
            into.append(signal_.signum)
        except NotAcquiredError as error:
            into.append(error.code)

    return body


@pytest.mark.parametrize("after", [False, True])
def test_a_signal_during_the_writing_of_the_ticket_ends_the_wait(after: bool) -> None:
    """It is not lost in the write, and no ticket stays behind, whether or not the server had it."""
    world, how = World(1), list[object]()
    holder, waiter = world.runner("holder"), world.runner("waiter")

    def hold(_: Task) -> None:
        holder.acquire(ttl_s=3600.0)

    holder.spawn(hold)
    interrupting(waiter, 1, after=after)
    waiter.spawn(ended(waiter, how), at_s=10.0)
    world.run(120.0)
    assert how == [signal.SIGTERM]
    assert tickets(world) == []
    assert world.kernel.now < 60


@pytest.mark.parametrize("after", [False, True])
def test_a_signal_during_the_claim_leaves_no_lease(after: bool) -> None:
    """A claim that the server took is given back before the signal goes on; nobody has to wait for its ttl."""
    world, how = World(2), list[object]()
    runner = world.runner("runner")
    interrupting(runner, 1, after=after)
    runner.spawn(ended(runner, how))
    world.run(120.0)
    assert how == [signal.SIGTERM]
    record = record_of(world)
    assert record is None or record.state is State.FREE


def test_a_signal_while_dead_tickets_are_removed_leaves_no_lease() -> None:
    """After the claim, too: what was taken is given back."""
    world, how = World(3), list[object]()
    holder, dead, runner = world.runner("holder"), world.runner("dead"), world.runner("runner")

    def hold(_: Task) -> None:
        lease = holder.acquire(ttl_s=3600.0)
        holder.sleeper.sleep(60.0)
        holder.release(lease)

    def wait(_: Task) -> None:
        dead.acquire(priority=100)

    holder.spawn(hold)
    dead.spawn(wait, at_s=5.0)
    world.kernel.at(30.0, world.tasks[1].kill)
    interrupting(runner, 3, after=False)  # ticket, claim, removal of the dead one
    runner.spawn(ended(runner, how), at_s=10.0)
    world.kernel.run(600.0)
    assert how == [signal.SIGTERM]
    world.tasks.clear()  # the dead one never ends
    record = record_of(world)
    assert record is not None
    assert record.state is State.FREE


def test_a_wait_that_is_over_takes_its_ticket_back() -> None:
    """The error says who holds the lock and for how long was waited; nothing stays behind."""
    world, how = World(4), list[object]()
    holder, waiter = world.runner("holder"), world.runner("waiter")

    def hold(_: Task) -> None:
        holder.acquire(ttl_s=3600.0)

    def wait(_: Task) -> None:
        try:
            waiter.acquire(wait_s=30.0)
        except NotAcquiredError as error:
            how.append(error)

    holder.spawn(hold)
    waiter.spawn(wait, at_s=5.0)
    world.run(120.0)
    error = how[0]
    assert isinstance(error, NotAcquiredError)
    assert error.code == "lock-timeout"
    assert "held by holder" in error.message
    assert "--expect" in error.hint
    waited_s = error.fields["waited_seconds"]
    assert isinstance(waited_s, float)
    assert 30 <= waited_s < 36
    assert isinstance(error.fields["holder"], Mapping)
    assert tickets(world) == []


def test_a_wait_shorter_than_the_lease_says_so_at_once() -> None:
    """Who cannot outlive the present lease learns it from the first report."""
    world, reports = World(5), list[WaitReport]()
    holder, waiter = world.runner("holder"), world.runner("waiter")

    def hold(_: Task) -> None:
        holder.acquire(ttl_s=600.0)

    def wait(_: Task) -> None:
        with pytest.raises(NotAcquiredError):
            waiter.acquire(wait_s=20.0, listener=reports.append)

    holder.spawn(hold)
    waiter.spawn(wait, at_s=5.0)
    world.run(120.0)
    assert "before the present lease can be taken over" in reports[0].why
    assert reports[0].place == 1
    assert reports[0].holder is not None
