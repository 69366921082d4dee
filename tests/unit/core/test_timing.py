"""Timing: every relation between durations is checked when it is built, with its own message."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.record import MAX_TTL_S, MIN_TTL_S
from gitref_lock.core.timing import LeaseTiming, QueueTiming, TimingError, default_wait_s

LEASE: dict[str, float] = {"ttl_s": 60.0, "kill_after_s": 5.0, "margin_s": 11.0, "renew_interval_s": 20.0}


@pytest.mark.parametrize(
    ("ttl_s", "kill_after_s", "margin_s", "renew_s"),
    [(5.0, 1.0, 2.0, 5 / 3), (10.0, 2.0, 3.0, 10 / 3), (25.0, 5.0, 7.5, 25 / 3), (300.0, 5.0, 35.0, 100.0)],
)
def test_the_defaults_follow_from_the_ttl(ttl_s: float, kill_after_s: float, margin_s: float, renew_s: float) -> None:
    """Kill-after is min(5 s, ttl/5), the margin kill-after + max(1 s, ttl/10), a renewal every third of the ttl."""
    timing = LeaseTiming.for_ttl(ttl_s)
    assert timing == LeaseTiming(ttl_s, kill_after_s, margin_s, renew_s)
    assert timing.usable_s == ttl_s - margin_s


@settings(deadline=None)
@given(ttl_s=st.floats(MIN_TTL_S, MAX_TTL_S))
def test_every_permitted_ttl_has_valid_defaults(ttl_s: float) -> None:
    """No ttl between the bounds needs another option to work, and a renewal always fits before the deadline."""
    timing = LeaseTiming.for_ttl(ttl_s)
    assert 0 < timing.renew_interval_s < timing.usable_s < timing.ttl_s
    assert timing.margin_s >= timing.kill_after_s + 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ttl_s": 4.9}, "ttl is 4.9 s; it must be from 5 s to 86400 s"),
        ({"ttl_s": 86_401.0}, "ttl is 86401 s; it must be from 5 s to 86400 s"),
        ({"ttl_s": float("nan")}, "ttl is nan s; it must be from 5 s to 86400 s"),
        ({"kill_after_s": -1.0}, "kill-after is -1 s; it must not be negative"),
        ({"margin_s": 5.9}, "the margin (5.9 s) must be at least kill-after (5 s) plus 1 s"),
        (
            {"margin_s": 60.0},
            "ttl (60 s) must be longer than the safety margin (60 s); raise --ttl or lower --kill-after",
        ),
        (
            {"renew_interval_s": 49.0},
            "the renew interval (49 s) must be shorter than ttl less the safety margin (49 s)",
        ),
        (
            {"renew_interval_s": 0.0},
            "the renew interval (0 s) must be shorter than ttl less the safety margin (49 s)",
        ),
    ],
)
def test_each_broken_lease_relation_has_its_own_message(changes: dict[str, float], words: str) -> None:
    """A mistake is named with both numbers before a lock is taken."""
    with pytest.raises(TimingError) as caught:
        LeaseTiming(**{**LEASE, **changes})
    assert str(caught.value) == words


def test_a_kill_after_that_leaves_no_time_for_renewals_is_refused() -> None:
    """A long kill-after with a short ttl would lose the lease before its first renewal."""
    with pytest.raises(TimingError, match="renew interval"):
        LeaseTiming.for_ttl(60, kill_after_s=35)
    assert LeaseTiming.for_ttl(60, kill_after_s=0).margin_s == 6


@settings(deadline=None)
@given(values=st.fixed_dictionaries(dict.fromkeys(LEASE, st.one_of(st.floats(1, 90), st.floats()))))
def test_no_other_lease_timing_can_be_built(values: dict[str, float]) -> None:
    """Whatever numbers come in, a timing that exists keeps every relation."""
    try:
        timing = LeaseTiming(**values)
    except TimingError:
        return
    assert MIN_TTL_S <= timing.ttl_s <= MAX_TTL_S
    assert timing.kill_after_s + 1 <= timing.margin_s
    assert 0 < timing.renew_interval_s < timing.usable_s


def test_the_default_queue_timing_is_the_documented_one() -> None:
    """The numbers of docs/protocol.md, section 5 and 8."""
    assert asdict(QueueTiming()) == {
        "head_start_s": 10.0,
        "claim_window_s": 6.0,
        "claim_step_s": 1.0,
        "land_window_s": 0.5,
        "land_step_s": 1.0,
        "land_change_s": 0.03,
        "pace_floor_s": 0.5,
        "pace_cap_s": 5.0,
        "pace_factor_s": 0.04,
        "reads_per_s": 10.0,
        "gather_s": 0.3,
        "landing_s": 1.0,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"claim_window_s": 5.0}, "the claim window (5 s) must be longer than the longest pace"),
        ({"pace_cap_s": 6.0}, "must be longer than the longest pace of the first places (6 s)"),
        ({"pace_floor_s": 0.0}, "the pace floor (0 s) must be above 0"),
        ({"pace_floor_s": 5.5}, "the pace floor (5.5 s) must be above 0, its cap (5 s) not lower"),
        ({"head_start_s": -1.0}, "the head start is -1 s a point; it must be from 0 to 3600"),
        ({"head_start_s": 3601.0}, "the head start is 3601 s a point"),
        *(
            ({name: 0.0}, "must be above 0")
            for name in ("claim_step_s", "land_window_s", "land_step_s", "pace_factor_s", "reads_per_s")
        ),
        ({"reads_per_s": float("nan")}, "must be above 0"),
        *(({name: float("nan")}, "nan") for name in ("claim_window_s", "pace_floor_s", "pace_cap_s", "head_start_s")),
    ],
)
def test_each_broken_queue_relation_has_its_own_message(changes: dict[str, Any], words: str) -> None:
    """A waiting law that would pass over a live head, or never poll, is refused; no number is no excuse."""
    with pytest.raises(TimingError) as caught:
        QueueTiming(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(("ttl_s", "expected"), [(None, 1800.0), (60.0, 1800.0), (1500.0, 1800.0), (3600.0, 3900.0)])
def test_the_default_wait_outlives_the_present_lease(ttl_s: float | None, expected: float) -> None:
    """Half an hour, or five minutes more than the present lease can last."""
    assert default_wait_s(ttl_s) == expected
