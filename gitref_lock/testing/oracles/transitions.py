"""Every lock's history is a path through the table of transitions (docs/protocol.md, section 3).

Each state has a nonce that no state had before, carries the ring of the state it replaced, and names in its last line
what moved it.
"""

from __future__ import annotations

from gitref_lock.core.machine import TRANSITIONS, GenerationRule, LockState, Stance, Target
from gitref_lock.core.record import Event, LockRecord, State
from gitref_lock.testing.sim_history import MIRROR, Applied, History

_HELD = (Stance.MINE, Stance.MINE_LATE, Stance.EXPIRED, Stance.OTHER)
_BY_OWNER = frozenset({Event.RENEW, Event.RELEASE, Event.ABANDON, Event.LAND, Event.LAND_KEEP})


def violations(history: History) -> list[str]:
    """Return every step that the table does not know."""
    found = []
    for name, ref in history.locks():
        nonces: set[str] = set()
        for event, move in history.moves(ref):
            if event.kind == MIRROR:
                continue
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
    if old is None:
        stances: tuple[Stance, ...] = (Stance.ABSENT,)
    else:
        stances = (Stance.FREE,) if old.state is State.FREE else _HELD
    rules = [TRANSITIONS[stance, new.event] for stance in stances if (stance, new.event) in TRANSITIONS]
    if not rules:
        return f"{new.event.value} is no transition from {old.state.value if old is not None else 'absent'}"
    rule = rules[0]
    if (rule.to is Target.HELD) is not (new.state is State.HELD):
        return f"{new.event.value} led to {new.state.value}"
    if old is not None:
        rise = {GenerationRule.SAME: 0, GenerationRule.NEXT: 1}.get(rule.generation)
        if rise is not None and new.generation != old.generation + rise:
            return f"{new.event.value} went from generation {old.generation} to {new.generation}"
        if old.state is State.HELD and new.event in _BY_OWNER:
            if old.holder is None or old.holder.id != event.actor:
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
