"""Write the files of a move into the work tree, never over anything that was not expected there.

Every file is prepared completely before the first one is put in place, so that a full disk is noticed while nothing has
changed. A new file is linked into place, which fails when something stands there; a known file is replaced by rename
after one more look at its status.
"""

# ruff: noqa: PTH102, PTH103, PTH105, PTH106, PTH108, PTH112, PTH114, PTH211 - work tree names are bytes; pathlib holds text

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.attributes import Attributes
from gitref_lock.landing.checkout import Checkout, text
from gitref_lock.landing.compare import Comparer, Task
from gitref_lock.landing.convert import Converter
from gitref_lock.landing.errors import NeedsGitError
from gitref_lock.landing.index_file import Entry, IndexFile, StatData, stat_data
from gitref_lock.landing.journal import MovePath
from gitref_lock.landing.smudge import GitContent
from gitref_lock.landing.trees import EXECUTABLE, GITLINK, REGULAR, SYMLINK
from gitref_lock.landing.worktree import WorkTree

_FILES = "files-"
_FOLDERS = (_FILES, "hook-", "stage-", "driver-", "rescue-", "sign-", "tmp")
"""How the names of all folders begin that commands keep in the private folder while they run."""


@dataclass(frozen=True, slots=True)
class Left:
    """A path of the landing whose file was left alone, and why."""

    path: bytes
    reason: str


class Placer:
    """Compare and write the files of one move."""

    def __init__(self, checkout: Checkout, index: IndexFile, paths: Sequence[MovePath], nonce: str) -> None:
        """Prepare; ``nonce`` names the folder for finished files."""
        self._checkout = checkout
        self._tree = WorkTree(checkout.work_tree)
        self._folder = checkout.private_dir / (_FILES + nonce)
        self._index = index
        self._rules = [item for item in paths if item.path.rpartition(b"/")[2] == b".gitattributes"]
        present = Converter(checkout, Attributes(checkout, index, self._tree))
        self._comparer = Comparer(checkout, index, present, self._leave)
        self.left: list[Left] = []
        self._placed: dict[bytes, StatData] = {}

    def _leave(self, item: MovePath, reason: str) -> None:
        self.left.append(Left(item.path, reason))

    @property
    def private(self) -> Collection[bytes]:
        """The paths left whose files git was told to keep out of commits."""
        return self._comparer.private

    def task(self, item: MovePath, entry: Entry | None) -> Task | None:
        """Return what is to be done for one path; None when nothing is, or when it is left (then noted)."""
        return self._comparer.task(item, entry)

    def prepare(self, tasks: Sequence[Task]) -> list[Task]:
        """Write the finished content of every task beside the work tree; return those that can be placed.

        Raises OSError when the disk refuses.
        """
        if not tasks:
            return []
        self.discard()
        self._folder.mkdir()
        attributes = self._coming_attributes(tasks)
        converter = Converter(self._checkout, attributes)
        through_git = GitContent(self._checkout, attributes, self._folder / "git")
        ready = []
        for number, task in enumerate(tasks):
            new = task.item.new
            if new is not None and new.mode != GITLINK:
                data = self._content(task.item, converter, through_git)
                if data is None:
                    continue
                task.prepared = self._folder / str(number)
                if new.mode == SYMLINK:
                    os.symlink(data, os.fsencode(task.prepared))
                else:
                    _write(task.prepared, data, 0o777 if new.mode == EXECUTABLE else 0o666)
            ready.append(task)
        return ready

    def _coming_attributes(self, tasks: Sequence[Task]) -> Attributes:
        """Return the attributes as they will be when the tasks are done.

        A .gitattributes file that is left keeps its say; where there is none, git reads the one in the next index.
        """
        changed = {task.item.path for task in tasks}
        overlay = {
            item.path: self._checkout.blob(item.new.oid)
            if item.new and item.new.mode in {REGULAR, EXECUTABLE}
            else None
            for item in self._rules
            if item.path in changed or self._tree.lstat(item.path) is None
        }
        return Attributes(self._checkout, self._index, self._tree, overlay)

    def _content(self, item: MovePath, converter: Converter, through_git: GitContent) -> bytes | None:
        assert item.new is not None
        data = self._checkout.blob(item.new.oid)
        if data is not None and item.new.mode == SYMLINK:
            return data
        reason = "its content is not in this partial clone"
        if data is not None:
            try:
                return converter.to_work_tree(item.path, data)
            except NeedsGitError as error:
                reason = str(error)
        smudged = through_git.of(item.path, item.new)
        if smudged is None:
            self._leave(item, f"{reason}, and git could not write it")
        return smudged

    def discard(self) -> None:
        """Remove what was prepared."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def place(self, tasks: Sequence[Task], step: Callable[[str], None]) -> None:
        """Put every prepared file in place, removals first; a path that resists is left and noted."""
        self._tree = WorkTree(self._checkout.work_tree)
        removals = [task for task in tasks if task.item.new is None]
        for task in sorted(removals, key=lambda task: task.item.path, reverse=True):
            self._guarded(task, self._remove)
            step("file-removed")
        # a file that becomes a folder is a removal too, so folders below can only be made now
        self._tree = WorkTree(self._checkout.work_tree)
        for task in tasks:
            if task.item.new is not None:
                self._guarded(task, self._put)
                step("file-placed")

    def _guarded(self, task: Task, action: Callable[[Task], str | None]) -> None:
        try:
            reason = action(task)
        except OSError as error:
            reason = error.strerror or str(error)
        if reason is not None:
            self._leave(task.item, reason)

    def _is_as_seen(self, task: Task) -> bool:
        st = self._tree.lstat(task.item.path)
        seen = task.st
        if st is None or seen is None:
            return st is seen
        return (st.st_mtime_ns, st.st_ctime_ns, st.st_ino, st.st_size, st.st_mode) == (
            seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_size, seen.st_mode,
        )  # fmt: skip

    def _remove(self, task: Task) -> str | None:
        full = self._tree.full(task.item.path)
        if task.st is None:
            pass
        elif stat.S_ISDIR(task.st.st_mode):
            os.rmdir(full)
        elif not self._is_as_seen(task):
            return "it was edited meanwhile"
        else:
            os.unlink(full)
        self._prune(task.item.path)
        return None

    def _prune(self, path: bytes) -> None:
        """Remove the folders that the removal of ``path`` left empty, except the one the command runs in."""
        folder = path.rpartition(b"/")[0]
        keep = self._checkout.prefix
        while folder and not keep.startswith(folder + b"/"):
            try:
                os.rmdir(self._tree.full(folder))
            except OSError:
                return
            folder = folder.rpartition(b"/")[0]

    def _put(self, task: Task) -> str | None:
        item = task.item
        full = self._tree.full(item.path)
        folder = item.path.rpartition(b"/")[0]
        if folder:
            os.makedirs(self._tree.full(folder), exist_ok=True)
            if not WorkTree(self._checkout.work_tree).is_real_folder(folder):
                return "a symbolic link is in its folder's place here"
        if item.new is not None and item.new.mode == GITLINK:
            os.mkdir(full)
            return None
        assert task.prepared is not None
        written = os.lstat(task.prepared)
        reason = None
        if task.st is None or stat.S_ISDIR(task.st.st_mode):
            _remove_empty_folders(full)
            reason = _link(task.prepared, full)
        elif self._is_as_seen(task):
            _rename(task.prepared, full)
        else:
            reason = "it was edited meanwhile"
        if reason is None:
            self._note_placed(item.path, written)
        return reason

    def _note_placed(self, path: bytes, written: os.stat_result) -> None:
        """Note the status of the file in place if it is the one that was ``written``.

        Somebody may have put an older one there since, and a copy on another file system is another file.
        """
        try:
            placed = os.lstat(self._tree.full(path))
        except OSError:
            return  # somebody was quick to remove it, which is an edit like any other
        if _identity(placed) == _identity(written):
            self._placed[path] = stat_data(placed)

    def statuses(self, began_s: int) -> dict[bytes, StatData]:
        """Return the status of every file that was placed, by which git may know it as unchanged.

        Only those of the second ``began_s`` or later: an index of that date makes git compare the content of these
        once, which shows an edit since then.
        """
        return {path: status for path, status in self._placed.items() if status.mtime_s >= began_s}


def _identity(st: os.stat_result) -> tuple[int, ...]:
    return st.st_dev, st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns


def _remove_empty_folders(full: bytes) -> None:
    """Remove a folder that holds nothing but folders; leave it when there is a file somewhere in it."""
    if os.path.islink(full) or not os.path.isdir(full):
        return
    for folder, _, _ in os.walk(full, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            return


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _link(prepared: Path, full: bytes) -> str | None:
    """Put a new file in place; return the reason when something stands there."""
    try:
        os.link(os.fsencode(prepared), full, follow_symlinks=False)
    except FileExistsError:
        return "a folder is in its place here" if os.path.isdir(full) else "an untracked file of that name is here"
    except OSError:
        if os.path.lexists(full):
            return "an untracked file of that name is here"
        _rename(prepared, full)
        return None
    prepared.unlink()
    return None


def _rename(prepared: Path, full: bytes) -> None:
    """Rename, also onto another file system (a linked work tree's git directory may lie elsewhere)."""
    try:
        os.replace(os.fsencode(prepared), full)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = full + b".gitref-lock-" + os.fsencode(prepared.parent.name[-8:])
        if os.path.lexists(beside):
            os.unlink(beside)
        shutil.copy2(os.fsencode(prepared), beside, follow_symlinks=False)
        os.replace(beside, full)


def remove_prepared(checkout: Checkout) -> None:
    """Remove the folders that killed commands left; call only while holding ``Checkout.exclusive``.

    Nobody else can own such a folder then.
    """
    for folder in checkout.private_dir.iterdir():
        if folder.name.startswith(_FOLDERS) and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


def describe(left: Sequence[Left]) -> str:
    """Return the left paths as text for people."""
    return ", ".join(f"{text(one.path)} ({one.reason})" for one in left)
