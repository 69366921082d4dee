"""Packet lines: what is written, and what is accepted."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.remotes import pktline


def test_a_packet_carries_its_length() -> None:
    """The length counts its own four digits."""
    assert pktline.pkt("hi\n") == b"0007hi\n"
    assert list(pktline.packets_of(b"0007hi\n000000010002")) == [b"hi\n", *pktline.Special]


def test_an_overlong_packet_is_refused() -> None:
    """What does not fit into one packet raises instead of breaking the stream."""
    assert pktline.pkt(b"x" * 65516).startswith(b"fff0")
    with pytest.raises(pktline.WireError, match="does not fit"):
        pktline.pkt(b"x" * 65517)


@pytest.mark.parametrize("data", [b"0003", b"fff1", b"ffff", b"zzzz", b"+007hi\n", b" 07", b"00", b"0009hi\n"])
def test_what_is_no_packet_is_an_error(data: bytes) -> None:
    """Impossible lengths, letters and cut packets raise WireError."""
    with pytest.raises(pktline.WireError):
        list(pktline.packets_of(data))


@given(st.binary(max_size=300))
def test_any_bytes_end_in_packets_or_a_wire_error(data: bytes) -> None:
    """No input makes the parser hang or raise anything but WireError."""
    try:
        packets = list(pktline.packets_of(data))
    except pktline.WireError:
        return
    assert sum(4 + (len(packet) if isinstance(packet, bytes) else 0) for packet in packets) == len(data)


def test_bands_are_told_apart_and_bounded() -> None:
    """Data and progress are kept apart; data beyond the bound is an error of its own."""
    data = pktline.pkt(b"\x01one") + pktline.pkt(b"\x02note\n") + pktline.pkt(b"\x01two") + pktline.FLUSH_PKT
    assert pktline.collect_bands(pktline.packets_of(data), max_bytes=6) == pktline.Bands(b"onetwo", "note\n")
    with pytest.raises(pktline.TooLargeError):
        pktline.collect_bands(pktline.packets_of(data), max_bytes=5)


def test_an_unknown_band_is_an_error() -> None:
    """Bands beyond the third do not exist."""
    with pytest.raises(pktline.WireError, match="unknown side band"):
        pktline.collect_bands(pktline.packets_of(pktline.pkt(b"\x04x") + pktline.FLUSH_PKT), max_bytes=5)


def test_small_packets_cost_no_more_than_their_bytes() -> None:
    """Packets of two bytes, or of none, do not become a list of objects many times their size."""
    data = pktline.pkt(b"\x01ab") * 100_000 + pktline.pkt(b"\x01") * 100_000 + pktline.FLUSH_PKT
    tracemalloc.start()
    try:
        bands = pktline.collect_bands(pktline.packets_of(data), max_bytes=200_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bands.data == b"ab" * 100_000
    assert peak < 1_000_000
