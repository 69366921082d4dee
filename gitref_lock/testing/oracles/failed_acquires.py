"""An acquire that reported failure holds nothing and never will; a lease that was released never comes back.

Only "unknown" and a crash leave that open (docs/protocol.md, section 2).
"""

from __future__ import annotations

from gitref_lock.core.names import Nonce
from gitref_lock.core.record import LockRecord
from gitref_lock.testing.sim_history import MIRROR, History

_OPEN = frozenset({"acquired", "unknown", "crashed", "running"})


def violations(history: History) -> list[str]:
    """Return every lease that stood after its runner was told that it has none."""
    ended: dict[Nonce, tuple[float, str]] = {
        span.token: (span.released_s, f"released by {span.runner}")
        for span in history.leases
        if span.released_s is not None
    }
    for acquire in history.acquires:
        if acquire.result not in _OPEN:
            for token in acquire.tokens:
                ended[token] = (acquire.ended_s, f"refused to {acquire.runner} ({acquire.result})")
    found = []
    for name, ref in history.locks():
        moves = list(history.moves(ref))
        if any(event.kind == MIRROR for event, _ in moves):
            continue  # an old mirror brings old leases back
        since = [
            (event.at_s, history.state(name, move.after).record if move.after is not None else None)
            for event, move in moves
        ]
        untils = [at_s for at_s, _ in since[1:]] + [float("inf")]
        for (at_s, record), until_s in zip(since, untils, strict=True):
            if isinstance(record, LockRecord) and record.lease in ended:
                told_s, what = ended[record.lease]
                if until_s > told_s:
                    found.append(f"{name} was held from {at_s:.3f} s by a lease that was {what} at {told_s:.3f} s")
    return found
