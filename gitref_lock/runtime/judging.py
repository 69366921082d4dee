"""What a refusal, or a reading of the refs, proves about a swap that was sent: judged without a further request.

Kept apart from the sending so that each rule can be read by itself (docs/protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gitref_lock.core.machine import LockState
from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.record import Event, LockRecord
from gitref_lock.core.refs import Absent, Applied, At, RefEdit, Superseded, SwapOutcome, Unknown
from gitref_lock.ports import RemoteError

if TYPE_CHECKING:
    from gitref_lock.runtime.swapper import LandingClaim, LockMove, Plan

_RAISES_GENERATION = frozenset(
    {Event.ACQUIRE, Event.TAKE_OVER, Event.PREEMPT, Event.BREAK, Event.REAP, Event.LAND, Event.LAND_EXPIRED}
)


def believed(plan: Plan, outcome: Superseded, *, was_contended: bool) -> SwapOutcome:
    """Return what a refusal with a moved ref proves: nothing, when what moved it may have been a copy of our own.

    A proxy may have sent the request twice; then the read shows our own value, or a busy server has refused one copy
    and granted the other. The name of a new ticket is ours alone: any value there proves that the create arrived.
    """
    if not plan.moves and plan.landing is None:
        return judge_refs(plan.edits, {ref: oid for ref, oid in outcome.seen.items() if oid is not None}) or outcome
    is_ours = any(outcome.seen.get(edit.ref) == edit.new for edit in plan.edits if edit.new is not None)
    if is_ours or was_contended:
        return Unknown("refused, but a copy of it may have been applied")
    tip = outcome.seen.get(plan.landing.ref) if plan.landing is not None else None
    if plan.landing is not None and tip is not None and tip != plan.landing.base:
        try:
            return Applied() if plan.landing.contains(tip) else outcome
        except RemoteError:
            return Unknown("refused, but the branch has moved, and cannot be read")
    return outcome


def has_moved(edit: RefEdit, seen: Mapping[RefName, Oid]) -> bool:
    """Tell whether a ref is elsewhere than the edit expects it."""
    expected = edit.expect.oid if isinstance(edit.expect, At) else None
    return seen.get(edit.ref) != expected


def judge_unfenced(landing: LandingClaim, seen: Mapping[RefName, Oid]) -> SwapOutcome | None:
    """Decide a landing without a fence: only a branch that moved elsewhere shows that no copy can land any more."""
    tip = seen.get(landing.ref)
    if tip == landing.base:
        return None
    if tip is not None and (tip == landing.commit or landing.contains(tip)):
        return Applied()
    return Superseded({landing.ref: tip})


def judge_refs(edits: Sequence[RefEdit], seen: Mapping[RefName, Oid]) -> SwapOutcome | None:
    """Judge a swap of tickets alone: a ticket's name is used by one create, so any value proves that it arrived."""
    if all(seen.get(edit.ref) == edit.new for edit in edits):
        return Applied()
    if all(not has_moved(edit, seen) for edit in edits):
        return None
    created = [edit for edit in edits if isinstance(edit.expect, Absent)]
    if created and all(edit.ref in seen for edit in created):
        return Applied()
    return Superseded({edit.ref: seen.get(edit.ref) for edit in edits})


def is_surely_not_applied(move: LockMove, state: LockState) -> bool:
    """Tell whether this later state of the lock proves that ``move`` did not and cannot happen."""
    before = move.before
    if before is None:
        # The ring of a lock begins with its creation; an overflowing one has lost that line and proves nothing.
        return bool(state.ring.lines) and state.ring.lines[0].event in {Event.CREATE, Event.ACQUIRE}
    if not isinstance(before.record, LockRecord):
        return False
    expected = state.ring.index_of(before.record.nonce)
    if expected is not None and expected + 1 < len(state.ring.lines):
        return state.ring.lines[expected + 1].nonce != move.after.record.nonce
    return (
        move.after.record.event in _RAISES_GENERATION
        and move.after.record.generation > before.record.generation
        and isinstance(state.record, LockRecord)
        and state.record.generation == before.record.generation
        and state.tip != before.tip
    )
