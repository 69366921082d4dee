"""``cleanup --local``: this clone's leftovers, shown before they are cleared away.

Beside what ``landing.leftovers`` finds: an earlier push that was killed (finished or dropped, as the remote tells), and
lease files whose leases are over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gitref_lock.core.names import InvalidNameError
from gitref_lock.core.record import Holder
from gitref_lock.core.text import JsonObject, MalformedError
from gitref_lock.core.timing import TimingError
from gitref_lock.errors import GitrefLockError
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.journal import journal_path
from gitref_lock.landing.leftovers import Leftover, LocalReport, clear, find_leftovers
from gitref_lock.ports import Clock, RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.leasefile import StoredLease
from gitref_lock.runtime.recovery import resume
from gitref_lock.runtime.remote import Remote


@dataclass(slots=True)
class LocalPlan:
    """What will be cleared away, and what must stay with the reason."""

    leftovers: list[Leftover] = field(default_factory=list)
    lease_files: list[Path] = field(default_factory=list)
    has_journal: bool = False
    left: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the plan for people."""
        lines = [str(item) for item in self.leftovers]
        if self.has_journal:
            lines.append("ask the remote about an earlier push that was cut off, and finish or drop its local part")
        lines += [f"remove {path.name}: its lease is over" for path in self.lease_files]
        lines += [f"leave {what}: {why}" for what, why in self.left]
        return lines or ["nothing to clean up in this clone"]

    def to_json(self) -> JsonObject:
        """Return the plan for scripts."""
        return {
            "operations": [item.name for item in self.leftovers if item.kind == "operation"],
            "lock_files": [str(item.path) for item in self.leftovers if item.kind == "lock"],
            "lease_files": [path.name for path in self.lease_files],
            "unfinished_push": self.has_journal,
        }


def plan_local(checkout: Checkout, clock: Clock) -> LocalPlan:
    """Look through the clone; nothing changes."""
    leftovers, left = find_leftovers(checkout, clock.wall())
    leases = sorted(_dead_leases((checkout.git_dir / "gitref-lock").glob("lease-*.json"), clock))
    return LocalPlan(leftovers, leases, journal_path(checkout).exists(), left)


def clean_local(
    remote: Remote | None, checkout: Checkout, plan: LocalPlan, holder: Holder, deadline: Deadline, clock: Clock
) -> tuple[LocalReport, str]:
    """Carry the plan out; return what was done, and a sentence about an earlier push ('' when there was none).

    ``remote`` None leaves an earlier push alone: only the remote knows whether it landed.
    """
    said = ""
    with checkout.exclusive():
        report = clear(checkout, plan.leftovers, clock.wall())
        report.left[:0] = plan.left
        if plan.has_journal:
            try:
                said = resume(remote, checkout, holder, deadline) if remote is not None else ""
            except (GitrefLockError, RemoteError) as error:
                report.left.append(("the earlier push", str(error)))
        for path in plan.lease_files:
            path.unlink(missing_ok=True)
    return report, said


def _dead_leases(paths: Iterable[Path], clock: Clock) -> Iterable[Path]:
    """Yield the lease files whose leases ended by every clock; one that cannot be read is nobody's any more."""
    for path in paths:
        try:
            lease = StoredLease.decode(path.read_bytes())
        except OSError:
            continue
        except (MalformedError, InvalidNameError, TimingError):
            yield path
            continue
        is_same_boot = lease.boot_id == clock.boot_id()
        passed_s = [clock.wall() - lease.sent.wall_s]
        if is_same_boot:
            passed_s.append(clock.boottime() - lease.sent.boottime_s)
        if min(passed_s) > lease.timing.ttl_s:
            yield path
