"""Clocks: the holder counts the most time that can have passed, the observer the least."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.clocks import ClockReading, ServerClock, ServerDate, elapsed_for_holder

SECONDS = st.floats(0, 1e9)


def clock_of(*dates: tuple[int, float]) -> ServerClock:
    """Return a clock with these readings: (date, monotonic instant at which it was sent and received)."""
    clock = ServerClock()
    for date_s, at_s in dates:
        clock = clock.with_date(ServerDate(date_s, at_s, at_s))
    return clock


def test_a_new_clock_knows_nothing_and_contradicts_nothing() -> None:
    """Without a reading there is no agreement."""
    clock = ServerClock()
    assert not clock.is_known
    assert clock.is_consistent
    assert not clock.agree_past(0)


def test_no_reading_and_a_repeated_reading_change_nothing() -> None:
    """A reply without a Date, or the same reply seen twice, is no second opinion."""
    clock = clock_of((100, 1.0))
    assert clock.with_date(None) is clock
    assert clock.with_date(ServerDate(100, 1.0, 1.0)) is clock


def test_only_the_last_readings_are_kept() -> None:
    """Memory is bounded however long a wait is; the newest reading is last."""
    clock = clock_of(*((number, float(number)) for number in range(100)))
    assert [date.date_s for date in clock.dates] == list(range(84, 100))


def test_a_contradiction_is_remembered() -> None:
    """Once front ends disagreed, no further reading makes the clock trustworthy again."""
    clock = clock_of((100, 1.0)).contradicted()
    assert clock.is_known
    assert not clock.with_date(ServerDate(200, 5.0, 5.0)).is_consistent


@settings(deadline=None)
@given(
    true_s=st.floats(1e6, 2e9),
    sent_s=st.floats(0, 1e6),
    there_s=st.floats(0, 60),
    back_s=st.floats(0, 60),
    later_s=st.floats(0, 1e5),
)
def test_the_true_server_time_lies_between_earliest_and_latest(
    true_s: float, sent_s: float, there_s: float, back_s: float, later_s: float
) -> None:
    """Whatever part of the round trip came before the server looked at its clock, and however late it is now."""
    received_s = sent_s + there_s + back_s
    clock = ServerClock().with_date(ServerDate(int(true_s), sent_s, received_s))
    now_s = received_s + later_s
    true_now_s = true_s + (now_s - (sent_s + there_s))
    assert clock.earliest(now_s) <= true_now_s + 1e-5
    assert clock.latest(now_s) >= true_now_s - 1e-5


def test_earliest_and_latest_are_as_near_as_the_reading_allows() -> None:
    """They differ by the truncated second and the round trip, and go on with the time since."""
    clock = ServerClock().with_date(ServerDate(100, 10.0, 13.0))
    assert (clock.earliest(20.0), clock.latest(20.0)) == (107.0, 111.0)


def test_a_clock_never_runs_backwards_between_readings() -> None:
    """An instant before the reading (another thread's) counts as the reading itself."""
    clock = clock_of((100, 50.0))
    assert (clock.earliest(10.0), clock.latest(10.0)) == (100, 101)


@pytest.mark.parametrize(
    ("dates", "instant_s", "expected"),
    [
        ([(101, 0.0), (103, 2.0)], 100, True),
        ([(101, 0.0), (102, 1.9)], 100, False),
        ([(101, 0.0)], 100, False),
        ([(100, 0.0), (102, 2.0)], 100, False),
        ([(101, 0.0), (102, 1.0), (103, 2.0)], 100, True),
        ([(103, 0.0), (101, 1.0), (99, 2.0)], 100, False),
        ([(103, 0.0), (99, 1.0), (103, 2.0)], 100, False),
        ([(103, 0.0), (99, 1.0), (103, 2.0), (105, 4.0)], 100, True),
        ([(101, 5.0), (103, 2.0)], 100, False),
    ],
)
def test_two_readings_apart_must_agree_and_none_since_may_deny(
    dates: list[tuple[int, float]], instant_s: float, expected: bool
) -> None:
    """One Date, Dates too close to each other, and Dates denied by a newer one end no lease."""
    assert clock_of(*dates).agree_past(instant_s) is expected


READING = st.builds(ClockReading, SECONDS, SECONDS, SECONDS)


@settings(deadline=None)
@given(start=READING, now=READING)
def test_a_holder_counts_the_largest_difference_of_its_clocks(start: ClockReading, now: ClockReading) -> None:
    """No clock that stood still or was set back can make a holder believe that less time passed."""
    elapsed = elapsed_for_holder(start, now)
    differences = [
        now.monotonic_s - start.monotonic_s,
        now.boottime_s - start.boottime_s,
        now.wall_s - start.wall_s,
    ]
    assert elapsed == max([0.0, *differences])


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (ClockReading(15.0, 15.0, 105.0), 5.0),
        (ClockReading(11.0, 71.0, 161.0), 61.0),
        (ClockReading(15.0, 15.0, 40.0), 5.0),
        (ClockReading(15.0, 15.0, 3700.0), 3600.0),
        (ClockReading(9.0, 9.0, 99.0), 0.0),
    ],
    ids=["plain", "after a suspend", "wall clock set back", "wall clock set forward", "all back"],
)
def test_suspend_and_steps_make_a_holder_early_never_late(now: ClockReading, expected: float) -> None:
    """After a suspend or a step the lease counts as older, not as younger."""
    assert elapsed_for_holder(ClockReading(10.0, 10.0, 100.0), now) == expected
