"""``history``: what happened to a lock, newest first, and whether all of it could have happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli import options
from gitref_lock.cli.command import Run
from gitref_lock.cli.declare import Option
from gitref_lock.cli.words import table
from gitref_lock.core.text import MalformedError, instant, parse_instant
from gitref_lock.errors import GitrefLockError, UsageError

if TYPE_CHECKING:
    from gitref_lock.core.history import HistoryLine
    from gitref_lock.insight.audit import Audit

Count = Annotated[
    int | None, Option("-n", envvar="GITREF_LOCK_COUNT", metavar="N", min=0, help="At most N transitions.")
]
Since = Annotated[
    str | None,
    Option("--since", envvar="GITREF_LOCK_SINCE", metavar="DURATION|INSTANT", help="Only what is newer."),
]
Verify = Annotated[
    bool, Option("--verify", envvar="GITREF_LOCK_VERIFY", help="Check every transition against the protocol.")
]


def history(
    run: Run, name: options.Name = None, count: Count = None, since: Since = None, verify: Verify = False
) -> None:
    """Show the lock's transitions, newest first."""
    from gitref_lock.insight.audit import audit
    from gitref_lock.insight.status import line_json

    (lock,) = run.names([name] if name is not None else None)
    remote = run.session.remote
    state = remote.look([lock], run.deadline, with_queue=False).locks[lock]
    oldest = _oldest(since, remote.instants().latest)
    lines = [line for line in reversed(state.ring.lines if state is not None else ()) if line.at >= oldest][:count]
    value: dict[str, object] = {
        "name": lock,
        "lock_ref": remote.namespace.lock_ref(lock),
        "lock_oid": state.tip if state is not None else None,
        "history": [line_json(line) for line in lines],
    }
    verdict = audit(state) if verify and state is not None else None
    if verdict is not None:
        value["verified"] = verdict.is_sound
        value["checked"] = verdict.checked
        value["findings"] = [{"line": finding.index + 1, "text": finding.text} for finding in verdict.findings]
    run.out.document(value)
    run.out.data(*(_text(lines) if lines else [f"{lock}: no transition is recorded"]))
    if verdict is not None:
        _judge(run, lock, verdict)


def _oldest(since: str | None, now_at: float) -> float:
    from gitref_lock.config import SettingError, parse_duration

    if since is None:
        return 0.0
    try:
        return now_at - parse_duration(since)
    except SettingError:
        pass
    try:
        return parse_instant(since)
    except MalformedError:
        raise UsageError("--since: must be a duration such as 2h, or an instant such as 2026-01-31T12:00:00Z") from None


def _text(lines: list[HistoryLine]) -> list[str]:
    rows = [("AT", "EVENT", "GENERATION", "HOLDER", "HELD", "WAITED", "LANDED", "NOTE")]
    rows += [
        (
            instant(line.at),
            line.event.value,
            str(line.generation),
            f"{line.holder} ({line.workflow})" if line.workflow else line.holder,
            f"{line.held_s:g} s" if line.held_s is not None else "-",
            f"{line.waited_s:g} s" if line.waited_s is not None else "-",
            str(line.landed) if line.landed else "-",
            line.note,
        )
        for line in lines
    ]
    return table(rows)


def _judge(run: Run, lock: str, verdict: Audit) -> None:
    if verdict.is_sound:
        run.out.say(f"{lock}: {verdict.checked} transitions checked, all as the protocol has them")
        return
    raise GitrefLockError(
        f"{lock}: the history breaks the protocol: " + "; ".join(finding.text for finding in verdict.findings),
        code="history-unsound",
        hint=f"gitref-lock history {lock} --json shows the lines",
        fields={"findings": [finding.text for finding in verdict.findings]},
    )
