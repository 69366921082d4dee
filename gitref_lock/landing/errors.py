"""What can stop a landing on this machine, before or after the remote is asked.

    LandingError                  code, message, hint
    |-- NotARepositoryError       no repository here, or one without a work tree
    |-- UnsafeRepositoryError     owned by somebody else and not in safe.directory
    |-- UnsupportedRepositoryError  a format that cannot be pushed from here (SHA-256, unknown extensions)
    |-- CheckoutBusyError         another landing runs in this work tree, or a journal waits for an answer
    |-- UnfinishedOperationError  a merge, rebase, cherry-pick, revert, bisect or am, or unmerged paths
    |-- PathspecError             a PATH that matches nothing, is ignored, lies outside, or cannot be read
    |-- StagingError              content that cannot be staged exactly as `git add` would, with the reason
    |-- HookError                 a commit hook refused
    |-- IdentityError             no author or committer can be found
    `-- SigningError              commit.gpgSign is set and the signing program failed

``code`` is a stable word for scripts, ``message`` says what was expected and found, ``hint`` what to try next.
"""

from __future__ import annotations


class LandingError(Exception):
    """A landing cannot go on; nothing visible in the clone was changed."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        """Keep the fields; the text is the message."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class NotARepositoryError(LandingError):
    """There is no git repository with a work tree here."""


class UnsafeRepositoryError(LandingError):
    """The repository belongs to another user and safe.directory does not name it (git-config(1))."""


class UnsupportedRepositoryError(LandingError):
    """The repository uses a format that cannot be handled here."""


class CheckoutBusyError(LandingError):
    """Another landing is under way in this work tree."""


class UnfinishedOperationError(LandingError):
    """A merge, rebase or similar is half done, or the index holds unmerged paths."""


class PathspecError(LandingError):
    """A PATH argument cannot be honoured."""


class StagingError(LandingError):
    """Something cannot be staged exactly as `git add` would do it."""


class HookError(LandingError):
    """A commit hook failed."""


class IdentityError(LandingError):
    """No usable name or email for author or committer."""


class SigningError(LandingError):
    """The commit should be signed and could not be."""
