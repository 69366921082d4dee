"""The server of a simulated run: the memory server that the contract suite holds against git, with a record.

It notes every ref that moved, keeps every object for the oracles even when it is collected here, and can answer as a
replica that lags behind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from dulwich.object_store import MemoryObjectStore
from dulwich.objects import ObjectID, ShaFile

from gitref_lock.core.names import ZERO_OID, Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.remotes.streams import LinkError
from gitref_lock.remotes.wire import Report
from gitref_lock.testing.memory_server import Command, MemoryServer
from gitref_lock.testing.sim_history import MIRROR, SWAP, Applied, History, Move, Sight
from gitref_lock.testing.sim_kernel import Kernel

_T = TypeVar("_T")

_HOLES = ("missing necessary objects", "deny updating a hidden ref")
_DECLINED = ("pre-receive hook declined", "hook declined", "deny updating a hidden ref")
_NUMBERS = {ObjectKind.COMMIT: 1, ObjectKind.TREE: 2, ObjectKind.BLOB: 3, ObjectKind.TAG: 4}


class SimObjectStore(MemoryObjectStore):
    """A clone's objects. Parsed objects are shared between runners: the product never changes one it has read."""

    def __init__(self, shared: dict[ObjectID, ShaFile]) -> None:
        """``shared`` is the pool of parsed objects of one run."""
        super().__init__()
        self._shared = shared

    def __getitem__(self, name: ObjectID | bytes) -> ShaFile:
        """Return an object without copying it."""
        return self._data[ObjectID(name)]

    def __contains__(self, name: object) -> bool:
        """Tell whether an object is here."""
        return name in self._data

    def contains_loose(self, sha: ObjectID) -> bool:
        """Tell whether an object is here."""
        return sha in self._data

    def add_object(self, obj: ShaFile) -> None:
        """Add an object."""
        self._data[obj.id] = obj

    def take(self, items: Iterable[GitObject]) -> None:
        """Add objects as the simulator holds them."""
        for item in items:
            key = ObjectID(item.oid.encode())
            if key in self._data:
                continue
            parsed = self._shared.get(key)
            if parsed is None:
                parsed = ShaFile.from_raw_string(_NUMBERS[item.kind], item.data, key)
                self._shared[key] = parsed
            self._data[key] = parsed


class SimServer(MemoryServer):
    """The memory server with a record of every ref that moved, and faults of its own.

    ``lies`` is the share of pushes that are reported ok without being done (seen of servers that cache packed refs),
    ``dies`` the share of swaps of several refs in whose middle the server dies: the first refs have moved, in the order
    sent, and no reply comes.
    """

    def __init__(self, kernel: Kernel, history: History, **options: object) -> None:
        """Begin empty; ``options`` are the memory server's."""
        super().__init__(**options)  # type: ignore[arg-type]  # passed on as they came
        self.kernel = kernel
        self.history = history
        self.sender = ("", 0, 0)
        self.past: list[tuple[float, dict[RefName, Oid]]] = []
        self.keeps_past = False
        self.apart_s = 0.0
        self.lies = 0.0
        self.dies = 0.0
        self.dice = random.Random(0)
        self._mirror: dict[RefName, Oid] = {}
        self._turned_away: set[int] = set()

    def put(self, objects: Iterable[GitObject]) -> None:
        """Store objects, and keep them for the record even when they are collected here."""
        items = list(objects)
        super().put(items)
        self.history.archive.update((item.oid, item) for item in items)

    def listing(self, prefixes: Sequence[str]) -> dict[RefName, Oid]:
        """Return the refs under ``prefixes``, and record what was shown of the branch's lock."""
        lock_ref = self.history.lock_ref
        if lock_ref.startswith(tuple(prefixes)):
            self._shown(is_absent=lock_ref not in self.refs)
        return super().listing(prefixes)

    def _shown(self, *, is_absent: bool, is_refusal: bool = False) -> None:
        runner, request, _ = self.sender
        self.history.sights.append(Sight(self.kernel.now, runner, request, is_absent, is_refusal))

    def push(self, commands: Sequence[Command], objects: Sequence[GitObject], *, atomic: bool) -> Report:
        """Apply a push and record what it moved, and what it was refused."""
        runner, request, copy = self.sender
        if request in self._turned_away:
            return Report("ok", {cmd.ref: "pre-receive hook declined" for cmd in commands})
        if self.dice.random() < self.lies:
            self.history.note(self.kernel.now, f"{runner} #{request}.{copy} is told ok, and nothing is done")
            return Report("ok", {cmd.ref: None for cmd in commands})
        cut = commands
        if len(commands) > 1 and self.dice.random() < self.dies and self._would_apply(commands, objects):
            cut = commands[: self.dice.randrange(1, len(commands))]
        before = {cmd.ref: self.refs.get(cmd.ref) for cmd in commands}
        report = super().push(cut, objects, atomic=atomic)
        lock_ref = self.history.lock_ref
        if report.statuses.get(lock_ref) in _DECLINED and any(
            cmd.ref == lock_ref and cmd.old == ZERO_OID for cmd in commands
        ):
            self._shown(is_absent=lock_ref not in self.refs, is_refusal=True)
        if any(status == "pre-receive hook declined" for status in report.statuses.values()):
            self._turned_away.add(request)  # nobody sends again what was refused for good
        moves = tuple(
            Move(cmd.ref, before[cmd.ref], None if cmd.new == ZERO_OID else cmd.new)
            for cmd in cut
            if report.statuses.get(cmd.ref, "absent") is None
        )
        if moves:
            partial = "crash" if len(cut) < len(commands) else ""
            if any(status in _HOLES for status in report.statuses.values()):
                partial = "hole"
            self.record(Applied(self.kernel.now, runner, SWAP, moves, request, copy, partial))
        else:
            words = next(iter(report.statuses.values()))
            self.history.note(self.kernel.now, f"{runner} #{request}.{copy} refused: {words}")
        if len(cut) < len(commands):
            raise LinkError("unreachable", "the server died")
        return report

    def _would_apply(self, commands: Sequence[Command], objects: Sequence[GitObject]) -> bool:
        """Tell whether a push would be granted whole, by trying it on a copy of the refs."""
        self.put(objects)
        return self._conflict(commands) is None and not self._checks(commands, []) and self.busy_pushes == 0

    def record(self, event: Applied) -> None:
        """Keep an event and, where old listings are served, the refs before now."""
        self.history.applied.append(event)
        what = ", ".join(f"{move.ref.removeprefix('refs/')}:{(move.after or 'gone')[:7]}" for move in event.moves)
        name = f"{event.actor} #{event.request}.{event.copy}" if event.kind == SWAP else event.actor
        what += f" (in part: {event.partial})" if event.partial else ""
        self.history.note(event.at_s, f"{name} {event.kind} {what}")
        if self.keeps_past:
            self.past.append((self.kernel.now, dict(self.refs)))

    def do(self, actor: str, kind: str, values: Mapping[RefName, Oid | None]) -> None:
        """Move refs without the lock, as people and mirrors do."""
        moves = tuple(
            Move(ref, self.refs.get(ref), value) for ref, value in values.items() if self.refs.get(ref) != value
        )
        for move in moves:
            self.set_ref(move.ref, move.after)
        if moves:
            self.record(Applied(self.kernel.now, actor, kind, moves))

    def collect(self) -> None:
        """Drop unreachable objects."""
        dropped = self.gc()
        self.history.note(self.kernel.now, f"{dropped} objects are collected")

    def remember_mirror(self) -> None:
        """Let somebody clone everything."""
        self._mirror = dict(self.refs)

    def push_mirror(self) -> None:
        """Let the old clone be pushed back with --mirror: refs it does not know go, all others return."""
        self.put(self.history.archive.values())
        self.do("mirror", MIRROR, {ref: self._mirror.get(ref) for ref in sorted({*self.refs, *self._mirror})})

    def as_of(self, lag_s: float, work: Callable[[], _T]) -> _T:
        """Answer as a replica would that is ``lag_s`` behind."""
        old = {}
        for at_s, refs in self.past:
            if at_s > self.kernel.now - lag_s:
                break
            old = refs
        present, self.refs = self.refs, dict(old) if old else self.refs
        try:
            return work()
        finally:
            self.refs = present
