"""A remote whose front ends disagree about the time: its clock ends no lease any more, for the rest of the process."""

from __future__ import annotations

import pytest

from gitref_lock.core.machine import Stance
from gitref_lock.core.names import LockName
from gitref_lock.core.record import ClockSource, Holder
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.clock import jumping_system
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer

MAIN = LockName("main")
NOON = 1_700_000_000.0
TTL_S = 3600.0


@pytest.mark.parametrize("first_date", [NOON, NOON - 5.0], ids=["agreeing", "behind the renewal"])
def test_a_date_behind_the_renewal_ends_rule_b_for_good(first_date: float) -> None:
    """Later Dates that agree past the end count nothing, once one was earlier than what the holder was shown."""
    shown = NOON
    system = jumping_system(7)
    server = MemoryServer(clock=lambda: shown)

    def joined() -> Remote:
        return Remote(MemoryRefStore(server, system), system)

    request = AcquireRequest((MAIN,), Holder(id="ann"), LeaseTiming.for_ttl(TTL_S), 0.0)
    Acquirer(joined(), request, Deadline.after(system, 60.0)).run()
    observer = joined()

    def stance() -> Stance:
        state = observer.look([MAIN], Deadline.after(system, 60.0)).locks[MAIN]
        return observer.stance(MAIN, state)

    shown = first_date
    assert stance() is Stance.OTHER
    stances = []
    for number in range(3):
        shown = NOON + TTL_S + 60.0 + 3.0 * number
        stances.append(stance())
        system.sleeper.sleep(3.0)
    is_behind = first_date < NOON
    assert stances[-1] is (Stance.OTHER if is_behind else Stance.EXPIRED)
    assert observer.instants().source is (ClockSource.LOCAL if is_behind else ClockSource.SERVER)
