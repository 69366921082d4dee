"""The push itself: from the clone as it is to a landing that is proved, or to an error that says why not."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitref_lock.core.names import InvalidNameError, LockName, branch_ref, lock_name
from gitref_lock.errors import STOPS, ConfigurationError, ConflictError, GitrefLockError, PolicyError, UsageError
from gitref_lock.landing.change import NothingSurvivesError
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.errors import HookError, LandingError, PathspecError
from gitref_lock.landing.merge.policy import Policy, parse_rules
from gitref_lock.landing.merge.policy import PolicyError as BadPolicyError
from gitref_lock.landing.merge.results import conflict_json
from gitref_lock.landing.replay import MergeOnMovedTipError, ReplayConflictError
from gitref_lock.landing.trees import PathChange
from gitref_lock.landing.workspace import Snapshot, take_snapshot
from gitref_lock.pushing.clone import ClonePush
from gitref_lock.pushing.options import PushOptions
from gitref_lock.pushing.report import PushReport
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import Landed
from gitref_lock.runtime.landing_plan import Target
from gitref_lock.runtime.push import Pusher
from gitref_lock.runtime.recovery import resume, unfinished
from gitref_lock.runtime.waiting import Listener, no_listener

if TYPE_CHECKING:
    from gitref_lock.runtime.lease import Lease
    from gitref_lock.runtime.remote import Remote


_WRONG_WORDS = frozenset({"empty-message", "bad-trailer", "bad-author"})
_MEANING: tuple[tuple[type[LandingError], type[GitrefLockError]], ...] = (
    (PathspecError, UsageError),
    (HookError, PolicyError),
    (ReplayConflictError, ConflictError),
    (MergeOnMovedTipError, ConflictError),
    (NothingSurvivesError, ConflictError),
    (LandingError, ConfigurationError),
)


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

    Returns only when the change is in the remote branch, or when there was nothing to land. A signal, or Python's
    KeyboardInterrupt, ends the wait: what was posted is withdrawn first, within seconds. When it comes too late, the
    change being in the branch already, the push is finished and returns all the same.
    """
    try:
        return _push(remote, checkout, options, deadline, listener, lease)
    except OSError as error:
        # The journal stays when there is one: the next command asks the remote what became of it.
        raise ConfigurationError(
            f"this clone cannot be read or written: {error.strerror or error}",
            code="local-io",
            hint="make room or repair the folder, and push again",
        ) from error


def _push(
    remote: Remote,
    checkout: Checkout,
    options: PushOptions,
    deadline: Deadline,
    listener: Listener,
    lease: Lease | None,
) -> PushReport:
    checkout.require_settled()
    branch = _branch(checkout, options)
    policy = _policy(options)
    with checkout.exclusive():
        if options.dry_run:
            recovered = unfinished(remote, checkout, deadline)
        else:
            recovered = resume(remote, checkout, options.holder, deadline)
        now_s = int(remote.system.clock.wall())
        snapshot = take_snapshot(checkout, options.selection, options.wish, now_s, dry_run=options.dry_run)
        report = PushReport(branch, snapshot, _changes(snapshot), recovered=recovered)
        if options.tags and snapshot.is_empty:
            raise UsageError(
                "there is nothing to land, and a tag is made only together with a landing",
                code="nothing-to-tag",
                hint="--allow-empty lands an empty commit; a commit that has landed is tagged with git",
            )
        creates = snapshot.is_empty and _is_missing(remote, options, snapshot, deadline)
        if options.dry_run or (snapshot.is_empty and not creates):
            return replace(report, creates=creates)
        target = Target(branch, branch_ref(branch), _lock(branch))
        with ClonePush(remote, checkout, options, snapshot, policy, target, now_s, deadline) as run:
            run.ask_pre_push()
            pusher = Pusher.of(
                remote, run.change, run.request(lease), deadline, listener=listener, before_swap=run.note
            )
            landed: Landed | None = None
            try:
                landed = _land(run, pusher)
                moved = run.move(landed)
            except STOPS:
                # Too late to stop it: what is in the branch is reported, and no signal leaves time for less.
                landed = landed or pusher.errand.proved()
                if landed is None:
                    raise
                moved = run.finish(landed)
            return PushReport(branch, snapshot, report.changes, landed, moved, recovered, creates)


def _is_missing(remote: Remote, options: PushOptions, snapshot: Snapshot, deadline: Deadline) -> bool:
    """Tell whether a branch that is named by hand is not on the remote, so that what is checked out makes it."""
    if options.branch is None or snapshot.head is None:
        return False
    ref = branch_ref(options.branch)
    return ref not in remote.list([ref], deadline).refs


def _land(run: ClonePush, pusher: Pusher) -> Landed:
    """Land the change; drop the journal when it surely did not land."""
    try:
        return pusher.run()
    except ReplayConflictError as error:
        run.forget()
        raise ConflictError(
            error.message, hint=error.hint, fields={"conflicts": [conflict_json(item) for item in error.conflicts]}
        ) from error
    except (MergeOnMovedTipError, NothingSurvivesError) as error:
        run.forget()
        raise ConflictError(error.message, code=error.code, hint=error.hint, fields=error.fields) from error
    except (GitrefLockError, LandingError) as error:
        if getattr(error, "code", "") not in {"outcome-unknown", "breached"}:
            run.forget()
        raise


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
        rules = parse_rules((*options.rules, *(("**=ours",) if options.emergency else ())))
    except BadPolicyError as error:
        raise UsageError(f"--strategy: {error}", code="bad-strategy") from error
    try:
        return Policy(rules, options.combined_trailer)
    except BadPolicyError as error:
        raise UsageError(f"--combined-trailer: {error}", code="bad-trailer") from error


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
