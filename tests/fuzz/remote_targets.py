"""What a server sends: packet lines, packs, HTTP replies, and words (gitprotocol-pack(5), RFC 9112)."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator

from dulwich.object_store import MemoryObjectStore

from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.refs import At, RefEdit, Role
from gitref_lock.landing.weighing import WeighedSink
from gitref_lock.ports import RemoteError
from gitref_lock.remotes import http
from gitref_lock.remotes.http1 import Reply, http_date, read_reply
from gitref_lock.remotes.http_address import Address
from gitref_lock.remotes.packs import PackedObject, PackError, read_pack, weigh_pack, write_pack
from gitref_lock.remotes.pktline import Packet, Special, WireError, collect_bands, packets_of, pkt
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.store import stored_commit
from gitref_lock.remotes.streams import Deadline, LinkError
from gitref_lock.remotes.wire import (
    Report,
    parse_advertisement,
    parse_fetch_v0,
    parse_fetch_v2,
    parse_ls_refs,
    parse_report,
)
from gitref_lock.remotes.words import blocking_ref, kind_of, kind_of_error, may_be_a_lost_race, shown, words_of
from gitref_lock.system import SystemClock
from tests.fuzz.promise import chosen, hold, parts_of

MAX_BODY = 4096
MAX_BLOB = 65_536
MAX_TOTAL = 1 << 20

LOCK, BRANCH = RefName("refs/locks/main"), RefName("refs/heads/main")
EDITS = (
    RefEdit(BRANCH, At(Oid("1" * 40)), Oid("2" * 40), Role.BRANCH),
    RefEdit(LOCK, At(Oid("3" * 40)), Oid("4" * 40), Role.LOCK),
)
_SPECIALS = {b"0000": Special.FLUSH, b"0001": Special.DELIM, b"0002": Special.RESPONSE_END}


def wire(data: bytes) -> None:
    """Any bytes are an answer of git or a WireError; what is kept of them is bounded and is what was asked for.

    The first byte says which answer is expected. The second says how the rest is packed: ``=`` as it is, ``+`` each
    line as one packet, ``#`` the same inside side band 1.
    """
    kind, form, rest = chosen(data[:1], b"AhLFfsRB"), chosen(data[1:2], b"=+#"), data[2:]
    if form != "=":
        rest = _packed(rest, in_band=form == "#")
    try:
        _PARSERS[kind](packets_of(rest))
    except WireError as error:
        hold(len(str(error)) < 8000, "an error is in proportion")


def _packed(text: bytes, *, in_band: bool) -> bytes:
    lines = [line for line in text.split(b"\n") if len(line) <= 60_000]
    packets: list[Packet] = [_SPECIALS.get(line, line) for line in lines]
    data = b"".join(b"%04d" % one.value if isinstance(one, Special) else pkt(one) for one in packets)
    hold(list(packets_of(data)) == packets, "packets that are written are read")
    return data if not in_band else b"".join([*_bands(data), b"0000"])


def _bands(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 60_000):
        yield pkt(b"\x01" + data[start : start + 60_000])


def _advertisement(packets: Iterator[Packet]) -> None:
    found = parse_advertisement(packets)
    hold(found.version in {0, 2} and all(len(value) == 40 for value in found.refs.values()), "refs are ids by name")


def _ls_refs(packets: Iterator[Packet]) -> None:
    found = parse_ls_refs(packets, ["refs/locks/", "refs/heads/main"])
    hold(all(name.startswith(("refs/locks/", "refs/heads/main")) for name in found), "only what was asked for")


def _fetched(packets: Iterator[Packet], *, version: int, with_shallow: bool = False) -> None:
    if version == 2:
        found = parse_fetch_v2(packets, max_bytes=MAX_BODY)
    else:
        found = parse_fetch_v0(packets, with_shallow=with_shallow, max_bytes=MAX_BODY)
    hold(len(found.pack) <= MAX_BODY, "a pack is no larger than asked")


def _collected(packets: Iterator[Packet]) -> None:
    found = collect_bands(packets, max_bytes=MAX_BODY, keep_error=True)
    hold(len(found.data) <= MAX_BODY and len(found.progress) <= 16_384 and len(found.error) <= 2000, "bounded")


def _report(packets: Iterator[Packet]) -> None:
    report = parse_report(packets, EDITS)
    hold(set(report.statuses) == {LOCK, BRANCH}, "a report speaks of every edit, and of nothing else")
    _judge(report)


def _judge(report: Report) -> None:
    """What is made of a report's words is bounded and can be printed."""
    kind = kind_of(report)
    if kind is not None:
        may_be_a_lost_race(kind, report)
    blocking_ref(report)
    words = shown(words_of(report), ["s3cret"])
    hold(len(words) < 13_000 and "s3cret" not in words, "words are bounded and hold no credential")
    hold(all(char >= " " or char in "\n\t" for char in words), "words hold no control characters")


_PARSERS: dict[str, Callable[[Iterator[Packet]], None]] = {
    "A": _advertisement,
    "h": lambda packets: hold(not parse_advertisement(packets, head_only=True).refs, "a head has no refs"),
    "L": _ls_refs,
    "F": lambda packets: _fetched(packets, version=2),
    "f": lambda packets: _fetched(packets, version=0),
    "s": lambda packets: _fetched(packets, version=0, with_shallow=True),
    "R": _report,
    "B": _collected,
}


def pack(data: bytes) -> None:
    """Any bytes are a pack or a PackError, and never more memory than the bound.

    The first byte: ``x`` the rest as it is; ``r`` the rest sealed with head and checksum; ``s`` entries of kind, a
    wrong in the size, two bytes of length, a base for deltas, and content to be compressed.
    """
    form, rest = chosen(data[:1], b"xrs"), data[1:]
    whole = rest if form == "x" else _sealed(rest[:1], rest[1:]) if form == "r" else _structured(rest)
    is_read = False
    try:
        found = read_pack(whole, max_blob_bytes=MAX_BLOB, max_total_bytes=MAX_TOTAL)
        is_read = True
        _check_objects(found)
    except PackError as error:
        hold(str(error), "an error says why")
    try:
        hold(weigh_pack(whole, max_total_bytes=MAX_TOTAL) <= MAX_TOTAL, "what is weighed fits")
    except PackError as error:
        hold(not is_read or "delta" in str(error) or "number" in str(error), "what is read can be weighed")
    try:
        WeighedSink(MemoryObjectStore(), MAX_TOTAL).add_pack_bytes(whole, promisor=False)
    except RemoteError as error:
        hold(error.code in {"too-large", "protocol"}, "a pack that is not wanted is refused in words")


def _check_objects(found: dict[Oid, PackedObject]) -> None:
    kept = []
    for name, item in found.items():
        if item.data is None:
            continue
        one = GitObject(item.kind, item.data)
        hold(one.oid == name, "an object lies under its own id")
        hold(item.kind is not ObjectKind.BLOB or len(item.data) <= MAX_BLOB, "large blobs are left out")
        kept.append(one)
        if item.kind is ObjectKind.COMMIT:
            stored_commit(name, found)
    again = read_pack(write_pack(kept), max_blob_bytes=MAX_BLOB, max_total_bytes=2 * MAX_TOTAL)
    hold(again == {one.oid: PackedObject(one.kind, one.data) for one in kept}, "what is written is read")


def _sealed(count: bytes, body: bytes) -> bytes:
    whole = b"PACK" + struct.pack(">II", 2, count[0] if count else 0) + body
    return whole + hashlib.sha1(whole, usedforsecurity=False).digest()


def _structured(data: bytes) -> bytes:
    """Return a pack of the entries that the bytes describe."""
    at, count, body = 0, 0, bytearray()
    starts: list[int] = []
    names: list[bytes] = []
    while at + 4 <= len(data) and count < 255:
        kind, wrong, length = (data[at] >> 1) & 7, data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        is_stored = data[at] & 1
        at += 4
        base = data[at] if kind in {6, 7} and at < len(data) else 0
        at += kind in {6, 7}
        content = data[at : at + length]
        at += length
        starts.append(12 + len(body))
        body += _head(kind, len(content) + (wrong if wrong < 128 else 0))
        if kind == 6:
            body.append(min(127, starts[-1] - starts[base % len(starts)]))
        elif kind == 7:
            body += names[base % len(names)] if names else bytes(20)
        body += zlib.compress(content * (1 + 40 * (wrong >= 250)), 0 if is_stored else 9)
        if 1 <= kind <= 4:
            names.append(bytes.fromhex(GitObject(_KINDS[kind - 1], content).oid))
        count += 1
    return _sealed(bytes([count]), bytes(body))


_KINDS = (ObjectKind.COMMIT, ObjectKind.TREE, ObjectKind.BLOB, ObjectKind.TAG)


def _head(kind: int, size: int) -> bytes:
    out = bytearray()
    byte = (kind << 4) | (size & 15)
    size >>= 4
    while size:
        out.append(byte | 0x80)
        byte = size & 0x7F
        size >>= 7
    return bytes([*out, byte])


class Pieces:
    """A stream that hands over its bytes in pieces of a size, then ends."""

    def __init__(self, data: bytes, size: int) -> None:
        """Keep what is to come."""
        self._data, self._size, self._at = data, size, 0

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next piece."""
        piece = self._data[self._at : self._at + self._size]
        self._at += len(piece)
        return piece

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Take nothing."""

    def last_words(self, deadline: Deadline) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""

    abort = close


def http1(data: bytes) -> None:
    """Any bytes are an HTTP reply or a LinkError; the body is bounded, and where the network cuts does not matter.

    The first byte: ``=`` the rest is the reply; ``e`` the same, and a hundred bytes of body are enough; ``z`` the rest
    is compressed as the body of a good reply, what follows the separator comes behind it.
    """
    form, rest = chosen(data[:1], b"=ez"), data[1:]
    if form == "z":
        body, tail = parts_of(rest, 2)
        rest = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(body, mtime=0) + tail
    reply = _read(rest, 65_536, enough=100 if form == "e" else None)
    if len(rest) <= 3000 and form != "e":
        small = _read(rest, 3, enough=None)
        hold((reply is None) is (small is None), "a reply reads the same in any pieces")
        if reply is not None and small is not None:
            hold(
                (reply.status, reply.headers, reply.body) == (small.status, small.headers, small.body), "in any pieces"
            )
    if reply is not None:
        _use(reply)


def _read(data: bytes, size: int, *, enough: int | None) -> Reply | None:
    try:
        reply = read_reply(
            Pieces(data, size), Deadline.after(SystemClock(), 60), max_bytes=MAX_BODY, enough=enough, has_body=True
        )
    except LinkError as error:
        hold(len(error.words) < 8000, "an error is in proportion")
        return None
    hold(len(reply.body) <= MAX_BODY, "a body is no larger than asked")
    return reply


def _use(reply: Reply) -> None:
    """What the client reads out of a reply's head."""
    pause = http._retry_after(reply)
    hold(pause is None or 0 <= pause < 10**12, "a pause is a number of seconds")
    http._server_date(reply, 0.0, 1.0)
    http._refused_by_status(reply)
    hold(http_date(reply.reason) is None or reply.reason, "a date or none")
    try:
        http._raise_for(reply)
    except RemoteError as error:
        hold(error.code, "an error has a code")
    try:
        address = Address.parse(reply.headers.get("location", ""))
    except RemoteError:
        return
    hold(0 < address.origin.port < 65_536 and address.target.isascii(), "a redirect leads to a host and a port")
    hold(not set(address.target) & set("\r\n \0"), "a redirect stays in its line")


TOKEN = "t0kenThatNobodySees"  # made up


def words(data: bytes) -> None:
    """Whatever a server says is shown bounded, without control characters, and without credentials."""
    text = data.decode("utf-8", "replace")
    said = shown(f"{text} https://ci:{TOKEN}@host.example/r.git {text}"[-3500:])
    hold(TOKEN not in said, "no user info in an address")
    hold(TOKEN not in redact(f"{text}\nAuthorization: Basic {TOKEN}\n{text}"), "no authorization")
    hold(TOKEN not in redact(f"{text} {TOKEN} {text}{TOKEN}{text}", [TOKEN, "", "x"]), "no secret that is known")
    hold(len(shown(text)) < 13_000, "words are bounded")
    hold(all(char >= " " or char in "\n\t" for char in shown(text)), "words hold no control characters")
    kind_of_error(text)
    lines = text.split("\n")
    _judge(Report(lines[0] or "ok", dict(zip([LOCK, BRANCH], [*lines[1:3], "no", None], strict=False)), text[:16_384]))
