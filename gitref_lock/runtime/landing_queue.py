"""The queue of a push: attending a posted change until it is landed, by others or by us from the head of the queue.

Every end is certain: landed and shown by the branch, in conflict, withdrawn, or an error that says it is unknown
(docs/protocol.md, section 8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import ZERO_OID, LockName, Oid
from gitref_lock.core.objects import GitObject
from gitref_lock.core.queue import in_service_order
from gitref_lock.core.refs import Applied, At, RefEdit, Role
from gitref_lock.core.ticket import Verdict, VerdictKind
from gitref_lock.errors import GitrefLockError, OutcomeUnknownError
from gitref_lock.landing.change import Prepared
from gitref_lock.landing.errors import LandingError
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.branch_proof import copies_in_branch, holds_change, holds_commits
from gitref_lock.runtime.dead_tickets import dead, silent, swept, verdict_edits
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import Errand, How, Landed
from gitref_lock.runtime.failures import refuses_content
from gitref_lock.runtime.land_ticket import LandTicket, draft_ticket, post
from gitref_lock.runtime.landing_plan import fenced_plan
from gitref_lock.runtime.landing_turn import turn_in_s
from gitref_lock.runtime.lease import describe
from gitref_lock.runtime.remote import Picture
from gitref_lock.runtime.retry import NotYet
from gitref_lock.runtime.swapper import Plan, Swapper
from gitref_lock.runtime.waiting import other_locks, removed_after_claim
from gitref_lock.runtime.writing import Found

_CROWD_GATHERS = 3
"""How much longer the head gathers when many came at once: each batch more is a push more."""
WITHDRAW_BUDGET_S = 5.0
_PAST_TURN_S = 0.05
"""A look that is meant for my turn comes this much after it, by whatever clocks count."""

_EXPECTANT_LOOKS = 4


@dataclass(slots=True)
class LandingQueue:
    """My place among the changes that wait to land. ``ticket`` is None while nothing of mine is posted.

    ``is_self_only``: nobody else can land it. ``lands_alone``: refused with others. ``held_at``: a commit holding it.
    ``looks`` counts those at a free lock since the change was posted. ``others`` are further locks waited for.
    ``claimed``: a ticket of mine whose verdict said landed when the branch did not show it.
    """

    errand: Errand
    ticket: LandTicket | None = None
    is_self_only: bool = False
    lands_alone: bool = False
    held_at: Oid | None = None
    meets_crowd: bool = False
    looks: int = 0
    others: tuple[LockName, ...] = ()
    claimed: LandTicket | None = None

    def post(self, picture: Picture, prepared: Prepared) -> Landed:
        """Post the change for whoever is at the head, and ask for another look."""
        errand = self.errand
        request = errand.request
        if errand.wait.is_over:
            raise errand.not_landed(f"the lock is {describe(picture.locks[request.target.lock])}")
        combinable = request.is_combinable and not self.is_self_only and prepared.tip is not None
        self.others = other_locks(picture, (request.target.lock,))
        draft = draft_ticket(
            errand.place,
            picture,
            prepared,
            branch=request.target.branch,
            policy=request.policy,
            is_combinable=combinable and bool(prepared.commits),
        )
        errand.before_swap(prepared, draft)
        posting = post(draft, errand.deadline)
        if posting.ticket is not None:
            self.ticket, self.looks = posting.ticket, 0
            errand.place.name = posting.ticket.name
        if posting.interrupted is not None:
            raise posting.interrupted
        gather_s = request.queue.gather_s * (_CROWD_GATHERS if self.meets_crowd else 1)
        raise NotYet(gather_s if posting.ticket is not None else 0.0)

    def attend(self, picture: Picture, ticket: LandTicket) -> Landed:
        """Look after my ticket: take its verdict, land the queue when it is my turn, else keep waiting."""
        errand = self.errand
        entry = ticket.entry(picture)
        verdict = entry.ticket.verdict if entry is not None and entry.ticket is not None else None
        if entry is None and ticket.is_surely_kept and not errand.wait.is_over:
            raise NotYet(errand.remote.system.entropy.uniform(0.3, 0.7))  # a replica that lags behind
        if (entry is None and not ticket.is_surely_kept) or verdict is not None:
            return self._take(verdict, ticket, picture)
        if errand.wait.is_over:
            raise errand.not_landed(f"the lock is {describe(picture.locks[errand.request.target.lock])}")
        assert entry is not None
        ticket.tip = entry.tip
        self.others = other_locks(picture, (ticket.lock,))
        found = errand.found(picture)
        turn_s = turn_in_s(errand, picture, ticket, found)
        if turn_s is not None and turn_s <= 0:
            return self._land_queue(picture, ticket, found)
        ticket.rearm(Swapper(errand.remote), errand.deadline)
        report = errand.place.report(picture, errand.remote.instants().latest)
        pace_s = report.next_look_s
        if turn_s is not None:
            pace_s = min(pace_s, turn_s + _PAST_TURN_S, self._landing_s())
        errand.listener(replace(report, next_look_s=pace_s))
        raise NotYet(errand.wait.capped(pace_s) or 0.0)

    def _landing_s(self) -> float:
        """Return when to look again while the lock is free: whoever is at the head is landing the queue.

        That holds for the first looks, each later than the one before; if nothing came of it, the head is dead, and the
        usual pace is enough.
        """
        self.looks += 1
        if self.looks > _EXPECTANT_LOOKS:
            return math.inf
        jitter = self.errand.remote.system.entropy.uniform(0.7, 1.3)
        return self.errand.request.queue.landing_s * max(1, self.looks - 1) * jitter

    def _land_queue(self, picture: Picture, ticket: LandTicket, found: Found) -> Landed:
        """Land every change that waits, mine among them, in one swap."""
        errand = self.errand
        target = errand.request.target
        tip = picture.refs.get(target.ref)
        if tip is not None:
            errand.fetch([tip])
        if tip is None or not ticket.ticket.is_combinable:
            return self._land_alone(picture, ticket, found)
        from gitref_lock.runtime.combine import Combiner  # late: only the head of a queue combines

        combiner = Combiner(errand.remote, errand.change, target.lock, target.branch, errand.request.holder)
        if self.lands_alone:
            batch = combiner.alone(picture, tip, ticket.name, ticket.prepared)
        else:
            batch = combiner.gather(picture, tip, ticket.name, ticket.prepared, errand.deadline)
        edits, objects = combiner.edits(batch, picture)
        prepared = combiner.prepared(batch)
        errand.before_swap(prepared, ticket)
        if prepared.commits:
            plan, _ = fenced_plan(
                errand.remote,
                errand.change,
                target,
                prepared,
                found,
                errand.request.holder,
                landed=batch.landed,
                present=tuple(errand.present),
                tickets=edits,
                ticket_objects=objects,
            )
        else:
            # Nothing to land: the verdicts alone are written, each at its ticket's own tip.
            plan = Plan(tuple(edits), tuple(objects))
        swapper = Swapper(errand.remote)
        outcome = swapper.carry(plan, errand.deadline)
        if refuses_content(outcome) and batch.lands_others(ticket.name):
            # Perhaps it is another's commit that the server refuses: mine is judged by itself, as are theirs.
            self.lands_alone = True
            raise NotYet(0.0)
        if not isinstance(outcome, Applied):
            errand.give_up_or_repeat(outcome, swapper)
        if swapper.was_in_doubt:
            self._repeat_verdicts(edits, objects)
        self._remove_silent(picture, ticket)
        own = batch.verdict_of(ticket.name)
        assert own is not None
        self.held_at = prepared.head
        return self._end(own.verdict, ticket, How.QUEUED, tip)

    def _remove_silent(self, picture: Picture, ticket: LandTicket) -> None:
        """Remove acquire tickets that I have passed, as a claim does: every later landing would wait for them."""
        remote, lock = self.errand.remote, ticket.lock
        limit = Deadline.after(remote.system, WITHDRAW_BUDGET_S)
        removed_after_claim(remote, lock, silent(picture.queues[lock], ticket.name), limit)

    def _repeat_verdicts(self, edits: Sequence[RefEdit], objects: Sequence[GitObject]) -> None:
        """Write the verdicts that a proved landing left out: a server may die between two refs of one swap.

        Without its verdict a change that has landed would be landed again.
        """
        remote, limit = self.errand.remote, Deadline.after(self.errand.remote.system, WITHDRAW_BUDGET_S)
        with suppress(RemoteError):  # the landing stands whatever becomes of its verdicts
            seen = remote.list([edit.ref for edit in edits], limit).refs
            left = [edit for edit in edits if edit.new is not None and At(seen.get(edit.ref, ZERO_OID)) == edit.expect]
            if left:
                Swapper(remote).carry(Plan(tuple(left), tuple(objects)), limit)

    def _land_alone(self, picture: Picture, ticket: LandTicket, found: Found) -> Landed:
        """Land only my own change from the head of the queue: one that others may not land for me."""
        errand = self.errand
        prepared = errand.prepare(picture)
        verdict = Verdict(VerdictKind.LANDED, by=errand.request.holder.label, commits=prepared.commits)
        objects = ticket.verdict_objects(verdict)
        edit = RefEdit(ticket.ref, At(ticket.tip), objects[0].oid, Role.TICKET)
        queue = in_service_order(picture.queues[ticket.lock])
        ended = dead(errand.remote, ticket.lock, queue, ticket.name, errand.request.holder)
        edits, more = verdict_edits(errand.remote, ticket.lock, ended)
        plan, _ = fenced_plan(
            errand.remote,
            errand.change,
            errand.request.target,
            prepared,
            found,
            errand.request.holder,
            tags=errand.request.tags,
            present=tuple(errand.present),
            tickets=(edit, *edits, *swept(errand.remote, picture)),
            ticket_objects=(*objects, *more),
        )
        landed = errand.send(plan, prepared, How.QUEUED, ticket)
        self._remove_silent(picture, ticket)
        self.ticket = None
        return landed

    def _take(self, verdict: Verdict | None, ticket: LandTicket, picture: Picture) -> Landed:
        """Act on my ticket's verdict; None: it was swept after we slept past its life, so only the branch can tell."""
        if verdict is None:
            copies = copies_in_branch(self.errand, ticket.prepared)
            verdict = Verdict(VerdictKind.LANDED, commits=copies) if copies else None
        if verdict is None or verdict.kind not in {VerdictKind.LANDED, VerdictKind.CONFLICT}:
            self.ticket = None
            self.is_self_only = verdict is not None and verdict.kind is VerdictKind.SET_ASIDE
            raise NotYet(0.0)
        if verdict.kind is VerdictKind.LANDED and not self._is_shown(verdict, ticket, picture):
            # A claim that the branch does not bear out is no landing: the change is posted anew.
            self.ticket, self.claimed = None, ticket
            raise NotYet(self.errand.remote.system.entropy.uniform(0.5, 1.0))
        return self._end(verdict, ticket, How.COMBINED, ticket.prepared.tip)

    def _end(self, verdict: Verdict, ticket: LandTicket, how: How, base: Oid | None) -> Landed:
        """Return the landing that a proved verdict names; nobody else lands a change in conflict or set aside."""
        self.ticket = None
        if verdict.kind is not VerdictKind.LANDED:
            # A conflict is not believed but met again: my next look replays the change and says what is wrong.
            self.is_self_only = True
            raise NotYet(0.0)
        head = verdict.commits[-1] if verdict.commits else (self.held_at or base or ticket.prepared.head)
        return Landed(
            how,
            head,
            base,
            verdict.commits,
            verdict.conflicts,
            waited_s=self.errand.waited_s,
            attempts=self.errand.attempts,
        )

    def _is_shown(self, verdict: Verdict, ticket: LandTicket, picture: Picture | None = None) -> bool:
        if verdict.commits:
            listed = picture.refs.get(self.errand.request.target.ref) if picture is not None else None
            return holds_commits(self.errand, ticket.prepared, verdict.commits, listed)
        self.held_at = holds_change(self.errand)
        return self.held_at is not None

    def settle(self, error: BaseException) -> Landed | None:
        """End a posted change before giving up for ``error``: None once it is withdrawn, else the landing it became.

        Raises OutcomeUnknownError when neither can be shown, whatever ``error`` was.
        """
        ticket = self.ticket or self.claimed
        if ticket is None:
            return None
        self.errand.deadline = Deadline.after(self.errand.remote.system, WITHDRAW_BUDGET_S)
        try:
            verdict = ticket.withdraw(self.errand.deadline) if self.ticket is not None else None
            if (ticket.was_gone or self.claimed is not None) and (
                copies := copies_in_branch(self.errand, ticket.prepared)
            ):
                verdict = Verdict(VerdictKind.LANDED, commits=copies)
            if verdict is None or verdict.kind is not VerdictKind.LANDED:
                self.ticket = None
                return None
            if not self._is_shown(verdict, ticket):
                self.ticket = None
                error.add_note("another runner claimed to have landed this change, but the branch does not show it")
                return None
            return self._end(verdict, ticket, How.COMBINED, ticket.prepared.tip)
        except (RemoteError, LandingError, GitrefLockError) as failure:
            raise OutcomeUnknownError(
                f"the change was posted and may still be landed by another runner: {failure}",
                hint=self.errand.check,
                fields={"ticket": ticket.ref, "commit": ticket.prepared.head},
            ) from error
