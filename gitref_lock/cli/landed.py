"""What a push tells people once its change has landed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitref_lock.core.names import lock_name
from gitref_lock.core.text import JsonObject

if TYPE_CHECKING:
    from gitref_lock.cli.command import Run
    from gitref_lock.pushing import PushReport


_LESS_SAFE = {
    "degraded": "the host refuses the lock's ref, or the lock was passed over after the wait, so nothing but the "
    "branch's own old value protected this landing; --no-degrade refuses that",
    "unfenced": "the server cannot change branch and lock as one, so a lease that it did not check and the "
    "branch's own old value protected this landing; --require-fence refuses that",
    "emergency": "it waited for nobody and ended any lease on the lock, and our side won every conflict that no rule "
    "decides; the reason is in the lock's history",
}
"""What it means that a landing was not under the fence of its lock."""


def _named(values: Sequence[object], item: JsonObject) -> str:
    """Name the values that both sides set, and say how many more there are."""
    count = item.get("detail_count")
    more = count - len(values) if isinstance(count, int) else 0
    return ", ".join(map(str, values)) + (f" and {more} more" if more > 0 else "")


def tell(run: Run, report: PushReport) -> None:
    """Say what landed and how, what the conflict policy decided, and what became of the clone."""
    out, landed = run.out, report.landed
    assert landed is not None
    meaning = _LESS_SAFE.get(landed.how.value)
    if meaning is not None:
        out.warn(f"this landing was {landed.how.value}: {meaning}")
    for item in landed.conflicts:
        text = f"both sides changed {item.get('path')}: united by '{item.get('strategy')}'"
        lost = item.get("detail") or None
        if lost or item.get("strategy") in {"ours", "theirs"}:
            out.warn(text + (f"; only one side is kept: {_named(lost, item)}" if isinstance(lost, list) else ""))
        else:
            out.say(text)
    for oid in landed.rescued:
        ref = run.session.remote.namespace.rescue_ref(lock_name(report.branch), oid)
        out.warn(f"the pushed side is kept on the remote: git fetch {run.session.spec.name or 'URL'} {ref}")
    for oid in landed.dropped:
        out.say(f"commit {oid[:12]} is not made again: nothing of it is left to land")
    if report.move is not None and not report.move.local_updated:
        then = "" if report.move.is_final else "; the next command tries again"
        out.warn(f"landed, but this clone was not moved: {report.move.reason}{then}")
    for left in report.move.left if report.move is not None else ():
        out.warn(
            f"left as it is, although the landing changed it: {left.path.decode('utf-8', 'replace')} ({left.reason})"
        )
    out.data(landed.head)
    out.say(f"{report.branch} is at {landed.head[:12]}, landed ({landed.how.value}) after {landed.waited_s:.1f} s")
