"""One push between its snapshot and its end, as its clone sees it: the change, the journal, the local move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from gitref_lock.core.names import ZERO_OID, InvalidNameError, Oid, RefName, ref_name
from gitref_lock.errors import STOPS, ConfigurationError, UsageError
from gitref_lock.landing.change import Change, Prepared
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commands import LIMIT_S, LocalCommands
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.graph import commit_of, is_reachable, parents_of
from gitref_lock.landing.hooks import Hooks
from gitref_lock.landing.identity import signature
from gitref_lock.landing.journal import Journal, JournalLanding, discard_journal, write_journal
from gitref_lock.landing.local_move import MoveReport, apply_move, recover
from gitref_lock.landing.merge.policy import Policy
from gitref_lock.landing.move_plan import missing_blobs, plan_move
from gitref_lock.landing.shallow import write_boundary
from gitref_lock.landing.signing import wants_signature
from gitref_lock.landing.workspace import Snapshot, change_of
from gitref_lock.ports import FetchRequest, RemoteError
from gitref_lock.pushing.options import PushOptions
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import How, Landed, PushRequest
from gitref_lock.runtime.landing_plan import Tag, Target
from gitref_lock.runtime.retry import reading

if TYPE_CHECKING:
    from gitref_lock.runtime.land_ticket import LandTicket
    from gitref_lock.runtime.lease import Lease
    from gitref_lock.runtime.remote import Remote


_LOCAL_BUDGET_S = 60.0


class ClonePush:
    """What one push does with its clone. A context manager: it ends with what conflict commands needed."""

    def __init__(
        self,
        remote: Remote,
        checkout: Checkout,
        options: PushOptions,
        snapshot: Snapshot,
        policy: Policy,
        target: Target,
        now_s: int,
        deadline: Deadline,
    ) -> None:
        self._remote = remote
        self._checkout = checkout
        self._options = options
        self._snapshot = snapshot
        self._target = target
        self._deadline = deadline
        self._now_s = now_s
        self._nonce = remote.system.entropy.nonce()
        self._journal: Journal | None = None
        self._policy = policy
        name = options.remote_name
        self._filter = checkout.setting("remote", "partialCloneFilter", name) if name else None
        fetch_missing = self._fetch_missing if self._filter else None
        self._commands = LocalCommands(checkout, deadline.capped(LIMIT_S), fetch_missing)
        self.change: Change = change_of(
            checkout,
            snapshot,
            replace(policy, runner=self._commands),
            now_s,
            squash_message=self._squash_message() if options.squash and snapshot.ours.commits else None,
            promisor_filter=self._filter,
            fetch_missing=fetch_missing,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary folders of conflict commands."""
        self._commands.close()

    def ask_pre_push(self) -> None:
        """Run the clone's pre-push hook: it may refuse, and Git LFS uploads its content there."""
        hooks = Hooks(self._checkout)
        if not self._options.selection.runs_hooks or hooks.find("pre-push") is None:
            return
        url, tracking = self._remote.store.display_url, self._tracking()
        local = self._checkout.head_ref()
        known = self._checkout.ref(tracking) if tracking is not None else None
        update = (local, self.change.head, self._target.ref, known or ZERO_OID)
        hooks.pre_push(self._options.remote_name or url, url, [update])

    def _squash_message(self) -> str:
        if self._options.wish.messages:
            return "\n\n".join(self._options.wish.messages).rstrip("\n") + "\n"
        newest = self._checkout.commit_object(self._snapshot.ours.commits[-1])
        return bytes(newest.message).decode("utf-8", "surrogateescape")

    def _fetch_missing(self, oids: Sequence[Oid]) -> None:
        from gitref_lock.landing.object_store import StoreSink

        request, system = FetchRequest(wants=tuple(oids)), self._remote.system
        sink = StoreSink(self.change.store)
        reading(system, lambda: self._remote.store.fetch(request, sink), self._deadline)

    def request(self, lease: Lease | None) -> PushRequest:
        """Return the push that the runtime is asked for."""
        options, checkout = self._options, self._checkout
        combinable = (
            options.combine
            and self._policy.is_declarative
            and not options.tags
            and not wants_signature(checkout)
            and (options.squash or not self._snapshot.ours.has_merge)
            and not checkout.config.subsections("merge")
        )
        return PushRequest(
            target=self._target,
            holder=options.holder,
            wait_s=options.wait_s,
            priority=options.priority,
            policy=self._policy.to_json() if combinable else {},
            is_combinable=combinable,
            may_create=self._may_create(),
            tags=self._tags(),
            keep=options.keep,
            require_fence=options.require_fence,
            may_degrade=options.may_degrade,
            ignores_lock=options.ignores_lock,
            emergency=options.emergency,
            lease=lease,
            queue=options.queue,
        )

    def _may_create(self) -> bool:
        """Tell whether a branch that the remote lacks may be created: named by hand, or never seen there."""
        if self._options.branch is not None:
            return True
        tracking = self._tracking()
        return tracking is None or self._checkout.ref(tracking) is None

    def _tracking(self) -> RefName | None:
        name = self._options.remote_name
        return self._checkout.tracking_ref(name, self._target.branch) if name else None

    def _tags(self) -> tuple[Tag, ...]:
        if not self._options.tags:
            return ()
        who = signature(self._checkout, "committer", self._now_s)
        sign = "-" if who.offset_s < 0 else "+"
        hours, minutes = divmod(abs(who.offset_s) // 60, 60)
        tagger = f"{who.name} <{who.email}> {who.at_s} {sign}{hours:02d}{minutes:02d}"
        newest = self._checkout.commit_object(self._snapshot.ours.commits[-1])
        subject = newest.message.decode("utf-8", "surrogateescape").splitlines()[:1]
        message = self._options.tag_message or "".join(subject)
        try:
            refs = [ref_name(f"refs/tags/{name}") for name in self._options.tags]
        except InvalidNameError as error:
            raise UsageError(str(error), code="bad-name") from error
        return tuple(Tag(ref, message, tagger) for ref in refs)

    # the clone

    def note(self, prepared: Prepared, ticket: LandTicket | None) -> None:
        """Write the journal for what is about to be sent."""
        extra = {"ticket": ticket.ref, "base": prepared.tip or ""} if ticket is not None else {}
        self._write_journal(prepared.head, extra)

    def _write_journal(self, head: Oid, extra: Mapping[str, str]) -> Journal:
        """Have the move to ``head`` on disk; what lies there already is not written again."""
        checkout, target = self._checkout, self._target
        own = self._snapshot.staged if self._snapshot.commit is not None else None
        move = plan_move(checkout, self._snapshot.head, head, own)
        tracking = self._tracking()
        landing = JournalLanding(
            remote=self._remote.store.display_url,
            branch=target.ref,
            lock_ref=self._remote.namespace.lock_ref(target.lock),
            nonce=self._nonce,
            candidates=(head,),
            tracking_ref=tracking,
            tracking_before=checkout.ref(tracking) if tracking is not None else None,
            moves_head=self._moves_head(head),
            extra=extra,
        )
        if self._journal is None or (self._journal.landing, self._journal.move) != (landing, move):
            self._journal = write_journal(checkout, move, landing)
        return self._journal

    def _moves_head(self, head: Oid) -> bool:
        """Tell whether HEAD follows the landing: its branch did land, or detached it stood on what was landed upon.

        A pull request's merge commit is no such thing: what was landed on the branch lacks the other side's files.
        """
        checkout, old = self._checkout, self._snapshot.head
        branch = checkout.head_branch()
        if branch is not None or old is None:
            return branch in {None, self._target.branch}
        tracking = self._tracking()
        if tracking is not None and checkout.ref(tracking) == old:
            return True
        is_below = is_reachable(checkout.store, old, head)
        if is_below is None and self._options.ci_branch == self._target.branch:
            commit = commit_of(checkout.store, old)
            return commit is not None and len(parents_of(commit)) < 2
        return is_below is True

    def forget(self) -> None:
        """Drop the journal: the change is surely not in the branch."""
        discard_journal(self._checkout)
        self._journal = None

    def move(self, landed: Landed) -> MoveReport:
        """Move the clone to what was landed; a failure or a signal here does not undo a success."""
        try:
            return self._move(landed)
        except STOPS:
            # Later signals leave time to clean up: what was begun is finished, as the next command would.
            return self.finish(landed)

    def finish(self, landed: Landed) -> MoveReport:
        """Finish a move that a signal broke off, as the next command would."""
        try:
            found = recover(self._checkout, lambda _journal: landed.head, sleeper=self._remote.system.sleeper)
        except (LandingError, ConfigurationError, OSError, *STOPS) as error:
            return MoveReport(local_updated=False, reason=str(error))
        if found.move is None and self._journal is None and landed.head != self._snapshot.head:
            return MoveReport(local_updated=False, reason="a signal came before the clone could follow")
        return found.move or MoveReport(local_updated=True)

    def _move(self, landed: Landed) -> MoveReport:
        try:
            if landed.how is How.ALREADY and landed.head == self._snapshot.head:
                return MoveReport(local_updated=True)
            # What another runner made of our change is here only as a name until it is fetched.
            deadline = Deadline.after(self._remote.system, _LOCAL_BUDGET_S)
            reading(self._remote.system, lambda: self.change.fetch(self._remote.store, [landed.head]), deadline)
            write_boundary(self._checkout, self.change.shallow, landed.head)
            journal = self._write_journal(landed.head, {})
            missing = missing_blobs(self._checkout, journal.move)
            if missing:
                self._fetch_missing(missing)
            return apply_move(self._checkout, journal, sleeper=self._remote.system.sleeper)
        except (LandingError, ConfigurationError, RemoteError, OSError) as error:
            return MoveReport(local_updated=False, reason=str(error))
