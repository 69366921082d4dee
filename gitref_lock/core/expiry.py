"""Whether a lease is over for an observer: the only place that judges it (docs/protocol.md, section 4).

Rule A needs no common clock: the tip did not change for the record's own ttl on the observer's steady clock. Rule B
uses the one clock that both share, the server's. Nothing else counts, least of all this machine's wall clock.
"""

from __future__ import annotations

from enum import StrEnum

from gitref_lock.core.clocks import ServerClock
from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.core.record import UNREADABLE_TTL_S, AnyRecord, ClockSource, LockRecord, State
from gitref_lock.core.timing import MAX_CLOCK_SKEW_S


class Rule(StrEnum):
    """By which rule a lease is expired."""

    OBSERVATION = "A"
    SERVER_CLOCK = "B"


@dataclass(frozen=True, slots=True)
class Observation:
    """Since when this observer has seen one tip unchanged.

    ``since_s`` is on the observer's monotonic clock; ``carried_s`` is time that an earlier process of the same boot and
    clone observed the same tip.
    """

    tip: Oid
    since_s: float
    carried_s: float = 0.0

    def seen_for_s(self, now_s: float) -> float:
        """Return for how long the tip has been seen unchanged."""
        return self.carried_s + max(0.0, now_s - self.since_s)


def observe(previous: Observation | None, tip: Oid, now_s: float) -> Observation:
    """Return the observation after reading ``tip`` at ``now_s``: unchanged when the tip is, else a new one."""
    return previous if previous is not None and previous.tip == tip else Observation(tip, now_s)


def ttl_of(record: AnyRecord) -> float:
    """Return the ttl that counts for a held record; a day when it cannot be read."""
    return record.ttl_s if isinstance(record, LockRecord) else UNREADABLE_TTL_S


def contradicts(record: AnyRecord, clock: ServerClock) -> bool:
    """Tell whether the newest Date is earlier than when this record says it was renewed: front ends disagree."""
    return (
        isinstance(record, LockRecord)
        and record.clock is ClockSource.SERVER
        and record.renewed_at is not None
        and clock.is_known
        and clock.dates[-1].date_s < record.renewed_at
    )


def expired_by(record: AnyRecord, observation: Observation, now_s: float, clock: ServerClock) -> Rule | None:
    """Return the rule by which this held state is expired at monotonic ``now_s``, or None while it is not."""
    if isinstance(record, LockRecord) and record.state is not State.HELD:
        return None
    if observation.seen_for_s(now_s) >= ttl_of(record):
        return Rule.OBSERVATION
    if (
        isinstance(record, LockRecord)
        and record.clock is ClockSource.SERVER
        and record.expires_at is not None
        and clock.is_consistent
        and not contradicts(record, clock)
        and clock.agree_past(record.expires_at + MAX_CLOCK_SKEW_S)
    ):
        return Rule.SERVER_CLOCK
    return None


def remaining_s(record: AnyRecord, observation: Observation, now_s: float, clock: ServerClock) -> float:
    """Return the least time until the lease can be expired for this observer, 0 when it may be now."""
    by_observation = max(0.0, ttl_of(record) - observation.seen_for_s(now_s))
    if (
        isinstance(record, LockRecord)
        and record.clock is ClockSource.SERVER
        and record.expires_at is not None
        and clock.is_consistent
        and clock.is_known
    ):
        by_clock = max(0.0, record.expires_at + MAX_CLOCK_SKEW_S + 1 - clock.earliest(now_s))
        return min(by_observation, by_clock)
    return by_observation
