"""Packet lines and side bands: the envelope of everything that git sends (gitprotocol-common(5), gitprotocol-pack(5)).

Bounded in what is kept, strict in what is accepted: what is no packet raises WireError at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

from gitref_lock.core.lean import dataclass

MAX_PROGRESS_CHARS = 16_384


class WireError(ValueError):
    """The bytes are not what the protocol allows at this place."""


class ServerSaidError(WireError):
    """The server ended the conversation with an ``ERR`` packet or on side band 3; the text is its own."""


class Special(Enum):
    """The packets that carry no data; the value is their length field."""

    FLUSH = 0
    DELIM = 1
    RESPONSE_END = 2


Packet = bytes | Special
ReadExactly = Callable[[int], bytes]
FLUSH_PKT = b"0000"
DELIM_PKT = b"0001"


def pkt(text: str | bytes) -> bytes:
    """Return one data packet; raise WireError when ``text`` does not fit (65516 bytes)."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if len(data) > 65516:
        raise WireError(f"a packet of {len(data)} bytes does not fit")
    return b"%04x" % (len(data) + 4) + data


def packets_from(read: ReadExactly) -> Iterator[Packet]:
    """Yield packets from a source that returns exactly the asked number of bytes or raises."""
    while True:
        yield read_packet(read)


def read_packet(read: ReadExactly) -> Packet:
    """Read one packet."""
    head = read(4)
    try:
        length = int(head, 16) if head.isalnum() else -1
    except ValueError:
        length = -1
    if length < 0 or length == 3 or length > 65520:
        raise WireError(f"not a packet: {head[:4]!r}")
    return Special(length) if length < 4 else read(length - 4)


def packets_of(data: bytes) -> Iterator[Packet]:
    """Yield the packets of a complete answer; raise WireError where it is cut off."""
    position = 0

    def take(count: int) -> bytes:
        nonlocal position
        chunk = data[position : position + count]
        if len(chunk) < count:
            raise WireError("the answer is cut off")
        position += count
        return chunk

    while position < len(data):
        yield read_packet(take)


def text_of(packet: bytes) -> str:
    """Return a packet as one line of text; bytes that are no UTF-8 survive a round trip."""
    return packet.decode("utf-8", "surrogateescape").removesuffix("\n")


def data_of(packet: Packet) -> bytes:
    """Return the data of a packet that must have some, and raise what an ``ERR`` packet says."""
    if isinstance(packet, Special):
        raise WireError(f"unexpected {packet.name.lower()} packet")
    if packet.startswith(b"ERR "):
        raise ServerSaidError(text_of(packet[4:])[:2000])
    return packet


def next_of(packets: Iterator[Packet]) -> Packet:
    """Return the next packet of an answer that is not over yet."""
    packet = next(packets, None)
    if packet is None:
        raise WireError("the answer is cut off")
    return packet


class TooLargeError(WireError):
    """The answer holds more than the caller wants to keep."""


@dataclass(frozen=True, slots=True)
class Bands:
    """What came over the side bands: ``data`` (1), ``progress`` (2, cut to a bound), ``error`` (3)."""

    data: bytes
    progress: str = ""
    error: str = ""


def collect_bands(packets: Iterator[Packet], *, max_bytes: int, keep_error: bool = False) -> Bands:
    """Collect the side bands up to the flush packet.

    An error on band 3 raises ServerSaidError, or with ``keep_error`` ends the collection and is returned.
    """
    data, progress = bytearray(), ""  # no list: packets of a byte or none would cost many times their size
    while (packet := next_of(packets)) is not Special.FLUSH:
        content = data_of(packet)
        band, payload = content[:1], content[1:]
        if band == b"\x01":
            if len(data) + len(payload) > max_bytes:
                raise TooLargeError(f"more than {max_bytes} bytes")
            data += payload
        elif band == b"\x02":
            if len(progress) < MAX_PROGRESS_CHARS:
                progress = (progress + payload.decode("utf-8", "replace"))[:MAX_PROGRESS_CHARS]
        elif band == b"\x03":
            said = payload.decode("utf-8", "replace").strip()[:2000]
            if not keep_error:
                raise ServerSaidError(said or progress.strip()[-2000:])
            return Bands(bytes(data), progress, said or "error without words")
        else:
            raise WireError(f"unknown side band {band!r}")
    return Bands(bytes(data), progress)
