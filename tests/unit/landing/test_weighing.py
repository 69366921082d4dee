"""Packs are weighed before they are unpacked."""

from __future__ import annotations

import struct
import zlib
from hashlib import sha1

import pytest
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import ObjectID

from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.landing.object_store import StoreSink
from gitref_lock.landing.weighing import WeighedSink
from gitref_lock.ports import RemoteError
from gitref_lock.remotes.packs import write_pack

BLOBS = [GitObject(ObjectKind.BLOB, bytes(size)) for size in (10, 1000, 5000)]


def sealed(entries: bytes, count: int) -> bytes:
    """Return a pack of these entries."""
    body = struct.pack(">4sII", b"PACK", 2, count) + entries
    return body + sha1(body, usedforsecurity=False).digest()


def delta_pack(base: GitObject, says: int) -> bytes:
    """Return a thin pack with one delta on ``base`` that claims to make ``says`` bytes."""

    def number(value: int) -> bytes:
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    delta = number(len(base.data)) + number(says) + b"\x01a"
    return sealed(bytes([7 << 4 | len(delta)]) + bytes.fromhex(base.oid) + zlib.compress(delta), 1)


def test_a_pack_that_fits_is_stored_and_its_weight_noted() -> None:
    """All objects are there, and the weight is what they inflate to."""
    store = MemoryObjectStore()
    sink = WeighedSink(store, 6010)
    sink.add_pack_bytes(write_pack(BLOBS), promisor=False)
    assert sink.weight == 6010
    assert all(ObjectID(blob.oid.encode()) in store for blob in BLOBS)


def test_a_pack_that_inflates_to_more_is_not_touched() -> None:
    """One byte too many and nothing is stored."""
    store = MemoryObjectStore()
    with pytest.raises(RemoteError) as told:
        WeighedSink(store, 6009).add_pack_bytes(write_pack(BLOBS), promisor=False)
    assert told.value.code == "too-large"
    assert list(store) == []


def test_a_delta_counts_with_what_it_makes() -> None:
    """A few bytes that would make a gigabyte are refused for the gigabyte."""
    with pytest.raises(RemoteError) as told:
        WeighedSink(MemoryObjectStore(), 1 << 20).add_pack_bytes(delta_pack(BLOBS[0], 1 << 30), promisor=False)
    assert told.value.code == "too-large"


@pytest.mark.parametrize("spoiled", [b"", b"PACK", write_pack(BLOBS)[:40] + bytes(20), sealed(b"\x50", 1)])
def test_a_damaged_pack_is_an_error_of_the_remote(spoiled: bytes) -> None:
    """Whatever is wrong with the bytes, the caller sees one kind of error that is no reason to try again."""
    with pytest.raises(RemoteError) as told:
        WeighedSink(MemoryObjectStore(), 1 << 20).add_pack_bytes(spoiled, promisor=False)
    assert (told.value.code, told.value.transient) == ("protocol", False)


@pytest.mark.parametrize("data", [b"x\n", b"object\n\n", b"tagger \n", b"tag\xff \nobject x y z\n"])
@pytest.mark.parametrize("kind", ObjectKind)
def test_objects_that_the_library_trips_over_are_refused_in_words(kind: ObjectKind, data: bytes) -> None:
    """A stranger's object that is none of its kind is stored or refused, but never another error."""
    try:
        WeighedSink(MemoryObjectStore(), 1000).add_pack_bytes(write_pack([GitObject(kind, data)]), promisor=False)
    except RemoteError as error:
        assert error.code == "protocol"  # noqa: PT017 - some of them can be stored


def test_a_delta_on_nothing_is_refused_in_words() -> None:
    """A pack whose base is nowhere is the server's fault, for every sink."""
    pack = delta_pack(GitObject(ObjectKind.BLOB, b"nowhere"), 1)
    for sink in (WeighedSink(MemoryObjectStore(), 1000), StoreSink(MemoryObjectStore())):
        with pytest.raises(RemoteError, match="cannot be stored") as told:
            sink.add_pack_bytes(pack, promisor=False)
        assert told.value.code == "protocol"
