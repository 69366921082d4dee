"""Which files differ from the index: git's own quick test by file status, then by content.

A file whose status is unchanged and that was not touched in the instant the index was written is not read
(gitformat-index(5) and git's "racy git" rule, here with nanoseconds).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator

from gitref_lock.landing.checkout import text
from gitref_lock.landing.errors import NeedsGitError, StagingError
from gitref_lock.landing.ignore import Ignores
from gitref_lock.landing.index_file import Entry, IndexFile
from gitref_lock.landing.pathspec import Pathspecs
from gitref_lock.landing.worktree import WorkTree, is_repository

_STATUS = struct.Struct(">LLLLLLLLLL")
_SUSPICIOUS = re.compile(rb"(?is)(?:\.git|git~[0-9]+)(?:[ .:\\].*)?|.*(?:\xe2\x80|\xe2\x81|\xef\xbb).*")
_LOW = 0xFFFFFFFF


def is_unchanged(index: IndexFile, entry: Entry, st: os.stat_result) -> bool:
    """Tell whether ``entry`` can be trusted to describe the file without reading it."""
    known = entry.stat
    if (
        known.mtime_s != st.st_mtime_ns // 10**9 & _LOW
        or known.mtime_ns != st.st_mtime_ns % 10**9
        or known.ctime_s != st.st_ctime_ns // 10**9 & _LOW
        or known.ctime_ns != st.st_ctime_ns % 10**9
        or known.size != st.st_size & _LOW
        or known.ino != st.st_ino & _LOW
    ):
        return False
    if st.st_mtime_ns >= index.mtime_ns or (known.mtime_ns == 0 and st.st_mtime_ns // 10**9 >= index.mtime_ns // 10**9):
        return False
    if stat.S_ISLNK(st.st_mode):
        return entry.mode == 0o120000
    return stat.S_ISREG(st.st_mode) and entry.mode == (0o100755 if st.st_mode & 0o100 else 0o100644)


def tracked_candidates(
    index: IndexFile, tree: WorkTree, positions: Iterable[int]
) -> Iterator[tuple[Entry, os.stat_result | None]]:
    """Yield the entries that may differ from their file, with its status (None: gone, or beyond a symlink)."""
    names, starts, data = index.names, index.starts, index.data
    unpack = _STATUS.unpack_from
    written_ns = index.mtime_ns
    for at in positions:
        st = tree.lstat(names[at])
        if st is not None:
            c_s, c_n, m_s, m_n, _dev, ino, mode, _uid, _gid, size = unpack(data, starts[at])
            mtime, ctime = st.st_mtime_ns, st.st_ctime_ns
            if (
                m_n
                and m_s * 1000000000 + m_n == mtime
                and c_s * 1000000000 + c_n == ctime
                and size == st.st_size
                and ino == st.st_ino & _LOW
                and mtime < written_ns
                and (mode & 0o170000) == stat.S_IFMT(st.st_mode)
                and (mode & 0o100) == (st.st_mode & 0o100 if mode & 0o100000 == 0o100000 and mode != 0o120000 else 0)
            ):
                continue
        entry = index.entry(at)
        if entry.is_assumed_valid or (st is not None and is_unchanged(index, entry, st)):
            continue
        yield entry, st


class UntrackedFile:
    """An untracked file or symlink that git would add."""

    __slots__ = ("path", "st")

    def __init__(self, path: bytes, st: os.stat_result) -> None:
        """Keep path and status."""
        self.path = path
        self.st = st


def require_ordinary_name(path: bytes, st: os.stat_result) -> None:
    """Raise NeedsGitError for a new path that git may refuse on some file systems."""
    leaf = path.rpartition(b"/")[2].lower()
    if (stat.S_ISLNK(st.st_mode) and leaf.startswith(b".gitmodules")) or any(
        _SUSPICIOUS.fullmatch(part) for part in path.split(b"/")
    ):
        raise NeedsGitError(f"{text(path)!r} may be a forbidden name")


def embedded(path: bytes) -> StagingError:
    """Return the refusal of a folder that is another repository's work tree."""
    return StagingError(
        "embedded-repository",
        f"{text(path)} is a git repository of its own",
        f"add it as a submodule, ignore it, or remove {text(path)}/.git",
    )


class UntrackedScan:
    """A walk over the folders that the pathspecs can reach."""

    def __init__(self, index: IndexFile, tree: WorkTree, ignores: Ignores, specs: Pathspecs) -> None:
        """Prepare a walk."""
        self._index = index
        self._tree = tree
        self._ignores = ignores
        self._specs = specs
        self.ignored: list[bytes] = []

    def walk(self, folder: bytes) -> Iterator[UntrackedFile]:
        """Yield the untracked files under ``folder`` that are meant and not ignored."""
        prefix = folder + b"/" if folder else b""
        index, tree = self._index, self._tree
        names = index.names
        try:
            with os.scandir(tree.full(folder)) as listing:
                items = sorted(listing, key=lambda item: item.name)
        except NotADirectoryError:
            return
        except OSError as error:
            raise StagingError("unreadable", f"cannot read {text(folder) or '.'}: {error.strerror}") from error
        for item in items:
            name = item.name
            if name == b".git":
                continue
            path = prefix + name
            if item.is_dir(follow_symlinks=False):
                yield from self._folder(path)
                continue
            at = index.position(path)
            if at < len(names) and names[at] == path:
                continue
            yield from self.file(path, item.stat(follow_symlinks=False))

    def _folder(self, path: bytes) -> Iterator[UntrackedFile]:
        if not self._specs.may_match_below(path) or self._ignores.is_folder_ignored(path):
            return
        entry = self._index.find(path)
        if entry is not None and entry.mode == 0o160000:
            return
        if is_repository(self._tree.full(path)):
            start, stop = self._index.below(path)
            if start == stop and (self._specs.matches(path) or self._specs.may_match_below(path)):
                raise embedded(path)
            return
        yield from self.walk(path)

    def file(self, path: bytes, st: os.stat_result) -> Iterator[UntrackedFile]:
        """Yield one untracked path if it is meant, can be stored, and is not ignored."""
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode)):
            return
        if not self._specs.would_match(path):
            return
        if self._ignores.is_ignored(path):
            self.ignored.append(path)  # and no argument has matched anything by it
            return
        self._specs.matches(path)
        require_ordinary_name(path, st)
        yield UntrackedFile(path, st)
