"""A git repository in memory: it grants and refuses what git 2.39 was measured to grant and refuse, faults included."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gitref_lock.core.names import ZERO_OID, InvalidNameError, Oid, RefName, ref_name
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.refs import At, RefEdit
from gitref_lock.ports import FetchRequest, FetchResult, ObjectsGoneError
from gitref_lock.remotes.wire import Report, under


@dataclass(frozen=True, slots=True)
class Command:
    """One line of a push as it stands on the wire: ZERO_OID means absent, on either side."""

    old: Oid
    new: Oid
    ref: RefName

    @classmethod
    def of(cls, edit: RefEdit) -> Command:
        """Return the command that an edit is sent as."""
        old = edit.expect.oid if isinstance(edit.expect, At) else ZERO_OID
        return cls(old, edit.new or ZERO_OID, edit.ref)


UpdateHook = Callable[[Command], str | None]
"""Return the status words to refuse one ref with, or None."""

PreReceiveHook = Callable[[Sequence[Command]], str | None]
"""Return what the hook prints before it refuses the whole push, or None."""


class MemoryServer:
    """One repository. Thread-safe; each push is applied under one lock.

    ``atomic`` False: neither offered nor done. ``holes`` True: like C git, a command that fails for missing objects or
    a hidden ref does not stop the others of an atomic push, and a delete whose expected object is unknown here is
    unconditional; False: strict, as JGit. ``clock`` returns Unix time for the ``Date`` of replies; None: no dates.
    """

    def __init__(
        self,
        *,
        atomic: bool = True,
        agent: str = "git/2.39.5",
        holes: bool = True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Begin empty."""
        self.atomic = atomic
        self.agent = agent
        self.holes = holes
        self.clock = clock
        self.refs: dict[RefName, Oid] = {}
        self.objects: dict[Oid, GitObject] = {}
        self.hidden_prefixes: tuple[str, ...] = ()
        self.update_hook: UpdateHook | None = None
        self.pre_receive_hook: PreReceiveHook | None = None
        self.busy_pushes = 0
        self.pushes = 0
        self._complete: set[Oid] = set()
        self._named: dict[Oid, tuple[tuple[Oid, ...], tuple[Oid, ...]]] = {}
        self._lock = threading.RLock()

    # What tests and other clients do to it.

    def put(self, objects: Iterable[GitObject]) -> None:
        """Store objects."""
        with self._lock:
            self.objects.update((item.oid, item) for item in objects)

    def set_ref(self, ref: RefName, value: Oid | None) -> None:
        """Move a ref unconditionally, as an administrator on the server would."""
        with self._lock:
            if value is None:
                self.refs.pop(ref, None)
            else:
                self.refs[ref] = value

    def gc(self) -> int:
        """Drop every object that no ref reaches; return how many."""
        with self._lock:
            kept = self._closure(self.refs.values(), ())
            dropped = self.objects.keys() - kept
            for one in dropped:
                del self.objects[one]
            self._complete &= kept
            return len(dropped)

    def date(self) -> int | None:
        """Return the server's time as a ``Date`` header would: whole seconds, truncated."""
        return None if self.clock is None else int(self.clock())

    # What the protocol does.

    def listing(self, prefixes: Sequence[str]) -> dict[RefName, Oid]:
        """Return the refs under ``prefixes``."""
        with self._lock:
            return under(self.refs, prefixes)

    def push(self, commands: Sequence[Command], objects: Sequence[GitObject], *, atomic: bool) -> Report:
        """Apply a push and report on every command.

        The objects stay even when every ref is refused, unless all fail before any ref is looked at or pre-receive
        declines.
        """
        with self._lock:
            self.pushes += 1
            if all(cmd.new == ZERO_OID for cmd in commands):
                objects = ()  # deletions travel without a pack
            said: list[str] = []
            before = {item.oid for item in objects if item.oid in self.objects}
            self.put(objects)
            failed = self._checks(commands, said)
            if failed and not self.holes:
                failed |= {cmd.ref: "transaction aborted" for cmd in commands if cmd.ref not in failed}
            live = [cmd for cmd in commands if cmd.ref not in failed]
            words = self.pre_receive_hook(live) if self.pre_receive_hook is not None and live else None
            if words is not None or not live:
                self._drop({item.oid for item in objects} - before)
            if words is not None:
                said.append(words)
                failed |= {cmd.ref: "pre-receive hook declined" for cmd in live}
            elif atomic and self.atomic and live:
                failed |= self._atomic(live, said)
            else:
                for cmd in live:
                    failed |= self._single(cmd, said)
            return Report("ok", {cmd.ref: failed.get(cmd.ref) for cmd in commands}, "\n".join(said))

    def _drop(self, oids: Collection[Oid]) -> None:
        """Forget objects that were kept apart until now."""
        for one in oids:
            del self.objects[one]
        self._complete -= set(oids)

    def _checks(self, commands: Sequence[Command], said: list[str]) -> dict[RefName, str]:
        """Return the commands that fail before any ref is looked at: missing objects, hidden refs."""
        failed: dict[RefName, str] = {}
        for cmd in commands:
            if cmd.ref.startswith(self.hidden_prefixes) and self.hidden_prefixes:
                failed[cmd.ref] = "deny updating a hidden ref"
            elif cmd.new != ZERO_OID and not self._is_complete(cmd.new):
                said.append(f"fatal: bad object {cmd.new}")
                failed[cmd.ref] = "missing necessary objects"
        return failed

    def _atomic(self, commands: Sequence[Command], said: list[str]) -> dict[RefName, str]:
        """Apply all commands or none."""
        for cmd in commands:
            status = self._declined(cmd)
            if status is not None:
                return {other.ref: status if other is cmd else "atomic push failure" for other in commands}
        if (words := self._busy(commands) or self._conflict(commands)) is not None:
            said.append(f"error: {words}")
            return {cmd.ref: "atomic transaction failed" for cmd in commands}
        for cmd in commands:
            self.set_ref(cmd.ref, None if cmd.new == ZERO_OID else cmd.new)
        return {}

    def _single(self, cmd: Command, said: list[str]) -> dict[RefName, str]:
        """Apply one command by itself."""
        status = self._declined(cmd)
        if status is None and (words := self._busy((cmd,)) or self._conflict((cmd,))) is not None:
            said.append(f"error: {words}")
            status = "failed to update ref"
        if status is not None:
            return {cmd.ref: status}
        self.set_ref(cmd.ref, None if cmd.new == ZERO_OID else cmd.new)
        return {}

    def _declined(self, cmd: Command) -> str | None:
        """Return why a ref's own checks refuse the command: its name, the update hook."""
        try:
            ref_name(cmd.ref)
        except InvalidNameError:
            return "funny refname"
        return None if self.update_hook is None else self.update_hook(cmd)

    def _busy(self, commands: Sequence[Command]) -> str | None:
        """Return git's words for a lock file in the way, while ``busy_pushes`` lasts."""
        if self.busy_pushes <= 0:
            return None
        self.busy_pushes -= 1
        ref = commands[0].ref
        return f"cannot lock ref '{ref}': Unable to create './{ref}.lock': File exists."

    def _conflict(self, commands: Sequence[Command]) -> str | None:
        """Return git's words for the first command whose expectation or name does not fit, or None."""
        names = [cmd.ref for cmd in commands]
        if len(set(names)) != len(names):
            return f"multiple updates for ref '{names[0]}' not allowed"
        for cmd in commands:
            present = self.refs.get(cmd.ref)
            is_delete = cmd.new == ZERO_OID
            # The expected object of a delete is not here: C git drops the comparison.
            is_blind = is_delete and self.holes and cmd.old not in self.objects
            prefix = f"cannot lock ref '{cmd.ref}'"
            if present is None and not is_blind and cmd.old != ZERO_OID:
                return f"{prefix}: unable to resolve reference '{cmd.ref}'"
            if present is None and (blocker := self._blocker(cmd.ref, names)) is not None:
                return f"{prefix}: '{blocker}' exists; cannot create '{cmd.ref}'"
            if is_blind:
                continue
            if cmd.old == ZERO_OID and present is not None:
                return f"{prefix}: reference already exists"
            if present is not None and present != cmd.old:
                return f"{prefix}: is at {present} but expected {cmd.old}"
            if cmd.ref.startswith("refs/heads/") and not is_delete and not self._is_commit(cmd.new):
                return f"trying to write non-commit object {cmd.new} to branch '{cmd.ref}'"
        return None

    def _is_commit(self, oid: Oid) -> bool:
        """Tell whether the object is a commit."""
        return oid in self.objects and self.objects[oid].kind is ObjectKind.COMMIT

    def _blocker(self, ref: RefName, names: Sequence[RefName]) -> RefName | None:
        """Return a ref that is a folder of ``ref`` or lies within it."""
        taken = [*self.refs, *(name for name in names if name != ref)]
        return next((other for other in taken if ref.startswith(f"{other}/") or other.startswith(f"{ref}/")), None)

    # Objects.

    def _is_complete(self, start: Oid) -> bool:
        """Tell whether everything that ``start`` reaches is here."""
        seen: set[Oid] = set()
        waiting = [start]
        while waiting:
            one = waiting.pop()
            if one in self._complete or one in seen:
                continue
            if one not in self.objects:
                return False
            seen.add(one)
            for named in self._links(one):
                waiting += named
        self._complete |= seen
        return True

    def _closure(self, starts: Iterable[Oid], parentless: Collection[Oid], known: Collection[Oid] = ()) -> set[Oid]:
        """Return what ``starts`` reach and is here, not going behind ``parentless`` commits or into ``known``."""
        seen: set[Oid] = set()
        waiting = list(starts)
        while waiting:
            one = waiting.pop()
            if one in seen or one in known or one not in self.objects:
                continue
            seen.add(one)
            content, parents = self._links(one)
            waiting += content
            if one not in parentless:
                waiting += parents
        return seen

    def _links(self, one: Oid) -> tuple[tuple[Oid, ...], tuple[Oid, ...]]:
        """Return what an object here names: its content, and its parents."""
        found = self._named.get(one)
        if found is None:
            item = self.objects[one]
            found = self._named[one] = (tuple(links_of(item, with_parents=False)), parents_of(item))
        return found

    def served(self, request: FetchRequest) -> tuple[list[GitObject], FetchResult]:
        """Return the objects that answer a fetch and the boundary changes; ObjectsGoneError for an unknown want."""
        with self._lock:
            for want in request.wants:
                if want not in self.objects:
                    raise ObjectsGoneError(f"upload-pack: not our ref {want}")
            boundary = self._boundary(request)
            known = self._closure(request.haves, request.shallow)
            cut = boundary if request.depth is not None else set(request.shallow)
            reached = self._closure(request.wants, cut, known if request.depth is None else ())
            sent = [self.objects[one] for one in sorted(reached - known)]
            if request.filter_spec == "blob:none":
                sent = [item for item in sent if item.kind is not ObjectKind.BLOB or item.oid in request.wants]
            if request.depth is None:
                return sent, FetchResult()
            opened = tuple(one for one in request.shallow if one in reached and one not in boundary)
            return sent, FetchResult(tuple(sorted(boundary - set(request.shallow))), opened)

    def _boundary(self, request: FetchRequest) -> set[Oid]:
        """Return the commits at the asked depth that have parents."""
        layer = {want for want in request.wants if self.objects[want].kind is ObjectKind.COMMIT}
        seen = set(layer)
        for _ in range((request.depth or 1) - 1):
            layer = {parent for one in layer for parent in parents_of(self.objects[one])} - seen
            layer &= self.objects.keys()
            seen |= layer
        return {one for one in layer if parents_of(self.objects[one])}


def parents_of(item: GitObject) -> tuple[Oid, ...]:
    """Return a commit's parents; nothing for other objects."""
    if item.kind is not ObjectKind.COMMIT:
        return ()
    head = item.data.partition(b"\n\n")[0].decode("utf-8", "replace")
    return tuple(Oid(value) for value in re.findall(r"^parent ([0-9a-f]{40})$", head, re.MULTILINE))


def links_of(item: GitObject, *, with_parents: bool = True) -> Iterator[Oid]:
    """Yield the objects that ``item`` names; submodule entries name objects of other repositories."""
    if item.kind is ObjectKind.COMMIT:
        yield Oid(item.data[5:45].decode("ascii", "replace"))
        if with_parents:
            yield from parents_of(item)
    elif item.kind is ObjectKind.TAG:
        yield Oid(item.data[7:47].decode("ascii", "replace"))
    elif item.kind is ObjectKind.TREE:
        position = 0
        while (end := item.data.find(b"\0", position)) >= 0:
            if not item.data.startswith(b"160000 ", position):
                yield Oid(item.data[end + 1 : end + 21].hex())
            position = end + 21
