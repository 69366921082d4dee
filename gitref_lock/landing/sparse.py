"""Which files a sparse checkout keeps in the work tree (git-sparse-checkout(1))."""

from __future__ import annotations

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.patterns import PathPattern, last_match, pattern_lines


class SparseRules:
    """The rules of one work tree; without a sparse checkout everything is included."""

    def __init__(self, checkout: Checkout) -> None:
        """Read ``info/sparse-checkout``."""
        self._patterns: tuple[PathPattern, ...] | None = None
        if checkout.flag("core", "sparseCheckout", default=False):
            path = checkout.git_dir / "info" / "sparse-checkout"
            if path.is_file():
                self._patterns = pattern_lines(path.read_bytes(), b"")

    def includes(self, path: bytes) -> bool:
        """Tell whether a file at ``path`` belongs into the work tree: the deepest rule that says anything decides."""
        if self._patterns is None:
            return True
        subject, is_folder = path, False
        while subject:
            found = last_match(self._patterns, subject, is_folder=is_folder)
            if found is not None:
                return not found.is_negative
            subject, is_folder = subject.rpartition(b"/")[0], True
        return False
