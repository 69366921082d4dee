"""A lease that this process holds: renewing, releasing, and knowing when it is over.

The deadline counts from before the first sending of the bytes that were confirmed, on the largest of this machine's
clocks: early perhaps, late never. A lease once lost is lost for good (docs/protocol.md, sections 3 and 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from threading import RLock

from gitref_lock.core.clocks import ClockReading, elapsed_for_holder
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState, NextState, Stance
from gitref_lock.core.names import LockName, Nonce, Oid
from gitref_lock.core.record import Event, Holder, LockRecord, State
from gitref_lock.core.refs import Applied, Superseded
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import GitrefLockError, LeaseLostError
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import remote_failure, swap_failure
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.swapper import Plan, Swapper, plan_for_locks
from gitref_lock.runtime.writing import Found, killer, move, next_state, write

_ADOPTIONS = 4


@dataclass(slots=True)
class Lease:
    """One or more locks held under one token.

    ``states`` are the locks' present states as far as known here, ``sent`` the clocks before the first sending of the
    last confirmed write, ``lost`` the reason why the lease is over (None while it is not). All swaps of a lease go
    through ``queue``: a renewal never races a release or a landing of the same lease. ``released`` are the states that
    a release wrote, ``gone`` the locks found to be somebody else's or nobody's, as they were read.
    """

    remote: Remote
    holder: Holder
    token: Nonce
    timing: LeaseTiming
    states: dict[LockName, LockState]
    sent: ClockReading
    waited_s: float = 0.0
    attempts: int = 1
    reused: bool = False
    lost: str | None = None
    released: dict[LockName, LockState] = field(default_factory=dict)
    gone: dict[LockName, LockState | None] = field(default_factory=dict)
    queue: RLock = field(default_factory=RLock, repr=False)

    @property
    def names(self) -> tuple[LockName, ...]:
        """The locks held."""
        return tuple(self.states)

    def record(self, name: LockName) -> LockRecord:
        """Return the record of one lock of this lease."""
        record = self.states[name].record
        assert isinstance(record, LockRecord)
        return record

    @property
    def generation(self) -> int:
        """The fencing token of the first lock; 0 once nothing is left of the lease."""
        return self.record(self.names[0]).generation if self.states else 0

    def tip(self, name: LockName) -> Oid:
        """Return the lock's commit as last written."""
        return self.states[name].tip

    def left_s(self) -> float:
        """Return the seconds until this lease counts as lost; 0 when it is."""
        if self.lost is not None:
            return 0.0
        elapsed = elapsed_for_holder(self.sent, self.remote.clock_reading())
        return max(0.0, self.timing.usable_s - elapsed)

    def check(self) -> None:
        """Raise LeaseLostError when the lease is over by this holder's own clocks; no request is made."""
        if self.left_s() <= 0:
            self.lose("its time is over")
        if self.lost is not None:
            raise LeaseLostError(
                f"the lease on {', '.join(self.names)} is lost: {self.lost}",
                fields={"locks": list(self.names), "generation": self.generation},
            )

    def lose(self, why: str) -> None:
        """Mark the lease lost for good; the first reason stays."""
        self.lost = self.lost or why

    def renew(self, deadline: Deadline, *, ttl_s: float | None = None) -> None:
        """Extend the lease by one swap; raise LeaseLostError when it is over or somebody else's.

        A renewal that turns out applied after the lease was lost is not used.
        """
        with self.queue:
            self.check()
            timing = self.timing if ttl_s is None else LeaseTiming.for_ttl(ttl_s)
            limit = deadline.earlier(Deadline.after(self.remote.system, self.left_s()))
            for _ in range(_ADOPTIONS):
                sent = self.remote.clock_reading()
                what = write(self.remote, self.holder, ttl_s=timing.ttl_s)
                moves = {found.name: move(found, Event.RENEW, what) for found in self.found(Stance.MINE)}
                plan = plan_for_locks(self.remote, list(moves.values()))
                swapper = Swapper(self.remote)
                outcome = swapper.carry(plan, limit)
                self.check()
                if isinstance(outcome, Applied):
                    self.states = {name: item.after.state for name, item in moves.items()}
                    self.timing, self.sent = timing, sent
                if swapper.interrupted is not None:
                    raise swapper.interrupted
                if isinstance(outcome, Applied):
                    return
                if not isinstance(outcome, Superseded):
                    raise swap_failure(outcome, "renewing the lease", inspect_hint(self.names))
                self.adopt(limit)
            raise LeaseLostError("the lease keeps being renewed from elsewhere", code="lease-contended")

    def adopt(self, deadline: Deadline) -> None:
        """Read the locks again: a tip with this lease's token is mine; anything else means that the lease is lost."""
        picture = self.remote.look(self.names, deadline, with_queue=False)
        for name, state in picture.locks.items():
            if self.remote.stance(name, state, self.token) is not Stance.MINE or state is None:
                self.gone[name] = state
                self.lose(f"{name} is {describe(state)}")
                self.check()
            else:
                self.states[name] = state

    def found(self, stance: Stance) -> list[Found]:
        """Return the locks as this lease knows them."""
        return [Found(name, state, stance) for name, state in self.states.items()]

    def release(self, deadline: Deadline) -> GitrefLockError | None:
        """Free every lock of this lease that is still mine, in one swap; return what prevented it, if anything.

        A lock that is somebody else's by now is left alone.
        """
        with self.queue:
            swapper = Swapper(self.remote)
            for _ in range(_ADOPTIONS):
                stance = Stance.MINE_LATE if self.left_s() <= 0 else Stance.MINE
                # A landing under this lease has freed its lock already.
                mine = [found for found in self.found(stance) if is_held(found.state)]
                if not mine:
                    return None
                plan = self.release_plan(mine)
                outcome = swapper.carry(plan, deadline)
                if isinstance(outcome, Applied):
                    self.released = {item.name: item.after.state for item in plan.moves}
                    self.lose("it was released")
                    return None
                if not isinstance(outcome, Superseded):
                    return swap_failure(outcome, "releasing the lease", inspect_hint(self.names))
                try:
                    self._keep_only_mine(deadline)
                except RemoteError as error:
                    return remote_failure(error, self.remote.store.display_url)
            return None if not self.states else swap_failure(Superseded({}), "releasing", inspect_hint(self.names))

    def release_plan(self, mine: Sequence[Found]) -> Plan:
        """Return the swap that frees these locks."""
        what = write(self.remote, self.holder)
        moves = [move(found, Event.RELEASE, what) for found in mine]
        return plan_for_locks(self.remote, moves, kill=killer(self.remote, mine[0], self.holder))

    def _keep_only_mine(self, deadline: Deadline) -> None:
        picture = self.remote.look(self.names, deadline, with_queue=False)
        kept: dict[LockName, LockState] = {}
        for name, state in picture.locks.items():
            if state is not None and self.remote.stance(name, state, self.token) is Stance.MINE:
                kept[name] = state
            else:
                self.gone[name] = state
                self.lose(f"{name} is {describe(state)}")
        self.states = kept

    def landing_state(self, *, keep: bool) -> Mapping[LockName, NextState]:
        """Return the next states for a landing under this lease: freed, or kept with a fresh nonce."""
        event = Event.LAND_KEEP if keep else Event.LAND
        stance = Stance.MINE if keep or self.left_s() > 0 else Stance.MINE_LATE
        what = replace(write(self.remote, self.holder, ttl_s=self.timing.ttl_s if keep else 0.0), landed=1)
        return {found.name: next_state(found, event, what) for found in self.found(stance)}


def is_held(state: LockState | None) -> bool:
    """Tell whether this state, if readable, is a lease."""
    return state is not None and isinstance(state.record, LockRecord) and state.record.state is State.HELD


def describe(state: LockState | None) -> str:
    """Say in a few words what a lock is now."""
    if state is None:
        return "gone"
    record = state.record
    if not isinstance(record, LockRecord):
        return f"in an unreadable state ({record.why})"
    if record.state is State.FREE or record.holder is None:
        return f"free (generation {record.generation}, {record.event.value})"
    return f"held by {record.holder.label} (generation {record.generation})"


def inspect_hint(names: Sequence[LockName]) -> str:
    """Return the command that shows what is true now."""
    return f"gitref-lock inspect {names[0]} --json" if names else "gitref-lock inspect --json"
