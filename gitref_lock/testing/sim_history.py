"""What happened at the server and what the runners were told, in true time: all that the oracles see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gitref_lock.core.history import Ring
from gitref_lock.core.machine import HISTORY_FILE, LOCK_FILE, LockState
from gitref_lock.core.names import LockName, Namespace, Nonce, Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.record import decode_record
from gitref_lock.core.text import MalformedError
from gitref_lock.core.ticket import TICKET_FILE, Ticket, decode_ticket
from gitref_lock.testing.memory_server import parents_of

_BRANCH = RefName("refs/heads/main")
_LOCK = LockName("main")

HUMAN = "human"
REWIND = "rewind"
DELETE = "delete"
MIRROR = "mirror"
SWAP = "swap"
SEED = "seed"


@dataclass(frozen=True, slots=True)
class Move:
    """One ref that moved; None is absence."""

    ref: RefName
    before: Oid | None
    after: Oid | None


@dataclass(frozen=True, slots=True)
class Applied:
    """Refs that moved in one instant. ``kind`` is a swap of a runner, or what somebody did without the lock.

    ``partial`` says why only a part of a swap was applied, where the server is to blame: ``hole`` (an object or ref
    that it does not show to this push), or ``crash`` (it died between two refs).
    """

    at_s: float
    actor: str
    kind: str
    moves: tuple[Move, ...]
    request: int = 0
    copy: int = 0
    partial: str = ""

    def move_of(self, ref: str) -> Move | None:
        """Return how one ref moved."""
        return next((move for move in self.moves if move.ref == ref), None)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the server told a runner of the branch's lock in true time: that there is none, or that there is one.

    With ``is_refusal`` it was the answer to a push that would have created the lock, refused for good.
    """

    at_s: float
    actor: str
    request: int
    is_absent: bool
    is_refusal: bool = False


@dataclass(slots=True)
class LeaseSpan:
    """One lease as its holder lives with it, in true time.

    ``begin_s`` is when the holder learned of it. ``noticed_s`` is when its watchdog saw, by the product's own count,
    that it is over; the command needs ``kill_after_s`` to die. ``given_up_s`` is when the holder stopped for another
    reason, ``released_s`` when it was told that its locks are free, ``stopped_from_s`` since when its machine had stood
    still until the watchdog noticed: nothing ran from then on.
    """

    runner: str
    locks: tuple[LockName, ...]
    token: Nonce
    begin_s: float
    kill_after_s: float
    noticed_s: float | None = None
    given_up_s: float | None = None
    released_s: float | None = None
    stopped_from_s: float | None = None

    def end_s(self) -> float:
        """Return when nothing of the holder ran any more; infinite while it runs."""
        end = float("inf")
        if self.noticed_s is not None:
            end = self.noticed_s + self.kill_after_s if self.stopped_from_s is None else self.stopped_from_s
        if self.given_up_s is not None:
            end = min(end, self.given_up_s)
        return max(end, self.begin_s)


@dataclass(slots=True)
class PushResult:
    """What one push was told. ``result`` is ``landed``, ``unknown``, ``crashed``, or the code of an error."""

    runner: str
    change: str
    began_s: float
    allowed_s: float
    ended_s: float = float("inf")
    result: str = "running"
    how: str = ""
    head: Oid | None = None
    priority: int = 0
    is_emergency: bool = False


@dataclass(slots=True)
class AcquireResult:
    """What one acquire was told; ``tokens`` are the leases that it may have sent."""

    runner: str
    locks: tuple[LockName, ...]
    began_s: float
    allowed_s: float
    tokens: list[Nonce] = field(default_factory=list)
    ended_s: float = float("inf")
    result: str = "running"
    priority: int = 0


@dataclass(slots=True)
class History:
    """The whole record of a run.

    ``is_fenced``: the server applies all or none. ``is_within_bounds``: clocks keep to what leases rest on.
    ``is_calm``: no faults at all. ``rank_slack_s`` is by how much the clocks behind two tickets' ranks may differ.
    ``sent`` is when each swap left its runner, by the number of the request.
    """

    applied: list[Applied] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)
    pushes: list[PushResult] = field(default_factory=list)
    acquires: list[AcquireResult] = field(default_factory=list)
    leases: list[LeaseSpan] = field(default_factory=list)
    paused: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    crashed: dict[str, list[float]] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    archive: dict[Oid, GitObject] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    branch: RefName = _BRANCH
    lock: LockName = _LOCK
    is_fenced: bool = True
    is_within_bounds: bool = True
    is_calm: bool = False
    rank_slack_s: float = 0.0
    _states: dict[Oid, LockState] = field(default_factory=dict)
    _tickets: dict[Oid, Ticket | None] = field(default_factory=dict)
    _changes: dict[Oid, tuple[str, ...]] = field(default_factory=dict)

    def note(self, now_s: float, text: str) -> None:
        """Add a line to what is printed with a failure."""
        self.trace.append(f"{now_s:10.3f} {text}")

    def moves(self, ref: str) -> Iterator[tuple[Applied, Move]]:
        """Yield every move of one ref, oldest first."""
        for event in self.applied:
            for move in event.moves:
                if move.ref == ref:
                    yield event, move

    def value_at(self, ref: str, event: Applied) -> Oid | None:
        """Return where a ref was once ``event`` had happened."""
        tip: Oid | None = None
        for other in self.applied:
            move = other.move_of(ref)
            tip = move.after if move is not None else tip
            if other is event:
                break
        return tip

    def has(self, kind: str) -> bool:
        """Tell whether anything of this kind happened."""
        return any(event.kind == kind for event in self.applied)

    def refs(self, prefix: str) -> list[RefName]:
        """Return every ref under ``prefix`` that ever moved."""
        return sorted({move.ref for event in self.applied for move in event.moves if move.ref.startswith(prefix)})

    @property
    def lock_ref(self) -> RefName:
        """The ref of the branch's lock."""
        return Namespace().lock_ref(self.lock)

    def locks(self) -> list[tuple[LockName, RefName]]:
        """Return every lock that ever moved."""
        names = [(Namespace().parse_lock_ref(ref), ref) for ref in self.refs("refs/locks/")]
        return [(name, ref) for name, ref in names if name is not None]

    def files(self, oid: Oid) -> dict[str, bytes]:
        """Return the files of a commit; its tree is flat."""
        tree = self.archive[Oid(self.archive[oid].data[5:45].decode())].data
        found, at = {}, 0
        while (end := tree.find(b"\0", at)) >= 0:
            found[tree[at + 7 : end].decode()] = self.archive[Oid(tree[end + 1 : end + 21].hex())].data
            at = end + 21
        return found

    def _file(self, oid: Oid, name: str) -> bytes | None:
        commit = self.archive[oid]
        tree = self.archive.get(Oid(commit.data[5:45].decode()))
        if tree is None or tree.kind is not ObjectKind.TREE:
            return None
        marker = b"100644 " + name.encode() + b"\0"
        at = tree.data.find(marker)
        if at < 0:
            return None
        blob = self.archive.get(Oid(tree.data[at + len(marker) : at + len(marker) + 20].hex()))
        return None if blob is None else blob.data

    def state(self, name: LockName, oid: Oid) -> LockState:
        """Return the lock state that a commit holds."""
        found = self._states.get(oid)
        if found is None:
            record = decode_record(self._file(oid, LOCK_FILE), name)
            found = LockState(oid, record, Ring.decode(self._file(oid, HISTORY_FILE)))
            self._states[oid] = found
        return found

    def ticket(self, oid: Oid) -> Ticket | None:
        """Return the ticket that a commit holds."""
        if oid not in self._tickets:
            try:
                self._tickets[oid] = decode_ticket(self._file(oid, TICKET_FILE))
            except MalformedError:
                self._tickets[oid] = None
        return self._tickets[oid]

    def changes_in(self, oid: Oid | None) -> tuple[str, ...]:
        """Return the names of all changes in the history of a branch commit, oldest first, with repetitions."""
        missing: list[Oid] = []
        at = oid
        while at is not None and at not in self._changes:
            missing.append(at)
            parents = parents_of(self.archive[at])
            at = parents[0] if parents else None
        known = self._changes[at] if at is not None else ()
        for one in reversed(missing):
            message = self.archive[one].data.partition(b"\n\n")[2].decode().strip()
            known = (*known, message)
            self._changes[one] = known
        return known

    def is_ancestor(self, older: Oid, newer: Oid) -> bool:
        """Tell whether ``older`` is ``newer`` or one of its ancestors."""
        at: Oid | None = newer
        while at is not None:
            if at == older:
                return True
            parents = parents_of(self.archive[at])
            at = parents[0] if parents else None
        return False
