"""Git's own lock on the index, held while the local clone moves.

The lock file is a hard link to a file of this tool, so that after a kill the next command can tell its own stale lock
from one that a running git holds (lockfile protocol: create ``index.lock`` exclusively, rename it over ``index``).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.hardening import INDEX, hardened
from gitref_lock.landing.index_patch import write_new

_PREFIX = "index-"


class IndexHeldError(Exception):
    """Another program holds index.lock."""


class IndexLock:
    """One hold of the index. ``commit`` or ``abort`` ends it."""

    def __init__(self, checkout: Checkout, nonce: str) -> None:
        """Prepare; ``nonce`` makes the private file's name unique."""
        self._index = Path(os.path.realpath(checkout.index_path))
        self._lock = self._index.with_name(self._index.name + ".lock")
        self._own = checkout.private_dir / (_PREFIX + nonce)
        self._is_hardened = INDEX in hardened(checkout.config)

    def acquire(self) -> None:
        """Take the lock; raise IndexHeldError, or OSError when the disk refuses."""
        mode = 0o666
        if self._index.exists():
            mode = stat.S_IMODE(self._index.stat().st_mode)
        self._own.unlink(missing_ok=True)
        os.close(os.open(self._own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        try:
            self._link()
        except FileExistsError as error:
            self._own.unlink()
            raise IndexHeldError(f"{self._lock} exists") from error

    def _link(self) -> None:
        try:
            os.link(self._own, self._lock)
        except FileExistsError:
            raise
        except OSError:
            # no hard links here: an exclusive create is the same lock, only not recognisable after a kill
            os.close(os.open(self._lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))

    def write(self, data: bytes) -> None:
        """Fill the lock file with the next index."""
        with self._lock.open("r+b") as file:
            file.write(data)
            file.truncate()
            if self._is_hardened:
                file.flush()
                os.fsync(file.fileno())

    def rewrite(self, data: bytes) -> None:
        """Replace the lock file's content in one step; raise OSError and keep the first content when that fails."""
        second, name = self._own.with_name(self._own.name + "-2"), self._own.with_name(self._own.name + "-3")
        try:
            for path in (second, name):
                path.unlink(missing_ok=True)
            write_new(second, data, is_hardened=self._is_hardened)
            second.chmod(stat.S_IMODE(self._lock.stat().st_mode))
            os.link(second, name)  # so that the lock still has a private name by which it is known after a kill
            name.replace(self._lock)
        except OSError:
            for path in (second, name):
                path.unlink(missing_ok=True)
            raise

    def commit(self, date_ns: int) -> None:
        """Date the lock file, in nanoseconds, and put it in the index's place."""
        os.utime(self._lock, ns=(date_ns, date_ns))
        self._lock.replace(self._index)
        self._forget()

    def _forget(self) -> None:
        for suffix in ("", "-2", "-3"):
            self._own.with_name(self._own.name + suffix).unlink(missing_ok=True)

    def abort(self) -> None:
        """Give the lock up and leave the index as it is."""
        self._lock.unlink(missing_ok=True)
        self._forget()


def remove_stale(checkout: Checkout) -> bool:
    """Remove a lock that a killed command of this tool left behind; tell whether there was one.

    Call only while holding ``Checkout.exclusive``: nobody else of this tool can own such a lock then.
    """
    index = Path(os.path.realpath(checkout.index_path))
    lock = index.with_name(index.name + ".lock")
    found = False
    for own in checkout.private_dir.glob(_PREFIX + "*"):
        try:
            if lock.samefile(own):
                lock.unlink()
                found = True
        except FileNotFoundError:
            pass
        own.unlink(missing_ok=True)
    return found
