"""A signal that comes when the change is in the branch already does not turn the landing into a failure."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import pytest

from gitref_lock.core.refs import SwapOutcome
from gitref_lock.errors import Interrupted
from gitref_lock.runtime.errand import Landed
from tests.group.memory import Hub

_ROOM = "/gitref_lock/runtime/"


class Strike:
    """Raises a signal at the n-th line that the runtime runs after the first swap was applied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: Any, at: int) -> None:
        """Watch ``store``."""
        self.left, self.is_armed, self.struck = at, False, ""
        original = type(store).swap

        def swap(this: Any, *arguments: Any, **options: Any) -> SwapOutcome:
            outcome: SwapOutcome = original(this, *arguments, **options)
            self.is_armed = True
            return outcome

        monkeypatch.setattr(type(store), "swap", swap)

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        """Follow every frame of the runtime."""
        if _ROOM not in frame.f_code.co_filename:
            return None
        if event == "line" and self.is_armed and not self.struck:
            self.left -= 1
            if self.left < 0:
                self.struck = f"{frame.f_code.co_name}:{frame.f_lineno}"
                raise Interrupted(signal.SIGTERM)
        return self.trace


def struck_push(monkeypatch: pytest.MonkeyPatch, at: int) -> tuple[Landed | None, bool, str]:
    """Push with a signal at that line; return what came of it, whether it is in the branch, and where it struck."""
    hub = Hub.open()
    runner = hub.runner("runner")
    pusher = runner.pusher(runner.line())
    with monkeypatch.context() as patch:
        strike = Strike(patch, pusher.errand.remote.store, at)
        former = sys.gettrace()
        sys.settrace(strike.trace)
        try:
            landed: Landed | None = pusher.run()
        except Interrupted:
            landed = pusher.errand.proved()  # as the push of a clone asks, which then moves the clone
        finally:
            sys.settrace(former)
    return landed, "runner" in hub.subjects(), strike.struck


def test_a_signal_at_any_step_after_the_swap_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the reply of the server to the return of the push, no step loses what the reply said."""
    count, failures = 0, []
    while True:
        landed, is_there, where = struck_push(monkeypatch, count)
        assert is_there
        if not where:
            break
        if landed is None:
            failures.append(where)
        count += 1
    assert count > 10
    assert failures == []
