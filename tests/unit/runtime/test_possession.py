"""Which leases are mine, and for how long: of several locks under one token the oldest writing counts."""

from __future__ import annotations

import itertools

import pytest

from gitref_lock.core.clocks import ClockReading
from gitref_lock.core.machine import LockState, Stance, Write, step
from gitref_lock.core.names import LockName, Nonce
from gitref_lock.core.record import ClockSource, Event, Holder
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.ports import System
from gitref_lock.runtime.leasefile import StoredLease, Writer
from gitref_lock.runtime.possession import from_records, revive
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.clock import SeededEntropy
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer
from gitref_lock.testing.sim_clock import SimClock
from gitref_lock.testing.sim_kernel import Kernel
from gitref_lock.testing.waiters import Sleeper

EPOCH_S = 1_700_000_000
TOKEN = Nonce("ab" * 12)
ANN = Holder(id="ann")
TTL_S = 60.0
TIMING = LeaseTiming.for_ttl(TTL_S)
AGES_S = {LockName("main"): 10.0, LockName("deploy/prod"): 25.0, LockName("site"): 0.0}
ORDERS = list(itertools.permutations(AGES_S))


def still_remote() -> Remote:
    """Return a remote of nothing, on a machine whose clocks stand still."""
    clock = SimClock(Kernel(), epoch_s=float(EPOCH_S))
    system = System(clock, SeededEntropy(1), Sleeper(clock))
    return Remote(MemoryRefStore(MemoryServer(), system), system)


def state_of_age(name: LockName, age_s: float) -> LockState:
    """Return a held state that was written so long ago."""
    at = EPOCH_S - int(age_s)
    what = Write(TOKEN, at, ClockSource.LOCAL, ANN, expires_at=at + int(TTL_S), ttl_s=TTL_S)
    return step(name, None, Stance.ABSENT, Event.ACQUIRE, what).state


@pytest.mark.parametrize("order", ORDERS)
def test_a_lease_from_files_is_as_old_as_its_oldest_file(order: tuple[LockName, ...]) -> None:
    """One lock of the lease was renewed later than another: the lease ends with the one that ends first."""
    remote = still_remote()
    now = remote.clock_reading()

    def file_of(name: LockName) -> StoredLease:
        age_s = AGES_S[name]
        sent = ClockReading(now.monotonic_s - age_s, now.boottime_s - age_s, now.wall_s - age_s)
        boot_id = remote.system.clock.boot_id()
        return StoredLease("memory:", name, TOKEN, Writer(), TIMING, state_of_age(name, age_s), boot_id, sent)

    lease = revive(remote, [file_of(name) for name in order], ANN)
    assert lease.names == order
    assert lease.left_s() == pytest.approx(TIMING.usable_s - max(AGES_S.values()))


@pytest.mark.parametrize("order", ORDERS)
def test_a_lease_from_records_is_as_old_as_its_oldest_record(order: tuple[LockName, ...]) -> None:
    """Known by its token alone, a lease of several locks ends when the first of their records says so."""
    remote = still_remote()
    lease = from_records(remote, {name: state_of_age(name, AGES_S[name]) for name in order}, TOKEN, ANN)
    assert lease.names == order
    assert lease.left_s() == pytest.approx(TIMING.usable_s - max(AGES_S.values()))
