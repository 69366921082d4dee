"""Finds the processes of a round by a mark in their environment, whoever their parent is by now (Linux: /proc)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from scripts.torturelib.world import MARK

_PROC = Path("/proc")
_LOOK_EVERY_S = 0.25


def left_of(folder: Path) -> dict[int, str]:
    """Return every live process of the round: its number and its command line."""
    mark = f"{MARK}={folder}".encode()
    found = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile, or belongs to somebody else
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(entry.name)] = words.strip()
    return found


def await_end(folder: Path, patience_s: float) -> dict[int, str]:
    """Wait until no process of the round is left; return, and kill, those that are still there at last."""
    until = time.monotonic() + patience_s
    while (left := left_of(folder)) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    for number in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return left
