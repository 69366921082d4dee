"""What can stop a landing on this machine, before or after the remote is asked.

::

    LandingError                       an exit code by its second base
    |-- NotARepositoryError        3   no repository here, or one without a work tree
    |-- UnsafeRepositoryError      3   owned by somebody else and not in safe.directory
    |-- UnsupportedRepositoryError 3   a format that cannot be pushed from here (SHA-256, unknown extensions)
    |-- CheckoutBusyError          3   another landing runs in this work tree
    |-- UnfinishedOperationError   3   a merge, rebase, cherry-pick, revert or am, or unmerged paths
    |-- StagingError               3   content that cannot be staged exactly as `git add` would, with the reason
    |-- IdentityError              3   no author or committer can be found
    |-- SigningError               3   commit.gpgSign is set and the signing program failed
    |-- PathspecError              2   a PATH that matches nothing, is ignored, lies outside, or cannot be read
    `-- HookError                  8   a commit hook refused

``code`` is a stable word for scripts, ``message`` says what was expected and found, ``hint`` what to try next.
"""

from __future__ import annotations

from gitref_lock.errors import ConfigurationError, GitrefLockError, PolicyError, UsageError


class LandingError(GitrefLockError):
    """A landing cannot go on; nothing visible in the clone was changed."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        """Keep the fields; the text is the message."""
        super().__init__(message, code=code, hint=hint)


class NotARepositoryError(LandingError, ConfigurationError):
    """There is no git repository with a work tree here."""


class UnsafeRepositoryError(LandingError, ConfigurationError):
    """The repository belongs to another user and safe.directory does not name it (git-config(1))."""


class UnsupportedRepositoryError(LandingError, ConfigurationError):
    """The repository uses a format that cannot be handled here."""


class CheckoutBusyError(LandingError, ConfigurationError):
    """Another landing is under way in this work tree."""


class UnfinishedOperationError(LandingError, ConfigurationError):
    """A merge, rebase or similar is half done, or the index holds unmerged paths."""


class StagingError(LandingError, ConfigurationError):
    """Something cannot be staged exactly as `git add` would do it."""


class IdentityError(LandingError, ConfigurationError):
    """No usable name or email for author or committer."""


class SigningError(LandingError, ConfigurationError):
    """The commit should be signed and could not be."""


class PathspecError(LandingError, UsageError):
    """A PATH argument cannot be honoured."""


class HookError(LandingError, PolicyError):
    """A commit hook failed."""


class NeedsGitError(Exception):
    """A step is exact only when git itself does it; the text says why. Caught where git can be asked, never shown."""
