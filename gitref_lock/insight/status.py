"""Who holds what, since when, until when, who waits, and for how long it may take: one read, no write."""

from __future__ import annotations

from collections.abc import Sequence

from gitref_lock.core.expiry import Rule
from gitref_lock.core.history import HistoryLine
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState
from gitref_lock.core.names import LockName, Oid, RefName
from gitref_lock.core.queue import Entry, expected_wait_s, in_service_order
from gitref_lock.core.record import ClockSource, LockRecord, State
from gitref_lock.core.text import JsonObject, instant
from gitref_lock.core.timing import MAX_CLOCK_SKEW_S
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import Picture, Remote


@dataclass(frozen=True, slots=True)
class LockStatus:
    """One lock as read. ``state`` None: it does not exist. Durations in seconds, ``now_at`` a Unix second.

    ``expired`` names the rule by which the lease is over for this observer; ``expected_wait_s`` is what a runner that
    came now would wait, None when no hold is on record. ``kept_alive`` tells, of a lease of this clone that was to be
    kept alive, whether its process still runs; None of any other. ``blocked_by`` is the lock beside which this one, as
    it does not exist, cannot be created: one of the two names is the folder of the other.
    """

    name: LockName
    lock_ref: RefName
    state: LockState | None
    queue: tuple[Entry, ...]
    expired: Rule | None
    expected_wait_s: float | None
    now_at: float
    kept_alive: bool | None = None
    blocked_by: LockName | None = None

    @property
    def record(self) -> LockRecord | None:
        """The readable record, None for a lock that is absent or unreadable."""
        return self.state.record if self.state is not None and isinstance(self.state.record, LockRecord) else None

    @property
    def word(self) -> str:
        """``absent``, ``free``, ``held`` or ``unreadable`` (which counts as held)."""
        if self.state is None:
            return "absent"
        return self.record.state.value if self.record is not None else "unreadable"

    @property
    def held_for_s(self) -> float | None:
        """How long the present lease has been held, None when there is none or nobody knows."""
        record = self.record
        return max(0.0, self.now_at - record.acquired_at) if record is not None and record.acquired_at else None

    @property
    def tip(self) -> Oid | None:
        """The lock's commit."""
        return self.state.tip if self.state is not None else None

    def history(self, count: int) -> tuple[HistoryLine, ...]:
        """Return the newest transitions, newest first."""
        lines = self.state.ring.lines if self.state is not None else ()
        return tuple(reversed(lines))[:count]

    def to_json(self, *, history: int = 0) -> JsonObject:
        """Return the lock as ``inspect --json`` shows it."""
        record = self.record
        holder = record.holder if record is not None else None
        value: JsonObject = {
            "name": self.name,
            "lock_ref": self.lock_ref,
            "lock_oid": self.tip,
            "state": self.word,
            "generation": record.generation if record is not None else None,
            "holder": holder.to_json() if holder is not None else None,
            "priority": record.priority if holder is not None and record is not None else None,
            "reason": record.reason if record is not None else "",
            "acquired_at": _instant(record.acquired_at if record is not None else None),
            "renewed_at": _instant(record.renewed_at if record is not None else None),
            "expires_at": _instant(record.expires_at if record is not None else None),
            "ttl_seconds": record.ttl_s if holder is not None and record is not None else None,
            "clock": record.clock.value if record is not None else None,
            "expired": self.expired is not None,
            "expired_by": self.expired.value if self.expired is not None else None,
            "kept_alive": self.kept_alive,
            "blocked_by": self.blocked_by,
            "queue": [entry_json(entry, place) for place, entry in enumerate(self.queue, 1)],
            "expected_wait_seconds": None if self.expected_wait_s is None else round(self.expected_wait_s, 1),
        }
        if self.state is not None and record is None:
            value["why"] = getattr(self.state.record, "why", "")
        if history:
            value["history"] = [line_json(line) for line in self.history(history)]
        return value


def _instant(second: int | None) -> str | None:
    return instant(second) if second is not None else None


def entry_json(entry: Entry, position: int) -> JsonObject:
    """Return one waiter; what its ticket does not say is null."""
    ticket = entry.ticket
    return {
        "ticket": entry.name.leaf,
        "kind": ticket.kind.value if ticket is not None else None,
        "holder": ticket.holder.to_json() if ticket is not None else None,
        "priority": ticket.priority if ticket is not None else None,
        "enqueued_at": instant(ticket.enqueued_ms / 1000) if ticket is not None else None,
        "expires_at": instant(ticket.expires_at) if ticket is not None else None,
        "position": position,
    }


def line_json(line: HistoryLine) -> JsonObject:
    """Return one transition."""
    return {
        "at": instant(line.at),
        "event": line.event.value,
        "generation": line.generation,
        "holder": line.holder,
        "workflow": line.workflow,
        "held_seconds": line.held_s,
        "waited_seconds": line.waited_s,
        "landed": line.landed,
        "note": line.note,
        "nonce": line.nonce,
    }


def all_locks(remote: Remote, deadline: Deadline) -> tuple[LockName, ...]:
    """Return the names of all locks of the remote, and of those that somebody queues for, sorted."""
    space = remote.namespace
    listing = remote.list([f"{space.locks}/", f"{space.queue}/"], deadline)
    names = {name for ref in listing.refs if (name := space.parse_lock_ref(ref)) is not None}
    names |= {parsed[0] for ref in listing.refs if (parsed := space.parse_ticket_ref(ref)) is not None}
    return tuple(sorted(names))


def collect(remote: Remote, names: Sequence[LockName], deadline: Deadline) -> list[LockStatus]:
    """Return the status of these locks, from one listing and one read of what is new."""
    picture = remote.look(names, deadline, extra=_beside(remote, names))
    return [status_of(remote, picture, name) for name in names]


def _parents(name: LockName) -> list[LockName]:
    """Return the names whose folder this name lies in."""
    parts = name.split("/")
    return [LockName("/".join(parts[:count])) for count in range(1, len(parts))]


def _beside(remote: Remote, names: Sequence[LockName]) -> list[str]:
    """Return the prefixes of the locks that could stand in the way of these."""
    ref = remote.namespace.lock_ref
    return list(dict.fromkeys(item for name in names for item in (f"{ref(name)}/", *map(ref, _parents(name)))))


def _blocking(remote: Remote, picture: Picture, name: LockName) -> LockName | None:
    """Return a lock beside which a lock that does not exist cannot be created."""
    ref = remote.namespace.lock_ref
    parent = next((item for item in _parents(name) if ref(item) in picture.refs), None)
    if parent is not None:
        return parent
    below = next((item for item in sorted(picture.refs) if item.startswith(f"{ref(name)}/")), None)
    return remote.namespace.parse_lock_ref(below) if below is not None else None


def status_of(remote: Remote, picture: Picture, name: LockName) -> LockStatus:
    """Return one lock's status from what was read."""
    state = picture.locks[name]
    queue = in_service_order(picture.queues.get(name, ()))
    now_at = remote.instants().latest
    blocked_by = _blocking(remote, picture, name) if state is None else None
    return LockStatus(
        name=name,
        lock_ref=remote.namespace.lock_ref(name),
        state=state,
        queue=queue,
        expired=_expired(remote, name, state),
        expected_wait_s=_expected(state, len(queue), now_at) if blocked_by is None else None,
        now_at=now_at,
        blocked_by=blocked_by,
    )


def _expired(remote: Remote, name: LockName, state: LockState | None) -> Rule | None:
    """Return the rule by which a lease is over. To show it, one Date is enough; to take it over, two are needed."""
    if state is None:
        return None
    rule = remote.expiry(name, state)
    record = state.record
    if (
        rule is None
        and isinstance(record, LockRecord)
        and record.clock is ClockSource.SERVER
        and record.expires_at is not None
        and remote.clock.is_known
        and remote.clock.is_consistent
        and remote.clock.agree_past(record.expires_at + MAX_CLOCK_SKEW_S, apart_s=0.0)
    ):
        return Rule.SERVER_CLOCK
    return rule


def _expected(state: LockState | None, waiting: int, now_at: float) -> float | None:
    """Return the wait that a runner would have that came now, behind everybody in the queue."""
    if state is None:
        return 0.0 if not waiting else None
    record = state.record
    is_free = isinstance(record, LockRecord) and record.state is State.FREE
    if is_free and not waiting:
        return 0.0
    elapsed = 0.0
    if isinstance(record, LockRecord) and record.acquired_at is not None:
        elapsed = max(0.0, now_at - record.acquired_at)
    return expected_wait_s(waiting, state.ring.holds(), elapsed)
