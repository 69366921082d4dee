"""Histories that could have happened pass; each kind that could not is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.history import HistoryLine, Ring
from gitref_lock.core.machine import TRANSITIONS, LockState, Stance, Target, Write, step
from gitref_lock.core.names import LockName, Nonce, Oid
from gitref_lock.core.record import ClockSource, Event, Holder, LockRecord, UnreadableRecord
from gitref_lock.insight.audit import Audit, audit, fault

MAIN = LockName("main")
HELD = (Stance.MINE, Stance.MINE_LATE, Stance.EXPIRED, Stance.OTHER)


def walk(events: list[tuple[Stance, Event]], state: LockState | None = None, first: int = 0) -> LockState:
    """Take these steps through the machine itself."""
    for number, (stance, event) in enumerate(events, first):
        write = Write(
            Nonce(f"{number:024x}"),
            1_700_000_000 + number,
            ClockSource.LOCAL,
            Holder(id=f"h{number}"),
            expires_at=1_700_000_100 + number,
            ttl_s=60.0,
        )
        state = step(MAIN, state, stance, event, write).state
    assert state is not None
    return state


SOUND = walk([(Stance.ABSENT, Event.ACQUIRE), (Stance.MINE, Event.RENEW), (Stance.MINE, Event.RELEASE)])


def texts(found: Audit) -> str:
    """Join what was found."""
    return "; ".join(finding.text for finding in found.findings)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_machine_writes_is_sound(data: st.DataObject) -> None:
    """Any walk through the table, longer than the ring too, passes the audit."""
    state: LockState | None = None
    where = Target.ABSENT
    for number in range(data.draw(st.integers(1, 90))):
        stances = {Target.ABSENT: (Stance.ABSENT,), Target.FREE: (Stance.FREE,), Target.HELD: HELD}[where]
        pair = data.draw(st.sampled_from([pair for pair in TRANSITIONS if pair[0] in stances]))
        state = walk([pair], state, number)
        where = TRANSITIONS[pair].to
    assert state is not None
    found = audit(state)
    assert found.is_sound, texts(found)
    assert found.checked == len(state.ring.lines) - 1


def test_a_step_over_an_unreadable_state_is_sound() -> None:
    """Its generation was lost, so the next one jumps to a Unix second."""
    lost = LockState(Oid("b" * 40), UnreadableRecord(MAIN, "x"), SOUND.ring)
    held = walk([(Stance.FREE, Event.ACQUIRE)], SOUND, 7)
    lost = LockState(Oid("b" * 40), UnreadableRecord(MAIN, "x"), held.ring)
    assert audit(walk([(Stance.OTHER, Event.BREAK)], lost, 500_000)).is_sound


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"event": Event.ACQUIRE, "generation": 1_700_000_001}, "no lock in that state allows it"),
        ({"event": Event.RENEW, "generation": 1_700_000_001}, "the generation must stay"),
        ({"event": Event.BREAK}, "the generation must rise by one"),
        ({"event": Event.BREAK, "generation": 5}, "the generation went backwards"),
        ({"event": Event.CREATE}, "no lock in that state allows it"),
        ({"event": Event.LAND, "generation": 1_700_000_009}, "the generation must stay"),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_what_cannot_follow_an_acquire(change: dict[str, object], fragment: str) -> None:
    """Illegal pairs and wrong generations are named with both events."""
    before = HistoryLine(Event.ACQUIRE, 1_700_000_000, Nonce("0" * 24), 1_700_000_000)
    text = fault(before, replace(before, nonce=Nonce("1" * 24), **change))  # type: ignore[arg-type]  # fields by name
    assert text is not None
    assert fragment in text


@pytest.mark.parametrize(
    ("state", "fragment"),
    [
        (replace(SOUND, ring=Ring()), "the history is empty"),
        (replace(SOUND, ring=Ring(SOUND.ring.lines, 2)), "2 lines are no transitions"),
        (replace(SOUND, ring=Ring(SOUND.ring.lines[:-1])), "the newest line (renew"),
        (replace(SOUND, ring=Ring((*SOUND.ring.lines[:-1], SOUND.ring.lines[0]))), "occurs twice"),
        (replace(SOUND, ring=Ring((SOUND.ring.lines[0], *SOUND.ring.lines[:0:-1]))), "no lock in that state"),
        (replace(SOUND, record=UnreadableRecord(MAIN, "no JSON")), "cannot be read: no JSON"),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_histories_that_break_the_rules(state: LockState, fragment: str) -> None:
    """A dropped, repeated, swapped or unreadable line is found."""
    found = audit(state)
    assert not found.is_sound
    assert fragment in texts(found)


def test_the_last_line_must_be_the_present_record() -> None:
    """A record that was put beside another history is found, whatever both say by themselves."""
    assert isinstance(SOUND.record, LockRecord)
    moved = replace(SOUND.record, generation=SOUND.record.generation + 1)
    assert "not the present record's" in texts(audit(replace(SOUND, record=moved)))
