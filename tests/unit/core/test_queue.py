"""The queue: one order that never changes, windows that let a live head go first, and a bounded load of polls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.names import RANK_LIMIT, LockName, Nonce, Oid, TicketName
from gitref_lock.core.queue import (
    Entry,
    Window,
    claim_delay_s,
    contending,
    enqueue_instant_ms,
    expected_wait_s,
    in_service_order,
    newcomer_may_claim,
    overtaking_bound_s,
    pace_s,
    place_of,
    rank_ms,
    watch_window,
)
from gitref_lock.core.record import MAX_PRIORITY, Holder
from gitref_lock.core.ticket import Kind, Ticket, Verdict, VerdictKind
from gitref_lock.core.timing import QueueTiming
from gitref_lock.testing.strategies import nonces, oids, ticket_names

A, B, C = LockName("a"), LockName("b"), LockName("c")
TIP = Oid("a" * 40)
TIMING = QueueTiming()
NOW_MS = 1_700_000_000_000


def entry(rank: int, *locks: LockName, verdict: Verdict | None = None) -> Entry:
    """Return a waiter of this rank for these locks (one lock by default)."""
    nonce = Nonce(f"{rank:024x}")
    ticket = Ticket(
        kind=Kind.ACQUIRE,
        locks=locks or (A,),
        nonce=nonce,
        holder=Holder(id=f"w{rank}"),
        priority=0,
        enqueued_ms=rank,
        expires_at=0,
        verdict=verdict,
    )
    return Entry(TicketName(rank, nonce), TIP, ticket)


ENTRIES = st.builds(Entry, ticket_names(), oids(), st.none())
MILLIS = st.integers(NOW_MS, NOW_MS + 10**10)
PRIORITIES = st.integers(-MAX_PRIORITY, MAX_PRIORITY)
HEAD_STARTS = st.one_of(st.just(10.0), st.integers(0, 3600).map(float), st.floats(0, 3600))


@pytest.mark.parametrize(
    ("enqueued_ms", "priority", "head_start_s", "expected"),
    [
        (NOW_MS, 0, 10.0, NOW_MS),
        (NOW_MS, 5, 10.0, NOW_MS - 50_000),
        (NOW_MS, -5, 10.0, NOW_MS + 50_000),
        (NOW_MS, 1, 0.0015, NOW_MS - 2),
        (5, 1000, 10.0, 0),
        (10**17, 0, 10.0, RANK_LIMIT - 1),
    ],
)
def test_a_rank_is_the_instant_less_the_head_start(
    enqueued_ms: int, priority: int, head_start_s: float, expected: int
) -> None:
    """A point of priority is worth its head start; absurd instants still make a rank of 16 digits."""
    assert rank_ms(enqueued_ms, priority, head_start_s) == expected


@settings(deadline=None)
@given(first_ms=MILLIS, second_ms=MILLIS, first=PRIORITIES, second=PRIORITIES, head_start_s=HEAD_STARTS)
def test_a_ticket_is_overtaken_only_within_its_bound(
    first_ms: int, second_ms: int, first: int, second: int, head_start_s: float
) -> None:
    """Whoever stands before a ticket was written before it, or at most gap x head start after it: nobody starves."""
    if rank_ms(second_ms, second, head_start_s) <= rank_ms(first_ms, first, head_start_s):
        bound_ms = overtaking_bound_s(second - first, head_start_s) * 1000
        assert second_ms - first_ms <= bound_ms + 1  # ranks are whole milliseconds


@settings(deadline=None)
@given(first_ms=MILLIS, gap_ms=st.integers(1, 10**9), first=PRIORITIES, second=PRIORITIES)
def test_equal_and_lower_priorities_never_overtake(first_ms: int, gap_ms: int, first: int, second: int) -> None:
    """A later ticket passes an earlier one only with more points."""
    low, high = sorted((first, second))
    assert rank_ms(first_ms + gap_ms, low, 10.0) > rank_ms(first_ms, high, 10.0)


def test_the_overtaking_bound_is_the_gap_times_the_head_start() -> None:
    """Eighty points are worth 800 seconds; fewer points bound nothing because they never overtake."""
    assert overtaking_bound_s(80, 10.0) == 800.0
    assert overtaking_bound_s(-5, 10.0) == 0.0


@pytest.mark.parametrize(
    ("own_ms", "date_ms", "newest_ms", "expected"),
    [
        (500, None, 0, 500),
        (500, None, 900, 901),
        (500, 700, 700, 701),
        (500, 700, 0, 700),
        (500, 700, 900, 901),
        (500, 700, 70_000, 60_700),
        (99_999_999, 700, 0, 700),
    ],
)
def test_the_enqueue_instant_is_the_servers_where_known(
    own_ms: int, date_ms: int | None, newest_ms: int, expected: int
) -> None:
    """The Date, else the own clock; after the newest instant seen, and at most 60 s above a Date."""
    assert enqueue_instant_ms(own_ms, date_ms, newest_ms) == expected


@settings(deadline=None)
@given(entries=st.lists(ENTRIES, max_size=20, unique_by=lambda item: item.order))
def test_service_order_is_the_order_of_the_names(entries: list[Entry]) -> None:
    """Sorting the names as text, as any listing does, gives the same queue."""
    assert [item.name.leaf for item in in_service_order(entries)] == sorted(item.name.leaf for item in entries)


def test_ended_tickets_are_not_in_the_queue_and_unreadable_ones_are() -> None:
    """A verdict waits for nothing; what cannot be read may wait for anything."""
    ended = entry(1, verdict=Verdict(VerdictKind.LANDED))
    unreadable = replace(entry(2), ticket=None)
    assert not ended.is_live
    assert unreadable.is_live
    assert in_service_order([entry(3), unreadable, ended]) == (unreadable, entry(3))


def test_a_waiter_for_several_locks_is_passed_over_while_another_is_busy() -> None:
    """It keeps its place but holds up nobody; single waiters and unreadable tickets stay."""
    both, single, unreadable = entry(1, A, B), entry(2, A), replace(entry(3), ticket=None)
    queue = (both, single, unreadable)
    assert contending(queue, busy=[]) == queue
    assert contending(queue, busy=[B]) == (single, unreadable)
    assert contending(queue, busy=[C]) == queue


@settings(deadline=None)
@given(
    wishes=st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), max_size=25),
    data=st.data(),
)
def test_waiters_for_several_locks_never_deadlock(wishes: list[set[str]], data: st.DataObject) -> None:
    """With one rank for all its locks, somebody is always head of all its queues: serving heads drains everything."""
    order = data.draw(st.permutations(range(1, len(wishes) + 1)))
    waiting = [
        entry(rank, *(LockName(name) for name in sorted(wish))) for rank, wish in zip(order, wishes, strict=True)
    ]
    served: list[Entry] = []
    while waiting:
        heads = {
            name: in_service_order([item for item in waiting if item.ticket is not None and name in item.ticket.locks])
            for name in "abcdef"
        }
        ready = [
            item
            for item in waiting
            if item.ticket is not None and all(heads[name][0] == item for name in item.ticket.locks)
        ]
        assert ready
        served += ready
        waiting = [item for item in waiting if item not in ready]
    for name in "abcdef":
        ranks_served = [item.name.rank_ms for item in served if item.ticket is not None and name in item.ticket.locks]
        assert ranks_served == sorted(ranks_served)


@settings(deadline=None, max_examples=60)
@given(
    wishes=st.lists(st.sets(st.sampled_from("abc"), min_size=1), min_size=1, max_size=12),
    busy=st.sets(st.sampled_from("abc")),
)
def test_a_free_lock_is_never_left_to_a_waiter_that_cannot_use_it(wishes: list[set[str]], busy: set[str]) -> None:
    """Nobody contending for a free lock needs a busy one too, and a waiter of that lock alone always contends."""
    waiters = [entry(rank, *(LockName(name) for name in sorted(wish))) for rank, wish in enumerate(wishes, 1)]
    for name in {"a", "b", "c"} - busy:
        queue = in_service_order([item for item in waiters if item.ticket and name in item.ticket.locks])
        allowed = contending(queue, [LockName(other) for other in busy])
        assert all(item.ticket is not None and not busy & set(item.ticket.locks) for item in allowed)
        alone = [item for item in queue if item.ticket is not None and item.ticket.locks == (name,)]
        assert all(item in allowed for item in alone)
        assert list(allowed) == sorted(allowed, key=lambda item: item.order)


def test_places_count_from_the_head() -> None:
    """The head is place 0; who is not there has no place."""
    queue = (entry(1), entry(2), entry(3))
    assert [place_of(queue, item.name) for item in queue] == [0, 1, 2]
    assert place_of(queue, entry(9).name) is None


@pytest.mark.parametrize(
    ("place", "acquire_s", "land_s"), [(0, 0.0, 0.0), (1, 6.0, 0.5), (2, 7.0, 1.5), (10, 15.0, 9.5)]
)
def test_each_place_may_claim_one_step_later(place: int, acquire_s: float, land_s: float) -> None:
    """The head at once; the second after the claim window; each further place one step after the one before."""
    assert claim_delay_s(place, Kind.ACQUIRE, TIMING) == acquire_s
    assert claim_delay_s(place, Kind.LAND, TIMING) == land_s


@settings(deadline=None)
@given(remaining_s=st.floats(0, 1e6), jitter=st.floats(0.7, 1.3), place=st.integers(0, 2))
def test_a_live_head_polls_within_its_claim_window(remaining_s: float, jitter: float, place: int) -> None:
    """However long the next hold was expected to be, the first three look again before the second place may claim."""
    assert pace_s(place, 50, remaining_s, jitter, TIMING) < claim_delay_s(1, Kind.ACQUIRE, TIMING)


def test_a_window_lasts_under_the_same_head_only() -> None:
    """Closed locks have no window; another head starts its own; an open lock without queue has one too."""
    first, second = entry(1).name, entry(2).name
    window = watch_window(None, first, 5.0, is_open=True)
    assert window == Window(first, 5.0)
    assert watch_window(window, first, 9.0, is_open=True) is window
    assert watch_window(window, second, 9.0, is_open=True) == Window(second, 9.0)
    assert watch_window(window, None, 9.0, is_open=True) == Window(None, 9.0)
    assert watch_window(Window(None, 3.0), None, 9.0, is_open=True) == Window(None, 3.0)
    assert watch_window(window, first, 9.0, is_open=False) is None


@settings(deadline=None)
@given(
    queues=st.dictionaries(st.sampled_from([A, B]), st.lists(ENTRIES, max_size=5), max_size=2),
    rank=st.integers(0, RANK_LIMIT - 1),
    nonce=nonces(),
)
def test_a_newcomer_never_passes_a_lower_rank(queues: dict[LockName, list[Entry]], rank: int, nonce: Nonce) -> None:
    """It may claim exactly when every live ticket of all its locks ranks behind it."""
    order = (rank, nonce)
    may = newcomer_may_claim(queues, order)
    assert may is not any(item.order <= order for queue in queues.values() for item in queue)


def test_a_newcomer_of_higher_priority_may_pass_a_queue() -> None:
    """With a lower rank than all tickets it need not queue; with the same rank and a later nonce it must."""
    queues = {A: [entry(100)], B: []}
    assert newcomer_may_claim(queues, (99, Nonce("f" * 24)))
    assert not newcomer_may_claim(queues, (100, Nonce("f" * 24)))
    assert not newcomer_may_claim(queues, entry(100).order)


@settings(deadline=None)
@given(
    place=st.integers(0, 500),
    length=st.integers(0, 500),
    remaining_s=st.floats(-10, 1e6),
    jitter=st.floats(0.7, 1.3),
)
def test_the_pace_is_bounded(place: int, length: int, remaining_s: float, jitter: float) -> None:
    """The first three stay between floor and cap; everybody else waits at least its share of ten reads a second."""
    pace = pace_s(place, length, remaining_s, jitter, TIMING)
    assert pace >= TIMING.pace_floor_s
    if place < 3:
        assert pace <= TIMING.pace_cap_s
    else:
        assert pace >= length / 10 * jitter
        assert pace <= max(TIMING.pace_cap_s, length / 10 * jitter)


@pytest.mark.parametrize(
    ("remaining_s", "expected"), [(0.0, 0.5), (6.25, 0.5), (25.0, 1.0), (100.0, 2.0), (625.0, 5.0), (1e6, 5.0)]
)
def test_the_pace_follows_the_root_of_the_expected_rest(remaining_s: float, expected: float) -> None:
    """Long holds are looked at seldom, short ones often, in proportion to the root."""
    assert pace_s(0, 1, remaining_s, 1.0, TIMING) == pytest.approx(expected)


def test_jitter_stretches_the_pace_between_its_bounds() -> None:
    """Two waiters with different jitter drift apart instead of polling together."""
    assert pace_s(0, 1, 100.0, 1.3, TIMING) == pytest.approx(2.6)
    assert pace_s(0, 1, 100.0, 0.7, TIMING) == pytest.approx(1.4)
    assert pace_s(3, 100, 100.0, 1.3, TIMING) == pytest.approx(13.0)


@settings(deadline=None)
@given(length=st.integers(4, 1000), jitter=st.floats(0.7, 1.3))
def test_all_waiters_of_a_lock_together_stay_near_their_budget(length: int, jitter: float) -> None:
    """However many wait, those behind the first three make at most ten reads a second together (before jitter)."""
    reads = sum(1 / pace_s(place, length, 0.0, jitter, TIMING) for place in range(3, length))
    assert reads * jitter <= TIMING.reads_per_s + 1e-6


def test_the_expected_wait_counts_a_mean_hold_for_each_place_ahead() -> None:
    """The rest of the present hold, then everybody ahead; without history there is no guess."""
    assert expected_wait_s(2, [10.0, 30.0], 0.0) == 60.0
    assert expected_wait_s(0, [10.0, 30.0], 15.0) == 15.0
    assert expected_wait_s(3, [], 5.0) is None


@given(
    place=st.integers(3, 999),
    length=st.integers(1, 1000),
    rest=st.floats(0, 3600),
    jitter=st.floats(0.7, 1.3),
    approach=st.floats(0, 3600),
)
def test_nobody_sleeps_past_its_approach(place: int, length: int, rest: float, jitter: float, approach: float) -> None:
    """A far waiter looks again before it can be expected among the first three, or at their pace."""
    timing = QueueTiming()
    assert pace_s(place, length, rest, jitter, timing, approach) <= max(approach, timing.pace_cap_s)
    assert pace_s(place, length, rest, jitter, timing, approach) <= pace_s(place, length, rest, jitter, timing)
