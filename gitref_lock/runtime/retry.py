"""Trying again, with our clock, our randomness and our sleep: the only module that uses tenacity.

tenacity's own stops and jitters read the real clock and the global random generator even when sleep is injected, so
every one of them is replaced here. It is imported when a second try is needed, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gitref_lock.core.lean import dataclass
from gitref_lock.ports import ObjectsGoneError, RemoteError, System
from gitref_lock.runtime.deadline import Deadline

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

PATIENCE_S = 60.0
_LARGEST_EXPONENT = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """How pauses grow between tries: from ``base_s`` by ``factor`` up to ``cap_s``, for ``budget_s`` in all.

    ``jitter``, 0 to 1, is the part of a pause that is random.
    """

    base_s: float = 0.25
    factor: float = 2.0
    cap_s: float = 8.0
    jitter: float = 0.75
    budget_s: float = PATIENCE_S

    def pause_s(self, system: System, attempt: int) -> float:
        """Return the pause before try number ``attempt`` + 1."""
        full = min(self.cap_s, self.base_s * self.factor ** min(attempt, _LARGEST_EXPONENT))
        return system.entropy.uniform(full * (1 - self.jitter), full)


DEFAULT_BACKOFF = Backoff()


class NotYet(Exception):  # noqa: N818 - no error: the attempt asks for another one
    """An attempt that did not succeed yet; try again after ``pace_s`` seconds."""

    def __init__(self, pace_s: float) -> None:
        """Keep the pace."""
        super().__init__(f"again in {pace_s:.2f} s")
        self.pace_s = pace_s


def poll(system: System, attempt: Callable[[], T], deadline: Deadline) -> T:
    """Call ``attempt`` until it returns, pausing as each NotYet says; raise the last NotYet once the time is up."""
    try:
        return attempt()
    except NotYet as first:
        if deadline.is_over:
            raise
        _pause(system, first.pace_s, deadline)
    from tenacity import Retrying, retry_if_exception_type

    def pause_after(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        pace = failure.pace_s if isinstance(failure, NotYet) else 0.0
        return deadline.capped(pace) or 0.0

    return Retrying(
        retry=retry_if_exception_type(NotYet),
        stop=lambda _: deadline.is_over,
        wait=pause_after,
        sleep=system.sleeper.sleep,
        reraise=True,
    )(attempt)


def _pause(system: System, pace_s: float, deadline: Deadline) -> None:
    system.sleeper.sleep(deadline.capped(pace_s) or 0.0)


def reading(
    system: System,
    read: Callable[[], T],
    deadline: Deadline,
    *,
    backoff: Backoff = DEFAULT_BACKOFF,
    patience_s: float | None = None,
) -> T:
    """Call ``read``; on a transient RemoteError try again, as ``backoff`` says and within the deadline.

    ``patience_s`` shortens the backoff's budget, which counts from the first failure: a process that was stopped for a
    minute inside one read tries again.
    """
    failed = 0

    def once() -> T:
        nonlocal failed
        try:
            return read()
        except RemoteError as error:
            if not error.transient or isinstance(error, ObjectsGoneError):
                raise  # what is gone stays gone: only another listing can help
            failed += 1
            raise NotYet(error.retry_after_s or backoff.pause_s(system, failed)) from error

    try:
        return once()
    except NotYet as first:
        if deadline.is_over:
            raise (first.__cause__ or first) from None
        budget_s = backoff.budget_s if patience_s is None else min(patience_s, backoff.budget_s)
        patience = deadline.earlier(Deadline.after(system, budget_s))
        _pause(system, first.pace_s, patience)
    try:
        return poll(system, once, patience)
    except NotYet as last:
        raise (last.__cause__ or last) from None
