"""The end of a supervised lease: what counts as our own release, and how long a release is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gitref_lock.core.machine import LockState
from gitref_lock.core.names import LockName
from gitref_lock.core.record import Holder
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.forwarding import SignalDesk
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.operator import break_lock
from gitref_lock.runtime.supervise import RELEASE_PATIENCE_S, Ending, Supervisor, _is_released
from gitref_lock.testing.sim_kernel import Task
from gitref_lock.testing.waiters import Runner, World

MAIN = LockName("main")


def after(act: Callable[[Runner, Lease, LockState], None]) -> tuple[Lease, LockState]:
    """Hold main, let ``act`` happen, and return the lease and the state of the lock then."""
    world = World(1)
    runner = world.runner("holder")
    found: list[tuple[Lease, LockState]] = []

    def look() -> LockState:
        state = runner.remote.look([MAIN], Deadline(runner.clock)).locks[MAIN]
        assert state is not None
        return state

    def body(_: Task) -> None:
        lease = runner.acquire()
        act(runner, lease, look())
        found.append((lease, look()))

    runner.spawn(body)
    world.run(600.0)
    return found[0]


def test_a_release_of_ours_is_known_again() -> None:
    """A release whose answer was lost is found in the lock's own history."""
    assert _is_released(*after(lambda runner, lease, _: runner.release(lease)))


def test_a_break_is_no_release_of_ours() -> None:
    """Whoever freed the lock, if it was not the lease's holder, the lease was lost."""

    def act(runner: Runner, _: Lease, state: LockState) -> None:
        break_lock(runner.remote, MAIN, state, Holder("operator"), "test", Deadline(runner.clock))

    assert not _is_released(*after(act))


def test_a_lock_that_went_on_is_no_release_of_ours() -> None:
    """Somebody else's lease, later release, or nothing at all."""

    def act(runner: Runner, lease: Lease, _: LockState) -> None:
        runner.release(lease)
        runner.release(runner.acquire())

    lease, state = after(act)
    assert not _is_released(lease, state)
    assert not _is_released(lease, None)
    assert not _is_released(lease, after(lambda *_: None)[1])


@pytest.mark.parametrize(("signalled", "lost"), [(False, False), (True, False), (False, True)])
def test_a_release_is_tried_for_long_only_when_nobody_waits_for_it(signalled: bool, lost: bool) -> None:
    """Without a remote: for its patience as a rule, once and briefly for a cancelled job or a lost lease."""
    world = World(2)
    runner = world.runner("holder")
    took: list[float] = []
    desk = SignalDesk(runner.clock)
    desk.received += [15] if signalled else []

    def body(task: Task) -> None:
        lease = runner.acquire(ttl_s=600.0)
        supervisor = Supervisor(lease, world.runner("second").remote, ["true"], {}, desk)
        runner.store.is_cut = True
        before = task.kernel.now
        failure = supervisor._release(replace(lease), Ending(0, lost="gone" if lost else None))
        took.append(task.kernel.now - before)
        assert failure is not None

    runner.spawn(body)
    world.run(600.0)
    assert (took[0] >= RELEASE_PATIENCE_S) is not (signalled or lost)
    assert took[0] < (7.5 + 2.5 if signalled or lost else 2 * RELEASE_PATIENCE_S + 5)
