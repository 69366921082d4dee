"""Tickets that no owner will ever end: without a verdict they would make every later push wait for them.

A change whose time is over has had no sign of its owner for half a life at least; a ticket that cannot be read has had
its claim window. Whoever lands next ends both, by update, as every land ticket ends (docs/protocol.md, section 8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import LockName, Oid, TicketName
from gitref_lock.core.objects import GitObject
from gitref_lock.core.queue import Entry
from gitref_lock.core.record import ClockSource, Holder
from gitref_lock.core.refs import At, RefEdit, Role
from gitref_lock.core.ticket import MAX_LAND_LIFE_S, VERDICT_KEPT_S, Kind, Ticket, Verdict, VerdictKind
from gitref_lock.runtime.land_ticket import verdict_objects
from gitref_lock.runtime.remote import Picture, Remote

MAX_ENDED = 64
MAX_SWEPT = 64
LOCAL_CLOCKS_APART_S = 86_400


@dataclass(frozen=True, slots=True)
class Member:
    """One ticket with the verdict that a swap gives it."""

    entry: Entry
    ticket: Ticket
    verdict: Verdict


def past_for_all(remote: Remote) -> int:
    """Return an instant that is past by everybody's clock, in Unix seconds.

    Where the server's clock is not known, ours says little about another machine's instant: a day must lie between.
    """
    instants = remote.ticket_instants()
    return instants.now_at - (0 if instants.source is ClockSource.SERVER else LOCAL_CLOCKS_APART_S)


def is_dead(ticket: Ticket | None, past_at: int) -> bool:
    """Tell whether nobody looks after a posted change any more: its owner would have extended its time."""
    return ticket is not None and ticket.kind is Kind.LAND and ticket.expires_at <= past_at


def dead(remote: Remote, lock: LockName, entries: Sequence[Entry], mine: TicketName, by: Holder) -> list[Member]:
    """Return verdicts for the dead among the live ``entries``; those ahead of ``mine`` have been read."""
    past_at = past_for_all(remote)
    found: list[Member] = []
    for entry in entries:
        ticket = entry.ticket
        if entry.name == mine:
            continue
        if ticket is None and entry.order < (mine.rank_ms, mine.nonce):
            verdict = Verdict(VerdictKind.SET_ASIDE, by=by.label, why="the ticket cannot be read")
            found.append(Member(entry, _stand_in(remote, lock, entry), verdict))
        elif ticket is not None and is_dead(ticket, past_at):
            verdict = Verdict(VerdictKind.WITHDRAWN, by=by.label, why="its time was over")
            found.append(Member(entry, ticket, verdict))
    return found[:MAX_ENDED]


def verdict_edits(remote: Remote, lock: LockName, members: Sequence[Member]) -> tuple[list[RefEdit], list[GitObject]]:
    """Return the edits that move each ticket from the tip as listed to its verdict, and their objects."""
    edits: list[RefEdit] = []
    objects: list[GitObject] = []
    for member in members:
        made = verdict_objects(remote, _kept(remote, member.ticket), member.verdict)
        ref = remote.namespace.ticket_ref(lock, member.entry.name)
        edits.append(RefEdit(ref, At(member.entry.tip), made[0].oid, Role.TICKET))
        objects.extend(made)
    return edits, objects


def silent(queue: Sequence[Entry], mine: TicketName) -> dict[TicketName, Oid]:
    """Return the acquire tickets for this lock alone that ``mine`` has passed: their claim windows are over."""
    order = (mine.rank_ms, mine.nonce)
    passed = (entry for entry in queue if entry.is_live and entry.order < order and entry.ticket is not None)
    return {
        entry.name: entry.tip
        for entry in passed
        if entry.ticket is not None and entry.ticket.kind is Kind.ACQUIRE and len(entry.ticket.locks) == 1
    }


def _kept(remote: Remote, ticket: Ticket) -> Ticket:
    """Return the ticket with an expiry that its verdict may keep: one years ahead would never be swept."""
    latest_at = math.ceil(remote.ticket_instants().latest + MAX_LAND_LIFE_S)
    return ticket if ticket.expires_at <= latest_at else replace(ticket, expires_at=latest_at)


def _stand_in(remote: Remote, lock: LockName, entry: Entry) -> Ticket:
    expires_at = math.ceil(remote.ticket_instants().latest + MAX_LAND_LIFE_S)
    return Ticket(Kind.LAND, (lock,), entry.name.nonce, Holder("unknown"), 0, entry.name.rank_ms, expires_at)


def swept(remote: Remote, picture: Picture) -> list[RefEdit]:
    """Return the removal of verdicts whose names can no longer be claimed by a late copy of their create."""
    now_at = past_for_all(remote)
    edits: list[RefEdit] = []
    for lock, queue in picture.queues.items():
        for entry in queue:
            ticket = entry.ticket
            if ticket is None or ticket.verdict is None or ticket.expires_at + VERDICT_KEPT_S > now_at:
                continue
            edits.append(RefEdit(remote.namespace.ticket_ref(lock, entry.name), At(entry.tip), None, Role.TICKET))
    return edits[:MAX_SWEPT]
