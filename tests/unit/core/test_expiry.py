"""Expiry: rule A by observation, rule B by the server's clock, and nothing else ends a lease."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.clocks import ServerClock, ServerDate
from gitref_lock.core.expiry import (
    Observation,
    Rule,
    contradicts,
    expired_by,
    observe,
    remaining_s,
    ttl_of,
)
from gitref_lock.core.names import LockName, Nonce, Oid
from gitref_lock.core.record import ClockSource, Event, Holder, LockRecord, State, UnreadableRecord
from gitref_lock.core.timing import MAX_CLOCK_SKEW_S

TIP, OTHER_TIP = Oid("a" * 40), Oid("b" * 40)
NAME = LockName("main")
START = 1_700_000_000
TTL_S = 60.0
HELD = LockRecord(
    lock=NAME,
    state=State.HELD,
    generation=START,
    nonce=Nonce("1" * 24),
    event=Event.ACQUIRE,
    lease=Nonce("1" * 24),
    holder=Holder(id="x"),
    ttl_s=TTL_S,
    acquired_at=START,
    renewed_at=START,
    expires_at=START + 61,
    clock=ClockSource.SERVER,
)
LOCAL = replace(HELD, clock=ClockSource.LOCAL)
FREE = LockRecord(lock=NAME, state=State.FREE, generation=START, nonce=Nonce("2" * 24), event=Event.RELEASE)
UNREADABLE = UnreadableRecord(NAME, "not JSON")
JUST_SEEN = Observation(TIP, 1000.0)
LATE = START + 61 + 10 + 1


def clock_of(*dates: tuple[int, float], consistent: bool = True) -> ServerClock:
    """Return a clock with these readings: (date, monotonic instant)."""
    return ServerClock(tuple(ServerDate(date_s, at_s, at_s) for date_s, at_s in dates), consistent)


AGREED = clock_of((LATE, 1000.0), (LATE + 2, 1002.0))


@pytest.mark.parametrize(
    ("record", "seen_for_s", "clock", "expected"),
    [
        (HELD, 59.9, ServerClock(), None),
        (HELD, 60.0, ServerClock(), Rule.OBSERVATION),
        (LOCAL, 60.0, ServerClock(), Rule.OBSERVATION),
        (HELD, 60.0, clock_of((START, 1.0), consistent=False), Rule.OBSERVATION),
        (UNREADABLE, 86_399.9, AGREED, None),
        (UNREADABLE, 86_400.0, ServerClock(), Rule.OBSERVATION),
        (FREE, 1e9, AGREED, None),
        (HELD, 0.0, AGREED, Rule.SERVER_CLOCK),
        (HELD, 0.0, clock_of((LATE, 1000.0)), None),
        (HELD, 0.0, clock_of((LATE, 1000.0), (LATE + 1, 1001.9)), None),
        (HELD, 0.0, clock_of((LATE - 1, 1000.0), (LATE + 1, 1002.0)), None),
        (HELD, 0.0, clock_of((LATE, 1000.0), (LATE - 1, 1001.0), (LATE + 2, 1002.0)), None),
        (HELD, 0.0, replace(AGREED, is_consistent=False), None),
        (LOCAL, 0.0, AGREED, None),
        (HELD, 0.0, clock_of((LATE, 1000.0), (LATE + 2, 1002.0), (START - 1, 1003.0)), None),
        (HELD, 0.0, ServerClock(), None),
        (replace(HELD, renewed_at=LATE + 2), 0.0, AGREED, Rule.SERVER_CLOCK),
        (replace(HELD, renewed_at=LATE + 3), 0.0, AGREED, None),
    ],
)
def test_a_lease_is_expired_by_exactly_these_rules(
    record: LockRecord | UnreadableRecord, seen_for_s: float, clock: ServerClock, expected: Rule | None
) -> None:
    """Observation for the record's own ttl, or two agreeing Dates past its end, the skew and its own renewal."""
    assert expired_by(record, JUST_SEEN, JUST_SEEN.since_s + seen_for_s, clock) is expected


@settings(deadline=None)
@given(ttl_s=st.floats(5, 86_400), since_s=st.floats(0, 1e6), carried=st.floats(0, 1), part=st.floats(0, 0.999))
def test_rule_a_never_ends_a_lease_before_its_ttl(ttl_s: float, since_s: float, carried: float, part: float) -> None:
    """For any ttl the tip must have been seen unchanged that long, earlier processes of this boot included."""
    record = replace(LOCAL, ttl_s=ttl_s)
    seen_s = ttl_s * part
    observation = Observation(TIP, since_s, seen_s * carried)
    assert expired_by(record, observation, since_s + seen_s * (1 - carried), ServerClock()) is None
    assert expired_by(record, observation, since_s + ttl_s + 0.001, ServerClock()) is Rule.OBSERVATION


DATES = st.lists(st.tuples(st.integers(LATE - 100, LATE + 100), st.floats(0, 50)), max_size=8).map(
    lambda dates: sorted(dates, key=lambda date: date[1])
)


@settings(deadline=None, max_examples=400)
@given(dates=DATES, consistent=st.booleans(), local=st.booleans())
def test_rule_b_never_ends_a_lease_without_two_agreeing_dates(
    dates: list[tuple[int, float]], consistent: bool, local: bool
) -> None:
    """When B speaks, the newest Dates of at least two seconds are all past the end plus the skew, from one clock."""
    record = LOCAL if local else HELD
    if expired_by(record, Observation(TIP, 60.0), 60.0, clock_of(*dates, consistent=consistent)) is None:
        return
    assert consistent
    assert not local
    assert record.expires_at is not None
    past = [at_s for date_s, at_s in dates if date_s > record.expires_at + MAX_CLOCK_SKEW_S]
    assert len(past) >= 2
    assert max(past) - min(past) >= 2
    assert dates[-1][0] > record.expires_at + MAX_CLOCK_SKEW_S


@settings(deadline=None)
@given(dates=st.lists(st.integers(0, LATE - 1), min_size=2, max_size=6))
def test_rule_b_never_ends_a_lease_before_its_end_plus_the_skew(dates: list[int]) -> None:
    """Any number of Dates up to the end plus the skew, however far apart, leave the lease alone."""
    clock = clock_of(*((date_s, 10.0 * number) for number, date_s in enumerate(dates)))
    assert expired_by(HELD, Observation(TIP, 60.0), 60.0, clock) is None


@settings(deadline=None)
@given(
    latency_s=st.floats(0, 30),
    sent_at=st.floats(START, START + 1),
    skew_s=st.floats(0, MAX_CLOCK_SKEW_S),
    poll_s=st.floats(0, 200),
)
def test_a_holder_is_never_robbed_by_rule_b_before_its_own_ttl(
    latency_s: float, sent_at: float, skew_s: float, poll_s: float
) -> None:
    """With front ends up to the permitted skew apart, B waits until the holder's whole ttl has passed in true time."""
    clock = ServerClock().with_date(ServerDate(int(sent_at), 0.0, latency_s))
    end = int(clock.latest(latency_s) + TTL_S)
    record = replace(HELD, expires_at=end, renewed_at=int(sent_at))
    true_s = sent_at + latency_s + poll_s
    shown = int(true_s + skew_s)
    observer = clock_of((shown, 0.0), (shown + 2, 2.0))
    if expired_by(record, Observation(TIP, 0.0), 2.0, observer) is Rule.SERVER_CLOCK:
        assert true_s >= sent_at + latency_s + TTL_S


def test_an_observation_lasts_while_the_tip_stays() -> None:
    """Reading the same tip keeps the observation; another tip starts a new one without carried time."""
    first = observe(None, TIP, 5.0)
    assert first == Observation(TIP, 5.0)
    carried = replace(first, carried_s=7.0)
    assert observe(carried, TIP, 9.0) is carried
    assert observe(carried, OTHER_TIP, 9.0) == Observation(OTHER_TIP, 9.0, 0.0)


def test_carried_time_counts_and_a_clock_that_jumps_back_does_not() -> None:
    """Time seen by an earlier process is added; time never becomes negative."""
    assert Observation(TIP, 10.0, 4.0).seen_for_s(13.0) == 7.0
    assert Observation(TIP, 10.0, 4.0).seen_for_s(3.0) == 4.0


def test_what_cannot_be_read_is_held_for_a_day() -> None:
    """An unreadable state has the longest ttl there is."""
    assert (ttl_of(UNREADABLE), ttl_of(HELD)) == (86_400.0, TTL_S)


@pytest.mark.parametrize(
    ("record", "dates", "expected"),
    [
        (HELD, [(START - 1, 1.0)], True),
        (HELD, [(START, 1.0)], False),
        (HELD, [(START - 1, 1.0), (START + 5, 2.0)], False),
        (HELD, [], False),
        (LOCAL, [(START - 1, 1.0)], False),
        (FREE, [(0, 1.0)], False),
        (UNREADABLE, [(0, 1.0)], False),
    ],
)
def test_a_date_before_the_renewal_contradicts_it(
    record: LockRecord | UnreadableRecord, dates: list[tuple[int, float]], expected: bool
) -> None:
    """A server that shows less than it showed the holder has front ends that disagree."""
    assert contradicts(record, clock_of(*dates)) is expected


@pytest.mark.parametrize(
    ("record", "clock", "expected"),
    [
        (HELD, ServerClock(), 60.0),
        (LOCAL, clock_of((LATE - 10, 1000.0)), 60.0),
        (HELD, clock_of((LATE - 10, 1000.0)), 10.0),
        (HELD, clock_of((LATE + 10, 1000.0)), 0.0),
        (HELD, clock_of((START, 1000.0)), 60.0),
        (HELD, clock_of((LATE - 10, 1000.0), consistent=False), 60.0),
        (UNREADABLE, clock_of((LATE, 1000.0)), 86_400.0),
    ],
)
def test_the_rest_of_a_lease_is_the_shorter_of_both_rules(
    record: LockRecord | UnreadableRecord, clock: ServerClock, expected: float
) -> None:
    """Waiters pace themselves by whichever rule can speak first."""
    assert remaining_s(record, JUST_SEEN, 1000.0, clock) == expected


@settings(deadline=None)
@given(dates=DATES, now_s=st.floats(50, 200))
def test_an_expired_lease_has_no_rest(dates: list[tuple[int, float]], now_s: float) -> None:
    """The rest is a lower bound: it never says that there is time left on a lease that is over."""
    clock = clock_of(*dates)
    observation = Observation(TIP, 0.0)
    if expired_by(HELD, observation, now_s, clock) is not None:
        assert remaining_s(HELD, observation, now_s, clock) == 0
