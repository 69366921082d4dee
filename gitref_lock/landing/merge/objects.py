"""Trees and blobs as the merge sees them: read through a store, fetched once when a partial clone lacks them.

New objects are held back until the merge is known to be clean, so that a conflict leaves nothing behind.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, ObjectID, ShaFile, Tree, parse_tree

from gitref_lock.core.names import Oid

_FILE, _EXECUTABLE = 0o100644, 0o100755
TREE_MODE = 0o040000


class Entry(NamedTuple):
    """What a tree holds under a name: a canonical git mode and an object id (hex digits as bytes)."""

    mode: int
    oid: ObjectID

    @property
    def is_tree(self) -> bool:
        """Whether it is a directory."""
        return self.mode == TREE_MODE

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file; symlinks and submodules are not."""
        return stat.S_ISREG(self.mode)


class MissingObjectError(LookupError):
    """An object that the merge needs is neither stored nor could be fetched. ``oid`` is its id."""

    def __init__(self, oid: Oid) -> None:
        """Keep the id."""
        super().__init__(f"object {oid} is needed to merge but is not in the local repository")
        self.oid = oid


class Objects:
    """The objects of one merge. Not for use by several threads."""

    def __init__(
        self,
        store: BaseObjectStore,
        add: Callable[[ShaFile], None],
        fetch_missing: Callable[[Sequence[Oid]], None] | None,
    ) -> None:
        """Read from ``store``, hand new objects to ``add`` on ``flush``, ask ``fetch_missing`` for absent ones."""
        self._store = store
        self._add = add
        self._fetch_missing = fetch_missing
        self._trees: dict[ObjectID, dict[bytes, Entry]] = {}
        self._new: dict[ObjectID, ShaFile] = {}

    def tree(self, oid: ObjectID | None) -> Mapping[bytes, Entry]:
        """Return the entries of a tree by name; None is the empty tree. Modes come out canonical, as git reads them."""
        if oid is None:
            return {}
        if oid not in self._trees:
            raw = self._raw(oid)
            self._trees[oid] = {
                name: Entry(_canonical(mode), ObjectID(sha)) for name, mode, sha in parse_tree(raw, len(oid) // 2)
            }
        return self._trees[oid]

    def blob(self, oid: ObjectID) -> bytes:
        """Return the bytes of a blob."""
        return self._raw(oid)

    def prefetch(self, oids: Iterable[ObjectID]) -> None:
        """Ask for those of ``oids`` that are absent, all in one request."""
        if self._fetch_missing is None:
            return
        absent = sorted({oid for oid in oids if oid not in self._new and oid not in self._store})
        if absent:
            self._fetch_missing([Oid(oid.decode()) for oid in absent])

    def put_blob(self, data: bytes) -> ObjectID:
        """Keep a new blob and return its id."""
        return self._put(Blob.from_string(data))

    def put_tree(self, entries: Mapping[bytes, Entry]) -> ObjectID:
        """Keep a new tree and return its id."""
        tree = Tree()
        for name, entry in entries.items():
            tree.add(name, entry.mode, entry.oid)
        return self._put(tree)

    def flush(self) -> None:
        """Hand over every new object that the store lacks, blobs and trees before the trees that hold them."""
        for oid, thing in self._new.items():
            if oid not in self._store:
                self._add(thing)
        self._new.clear()

    def _put(self, thing: ShaFile) -> ObjectID:
        self._new.setdefault(thing.id, thing)
        return thing.id

    def _raw(self, oid: ObjectID) -> bytes:
        """Read an object's bytes; fetch it once when it is absent."""
        if oid in self._new:
            return self._new[oid].as_raw_string()
        try:
            return self._store.get_raw(oid)[1]
        except KeyError:
            self.prefetch([oid])
        try:
            return self._store.get_raw(oid)[1]
        except KeyError:
            raise MissingObjectError(Oid(oid.decode())) from None


def _canonical(mode: int) -> int:
    """Return the mode that git takes ``mode`` for: old trees hold group-writable files."""
    if stat.S_ISREG(mode):
        return _EXECUTABLE if mode & 0o100 else _FILE
    if stat.S_ISDIR(mode):
        return TREE_MODE
    return stat.S_IFMT(mode)
