"""What a refusal or a later state proves about a swap: only what it cannot have done is called not done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitref_lock.core.history import MAX_LINES, Ring
from gitref_lock.core.machine import LockState, Stance, Write, step
from gitref_lock.core.names import LockName, Nonce, Oid, RefName
from gitref_lock.core.record import ClockSource, Event, Holder
from gitref_lock.core.refs import At, RefEdit, Role, Superseded, Unknown
from gitref_lock.runtime.judging import believed, is_surely_not_applied
from gitref_lock.runtime.swapper import LandingClaim, LockMove, Plan

MAIN = LockName("main")
MAIN_REF, BRANCH = RefName("refs/locks/main"), RefName("refs/heads/main")
BASE, OURS = Oid("b" * 40), Oid("c" * 40)
START = 1_700_000_000


def moved(before: LockState | None, stance: Stance, event: Event, number: int) -> LockMove:
    """Return a lock's move by writer ``number``."""
    ttl_s = 60.0 if event is Event.ACQUIRE else 0.0
    what = Write(
        Nonce(f"{number:024x}"),
        START + number,
        ClockSource.LOCAL,
        Holder(id=f"ci/{number}"),
        expires_at=START + number + 60 if ttl_s else None,
        ttl_s=ttl_s,
    )
    return LockMove(MAIN, before, step(MAIN, before, stance, event, what))


FREE = moved(None, Stance.ABSENT, Event.CREATE, 1).after.state
ABANDONED = moved(FREE, Stance.FREE, Event.ABANDON, 2).after.state
LANDED = moved(FREE, Stance.FREE, Event.LAND, 3).after.state


def landing_plan() -> tuple[Plan, LockMove]:
    """Return a landing through a free lock, and the lock's part of it."""
    fence = moved(FREE, Stance.FREE, Event.LAND, 9)
    edits = (
        RefEdit(BRANCH, At(BASE), OURS, Role.BRANCH),
        RefEdit(MAIN_REF, At(FREE.tip), fence.after.state.tip, Role.LOCK),
    )
    claim = LandingClaim(BRANCH, BASE, OURS, contains=lambda _: False)
    return Plan(edits, (), (fence,), claim), fence


@pytest.mark.parametrize("was_contended", [False, True])
def test_a_refusal_after_contention_is_not_believed(was_contended: bool) -> None:
    """The lock has moved and the branch has not: lost for sure, unless a busy server may have granted another copy."""
    plan, _ = landing_plan()
    refused = Superseded({BRANCH: BASE, MAIN_REF: LANDED.tip})
    outcome = believed(plan, refused, was_contended=was_contended)
    if was_contended:
        assert isinstance(outcome, Unknown)
        assert not outcome.nothing_sent
    else:
        assert outcome is refused


@pytest.mark.parametrize("event", [Event.LAND, Event.ACQUIRE])
def test_a_lock_that_has_not_moved_may_still_be_moved(event: Event) -> None:
    """The state that the swap expects is no proof against it, though its generation is the old one: it may come yet."""
    late = moved(FREE, Stance.FREE, event, 9)
    assert not is_surely_not_applied(late, FREE)
    assert is_surely_not_applied(late, ABANDONED)
    assert is_surely_not_applied(late, LANDED)


def test_a_state_of_the_old_generation_without_a_ring_proves_a_raising_swap_lost() -> None:
    """Without the ring the generation decides: it never falls, so that a raise cannot lie before it."""
    late = moved(FREE, Stance.FREE, Event.LAND, 9)
    assert is_surely_not_applied(late, replace(ABANDONED, ring=Ring()))
    assert not is_surely_not_applied(late, replace(LANDED, ring=Ring()))
    assert not is_surely_not_applied(late, replace(FREE, ring=Ring()))


def test_a_creation_is_lost_only_where_the_ring_begins_with_another() -> None:
    """A ring that has lost its first line, or cannot be read, does not tell who made the lock."""
    late = moved(None, Stance.ABSENT, Event.CREATE, 9)
    assert is_surely_not_applied(late, LANDED)
    assert is_surely_not_applied(late, moved(None, Stance.ABSENT, Event.ACQUIRE, 4).after.state)
    state = LANDED
    for number in range(MAX_LINES):
        state = moved(state, Stance.FREE, Event.LAND, 100 + number).after.state
    assert len(state.ring.lines) == MAX_LINES
    assert not is_surely_not_applied(late, state)
    assert not is_surely_not_applied(late, replace(LANDED, ring=Ring()))
