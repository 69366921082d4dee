"""Service order, claim window and poll pace: who may move next, and how often the others look.

The order is fixed when a ticket is written and stands in its name, so one listing is the queue and no clock or setting
of a reader can change it (docs/protocol.md, section 5).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from gitref_lock.core.history import mean_remaining_s
from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import RANK_LIMIT, LockName, Oid, TicketName
from gitref_lock.core.ticket import Kind, Ticket
from gitref_lock.core.timing import QueueTiming

_AHEAD_OF_DATE_MS = 60_000
_LARGEST_JITTER = 1.3


@dataclass(frozen=True, slots=True)
class Entry:
    """One ticket as listed. ``ticket`` is None when its content cannot be read: it waits for nobody knows what."""

    name: TicketName
    tip: Oid
    ticket: Ticket | None

    @property
    def is_live(self) -> bool:
        """Whether this ticket still waits (a verdict does not)."""
        return self.ticket is None or self.ticket.verdict is None

    @property
    def order(self) -> tuple[int, str]:
        """The sort key: rank, then nonce, exactly as the names sort."""
        return (self.name.rank_ms, self.name.nonce)


def rank_ms(enqueued_ms: int, priority: int, head_start_s: float) -> int:
    """Return the rank of a ticket: lower is served earlier; one point of priority is worth ``head_start_s``."""
    return min(max(0, enqueued_ms - round(priority * head_start_s * 1000)), RANK_LIMIT - 1)


def enqueue_instant_ms(own_ms: int, date_ms: int | None, newest_seen_ms: int) -> int:
    """Return when a ticket counts as written: after what ring and queue show, at most 60 s after the Date.

    A Date has whole seconds: who comes in the same second as a ticket that it sees is served after that one.
    """
    instant = max(own_ms if date_ms is None else date_ms, newest_seen_ms + 1)
    return instant if date_ms is None else min(instant, date_ms + _AHEAD_OF_DATE_MS)


def overtaking_bound_s(priority_gap: int, head_start_s: float) -> float:
    """Return for how long after its writing a ticket can be overtaken by one with ``priority_gap`` more points."""
    return max(0.0, priority_gap * head_start_s)


def in_service_order(entries: Collection[Entry]) -> tuple[Entry, ...]:
    """Return the live entries, the one to be served first in front."""
    return tuple(sorted((entry for entry in entries if entry.is_live), key=lambda entry: entry.order))


def contending(queue: Sequence[Entry], busy: Collection[LockName]) -> tuple[Entry, ...]:
    """Return the entries of one lock's queue that could be served now.

    A waiter for several locks is passed over, not removed, while another of its locks is busy: it could not use this
    one alone.
    """
    return tuple(
        entry for entry in queue if entry.ticket is None or not any(name in busy for name in entry.ticket.locks)
    )


def place_of(queue: Sequence[Entry], name: TicketName) -> int | None:
    """Return the place of a ticket in a queue in service order, 0 for the head, None when it is not there."""
    return next((place for place, entry in enumerate(queue) if entry.name == name), None)


def claim_delay_s(place: int, kind: Kind, timing: QueueTiming) -> float:
    """Return for how long a lock must have been seen free under the same head before ``place`` may claim it."""
    if place == 0:
        return 0.0
    if kind is Kind.LAND:
        return timing.land_window_s + (place - 1) * timing.land_step_s
    return timing.claim_window_s + (place - 1) * timing.claim_step_s


@dataclass(frozen=True, slots=True)
class Window:
    """Since when (monotonic seconds) a waiter has seen its lock open to the same head (None: nobody queued)."""

    head: TicketName | None
    since_s: float


def watch_window(previous: Window | None, head: TicketName | None, now_s: float, *, is_open: bool) -> Window | None:
    """Return the claim window after a read: kept under the same head, begun anew under another, None while closed."""
    if not is_open:
        return None
    return previous if previous is not None and previous.head == head else Window(head, now_s)


def newcomer_may_claim(queues: Mapping[LockName, Sequence[Entry]], order: tuple[int, str]) -> bool:
    """Tell whether a runner without a ticket may claim at once: no live ticket of lower or equal order is passed."""
    return all(entry.order > order for queue in queues.values() for entry in queue)


def pace_s(
    place: int,
    queue_length: int,
    remaining_s: float,
    jitter: float,
    timing: QueueTiming,
    approach_s: float = math.inf,
) -> float:
    """Return the seconds until the next poll.

    ``remaining_s`` is the expected rest of the present hold, ``jitter`` a factor around 1. The first three places
    follow the expected rest; all others share a budget of reads, so that a lock's waiters together stay near it.
    None sleeps for longer than ``approach_s``, the expected time until it is one of the first three: who is not there
    when its turn comes is passed over, and has to be served again with more writes.
    """
    law = math.sqrt(timing.pace_factor_s * max(0.0, remaining_s)) * jitter
    near = min(max(law, timing.pace_floor_s), timing.pace_cap_s)
    if place < 3:
        return near
    return max(near, min(queue_length / timing.reads_per_s * jitter, approach_s * min(1.0, jitter / _LARGEST_JITTER)))


def expected_wait_s(place: int, holds: Sequence[float], elapsed_s: float) -> float | None:
    """Return the expected wait of a place: the rest of the present hold and a mean hold for each place ahead.

    None when the lock's history knows no hold.
    """
    if not holds:
        return None
    return mean_remaining_s(holds, elapsed_s) + place * sum(holds) / len(holds)
