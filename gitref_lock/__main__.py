"""``gitref-lock`` and ``python -m gitref_lock``."""

from __future__ import annotations

import gc
import os
import sys

_GARBAGE_THRESHOLD = 50_000
"""Allocations before a collection: what start-up allocates stays, and looking through it again and again takes time."""


def main() -> int:
    """Run the command line and end the process; return the exit code where the interpreter must end it itself.

    Asking for the version imports nothing else, unless it cannot be written.
    """
    _stand_in_for_closed_streams()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    if sys.argv[1:] == ["--version"]:
        from gitref_lock import __version__

        try:
            sys.stdout.write(f"gitref-lock {__version__}\n")
            sys.stdout.flush()
        except OSError:
            pass
        else:
            return _left(0)
    from gitref_lock.cli.app import main as run

    return _left(run())


def _stand_in_for_closed_streams() -> None:
    """Open the null device on every standard descriptor that is closed, before a socket or a file takes its number.

    What we write for people would go there, and the interpreter has no stream for it. A wrapped command still finds
    the descriptor closed: no program that we start inherits the null device.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - a descriptor, not a path, open to the end
            setattr(sys, name, stream)


def _left(code: int) -> int:
    """End the process without taking the interpreter apart, which takes longer than some commands' own work.

    A command has closed what it opened by now. Return where somebody still counts on an orderly end: another thread, a
    tracer or coverage, or a reader of our output that has left.
    """
    threading = sys.modules.get("threading")
    if (threading is not None and threading.active_count() > 1) or sys.gettrace() or "coverage" in sys.modules:
        return code
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return code
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
