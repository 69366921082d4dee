"""What a move has to do for one path, judged by what really lies in the work tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.objects import Blob
from dulwich.repo import UnsupportedExtension, UnsupportedVersion

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.convert import Converter
from gitref_lock.landing.errors import NeedsGitError, StagingError
from gitref_lock.landing.ignore import Ignores
from gitref_lock.landing.index_file import Entry, IndexFile
from gitref_lock.landing.journal import MovePath
from gitref_lock.landing.opening import TolerantRepo
from gitref_lock.landing.scan import is_unchanged
from gitref_lock.landing.trees import EXECUTABLE, GITLINK, REGULAR, SYMLINK, TreeEntry
from gitref_lock.landing.worktree import WorkTree, is_repository
from gitref_lock.remotes import children


@dataclass(slots=True)
class Task:
    """One path to bring to ``item.new``. ``prepared`` is the finished file, None for a removal or a folder.

    ``st`` is the status of what stands there and may be replaced, None when nothing is known to stand there.
    """

    item: MovePath
    st: os.stat_result | None
    prepared: Path | None = None


Leave = Callable[[MovePath, str], None]
"""Told of each path that must be left alone, with the reason."""


class Comparer:
    """Compare the files of one work tree with what a move expects there."""

    def __init__(self, checkout: Checkout, index: IndexFile, converter: Converter, leave: Leave) -> None:
        """Look at the checkout through its present index and attributes."""
        self._checkout = checkout
        self._index = index
        self._converter = converter
        self._leave = leave
        self._tree = WorkTree(checkout.work_tree)
        self._ignores = Ignores(checkout, index, self._tree)
        self._trusts_mode = checkout.flag("core", "fileMode", default=True)
        self.private: set[bytes] = set()
        """The paths left whose files git was told to keep out of commits."""

    def content_of(self, path: bytes, st: os.stat_result, entry: Entry | None) -> TreeEntry | None:
        """Return mode and blob id that staging the file would give; None when that cannot be told."""
        if entry is not None and is_unchanged(self._index, entry, st):
            return TreeEntry(entry.mode, entry.oid)
        if stat.S_ISDIR(st.st_mode):
            return self._submodule(path)
        mode = self._mode(st, entry)
        try:
            data = self._tree.read(path, st)
            if mode == SYMLINK:
                return TreeEntry(SYMLINK, bytes(Blob.from_string(data).id))
            clean = self._converter.to_git(path, data, entry.oid if entry is not None else None)
        except NeedsGitError:
            return self._content_through_git(path, mode)
        except (OSError, StagingError):
            return None
        return TreeEntry(mode, bytes(Blob.from_string(clean).id))

    def _submodule(self, path: bytes) -> TreeEntry | None:
        """Return the commit that is checked out in a submodule, None for any other folder."""
        full = self._tree.full(path)
        if not is_repository(full):
            return None
        try:
            with TolerantRepo(os.fsdecode(full)) as submodule:
                return TreeEntry(GITLINK, bytes(submodule.head()))
        except (NotGitRepository, UnsupportedVersion, UnsupportedExtension, KeyError, ValueError, OSError):
            return None

    def _mode(self, st: os.stat_result, entry: Entry | None) -> int:
        if stat.S_ISLNK(st.st_mode):
            return SYMLINK
        if not self._trusts_mode:
            return entry.mode if entry is not None else REGULAR
        return EXECUTABLE if st.st_mode & 0o100 else REGULAR

    def _content_through_git(self, path: bytes, mode: int) -> TreeEntry | None:
        try:
            done = children.run(
                ["git", "hash-object", "--", os.fsdecode(path)],
                folder=self._checkout.work_tree,
                environ=self._checkout.environ,
            )
        except OSError:
            return None
        return TreeEntry(mode, done.stdout.strip()) if done.returncode == 0 else None

    def task(self, item: MovePath, entry: Entry | None) -> Task | None:
        """Return what is to be done for one path; None when nothing is, or when it is left."""
        expected, new = item.on_disk, item.new
        if new == expected:
            return None
        st = self._tree.lstat(item.path)
        if entry is not None and entry.is_skip_worktree:
            self._look_at_hidden(item, st, entry)
            return None
        if new is not None and new.mode == GITLINK:
            return self._for_gitlink(item, st)
        if expected is not None and expected.mode == GITLINK:
            return self._after_gitlink(item, st)
        if st is None:
            if expected is not None and new is not None:
                self._leave(item, "it was deleted here")
                return None
            return Task(item, None)  # a removal that is done already may still leave empty folders
        if stat.S_ISDIR(st.st_mode):
            return self._instead_of_folder(item)
        return self._instead_of_file(item, st, entry)

    def _look_at_hidden(self, item: MovePath, st: os.stat_result | None, entry: Entry) -> None:
        """Name a file that is here although git was told to leave it out, unless it is as it will be committed."""
        if st is None or stat.S_ISDIR(st.st_mode) or self.content_of(item.path, st, entry) == item.new:
            return
        if item.new is None:
            self.private.add(item.path)  # without its entry it would be like any other new file
        self._leave(item, "it is here, and git was told to leave it alone")

    def _instead_of_folder(self, item: MovePath) -> Task | None:
        if item.new is None:
            return None
        if item.on_disk is None:
            return Task(item, None)  # the folder may be gone once the removals below it are done
        self._leave(item, "a folder is in its place here")
        return None

    def _instead_of_file(self, item: MovePath, st: os.stat_result, entry: Entry | None) -> Task | None:
        found = self.content_of(item.path, st, entry)
        if found is not None and found == item.new:
            return None
        if item.on_disk is None:
            if self._is_ignored(item.path):
                self.private.add(item.path)
            self._leave(item, "an untracked file of that name is here")
            return None
        if found != item.on_disk:
            self._leave(item, "it was edited here")
            return None
        return Task(item, st)

    def _is_ignored(self, path: bytes) -> bool:
        try:
            return self._ignores.is_ignored(path)
        except NeedsGitError:
            return True  # rules that cannot be read may well mean it

    def _for_gitlink(self, item: MovePath, st: os.stat_result | None) -> Task | None:
        """Handle a submodule that comes or changes: what is checked out there stays, and is named where it is older."""
        if st is None:
            return Task(item, None)
        if stat.S_ISDIR(st.st_mode) and not is_repository(self._tree.full(item.path)):
            return None
        if self.content_of(item.path, st, None) != item.new:
            self._leave(item, "the submodule stays as it is here, see 'git submodule update'")
        return None

    def _after_gitlink(self, item: MovePath, st: os.stat_result | None) -> Task | None:
        """Handle a submodule that goes away: an empty folder may go, a populated one stays."""
        if st is None or not stat.S_ISDIR(st.st_mode):
            return Task(item, None) if item.new is not None else None
        if not is_repository(self._tree.full(item.path)):
            return Task(item, st)
        if item.new is not None:
            self._leave(item, "a submodule's folder is in its place")
        return None
