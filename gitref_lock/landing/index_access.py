"""The index during a move: read it, know an entry, write a few entries; in-process, or through git where only git can.

A split or sparse index is left to ``git update-index``, which takes the same lock by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.dating import date_ns
from gitref_lock.landing.index_file import (
    ASSUME_VALID,
    EXTENDED,
    INTENT_TO_ADD,
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

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_EMPTY_BLOB = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
_SWITCHES = ("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS")


def without_pathspec_switches(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what changes the meaning of pathspecs (git(1)): for commands whose paths are ours."""
    return {name: value for name, value in environ.items() if name not in _SWITCHES}


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
        listing = self._git("ls-files", "-z", "-v", "--stage", "--full-name", ":/")
        for line in listing.split(b"\0"):
            if not line:
                continue
            facts, _, path = line.partition(b"\t")
            tag, mode, oid, stage = facts.split(b" ")
            extended = SKIP_WORKTREE if tag in {b"S", b"s"} else 0
            flags = int(stage) << 12 | (ASSUME_VALID if tag.islower() else 0)
            self._entries.setdefault(path, _entry(path, int(mode, 8), oid, flags, extended))
        self._note_intentions()

    def _note_intentions(self) -> None:
        """Mark what ``git add -N`` made; ``git ls-files`` shows such an entry like a file that is empty."""
        empty = [entry for entry in self._entries.values() if entry.oid == _EMPTY_BLOB]
        if not empty:
            return
        listing = self._git(
            "diff-index", "--cached", "--ita-invisible-in-index", "--name-only", "-z", "--no-renames", EMPTY_TREE
        )
        real = set(listing.split(b"\0"))
        for entry in empty:
            if entry.path not in real:
                extended = entry.extended | INTENT_TO_ADD
                self._entries[entry.path] = _entry(entry.path, entry.mode, entry.oid, entry.flags, extended)

    def _git(self, *arguments: str, stdin: bytes = b"", fails_with: int = 0) -> bytes:
        """Run git; ``fails_with`` is an exit code that is no failure."""
        try:
            done = children.run(
                ["git", *arguments],
                folder=self._checkout.work_tree,
                environ=without_pathspec_switches(self._checkout.environ),
                stdin=stdin,
            )
        except OSError as error:
            raise UnreadableIndexError(f"this index needs git, which cannot be run: {error.strerror}") from error
        if done.returncode not in {0, fails_with}:
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
        entries = [entry for entry in self._edits.values() if entry is not None]
        self._mark("--skip-worktree", [entry.path for entry in entries if entry.is_skip_worktree])
        self._mark("--assume-unchanged", [entry.path for entry in entries if entry.is_assumed_valid])
        with suppress(UnreadableIndexError, IndexHeldError):
            self._git("update-index", "-q", "--refresh", fails_with=1)  # it exits so where a file was edited

    def _mark(self, option: str, paths: Sequence[bytes]) -> None:
        if paths:
            self._git("update-index", "-z", option, "--stdin", stdin=b"\0".join(paths) + b"\0")

    def abort(self) -> None:
        """Nothing is held."""


def _entry(path: bytes, mode: int, oid: bytes, flags: int, extended: int) -> Entry:
    return Entry(path, mode, oid, UNKNOWN_STAT, flags | (EXTENDED if extended else 0), extended)


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
