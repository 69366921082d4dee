"""``inspect``: who holds what, since when, until when, who waits, and how long it may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli import options
from gitref_lock.cli.command import Run
from gitref_lock.cli.declare import Option
from gitref_lock.cli.words import duration, table
from gitref_lock.core.text import instant
from gitref_lock.errors import UsageError

if TYPE_CHECKING:
    from gitref_lock.core.names import LockName
    from gitref_lock.insight.status import LockStatus

WATCH_PACE_S = 2.0

Watch = Annotated[
    bool, Option("--watch", envvar="GITREF_LOCK_WATCH", help="Go on showing it; with --json one document a line.")
]
History = Annotated[
    int, Option("--history", envvar="GITREF_LOCK_HISTORY", metavar="N", help="Show the last N transitions too.")
]
All = Annotated[bool, Option("--all", "-a", envvar="GITREF_LOCK_INSPECT_ALL", help="Every lock of the remote.")]


def inspect(
    run: Run, names: options.Names = None, watch: Watch = False, history: History = 0, every: All = False
) -> None:
    """Show who holds the lock, since when, until when, and who waits."""
    if names and every:
        raise UsageError("--all and names exclude each other")
    if history < 0:
        raise UsageError("--history: must not be negative")
    wanted = None if every or (not names and run.default_branch() is None) else run.names(names)
    if watch:
        from gitref_lock.cli.board import watch_locks

        watch_locks(run, lambda: look(run, wanted), history)
        return
    found = look(run, wanted)
    run.session.remember()
    run.out.document({"locks": [status.to_json(history=history) for status in found]})
    run.out.data(*text(found, history))


def list_locks(run: Run, watch: Watch = False, history: History = 0) -> None:
    """Show every lock of the remote."""
    inspect(run, None, watch, history, every=True)


def look(run: Run, wanted: tuple[LockName, ...] | None) -> list[LockStatus]:
    """Read the wanted locks, or all there are."""
    from gitref_lock.insight.status import all_locks, collect

    remote = run.session.remote
    names = all_locks(remote, run.deadline) if wanted is None else wanted
    found = collect(remote, names, run.deadline) if names else []
    return [replace(status, kept_alive=_kept_alive(run, status)) for status in found]


def _kept_alive(run: Run, status: LockStatus) -> bool | None:
    """Tell whether a lease of this clone still has its keep-alive process; None where none was started from here."""
    record = status.record
    stored = run.session.memory.read(run.session.key, status.name) if record is not None and record.lease else None
    if record is None or stored is None or stored.token != record.lease:
        return None
    from gitref_lock.cli.keepalive import is_running, log_file

    return is_running(log_file(run, stored.token))


def text(found: Sequence[LockStatus], history: int) -> list[str]:
    """Return the locks for people; one is told in sentences, several are a table."""
    if not found:
        return ["there are no locks"]
    if len(found) == 1:
        return lines_of(found[0], history)
    rows = [("LOCK", "STATE", "HOLDER", "SINCE", "UNTIL", "WAITING", "GENERATION"), *(row_of(item) for item in found)]
    return table(rows)


def row_of(status: LockStatus) -> tuple[str, ...]:
    """Return one lock as a row."""
    record = status.record
    holder = record.holder if record is not None else None
    return (
        status.name,
        f"{status.word}, expired" if status.expired is not None else status.word + _blocked(status),
        holder.label if holder is not None else "-",
        instant(record.acquired_at) if record is not None and record.acquired_at is not None else "-",
        instant(record.expires_at) if record is not None and record.expires_at is not None else "-",
        str(len(status.queue)),
        str(record.generation) if record is not None else "-",
    )


def _blocked(status: LockStatus) -> str:
    return f", blocked by {status.blocked_by}" if status.blocked_by is not None else ""


def lines_of(status: LockStatus, history: int) -> list[str]:
    """Return one lock in sentences."""
    record = status.record
    if status.blocked_by is not None:
        why = "a lock cannot be both a name and the folder of another"
        lines = [f"{status.name}: cannot be created beside the lock {status.blocked_by}: {why}"]
    elif status.state is None:
        lines = [f"{status.name}: free; it never was taken"]
    elif record is None:
        why = getattr(status.state.record, "why", "")
        lines = [f"{status.name}: unreadable, counts as held by an unknown holder ({why})"]
    elif record.holder is None:
        lines = [f"{status.name}: free, generation {record.generation}, last moved by {record.event.value}"]
    else:
        holder = record.holder
        workflow = f" ({holder.workflow})" if holder.workflow else ""
        lines = [f"{status.name}: held by {holder.label}{workflow}, generation {record.generation}"]
        lines += [f"  run: {holder.run_url}"] if holder.run_url else []
        lines += [f"  host: {holder.host}, process {holder.pid}"] if holder.host else []
        lines += [f"  reason: {record.reason}"] if record.reason else []
        since = instant(record.acquired_at or 0)
        held_for = f" ({duration(status.held_for_s)})" if status.held_for_s is not None else ""
        lines.append(
            f"  since {since}{held_for}, until {instant(record.expires_at or 0)} by the {record.clock.value} clock"
        )
        if status.expired is not None:
            lines.append("  expired: the next runner takes it over")
        if status.kept_alive is not None:
            lines.append(
                "  kept alive by a process of this machine"
                if status.kept_alive
                else "  not kept alive any more: its process has ended, see keep-alive-*.log beside the lease"
            )
    for place, entry in enumerate(status.queue, 1):
        ticket = entry.ticket
        who = f"{ticket.holder.label}, priority {ticket.priority}" if ticket is not None else "an unreadable ticket"
        lines.append(f"  waiting {place}: {who}")
    if status.blocked_by is None and (status.word != "free" or status.queue):
        expected = status.expected_wait_s
        lines.append(
            "  no earlier hold is known to judge a wait by"
            if expected is None
            else f"  a runner that came now would wait about {duration(expected)}"
        )
    for line in status.history(history):
        note = f": {line.note}" if line.note else ""
        lines.append(f"  {instant(line.at)} {line.event.value} by {line.holder}, generation {line.generation}{note}")
    return lines
