"""``push``: commit, integrate and land under the lock, in one step."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli import options
from gitref_lock.cli.command import Run, checked, wished_wait
from gitref_lock.cli.declare import Argument, Option
from gitref_lock.errors import (
    ConfigurationError,
    LeaseLostError,
    NotAcquiredError,
    NotHeldError,
    OutcomeUnknownError,
    UsageError,
)

if TYPE_CHECKING:
    from gitref_lock.core.record import Holder
    from gitref_lock.pushing import PushOptions, PushReport
    from gitref_lock.runtime.lease import Lease

Paths = Annotated[
    list[str] | None,
    Argument(
        metavar="[PATH]...", help="What to commit (git pathspecs); default: what is staged, else tracked changes."
    ),
]
Message = Annotated[
    list[str] | None, Option("--message", "-m", metavar="TEXT", help="Commit message; several are paragraphs.")
]
MessageFile = Annotated[
    str | None, Option("--file", "-F", metavar="FILE", help="Read the commit message from FILE, '-' for stdin.")
]
Branch = Annotated[
    str | None,
    Option(
        "--branch",
        "-b",
        envvar="GITREF_LOCK_BRANCH",
        metavar="NAME",
        help="Land on this branch; created if it never was.",
    ),
]
TakeAll = Annotated[
    bool, Option("--all", "-A", envvar="GITREF_LOCK_ALL", help="Commit everything, untracked files too.")
]
AllowEmpty = Annotated[
    bool, Option("--allow-empty", envvar="GITREF_LOCK_ALLOW_EMPTY", help="Commit even without a change.")
]
Author = Annotated[
    str | None,
    Option("--author", envvar="GITREF_LOCK_AUTHOR", metavar="'NAME <MAIL>'", help="Author of the commit."),
]
Strategies = Annotated[
    list[str] | None,
    Option(
        "--strategy",
        envvar="GITREF_LOCK_STRATEGY",
        metavar="GLOB=NAME",
        help="How to resolve conflicts; first match wins.",
    ),
]
NoVerify = Annotated[
    bool, Option("--no-verify", envvar="GITREF_LOCK_NO_VERIFY", help="Skip pre-commit and commit-msg hooks.")
]
SignOff = Annotated[bool, Option("--signoff", "-s", envvar="GITREF_LOCK_SIGNOFF", help="Add a Signed-off-by trailer.")]
Trailers = Annotated[list[str] | None, Option("--trailer", metavar="'KEY: VALUE'", help="Add a trailer.")]
DryRun = Annotated[
    bool, Option("--dry-run", envvar="GITREF_LOCK_DRY_RUN", help="Say exactly what would land; change nothing.")
]
Tags = Annotated[list[str] | None, Option("--tag", metavar="NAME", help="Create an annotated tag in the same swap.")]
TagMessage = Annotated[str | None, Option("--tag-message", metavar="TEXT", help="Default: the commit's subject.")]
RequireFence = Annotated[
    bool,
    Option("--require-fence", envvar="GITREF_LOCK_REQUIRE_FENCE", help="Refuse a server that cannot check the lock."),
]
NoDegrade = Annotated[
    bool,
    Option("--no-degrade", envvar="GITREF_LOCK_NO_DEGRADE", help="Refuse a host that forbids the lock's ref."),
]
NoCombine = Annotated[
    bool,
    Option("--no-combine", envvar="GITREF_LOCK_NO_COMBINE", help="Do not let other runners land this change."),
]
CombinedTrailer = Annotated[
    str | None,
    Option(
        "--combined-trailer",
        metavar="KEY",
        envvar="GITREF_LOCK_COMBINED_TRAILER",
        help="Have another runner that lands this change name itself under this key.",
    ),
]
Squash = Annotated[
    bool, Option("--squash", envvar="GITREF_LOCK_SQUASH", help="Land local commits, merges too, as one commit.")
]
Keep = Annotated[bool, Option("--keep", envvar="GITREF_LOCK_KEEP", help="Keep the lease that this job holds.")]
Emergency = Annotated[
    str | None, Option("--emergency", metavar="REASON", help="Land now, through another's lease; recorded.")
]


def push(
    run: Run,
    paths: Paths = None,
    message: Message = None,
    message_file: MessageFile = None,
    branch: Branch = None,
    take_all: TakeAll = False,
    allow_empty: AllowEmpty = False,
    author: Author = None,
    strategy: Strategies = None,
    no_verify: NoVerify = False,
    signoff: SignOff = False,
    trailer: Trailers = None,
    dry_run: DryRun = False,
    tag: Tags = None,
    tag_message: TagMessage = None,
    wait: options.Wait = None,
    nonblock: options.Nonblock = False,
    priority: options.Priority = None,
    workflow: options.Workflow = None,
    holder: options.HolderId = None,
    require_fence: RequireFence = False,
    no_degrade: NoDegrade = False,
    no_combine: NoCombine = False,
    combined_trailer: CombinedTrailer = None,
    squash: Squash = False,
    keep: Keep = False,
    emergency: Emergency = None,
    lease: options.LeaseToken = None,
) -> None:
    """Commit, integrate and land on the branch, in one transaction with its lock.

    PATH is a git pathspec. Without PATH and -A: what is staged, or else every change of a tracked file. Exit 0 means
    that the change is in the remote branch (or that there was nothing to commit); any other code but 9 that it is not.
    """
    from gitref_lock.landing.commit import CommitWish
    from gitref_lock.landing.workspace import Selection
    from gitref_lock.pushing import PushOptions

    reason = _reason(emergency)
    who = run.holder(holder, workflow)
    wait_s, points = _waiting(run, who, wished_wait(wait, nonblock=nonblock), priority)
    run.try_again_for(who.workflow)
    held = _lease_of(run, who, branch or run.default_branch(), lease)
    if keep and held is None:
        raise NotHeldError("--keep: this job holds no lease that a push could keep", hint="gitref-lock acquire")
    wanted = PushOptions(
        holder=who,
        selection=Selection(
            tuple(path.encode("utf-8", "surrogateescape") for path in paths or ()), take_all, allow_empty, not no_verify
        ),
        wish=CommitWish((*(message or ()), *_from_file(message_file)), author, signoff, tuple(trailer or ())),
        branch=branch,
        ci_branch=run.ci.branch,
        remote_name=run.session.spec.name,
        rules=(*(strategy or ()), *(f"{glob}={name}" for glob, name in run.settings.strategies)),
        tags=tuple(tag or ()),
        tag_message=tag_message,
        wait_s=wait_s,
        priority=points,
        require_fence=require_fence,
        may_degrade=not no_degrade,
        combine=not no_combine,
        combined_trailer=combined_trailer or run.settings.combined_trailer or "",
        squash=squash,
        keep=keep or _is_of_run(run, held),
        emergency=reason,
        dry_run=dry_run,
    )
    _carry_out(run, wanted, held)


def _reason(emergency: str | None) -> str:
    if emergency is not None and not emergency.strip():
        raise UsageError("--emergency needs a reason")
    return emergency or ""


def _carry_out(run: Run, wanted: PushOptions, held: Lease | None) -> None:
    """Push, keep the lease file true, and say what was done."""
    from gitref_lock.cli.merging import check_merging
    from gitref_lock.cli.waiting import WaitDisplay
    from gitref_lock.pushing import opened
    from gitref_lock.pushing import push as land

    check_merging(run.settings)
    display = WaitDisplay(run.out, run.system.clock)

    def once(options: PushOptions) -> PushReport:
        with opened(run.around.folder, run.environ) as checkout:
            return land(run.session.remote, checkout, options, run.deadline, listener=display, lease=held)

    try:
        report = once(wanted)
    except ConfigurationError as error:
        _hint_at_way_out(run, error)
        raise
    except OutcomeUnknownError as error:
        where = {"branch": wanted.branch or run.default_branch(), "remote": run.display_url}
        error.fields = {**where, **error.fields}
        raise
    except NotAcquiredError as error:
        if error.code != "lock-timeout" or run.deadline.is_over or not _may_proceed_unlocked(run, wanted):
            raise
        run.out.warn(f"{error.message}; on-timeout is proceed-unlocked: LANDING WITHOUT THE LOCK")
        report = once(replace(wanted, ignores_lock=True))
    run.has_landed = report.landed is not None
    if held is not None and report.landed is not None:
        _store(run, held)
    _show(run, wanted, report)


def _hint_at_way_out(run: Run, error: ConfigurationError) -> None:
    """Name what removes the lock in the way of the branch's own: a branch cannot choose another name."""
    lock = run.session.remote.namespace.parse_lock_ref(str(error.fields.get("blocking_ref", "")))
    if lock is not None:
        error.hint = (
            f"the branch's own lock cannot exist beside the lock {lock}: gitref-lock cleanup {lock} --prune "
            "--older-than 1m removes it once it is free and more than a day old"
        )


def _may_proceed_unlocked(run: Run, wanted: PushOptions) -> bool:
    """Tell whether the configuration says to land without the lock after the wait; a required fence forbids it."""
    rule = run.settings.rule_for(wanted.holder.workflow)
    choice = rule.on_timeout if rule.on_timeout is not None else run.settings.on_timeout
    return choice == "proceed-unlocked" and not wanted.require_fence and wanted.may_degrade


def _waiting(run: Run, who: Holder, wished: float | None, priority: int | None) -> tuple[float | None, int]:
    """Return how long to wait and with which priority: flag or variable, the workflow's rule, the file, the default."""
    from gitref_lock.config import parse_priority

    rule = run.settings.rule_for(who.workflow)
    wait_s = next((item for item in (wished, rule.wait_s, run.settings.wait_s) if item is not None), None)
    points = checked("--priority", priority, parse_priority)
    return wait_s, run.settings.priority_for(who.workflow) if points is None else points


def _lease_of(run: Run, who: Holder, branch: str | None, token: str | None) -> Lease | None:
    """Return the lease on the branch's lock that this job holds already, None when it holds none."""
    from gitref_lock.core.names import InvalidNameError, lock_name
    from gitref_lock.runtime.possession import find_mine, revive, stored_leases

    try:
        names = (lock_name(branch or ""),)
    except InvalidNameError:
        return None
    given = run.token(token, names)
    stored = stored_leases(run.session, names, given)
    if given is None and stored and not run.session.writer.may_land_under(stored[0].writer):
        run.out.warn(f"another session holds {names[0]} from this clone; --lease TOKEN lands under its lease")
        return None
    if stored:
        return revive(run.session.remote, stored, who)
    if given is None:
        return None
    mine = find_mine(run.session, names, given, who, run.deadline)
    if not mine.leases and token is None and not run.is_at_home:
        return None  # the enclosing run holds the lock of that name on another remote
    if not mine.leases:
        raise LeaseLostError(f"the lease that was given is not the present one of {names[0]}", hint="acquire it again")
    return mine.leases[0]


def _is_of_run(run: Run, lease: Lease | None) -> bool:
    """Tell whether an enclosing ``run`` holds this lease: then it is not ours to end with the landing."""
    environ = run.environ
    return lease is not None and environ.get("GITREF_LOCK_HELD") == "1" and environ["GITREF_LOCK_LEASE"] == lease.token


def _store(run: Run, lease: Lease) -> None:
    """Keep the lease file true after a landing: the lease goes on, or it is over."""
    from gitref_lock.runtime.possession import stored_of

    if lease.lost is None:
        run.session.memory.write(stored_of(run.session, lease))
        return
    for name in lease.names:
        run.session.memory.forget(run.session.key, name, lease.token)


def _from_file(name: str | None) -> tuple[str, ...]:
    if name is None:
        return ()
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"--file: {name} cannot be read: {error.strerror}") from error
    return (text.rstrip("\n"),)


def _show(run: Run, wanted: PushOptions, report: PushReport) -> None:
    out = run.out
    if report.recovered:
        out.warn(report.recovered)
    for words in report.snapshot.hook_words:
        out.say(words.rstrip("\n"))
    if wanted.dry_run:
        nothing = f"would create {report.branch} at {report.snapshot.head}" if report.creates else "nothing would land"
        out.say(f"would land on {report.branch}:" if not report.snapshot.is_empty else nothing)
        for letter, path in report.changes:
            out.data(f"{letter} {path}")
    elif report.landed is None:
        out.say("nothing to commit, and nothing of ours to land")
    else:
        from gitref_lock.cli.landed import tell

        tell(run, report)
    value = {**report.to_json(), "requests": run.session.remote.store.traffic.requests}
    out.document(value)
    run.report_to_ci(f"push to {report.branch}", value)
