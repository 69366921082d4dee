"""Taking locks: at once when nobody waits, through the queue otherwise, by take over when a lease has expired.

All locks of one call are taken by one atomic swap, or none (docs/protocol.md, sections 3 to 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace

from gitref_lock.core.clocks import ClockReading
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import Stance
from gitref_lock.core.names import LockName, Nonce, Oid, TicketName
from gitref_lock.core.queue import contending, in_service_order, newcomer_may_claim, place_of
from gitref_lock.core.record import Event, Holder, LockRecord
from gitref_lock.core.refs import Applied, Breached, Refused, Superseded, Unknown
from gitref_lock.core.ticket import Kind
from gitref_lock.core.timing import LeaseTiming, QueueTiming, default_wait_s
from gitref_lock.errors import STOPS, GitrefLockError, LeaseLostError, NotAcquiredError
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.evidence import Inquest
from gitref_lock.runtime.failures import read_failure, swap_failure
from gitref_lock.runtime.lease import Lease, inspect_hint
from gitref_lock.runtime.remote import Picture, Remote
from gitref_lock.runtime.retry import NotYet, poll
from gitref_lock.runtime.swapper import LockMove, Plan, Swapper, plan_for_locks
from gitref_lock.runtime.waiting import (
    Listener,
    Place,
    no_listener,
    not_acquired_error,
    other_locks,
    removed_after_claim,
    shortfall,
    supersede_older,
    superseded_error,
)
from gitref_lock.runtime.writing import Found, killer, move, write

WITHDRAW_BUDGET_S = 5.0
_SHORTEST_PACE_S = 0.05
_LEAST_TRIES = 3
"""How often a lock that looks open is tried even without a wait: one lost race is no answer."""
_OPEN = frozenset({Stance.ABSENT, Stance.FREE, Stance.EXPIRED})
_CLAIM = {Stance.ABSENT: Event.ACQUIRE, Stance.FREE: Event.ACQUIRE, Stance.EXPIRED: Event.TAKE_OVER}

Planned = Callable[[Nonce, Mapping[LockName, LockMove]], None]
"""Called with the lease token before the swap that would create the lease is sent."""


@dataclass(frozen=True, slots=True)
class AcquireRequest:
    """What to acquire and how. ``wait_s`` None means the default for the lock's present lease, 0 not to wait.

    ``preempt`` takes a lock from its holder at once; ``cancel_older`` ends older waits of the same workflow.
    """

    names: tuple[LockName, ...]
    holder: Holder
    timing: LeaseTiming
    wait_s: float | None = None
    priority: int = 0
    reason: str = ""
    preempt: bool = False
    cancel_older: bool = False
    queue: QueueTiming = field(default_factory=QueueTiming)


@dataclass(slots=True)
class Acquirer:
    """One attempt to acquire, from the first look to the lease. ``taken`` is the lease, from when it may be ours."""

    remote: Remote
    request: AcquireRequest
    deadline: Deadline
    listener: Listener = no_listener
    planned: Planned | None = None
    inquest: Inquest = field(default_factory=Inquest)
    attempts: int = 0
    taken: Lease | None = None
    _extra: tuple[LockName, ...] = ()
    _started_s: float = 0.0
    _wait: Deadline | None = None
    _place: Place | None = None
    _swapper: Swapper | None = None

    def run(self) -> Lease:
        """Return the lease, or raise NotAcquiredError once the wait is over; a ticket of ours is then taken back."""
        self._started_s = self.remote.system.clock.monotonic()
        request = self.request
        self._place = Place(self.remote, request.names, request.holder, request.priority, request.queue)
        self._swapper = Swapper(self.remote)
        if request.wait_s is not None:
            self._wait = Deadline.after(self.remote.system, request.wait_s).earlier(self.deadline)
        try:
            return poll(self.remote.system, self._attempt, Deadline(self.remote.system.clock))
        except RemoteError as error:
            self._leave(error)
            raise read_failure(error, self.deadline, f"acquiring {', '.join(request.names)}") from error
        except (Exception, *STOPS) as error:
            self._leave(error)
            raise

    def _attempt(self) -> Lease:
        self.attempts += 1
        place = self.place
        read_before = self.remote.store.traffic.reads
        picture = self.remote.look((*self.request.names, *self._extra), self.deadline, stop_at=place.name)
        wait = self._wait_limit(picture)
        verdict = place.verdict(picture)
        if verdict is not None:
            raise superseded_error(self.request.names, verdict)
        # Each stance is judged once: a lease that expires between two judgements must not look like two things.
        stances = {name: self.remote.stance(name, state) for name, state in picture.locks.items()}
        found = [Found(name, picture.locks[name], stances[name]) for name in self.request.names]
        asking = self.inquest.spent_s
        busy = frozenset(
            name for name, stance in stances.items() if stance not in _OPEN and not self._has_ended(name, picture)
        )
        open_locks = [item.name for item in found if item.name not in busy]
        if self._may_claim(picture, open_locks, busy):
            lease = self._claim(found, picture, busy)
            if lease is not None:
                return lease
            if wait.is_over and self.attempts >= _LEAST_TRIES:
                raise self._not_acquired(picture)
            raise NotYet(self.remote.system.entropy.uniform(0.02, 0.2))
        reads = max(1, self.remote.store.traffic.reads - read_before)
        return self._keep_waiting(picture, wait, busy, reads, asked_for_s=self.inquest.spent_s - asking)

    @property
    def place(self) -> Place:
        """My place in the queue."""
        assert self._place is not None
        return self._place

    def _has_ended(self, name: LockName, picture: Picture) -> bool:
        """Tell whether a lock's holder is known to have ended: the lock is then taken in the order of the queue."""
        state = picture.locks[name]
        if name not in self.request.names or state is None:
            return False
        return self.inquest.why(name, state, self.place.index(picture, name)) is not None

    def _wait_limit(self, picture: Picture) -> Deadline:
        if self._wait is None:
            ttls = [
                state.record.ttl_s
                for state in picture.locks.values()
                if state is not None and isinstance(state.record, LockRecord)
            ]
            self._wait = Deadline.after(self.remote.system, default_wait_s(max(ttls, default=None))).earlier(
                self.deadline
            )
        return self._wait

    def _may_claim(self, picture: Picture, open_locks: list[LockName], busy: frozenset[LockName]) -> bool:
        mine = set(self.request.names)
        if busy & mine and self.request.preempt:
            return True
        if not self.place.is_written(picture):
            if len(open_locks) != len(mine):
                return False
            queues = {
                name: contending(in_service_order(picture.queues[name]), busy - {name}) for name in self.request.names
            }
            return newcomer_may_claim(queues, self.place.order(picture))
        return self.place.may_claim(picture, open_locks, busy)

    def _claim(self, found: list[Found], picture: Picture, busy: frozenset[LockName]) -> Lease | None:
        """Send the claim; None when somebody else was faster."""
        server = self.remote.server(self.deadline)  # first: nothing slow may lie between a record and its sending
        sent = self.remote.clock_reading()
        token = self.remote.system.entropy.nonce()
        waited_s = self.remote.system.clock.monotonic() - self._started_s
        moves = self._moves(found, token, waited_s)
        if self.planned is not None:
            self.planned(token, moves)
        kill_from = next((item for item in found if killer(self.remote, item, self.request.holder)), None)
        plan = plan_for_locks(self.remote, list(moves.values()))
        plan = Plan(
            (*plan.edits, *(self.place.deletions(picture) if server.atomic else ())),
            plan.objects,
            plan.moves,
            kill=killer(self.remote, kill_from, self.request.holder) if kill_from is not None else None,
        )
        # Ours from now on, unless shown otherwise: a signal may end this at any point.
        lease = self.taken = self._lease(token, moves, sent, waited_s)
        assert self._swapper is not None
        outcome = self._swapper.carry(plan, self.deadline)
        if not isinstance(outcome, Applied):
            self.taken = None
        if self._swapper.interrupted is not None and not isinstance(outcome, Unknown):
            raise self._swapper.interrupted
        if isinstance(outcome, Applied):
            limit = Deadline.after(self.remote.system, min(WITHDRAW_BUDGET_S, lease.left_s() / 10))
            if not server.atomic:  # the ticket is taken away by itself, now that the claim is certain
                self._remove_own(picture, limit)
            self._remove_dead(picture, busy, limit)
            if not self._stands(lease):  # judged last: this machine may have slept until now
                self.taken = None
                return None
            return lease
        if isinstance(outcome, Superseded):
            return None
        names = ", ".join(self.request.names)
        raise swap_failure(outcome, f"acquiring {names}", inspect_hint(self.request.names))

    def _stands(self, lease: Lease) -> bool:
        """Tell whether a lease just confirmed is still ours; one that came too late is given back, never used.

        A claim that was found by reading back may have expired, or been broken, in the meantime.
        """
        assert self._swapper is not None
        if not self._swapper.was_in_doubt and lease.left_s() > 0:
            return True
        try:
            if lease.left_s() > 0:
                lease.adopt(Deadline.after(self.remote.system, lease.left_s()))
                lease.check()
                return True
        except LeaseLostError:
            pass  # what of it is still ours is given back below
        except RemoteError as error:
            raise swap_failure(Unknown(str(error)), "acquiring", inspect_hint(self.request.names)) from error
        failure = lease.release(Deadline.after(self.remote.system, WITHDRAW_BUDGET_S))
        if failure is not None:
            raise swap_failure(
                Unknown(f"a late lease could not be given back: {failure}"),
                "acquiring",
                inspect_hint(self.request.names),
            ) from failure
        return False

    def _moves(self, found: list[Found], token: Nonce, waited_s: float) -> dict[LockName, LockMove]:
        request = self.request
        what = replace(
            write(self.remote, request.holder, nonce=token, ttl_s=request.timing.ttl_s),
            priority=request.priority,
            reason=request.reason,
            waited_s=waited_s,
        )
        moves = {}
        for item in found:
            event = _CLAIM.get(item.stance, Event.PREEMPT)
            written = what
            if item.stance is Stance.ABSENT:
                written = replace(what, server=self.remote.server(self.deadline))
            elif event is Event.PREEMPT:
                evidence = self.inquest.known(item.name, item.state)
                written = replace(what, reason="; ".join(part for part in (request.reason, evidence) if part))
            moves[item.name] = move(item, event, written)
        return moves

    def _lease(self, token: Nonce, moves: Mapping[LockName, LockMove], sent: ClockReading, waited_s: float) -> Lease:
        return Lease(
            remote=self.remote,
            holder=self.request.holder,
            token=token,
            timing=self.request.timing,
            states={name: item.after.state for name, item in moves.items()},
            sent=sent,
            waited_s=waited_s,
            attempts=self.attempts,
        )

    def give_back(self, error: BaseException) -> None:
        """Release the lease that this attempt took, or may have taken."""
        taken, self.taken = self.taken, None
        if taken is None:
            return
        failure = taken.release(Deadline.after(self.remote.system, WITHDRAW_BUDGET_S))
        if failure is not None:
            error.add_note(f"the lease could not be given back ({failure}); it expires by itself")

    def _remove_own(self, picture: Picture, limit: Deadline) -> None:
        """Remove the tickets that this claim has served, each by itself; one that stays expires."""
        for name in self.request.names:
            entry = self.place.entry(picture, name)
            if entry is not None:
                removed_after_claim(self.remote, name, {entry.name: entry.tip}, limit)

    def _remove_dead(self, picture: Picture, busy: frozenset[LockName], limit: Deadline) -> None:
        """Remove the acquire tickets that this claim has passed: their owners let their windows go by."""
        for lock in self.request.names:
            queue = contending(in_service_order(picture.queues[lock]), busy - {lock})
            place = place_of(queue, self.place.name) if self.place.name is not None else None
            passed: dict[TicketName, Oid] = {
                entry.name: entry.tip
                for entry in queue[: place or 0]
                if entry.ticket is not None and entry.ticket.kind is Kind.ACQUIRE
            }
            removed_after_claim(self.remote, lock, passed, limit)

    def _keep_waiting(
        self, picture: Picture, wait: Deadline, busy: frozenset[LockName], reads: int, *, asked_for_s: float
    ) -> Lease:
        """Write the ticket if it is missing, tell people, and ask for another look; raise when the wait is over."""
        if wait.is_over:
            raise self._not_acquired(picture)
        if not self.place.is_written(picture):
            if self.request.cancel_older:
                supersede_older(self.remote, self.place, picture, wait)
            outcome = self.place.write(picture, wait, wait_s=wait.remaining_s() or 0.0)
            # A ticket of unknown fate is harmless: the next look shows it, or it is written again under its name.
            if isinstance(outcome, Refused | Breached) or (isinstance(outcome, Unknown) and outcome.nothing_sent):
                raise swap_failure(outcome, "writing the ticket", inspect_hint(self.request.names))
        self._extra = other_locks(picture, self.request.names)
        report = self.place.report(picture, self.remote.instants().latest, reads=reads)
        report = replace(report, why=shortfall(self.remote, picture, busy & set(self.request.names), wait))
        self.listener(report)
        # The time spent on asking is part of the pause: a head that looks too late is passed over.
        pause_s = max(_SHORTEST_PACE_S, report.next_look_s - asked_for_s)
        raise NotYet(wait.capped(pause_s) or 0.0)

    def _not_acquired(self, picture: Picture) -> NotAcquiredError:
        report = self.place.report(picture, self.remote.instants().latest)
        waited_s = self.remote.system.clock.monotonic() - self._started_s
        return not_acquired_error(report, picture.locks[report.lock], waited_s, self.attempts)

    def _leave(self, error: BaseException) -> None:
        """Give everything back, whatever ended this; what fails here is attached to the error as a note."""
        self.give_back(error)
        if self._place is None or self._place.name is None:
            return
        try:
            self._place.withdraw(Deadline.after(self.remote.system, WITHDRAW_BUDGET_S))
        except (RemoteError, GitrefLockError) as failure:
            error.add_note(f"the ticket could not be taken back ({failure}); it expires by itself")
