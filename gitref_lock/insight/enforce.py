"""Server-side enforcement: what a push may do to branches, locks and tickets, for people who run their own git server.

Without it the lock is advisory to programs that do not use it. With it a branch that has a lock moves only in the same
push as its lock, by a transition that the protocol allows, forward, and no posted change is deleted before it ended. It
cannot tell whose lease a push ends: tokens are readable by everybody who can fetch (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from gitref_lock.core.history import HistoryLine
from gitref_lock.core.machine import LockState
from gitref_lock.core.names import ZERO_OID, InvalidNameError, LockName, Namespace, Oid, lock_name
from gitref_lock.core.record import Event, LockRecord, State
from gitref_lock.core.text import MalformedError
from gitref_lock.core.ticket import TICKET_FILE, Kind, decode_ticket
from gitref_lock.insight.audit import audit, fault
from gitref_lock.ports import StoredCommit
from gitref_lock.runtime.remote import state_of

_BRANCHES = "refs/heads/"
_LANDS = frozenset({Event.LAND, Event.LAND_KEEP, Event.LAND_EXPIRED, Event.EMERGENCY})
_CREATES = frozenset({Event.CREATE, Event.ACQUIRE})


@dataclass(frozen=True, slots=True)
class Update:
    """One line of a pre-receive hook's input (githooks(5)); a zero id means that the ref is absent on that side."""

    old: Oid
    new: Oid
    ref: str


@dataclass(frozen=True, slots=True)
class Repository:
    """What the rules need to ask of the server's repository.

    ``read`` returns a commit with the files at its root, ``resolve`` a ref's present value, ``is_ancestor`` whether the
    first commit is reachable from the second. ``hidden`` are the prefixes of refs that pushes may not touch.
    """

    read: Callable[[Oid], StoredCommit | None]
    resolve: Callable[[str], Oid | None]
    is_ancestor: Callable[[Oid, Oid], bool]
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """``required`` are globs of branches that move only through a lock, even while that lock does not exist yet."""

    namespace: Namespace = field(default_factory=Namespace)
    required: tuple[str, ...] = ()


def problems(updates: Sequence[Update], repo: Repository, rules: Rules) -> list[str]:
    """Return why this push is refused, one sentence a ref; empty when it may go on."""
    found: list[str] = []
    landing: set[LockName] = set()
    moved = {update.ref: update for update in updates}
    for update in updates:
        name = rules.namespace.parse_lock_ref(update.ref)
        if name is not None:
            fault_found, lands = _lock_fault(name, update, repo)
            found += [f"{update.ref}: {fault_found}"] if fault_found else []
            landing |= {name} if lands else set()
        elif rules.namespace.parse_ticket_ref(update.ref) is not None and update.new == ZERO_OID:
            found += _ticket_fault(update, repo)
    for update in updates:
        if update.ref.startswith(_BRANCHES) and not update.ref.startswith(rules.namespace.locks + "/"):
            found += _branch_faults(update, repo, rules, landing, moved)
    return found


def _branch_faults(
    update: Update, repo: Repository, rules: Rules, landing: Collection[LockName], moved: Mapping[str, Update]
) -> list[str]:
    branch = update.ref.removeprefix(_BRANCHES)
    try:
        name = lock_name(branch)
    except InvalidNameError:
        return []
    ref = rules.namespace.lock_ref(name)
    exists = repo.resolve(ref) is not None or (ref in moved and moved[ref].old != ZERO_OID)
    if not exists and not any(fnmatchcase(branch, pattern) for pattern in rules.required):
        return []
    if name not in landing:
        return [f"{update.ref}: this branch moves only together with its lock; push it with 'gitref-lock push'"]
    if any(ref == prefix or ref.startswith(prefix + "/") for prefix in repo.hidden):
        # C git asks this hook first and refuses the hidden ref afterwards, alone: the branch would move without it.
        return [f"{update.ref}: this server hides {ref}, so the lock would not move with the branch"]
    if update.new == ZERO_OID:
        return [f"{update.ref}: a landing does not delete its branch"]
    if update.old != ZERO_OID and not repo.is_ancestor(update.old, update.new):
        return [f"{update.ref}: a landing moves its branch forward; {update.old[:12]} would be dropped"]
    return []


def _lock_fault(name: LockName, update: Update, repo: Repository) -> tuple[str | None, bool]:
    """Return what is wrong with a lock's move, and whether it is a landing."""
    before = _state(name, update.old, repo)
    if update.new == ZERO_OID:
        record = before.record if before is not None else None
        is_pruned = isinstance(record, LockRecord) and record.state is State.FREE and record.event is Event.PRUNE
        return (None if is_pruned else "a lock is deleted only after 'gitref-lock cleanup --prune' made it free"), False
    commit = repo.read(update.new)
    if commit is None or commit.parents:
        return "a lock state is a commit without parents", False
    after = state_of(name, commit)
    if not isinstance(after.record, LockRecord):
        return f"the new state cannot be read: {after.record.why}", False
    last = audit(LockState(after.tip, after.record, after.ring)).findings
    newest = after.ring.lines[-1] if after.ring.lines else None
    if newest is None or any(item.index == len(after.ring.lines) - 1 for item in last):
        return (last[0].text if last else "the history is empty"), False
    return _sequence_fault(before, after, newest), newest.event in _LANDS


def _sequence_fault(before: LockState | None, after: LockState, newest: HistoryLine) -> str | None:
    if before is None:
        return None if newest.event in _CREATES else f"a lock does not begin with {newest.event.value}"
    if not isinstance(before.record, LockRecord) or not before.ring.lines:
        return None
    previous = before.ring.lines[-1]
    if newest.event is not Event.RENEW and previous.nonce not in {line.nonce for line in after.ring.lines[-2:-1]}:
        return "the new history does not continue the present one"
    return fault(previous, newest)


def _ticket_fault(update: Update, repo: Repository) -> list[str]:
    commit = repo.read(update.old)
    if commit is None:
        return []
    try:
        ticket = decode_ticket(commit.files.get(TICKET_FILE))
    except MalformedError:
        return []
    if ticket.kind is Kind.LAND and ticket.verdict is None:
        return [f"{update.ref}: a posted change is withdrawn by an update, never deleted"]
    return []


def _state(name: LockName, oid: Oid, repo: Repository) -> LockState | None:
    commit = repo.read(oid) if oid != ZERO_OID else None
    return state_of(name, commit) if commit is not None else None
