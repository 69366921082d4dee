"""The index, read without turning 80,000 entries into objects.

Only positions and names are kept; an entry is decoded when somebody asks for it. The cache tree that git stores in the
index (gitformat-index(5), "Cache tree") makes "what is staged?" a comparison of a few ids. A split or sparse index, or
one with an unknown mandatory extension, is refused here: an installed git handles those.
"""

from __future__ import annotations

import hashlib
import os
import struct
from bisect import bisect_left
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from gitref_lock.core.lean import dataclass

ASSUME_VALID = 0x8000
EXTENDED = 0x4000
STAGE_MASK = 0x3000
NAME_MASK = 0x0FFF
SKIP_WORKTREE = 0x4000
INTENT_TO_ADD = 0x2000
_FIXED = struct.Struct(">LLLLLLLLLL20sH")
_TRAILER = 20


class UnreadableIndexError(Exception):
    """The index has a form that only git itself reads or writes; the text says which."""


class StatData(NamedTuple):
    """The file times and numbers that git remembers to tell quickly that a file is unchanged; all modulo 2**32."""

    ctime_s: int
    ctime_ns: int
    mtime_s: int
    mtime_ns: int
    dev: int
    ino: int
    uid: int
    gid: int
    size: int


UNKNOWN_STAT = StatData(0, 0, 0, 0, 0, 0, 0, 0, 0)
"""Makes git compare the content the next time it looks."""


def stat_data(st: os.stat_result) -> StatData:
    """Return what an index entry keeps of ``st``."""
    low = 0xFFFFFFFF
    return StatData(
        st.st_ctime_ns // 10**9 & low,
        st.st_ctime_ns % 10**9,
        st.st_mtime_ns // 10**9 & low,
        st.st_mtime_ns % 10**9,
        st.st_dev & low,
        st.st_ino & low,
        st.st_uid & low,
        st.st_gid & low,
        st.st_size & low,
    )


class Entry(NamedTuple):
    """One index entry. ``oid`` is 40 hex digits as bytes; ``flags`` exclude the name's length."""

    path: bytes
    mode: int
    oid: bytes
    stat: StatData
    flags: int
    extended: int

    @property
    def stage(self) -> int:
        """0, or the side of a conflict."""
        return (self.flags & STAGE_MASK) >> 12

    @property
    def is_intent_to_add(self) -> bool:
        """Whether `git add -N` made it: known, but without content yet."""
        return bool(self.extended & INTENT_TO_ADD)

    @property
    def is_skip_worktree(self) -> bool:
        """Whether a sparse checkout leaves the file out of the work tree."""
        return bool(self.extended & SKIP_WORKTREE)

    @property
    def is_assumed_valid(self) -> bool:
        """Whether `git update-index --assume-unchanged` asked not to look at the file."""
        return bool(self.flags & ASSUME_VALID)


@dataclass(slots=True)
class CacheNode:
    """One folder of the cache tree. ``count`` is the number of index entries below it, -1 when ``oid`` is stale."""

    count: int
    oid: bytes
    children: dict[bytes, CacheNode] = field(default_factory=dict)


@dataclass(slots=True)
class IndexFile:
    """A parsed index: raw bytes, and for each entry its start and its full path (in index order)."""

    data: bytes
    version: int
    starts: list[int]
    names: list[bytes]
    extensions: dict[bytes, bytes]
    mtime_ns: int
    end: int
    has_extended: bool = False
    has_stages: bool = False
    has_gitlinks: bool = False

    def __len__(self) -> int:
        """Number of entries, conflict sides included."""
        return len(self.names)

    def entry(self, position: int) -> Entry:
        """Decode the entry at ``position``."""
        start = self.starts[position]
        c_s, c_n, m_s, m_n, dev, ino, mode, uid, gid, size, sha, flags = _FIXED.unpack_from(self.data, start)
        extended = int.from_bytes(self.data[start + 62 : start + 64], "big") if flags & EXTENDED else 0
        stat = StatData(c_s, c_n, m_s, m_n, dev, ino, uid, gid, size)
        return Entry(self.names[position], mode, sha.hex().encode(), stat, flags & ~NAME_MASK & 0xFFFF, extended)

    def position(self, path: bytes) -> int:
        """Return the position of the first entry whose path is not less than ``path``."""
        return bisect_left(self.names, path)

    def find(self, path: bytes) -> Entry | None:
        """Return the entry of ``path`` (its lowest stage), None when there is none."""
        at = self.position(path)
        return self.entry(at) if at < len(self.names) and self.names[at] == path else None

    def below(self, folder: bytes) -> tuple[int, int]:
        """Return the range of positions of entries under ``folder`` (no trailing slash; empty for all)."""
        if not folder:
            return 0, len(self.names)
        # "0" is the byte after "/", so the range ends before any name that merely begins alike
        return bisect_left(self.names, folder + b"/"), bisect_left(self.names, folder + b"0")

    def unmerged(self) -> tuple[bytes, ...]:
        """Return the paths that have conflict sides, once each, sorted."""
        if not self.has_stages:
            return ()
        found = {self.names[at] for at in range(len(self.names)) if self.entry(at).stage}
        return tuple(sorted(found))

    def cache_tree(self) -> CacheNode | None:
        """Return the cache tree, None when the index has none."""
        data = self.extensions.get(b"TREE")
        return _parse_cache_tree(data) if data else None


def _parse_cache_tree(data: bytes) -> CacheNode | None:
    position = 0

    def node() -> tuple[bytes, CacheNode]:
        nonlocal position
        name_end = data.index(b"\0", position)
        line_end = data.index(b"\n", name_end)
        count, children = data[name_end + 1 : line_end].split(b" ")
        name = data[position:name_end]
        position = line_end + 1
        oid = b""
        if int(count) >= 0:
            oid = data[position : position + 20].hex().encode()
            position += 20
        result = CacheNode(int(count), oid)
        for _ in range(int(children)):
            child_name, child = node()
            result.children[child_name] = child
        return name, result

    try:
        return node()[1]
    except (ValueError, RecursionError):
        return None  # only a cache: without it everything is compared


def encode_cache_tree(root: CacheNode) -> bytes:
    """Return the cache tree as the payload of its extension."""
    parts: list[bytes] = []

    def node(name: bytes, item: CacheNode) -> None:
        parts.append(name + b"\0%d %d\n" % (item.count, len(item.children)))
        if item.count >= 0:
            parts.append(bytes.fromhex(item.oid.decode()))
        # git keeps subtrees ordered by length, then bytes, and searches them that way
        for child in sorted(item.children, key=lambda key: (len(key), key)):
            node(child, item.children[child])

    node(b"", root)
    return b"".join(parts)


def empty_index() -> IndexFile:
    """Return the index of a repository that has none yet."""
    return IndexFile(b"DIRC\0\0\0\2\0\0\0\0", 2, [], [], {}, 0, 12)


def read_index(path: Path) -> IndexFile:
    """Read and check the index at ``path``; a missing one is empty. Raise UnreadableIndexError."""
    try:
        with path.open("rb") as file:
            data = file.read()
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return empty_index()
    return parse_index(data, mtime_ns)


def parse_index(data: bytes, mtime_ns: int) -> IndexFile:
    """Parse the bytes of an index (versions 2 to 4) that was last written at ``mtime_ns``."""
    if len(data) < 12 + _TRAILER or data[:4] != b"DIRC":
        raise UnreadableIndexError("the index file is damaged")
    version, count = struct.unpack_from(">LL", data, 4)
    if version not in {2, 3, 4}:
        raise UnreadableIndexError(f"the index has version {version}")
    body = memoryview(data)[:-_TRAILER]
    trailer = data[-_TRAILER:]
    if trailer != bytes(_TRAILER) and hashlib.sha1(body, usedforsecurity=False).digest() != trailer:
        raise UnreadableIndexError("the index file is damaged")
    index = IndexFile(data, version, [], [], {}, mtime_ns, 12)
    try:
        _scan(index, count)
        index.extensions = _read_extensions(data, index.end)
    except (struct.error, IndexError, ValueError) as error:
        raise UnreadableIndexError("the index file is damaged") from error
    return index


def _scan(index: IndexFile, count: int) -> None:
    """Find the start and the path of each entry."""
    data, version = index.data, index.version
    starts, names = index.starts, index.names
    seen = 0
    position = 12
    previous = b""
    for _ in range(count):
        starts.append(position)
        flags = data[position + 60] << 8 | data[position + 61]
        seen |= flags
        name_at = position + (64 if flags & EXTENDED else 62)
        if data[position + 26] == 0xE0:
            index.has_gitlinks = True
        if version == 4:
            strip, name_at = _read_offset(data, name_at)
            end = data.index(0, name_at)
            previous = previous[: len(previous) - strip] + data[name_at:end]
            names.append(previous)
            position = end + 1
        else:
            length = flags & NAME_MASK
            end = name_at + length if length < NAME_MASK else data.index(0, name_at)
            names.append(data[name_at:end])
            position += (end - position + 8) & ~7
    index.end = position
    index.has_extended = bool(seen & EXTENDED)
    index.has_stages = bool(seen & STAGE_MASK)


def _read_offset(data: bytes, position: int) -> tuple[int, int]:
    """Read the variable-length number of version 4, the same as in an offset delta (gitformat-pack(5))."""
    byte = data[position]
    position += 1
    value = byte & 0x7F
    while byte & 0x80:
        byte = data[position]
        position += 1
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, position


def _read_extensions(data: bytes, position: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    end = len(data) - _TRAILER
    while position + 8 <= end:
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "big")
        if not 65 <= name[0] <= 90:
            known = {b"link": "split", b"sdir": "sparse"}.get(name)
            raise UnreadableIndexError(f"the index is {known}" if known else f"the index needs extension {name!r}")
        found[name] = data[position + 8 : position + 8 + size]
        position += 8 + size
    return found
