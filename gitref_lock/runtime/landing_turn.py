"""Whose turn it is to land the queue, and in how many seconds mine comes (docs/protocol.md, section 8).

The head lands at once, each further place a little later: whoever is at the head may have died.
"""

from __future__ import annotations

import math

from gitref_lock.core.machine import Stance
from gitref_lock.core.queue import Entry, claim_delay_s, contending, in_service_order, watch_window
from gitref_lock.core.ticket import Kind
from gitref_lock.core.timing import QueueTiming
from gitref_lock.runtime.dead_tickets import is_dead, past_for_all
from gitref_lock.runtime.errand import OPEN, Errand
from gitref_lock.runtime.land_ticket import LandTicket
from gitref_lock.runtime.remote import Picture
from gitref_lock.runtime.writing import Found

MAX_BATCH = 128
"""How many changes one swap takes."""

_STEPS = 30


def turn_in_s(errand: Errand, picture: Picture, ticket: LandTicket, found: Found) -> float | None:
    """Return the seconds from this look until I may land the queue, 0 or less for now, None while it is closed."""
    place, lock = errand.place, found.name
    others = ((name, state) for name, state in picture.locks.items() if name != lock)
    busy = frozenset(name for name, state in others if errand.remote.stance(name, state) is Stance.OTHER)
    queue = contending(in_service_order(picture.queues[lock]), busy)
    head = queue[0].name if queue else None
    window = watch_window(place.windows.get(lock), head, picture.read_s, is_open=found.stance in OPEN)
    if window is None:
        place.windows.pop(lock, None)
        return None
    place.windows[lock] = window
    past_at = past_for_all(errand.remote)
    order = (ticket.name.rank_ms, ticket.name.nonce)
    ahead = [entry for entry in queue if entry.order < order and not is_dead(entry.ticket, past_at)]
    # My batch lands every combinable change ahead of mine; the others are owed a claim window of their own. A change
    # that is not combinable lands without them: all are owed it.
    is_alone = not ticket.ticket.is_combinable
    owed = sum(is_alone or not _is_combinable(entry, ticket.ticket.branch) for entry in ahead)
    timing = errand.request.queue
    delay_s = claim_delay_s(owed, Kind.ACQUIRE, timing) + land_delay_s(len(ahead) - owed, len(queue), timing)
    return window.since_s + delay_s - picture.read_s


def land_delay_s(ahead: int, waiting: int, timing: QueueTiming) -> float:
    """Return for how long ``ahead`` changes before mine delay my turn, when so many wait in all.

    The more there are, the longer the one at the head needs: landing beside it would only cost a push that loses.
    """
    delay_s = claim_delay_s(steps(ahead), Kind.LAND, timing)
    return delay_s and delay_s + max(0.0, timing.land_change_s * min(waiting, MAX_BATCH) - timing.land_window_s)


def steps(ahead: int) -> int:
    """Return by how many steps so many changes ahead delay a turn.

    A crowd that died at once must not stop the one behind it: beyond 30 places only the root counts.
    """
    return ahead if ahead <= _STEPS else _STEPS + math.isqrt(ahead - _STEPS)


def _is_combinable(entry: Entry, branch: str) -> bool:
    ticket = entry.ticket
    return ticket is not None and ticket.kind is Kind.LAND and ticket.is_combinable and ticket.branch == branch
