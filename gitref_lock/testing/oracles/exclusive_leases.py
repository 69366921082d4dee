"""No two holders of one lock are alive at once, in true time (docs/protocol.md, section 4).

A lease that an operator or a preempting runner ended is exempt: the old holder may run on until it notices. So is
everything after an old mirror was pushed back.
"""

from __future__ import annotations

from gitref_lock.core.record import Event, LockRecord
from gitref_lock.testing.sim_history import MIRROR, History, LeaseSpan

_ENDED_EARLY = frozenset({Event.BREAK, Event.PREEMPT, Event.EMERGENCY})


def violations(history: History) -> list[str]:
    """Return every pair of leases on one lock whose holders were alive at the same time."""
    if not history.is_within_bounds or history.has(MIRROR):
        return []
    found = []
    exempt = ended_early(history)
    spans = sorted(history.leases, key=lambda span: span.begin_s)
    for index, one in enumerate(spans):
        end_s = one.end_s()
        for other in spans[index + 1 :]:
            common = set(one.locks) & set(other.locks)
            if common and other.begin_s < end_s and not exempt & {one.token, other.token}:
                found.append(
                    f"{one.runner} held {sorted(common)} from {one.begin_s:.3f} to {end_s:.3f} s, and {other.runner} "
                    f"from {other.begin_s:.3f} s"
                )
    return found


def ended_early(history: History) -> set[str]:
    """Return the tokens of leases that somebody ended on purpose."""
    tokens: set[str] = set()
    for name, ref in history.locks():
        for _, move in history.moves(ref):
            if move.before is None:
                continue
            before = history.state(name, move.before).record
            if not isinstance(before, LockRecord) or before.lease is None:
                continue
            after = history.state(name, move.after).record if move.after is not None else None
            if isinstance(after, LockRecord) and after.event in _ENDED_EARLY:
                tokens.add(before.lease)
    return tokens


def live_at(spans: list[LeaseSpan], token: str | None, at_s: float) -> LeaseSpan | None:
    """Return the lease with this token if its holder was alive at a true time."""
    return next((span for span in spans if span.token == token and span.begin_s <= at_s < span.end_s()), None)
