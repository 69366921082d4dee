"""A signal between the landing and the end of the push: the landing is reported, and the clone follows."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gitref_lock.core.refs import SwapOutcome
from gitref_lock.errors import Interrupted
from gitref_lock.pushing.report import PushReport
from tests.support.ci import assert_sound, land, write
from tests.support.gitcli import Repo, clone
from tests.support.runners import remote_at, tip_at

_ROOMS = ("/gitref_lock/runtime/", "/gitref_lock/pushing/", "/gitref_lock/landing/")
_STRIKES = 20


class Strike:
    """Raises a signal at the n-th line that the package runs after the landing was applied; counts them otherwise."""

    def __init__(self, at: int | None) -> None:
        """Strike at line ``at``, never where it is None."""
        self.at, self.lines, self.is_armed, self.is_done = at, 0, False, False

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        """Follow every frame of the rooms that land and move."""
        if not any(room in frame.f_code.co_filename for room in _ROOMS) or self.is_done:
            return None
        if event == "line" and self.is_armed:
            if self.lines == self.at:
                self.is_done = True
                raise Interrupted(signal.SIGTERM)
            self.lines += 1
        return self.trace

    def push(self, monkeypatch: pytest.MonkeyPatch, folder: Repo, url: str) -> PushReport:
        """Push the file of the clone."""
        remote = remote_at(url)
        original = type(remote.store).swap

        def swap(this: Any, *arguments: Any, **options: Any) -> SwapOutcome:
            outcome: SwapOutcome = original(this, *arguments, **options)
            self.is_armed = True
            return outcome

        former = sys.gettrace()
        with monkeypatch.context() as patch:
            patch.setattr(type(remote.store), "swap", swap)
            sys.settrace(self.trace)
            try:
                return land(folder, url, "mine.txt", remote=remote)
            finally:
                sys.settrace(former)


# A signal between the opening of a file and the step that would close it leaves the closing to the interpreter.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_after_the_landing_does_not_make_it_a_failure(
    bare: Repo, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it strikes, the push returns its report, and branch, index and files stand at what was landed."""
    folder = clone(url, tmp_path / "c")
    write(folder, {"mine.txt": "creates the lock\n"})
    Strike(None).push(monkeypatch, folder, url)
    write(folder, {"mine.txt": "counted\n"})
    whole = Strike(None)
    whole.push(monkeypatch, folder, url)
    assert whole.lines > 200
    struck = 0
    for number in range(_STRIKES):
        write(folder, {"mine.txt": f"{number}\n"})
        strike = Strike(number * whole.lines * 9 // (10 * _STRIKES))
        report = strike.push(monkeypatch, folder, url)
        struck += strike.is_done
        assert report.landed is not None
        assert folder.git("rev-parse", "HEAD") == tip_at(bare) == report.landed.head
        assert folder.git("status", "--porcelain") == ""
        assert_sound(folder)
    assert struck > _STRIKES // 2  # how many lines a push takes depends on the second in which files were written
