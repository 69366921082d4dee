"""``gitref-lock`` as it is, except that it may kill itself at one named step of its work in the clone.

The step is named in the environment. The process notes that it was struck, then sends itself SIGKILL: nothing of it
runs any more, no handler, no exit function.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

STEP = "TORTURE_STEP"
JOB = "TORTURE_JOB"
PROCESS = "TORTURE_PID"


def strike() -> None:
    """Note the blow and die."""
    (Path(os.environ[JOB]) / "hit").touch()
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def _around(module: ModuleType | type, name: str, before: str, after: str) -> Callable[[str], None]:
    """Return what arms one function: it strikes before the function does anything, or when all of it is done."""

    def arm(step: str) -> None:
        real: Callable[..., Any] = getattr(module, name)

        def struck(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - stands for any function
            if step == before:
                strike()
            result = real(*arguments, **named)
            if step == after:
                strike()
            return result

        setattr(module, name, struck)

    return arm


def arm(step: str) -> None:
    """Let this process die at ``step``."""
    from gitref_lock.landing import local_move
    from gitref_lock.pushing import clone
    from gitref_lock.runtime import leasefile, recovery

    def at(name: str) -> None:
        if name == step:
            strike()

    for module, name in ((clone, "apply_move"), (clone, "recover"), (recovery, "recover")):
        setattr(module, name, partial(getattr(module, name), step=at))
    memory = leasefile.Memory
    for armed in (
        _around(clone, "write_journal", "write-journal", "journal-written"),
        _around(local_move, "discard_journal", "discard-journal", ""),
        _around(memory, "write", "write-lease", "lease-written"),
        _around(memory, "forget", "forget-lease", ""),
    ):
        armed(step)


def main() -> int:
    """Run the command line."""
    os.environ[PROCESS] = str(os.getpid())
    if STEP in os.environ:
        arm(os.environ[STEP])
    from gitref_lock.__main__ import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
