"""Which leases are mine: from a token that was given, or from the lease files of this clone.

A lease from a file needs no request before it is renewed or released; one that is known by its token alone is read
from the remote first (docs/protocol.md, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from gitref_lock.core.clocks import ClockReading
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState, Stance
from gitref_lock.core.names import LockName, Nonce
from gitref_lock.core.record import ClockSource, Holder, LockRecord, State
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import GitrefLockError, HeldByAnotherError, NotHeldError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease, describe, inspect_hint
from gitref_lock.runtime.leasefile import StoredLease
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.session import Session


@dataclass(slots=True)
class Mine:
    """What of the asked locks is mine. ``others`` are those that are not, as just read."""

    leases: list[Lease] = field(default_factory=list)
    others: dict[LockName, LockState | None] = field(default_factory=dict)


def stored_leases(session: Session, names: Sequence[LockName], token: Nonce | None) -> list[StoredLease]:
    """Return this clone's stored leases of these locks that this job may end; with a token only those of it."""
    found = [session.memory.read(session.key, name) for name in names]
    return [
        lease
        for lease in found
        if lease is not None and (lease.token == token if token is not None else session.writer.may_end(lease.writer))
    ]


def revive(remote: Remote, stored: Sequence[StoredLease], holder: Holder) -> Lease:
    """Return the lease that these files (all of one token) describe; no request is made."""
    now, boot_id = remote.clock_reading(), remote.system.clock.boot_id()
    for lease in stored:
        remote.recall(lease.state, lease.clock_by(now, boot_id))
    first = stored[0]
    sent = [lease.sent_by(now, boot_id) for lease in stored]
    return Lease(
        remote=remote,
        holder=holder,
        token=first.token,
        timing=first.timing,
        states={lease.lock: lease.state for lease in stored},
        sent=min(sent, key=lambda reading: reading.wall_s),
        reused=True,
    )


def find_mine(
    session: Session, names: Sequence[LockName], token: Nonce | None, holder: Holder, deadline: Deadline
) -> Mine:
    """Return my leases on ``names``: from files without a request, else by ``token`` from the locks as they are."""
    mine = Mine()
    by_token: dict[Nonce, list[StoredLease]] = {}
    for stored in stored_leases(session, names, token):
        by_token.setdefault(stored.token, []).append(stored)
    mine.leases = [revive(session.remote, group, holder) for group in by_token.values()]
    known = {name for lease in mine.leases for name in lease.names}
    rest = [name for name in names if name not in known]
    if rest:
        picture = session.remote.look(rest, deadline, with_queue=False)
        held: dict[LockName, LockState] = {}
        for name in rest:
            state = picture.locks[name]
            if state is not None and session.remote.stance(name, state, token) is Stance.MINE:
                held[name] = state
            else:
                mine.others[name] = state
        if held and token is not None:
            mine.leases.append(from_records(session.remote, held, token, holder))
    return mine


def from_records(remote: Remote, states: dict[LockName, LockState], token: Nonce, holder: Holder) -> Lease:
    """Return the lease that these states show; its age is what the records' own clock tells."""
    now, instants = remote.clock_reading(), remote.instants()
    records = [state.record for state in states.values() if isinstance(state.record, LockRecord)]
    ages = []
    for record in records:
        same_clock = record.clock is instants.source or record.clock is ClockSource.LOCAL
        latest = instants.latest if same_clock else now.wall_s
        ages.append(max(0.0, latest - (record.renewed_at or 0)))
    age = max(ages)
    return Lease(
        remote=remote,
        holder=holder,
        token=token,
        timing=LeaseTiming.for_ttl(min(record.ttl_s for record in records)),
        states=states,
        sent=ClockReading(now.monotonic_s - age, now.boottime_s - age, now.wall_s - age),
        reused=True,
    )


def stored_of(session: Session, lease: Lease) -> list[StoredLease]:
    """Return what the lease files should say of this lease."""
    return [stored(session, name, lease.token, lease.timing, lease.states[name], lease.sent) for name in lease.names]


def stored(
    session: Session, name: LockName, token: Nonce, timing: LeaseTiming, state: LockState, sent: ClockReading
) -> StoredLease:
    """Return one lock's lease file, written by this job now."""
    return StoredLease(
        remote=session.key,
        lock=name,
        token=token,
        writer=session.writer,
        timing=timing,
        state=state,
        boot_id=session.remote.system.clock.boot_id(),
        sent=sent,
        clock=session.remote.clock,
    )


def not_mine(name: LockName, state: LockState | None, what: str) -> GitrefLockError:
    """Return the error for a lock that is not mine: held by another, or held by nobody."""
    is_free = state is None or (isinstance(state.record, LockRecord) and state.record.state is State.FREE)
    fields: dict[str, object] = {"lock": name, "state": describe(state)}
    if is_free:
        return NotHeldError(
            f"{name} cannot be {what}: it is {describe(state) if state is not None else 'free; it never was taken'}",
            hint=inspect_hint([name]),
            fields=fields,
        )
    if state is not None and isinstance(state.record, LockRecord) and state.record.holder is not None:
        fields["holder"] = state.record.holder.to_json()
    return HeldByAnotherError(
        f"{name} cannot be {what} by this job: it is {describe(state)}, and no lease of ours is on it",
        hint="give the lease that 'acquire' printed: --lease TOKEN",
        fields=fields,
    )
