"""Which untracked files git would not see (gitignore(5))."""

from __future__ import annotations

import os
from pathlib import Path

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.index_file import IndexFile
from gitref_lock.landing.patterns import PathPattern, last_match, pattern_lines
from gitref_lock.landing.worktree import WorkTree
from gitref_lock.remotes.gitconfig import expand_path


def user_file(checkout: Checkout, setting: str, default_name: str) -> Path | None:
    """Return the file that ``core.<setting>`` names, else git's default for it in the user's configuration folder."""
    configured = checkout.setting("core", setting)
    if configured is not None:
        name = expand_path(configured, checkout.environ)
        return checkout.work_tree / name if name else None
    home = checkout.environ.get("XDG_CONFIG_HOME") or os.path.join(checkout.environ.get("HOME", ""), ".config")  # noqa: PTH118
    return Path(home) / "git" / default_name


def read_plain(path: Path | bytes) -> bytes | None:
    """Return a small file's content without following a symlink at its end; None when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read()
    except IsADirectoryError:
        return None


class Ignores:
    """The ignore rules of one checkout, read folder by folder as they are needed."""

    def __init__(self, checkout: Checkout, index: IndexFile, tree: WorkTree) -> None:
        """Read the rules that hold everywhere."""
        self._checkout = checkout
        self._index = index
        self._tree = tree
        patterns: tuple[PathPattern, ...] = ()
        user = user_file(checkout, "excludesFile", "ignore")
        for path in (user, checkout.common_dir / "info" / "exclude"):
            if path is not None and path.is_file():
                patterns += pattern_lines(path.read_bytes(), b"")
        self._everywhere = patterns
        self._own: dict[bytes, tuple[PathPattern, ...]] = {}
        self._folders: dict[bytes, bool] = {b"": False}

    def _own_patterns(self, folder: bytes) -> tuple[PathPattern, ...]:
        known = self._own.get(folder)
        if known is None:
            name = folder + b"/.gitignore" if folder else b".gitignore"
            content = read_plain(self._tree.full(name)) if self._tree.is_real_folder(folder) else None
            if content is None:
                entry = self._index.find(name)
                if entry is not None and entry.is_skip_worktree:
                    content = self._checkout.known_blob(entry.oid)
            known = pattern_lines(content, folder + b"/" if folder else b"") if content else ()
            self._own[folder] = known
        return known

    def is_folder_ignored(self, folder: bytes) -> bool:
        """Tell whether ``folder`` or one of its parents is ignored."""
        known = self._folders.get(folder)
        if known is None:
            known = self.is_ignored(folder, is_folder=True)
            self._folders[folder] = known
        return known

    def is_ignored(self, path: bytes, *, is_folder: bool = False) -> bool:
        """Tell whether an untracked path is ignored, by itself or with a folder above it."""
        parent = path.rpartition(b"/")[0]
        if self.is_folder_ignored(parent):
            return True
        folder = parent
        while True:
            found = last_match(self._own_patterns(folder), path, is_folder=is_folder)
            if found is not None:
                return not found.is_negative
            if not folder:
                break
            folder = folder.rpartition(b"/")[0]
        found = last_match(self._everywhere, path, is_folder=is_folder)
        return found is not None and not found.is_negative
