"""The renewer: when it renews, what it does about failures, and when it gives up."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from gitref_lock.core.names import LockName
from gitref_lock.core.record import Holder
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import LeaseLostError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.operator import break_lock
from gitref_lock.runtime.renewing import Renewer
from gitref_lock.runtime.swapper import KILL_BUDGET_S
from gitref_lock.testing.sim_kernel import Task
from gitref_lock.testing.waiters import Runner, World


def kept(
    ttl_s: float, act: Callable[[Runner, Renewer, int], None], *, rounds: int = 5, latency_s: float = 0.05
) -> tuple[Lease, Renewer, list[float], list[str]]:
    """Hold and renew until ``rounds`` waits are over; ``act`` is called before each. Returns what happened when."""
    world = World(1, latency_s)
    runner = world.runner("holder")
    renewed_s: list[float] = []
    lost: list[str] = []
    made: list[tuple[Lease, Renewer]] = []

    def body(task: Task) -> None:
        lease = runner.acquire(ttl_s=ttl_s)
        waits = 0

        def wait(seconds: float) -> bool:
            nonlocal waits
            waits += 1
            act(runner, renewer, waits)
            runner.sleeper.sleep(seconds)
            return waits > rounds

        renewer = Renewer(lease, lambda _: renewed_s.append(task.kernel.now), lost.append, wait)
        made.append((lease, renewer))
        renewer.run()

    runner.spawn(body)
    world.run(24 * 3600.0)
    lease, renewer = made[0]
    return lease, renewer, renewed_s, lost


def nothing(*_: object) -> None:
    """Do nothing."""


def test_it_renews_every_third_of_the_ttl_with_jitter() -> None:
    """Between renewals lie 90 to 100 percent of a third of the ttl, and the request itself."""
    _, _, renewed_s, lost = kept(300.0, nothing)
    gaps = [later - earlier for earlier, later in itertools.pairwise(renewed_s)]
    assert len(renewed_s) == 5
    assert all(90 <= gap <= 101 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 1
    assert lost == []


def test_failures_are_tried_again_until_they_pass() -> None:
    """A remote that is away for a while costs nothing but tries; the failures are forgotten after a success."""

    def act(runner: Runner, renewer: Renewer, number: int) -> None:
        runner.store.is_cut = number == 2
        assert number != 6 or renewer.failures == []

    lease, renewer, renewed_s, lost = kept(300.0, act, rounds=7)
    assert len(renewed_s) >= 3
    assert renewer.failures == []
    assert lease.lost is None
    assert lost == []


def test_a_lease_that_cannot_be_renewed_is_lost_in_time() -> None:
    """Without a remote the lease is lost at ttl less margin, and the reason names the last failure."""

    def act(runner: Runner, _: Renewer, number: int) -> None:
        runner.store.is_cut = True

    lease, _, renewed_s, lost = kept(30.0, act, rounds=1000)
    assert renewed_s == []
    assert len(lost) == 1
    assert "could not be renewed in time" in lost[0] or "its time is over" in lost[0]
    assert "last failure" in lost[0]
    assert lease.left_s() == 0


def test_a_broken_lease_is_lost_at_the_next_renewal() -> None:
    """Somebody else's lock is not fought for: lost is called once, with who holds it now."""

    def act(runner: Runner, _: Renewer, number: int) -> None:
        if number == 3:
            state = runner.remote.look([LockName("main")], Deadline(runner.clock)).locks[LockName("main")]
            assert state is not None
            break_lock(runner.remote, LockName("main"), state, Holder("operator"), "test", Deadline(runner.clock))

    lease, _, renewed_s, lost = kept(60.0, act, rounds=1000)
    assert len(renewed_s) == 2
    assert len(lost) == 1
    assert "free" in lost[0]
    assert lease.lost == lost[0]


def test_one_stalled_request_leaves_time_for_another() -> None:
    """No request may take all the time that is left, and the remote's own limit is put back afterwards."""
    seen: list[float | None] = []

    def act(runner: Runner, _: Renewer, number: int) -> None:
        store, remote = runner.store, runner.remote
        assert remote.call_timeout_s is None
        original = type(store).swap

        def swap(*args: object, timeout_s: float | None = None, **more: object) -> object:
            seen.append(timeout_s)
            return original(store, *args, timeout_s=timeout_s, **more)  # type: ignore[arg-type]

        store.swap = swap  # type: ignore[method-assign,assignment]

    kept(30.0, act, rounds=2)
    assert seen
    assert all(timeout is not None and 1.0 <= timeout <= 30 / 3 for timeout in seen)


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut off", "replies are lost"])
def test_a_renewal_is_not_tried_past_the_end_of_its_lease(is_cut: bool) -> None:
    """However long the caller would wait, a renewal that fails ends with the lease, but for a last reading back."""
    world = World(3)
    runner = world.runner("holder")
    ended_s: list[float] = []

    def body(task: Task) -> None:
        lease = runner.acquire(ttl_s=12.0)
        runner.store.is_cut, runner.store.loses_replies = is_cut, not is_cut
        began_s = task.kernel.now
        with pytest.raises(LeaseLostError):
            lease.renew(Deadline.after(runner.remote.system, 600.0))
        ended_s.append(task.kernel.now - began_s)

    runner.spawn(body)
    world.run(24 * 3600.0)
    last_request_s = 2 * world.latency_s
    assert ended_s[0] <= LeaseTiming.for_ttl(12.0).usable_s + KILL_BUDGET_S + last_request_s


@pytest.mark.parametrize("is_waiting", [True, False])
def test_stopping(is_waiting: bool) -> None:
    """A renewer that pauses ends at once; one in the middle of a request does not hold up the one who stops it."""
    world = World(2)
    leases: list[Lease] = []
    runner = world.runner("holder")
    runner.spawn(lambda _: leases.append(runner.acquire(ttl_s=300.0)))
    world.run(60.0)
    entered, may_go = threading.Event(), threading.Event()

    def stuck(_: float) -> bool:
        entered.set()
        return may_go.wait(30)

    renewer = Renewer(leases[0], wait=None if is_waiting else stuck)
    assert renewer.stop(0)
    renewer = Renewer(leases[0], wait=None if is_waiting else stuck)
    renewer.start()
    assert is_waiting or entered.wait(30)
    assert renewer.stop(30 if is_waiting else 0.05) is is_waiting
    may_go.set()
    assert renewer.stop(30)
