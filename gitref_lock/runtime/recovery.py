"""After a kill: what became of the landing that the journal names, asked of the remote before anything else is done.

The landing is there, or it surely is not and cannot come any more: a posted change is withdrawn, and the lock is moved
to a fresh state so that a late copy of the swap can only be refused (docs/protocol.md, sections 2 and 6).
"""

from __future__ import annotations

import math

from gitref_lock.core.machine import Stance
from gitref_lock.core.names import LockName, Oid, RefName, TicketName
from gitref_lock.core.record import Event, Holder
from gitref_lock.core.refs import Absent, Applied, At, RefEdit, Role, Superseded
from gitref_lock.core.ticket import MAX_LAND_LIFE_S, Kind, Ticket, Verdict, VerdictKind
from gitref_lock.errors import OutcomeUnknownError
from gitref_lock.landing.change import Change, Prepared
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.graph import OurCommits, find_ours
from gitref_lock.landing.journal import Journal, journal_path, read_journal
from gitref_lock.landing.local_move import Recovery, recover
from gitref_lock.landing.merge.policy import Policy
from gitref_lock.landing.replay import Committer, Replayer
from gitref_lock.landing.shallow import write_boundary
from gitref_lock.landing.workspace import disk_store
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.land_ticket import verdict_objects
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.retry import reading
from gitref_lock.runtime.swapper import Plan, Swapper, plan_for_locks
from gitref_lock.runtime.writing import Found, move, write

NOBODY = b"gitref-lock <gitref-lock@localhost>"
"""Who makes the copies by which a landed change is recognised. They stay in this clone, where git fsck reads them."""

_TRIES = 6


def resume(remote: Remote, checkout: Checkout, holder: Holder, deadline: Deadline) -> str:
    """Finish or drop what an earlier command left in this clone; return a sentence about it, '' when there is nothing.

    Call while holding ``Checkout.exclusive``. Raises OutcomeUnknownError while the remote cannot tell.
    """
    if not journal_path(checkout).exists():
        recover(checkout, lambda _journal: None)
        return ""
    waiting = read_journal(checkout)
    if waiting is not None and waiting.landing.remote != remote.store.display_url:
        raise OutcomeUnknownError(
            f"an earlier push from this clone to {waiting.landing.remote} is unfinished, and only that remote can tell",
            code="unfinished-push",
            hint=f"push there first; where it is gone for good, remove {journal_path(checkout)}",
        )
    question = _Question(remote, checkout, holder, deadline)
    report = recover(checkout, question.landed, sleeper=remote.system.sleeper)
    journal = report.journal
    if report.outcome is Recovery.WAITING:
        why = report.move.reason if report.move is not None else "the remote could not tell"
        raise OutcomeUnknownError(
            f"an earlier push from this clone is unfinished: {why}",
            code="unfinished-push",
            hint="try again when the remote can be reached and no other program holds the index",
        )
    if journal is None:
        return ""
    if report.outcome is Recovery.FINISHED:
        return f"finished an earlier push: {journal.move.new[:12]} is on {journal.landing.branch}"
    return f"dropped an earlier push that did not land on {journal.landing.branch}"


def unfinished(remote: Remote, checkout: Checkout, deadline: Deadline) -> str:
    """Return a sentence about what an earlier command left in this clone and what the next push does about it.

    '' when there is nothing. One listing at most; nothing is written, neither here nor there.
    """
    if not journal_path(checkout).exists():
        return ""
    journal = read_journal(checkout)
    if journal is None:
        return ""
    landing = journal.landing
    what = f"an earlier push from this clone to {landing.branch} is unfinished"
    if landing.remote != remote.store.display_url:
        return f"{what}: only {landing.remote} can tell what became of it; a push there comes first"
    if remote.list([landing.branch], deadline).refs.get(landing.branch) in landing.candidates:
        return f"{what}: it has landed as {journal.move.new[:12]}; the next push moves this clone there first"
    return f"{what}: the next push asks the remote whether it has landed, and finishes or drops it first"


class _Question:
    """Asks the remote about one journal."""

    def __init__(self, remote: Remote, checkout: Checkout, holder: Holder, deadline: Deadline) -> None:
        self._remote = remote
        self._checkout = checkout
        self._holder = holder
        self._deadline = deadline

    def landed(self, journal: Journal) -> Oid | bool | None:
        """Return what the journal's landing became: the commit to move to, or False once it can come no more."""
        ticket = journal.landing.extra.get("ticket", "")
        if ticket:
            verdict = self._end_ticket(RefName(ticket))
            if verdict.kind is VerdictKind.LANDED and verdict.commits:
                head = verdict.commits[-1]
                return head if self._is_in_branch(journal, head) else False
        found = self._in_branch(journal, has_ticket=bool(ticket))
        if found is None:
            self._make_impossible(journal)
            found = self._in_branch(journal, has_ticket=bool(ticket))
        return found or False

    def _in_branch(self, journal: Journal, *, has_ticket: bool) -> Oid | None:
        """Return the commit by which the change is in the branch: ours, or another runner's replay of a posted one."""
        for candidate in journal.landing.candidates:
            if self._is_in_branch(journal, candidate):
                return candidate
        return self._copy_in_branch(journal) if has_ticket else None

    def _copy_in_branch(self, journal: Journal) -> Oid | None:
        base, head = journal.landing.extra.get("base", ""), journal.landing.candidates[0]
        tip = self._tip(journal)
        if not base or tip is None:
            return None
        change = self._change()
        offered = find_ours(change.store, head, [Oid(base)], change.shallow)
        prepared = Prepared(Oid(base), head, offered.commits, ())
        copies = reading(
            self._remote.system,
            lambda: change.find_copies(self._remote.store, prepared, tip, timeout_s=self._call_s()),
            self._deadline,
        )
        if copies:
            write_boundary(self._checkout, change.shallow, copies[-1])
        return copies[-1] if copies else None

    def _call_s(self) -> float | None:
        """Return how long one call may take."""
        return self._deadline.capped(self._remote.call_timeout_s)

    def _tip(self, journal: Journal) -> Oid | None:
        branch = journal.landing.branch
        return self._remote.list([branch], self._deadline).refs.get(branch)

    def _change(self) -> Change:
        store = disk_store(self._checkout)
        replayer = Replayer(store, Policy(), Committer(NOBODY, 0), store.add_object)
        haves = tuple(self._checkout.all_tracking_tips().values())[:16]
        return Change(store, OurCommits((), None, has_merge=False), replayer, haves, self._checkout.shallow())

    def _is_in_branch(self, journal: Journal, commit: Oid) -> bool:
        tip = self._tip(journal)
        if tip is None:
            return False
        change = self._change()
        base = journal.landing.tracking_before
        try:
            found = reading(
                self._remote.system,
                lambda: change.contains(self._remote.store, commit, tip, base, timeout_s=self._call_s()),
                self._deadline,
            )
        except LandingError:
            found = False
        if found:
            write_boundary(self._checkout, change.shallow, commit)
        return found

    def _end_ticket(self, ref: RefName) -> Verdict:
        """Withdraw the posted change unless it ended before; return how it ended.

        A ticket that is not there was swept after it ended, or its create is still on its way: its name is taken either
        way, so that no late copy can be landed any more.
        """
        parsed = self._remote.namespace.parse_ticket_ref(ref)
        verdict = Verdict(VerdictKind.WITHDRAWN, by=self._holder.label, why="its runner was killed")
        if parsed is None:
            raise OutcomeUnknownError(
                f"an earlier push from this clone posted {ref}, which is not under the present prefix",
                code="unfinished-push",
                hint="push once with the --ref-prefix of that push",
            )
        lock, name = parsed
        for _ in range(_TRIES):
            picture = self._remote.look([lock], self._deadline, stop_at=name)
            entry = next((item for item in picture.queues[lock] if item.name == name), None)
            if entry is not None and entry.ticket is not None and entry.ticket.verdict is not None:
                return entry.ticket.verdict
            ticket = entry.ticket if entry is not None else None
            objects = verdict_objects(self._remote, ticket or self._stand_in(lock, name), verdict)
            edit = RefEdit(ref, Absent() if entry is None else At(entry.tip), objects[0].oid, Role.TICKET)
            if isinstance(Swapper(self._remote).carry(Plan((edit,), objects), self._deadline), Applied):
                return verdict
        raise OutcomeUnknownError("the change that an earlier push posted could not be withdrawn")

    def _stand_in(self, lock: LockName, name: TicketName) -> Ticket:
        expires_at = math.ceil(self._remote.instants().latest + MAX_LAND_LIFE_S)
        return Ticket(Kind.LAND, (lock,), name.nonce, self._holder, 0, name.rank_ms, expires_at)

    def _make_impossible(self, journal: Journal) -> None:
        """Move a free lock to a fresh state: a copy of the killed push's swap that is still on its way is refused."""
        parsed = self._remote.namespace.parse_lock_ref(journal.landing.lock_ref or "")
        if parsed is None:
            return
        for _ in range(_TRIES):
            state = self._remote.look([parsed], self._deadline, with_queue=False).locks[parsed]
            stance = self._remote.stance(parsed, state)
            event = {Stance.FREE: Event.ABANDON, Stance.EXPIRED: Event.REAP}.get(stance)
            if event is None:
                return
            plan = plan_for_locks(
                self._remote, [move(Found(parsed, state, stance), event, write(self._remote, self._holder))]
            )
            outcome = Swapper(self._remote).carry(plan, self._deadline)
            if isinstance(outcome, Applied | Superseded):
                return
        raise OutcomeUnknownError("the lock could not be moved past an earlier push")
