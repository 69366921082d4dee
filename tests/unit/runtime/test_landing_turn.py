"""When it is whose turn to land."""

from __future__ import annotations

import pytest

from gitref_lock.core.queue import claim_delay_s
from gitref_lock.core.ticket import Kind
from gitref_lock.core.timing import QueueTiming
from gitref_lock.runtime.landing_turn import steps


@pytest.mark.parametrize(("ahead", "expected"), [(0, 0), (1, 1), (30, 30), (31, 31), (130, 40), (3000, 84)])
def test_a_crowd_delays_by_the_root_of_its_number(ahead: int, expected: int) -> None:
    """Up to thirty places count each; beyond that a hundred more are ten steps."""
    assert steps(ahead) == expected


def test_turns_never_come_in_another_order_than_places() -> None:
    """A later place never has an earlier turn."""
    turns = [claim_delay_s(steps(ahead), Kind.LAND, QueueTiming()) for ahead in range(5000)]
    assert turns == sorted(turns)
    assert turns[:3] == [0.0, 0.5, 1.5]
