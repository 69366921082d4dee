"""The clone's object store, written so that a kill at any instant leaves nothing in the way of the next command.

The library writes loose objects and pack indexes through ``<name>.lock`` files of fixed names: one that a killed
process left behind would make every later write of the same object fail for ever. Objects are named by their content,
so no lock is needed: whoever is last puts the same bytes in place.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException
from dulwich.file import FileLocked, adjust_shared_perm
from dulwich.object_store import DiskObjectStore, MemoryObjectStore
from dulwich.objects import ObjectID, ShaFile
from dulwich.pack import Pack, UnresolvedDeltas

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.ports import RemoteError

_READ_ONLY = 0o444
_UNFIT = (
    *(FileFormatException, ApplyDeltaError, ChecksumMismatch, UnresolvedDeltas, zlib.error, struct.error),
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RecursionError),
)
"""What the library may raise over objects that somebody else made, its slips included."""


class SturdyObjectStore(DiskObjectStore):
    """Git's objects folder; see the module for what differs from the library's."""

    def add_object(self, obj: ShaFile) -> None:
        """Store one loose object; raise OSError when the disk refuses."""
        name = ObjectID(obj.get_id(self.object_format)).decode("ascii")
        target = Path(self.path) / name[:2] / name[2:]
        try:
            os.utime(target)  # an old object that nothing names yet may be pruned otherwise
        except FileNotFoundError:
            pass
        except PermissionError:
            return  # of another user of this repository
        else:
            return
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            adjust_shared_perm(target.parent, self.shared_perm)
        # git's own name for such a file: what a kill leaves is removed by git gc
        descriptor, scratch = tempfile.mkstemp(prefix="tmp_obj_", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(obj.as_legacy_object(compression_level=self.loose_compression_level))
                os.fchmod(file.fileno(), _READ_ONLY)
                if self.fsync_object_files:
                    file.flush()
                    os.fsync(file.fileno())
            adjust_shared_perm(scratch, self.shared_perm)
            Path(scratch).replace(target)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise

    def add_pack_bytes(self, pack: bytes) -> Pack:
        """Store a pack that a server sent; an index lock that a killed process left behind is removed."""
        with self._alone():
            try:
                return self.add_thin_pack(BytesIO(pack).read, None)
            except FileLocked as error:
                # nobody else of this tool writes packs now: the lock's owner is dead
                Path(os.fsdecode(error.lockfilename)).unlink(missing_ok=True)
                return self.add_thin_pack(BytesIO(pack).read, None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder of packs against this tool in other work trees; the kernel drops it with the process."""
        folder = Path(self.path) / "pack"
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a file system without such locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


Store = DiskObjectStore | MemoryObjectStore


@dataclass(slots=True)
class StoreSink:
    """Fetched packs into an object store on disk or in memory."""

    store: Store

    def add_pack_bytes(self, pack: bytes, *, promisor: bool) -> None:
        """Store the pack's objects; a promisor pack is marked as git does (partial clones).

        Raises RemoteError ``protocol`` for objects that cannot be stored, whatever the library says of them.
        """
        if pack[8:12] == bytes(4):
            return
        try:
            added = self._stored(pack)
        except _UNFIT as error:
            raise RemoteError("protocol", f"objects that cannot be stored: {error}") from error
        if promisor and added is not None:
            # git gc and fsck forgive what such a pack refers to but does not hold (gitremote-helpers, partial clone).
            Path(f"{added._basename}.promisor").touch()  # noqa: SLF001 - the pack's path is public nowhere

    def _stored(self, pack: bytes) -> Pack | None:
        if isinstance(self.store, SturdyObjectStore):
            return self.store.add_pack_bytes(pack)
        if isinstance(self.store, DiskObjectStore):
            return self.store.add_thin_pack(BytesIO(pack).read, None)
        before = set(self.store)
        try:
            self.store.add_thin_pack(BytesIO(pack).read, None)
        except _UNFIT:
            # In memory the library adds one object after the other: half a pack must not pass for a whole one.
            for one in set(self.store) - before:
                del self.store[one]
            raise
        return None

    def has(self, oid: Oid) -> bool:
        """Tell whether the object is present."""
        return ObjectID(oid.encode("ascii")) in self.store
