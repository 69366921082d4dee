"""Deltas between two versions of a file or folder, in time that grows with their size and no faster.

Libraries that search for the smallest delta take minutes for two unlike files of a few megabytes. Here equal ends are
found first, then equal runs of lines between them: what an edit leaves alone. Format: gitformat-pack(5).
"""

from __future__ import annotations

from collections.abc import Iterator

_MAX_COPY = 0xFFFFFF
_MAX_INSERT = 127
_MIN_LINE = 8
"""A copy costs up to eight bytes."""


def make_delta(base: bytes, data: bytes) -> bytes:
    """Return the instructions that make ``data`` from ``base``; never much longer than ``data``."""
    parts = [_number(len(base)), _number(len(data))]
    fresh = bytearray()

    def flush() -> None:
        for start in range(0, len(fresh), _MAX_INSERT):
            piece = fresh[start : start + _MAX_INSERT]
            parts.append(bytes([len(piece)]) + piece)
        fresh.clear()

    for start, piece in _runs(base, data):
        if start is None:
            fresh += piece
            continue
        flush()
        cuts = range(0, len(piece), _MAX_COPY)
        parts += [_copy(start + done, min(_MAX_COPY, len(piece) - done)) for done in cuts]
    flush()
    return b"".join(parts)


def _runs(base: bytes, data: bytes) -> Iterator[tuple[int | None, bytes]]:
    """Yield ``data`` in pieces, each with its place in ``base``, or None for what is new."""
    head = _common(base, data)
    tail = _common(base[head:][::-1], data[head:][::-1])
    yield 0, data[:head]
    yield from _lines(base, head, len(base) - tail, data[head : len(data) - tail])
    yield len(base) - tail, data[len(data) - tail :]


def _lines(base: bytes, begin: int, end: int, data: bytes) -> Iterator[tuple[int | None, bytes]]:
    """Yield the lines of ``data``, equal runs with their place between ``begin`` and ``end`` of ``base``."""
    places: dict[bytes, int] = {}
    at = begin
    for line in base[begin:end].splitlines(keepends=True):
        if len(line) >= _MIN_LINE:
            places.setdefault(line, at)
        at += len(line)
    start, run = 0, bytearray()
    for line in data.splitlines(keepends=True):
        follows = start + len(run)
        if run and follows + len(line) <= end and base.startswith(line, follows):
            run += line
            continue
        if run:
            yield start, bytes(run)
            run.clear()
        place = places.get(line)
        if place is None:
            yield None, line
        else:
            start = place
            run += line
    if run:
        yield start, bytes(run)


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes at the beginning are equal."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _number(value: int) -> bytes:
    """Return a size: seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _copy(start: int, size: int) -> bytes:
    """Return the instruction that copies ``size`` bytes from ``start``: only the bytes that are not zero."""
    code, found = 0x80, bytearray()
    for bit, byte in enumerate([*start.to_bytes(4, "little"), *size.to_bytes(3, "little")]):
        if byte:
            code |= 1 << bit
            found.append(byte)
    return bytes([code]) + found
