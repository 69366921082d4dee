"""No landed commit ever leaves the branch, except by the hand of somebody who rewinds or deletes it.

A commit that was rescued stays where it was put (docs/protocol.md, section 0).
"""

from __future__ import annotations

from gitref_lock.testing.sim_history import HUMAN, SWAP, History


def violations(history: History) -> list[str]:
    """Return every move of the branch that dropped a commit, and every rescue ref that moved again."""
    found = []
    for event, move in history.moves(history.branch):
        if event.kind not in {SWAP, HUMAN} or move.before is None:
            continue
        if move.after is None or not history.is_ancestor(move.before, move.after):
            found.append(f"{event.actor} dropped {move.before[:7]} from the branch at {event.at_s:.3f} s")
    for ref in history.refs("refs/lock-rescue/"):
        found += [
            f"{event.actor} moved {ref} at {event.at_s:.3f} s"
            for event, move in history.moves(ref)
            if move.before is not None and event.kind == SWAP
        ]
    return found
