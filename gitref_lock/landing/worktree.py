"""The work tree seen with git's eyes: never through a symlinked folder, always as bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class WorkTree:
    """Read access to the files of one checkout. Answers about folders are remembered; make a new one after writing."""

    def __init__(self, root: Path) -> None:
        """Look at the folder ``root``."""
        self.root = os.fsencode(root)
        self._folders: dict[bytes, bool] = {b"": True}

    def full(self, path: bytes) -> bytes:
        """Return the absolute path."""
        return self.root + b"/" + path if path else self.root

    def is_real_folder(self, folder: bytes) -> bool:
        """Tell whether ``folder`` and all its parents are folders and no symlinks."""
        known = self._folders.get(folder)
        if known is None:
            parent = folder.rpartition(b"/")[0]
            known = self.is_real_folder(parent)
            if known:
                try:
                    known = stat.S_ISDIR(os.lstat(self.full(folder)).st_mode)
                except OSError:
                    known = False
            self._folders[folder] = known
        return known

    def lstat(self, path: bytes) -> os.stat_result | None:
        """Return the file's status; None when it is absent or lies beyond a symlink or a file."""
        if not self.is_real_folder(path.rpartition(b"/")[0]):
            return None
        try:
            return os.lstat(self.root + b"/" + path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def symlink_above(self, path: bytes) -> bytes | None:
        """Return the first parent of ``path`` that is a symlink."""
        parts = path.split(b"/")
        for depth in range(1, len(parts)):
            folder = b"/".join(parts[:depth])
            try:
                if stat.S_ISLNK(os.lstat(self.full(folder)).st_mode):
                    return folder
            except OSError:
                return None
        return None

    def read(self, path: bytes, st: os.stat_result) -> bytes:
        """Return a file's content, or a symlink's target; raise OSError."""
        if stat.S_ISLNK(st.st_mode):
            return os.readlink(self.full(path))  # noqa: PTH115 - paths are bytes
        descriptor = os.open(self.full(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            return file.read()


def is_repository(folder: bytes) -> bool:
    """Tell whether ``folder`` is the work tree of another repository."""
    marker = folder + b"/.git"
    try:
        mode = os.lstat(marker).st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        return os.path.lexists(marker + b"/HEAD")
    return stat.S_ISREG(mode)
