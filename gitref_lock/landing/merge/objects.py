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


_MODES = {mode: mode for mode in (_FILE, _EXECUTABLE, TREE_MODE, 0o120000, 0o160000)}

RawTree = Mapping[bytes, tuple[int, ObjectID]]
"""Mode and id by name."""


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
        self._trees: dict[ObjectID, RawTree] = {}
        self._new: dict[ObjectID, ShaFile] = {}

    def tree(self, oid: ObjectID | None) -> RawTree:
        """Return the entries of a tree by name; None is the empty tree. Modes come out canonical, as git reads them.

        The values are plain pairs, which compare as equal to an Entry: making 50,000 of those costs more than a merge.
        """
        if oid is None:
            return {}
        if oid not in self._trees:
            entries = parse_tree(self._raw(oid), len(oid) // 2)
            self._trees[oid] = {
                name: (_MODES.get(mode) or _canonical(mode), ObjectID(sha)) for name, mode, sha in entries
            }
        return self._trees[oid]

    def entry(self, tree: ObjectID | None, name: bytes) -> Entry | None:
        """Return what a tree holds under ``name``."""
        found = self.tree(tree).get(name)
        return None if found is None else Entry(*found)

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

    def put_tree(self, entries: RawTree) -> ObjectID:
        """Keep a new tree and return its id. Names sort as bytes, a directory's as if it ended in a slash."""
        rows = sorted(
            (name + b"/" if mode == TREE_MODE else name, b"%o %b\0" % (mode, name), oid)
            for name, (mode, oid) in entries.items()
        )
        raw = b"".join([head + bytes.fromhex(oid.decode()) for _key, head, oid in rows])
        return self._put(Tree.from_string(raw))

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
