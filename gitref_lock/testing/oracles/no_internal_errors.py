"""Whatever the remote does, a runner ends with a result or an error of the package, never with one of Python's."""

from __future__ import annotations

from gitref_lock.testing.sim_history import History


def violations(history: History) -> list[str]:
    """Return the errors that ended a process."""
    return list(history.oddities)
