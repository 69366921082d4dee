"""Trying again: how pauses grow, how long patience lasts, and that both are what the configuration says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.ports import ObjectsGoneError, RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.retry import PATIENCE_S, Backoff, reading
from gitref_lock.testing.clock import jumping_system


@given(
    base=st.floats(0.01, 10),
    factor=st.floats(1, 10),
    cap=st.floats(0.01, 60),
    jitter=st.floats(0, 1),
    attempt=st.integers(0, 10_000),
    seed=st.integers(0, 99),
)
def test_pauses_stay_within_their_pattern(
    base: float, factor: float, cap: float, jitter: float, attempt: int, seed: int
) -> None:
    """Never above the cap, never below it less the jitter, once base times factor has reached it."""
    pause_s = Backoff(base, factor, cap, jitter).pause_s(jumping_system(seed), attempt)
    full_s = min(cap, base * factor ** min(attempt, 64))
    assert full_s * (1 - jitter) - 1e-9 <= pause_s <= full_s + 1e-9


def failing(code: str = "unreachable", *, transient: bool = True) -> RemoteError:
    """Return a failure of the remote."""
    return RemoteError(code, "away", transient=transient)


@pytest.mark.parametrize(("budget_s", "patience_s", "lasts_s"), [(20.0, None, 20), (90.0, 5.0, 5), (3.0, 5.0, 3)])
def test_patience_is_the_smaller_of_budget_and_wish(budget_s: float, patience_s: float | None, lasts_s: float) -> None:
    """A read that never works ends after the budget, with the failure itself."""
    system = jumping_system(1)
    before = system.clock.monotonic()

    def read() -> None:
        raise failing()

    backoff = Backoff(base_s=0.5, factor=1.0, budget_s=budget_s)
    with pytest.raises(RemoteError, match="away"):
        reading(system, read, Deadline(system.clock), backoff=backoff, patience_s=patience_s)
    assert lasts_s <= system.clock.monotonic() - before < lasts_s + 1.5


@pytest.mark.parametrize("error", [failing(transient=False), ObjectsGoneError("gone")])
def test_what_cannot_pass_is_not_tried_again(error: RemoteError) -> None:
    """A permanent failure, and an object that is gone, are raised at once."""
    system = jumping_system(2)
    tries = []

    def read() -> None:
        tries.append(1)
        raise error

    with pytest.raises(RemoteError):
        reading(system, read, Deadline(system.clock))
    assert len(tries) == 1


def test_a_read_that_works_again_returns() -> None:
    """Some failures, then an answer; the server's own wish for a pause is honoured."""
    system = jumping_system(3)
    before = system.clock.monotonic()
    answers = [RemoteError("server-error", "busy", transient=True, retry_after_s=17.0), failing(), None]

    def read() -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "here"

    assert reading(system, read, Deadline(system.clock)) == "here"
    assert 17.0 <= system.clock.monotonic() - before < PATIENCE_S
