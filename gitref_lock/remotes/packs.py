"""Packs from the standard library alone: a deterministic writer and a small, bounded reader.

Lock commands move a commit, a tree and two small blobs; importing a git library for that would double their start-up.
The writer's bytes are a function of its input, so that a swap is sent twice with equal bytes.
Format: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind

_CODES = {ObjectKind.COMMIT: 1, ObjectKind.TREE: 2, ObjectKind.BLOB: 3, ObjectKind.TAG: 4}
_KINDS = {code: kind for kind, code in _CODES.items()}
_OFS_DELTA, _REF_DELTA = 6, 7
_LEVEL = 6
_INFLATE_STEP = 65536


class PackError(ValueError):
    """The bytes are not a pack that can be read whole and within the given bounds."""


class PackTooLargeError(PackError):
    """The objects inflate to more than the caller wants to hold."""


def write_pack(objects: Sequence[GitObject], *, thin: bool = False) -> bytes:
    """Return a pack (version 2) with each object of ``objects`` once, in their order.

    ``thin`` sends the deltas that objects carry; the receiver must have their bases. Without it no delta is sent.
    """
    unique = tuple({item.oid: item for item in objects}.values())
    parts = [b"PACK", struct.pack(">II", 2, len(unique))]
    for item in unique:
        if thin and item.delta is not None:
            head, data = _entry_head(_REF_DELTA, len(item.delta.data)) + bytes.fromhex(item.delta.base), item.delta.data
        else:
            head, data = _entry_head(_CODES[item.kind], len(item.data)), item.data
        parts += [head, zlib.compress(data, _LEVEL)]
    body = b"".join(parts)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _entry_head(code: int, size: int) -> bytes:
    """Return an entry's head: type and size in the variable-length coding of packs."""
    head = bytearray()
    byte = (code << 4) | (size & 15)
    size >>= 4
    while size:
        head.append(byte | 0x80)
        byte = size & 0x7F
        size >>= 7
    head.append(byte)
    return bytes(head)


@dataclass(frozen=True, slots=True)
class PackedObject:
    """One object of a pack; ``data`` is None for a blob that was larger than asked (its id is then not known)."""

    kind: ObjectKind
    data: bytes | None


@dataclass(frozen=True, slots=True)
class _Delta:
    base: int | Oid
    data: bytes


@dataclass(slots=True)
class _Cursor:
    """A position in a pack and what may still be inflated from it."""

    pack: bytes
    position: int
    budget: int

    def byte(self) -> int:
        if self.position >= len(self.pack):
            raise PackError("the pack is cut off")
        self.position += 1
        return self.pack[self.position - 1]

    def inflate(self, size: int, *, keep: bool) -> bytes:
        """Return the next zlib stream, which must have ``size`` bytes; without ``keep`` only move past it."""
        self.budget -= size
        if self.budget < 0:
            raise PackTooLargeError("the pack inflates to more than is wanted")
        engine = zlib.decompressobj()
        # Most objects are small, and what is fed beyond an object's end is copied twice.
        chunks, total, feed = [], 0, self.pack[self.position : self.position + min(size + 512, _INFLATE_STEP)]
        self.position += len(feed)
        try:
            while True:
                chunk = engine.decompress(feed, _INFLATE_STEP)
                total += len(chunk)
                if total > size:
                    raise PackError("an object is larger than its head says")
                if keep:
                    chunks.append(chunk)
                feed = engine.unconsumed_tail
                if engine.eof:
                    break
                if not feed and not chunk:
                    feed = self.pack[self.position : self.position + _INFLATE_STEP]
                    if not feed:
                        raise PackError("the pack is cut off")
                    self.position += len(feed)
        except zlib.error as exc:
            raise PackError(f"a damaged object: {exc}") from exc
        if total != size:
            raise PackError("an object is smaller than its head says")
        self.position -= len(engine.unused_data)
        return b"".join(chunks)


def no_bases(_: Oid) -> PackedObject | None:
    """Know no object outside the pack."""
    return None


def read_pack(
    pack: bytes,
    *,
    max_blob_bytes: int,
    max_total_bytes: int,
    base_of: Callable[[Oid], PackedObject | None] = no_bases,
) -> dict[Oid, PackedObject]:
    """Return the objects of a pack by id, deltas resolved; ``base_of`` finds the bases that a thin pack leaves out.

    Blobs larger than ``max_blob_bytes`` are left out. PackTooLargeError when all objects together inflate to more than
    ``max_total_bytes``; PackError for damage, a wrong checksum or a base that is nowhere.
    """
    if len(pack) < 32 or pack[:4] != b"PACK":
        raise PackError("not a pack")
    version, count = struct.unpack(">II", pack[4:12])
    if version not in {2, 3}:
        raise PackError(f"pack version {version}")
    if hashlib.sha1(pack[:-20], usedforsecurity=False).digest() != pack[-20:]:
        raise PackError("the pack's checksum is wrong")
    cursor = _Cursor(pack[:-20], 12, max_total_bytes)
    whole: dict[int, PackedObject] = {}
    deltas: dict[int, _Delta] = {}
    for _ in range(count):
        start = cursor.position
        code, size = _read_head(cursor)
        if code in _KINDS:
            kind = _KINDS[code]
            keep = kind is not ObjectKind.BLOB or size <= max_blob_bytes
            data = cursor.inflate(size, keep=keep)
            whole[start] = PackedObject(kind, data if keep else None)
        elif code == _OFS_DELTA:
            base: int | Oid = start - _read_offset(cursor)
            deltas[start] = _Delta(base, cursor.inflate(size, keep=True))
        elif code == _REF_DELTA:
            base = Oid(cursor.pack[cursor.position : cursor.position + 20].hex())
            cursor.position += 20
            deltas[start] = _Delta(base, cursor.inflate(size, keep=True))
        else:
            raise PackError(f"unknown object type {code}")
    return _resolve(whole, deltas, base_of, max_blob_bytes=max_blob_bytes, budget=cursor.budget)


def weigh_pack(pack: bytes, *, max_total_bytes: int) -> int:
    """Return to how many bytes the objects of a pack inflate together, keeping none of them.

    Raises PackTooLargeError as soon as it is more than ``max_total_bytes``, PackError for a pack that is damaged.
    """
    if len(pack) < 32 or pack[:4] != b"PACK":
        raise PackError("not a pack")
    cursor = _Cursor(pack[:-20], 12, max_total_bytes)
    for _ in range(struct.unpack(">I", pack[8:12])[0]):
        start = cursor.position
        code, size = _read_head(cursor)
        if code in _KINDS:
            cursor.inflate(size, keep=False)
            continue
        if code == _OFS_DELTA:
            _read_offset(cursor)
        elif code == _REF_DELTA:
            cursor.position += 20
        else:
            raise PackError(f"unknown object type {code} at {start}")
        delta = _DeltaCursor(cursor.inflate(size, keep=True))
        delta.number()
        cursor.budget -= delta.number()
        if cursor.budget < 0:
            raise PackTooLargeError("the pack's deltas make more than is wanted")
    return max_total_bytes - cursor.budget


def _read_head(cursor: _Cursor) -> tuple[int, int]:
    """Return type code and inflated size of the entry at the cursor."""
    byte = cursor.byte()
    code, size, shift = (byte >> 4) & 7, byte & 15, 4
    while byte & 0x80:
        byte = cursor.byte()
        size |= (byte & 0x7F) << shift
        shift += 7
        if shift > 60:
            raise PackError("an impossible object size")
    return code, size


def _read_offset(cursor: _Cursor) -> int:
    """Return how far before its own start the base of an offset delta begins."""
    byte = cursor.byte()
    offset = byte & 0x7F
    while byte & 0x80:
        byte = cursor.byte()
        offset = ((offset + 1) << 7) | (byte & 0x7F)
        if offset > 1 << 60:
            raise PackError("an impossible delta offset")
    return offset


def _resolve(
    whole: dict[int, PackedObject],
    deltas: dict[int, _Delta],
    base_of: Callable[[Oid], PackedObject | None],
    *,
    max_blob_bytes: int,
    budget: int,
) -> dict[Oid, PackedObject]:
    """Return all objects by id, applying each delta as soon as its base is known."""
    by_oid: dict[Oid, PackedObject] = {}
    for item in whole.values():
        if item.data is not None:
            by_oid[GitObject(item.kind, item.data).oid] = item
    on_base: dict[int | Oid, list[int]] = {}
    for start, delta in deltas.items():
        on_base.setdefault(delta.base, []).append(start)
    outside = ((base, base_of(base)) for base in on_base if isinstance(base, str) and base not in by_oid)
    known: list[tuple[int | Oid, PackedObject]] = [*whole.items(), *by_oid.items()]
    known += [(base, item) for base, item in outside if item is not None]
    while known:
        place, base = known.pop()
        for start in on_base.pop(place, ()):
            if base.data is None:  # a delta on a blob that was too large to keep is too large as well, or useless
                known.append((start, PackedObject(base.kind, None)))
                continue
            data = apply_delta(base.data, deltas[start].data, max_bytes=budget)
            budget -= len(data)
            keep = base.kind is not ObjectKind.BLOB or len(data) <= max_blob_bytes
            made = PackedObject(base.kind, data if keep else None)
            known.append((start, made))
            if keep:
                name = GitObject(base.kind, data).oid
                by_oid[name] = made
                known.append((name, made))
    # Bases named by id may be blobs that were not kept; then nobody wants what is built on them either.
    if any(isinstance(base, int) and base not in deltas for base in on_base):
        raise PackError("a delta without its base")
    return by_oid


class _DeltaCursor:
    """A position in a delta."""

    def __init__(self, delta: bytes) -> None:
        self.delta = delta
        self.position = 0

    def take(self, count: int) -> bytes:
        chunk = self.delta[self.position : self.position + count]
        if len(chunk) < count:
            raise PackError("a delta is cut off")
        self.position += count
        return chunk

    def number(self) -> int:
        value, shift = 0, 0
        while shift <= 60:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
        raise PackError("an impossible number in a delta")

    def copied(self, op: int, base: bytes) -> bytes:
        """Return what the copy instruction ``op`` takes out of ``base``."""
        fields = bytes(self.take(1)[0] if op & (1 << bit) else 0 for bit in range(7))
        offset = int.from_bytes(fields[:4], "little")
        length = int.from_bytes(fields[4:], "little") or 0x10000
        if offset + length > len(base):
            raise PackError("a delta copies from beyond its base")
        return base[offset : offset + length]


def apply_delta(base: bytes, delta: bytes, *, max_bytes: int) -> bytes:
    """Return the object that ``delta`` makes of ``base``; raise PackError when it does not fit or is malformed."""
    cursor = _DeltaCursor(delta)
    if cursor.number() != len(base):
        raise PackError("a delta for another base")
    size = cursor.number()
    if size > max_bytes:
        raise PackTooLargeError("a delta makes more than is wanted")
    out = bytearray()
    while cursor.position < len(delta):
        op = cursor.take(1)[0]
        if op == 0:
            raise PackError("a reserved delta instruction")
        out += cursor.copied(op, base) if op & 0x80 else cursor.take(op)
        if len(out) > size:
            raise PackError("a delta makes more than it says")
    if len(out) != size:
        raise PackError("a delta makes less than it says")
    return bytes(out)
