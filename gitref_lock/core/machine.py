"""All transitions of a lock, as data. Command line, library and simulator move locks through ``step`` and nothing else.

A pair of stance and event that is not in ``TRANSITIONS`` raises IllegalTransitionError, here and only here. The diagram
in the documentation is drawn from the same table (docs/protocol.md, section 3).
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, StrEnum

from gitref_lock.core.history import HistoryLine, Ring
from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import LockName, Nonce, Oid
from gitref_lock.core.objects import GitObject, build_state_commit
from gitref_lock.core.record import AnyRecord, ClockSource, Event, Holder, LockRecord, ServerInfo, State
from gitref_lock.core.text import clip, instant

LOCK_FILE = "lock.json"
HISTORY_FILE = "history.jsonl"


class Stance(StrEnum):
    """What a lock is to the one who looks at it."""

    ABSENT = "absent"
    FREE = "free"
    MINE = "mine"
    MINE_LATE = "mine, past my deadline"
    EXPIRED = "expired"
    OTHER = "held by another"


class Target(Enum):
    """What a transition leads to."""

    FREE = "free"
    HELD = "held"
    ABSENT = "absent"


class GenerationRule(Enum):
    """How a transition sets the generation: the fencing token rises with every change of holder, and never falls."""

    SAME = "same"
    NEXT = "+1"
    SECOND = "Unix second"


@dataclass(frozen=True, slots=True)
class Transition:
    """The result of one legal pair."""

    to: Target
    generation: GenerationRule


_SAME, _NEXT, _SECOND = GenerationRule.SAME, GenerationRule.NEXT, GenerationRule.SECOND

TRANSITIONS: dict[tuple[Stance, Event], Transition] = {
    (Stance.ABSENT, Event.CREATE): Transition(Target.FREE, _SECOND),
    (Stance.ABSENT, Event.ACQUIRE): Transition(Target.HELD, _SECOND),
    (Stance.FREE, Event.ACQUIRE): Transition(Target.HELD, _NEXT),
    (Stance.FREE, Event.LAND): Transition(Target.FREE, _NEXT),
    (Stance.FREE, Event.ABANDON): Transition(Target.FREE, _SAME),
    (Stance.FREE, Event.BREACH): Transition(Target.FREE, _SAME),
    (Stance.FREE, Event.PRUNE): Transition(Target.FREE, _SAME),
    (Stance.MINE, Event.RENEW): Transition(Target.HELD, _SAME),
    (Stance.MINE, Event.RELEASE): Transition(Target.FREE, _SAME),
    (Stance.MINE, Event.ABANDON): Transition(Target.FREE, _SAME),
    (Stance.MINE, Event.LAND): Transition(Target.FREE, _SAME),
    (Stance.MINE, Event.LAND_KEEP): Transition(Target.HELD, _SAME),
    (Stance.MINE_LATE, Event.RELEASE): Transition(Target.FREE, _SAME),
    (Stance.MINE_LATE, Event.ABANDON): Transition(Target.FREE, _SAME),
    (Stance.MINE_LATE, Event.LAND): Transition(Target.FREE, _SAME),
    (Stance.EXPIRED, Event.TAKE_OVER): Transition(Target.HELD, _NEXT),
    (Stance.EXPIRED, Event.LAND_EXPIRED): Transition(Target.FREE, _NEXT),
    (Stance.EXPIRED, Event.REAP): Transition(Target.FREE, _NEXT),
    (Stance.OTHER, Event.BREAK): Transition(Target.FREE, _NEXT),
    (Stance.OTHER, Event.PREEMPT): Transition(Target.HELD, _NEXT),
    (Stance.OTHER, Event.EMERGENCY): Transition(Target.FREE, _NEXT),
}
"""Every legal transition. The one deletion, of a lock just pruned to a fresh free state, leads to no state."""

_KEEPS_THE_LEASE = frozenset({Event.RENEW, Event.LAND_KEEP})


class IllegalTransitionError(RuntimeError):
    """A transition that the protocol does not know: a bug of the caller, never the remote's doing."""

    def __init__(self, stance: Stance, event: Event) -> None:
        """Name both."""
        super().__init__(f"no transition for a lock that is {stance.value} on {event.value}")
        self.stance = stance
        self.event = event


@dataclass(frozen=True, slots=True)
class LockState:
    """One state of a lock as found at, or meant for, its ref; ``tip`` is its commit."""

    tip: Oid
    record: AnyRecord
    ring: Ring


@dataclass(frozen=True, slots=True)
class NextState:
    """A state ready to be sent: ``objects`` are its commit, tree and blobs, commit first."""

    state: LockState
    objects: tuple[GitObject, ...]

    @property
    def record(self) -> LockRecord:
        """The new record; what this tool writes is always readable."""
        assert isinstance(self.state.record, LockRecord)
        return self.state.record

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the state's tree, as a reader will find them."""
        return {LOCK_FILE: self.objects[2].data, HISTORY_FILE: self.objects[3].data}


@dataclass(frozen=True, slots=True)
class Write:
    """What the writer brings to a transition. Instants are Unix seconds of ``clock``.

    ``now_at`` is the earliest that ``clock`` can show; ``expires_at`` counts the ttl from the latest, and is needed for
    transitions to held only. ``lease`` is the token to keep; None makes ``nonce`` the token (a new lease).
    """

    nonce: Nonce
    now_at: int
    clock: ClockSource
    holder: Holder
    tool: str = ""
    expires_at: int | None = None
    ttl_s: float = 0.0
    priority: int = 0
    reason: str = ""
    waited_s: float = 0.0
    landed: int = 0
    server: ServerInfo | None = None
    skips_ci: bool = False


def step(lock: LockName, before: LockState | None, stance: Stance, event: Event, write: Write) -> NextState:
    """Return the state that ``event`` makes of ``before``.

    Raises IllegalTransitionError for an unknown pair, and for a stance that ``before`` cannot have: a free lock is
    never broken, a held one never acquired, an unreadable one never mine.
    """
    rule = TRANSITIONS.get((stance, event))
    if rule is None or not _fits(stance, before):
        raise IllegalTransitionError(stance, event)
    write = replace(write, holder=write.holder.clipped())
    old = before.record if before is not None and isinstance(before.record, LockRecord) else None
    generation = _generation(rule.generation, before, write.now_at)
    held_s = _held_s(event, old, write.now_at)
    record = _record(lock, rule, event, generation, old, write)
    line = HistoryLine(
        event=event,
        generation=generation,
        nonce=write.nonce,
        at=write.now_at,
        holder=write.holder.label,
        workflow=write.holder.workflow,
        held_s=held_s,
        waited_s=write.waited_s if write.waited_s > 0 else None,
        landed=write.landed,
        note=_note(event, old, write),
    )
    ring = (before.ring if before is not None else Ring()).append(line)
    objects = build_state_commit(
        {LOCK_FILE: record.encode(), HISTORY_FILE: ring.encode()},
        author_name=write.holder.label,
        at_s=write.now_at,
        message=_subject(record, line, write),
    )
    return NextState(LockState(objects[0].oid, record, ring), objects)


def _fits(stance: Stance, before: LockState | None) -> bool:
    if before is None:
        return stance is Stance.ABSENT
    if not isinstance(before.record, LockRecord):
        return stance in {Stance.EXPIRED, Stance.OTHER}
    return stance is not Stance.ABSENT and (stance is Stance.FREE) is (before.record.state is State.FREE)


def _generation(rule: GenerationRule, before: LockState | None, now_at: int) -> int:
    if before is None or rule is GenerationRule.SECOND:
        return max(now_at, 1)
    if not isinstance(before.record, LockRecord):
        return max(now_at, before.ring.last_generation + 1)
    return before.record.generation + (1 if rule is GenerationRule.NEXT else 0)


def _held_s(event: Event, old: LockRecord | None, now_at: int) -> float | None:
    """Return how long the lease that ends here was held; a renewal ends none, and would count as a hold of its own."""
    if event in _KEEPS_THE_LEASE or old is None or old.acquired_at is None:
        return None
    return float(max(0, now_at - old.acquired_at))


def _record(
    lock: LockName, rule: Transition, event: Event, generation: int, old: LockRecord | None, write: Write
) -> LockRecord:
    server = write.server or (old.server if old is not None else None)
    extra = old.extra if old is not None else {}
    if rule.to is Target.FREE:
        return LockRecord(
            lock=lock,
            state=State.FREE,
            generation=generation,
            nonce=write.nonce,
            event=event,
            clock=write.clock,
            tool=write.tool,
            server=server,
            extra=extra,
        )
    kept = old if event in _KEEPS_THE_LEASE else None
    return LockRecord(
        lock=lock,
        state=State.HELD,
        generation=generation,
        nonce=write.nonce,
        event=event,
        lease=kept.lease if kept is not None else write.nonce,
        holder=kept.holder if kept is not None else write.holder,
        priority=kept.priority if kept is not None else write.priority,
        reason=kept.reason if kept is not None else clip(write.reason, 160),
        ttl_s=write.ttl_s,
        acquired_at=kept.acquired_at if kept is not None else write.now_at,
        renewed_at=write.now_at,
        expires_at=write.expires_at,
        clock=write.clock,
        waited_s=kept.waited_s if kept is not None else write.waited_s,
        tool=write.tool,
        server=server,
        extra=extra,
    )


def _note(event: Event, old: LockRecord | None, write: Write) -> str:
    whose = f"was {old.holder.label}'s" if old is not None and old.holder is not None else ""
    if event in {Event.BREAK, Event.PREEMPT, Event.EMERGENCY, Event.TAKE_OVER, Event.REAP, Event.LAND_EXPIRED}:
        return "; ".join(part for part in (whose, write.reason) if part)
    return write.reason if event in {Event.ACQUIRE, Event.BREACH} else ""


_DONE_BY = {
    Event.CREATE: "created by",
    Event.RELEASE: "released by",
    Event.ABANDON: "abandoned by",
    Event.REAP: "expired lease reaped by",
    Event.BREAK: "broken by",
    Event.EMERGENCY: "emergency landing by",
    Event.BREACH: "breach corrected by",
    Event.PRUNE: "about to be pruned by",
}


def _subject(record: LockRecord, line: HistoryLine, write: Write) -> str:
    """Return a sentence for people who read the lock with plain git."""
    workflow = f" ({write.holder.workflow})" if write.holder.workflow else ""
    who = f"{write.holder.label}{workflow}"
    if record.holder is not None:
        verb = {Event.RENEW: "renewed", Event.LAND_KEEP: "landed and kept"}.get(line.event, "held")
        text = f"{verb} by {who} until {instant(record.expires_at or 0)}"
    elif line.event in {Event.LAND, Event.LAND_EXPIRED}:
        text = f"free, {line.landed} {'change' if line.landed == 1 else 'changes'} landed by {who}"
    else:
        text = f"free, {_DONE_BY[line.event]} {who}"
        if line.held_s is not None:
            text += f" after {line.held_s:g} s"
    note = f": {line.note}" if line.note else ""
    suffix = " [skip ci]" if write.skips_ci else ""
    return clip(f"{record.lock}: {text}, generation {record.generation}{note}", 400) + suffix
