"""Signals at chosen moments, and what must be true of the processes that were there."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gitref_lock.errors import Interrupted


@contextmanager
def interrupts() -> Iterator[None]:
    """Have the first SIGTERM raise Interrupted and later ones do nothing, as in the command line."""
    seen: list[int] = []

    def arrived(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            raise Interrupted(number)

    former = signal.signal(signal.SIGTERM, arrived)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def interrupted_when(ready: Callable[[], bool]) -> Iterator[None]:
    """Send this process SIGTERM once ``ready``; the block must end by it."""
    main = threading.get_ident()

    def watch() -> None:
        if happens(ready):
            signal.pthread_kill(main, signal.SIGTERM)

    thread = threading.Thread(target=watch)
    with interrupts():
        thread.start()
        try:
            yield
        except Interrupted:
            return
        finally:
            thread.join()
    raise AssertionError("no signal has ended the block")


def struck_at_start(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Send SIGTERM as soon as a child is started; return the children."""
    started: list[subprocess.Popen[bytes]] = []

    class Struck(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Struck)
    return started


def happens(condition: Callable[[], bool]) -> bool:
    """Wait until something is so; False when it is not within 30 s."""
    deadline_s = time.monotonic() + 30.0
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        os.sched_yield()
    return True


def is_gone(pid: int) -> bool:
    """Tell whether a process does not exist, or only waits to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state.rpartition(")")[2].split()[0] in {"Z", "X"}


def written(path: Path) -> bool:
    """Tell whether a file holds a whole line."""
    return path.exists() and path.read_bytes().endswith(b"\n")
