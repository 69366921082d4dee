"""``cleanup``: free expired locks and remove dead tickets, after showing the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli import exits, options
from gitref_lock.cli.command import Run, checked
from gitref_lock.cli.declare import Option
from gitref_lock.errors import UsageError

if TYPE_CHECKING:
    from gitref_lock.runtime.operator import CleanupPlan, CleanupReport

DryRun = Annotated[bool, Option("--dry-run", envvar="GITREF_LOCK_DRY_RUN", help="Show the plan only.")]
Prune = Annotated[
    bool,
    Option(
        "--prune",
        envvar="GITREF_LOCK_PRUNE",
        help="Remove locks that are free, long idle, made more than a day ago and without a branch.",
    ),
]
OlderThan = Annotated[
    str | None,
    Option(
        "--older-than",
        envvar="GITREF_LOCK_OLDER_THAN",
        metavar="DURATION",
        help="How long idle; default: 30d. A lock made within the last day stays, whatever is given.",
    ),
]
Local = Annotated[
    bool,
    Option(
        "--local",
        envvar="GITREF_LOCK_LOCAL",
        help="This clone only: end a leftover rebase or merge, remove stale locks; rescues first.",
    ),
]


def cleanup(
    run: Run,
    names: options.SomeNames = None,
    dry_run: DryRun = False,
    prune: Prune = False,
    older_than: OlderThan = None,
    local: Local = False,
) -> None:
    """Free expired locks and remove dead tickets, of the named locks or of the whole remote."""
    from gitref_lock import config
    from gitref_lock.insight.status import all_locks
    from gitref_lock.runtime import operator

    if local:
        if names or prune or older_than is not None:
            raise UsageError("--local is about this clone alone: it takes no names, --prune or --older-than")
        _clean_clone(run, is_dry=dry_run)
        return
    if older_than is not None and not prune:
        raise UsageError("--older-than goes with --prune only")
    idle_s = checked("--older-than", older_than, config.parse_duration)
    remote = run.session.remote
    wanted = run.names(names) if names else all_locks(remote, run.deadline)
    plan = operator.plan_cleanup(
        remote,
        wanted,
        run.deadline,
        prune=prune,
        idle_s=operator.PRUNE_IDLE_S if idle_s is None else idle_s,
    )
    run.session.remember()
    for line in _plan_lines(plan):
        run.out.say(line)
    report = operator.CleanupReport() if dry_run else operator.clean_up(remote, plan, run.holder(), run.deadline)
    run.out.document({"dry_run": dry_run, "plan": _plan_json(plan), **_report_json(report)})
    if not dry_run:
        for what, why in report.left:
            run.out.warn(f"{what} was left alone: {why}")
        run.out.say(
            f"{len(report.reaped)} locks freed, {len(report.swept)} tickets removed, {len(report.pruned)} locks pruned"
        )
    if report.failures:
        raise exits.Leave(exits.exit_code(report.failures[0]))


def _clean_clone(run: Run, *, is_dry: bool) -> None:
    from gitref_lock.pushing.push import opened
    from gitref_lock.pushing.tidying import clean_local, plan_local

    out, clock = run.out, run.system.clock
    with opened(run.around.folder, run.environ) as checkout:
        plan = plan_local(checkout, clock)
        for line in plan.lines():
            out.say(line)
        if is_dry:
            out.document({"dry_run": True, "plan": plan.to_json()})
            return
        # only an earlier push needs the remote
        remote = run.session.remote if plan.has_journal else None
        report, said = clean_local(remote, checkout, plan, run.holder(), run.deadline, clock)
    left = [{"what": what, "why": why} for what, why in report.left]
    done = [item.name for item in report.done]
    out.document({"dry_run": False, "plan": plan.to_json(), "done": done, "rescue": report.rescue, "left": left})
    if said:
        out.say(said)
    for what, why in report.left[len(plan.left) :]:
        out.warn(f"{what} was left alone: {why}")
    if report.rescue:
        out.warn(f"what was here is kept: git checkout {report.rescue} -- .")


def _plan_lines(plan: CleanupPlan) -> list[str]:
    from gitref_lock.runtime.lease import describe

    return [
        *(["nothing to clean up"] if plan.is_empty else []),
        *(f"free the expired lock {found.name}, {describe(found.state)}" for found in plan.reaps),
        *(f"remove the ticket {dead.entry.name.leaf} for {dead.lock}: {dead.why}" for dead in plan.tickets),
        *(f"prune the lock {found.name}: free, idle, and its branch is gone" for found in plan.prunes),
        *(f"keep {', '.join(names)}: {why}" for why, names in _kept(plan).items()),
    ]


def _kept(plan: CleanupPlan) -> dict[str, list[str]]:
    """Return the locks that are not pruned by the reason, which on a large remote is the same for many."""
    by_reason: dict[str, list[str]] = {}
    for name, why in plan.kept:
        by_reason.setdefault(why, []).append(name)
    return by_reason


def _plan_json(plan: CleanupPlan) -> dict[str, object]:
    return {
        "free": [found.name for found in plan.reaps],
        "remove_tickets": [
            {"lock": dead.lock, "ticket": dead.entry.name.leaf, "why": dead.why} for dead in plan.tickets
        ],
        "prune": [found.name for found in plan.prunes],
        "keep": [{"lock": name, "why": why} for name, why in plan.kept],
    }


def _report_json(report: CleanupReport) -> dict[str, object]:
    return {
        "freed": list(report.reaped),
        "removed_tickets": [dead.entry.name.leaf for dead in report.swept],
        "pruned": list(report.pruned),
        "left": [{"what": what, "why": why} for what, why in report.left],
    }
