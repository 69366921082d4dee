"""My land ticket: posting a change for whoever is at the head, and ending the wait so that exactly one thing happened.

A land ticket's name is used by one create. It is never deleted while unresolved: withdrawing is an update to a verdict,
so the change is either landed or withdrawn, whichever the server saw first (docs/protocol.md, section 8).
"""

from __future__ import annotations

import math
from dataclasses import field, replace

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import LockName, Nonce, Oid, RefName, TicketName
from gitref_lock.core.objects import GitObject
from gitref_lock.core.queue import Entry, rank_ms
from gitref_lock.core.refs import Absent, Applied, At, RefEdit, Role, Superseded
from gitref_lock.core.text import JsonObject
from gitref_lock.core.ticket import MAX_LAND_LIFE_S, Kind, Ticket, Verdict, VerdictKind, build_ticket
from gitref_lock.errors import Stop
from gitref_lock.landing.change import Prepared
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import swap_failure
from gitref_lock.runtime.lease import inspect_hint
from gitref_lock.runtime.remote import TOOL, Picture, Remote
from gitref_lock.runtime.swapper import Plan, Swapper
from gitref_lock.runtime.waiting import Place

_TRIES = 6


@dataclass(slots=True)
class LandTicket:
    """One posted change. ``tip`` is the ticket's commit as last written by us, ``prepared`` what it offers,
    ``objects`` what its first sending carries besides the change.

    ``posted_s`` is the monotonic instant at which its life began or was last extended. ``was_gone`` tells that a
    withdrawal found no ticket: it had ended and was swept, so only the branch knows how.
    """

    remote: Remote
    lock: LockName
    name: TicketName
    ticket: Ticket
    tip: Oid
    prepared: Prepared
    objects: tuple[GitObject, ...] = field(default=(), repr=False)
    was_gone: bool = False
    posted_s: float = 0.0

    @property
    def ref(self) -> RefName:
        """The ticket's ref."""
        return self.remote.namespace.ticket_ref(self.lock, self.name)

    def entry(self, picture: Picture) -> Entry | None:
        """Return my ticket as listed."""
        return next((entry for entry in picture.queues[self.lock] if entry.name == self.name), None)

    @property
    def is_surely_kept(self) -> bool:
        """Whether the ticket, or its verdict, cannot have been swept yet: a listing without it is an old one."""
        return self.remote.system.clock.monotonic() - self.posted_s < MAX_LAND_LIFE_S

    def verdict_objects(self, verdict: Verdict) -> tuple[GitObject, ...]:
        """Return the objects of my ticket ended by ``verdict``."""
        return verdict_objects(self.remote, self.ticket, verdict)

    def rearm(self, swapper: Swapper, deadline: Deadline) -> None:
        """Extend the ticket's life when half of it is over; what happened to it shows in the next look."""
        now_at = self.remote.ticket_instants().latest
        if self.ticket.expires_at - now_at > MAX_LAND_LIFE_S / 2:
            return
        renewed = replace(self.ticket, expires_at=math.ceil(now_at + MAX_LAND_LIFE_S))
        objects = tuple(
            build_ticket(
                renewed,
                at_s=self.remote.instants().now_at,
                change=self.prepared.head if self.ticket.is_combinable else None,
                skips_ci=self.remote.skips_ci,
            )
        )
        edit = RefEdit(self.ref, At(self.tip), objects[0].oid, Role.TICKET)
        sent_s = self.remote.system.clock.monotonic()
        if isinstance(swapper.carry(Plan((edit,), objects), deadline), Applied):
            self.ticket, self.tip = renewed, objects[0].oid
            self.posted_s = sent_s
        if swapper.interrupted is not None:
            raise swapper.interrupted

    def withdraw(self, deadline: Deadline) -> Verdict | None:
        """End the wait: return None once the ticket is surely withdrawn, or the verdict that came first.

        Raises OutcomeUnknownError when neither could be shown.
        """
        swapper = Swapper(self.remote)
        verdict = Verdict(VerdictKind.WITHDRAWN, by=self.ticket.holder.label, why="the wait was over")
        for _ in range(_TRIES):
            picture = self.remote.look([self.lock], deadline, stop_at=self.name)
            entry = self.entry(picture)
            if entry is not None and entry.ticket is not None and entry.ticket.verdict is not None:
                return entry.ticket.verdict
            objects = self.verdict_objects(verdict)
            # A name that is free may be claimed by a late copy of our create: the verdict takes it all the same.
            expect = Absent() if entry is None else At(entry.tip)
            edit = RefEdit(self.ref, expect, objects[0].oid, Role.TICKET)
            outcome = swapper.carry(Plan((edit,), objects), deadline)
            if isinstance(outcome, Applied) and (entry is not None or self._is_at(objects[0].oid, deadline)):
                self.was_gone = entry is None
                return None
            if not isinstance(outcome, Applied | Superseded):
                raise swap_failure(outcome, "withdrawing the posted change", inspect_hint([self.lock]))
        raise swap_failure(Superseded({}), "withdrawing the posted change", inspect_hint([self.lock]))

    def _is_at(self, tip: Oid, deadline: Deadline) -> bool:
        """Tell whether the ticket's ref shows ``tip``: the name is taken by a late copy of our create as well."""
        return self.remote.list([self.ref], deadline).refs.get(self.ref) == tip


def verdict_objects(remote: Remote, ticket: Ticket, verdict: Verdict) -> tuple[GitObject, ...]:
    """Return the objects of a ticket ended by ``verdict``: a parentless commit of its own."""
    return tuple(build_ticket(ticket.with_verdict(verdict), at_s=remote.instants().now_at, skips_ci=remote.skips_ci))


@dataclass(frozen=True, slots=True)
class Posting:
    """What became of a post: the ticket, or None when its write was killed; and a signal that came meanwhile."""

    ticket: LandTicket | None
    interrupted: Stop | None


def draft_ticket(
    place: Place, picture: Picture, prepared: Prepared, *, branch: str, policy: JsonObject, is_combinable: bool
) -> LandTicket:
    """Return the land ticket that would offer ``prepared``; nothing is sent.

    Its name is known before it is sent, so that a journal can say where to look for it after a kill.
    """
    remote, nonce = place.remote, place.remote.system.entropy.nonce()
    ticket = _ticket(place, picture, prepared, nonce, branch=branch, policy=policy, is_combinable=is_combinable)
    name = TicketName(rank_ms(ticket.enqueued_ms, place.priority, place.timing.head_start_s), nonce)
    change = prepared.head if is_combinable else None
    own = tuple(build_ticket(ticket, at_s=remote.instants().now_at, change=change, skips_ci=remote.skips_ci))
    drafted_s = remote.system.clock.monotonic()
    return LandTicket(remote, place.locks[0], name, ticket, own[0].oid, prepared, own, posted_s=drafted_s)


def post(posted: LandTicket, deadline: Deadline) -> Posting:
    """Send a drafted ticket; raise the fitting error when it cannot be written or its fate is unknown.

    The ticket's push uploads the change: its last commit is the ticket's parent.
    """
    remote, ticket, ref = posted.remote, posted.ticket, posted.ref

    def kill() -> Plan:
        verdict = Verdict(VerdictKind.WITHDRAWN, by=ticket.holder.label, why="its writer gave up")
        objects = verdict_objects(remote, ticket, verdict)
        return Plan((RefEdit(ref, Absent(), objects[0].oid, Role.TICKET),), objects)

    sent = posted.prepared.objects if ticket.is_combinable else ()
    edit = RefEdit(ref, Absent(), posted.tip, Role.TICKET)
    swapper = Swapper(remote)
    outcome = swapper.carry(Plan((edit,), (*sent, *posted.objects), kill=kill), deadline)
    if isinstance(outcome, Applied):
        return Posting(posted, swapper.interrupted)
    if isinstance(outcome, Superseded):
        return Posting(None, swapper.interrupted)
    raise swap_failure(outcome, "posting the change", inspect_hint([posted.lock]))


def _ticket(
    place: Place,
    picture: Picture,
    prepared: Prepared,
    nonce: Nonce,
    *,
    branch: str,
    policy: JsonObject,
    is_combinable: bool,
) -> Ticket:
    return Ticket(
        kind=Kind.LAND,
        locks=place.locks,
        nonce=nonce,
        holder=place.holder,
        priority=place.priority,
        enqueued_ms=place.enqueue_ms(picture),
        expires_at=math.ceil(place.remote.ticket_instants().latest + MAX_LAND_LIFE_S),
        branch=branch,
        base=prepared.tip or "",
        changes=len(prepared.commits),
        policy=policy,
        is_combinable=is_combinable,
        tool=TOOL,
    )
