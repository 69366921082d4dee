"""Every error that leaves this package, and what each one means to a script.

::

    GitrefLockError                 exit   meaning
    |-- UsageError                     2   wrong words on the command line or in a call
    |-- ConfigurationError             3   configuration, authentication, or a remote that cannot be used
    |-- NotAcquiredError               4   not acquired within the wait, or the wait was superseded
    |-- HeldByAnotherError             5   the lock is somebody else's; nothing was changed
    |-- LeaseLostError                 6   my lease ended while it was needed
    |-- NotHeldError                   6   nothing of mine to renew or release
    |-- ConflictError                  7   a conflict that no rule resolves; nothing landed
    |-- PolicyError                    8   the server's policy refused, or the branch is gone
    `-- OutcomeUnknownError            9   it may or may not have happened; the hint finds out
        `-- BreachedError              9   the server applied a part of an atomic swap

    Interrupted (BaseException)    128+n   a signal ended the wait; nothing of ours is left behind

Each carries ``code`` (a stable word for scripts), ``message`` (what was expected and what was found), ``hint`` (the
next command to try, or '') and ``fields`` (structured details, JSON values).
"""

from __future__ import annotations

from collections.abc import Mapping


class GitrefLockError(Exception):
    """Base of every error of this package."""

    code = "error"

    def __init__(
        self, message: str, *, code: str | None = None, hint: str = "", fields: Mapping[str, object] | None = None
    ) -> None:
        """Keep the parts; the text is the message."""
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = hint
        self.fields: Mapping[str, object] = fields or {}


class UsageError(GitrefLockError):
    """Wrong words on the command line or in a call."""

    code = "usage"


class ConfigurationError(GitrefLockError):
    """Configuration, authentication, or a remote that cannot be used."""

    code = "configuration"


class NotAcquiredError(GitrefLockError):
    """The lock was not acquired within the wait, or a newer run superseded this one."""

    code = "lock-timeout"


class HeldByAnotherError(GitrefLockError):
    """The lock is somebody else's; nothing was changed."""

    code = "held-by-another"


class LeaseLostError(GitrefLockError):
    """The lease ended while it was needed."""

    code = "lease-lost"


class NotHeldError(GitrefLockError):
    """There is nothing of mine to renew or release."""

    code = "not-held"


class ConflictError(GitrefLockError):
    """A conflict that no rule resolves; nothing landed."""

    code = "conflict"


class PolicyError(GitrefLockError):
    """The server's policy refused, or the branch is gone."""

    code = "refused"


class OutcomeUnknownError(GitrefLockError):
    """A write may or may not have happened, and neither could be shown; the hint is the command that finds out."""

    code = "outcome-unknown"


class BreachedError(OutcomeUnknownError):
    """The server applied a part of an atomic swap; ``fields`` say which refs moved."""

    code = "breached"


class Interrupted(BaseException):
    """A signal asked this process to end. Not an Exception, so that no handler of errors swallows it."""

    def __init__(self, signum: int) -> None:
        """Keep the signal's number."""
        super().__init__(f"signal {signum}")
        self.signum = signum


Stop = Interrupted | KeyboardInterrupt
"""What asks to end: a signal that the command line took, or Python's own answer to SIGINT in a program."""

STOPS = (Interrupted, KeyboardInterrupt)
