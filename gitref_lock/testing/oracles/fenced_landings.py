"""Every landing moves branch and lock in one instant, and the lock was free, the lander's own, or expired.

Expired means that its holder was not alive any more in true time. Exempt is a server that dies in the middle of a swap:
the runner is told "unknown" then (docs/protocol.md, section 0).

A landing that does not move the lock is degraded. It must be one push's, which was refused to create the lock, was told
when it last looked before the sending that there is none, and is told ``degraded`` unless it is told of a failure.
"""

from __future__ import annotations

from gitref_lock.core.names import LockName
from gitref_lock.core.record import Event, LockRecord, State
from gitref_lock.testing.oracles.exclusive_leases import live_at
from gitref_lock.testing.sim_history import MIRROR, SWAP, Applied, History, Move


def violations(history: History) -> list[str]:
    """Return every landing that the lock did not allow."""
    if not history.is_fenced:
        return []
    found = []
    for event, move in history.moves(history.branch):
        if event.kind == SWAP and event.partial != "crash":
            why = _fault(history, event, move)
            if why:
                found.append(f"landing by {event.actor} at {event.at_s:.3f} s: {why}")
    return found


def _fault(history: History, event: Applied, move: Move) -> str:
    if move.after is None:
        return "a swap deleted the branch"
    fence = event.move_of(history.lock_ref)
    if fence is None:
        return _fault_of_degraded(history, event)
    if fence.before is None or fence.after is None:
        return "the fence created or deleted the lock"
    name = LockName(history.lock)
    before = history.state(name, fence.before).record
    after = history.state(name, fence.after).record
    if not isinstance(after, LockRecord) or not isinstance(before, LockRecord):
        return "a lock state cannot be read"
    if before.state is State.FREE or after.event is Event.EMERGENCY:
        return ""
    if after.event is Event.LAND_EXPIRED:
        is_judged = history.is_within_bounds and not history.has(MIRROR)  # an old mirror brings ended leases back
        alive = live_at(history.leases, before.lease, event.at_s) if is_judged else None
        return "" if alive is None else f"{alive.runner} was alive until {alive.end_s():.3f} s"
    owner = before.holder.host if before.holder is not None else ""
    return "" if owner == event.actor else f"the lock was {owner}'s"


def _fault_of_degraded(history: History, event: Applied) -> str:
    """Return why a landing that did not move the lock was not allowed to do without it."""
    sent_s = history.sent.get(event.request, event.at_s)
    pushes = [push for push in history.pushes if push.runner == event.actor and push.began_s <= sent_s <= push.ended_s]
    if not pushes:
        return "the lock did not move with the branch"
    push = pushes[-1]
    if push.result == "landed" and push.how != "degraded":
        return f"the lock did not move with the branch, and the push was told {push.how!r}"
    seen = [one for one in history.sights if one.actor == event.actor and push.began_s <= one.at_s <= sent_s]
    if not any(one.is_refusal for one in seen):
        return "the lock did not move with the branch, and nobody had refused to create it"
    last = [one for one in seen if one.request == seen[-1].request]
    return "" if any(one.is_absent for one in last) else "it went past a lock that the push had seen"
