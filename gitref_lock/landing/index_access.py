"""The index during a move: read it, know an entry, write a few entries; in-process, or through git where only git can.

A split or sparse index is left to ``git update-index``, which takes the same lock by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.dating import date_ns
from gitref_lock.landing.index_file import (
    EXTENDED,
    SKIP_WORKTREE,
    UNKNOWN_STAT,
    Entry,
    IndexFile,
    UnreadableIndexError,
    empty_index,
)
from gitref_lock.landing.index_lock import IndexHeldError, IndexLock
from gitref_lock.landing.index_patch import patched
from gitref_lock.remotes import children


class IndexAccess(Protocol):
    """One hold of the index. Raises IndexHeldError or OSError when it cannot be taken or written."""

    view: IndexFile

    def find(self, path: bytes) -> Entry | None:
        """Return the entry of a path."""
        ...

    def write(self, edits: Mapping[bytes, Entry | None]) -> None:
        """Prepare the next index."""
        ...

    def refresh(self, edits: Mapping[bytes, Entry | None]) -> None:
        """Prepare it again with fresher file status; when that fails what was prepared first stays."""
        ...

    def commit(self) -> None:
        """Make the prepared index the real one."""
        ...

    def abort(self) -> None:
        """Give up; the index stays as it is."""
        ...


class OwnIndex:
    """The index, locked, read and patched in-process."""

    def __init__(self, checkout: Checkout, nonce: str, began_s: int) -> None:
        """Take the lock and read; raise IndexHeldError, UnreadableIndexError or OSError."""
        self._began_s = began_s
        self._lock = IndexLock(checkout, nonce)
        self._lock.acquire()
        self._edits: dict[bytes, Entry | None] = {}
        try:
            self.view = checkout.read_index()
        except BaseException:
            self._lock.abort()
            raise

    def find(self, path: bytes) -> Entry | None:
        """Return the entry of a path."""
        return self.view.find(path)

    def write(self, edits: Mapping[bytes, Entry | None]) -> None:
        """Fill the lock file with the patched index."""
        self._edits = dict(edits)
        self._lock.write(patched(self.view, edits))

    def refresh(self, edits: Mapping[bytes, Entry | None]) -> None:
        """Replace the lock file's content; without room for it the first one will do: git compares more files by it."""
        if self._edits == edits:
            return
        with suppress(OSError):
            self._lock.rewrite(patched(self.view, edits))

    def commit(self) -> None:
        """Rename the lock file over the index."""
        self._lock.commit(date_ns(self.view, self._began_s))

    def abort(self) -> None:
        """Remove the lock file."""
        self._lock.abort()


class GitIndex:
    """An index that only git reads and writes."""

    def __init__(self, checkout: Checkout) -> None:
        """List the entries through git; raise UnreadableIndexError when git cannot."""
        self._checkout = checkout
        self.view = empty_index()
        self._entries: dict[bytes, Entry] = {}
        self._edits: dict[bytes, Entry | None] = {}
        listing = self._git("ls-files", "-z", "-t", "--stage", "--full-name", ":/")
        for line in listing.split(b"\0"):
            if not line:
                continue
            facts, _, path = line.partition(b"\t")
            tag, mode, oid, stage = facts.split(b" ")
            extended = SKIP_WORKTREE if tag in {b"S", b"s"} else 0
            flags = (EXTENDED if extended else 0) | int(stage) << 12
            self._entries.setdefault(path, Entry(path, int(mode, 8), oid, UNKNOWN_STAT, flags, extended))

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        try:
            done = children.run(
                ["git", *arguments], folder=self._checkout.work_tree, environ=self._checkout.environ, stdin=stdin
            )
        except OSError as error:
            raise UnreadableIndexError(f"this index needs git, which cannot be run: {error.strerror}") from error
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()
            if any("index.lock" in line for line in words):
                raise IndexHeldError(words[0])
            raise UnreadableIndexError(" / ".join(words[:3]) or f"git {arguments[0]} failed")
        return done.stdout

    def find(self, path: bytes) -> Entry | None:
        """Return the entry of a path."""
        return self._entries.get(path)

    def write(self, edits: Mapping[bytes, Entry | None]) -> None:
        """Remember the edits."""
        self._edits = dict(edits)

    def refresh(self, edits: Mapping[bytes, Entry | None]) -> None:
        """Do nothing: git notes the file status by itself."""

    def commit(self) -> None:
        """Let git make the edits: removals first, so that a file can give way to a folder."""
        lines = [b"0 " + b"0" * 40 + b"\t" + path for path, entry in self._edits.items() if entry is None]
        for path, entry in self._edits.items():
            if entry is not None:
                lines.append(b"%06o %s\t%s" % (entry.mode, entry.oid, path))
        if not lines:
            return
        self._git("update-index", "-z", "--index-info", stdin=b"\0".join(lines) + b"\0")
        hidden = [path for path, entry in self._edits.items() if entry is not None and entry.is_skip_worktree]
        if hidden:
            self._git("update-index", "-z", "--skip-worktree", "--stdin", stdin=b"\0".join(hidden) + b"\0")

    def abort(self) -> None:
        """Nothing is held."""


def take_index(checkout: Checkout, nonce: str, began_s: int) -> IndexAccess:
    """Return a hold of the index; raise IndexHeldError, UnreadableIndexError or OSError.

    Files may have been looked at since the second ``began_s``.
    """
    try:
        return OwnIndex(checkout, nonce, began_s)
    except UnreadableIndexError:
        lock = checkout.index_path.with_name(checkout.index_path.name + ".lock")
        if os.path.lexists(lock):
            raise IndexHeldError(f"{lock} exists") from None
        return GitIndex(checkout)
