"""Every land ticket ends as exactly one of landed, conflict, set aside and withdrawn, under a name used by one create.

A verdict keeps the name until no late copy of the create can come any more (docs/protocol.md, section 8).
"""

from __future__ import annotations

from gitref_lock.core.ticket import Kind, Ticket, VerdictKind
from gitref_lock.testing.sim_history import MIRROR, Applied, History, Move


def violations(history: History) -> list[str]:
    """Return every ticket that ended twice, came back, was deleted alive, or claims a landing that is not."""
    found = []
    for ref in history.refs("refs/lock-queue/"):
        was_there = False
        for event, move in history.moves(ref):
            if event.kind == MIRROR:
                break
            why = _fault(history, event, move, was_there=was_there)
            was_there = True
            if why:
                found.append(f"{ref.removeprefix('refs/lock-queue/')} at {event.at_s:.3f} s by {event.actor}: {why}")
    return found


def _fault(history: History, event: Applied, move: Move, *, was_there: bool) -> str:
    old = history.ticket(move.before) if move.before is not None else None
    new = history.ticket(move.after) if move.after is not None else None
    kept = new or old
    if kept is None or kept.kind is not Kind.LAND:
        return ""
    if move.before is None:
        # A verdict may be put where a swept one was: it only keeps a late copy of the create away.
        is_waiting = new is not None and new.verdict is None
        return "its name was used by a second create" if was_there and is_waiting else ""
    if new is None:
        return "" if old is not None and old.verdict is not None else "it was deleted before it ended"
    if old is not None and old.verdict is not None:
        return f"it ended twice: {old.verdict.kind.value}, then {_word(new)}"
    if new.verdict is not None and new.verdict.kind is VerdictKind.LANDED:
        return _unproved(history, event, new)
    return ""


def _unproved(history: History, event: Applied, ticket: Ticket) -> str:
    """Tell whether the branch holds, in the instant of the verdict, what the verdict names."""
    assert ticket.verdict is not None
    if not ticket.verdict.commits or event.partial == "hole":
        return ""
    tip = history.value_at(history.branch, event)
    if tip is None or not history.is_ancestor(ticket.verdict.commits[-1], tip):
        return "its verdict names commits that the branch does not hold"
    return ""


def _word(ticket: Ticket) -> str:
    return ticket.verdict.kind.value if ticket.verdict is not None else "waiting again"
