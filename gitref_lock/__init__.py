"""Compare-and-swap locks and fenced pushes for CI runners, through the git remote they already share.

Promised: through ``push`` a branch moves only in the same atomic transaction that proves, at the server, that the lock
was free or ours; a change lands exactly once or not at all; nothing that landed is ever lost; leases exclude each other
as far as their timing rules hold. Not promised: anything towards programs that do not use the lock, unless the server
enforces it; and outside ``push`` a protected resource should check the fencing token (``lease.generation``).

The names load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gitref_lock.errors import BreachedError as BreachedError
    from gitref_lock.errors import ConfigurationError as ConfigurationError
    from gitref_lock.errors import ConflictError as ConflictError
    from gitref_lock.errors import GitrefLockError as GitrefLockError
    from gitref_lock.errors import HeldByAnotherError as HeldByAnotherError
    from gitref_lock.errors import LeaseLostError as LeaseLostError
    from gitref_lock.errors import NotAcquiredError as NotAcquiredError
    from gitref_lock.errors import NotHeldError as NotHeldError
    from gitref_lock.errors import OutcomeUnknownError as OutcomeUnknownError
    from gitref_lock.errors import PolicyError as PolicyError
    from gitref_lock.errors import UsageError as UsageError
    from gitref_lock.library import Lock as Lock
    from gitref_lock.pushing import PushOptions as PushOptions
    from gitref_lock.pushing import PushReport as PushReport
    from gitref_lock.pushing.push import push as push
    from gitref_lock.runtime.lease import Lease as Lease

_HOMES = {
    "Lock": "gitref_lock.library",
    "Lease": "gitref_lock.runtime.lease",
    "push": "gitref_lock.pushing",
    "PushOptions": "gitref_lock.pushing",
    "PushReport": "gitref_lock.pushing",
    **dict.fromkeys(
        (
            "GitrefLockError",
            "UsageError",
            "ConfigurationError",
            "NotAcquiredError",
            "HeldByAnotherError",
            "LeaseLostError",
            "NotHeldError",
            "ConflictError",
            "PolicyError",
            "OutcomeUnknownError",
            "BreachedError",
        ),
        "gitref_lock.errors",
    ),
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - names of the table above


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_HOMES})
