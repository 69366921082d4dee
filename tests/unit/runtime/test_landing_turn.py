"""When it is whose turn to land."""

from __future__ import annotations

import pytest

from gitref_lock.core.timing import QueueTiming
from gitref_lock.runtime.landing_turn import land_delay_s, steps


@pytest.mark.parametrize(("ahead", "expected"), [(0, 0), (1, 1), (30, 30), (31, 31), (130, 40), (3000, 84)])
def test_a_crowd_delays_by_the_root_of_its_number(ahead: int, expected: int) -> None:
    """Up to thirty places count each; beyond that a hundred more are ten steps."""
    assert steps(ahead) == expected


@pytest.mark.parametrize("waiting", [1, 16, 64, 128, 5000])
def test_turns_never_come_in_another_order_than_places(waiting: int) -> None:
    """A later place never has an earlier turn."""
    turns = [land_delay_s(ahead, waiting, QueueTiming()) for ahead in range(5000)]
    assert turns == sorted(turns)
    assert turns[0] == 0.0


@pytest.mark.parametrize(("waiting", "second"), [(2, 0.5), (16, 0.5), (17, 0.51), (64, 1.92), (128, 3.84), (900, 3.84)])
def test_a_crowd_leaves_its_head_time_to_land_it(waiting: int, second: float) -> None:
    """Who comes second waits for as long as the landing of so many changes takes; the head waits for nobody."""
    assert land_delay_s(1, waiting, QueueTiming()) == pytest.approx(second)
    assert land_delay_s(2, waiting, QueueTiming()) == pytest.approx(second + 1.0)
    assert land_delay_s(0, waiting, QueueTiming()) == 0.0
