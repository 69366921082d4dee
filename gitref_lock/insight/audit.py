"""Whether a lock's history could have happened: every recorded transition checked against the machine's own table.

The ring is written by whoever holds the lock, so a history that breaks the rules shows a bug, a foreign writer or a
rewound lock. It proves nothing about what the ring has already dropped (docs/protocol.md, sections 1 and 3).
"""

from __future__ import annotations

from collections.abc import Sequence

from gitref_lock.core.history import HistoryLine
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import TRANSITIONS, GenerationRule, LockState, Stance, Target
from gitref_lock.core.record import LockRecord

_STANCES = {
    Target.ABSENT: frozenset({Stance.ABSENT}),
    Target.FREE: frozenset({Stance.FREE}),
    Target.HELD: frozenset({Stance.MINE, Stance.MINE_LATE, Stance.EXPIRED, Stance.OTHER}),
}
_LEADS_TO = {event: rule.to for (_, event), rule in TRANSITIONS.items()}
_FROM_UNREADABLE = frozenset(event for (stance, event) in TRANSITIONS if stance in {Stance.EXPIRED, Stance.OTHER})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the protocol does not allow. ``index`` counts the ring's lines from 0, oldest first."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Audit:
    """The verdict on one history: how many transitions were checked, and what was found."""

    checked: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def audit(state: LockState) -> Audit:
    """Check a lock's whole ring, and that its last line is the state that carries it."""
    lines = state.ring.lines
    findings: list[Finding] = []
    if state.ring.unreadable_lines:
        findings.append(Finding(0, f"{state.ring.unreadable_lines} lines are no transitions"))
    if not lines:
        findings.append(Finding(0, "the history is empty; every state carries at least its own line"))
    findings += _repeated(lines)
    for index in range(1, len(lines)):
        text = fault(lines[index - 1], lines[index])
        if text is not None:
            findings.append(Finding(index, text))
    findings += _last(state, lines)
    return Audit(max(0, len(lines) - 1), tuple(findings))


def fault(before: HistoryLine, after: HistoryLine) -> str | None:
    """Return why ``after`` cannot follow ``before``, None when the table allows it."""
    stances = _STANCES[_LEADS_TO[before.event]]
    rules = {TRANSITIONS[pair].generation for pair in TRANSITIONS if pair[0] in stances and pair[1] is after.event}
    names = f"{after.event.value} (generation {after.generation}) after {before.event.value} ({before.generation})"
    if not rules:
        return f"{names}: no lock in that state allows it"
    step = after.generation - before.generation
    allowed = {0 if rule is GenerationRule.SAME else 1 for rule in rules}
    if step in allowed:
        return None
    if step > 1 and after.event in _FROM_UNREADABLE:
        return None  # an unreadable state lay between: its generation was lost, and the next one is a Unix second
    if step < 0:
        return f"{names}: the generation went backwards"
    wanted = " or ".join(word for number, word in ((0, "stay"), (1, "rise by one")) if number in allowed)
    return f"{names}: the generation must {wanted}"


def _repeated(lines: Sequence[HistoryLine]) -> list[Finding]:
    """Find nonces that occur twice: every write draws a fresh one."""
    seen: set[str] = set()
    found = []
    for index, line in enumerate(lines):
        if line.nonce in seen:
            found.append(Finding(index, f"the nonce {line.nonce} occurs twice"))
        seen.add(line.nonce)
    return found


def _last(state: LockState, lines: Sequence[HistoryLine]) -> list[Finding]:
    """Compare the newest line with the record beside it."""
    record = state.record
    if not isinstance(record, LockRecord):
        return [Finding(max(0, len(lines) - 1), f"the present record cannot be read: {record.why}")]
    if not lines:
        return []
    last, index = lines[-1], len(lines) - 1
    if (last.nonce, last.event, last.generation) != (record.nonce, record.event, record.generation):
        return [Finding(index, f"the newest line ({last.event.value}, {last.generation}) is not the present record's")]
    return []
