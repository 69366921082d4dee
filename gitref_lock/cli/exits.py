"""From every error to its exit code: total, so that no failure ever looks like another one, or like success.

Codes 126, 127, 128+n and others are a wrapped command's own. Unknown codes mean failure.
"""

from __future__ import annotations

from gitref_lock.cli.output import ReaderGoneError
from gitref_lock.core.names import InvalidNameError
from gitref_lock.core.timing import TimingError
from gitref_lock.errors import (
    ConfigurationError,
    ConflictError,
    GitrefLockError,
    HeldByAnotherError,
    Interrupted,
    LeaseLostError,
    NotAcquiredError,
    NotHeldError,
    OutcomeUnknownError,
    PolicyError,
    UsageError,
)
from gitref_lock.ports import RemoteError

DONE = 0
UNEXPECTED = 1
USAGE = 2
CONFIGURATION = 3
NOT_ACQUIRED = 4
HELD_BY_ANOTHER = 5
LEASE_LOST = 6
CONFLICT = 7
POLICY = 8
OUTCOME_UNKNOWN = 9
BROKEN_PIPE = 141
INTERRUPTED_BY_KEYBOARD = 130

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (UsageError, USAGE),
    (ConfigurationError, CONFIGURATION),
    (NotAcquiredError, NOT_ACQUIRED),
    (HeldByAnotherError, HELD_BY_ANOTHER),
    (LeaseLostError, LEASE_LOST),
    (NotHeldError, LEASE_LOST),
    (ConflictError, CONFLICT),
    (PolicyError, POLICY),
    (OutcomeUnknownError, OUTCOME_UNKNOWN),
    (GitrefLockError, UNEXPECTED),
    (RemoteError, CONFIGURATION),
    (InvalidNameError, USAGE),
    (TimingError, USAGE),
    (ReaderGoneError, BROKEN_PIPE),
    (KeyboardInterrupt, INTERRUPTED_BY_KEYBOARD),
)


class Leave(Exception):  # noqa: N818 - an end, not an error: all has been said already
    """Ends the command with ``code``."""

    def __init__(self, code: int) -> None:
        """Keep the exit code."""
        super().__init__(code)
        self.code = code


def exit_code(error: BaseException) -> int:
    """Return the exit code of any error; 1 for what nobody foresaw."""
    if isinstance(error, Interrupted):
        return 128 + error.signum
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)
