"""Carrying one swap to a certain end, or saying honestly that there is none.

The store sends a swap once and tells what it knows. Here a swap of unknown outcome is read back, sent again byte for
byte while it is still possible, and killed before it is given up: one more swap moves the lock from the same
expectation, after which the late copy can only be refused. A landing is proved by the branch alone
(docs/protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState, NextState
from gitref_lock.core.names import LockName, Oid, RefName
from gitref_lock.core.objects import GitObject
from gitref_lock.core.refs import (
    Absent,
    Applied,
    At,
    Breached,
    RefEdit,
    RefusalKind,
    Refused,
    Role,
    Superseded,
    SwapOutcome,
    Unknown,
)
from gitref_lock.errors import STOPS, Stop
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.judging import believed, has_moved, is_surely_not_applied, judge_refs, judge_unfenced
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.retry import Backoff

KILL_BUDGET_S = 5.0
HURRIED_CALL_S = 2.0
_KILL_BACKOFF = Backoff(cap_s=1.0)
_TORN_READ_S = 1.0
_TORN_READS = 3
_CONTENDED = 3

_AT_THE_DOOR = frozenset(
    {RefusalKind.AUTHENTICATION, RefusalKind.PERMISSION, RefusalKind.NOT_FOUND, RefusalKind.NO_ATOMIC}
)
"""Refusals by which the server has not looked at the swap at all, nor at any copy of it."""


@dataclass(frozen=True, slots=True)
class LockMove:
    """One lock's part of a swap: from ``before`` (None: absent) to ``after``."""

    name: LockName
    before: LockState | None
    after: NextState


@dataclass(frozen=True, slots=True)
class LandingClaim:
    """A branch's part of a swap: ``ref`` moves from ``base`` (None: created) to ``commit``.

    ``contains`` tells whether ``commit`` is reachable from a given tip of the branch; it may fetch, and raises
    RemoteError when it cannot tell.
    """

    ref: RefName
    base: Oid | None
    commit: Oid
    contains: Callable[[Oid], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """A swap with all that is needed to judge it. ``kill`` makes the plan that renders a late copy harmless."""

    edits: tuple[RefEdit, ...]
    objects: tuple[GitObject, ...]
    moves: tuple[LockMove, ...] = ()
    landing: LandingClaim | None = None
    kill: Callable[[], Plan] | None = field(default=None, repr=False)


def lock_edit(remote: Remote, move: LockMove) -> RefEdit:
    """Return the edit of a lock's ref."""
    expect = Absent() if move.before is None else At(move.before.tip)
    return RefEdit(remote.namespace.lock_ref(move.name), expect, move.after.state.tip, Role.LOCK)


def plan_for_locks(
    remote: Remote,
    moves: Sequence[LockMove],
    *,
    edits: Sequence[RefEdit] = (),
    objects: Sequence[GitObject] = (),
    landing: LandingClaim | None = None,
    kill: Callable[[], Plan] | None = None,
) -> Plan:
    """Return the plan that makes these moves together with further edits and objects."""
    own = tuple(item for move in moves for item in move.after.objects)
    return Plan((*edits, *(lock_edit(remote, move) for move in moves)), (*objects, *own), tuple(moves), landing, kill)


@dataclass(slots=True)
class Swapper:
    """Carries plans over one remote. ``interrupted`` is the signal that arrived while a swap was in doubt.

    ``is_applied`` tells that the plan is known to be applied, also where a signal kept ``carry`` from returning it.
    ``was_in_doubt`` tells whether the last outcome came from reading back: what it says was true once, and need not be
    any more.
    """

    remote: Remote
    interrupted: Stop | None = None
    was_in_doubt: bool = False
    is_applied: bool = False
    _is_blind: bool = False

    def carry(self, plan: Plan, deadline: Deadline) -> SwapOutcome:
        """Send ``plan`` and return its proven outcome.

        Superseded means surely not applied and no longer possible. Unknown is returned only when the swap could
        neither be decided nor killed. A signal that arrives meanwhile is kept until the outcome is certain.
        """
        if len(plan.edits) > 1 and self.remote.lacks_atomic:
            return Refused(RefusalKind.NO_ATOMIC, "the server does not offer atomic pushes")
        in_doubt = self.was_in_doubt = False
        attempt = contended = 0
        patience = deadline.earlier(Deadline.after(self.remote.system, self.remote.backoff.budget_s))
        while True:
            outcome = self._send(plan, deadline)
            is_busy = isinstance(outcome, Refused) and outcome.kind is RefusalKind.CONTENTION
            contended += is_busy
            if not in_doubt and isinstance(outcome, Superseded):
                outcome = believed(plan, outcome, was_contended=contended > 0)
                self.was_in_doubt = not isinstance(outcome, Superseded)
            # A contended swap is surely not applied, and not refused for good: it is simply sent again.
            is_open = in_doubt or isinstance(outcome, Unknown) or (is_busy and contended < _CONTENDED)
            if isinstance(outcome, Applied | Breached) or not is_open:
                if isinstance(outcome, Breached | Refused):
                    self.remote.forget_server()
                if isinstance(outcome, Applied):
                    self.remote.remember_written(move.after for move in plan.moves)
                return self._looked_for(plan, outcome, patience)
            sent_nothing = is_busy or (isinstance(outcome, Unknown) and outcome.nothing_sent)
            in_doubt = self.was_in_doubt = in_doubt or not sent_nothing
            if in_doubt:
                judged = self._judge_patiently(plan, patience)
                if judged is not None:
                    return judged
            attempt += 1
            if patience.is_over or self.interrupted is not None:
                if in_doubt:
                    return self._kill(plan)
                return self._looked_for(plan, outcome, Deadline.after(self.remote.system, KILL_BUDGET_S))
            wish = outcome.retry_after_s if isinstance(outcome, Unknown) else None
            self._pause(patience.capped(wish or self.remote.backoff.pause_s(self.remote.system, attempt)) or 0.0)

    def _looked_for(self, plan: Plan, outcome: SwapOutcome, until: Deadline) -> SwapOutcome:
        """Return what became of a swap that was refused: a proxy may have sent an earlier copy, which was granted.

        What a busy server refused may still be granted to another copy: that is made impossible, as far as it can be.
        """
        if not isinstance(outcome, Refused) or outcome.kind in _AT_THE_DOOR:
            return outcome
        if outcome.kind is RefusalKind.CONTENTION:
            ended = self._kill(plan)
            is_killed = isinstance(ended, Superseded) and not ended.seen
            return outcome if is_killed or (isinstance(ended, Unknown) and not self._is_blind) else ended
        judged = self._judge_patiently(plan, until)
        if not isinstance(judged, Applied | Breached):
            return outcome
        self.was_in_doubt = True
        return judged

    def _send(self, plan: Plan, deadline: Deadline, *, is_kill: bool = False) -> SwapOutcome:
        hurried = self.interrupted is not None or deadline.is_over
        try:
            outcome = self.remote.store.swap(
                plan.edits,
                plan.objects,
                trust_report=self.remote.trusts_reports,
                timeout_s=HURRIED_CALL_S if hurried else deadline.capped(self.remote.call_timeout_s),
            )
            self.is_applied = not is_kill and isinstance(outcome, Applied)
        except STOPS as signal:
            self.interrupted = signal
            return Unknown("interrupted by a signal")
        return outcome

    def _pause(self, seconds: float) -> None:
        try:
            self.remote.system.sleeper.sleep(seconds)
        except STOPS as signal:
            self.interrupted = signal

    def _kill(self, plan: Plan) -> SwapOutcome:
        """Make sure that no late copy of ``plan`` can be applied any more, and return what is then certain."""
        until = Deadline.after(self.remote.system, KILL_BUDGET_S)
        if plan.kill is None:
            return self._judge_patiently(plan, until) or Unknown("the outcome could not be found out in time")
        kill = plan.kill()
        attempt = 0
        while True:
            if isinstance(self._send(kill, until, is_kill=True), Applied):
                # All or nothing makes this certain; the branch is asked all the same, for servers that break it.
                return (plan.landing and self._judge_patiently(plan, until)) or Superseded({})
            judged = self._judge_patiently(plan, until)
            if judged is not None:
                return judged
            if until.is_over:
                return Unknown("the swap could neither be decided nor killed in time")
            attempt += 1
            self._pause(until.capped(_KILL_BACKOFF.pause_s(self.remote.system, attempt)) or 0.0)

    def _judge_patiently(self, plan: Plan, until: Deadline) -> SwapOutcome | None:
        """Read back and return a certain outcome; None while the swap is possible or cannot be decided."""
        judged: SwapOutcome | None = None
        for _ in range(_TORN_READS):
            try:
                judged = self._judge(plan, until)
                self.is_applied = isinstance(judged, Applied)
            except RemoteError:
                self._is_blind = True
                return None
            except STOPS as signal:
                self.interrupted, self._is_blind = signal, True
                return None
            self._is_blind = False
            if not isinstance(judged, Breached):
                return judged
            self._pause(_TORN_READ_S)
        return judged

    def _judge(self, plan: Plan, until: Deadline) -> SwapOutcome | None:
        """Judge one reading. A mixed picture comes back as Breached and is read again before it counts."""
        seen = self.remote.list([edit.ref for edit in plan.edits], until).refs
        if not plan.moves:
            return judge_unfenced(plan.landing, seen) if plan.landing else judge_refs(plan.edits, seen)
        lock_edits = [lock_edit(self.remote, move) for move in plan.moves]
        if not any(has_moved(edit, seen) for edit in lock_edits):
            if plan.landing is not None and seen.get(plan.landing.ref) == plan.landing.commit:
                refused = {edit.ref: "not moved" for edit in lock_edits}
                return Breached((plan.landing.ref,), refused)
            return None
        if plan.landing is not None:
            return self._judge_landing(plan, plan.landing, seen, lock_edits, until)
        return self._judge_locks(plan.moves, seen, until)

    def _judge_landing(
        self,
        plan: Plan,
        landing: LandingClaim,
        seen: Mapping[RefName, Oid],
        lock_edits: Sequence[RefEdit],
        until: Deadline,
    ) -> SwapOutcome | None:
        """Decide by the branch alone, read in a request that starts after the lock was seen moved."""
        again = self.remote.list([landing.ref, *(edit.ref for edit in lock_edits)], until).refs
        tip = again.get(landing.ref)
        if tip is not None and (tip == landing.commit or landing.contains(tip)):
            return Applied()
        if not any(has_moved(edit, again) for edit in lock_edits):
            return None  # an older picture than the first one, from a replica that lags behind
        if all(seen.get(edit.ref) == edit.new for edit in lock_edits):
            return Breached(tuple(edit.ref for edit in lock_edits), {landing.ref: "not moved"})
        return Superseded({edit.ref: seen.get(edit.ref) for edit in plan.edits})

    def _judge_locks(
        self, moves: Sequence[LockMove], seen: Mapping[RefName, Oid], until: Deadline
    ) -> SwapOutcome | None:
        """Decide by positive evidence in the ring of the first lock that gives any; None without evidence."""
        names = [move.name for move in moves]
        picture = self.remote.look(names, until, with_queue=False)
        for move in moves:
            state = picture.locks[move.name]
            if state is None:
                continue
            if state.tip == move.after.state.tip or state.ring.index_of(move.after.record.nonce) is not None:
                return Applied()
            if is_surely_not_applied(move, state):
                return Superseded({ref: seen.get(ref) for ref in seen})
        return None


def carry_or_stop(remote: Remote, plan: Plan, deadline: Deadline) -> SwapOutcome:
    """Carry one plan; raise the signal that arrived meanwhile once the outcome is as certain as it gets."""
    swapper = Swapper(remote)
    outcome = swapper.carry(plan, deadline)
    if swapper.interrupted is not None:
        raise swapper.interrupted
    return outcome
