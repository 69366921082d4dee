"""The ring of past transitions: bounded, robust against damage, and the evidence it must be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.history import MAX_BYTES, MAX_LINES, HistoryLine, Ring, landed_total, mean_remaining_s
from gitref_lock.core.names import Nonce
from gitref_lock.core.record import MAX_GENERATION, Event
from gitref_lock.core.text import MAX_INSTANT, MalformedError
from gitref_lock.testing.strategies import history_lines, nonces, rings


def nonce(number: int) -> Nonce:
    """Return the nonce that is ``number`` in hexadecimal."""
    return Nonce(f"{number:024x}")


def line(number: int, event: Event = Event.RELEASE, generation: int = 1, **changes: Any) -> HistoryLine:
    """Return a line told apart by its nonce and instant."""
    return HistoryLine(event=event, generation=generation, nonce=nonce(number), at=number, **changes)


FULL = line(1, holder="Ann", workflow="deploy", held_s=1.5, waited_s=0.5, landed=3, note="fine")


def changed(**changes: Any) -> bytes:
    """Return the full line's JSON with keys changed; a value of ``...`` removes its key."""
    value = {**json.loads(FULL.encode()), **changes}
    return json.dumps({key: item for key, item in value.items() if item is not ...}).encode()


@pytest.mark.parametrize("item", [FULL, line(2), line(3, held_s=0.0, waited_s=0.0)])
def test_a_line_reads_back_equal(item: HistoryLine) -> None:
    """Every field survives, and a hold of no time is told apart from no hold."""
    assert HistoryLine.decode(item.encode()) == item


@settings(deadline=None)
@given(item=history_lines())
def test_any_line_is_one_readable_line(item: HistoryLine) -> None:
    """Whatever the texts are, the line stays one line and what decides is exact."""
    data = item.encode()
    assert data.count(b"\n") == 1
    read = HistoryLine.decode(data)
    assert replace(read, holder=item.holder, workflow=item.workflow, note=item.note) == item
    assert read.encode() == data


def test_the_longest_hold_between_two_instants_is_readable() -> None:
    """A line of this tool is evidence: even an absurd server clock must not make it unreadable."""
    item = line(1, held_s=float(MAX_INSTANT), waited_s=float(MAX_INSTANT), generation=MAX_GENERATION)
    assert HistoryLine.decode(item.encode()) == item


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b" " * 2049, "more than 2048"),
        (changed(nonce="x"), "nonce must be 24 hex digits"),
        (changed(nonce=...), "nonce must be a string"),
        (changed(event="guess"), "'guess' is not a valid Event"),
        (changed(event=1), "event must be a string"),
        (changed(generation="1"), "generation must be an integer"),
        (changed(generation=MAX_GENERATION + 1), "generation must be an integer"),
        (changed(held_s=-1), "held_s must be a number"),
        (changed(held_s=1e13), "held_s must be a number"),
        (changed(waited_s="long"), "waited_s must be a number"),
        (changed(at="soon"), "not an instant"),
        (changed(landed=-1), "landed must be an integer"),
        (changed(landed=10**6 + 1), "landed must be an integer"),
        (changed(holder=7), "holder must be a string"),
        (changed(note="\udcff"), "surrogates not allowed"),
    ],
)
def test_a_hostile_line_is_refused_with_its_reason(data: bytes, why: str) -> None:
    """Each kind of damage is the one error, with words."""
    with pytest.raises(MalformedError, match=why):
        HistoryLine.decode(data)


def test_a_line_without_an_instant_is_of_1970() -> None:
    """The instant is for people; a line that lacks it still counts as evidence."""
    assert HistoryLine.decode(changed(at=...)).at == 0


def test_unreadable_lines_are_counted_and_dropped() -> None:
    """Damage between good lines loses no good line; blank lines are nothing."""
    good = [line(1).encode(), line(2).encode()]
    data = b"\n \n" + good[0] + b"garbage\n" + b"\xff\xff\n" + good[1] + b'{"torn":'
    ring = Ring.decode(data)
    assert [item.nonce for item in ring.lines] == [nonce(1), nonce(2)]
    assert ring.unreadable_lines == 3


@pytest.mark.parametrize("data", [None, b"", b"\n\n"])
def test_no_history_is_an_empty_ring(data: bytes | None) -> None:
    """A state without history is not an error."""
    assert Ring.decode(data) == Ring()


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_never_crash_the_ring(data: bytes) -> None:
    """Reading never raises, and never makes lines up."""
    ring = Ring.decode(data)
    assert ring.lines == ()
    assert ring.unreadable_lines <= data.count(b"\n") + 1


def test_a_huge_history_is_read_from_its_end_only() -> None:
    """Of megabytes of hostile lines only the last 64 are parsed, and the newest true line is among them."""
    data = b"[" * 1_000_000 + b"\n" + b"x\n" * 1_000_000 + line(5).encode()
    ring = Ring.decode(data)
    assert ring.lines == (line(5),)
    assert ring.unreadable_lines == MAX_LINES - 1


@settings(deadline=None, max_examples=60)
@given(ring=rings())
def test_a_written_ring_is_bounded_and_keeps_the_newest(ring: Ring) -> None:
    """At most 64 lines and 16 KiB are written: the newest, in order, none left out between, each readable."""
    data = ring.encode()
    assert len(data) <= MAX_BYTES
    read = Ring.decode(data)
    assert read.unreadable_lines == 0
    count = len(read.lines)
    assert count <= MAX_LINES
    assert [item.nonce for item in read.lines] == [item.nonce for item in ring.lines[len(ring.lines) - count :]]
    assert count >= min(len(ring.lines), 20)
    assert read.encode() == data


def test_long_lines_reach_the_byte_bound_before_the_line_bound() -> None:
    """Sixty-four of the longest lines do not fit 16 KiB; the oldest go, and not one more than needed."""
    text = '"' * 200
    item = line(1, holder=text, workflow=text, note=text, held_s=123456.7, waited_s=123456.7, landed=128)
    ring = Ring(tuple(replace(item, nonce=nonce(number)) for number in range(100, 100 + MAX_LINES)))
    data = ring.encode()
    lines = Ring.decode(data).lines
    assert len(lines) < MAX_LINES
    assert lines[-1].nonce == nonce(100 + MAX_LINES - 1)
    assert len(data) + len(item.encode()) > MAX_BYTES


def test_the_oldest_line_goes_when_the_ring_is_full() -> None:
    """The sixty-fifth line pushes out the first."""
    ring = Ring()
    for number in range(MAX_LINES + 5):
        ring = ring.append(line(number, generation=number))
    assert [item.at for item in ring.lines] == list(range(5, MAX_LINES + 5))


def test_a_renewal_replaces_the_last_renewal_of_its_generation() -> None:
    """However long a lease is renewed, it has one renewal line, the newest, at the end."""
    ring = Ring((line(1, Event.ACQUIRE, 5),))
    for number in range(2, 100):
        ring = ring.append(line(number, Event.RENEW, 5))
    assert [(item.event, item.at) for item in ring.lines] == [(Event.ACQUIRE, 1), (Event.RENEW, 99)]


def test_a_renewal_passes_over_other_lines_of_its_generation() -> None:
    """A landing that kept the lease stays; the renewal before it is replaced."""
    ring = Ring((line(1, Event.ACQUIRE, 5), line(2, Event.RENEW, 5), line(3, Event.LAND_KEEP, 5)))
    ring = ring.append(line(4, Event.RENEW, 5))
    assert [item.at for item in ring.lines] == [1, 3, 4]


def test_a_renewal_never_touches_another_generation() -> None:
    """The renewal line of an earlier holder is history."""
    ring = Ring((line(1, Event.RENEW, 4), line(2, Event.ACQUIRE, 5)))
    assert [item.at for item in ring.append(line(3, Event.RENEW, 5)).lines] == [1, 2, 3]


@settings(deadline=None)
@given(ring=rings(max_lines=70), item=history_lines())
def test_appending_puts_the_line_last_and_drops_at_most_one_other(ring: Ring, item: HistoryLine) -> None:
    """The newest line is at the end; all others stay in order, but for the replaced renewal and the 64-line bound."""
    lines = ring.append(item).lines
    assert lines[-1] == item
    assert len(lines) <= MAX_LINES
    kept = ring.lines[-(len(lines) - 1) :] if len(lines) > 1 else ()
    if item.event is not Event.RENEW:
        assert lines[:-1] == kept


def test_a_nonce_is_found_at_its_newest_place() -> None:
    """The line written with a nonce proves that the write happened."""
    ring = Ring((line(1), line(2), replace(line(3), nonce=nonce(1))))
    assert ring.index_of(nonce(1)) == 2
    assert ring.index_of(nonce(2)) == 1
    assert ring.index_of(nonce(9)) is None


@settings(deadline=None)
@given(ring=rings(max_lines=10), wanted=nonces())
def test_a_nonce_that_was_never_written_is_not_found(ring: Ring, wanted: Nonce) -> None:
    """The ring never claims a write that did not happen."""
    place = ring.index_of(wanted)
    assert place is None or ring.lines[place].nonce == wanted


def test_the_newest_instant_and_the_highest_generation_need_not_be_last() -> None:
    """Both are maxima: a writer with a slow clock does not turn time back."""
    ring = Ring((line(9, generation=4), line(5, generation=7), line(7, generation=6)))
    assert (ring.newest_at, ring.last_generation) == (9, 7)
    assert (Ring().newest_at, Ring().last_generation) == (0, 0)


def test_holds_are_the_recorded_ones_oldest_first() -> None:
    """Lines that ended no lease tell nothing about holds."""
    assert Ring((line(1, held_s=3.0), line(2), line(3, held_s=0.0))).holds() == (3.0, 0.0)


@pytest.mark.parametrize(
    ("landed", "expected"),
    [([], False), ([4], True), ([3] * 8, False), ([4, *[0] * 7], True), ([4, *[0] * 8], False), ([0, 128], True)],
)
def test_a_large_landing_foresees_a_burst_for_eight_transitions(landed: list[int], expected: bool) -> None:
    """Four changes at once among the last eight transitions mean that contention is likely again."""
    ring = Ring(tuple(line(number, landed=count) for number, count in enumerate(landed)))
    assert ring.foresees_burst() is expected


@pytest.mark.parametrize(
    ("holds", "elapsed", "expected"),
    [([10, 20], 0, 15.0), ([10, 20], 10, 10.0), ([10, 20], 12, 8.0), ([10, 20], 20, 20.0), ([], 7, 7.0)],
)
def test_the_rest_of_a_hold_is_judged_from_longer_holds(holds: list[float], elapsed: float, expected: float) -> None:
    """The mean of the holds that were longer, less the elapsed; without any, as long again as so far."""
    assert mean_remaining_s(holds, elapsed) == expected


@settings(deadline=None)
@given(holds=st.lists(st.floats(0, 1e6), max_size=20), elapsed=st.floats(0, 1e6))
def test_the_rest_of_a_hold_is_never_negative(holds: list[float], elapsed: float) -> None:
    """A hold longer than any before is expected to last on, not to have ended already."""
    assert mean_remaining_s(holds, elapsed) >= 0


def test_landings_are_summed() -> None:
    """The total counts changes, not transitions."""
    assert landed_total([line(1, landed=3), line(2), line(3, landed=2)]) == 5
