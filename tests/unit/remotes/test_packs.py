"""The pack writer and reader, against git in both directions and against damage."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.remotes.packs import PackedObject, PackError, PackTooLargeError, apply_delta, read_pack, write_pack
from gitref_lock.testing.contract_kit import state
from tests.support.gitcli import Repo, git_result

LIMITS = {"max_blob_bytes": 1 << 20, "max_total_bytes": 1 << 22}


def read(pack: bytes) -> dict[Oid, PackedObject]:
    """Read with roomy limits."""
    return read_pack(pack, max_blob_bytes=1 << 20, max_total_bytes=1 << 22)


def sealed(body: bytes) -> bytes:
    """Return ``body`` with its checksum."""
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


@given(st.lists(st.tuples(st.sampled_from(ObjectKind), st.binary(max_size=400)), max_size=6))
def test_what_is_written_is_read(items: list[tuple[ObjectKind, bytes]]) -> None:
    """Every object comes back under its own id."""
    objects = [GitObject(kind, data) for kind, data in items]
    found = read(write_pack(objects))
    assert found == {item.oid: PackedObject(item.kind, item.data) for item in objects}


def test_equal_input_gives_equal_bytes_and_each_object_once() -> None:
    """A swap that is sent again is sent with the same bytes."""
    one = state("one")
    assert write_pack(one) == write_pack([*one, *one])
    assert struct.unpack(">I", write_pack([*one, *one])[8:12]) == (len(one),)


def test_git_accepts_our_pack(bare_repo: Repo) -> None:
    """git's own index-pack finds nothing wrong with what we write, large objects included."""
    objects = state("heavy", size=300_000)
    done = git_result("index-pack", "--stdin", "--strict", cwd=bare_repo.path, stdin=write_pack(objects))
    assert done.returncode == 0, done.stderr
    assert all(bare_repo.has(item.oid) for item in objects)


@pytest.mark.parametrize("flags", [["--delta-base-offset"], []], ids=["offset deltas", "id deltas"])
def test_we_read_git_s_packs_with_deltas(bare_repo: Repo, flags: list[str]) -> None:
    """Chains of deltas of both kinds resolve to what git says the objects are."""
    lines = [f"line {index} of a file that changes little\n".encode() for index in range(300)]
    texts = [b"".join([*lines, b"and %d\n" % turn]) for turn in range(6)]
    commits = [bare_repo.commit({"file.txt": text}, message=str(turn)) for turn, text in enumerate(texts)]
    asked = bare_repo.git("rev-list", "--objects", *commits).encode() + b"\n"
    done = git_result("pack-objects", "--stdout", "--depth=10", *flags, cwd=bare_repo.path, stdin=asked)
    found = read(done.stdout)
    assert len(done.stdout) < 4 * len(zlib.compress(texts[0]))
    assert {GitObject(ObjectKind.BLOB, text).oid for text in texts} <= set(found)
    assert all(item.data is not None and GitObject(item.kind, item.data).oid == oid for oid, item in found.items())


def test_a_thin_pack_needs_its_bases(bare_repo: Repo) -> None:
    """A delta on an object outside the pack resolves when the caller has that object, and is an error otherwise."""
    text = b"".join(b"line %d of the base\n" % index for index in range(200))
    base = bare_repo.commit({"file.txt": text}, message="base")
    tip = bare_repo.commit({"file.txt": text + b"more\n"}, parents=(base,), message="tip")
    asked = f"{tip}\n^{base}\n".encode()
    pack = git_result("pack-objects", "--stdout", "--thin", "--revs", cwd=bare_repo.path, stdin=asked).stdout
    known = {GitObject(ObjectKind.BLOB, text).oid: PackedObject(ObjectKind.BLOB, text)}
    found = read_pack(pack, base_of=known.get, **LIMITS)
    assert GitObject(ObjectKind.BLOB, text + b"more\n").oid in found


def test_a_blob_over_the_limit_is_left_out() -> None:
    """The others are there; the large one costs no memory."""
    objects = state("heavy", size=50_000)
    found = read_pack(write_pack(objects), max_blob_bytes=1000, max_total_bytes=1 << 20)
    heavy = next(item for item in objects if len(item.data) > 1000)
    assert set(found) == {item.oid for item in objects} - {heavy.oid}


def test_a_bomb_is_stopped() -> None:
    """A small pack that would inflate to much more than wanted is refused by its own announcement."""
    bomb = write_pack([GitObject(ObjectKind.BLOB, bytes(1 << 22))])
    assert len(bomb) < 10_000
    with pytest.raises(PackTooLargeError):
        read_pack(bomb, max_blob_bytes=1 << 20, max_total_bytes=1 << 20)


def test_an_object_larger_than_announced_is_stopped() -> None:
    """An entry that lies about its size is damage."""
    entry = bytes([0x30 | 5]) + zlib.compress(b"more than five")
    with pytest.raises(PackError, match="larger than its head"):
        read(sealed(b"PACK" + struct.pack(">II", 2, 1) + entry))


def test_any_damage_is_a_pack_error() -> None:
    """Whatever single byte of a pack is changed, and wherever it is cut, PackError is all that comes of it."""
    body = write_pack(state("one"))[:-20]
    for index in range(len(body)):
        changed = body[:index] + bytes([body[index] ^ 0x55]) + body[index + 1 :]
        for data in (sealed(changed), sealed(body[:index])):
            try:
                read(data)
            except PackError:
                continue
    with pytest.raises(PackError, match="checksum"):
        read(body + bytes(20))


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (b"\x05\x03\x03abc", "another base"),
        (b"\x04\x03\x00", "reserved"),
        (b"\x04\x03\x91\x02\x04", "beyond its base"),
        (b"\x04\x03\x04abcd", "more than it says"),
        (b"\x04\x03\x02ab", "less than it says"),
        (b"\x04\x03\x03ab", "cut off"),
        (b"\xff" * 12, "impossible number"),
    ],
)
def test_a_bad_delta_says_what_is_bad(delta: bytes, words: str) -> None:
    """Each way in which a delta can lie has its words."""
    with pytest.raises(PackError, match=words):
        apply_delta(b"base", delta, max_bytes=100)


def test_a_delta_copies_and_inserts() -> None:
    """Copy and insert instructions make the new object."""
    assert apply_delta(b"hello world", b"\x0b\x09\x90\x06\x03you", max_bytes=100) == b"hello you"
    with pytest.raises(PackTooLargeError):
        apply_delta(b"base", b"\x04\xff\x7f", max_bytes=100)


def test_a_record_of_real_git_is_read(bare_repo: Repo, tmp_path: Path) -> None:
    """A pack that git made of a state of ours holds the same objects."""
    objects = state("one")
    git_result("unpack-objects", cwd=bare_repo.path, stdin=write_pack(objects))
    asked = "".join(f"{item.oid}\n" for item in objects).encode()
    pack = git_result("pack-objects", "--stdout", cwd=bare_repo.path, stdin=asked).stdout
    assert set(read(pack)) == {item.oid for item in objects}


def test_a_long_chain_of_deltas_in_the_worst_order_is_resolved_once() -> None:
    """Each delta stands before the one it is built on: ten thousand of them take a moment, not a pass each."""
    texts = [b"%06d" % number for number in range(10_000)]
    names = [bytes.fromhex(GitObject(ObjectKind.BLOB, text).oid) for text in texts]
    entries = [b"\x36" + zlib.compress(texts[0])]
    for number in range(1, len(texts)):
        delta = b"\x06\x06\x06" + texts[number]
        entries.append(bytes([0x70 | len(delta)]) + names[number - 1] + zlib.compress(delta))
    body = struct.pack(">4sII", b"PACK", 2, len(entries)) + b"".join(reversed(entries))
    began = time.process_time()
    assert len(read(sealed(body))) == len(texts)
    assert time.process_time() - began < 5


def test_many_small_objects_cost_what_they_hold() -> None:
    """Each object is fed to zlib with little of what follows it."""
    objects = [GitObject(ObjectKind.BLOB, b"%06d" % number) for number in range(40_000)]
    began = time.process_time()
    assert len(read(write_pack(objects))) == len(objects)
    assert time.process_time() - began < 5
