"""Change a few entries of an index and copy the rest byte for byte.

Rewriting every entry of a large index takes seconds and loses what this code does not know; here only the changed
entries, the cache tree's stale folders and the checksum are new. Format: gitformat-index(5), versions 2, 3 and 4.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from gitref_lock.landing.index_file import (
    EXTENDED,
    NAME_MASK,
    CacheNode,
    Entry,
    IndexFile,
    StatData,
    encode_cache_tree,
)

_FIXED = struct.Struct(">LLLLLLLLLL20sH")
_KEPT_EXTENSIONS = (b"TREE", b"REUC")
"""Only these stay true when entries move; git rebuilds the others (untracked cache, file monitor, offsets)."""


def new_entry(path: bytes, mode: int, oid: bytes, stat: StatData, *, extended: int = 0) -> Entry:
    """Return a stage-0 entry; ``extended`` may carry SKIP_WORKTREE."""
    return Entry(path, mode, oid, stat, EXTENDED if extended else 0, extended)


def patched(index: IndexFile, edits: Mapping[bytes, Entry | None]) -> bytes:
    """Return the bytes of ``index`` with each path of ``edits`` set to its entry, or removed for None.

    A path that is set drops all conflict sides of its own, every entry below it and every file that stands where one
    of its folders must be. What is written must not be dated later than ``index`` (``dating.date_ns``).
    """
    wanted = _with_implied(index, edits)
    version = index.version
    if version == 2 and any(entry is not None and entry.extended for entry in wanted.values()):
        version = 3  # an entry without the extended flag looks the same in both
    body: list[bytes] = []
    count = 0
    previous = b""
    for chunk, names, last in _merged(index, wanted):
        if isinstance(chunk, Entry):
            body.append(_encode(chunk, version, previous))
            count += 1
            previous = chunk.path
        else:
            start, stop = chunk
            body.append(_copied(index, start, stop, version, previous))
            count += names
            previous = last
    head = b"DIRC" + struct.pack(">LL", version, count)
    content = b"".join((head, *body, *_extensions(index, wanted)))
    if index.data[-20:] == bytes(20) and len(index.data) > 32:
        return content + bytes(20)  # index.skipHash
    return content + hashlib.sha1(content, usedforsecurity=False).digest()


def _with_implied(index: IndexFile, edits: Mapping[bytes, Entry | None]) -> dict[bytes, Entry | None]:
    """Add the removals that a file in a folder's place, or a folder in a file's place, implies."""
    wanted = dict(edits)
    for path, entry in edits.items():
        if entry is None:
            continue
        start, stop = index.below(path)
        for name in index.names[start:stop]:
            wanted.setdefault(name, None)
        parts = path.split(b"/")
        for depth in range(1, len(parts)):
            folder = b"/".join(parts[:depth])
            if index.find(folder) is not None:
                wanted.setdefault(folder, None)
    return wanted


def _merged(
    index: IndexFile, wanted: Mapping[bytes, Entry | None]
) -> Iterator[tuple[Entry | tuple[int, int], int, bytes]]:
    """Yield, in index order, new entries and ranges of old ones: (what, number of entries, last path)."""
    names = index.names
    done = 0
    for path in sorted(wanted):
        at = max(index.position(path), done)
        if at > done:
            yield (done, at), at - done, names[at - 1]
        entry = wanted[path]
        if entry is not None:
            yield entry, 1, path
        while at < len(names) and names[at] == path:
            at += 1
        done = at
    if done < len(names):
        yield (done, len(names)), len(names) - done, names[-1]


def _copied(index: IndexFile, start: int, stop: int, version: int, previous: bytes) -> bytes:
    """Return the bytes of old entries; in version 4 the first one's path is encoded against its new predecessor."""
    begin = index.starts[start]
    end = index.starts[stop] if stop < len(index.starts) else index.end
    if version != 4:
        return index.data[begin:end]
    after_first = index.starts[start + 1] if start + 1 < len(index.starts) else index.end
    return _encode(index.entry(start), version, previous) + index.data[after_first:end]


def _encode(entry: Entry, version: int, previous: bytes) -> bytes:
    stat = entry.stat
    length = min(len(entry.path), NAME_MASK)
    fixed = _FIXED.pack(
        stat.ctime_s, stat.ctime_ns, stat.mtime_s, stat.mtime_ns, stat.dev, stat.ino, entry.mode, stat.uid, stat.gid,
        stat.size, bytes.fromhex(entry.oid.decode()), entry.flags & ~NAME_MASK | length,
    )  # fmt: skip
    if entry.flags & EXTENDED:
        fixed += struct.pack(">H", entry.extended)
    if version == 4:
        shared = _shared(previous, entry.path)
        return fixed + _offset(len(previous) - shared) + entry.path[shared:] + b"\0"
    size = len(fixed) + len(entry.path)
    return fixed + entry.path + bytes(8 - size % 8)


def _shared(left: bytes, right: bytes) -> int:
    """Return how many bytes two paths have in common at their beginning."""
    limit = min(len(left), len(right))
    at = 0
    while at < limit and left[at] == right[at]:
        at += 1
    return at


def _offset(value: int) -> bytes:
    """Encode the variable-length number of version 4."""
    out = [value & 0x7F]
    value >>= 7
    while value:
        value -= 1
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    return bytes(reversed(out))


def _extensions(index: IndexFile, wanted: Mapping[bytes, Entry | None]) -> Iterator[bytes]:
    for name in _KEPT_EXTENSIONS:
        payload = index.extensions.get(name)
        if payload is None:
            continue
        if name == b"TREE":
            tree = index.cache_tree()
            if tree is None:
                continue
            for path in wanted:
                _invalidate(tree, path)
            payload = encode_cache_tree(tree)
        yield name + struct.pack(">L", len(payload)) + payload


def _invalidate(tree: CacheNode, path: bytes) -> None:
    """Mark every folder on the way to ``path`` as stale."""
    node = tree
    parts = path.split(b"/")
    for part in parts[:-1]:
        node.count = -1
        child = node.children.get(part)
        if child is None:
            return
        node = child
    node.count = -1
    node.children.pop(parts[-1], None)


def write_new(path: Path, data: bytes, *, is_hardened: bool = False) -> None:
    """Write a new file, on the disk when it returns if ``is_hardened``; raise FileExistsError when it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if is_hardened:
            file.flush()
            os.fsync(file.fileno())
