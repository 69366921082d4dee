"""Every lock's history is a path through the table of transitions (docs/protocol.md, section 3).

Each state has a nonce that no state had before, carries the ring of the state it replaced, and names in its last line
what moved it.
"""

from __future__ import annotations

from gitref_lock.core.machine import LockState
from gitref_lock.core.record import Event, LockRecord, State
from gitref_lock.testing.sim_history import MIRROR, Applied, History

ABSENT, FREE, HELD = "absent", State.FREE.value, State.HELD.value

STEPS: dict[tuple[str, Event], tuple[str, int | None]] = {
    (ABSENT, Event.CREATE): (FREE, None),
    (ABSENT, Event.ACQUIRE): (HELD, None),
    (FREE, Event.ACQUIRE): (HELD, 1),
    (FREE, Event.LAND): (FREE, 1),
    (FREE, Event.ABANDON): (FREE, 0),
    (FREE, Event.BREACH): (FREE, 0),
    (FREE, Event.PRUNE): (FREE, 0),
    (HELD, Event.RENEW): (HELD, 0),
    (HELD, Event.RELEASE): (FREE, 0),
    (HELD, Event.ABANDON): (FREE, 0),
    (HELD, Event.LAND): (FREE, 0),
    (HELD, Event.LAND_KEEP): (HELD, 0),
    (HELD, Event.TAKE_OVER): (HELD, 1),
    (HELD, Event.LAND_EXPIRED): (FREE, 1),
    (HELD, Event.REAP): (FREE, 1),
    (HELD, Event.BREAK): (FREE, 1),
    (HELD, Event.PREEMPT): (HELD, 1),
    (HELD, Event.EMERGENCY): (FREE, 1),
}
"""What a state and an event lead to, and by how much the generation rises; written down a second time on purpose."""

_BY_OWNER = frozenset({Event.RENEW, Event.RELEASE, Event.ABANDON, Event.LAND, Event.LAND_KEEP})


def violations(history: History) -> list[str]:
    """Return every step that the table does not know."""
    found = []
    for name, ref in history.locks():
        nonces: set[str] = set()
        for event, move in history.moves(ref):
            if event.kind == MIRROR:
                break  # old states return, and so may late copies of what once moved them
            before = history.state(name, move.before) if move.before is not None else None
            after = history.state(name, move.after) if move.after is not None else None
            why = _fault(event, before, after, nonces)
            if why:
                found.append(f"{name} at {event.at_s:.3f} s by {event.actor}: {why}")
    return found


def _fault(event: Applied, before: LockState | None, after: LockState | None, nonces: set[str]) -> str:
    old = before.record if before is not None else None
    if after is None:
        is_pruned = isinstance(old, LockRecord) and old.event is Event.PRUNE
        return "" if is_pruned else "the lock was deleted without being pruned"
    new = after.record
    if not isinstance(new, LockRecord):
        return f"the new state cannot be read: {new.why}"
    if new.nonce in nonces:
        return f"nonce {new.nonce} came a second time"
    nonces.add(new.nonce)
    why = _step_fault(event, old if isinstance(old, LockRecord) else None, new)
    return why or _ring_fault(before, after, new)


def _step_fault(event: Applied, old: LockRecord | None, new: LockRecord) -> str:
    before = ABSENT if old is None else old.state.value
    if (before, new.event) not in STEPS:
        return f"{new.event.value} is no transition from {before}"
    to, rise = STEPS[before, new.event]
    if new.state.value != to:
        return f"{new.event.value} led to {new.state.value}"
    if old is None:
        return ""
    if rise is not None and new.generation != old.generation + rise:
        return f"{new.event.value} went from generation {old.generation} to {new.generation}"
    if old.state is State.HELD and new.event in _BY_OWNER:
        if old.holder is None or old.holder.host != event.actor:
            return f"{new.event.value} of a lease that is not {event.actor}'s"
        if new.state is State.HELD and new.lease != old.lease:
            return f"{new.event.value} changed the lease token"
    return ""


def _ring_fault(before: LockState | None, after: LockState, new: LockRecord) -> str:
    lines = after.ring.lines
    if not lines or lines[-1].nonce != new.nonce or lines[-1].event is not new.event:
        return "the last line of the history is not this transition"
    known = {line.nonce for line in before.ring.lines} if before is not None else set()
    if any(line.nonce not in known for line in lines[:-1]):
        return "the history holds lines that the state before did not have"
    return ""
