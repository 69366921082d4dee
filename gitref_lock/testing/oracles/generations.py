"""A lock's generation never falls, and each new lease has a higher one than every lease before it.

Exempt is what an old mirror put back: the protocol does not promise to survive that (docs/protocol.md, section 0).
"""

from __future__ import annotations

from gitref_lock.core.record import LockRecord, State
from gitref_lock.testing.sim_history import MIRROR, History


def violations(history: History) -> list[str]:
    """Return every fall, and every new lease without a rise."""
    found = []
    for name, ref in history.locks():
        highest, lease = 0, ""
        for event, move in history.moves(ref):
            if event.kind == MIRROR:
                highest, lease = 0, ""
            record = history.state(name, move.after).record if move.after is not None else None
            if not isinstance(record, LockRecord):
                continue
            is_new = record.state is State.HELD and record.lease != lease
            if record.generation < highest or (is_new and record.generation == highest and lease):
                found.append(
                    f"{name} at {event.at_s:.3f} s: {record.event.value} by {event.actor} has generation "
                    f"{record.generation} after {highest}"
                )
            highest = max(highest, record.generation)
            if is_new:
                lease = record.lease or ""
    return found
