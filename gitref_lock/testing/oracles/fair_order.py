"""Nobody is passed by a runner that came later than the stated bound allows (docs/protocol.md, section 5).

Judged in runs without faults: a head that does not answer is passed over by design. Whoever lands under a lease has
waited for the lease, and an emergency waits for nobody.
"""

from __future__ import annotations

from gitref_lock.core.names import LockName, Namespace, RefName
from gitref_lock.core.queue import overtaking_bound_s
from gitref_lock.core.record import Event, LockRecord, State
from gitref_lock.core.ticket import Kind, Ticket
from gitref_lock.core.timing import QueueTiming
from gitref_lock.testing.sim_history import SWAP, AcquireResult, Applied, History, PushResult

SLACK_S = 2.0
"""A ticket counts as written a little before it is seen: the time of a look and a write."""


def violations(history: History) -> list[str]:
    """Return every waiter that was passed by one that came too much later."""
    if not history.is_calm:
        return []
    found: list[str] = []
    waiting: dict[RefName, tuple[float, Ticket]] = {}
    for event in history.applied:
        before = dict(waiting)
        for move in event.moves:
            parsed = Namespace().parse_ticket_ref(move.ref)
            if parsed is None:
                continue
            ticket = history.ticket(move.after) if move.after is not None else None
            if ticket is None or ticket.verdict is not None:
                waiting.pop(move.ref, None)
            elif move.ref not in waiting:
                waiting[move.ref] = (event.at_s, ticket)
        if event.kind == SWAP:
            found += _passed(history, event, before, waiting)
    return found


def _passed(
    history: History,
    event: Applied,
    before: dict[RefName, tuple[float, Ticket]],
    after: dict[RefName, tuple[float, Ticket]],
) -> list[str]:
    """Return the waiters that this event passed unduly: those still waiting although they came much earlier."""
    kind = _served(history, event)
    if kind is None:
        return []
    served = [before[ref] for ref in before if ref not in after and before[ref][1].holder.host == event.actor]
    came_s, priority = (served[0][0], served[0][1].priority) if served else _began(history, event)
    found = []
    for ref, (written_s, ticket) in after.items():
        if ref not in before or ticket.kind is not kind or ticket.holder.host == event.actor:
            continue
        if ticket.locks != (history.lock,):
            continue  # a waiter for several locks is passed over while another of them is busy
        gap = priority - ticket.priority
        bound_s = overtaking_bound_s(gap, QueueTiming().head_start_s) + history.rank_slack_s + SLACK_S
        if came_s > written_s + bound_s:
            found.append(
                f"{event.actor} came at {came_s:.3f} s and was served at {event.at_s:.3f} s before "
                f"{ticket.holder.host}, who has waited since {written_s:.3f} s (bound {bound_s:.1f} s)"
            )
    return found


def _served(history: History, event: Applied) -> Kind | None:
    """Return what kind of wait this event ended for its actor."""
    fence = event.move_of(history.lock_ref)
    if fence is None or fence.after is None:
        return None
    record = history.state(LockName(history.lock), fence.after).record
    before = history.state(LockName(history.lock), fence.before).record if fence.before is not None else None
    is_open = isinstance(before, LockRecord) and before.state is State.FREE
    if not isinstance(record, LockRecord):
        return None
    if (record.event is Event.LAND and is_open) or record.event is Event.LAND_EXPIRED:
        return None if _is_emergency(history, event) else Kind.LAND
    return Kind.ACQUIRE if record.event in {Event.ACQUIRE, Event.TAKE_OVER} else None


def _is_emergency(history: History, event: Applied) -> bool:
    """Tell whether the actor's present push is one that waits for nobody."""
    pushes = [one for one in history.pushes if one.runner == event.actor and one.began_s <= event.at_s]
    return bool(pushes) and pushes[-1].is_emergency


def _began(history: History, event: Applied) -> tuple[float, int]:
    """Return when the actor began what this event served, for one that never wrote a ticket."""
    results: list[PushResult | AcquireResult] = [*history.pushes, *history.acquires]
    return max(
        (one.began_s, one.priority) for one in results if one.runner == event.actor and one.began_s <= event.at_s
    )
