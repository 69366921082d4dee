"""Push from a clone: stage, commit, land under the lock, then move the clone. The command line is a thin layer over it.

Until the landing is proved nothing visible in the clone changes. A journal, written before the swap is sent, lets the
next command finish or drop the local move after a kill (docs/protocol.md, section 6).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitref_lock.core.names import ZERO_OID, InvalidNameError, LockName, Oid, RefName, branch_ref, lock_name, ref_name
from gitref_lock.core.record import Holder
from gitref_lock.core.text import JsonObject
from gitref_lock.core.timing import QueueTiming
from gitref_lock.errors import ConfigurationError, ConflictError, GitrefLockError, PolicyError, UsageError
from gitref_lock.landing.change import Change, NothingSurvivesError, Prepared
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.errors import HookError, LandingError, PathspecError
from gitref_lock.landing.hooks import Hooks
from gitref_lock.landing.identity import signature
from gitref_lock.landing.journal import JournalLanding, discard_journal, write_journal
from gitref_lock.landing.local_move import MoveReport, apply_move
from gitref_lock.landing.merge.policy import Policy, parse_rules
from gitref_lock.landing.merge.policy import PolicyError as BadPolicyError
from gitref_lock.landing.move_plan import missing_blobs, plan_move
from gitref_lock.landing.replay import MergeOnMovedTipError, ReplayConflictError
from gitref_lock.landing.shallow import write_boundary
from gitref_lock.landing.signing import wants_signature
from gitref_lock.landing.trees import PathChange
from gitref_lock.landing.workspace import Selection, Snapshot, change_of, take_snapshot
from gitref_lock.ports import FetchRequest, RemoteError
from gitref_lock.runtime.combine import conflict_json
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import How, Landed, PushRequest
from gitref_lock.runtime.landing_plan import Tag, Target
from gitref_lock.runtime.push import Pusher
from gitref_lock.runtime.recovery import resume
from gitref_lock.runtime.retry import reading
from gitref_lock.runtime.waiting import Listener, no_listener

if TYPE_CHECKING:
    from gitref_lock.runtime.land_ticket import LandTicket
    from gitref_lock.runtime.lease import Lease
    from gitref_lock.runtime.remote import Remote


_LOCAL_BUDGET_S = 60.0
_WRONG_WORDS = frozenset({"empty-message", "bad-trailer", "bad-author"})
_MEANING: tuple[tuple[type[LandingError], type[GitrefLockError]], ...] = (
    (PathspecError, UsageError),
    (HookError, PolicyError),
    (ReplayConflictError, ConflictError),
    (MergeOnMovedTipError, ConflictError),
    (NothingSurvivesError, ConflictError),
    (LandingError, ConfigurationError),
)


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What the user asks of a push. ``branch`` None means the checked-out one; ``rules`` are ``GLOB=STRATEGY`` texts.

    ``ci_branch`` is what the CI's variables name, for a detached HEAD.
    """

    holder: Holder
    selection: Selection = field(default_factory=Selection)
    wish: CommitWish = field(default_factory=lambda: CommitWish(()))
    branch: str | None = None
    ci_branch: str | None = None
    remote_name: str | None = None
    rules: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tag_message: str | None = None
    wait_s: float | None = None
    priority: int = 0
    require_fence: bool = False
    may_degrade: bool = True
    combine: bool = True
    squash: bool = False
    keep: bool = False
    emergency: str = ""
    dry_run: bool = False
    queue: QueueTiming = field(default_factory=QueueTiming)


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did. ``landed`` is None when there was nothing to land, or for a dry run.

    ``left`` are local files that were not touched although the landing changed them; ``changes`` the paths of the new
    commit with one letter each (A, M, D, T).
    """

    branch: str
    snapshot: Snapshot
    changes: tuple[tuple[str, str], ...]
    landed: Landed | None = None
    move: MoveReport | None = None
    recovered: str = ""

    def to_json(self) -> JsonObject:
        """Return the report under the keys that scripts know."""
        landed, move = self.landed, self.move
        is_pushed = landed is not None and bool(landed.commits)
        return {
            "changes_detected": not self.snapshot.staged.is_empty,
            "committed": self.snapshot.commit is not None,
            "commit_hash": landed.head if landed is not None else self.snapshot.head,
            "pushed": is_pushed,
            "landed": landed.how.value if landed is not None else None,
            "local_updated": move.local_updated if move is not None else False,
            "branch": self.branch,
            "changes": [{"status": letter, "path": path} for letter, path in self.changes],
            "conflicts": list(landed.conflicts) if landed is not None else [],
            "rescued": list(landed.rescued) if landed is not None else [],
            "dropped": list(landed.dropped) if landed is not None else [],
            "left": [item.path.decode("utf-8", "replace") for item in move.left] if move is not None else [],
            "waited_seconds": round(landed.waited_s, 3) if landed is not None else 0.0,
            "attempts": landed.attempts if landed is not None else 0,
        }


@contextmanager
def opened(folder: Path, environ: Mapping[str, str]) -> Iterator[Checkout]:
    """Open the clone that contains ``folder``; what stands in the way is raised as a GitrefLockError."""
    try:
        with Checkout.open(folder, environ) as checkout:
            yield checkout
    except LandingError as error:
        raise translated(error) from error


def translated(error: LandingError) -> GitrefLockError:
    """Return the error that scripts see for what stopped a landing on this machine."""
    kind = next((found for local, found in _MEANING if isinstance(error, local)), ConfigurationError)
    kind = UsageError if error.code in _WRONG_WORDS else kind
    return kind(error.message, code=error.code, hint=error.hint)


def push(
    remote: Remote,
    checkout: Checkout,
    options: PushOptions,
    deadline: Deadline,
    *,
    listener: Listener = no_listener,
    lease: Lease | None = None,
) -> PushReport:
    """Push from ``checkout`` to ``remote``; raise GitrefLockError or LandingError when nothing was landed.

    Returns only when the change is in the remote branch, or when there was nothing to land.
    """
    checkout.require_settled()
    branch = _branch(checkout, options)
    policy = _policy(options)
    with checkout.exclusive():
        recovered = resume(remote, checkout, options.holder, deadline)
        now_s = int(remote.system.clock.wall())
        snapshot = take_snapshot(checkout, options.selection, options.wish, now_s)
        report = PushReport(branch, snapshot, _changes(snapshot), recovered=recovered)
        if options.dry_run or snapshot.is_empty:
            return report
        target = Target(branch, branch_ref(branch), _lock(branch))
        run = _Run(remote, checkout, options, snapshot, policy, target, now_s)
        run.ask_pre_push()
        try:
            landed = Pusher.of(
                remote,
                run.change,
                run.request(lease),
                deadline,
                listener=listener,
                before_swap=run.note,
            ).run()
        except ReplayConflictError as error:
            run.forget()
            raise ConflictError(
                error.message, hint=error.hint, fields={"conflicts": [conflict_json(item) for item in error.conflicts]}
            ) from error
        except (MergeOnMovedTipError, NothingSurvivesError) as error:
            run.forget()
            raise ConflictError(error.message, code=error.code, hint=error.hint) from error
        except (GitrefLockError, LandingError) as error:
            if getattr(error, "code", "") not in {"outcome-unknown", "breached"}:
                run.forget()
            raise
        return PushReport(branch, snapshot, report.changes, landed, run.move(landed), recovered)


def _branch(checkout: Checkout, options: PushOptions) -> str:
    name = options.branch or checkout.head_branch() or options.ci_branch
    if not name:
        raise UsageError(
            "HEAD is detached and no variable of the CI names the branch",
            code="no-branch",
            hint="name it: gitref-lock push --branch NAME",
        )
    return name


def _policy(options: PushOptions) -> Policy:
    """Return the conflict policy; in an emergency our side wins after what the rules say."""
    try:
        return Policy(parse_rules((*options.rules, *(("**=ours",) if options.emergency else ()))))
    except BadPolicyError as error:
        raise UsageError(f"--strategy: {error}", code="bad-strategy") from error


def _lock(branch: str) -> LockName:
    try:
        return lock_name(branch)
    except InvalidNameError as error:
        raise UsageError(f"the branch {branch!r} cannot have a lock: {error}", code="bad-name") from error


def _changes(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    def letter(item: PathChange) -> str:
        if item.old is None:
            return "A"
        if item.new is None:
            return "D"
        return "M" if stat.S_IFMT(item.old.mode) == stat.S_IFMT(item.new.mode) else "T"

    return tuple((letter(item), item.path.decode("utf-8", "replace")) for item in snapshot.staged.changes)


class _Run:
    """One push between its snapshot and its end: the change, the journal, the local move."""

    def __init__(
        self,
        remote: Remote,
        checkout: Checkout,
        options: PushOptions,
        snapshot: Snapshot,
        policy: Policy,
        target: Target,
        now_s: int,
    ) -> None:
        self._remote = remote
        self._checkout = checkout
        self._options = options
        self._snapshot = snapshot
        self._target = target
        self._now_s = now_s
        self._nonce = remote.system.entropy.nonce()
        self._policy = policy
        name = options.remote_name
        self._filter = checkout.setting("remote", "partialCloneFilter", name) if name else None
        self.change: Change = change_of(
            checkout,
            snapshot,
            self._policy,
            now_s,
            squash_message=self._squash_message() if options.squash else None,
            promisor_filter=self._filter,
            fetch_missing=self._fetch_missing if self._filter else None,
        )

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
        from gitref_lock.landing.change import StoreSink

        self._remote.store.fetch(FetchRequest(wants=tuple(oids)), StoreSink(self.change.store))

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
            policy=_travelling(self._policy) if combinable else {},
            is_combinable=combinable,
            may_create=self._may_create(),
            tags=self._tags(),
            keep=options.keep,
            require_fence=options.require_fence,
            may_degrade=options.may_degrade,
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

    def _write_journal(self, head: Oid, extra: Mapping[str, str]) -> None:
        checkout, target = self._checkout, self._target
        branch = checkout.head_branch()
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
            moves_head=branch is None or branch == target.branch,
            extra=extra,
        )
        self._journal = write_journal(checkout, move, landing)

    def forget(self) -> None:
        """Drop the journal: the change is surely not in the branch."""
        discard_journal(self._checkout)

    def move(self, landed: Landed) -> MoveReport:
        """Move the clone to what was landed; a failure here does not undo a success."""
        try:
            if landed.how is How.ALREADY and landed.head == self._snapshot.head:
                return MoveReport(local_updated=True)
            # What another runner made of our change is here only as a name until it is fetched.
            deadline = Deadline.after(self._remote.system, _LOCAL_BUDGET_S)
            reading(self._remote.system, lambda: self.change.fetch(self._remote.store, [landed.head]), deadline)
            write_boundary(self._checkout, self.change.shallow, landed.head)
            self._write_journal(landed.head, {})
            missing = missing_blobs(self._checkout, self._journal.move)
            if missing:
                self._fetch_missing(missing)
            return apply_move(self._checkout, self._journal, sleeper=self._remote.system.sleeper)
        except (LandingError, ConfigurationError, RemoteError, OSError) as error:
            return MoveReport(local_updated=False, reason=str(error))


def _travelling(policy: Policy) -> JsonObject:
    return {"rules": [[rule.glob, rule.spec] for rule in policy.rules]}
