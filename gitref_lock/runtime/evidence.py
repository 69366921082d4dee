"""What a waiter knows about whether a holder still lives, beyond what the lease says.

An answer costs a request to somebody else's service, so only those who are served next ask, and only now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState
from gitref_lock.core.names import LockName, Oid
from gitref_lock.core.record import LockRecord
from gitref_lock.ports import Clock

EVERY_S = 30.0
ASKING_PLACES = 3

Evidence = Callable[[LockName, LockRecord], str | None]
"""Asked about a holder while waiting; returns the evidence that its run has ended, or None."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was said about the holder at ``tip``; ``why`` '' says nothing, and is asked again later."""

    tip: Oid
    why: str
    asked_s: float


@dataclass(slots=True)
class Inquest:
    """Asks ``evidence`` about holders; without one it knows nothing. ``spent_s``: how long asking has taken so far."""

    evidence: Evidence | None = None
    clock: Clock | None = None
    spent_s: float = 0.0
    _answers: dict[LockName, _Answer] = field(default_factory=dict)

    def why(self, name: LockName, state: LockState, place: int) -> str | None:
        """Return why the holder is known to have ended, asking if it is time; ``place`` counts from 0."""
        if self.evidence is None or self.clock is None or not isinstance(state.record, LockRecord):
            return None
        last = self._answers.get(name)
        now_s = self.clock.monotonic()
        is_due = last is None or (last.tip != state.tip if last.why else now_s - last.asked_s >= EVERY_S)
        if is_due and place < ASKING_PLACES:
            why = self.evidence(name, state.record) or ""
            answered_s = self.clock.monotonic()
            self._answers[name] = _Answer(state.tip, why, answered_s)
            self.spent_s += answered_s - now_s
        return self.known(name, state)

    def known(self, name: LockName, state: LockState | None) -> str | None:
        """Return what is known about the holder at this state, without asking."""
        last = self._answers.get(name)
        return last.why or None if last is not None and state is not None and last.tip == state.tip else None
