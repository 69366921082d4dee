"""What an operator may do to locks that are not theirs: break the state that was seen, reap, sweep and prune.

Everything names the tip it saw; what moved meanwhile is left alone (docs/protocol.md, sections 1, 3 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gitref_lock.core.machine import LockState, Stance
from gitref_lock.core.names import LockName, branch_ref
from gitref_lock.core.queue import Entry
from gitref_lock.core.record import ClockSource, Event, Holder, LockRecord, State
from gitref_lock.core.refs import Applied, At, RefEdit, Role, Superseded, SwapOutcome
from gitref_lock.core.ticket import VERDICT_KEPT_S, Kind
from gitref_lock.core.timing import MAX_CLOCK_SKEW_S
from gitref_lock.errors import GitrefLockError, HeldByAnotherError, NotHeldError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import swap_failure
from gitref_lock.runtime.lease import describe, inspect_hint
from gitref_lock.runtime.remote import Picture, Remote
from gitref_lock.runtime.swapper import Plan, Swapper, carry_or_stop, plan_for_locks
from gitref_lock.runtime.writing import Found, killer, move, write

PRUNE_IDLE_S = 30 * 86_400.0
_DAY_S = 86_400
_DATES_APART_S = 2.1
_LOCAL_CLOCK_MARGIN_S = 600.0


def require_expected(name: LockName, state: LockState | None, expect: str | None) -> LockState:
    """Return the held state that may be broken; ``expect`` is its full object id or its generation, None for any.

    Raises NotHeldError for a lock that nobody holds, HeldByAnotherError when it is not the expected state.
    """
    record = state.record if state is not None else None
    if state is None or (isinstance(record, LockRecord) and record.state is State.FREE):
        raise NotHeldError(
            f"{name} is not held: it is {describe(state) if state is not None else 'free; it never was taken'}",
            hint=inspect_hint([name]),
        )
    generation = str(record.generation) if isinstance(record, LockRecord) else ""
    if expect is not None and expect not in {state.tip, generation}:
        raise HeldByAnotherError(
            f"{name} is not in the expected state {expect[:60]}: it is {describe(state)}, at {state.tip}",
            code="not-expected",
            hint=inspect_hint([name]),
            fields={"lock": name, "lock_oid": state.tip, "generation": generation},
        )
    return state


def break_lock(
    remote: Remote, name: LockName, seen: LockState, holder: Holder, reason: str, deadline: Deadline
) -> LockState:
    """Free the lock from exactly the state that was seen, and return the free state.

    Raises HeldByAnotherError when it moved on meanwhile: whoever holds it now is not who was to be broken.
    """
    stance = remote.stance(name, seen)
    event = Event.REAP if stance is Stance.EXPIRED else Event.BREAK
    what = replace(write(remote, holder), reason=reason)
    step = move(Found(name, seen, stance), event, what)
    outcome = Swapper(remote).carry(plan_for_locks(remote, [step]), deadline)
    if isinstance(outcome, Applied):
        return step.after.state
    if isinstance(outcome, Superseded):
        raise HeldByAnotherError(
            f"{name} moved on before it could be broken; nothing was changed",
            code="not-expected",
            hint=inspect_hint([name]),
        )
    raise swap_failure(outcome, f"breaking {name}", inspect_hint([name]))


@dataclass(frozen=True, slots=True)
class DeadTicket:
    """A ticket that nobody waits with any more, and why that is known."""

    lock: LockName
    entry: Entry
    why: str


@dataclass(frozen=True, slots=True)
class CleanupPlan:
    """What can be cleaned up: expired leases, dead tickets, and locks that nobody needs.

    ``kept`` are the locks that were to be pruned but must stay, each with the reason.
    """

    reaps: tuple[Found, ...] = ()
    tickets: tuple[DeadTicket, ...] = ()
    prunes: tuple[Found, ...] = ()
    kept: tuple[tuple[LockName, str], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.reaps or self.tickets or self.prunes)


@dataclass(slots=True)
class CleanupReport:
    """What was done; ``left`` are things that moved on or failed, with the reason, ``failures`` what failed of them."""

    reaped: list[LockName] = field(default_factory=list)
    swept: list[DeadTicket] = field(default_factory=list)
    pruned: list[LockName] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    failures: list[GitrefLockError] = field(default_factory=list)

    def leave(self, what: str, outcome: SwapOutcome) -> None:
        """Note a part of the plan that was not done; that it moved on meanwhile is no failure."""
        self.left.append((what, _why(outcome)))
        if not isinstance(outcome, Superseded):
            self.failures.append(swap_failure(outcome, f"cleaning up {what}", inspect_hint([])))


def plan_cleanup(
    remote: Remote,
    names: Sequence[LockName],
    deadline: Deadline,
    *,
    prune: bool = False,
    idle_s: float = PRUNE_IDLE_S,
) -> CleanupPlan:
    """Look at these locks and return what can be cleaned up; nothing is written.

    Where only the server's clock shows that a lease is over, a second look follows after two seconds: one Date of one
    front end is not enough to end a lease.
    """
    branches = [branch_ref(name) for name in names] if prune else []
    picture = remote.look(names, deadline, extra=branches)
    if any(_needs_second_date(remote, name, state) for name, state in picture.locks.items()):
        remote.system.sleeper.sleep(deadline.capped(_DATES_APART_S) or 0.0)
        picture = remote.look(names, deadline, extra=branches)
    found = [Found(name, state, remote.stance(name, state)) for name, state in picture.locks.items()]
    reasons = {item.name: _why_kept(remote, item, picture, idle_s) for item in found} if prune else {}
    return CleanupPlan(
        reaps=tuple(item for item in found if item.stance is Stance.EXPIRED),
        tickets=tuple(_dead_tickets(remote, picture)),
        prunes=tuple(item for item in found if reasons.get(item.name) == ""),
        kept=tuple((name, why) for name, why in reasons.items() if why),
    )


def _needs_second_date(remote: Remote, name: LockName, state: LockState | None) -> bool:
    return (
        state is not None
        and remote.stance(name, state) is Stance.OTHER
        and remote.expiry(name, state) is None
        and remote.remaining_s(name, state) <= 0
    )


def _dead_tickets(remote: Remote, picture: Picture) -> list[DeadTicket]:
    """Return the tickets whose time is surely over. A land ticket without a verdict never is: it will be landed."""
    instants = remote.instants()
    margin_s = MAX_CLOCK_SKEW_S if instants.source is ClockSource.SERVER else _LOCAL_CLOCK_MARGIN_S
    now_at = instants.now_at - margin_s
    dead = []
    for lock, queue in picture.queues.items():
        for entry in queue:
            ticket = entry.ticket
            if ticket is None:
                continue
            if ticket.verdict is not None and now_at > ticket.expires_at + VERDICT_KEPT_S:
                dead.append(DeadTicket(lock, entry, f"its verdict ({ticket.verdict.kind.value}) is old"))
            elif ticket.verdict is None and ticket.kind is Kind.ACQUIRE and now_at > ticket.expires_at:
                dead.append(DeadTicket(lock, entry, "its wait is over"))
    return dead


def _why_kept(remote: Remote, found: Found, picture: Picture, idle_s: float) -> str:
    """Return why a lock must not be pruned; '' for one that is free, idle, without waiters and branch, and old enough.

    Old enough is a day: one made anew starts at the present second, above every generation that the old one had.
    """
    state = found.state
    if state is None:
        return "there is no such lock"
    if found.stance is not Stance.FREE or not isinstance(state.record, LockRecord):
        return f"it is {describe(state)}"
    now_at = remote.instants().now_at
    newest_at = state.ring.newest_at
    if newest_at <= 0:
        return "its history cannot be read"
    if now_at - newest_at < idle_s:
        return "it was used within the time that --older-than gives (30d by itself)"
    if now_at - state.record.generation <= _DAY_S:
        return "it was made less than a day ago"
    if picture.queues.get(found.name):
        return "somebody waits for it"
    return "its branch exists" if branch_ref(found.name) in picture.refs else ""


def clean_up(remote: Remote, plan: CleanupPlan, holder: Holder, deadline: Deadline) -> CleanupReport:
    """Carry the plan out, each part by itself; what moved on meanwhile is left alone and reported."""
    report = CleanupReport()
    for found in plan.reaps:
        if _step(remote, found, Event.REAP, holder, deadline, report) is not None:
            report.reaped.append(found.name)
    for dead in plan.tickets:
        ref = remote.namespace.ticket_ref(dead.lock, dead.entry.name)
        outcome = carry_or_stop(remote, Plan((RefEdit(ref, At(dead.entry.tip), None, Role.TICKET),), ()), deadline)
        if isinstance(outcome, Applied):
            report.swept.append(dead)
        else:
            report.leave(ref, outcome)
    for found in plan.prunes:
        if _prune(remote, found, holder, deadline, report):
            report.pruned.append(found.name)
    return report


def _prune(remote: Remote, found: Found, holder: Holder, deadline: Deadline, report: CleanupReport) -> bool:
    """Swap the lock to a fresh free state, then delete exactly that: nobody can have built on it."""
    fresh = _step(remote, found, Event.PRUNE, holder, deadline, report)
    if fresh is None:
        return False
    ref = remote.namespace.lock_ref(found.name)
    outcome = carry_or_stop(remote, Plan((RefEdit(ref, At(fresh.tip), None, Role.LOCK),), ()), deadline)
    if not isinstance(outcome, Applied):
        report.leave(found.name, outcome)
    return isinstance(outcome, Applied)


def _step(
    remote: Remote, found: Found, event: Event, holder: Holder, deadline: Deadline, report: CleanupReport
) -> LockState | None:
    step = move(found, event, write(remote, holder))
    plan = plan_for_locks(remote, [step], kill=killer(remote, found, holder))
    outcome = carry_or_stop(remote, plan, deadline)
    if isinstance(outcome, Applied):
        return step.after.state
    report.leave(found.name, outcome)
    return None


def _why(outcome: SwapOutcome) -> str:
    """Say why a part of the plan was not done."""
    if isinstance(outcome, Superseded):
        return "it moved on"
    return str(getattr(outcome, "words", "") or getattr(outcome, "cause", "") or type(outcome).__name__.lower())
