"""A waiter's place in the queue: writing its ticket, finding it again, taking it back, and telling people about it.

One ticket is one write; while it waits a runner only reads (docs/protocol.md, section 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field

from gitref_lock.core.history import Ring, mean_remaining_s
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState
from gitref_lock.core.names import LockName, Oid, RefName, TicketName
from gitref_lock.core.queue import (
    Entry,
    Window,
    claim_delay_s,
    contending,
    enqueue_instant_ms,
    expected_wait_s,
    in_service_order,
    pace_s,
    place_of,
    rank_ms,
    watch_window,
)
from gitref_lock.core.record import Holder, LockRecord
from gitref_lock.core.refs import Absent, Applied, At, RefEdit, Role, Superseded, SwapOutcome
from gitref_lock.core.text import JsonObject
from gitref_lock.core.ticket import Kind, Ticket, Verdict, VerdictKind, build_ticket
from gitref_lock.core.timing import QueueTiming
from gitref_lock.errors import NotAcquiredError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import swap_failure
from gitref_lock.runtime.lease import describe, inspect_hint
from gitref_lock.runtime.remote import TOOL, Picture, Remote
from gitref_lock.runtime.swapper import Plan, Swapper, carry_or_stop


@dataclass(frozen=True, slots=True)
class WaitReport:
    """What a waiter can tell people after a look: who it waits for, its place, and when it looks again.

    ``expected_s`` is None when the lock's history knows no hold; durations in seconds, ``place`` counts from 1.
    """

    lock: LockName
    holder: Holder | None
    generation: int
    held_for_s: float | None
    place: int
    waiting: int
    expected_s: float | None
    samples: int
    next_look_s: float
    why: str = ""


Listener = Callable[[WaitReport], None]


def no_listener(_: WaitReport) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Place:
    """One waiter's ticket for ``locks`` under one name; ``name`` None until it is written."""

    remote: Remote
    locks: tuple[LockName, ...]
    holder: Holder
    priority: int
    timing: QueueTiming
    name: TicketName | None = None
    ticket: Ticket | None = None
    windows: dict[LockName, Window] = field(default_factory=dict)

    def order(self, picture: Picture) -> tuple[int, str]:
        """Return the order that a ticket written now would have; its nonce sorts behind all others."""
        return (rank_ms(self.enqueue_ms(picture), self.priority, self.timing.head_start_s), "~")

    def enqueue_ms(self, picture: Picture) -> int:
        """Return when a ticket written now counts as written, in Unix milliseconds."""
        newest = 0
        for state in picture.locks.values():
            if state is not None:
                newest = max(newest, state.ring.newest_at * 1000)
        for queue in picture.queues.values():
            newest = max([newest, *(entry.ticket.enqueued_ms for entry in queue if entry.ticket is not None)])
        own_ms = int(self.remote.system.clock.wall() * 1000)
        clock = self.remote.clock
        known = self.remote.store.is_server_clocked and clock.is_known
        date_ms = int(clock.earliest(self.remote.system.clock.monotonic()) * 1000) if known else None
        return enqueue_instant_ms(own_ms, date_ms, newest)

    def write(self, picture: Picture, wait_until: Deadline, *, wait_s: float) -> SwapOutcome:
        """Write the ticket for all locks in one swap; a ticket that was removed is written again under its name."""
        if self.ticket is None or self.name is None:
            nonce = self.remote.system.entropy.nonce()
            enqueued_ms = self.enqueue_ms(picture)
            self.name = TicketName(rank_ms(enqueued_ms, self.priority, self.timing.head_start_s), nonce)
            self.ticket = Ticket(
                kind=Kind.ACQUIRE,
                locks=self.locks,
                nonce=nonce,
                holder=self.holder,
                priority=self.priority,
                enqueued_ms=enqueued_ms,
                expires_at=math.ceil(self.remote.ticket_instants().latest + wait_s),
                tool=TOOL,
            )
        objects = build_ticket(self.ticket, at_s=self.remote.instants().now_at, skips_ci=self.remote.skips_ci)
        missing = [name for name in self.locks if self.entry(picture, name) is None]
        edits = tuple(RefEdit(self._ref(name), Absent(), objects[0].oid, Role.TICKET) for name in missing)
        return carry_or_stop(self.remote, Plan(edits, tuple(objects)), wait_until)

    def _ref(self, lock: LockName) -> RefName:
        assert self.name is not None
        return self.remote.namespace.ticket_ref(lock, self.name)

    def entry(self, picture: Picture, lock: LockName) -> Entry | None:
        """Return my ticket in one lock's queue as listed."""
        return next((entry for entry in picture.queues.get(lock, ()) if entry.name == self.name), None)

    def index(self, picture: Picture, lock: LockName) -> int:
        """Return my place in one lock's queue, 0 for the head; without a ticket the place behind all others."""
        queue = in_service_order(picture.queues.get(lock, ()))
        place = place_of(queue, self.name) if self.name is not None else None
        return len(queue) if place is None else place

    def is_written(self, picture: Picture) -> bool:
        """Tell whether my ticket stands in the queue of every lock."""
        return self.name is not None and all(self.entry(picture, lock) is not None for lock in self.locks)

    def verdict(self, picture: Picture) -> Verdict | None:
        """Return how my ticket ended, None while it waits."""
        for lock in self.locks:
            entry = self.entry(picture, lock)
            if entry is not None and entry.ticket is not None and entry.ticket.verdict is not None:
                return entry.ticket.verdict
        return None

    def deletions(self, picture: Picture) -> tuple[RefEdit, ...]:
        """Return the edits that remove my tickets, each at the tip just read."""
        entries = [(lock, self.entry(picture, lock)) for lock in self.locks]
        return tuple(
            RefEdit(self._ref(lock), At(entry.tip), None, Role.TICKET) for lock, entry in entries if entry is not None
        )

    def withdraw(self, deadline: Deadline) -> None:
        """Take my tickets out of the queue, at tips just read; one that is gone already is fine."""
        if self.name is None:
            return
        picture = self.remote.look(self.locks, deadline)
        edits = self.deletions(picture)
        if edits:
            outcome = Swapper(self.remote).carry(Plan(edits, ()), deadline)
            if not isinstance(outcome, Applied | Superseded):
                raise swap_failure(outcome, "taking the ticket back", inspect_hint(self.locks))

    def may_claim(self, picture: Picture, open_locks: Sequence[LockName], busy: frozenset[LockName]) -> bool:
        """Tell whether my place allows a claim now: in every lock, open under the same head for long enough."""
        allowed = len(open_locks) == len(self.locks)
        for lock in self.locks:
            queue = contending(in_service_order(picture.queues.get(lock, ())), busy - {lock})
            head = queue[0].name if queue else None
            window = watch_window(self.windows.get(lock), head, picture.read_s, is_open=lock in open_locks)
            if window is None:
                self.windows.pop(lock, None)
                allowed = False
                continue
            self.windows[lock] = window
            place = place_of(queue, self.name) if self.name is not None else None
            if place is None or picture.read_s - window.since_s < claim_delay_s(place, Kind.ACQUIRE, self.timing):
                allowed = False
        return allowed

    def report(self, picture: Picture, now_at: float, *, reads: int = 1) -> WaitReport:
        """Return what to tell people, and the pace to the next look.

        ``reads`` is how many requests this look took: the budget is one of requests, and a look that finds the lock
        moved takes two.
        """
        lock = self._slowest(picture)
        state = picture.locks.get(lock)
        record = state.record if state is not None and isinstance(state.record, LockRecord) else None
        ring = state.ring if state is not None else Ring()
        queue = in_service_order(picture.queues.get(lock, ()))
        at = self.index(picture, lock)
        elapsed = max(0.0, now_at - record.acquired_at) if record is not None and record.acquired_at else None
        holds = ring.holds()
        remaining = mean_remaining_s(holds, elapsed) if elapsed is not None else 0.0
        approach_s = remaining + (at - 3) * sum(holds) / len(holds) if holds else math.inf
        jitter = self.remote.system.entropy.uniform(0.7, 1.3)
        return WaitReport(
            lock=lock,
            holder=record.holder if record is not None else None,
            generation=record.generation if record is not None else 0,
            held_for_s=elapsed,
            place=at + 1,
            waiting=len(queue),
            expected_s=expected_wait_s(at, holds, elapsed or 0.0),
            samples=len(holds),
            next_look_s=pace_s(at, len(queue) * reads, remaining, jitter, self.timing, approach_s),
        )

    def _slowest(self, picture: Picture) -> LockName:
        """Return the lock that is waited for: a held one before a free one, then the one with most tickets ahead."""

        def weight(lock: LockName) -> tuple[bool, int]:
            state = picture.locks.get(lock)
            record = state.record if state is not None else None
            is_held = record is not None and not (isinstance(record, LockRecord) and record.holder is None)
            return (is_held, len(picture.queues.get(lock, ())))

        return max(self.locks, key=weight)


def other_locks(picture: Picture, known: Sequence[LockName]) -> tuple[LockName, ...]:
    """Return the locks that tickets in these queues wait for besides the known ones."""
    named = {
        name
        for queue in picture.queues.values()
        for entry in queue
        if entry.ticket is not None and entry.is_live
        for name in entry.ticket.locks
    }
    return tuple(sorted(named - set(known)))


def supersede_older(remote: Remote, place: Place, picture: Picture, deadline: Deadline) -> int:
    """End the older waiting acquire tickets of the same workflow and locks; return how many were ended."""
    workflow = place.holder.workflow
    count = 0
    for lock in place.locks:
        for entry in picture.queues.get(lock, ()):
            ticket = entry.ticket
            if (
                ticket is None
                or ticket.verdict is not None
                or ticket.kind is not Kind.ACQUIRE
                or entry.name == place.name
            ):
                continue
            if not workflow or ticket.holder.workflow != workflow or set(ticket.locks) != set(place.locks):
                continue
            count += _supersede(remote, place.holder, lock, entry, ticket, deadline)
    return count


def _supersede(remote: Remote, by: Holder, lock: LockName, entry: Entry, ticket: Ticket, deadline: Deadline) -> int:
    verdict = Verdict(VerdictKind.SUPERSEDED, by=by.label, why=f"a newer run of {by.workflow} waits instead")
    objects = build_ticket(ticket.with_verdict(verdict), at_s=remote.instants().now_at, skips_ci=remote.skips_ci)
    edit = RefEdit(remote.namespace.ticket_ref(lock, entry.name), At(entry.tip), objects[0].oid, Role.TICKET)
    outcome = carry_or_stop(remote, Plan((edit,), tuple(objects)), deadline)
    return 1 if isinstance(outcome, Applied) else 0


def shortfall(remote: Remote, picture: Picture, busy: Collection[LockName], wait: Deadline) -> str:
    """Say when this wait cannot outlive the present lease of one of the busy locks; '' when it can."""
    left_s = wait.remaining_s()
    for name in sorted(busy):
        state = picture.locks[name]
        if state is not None and left_s is not None:
            rest_s = remote.remaining_s(name, state)
            if rest_s > left_s:
                return f"this wait ends {rest_s - left_s:.0f} s before the present lease can be taken over"
    return ""


def not_acquired_error(report: WaitReport, state: LockState | None, waited_s: float, attempts: int) -> NotAcquiredError:
    """Return the error of a wait that is over: who holds the lock, and how to end a dead holder's lease."""
    fields: JsonObject = {
        "lock": report.lock,
        "state": describe(state),
        "waited_seconds": round(waited_s, 3),
        "attempts": attempts,
        "place": report.place,
    }
    if report.holder is not None:
        fields["holder"] = report.holder.to_json()
    tip = f" --expect {state.tip}" if state is not None else ""
    return NotAcquiredError(
        f"{report.lock} was not acquired: it is {describe(state)}",
        hint=f"to end a dead holder's lease now: gitref-lock break {report.lock}{tip} --reason WHY",
        fields=fields,
    )


def superseded_error(locks: Sequence[LockName], verdict: Verdict) -> NotAcquiredError:
    """Return the error of a waiter whose ticket was ended by somebody else."""
    return NotAcquiredError(
        f"the wait for {', '.join(locks)} was ended: {verdict.why or verdict.kind.value}",
        code="superseded",
        fields={"locks": list(locks), "by": verdict.by, "verdict": verdict.kind.value},
    )


def removed_after_claim(remote: Remote, lock: LockName, passed: Mapping[TicketName, Oid], deadline: Deadline) -> None:
    """Remove dead tickets that a claim has passed, each by one sending and at the tip just read.

    Nothing is tried twice or looked up: the lease is running meanwhile, and what stays is removed by the next claim.
    The worst that a wrong removal does is that a live waiter writes its ticket again.
    """
    for name, tip in passed.items():
        if deadline.is_over:
            return
        edit = RefEdit(remote.namespace.ticket_ref(lock, name), At(tip), None, Role.TICKET)
        remote.store.swap((edit,), (), timeout_s=deadline.remaining_s())
