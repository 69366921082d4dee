"""One clone on this machine: its objects, refs, index and work tree, opened as CI really leaves it.

Shallow, detached, partial, sparse and linked clones open alike; what cannot be pushed from is refused with one clear
sentence. Reading a Checkout changes nothing that git shows: only objects are ever added through it, and refs, index and
files move in ``local_move`` alone (docs/protocol.md, section 6).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from dulwich.object_store import PackBasedObjectStore
from dulwich.objects import Commit, ObjectID, ShaFile
from dulwich.refs import Ref, SymrefLoop

from gitref_lock.core.names import Oid, RefName
from gitref_lock.landing import discovery
from gitref_lock.landing.errors import (
    CheckoutBusyError,
    LandingError,
    NeedsGitError,
    NotARepositoryError,
    UnfinishedOperationError,
    UnsupportedRepositoryError,
)
from gitref_lock.landing.index_file import IndexFile, read_index
from gitref_lock.landing.opening import TolerantRepo, open_repository
from gitref_lock.remotes.gitconfig import load
from gitref_lock.remotes.gitconfig_values import GitConfig

_OPERATIONS = (
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply/applying", "am"),
    ("rebase-apply", "rebase"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("sequencer", "cherry-pick"),
    ("BISECT_LOG", "bisect"),
)


def text(name: bytes) -> str:
    """Return a git name as text; bytes that are not UTF-8 survive the way back through ``raw``."""
    return name.decode("utf-8", "surrogateescape")


def raw(name: str) -> bytes:
    """Return the bytes of a git name given as text."""
    return name.encode("utf-8", "surrogateescape")


class Checkout:
    """A clone that is open. Use as a context manager; one instance serves one thread.

    ``git_dir`` is this work tree's own git directory, ``common_dir`` the one shared by linked work trees, ``work_tree``
    the folder with the files; all absolute. ``prefix`` is where the command was started, relative to ``work_tree``,
    empty or ending in a slash.
    """

    def __init__(self, repo: TolerantRepo, start: Path, environ: Mapping[str, str]) -> None:
        """Wrap an open repository; use ``open`` instead."""
        self._repo = repo
        self.environ = dict(environ)
        self._index: tuple[tuple[int, ...], IndexFile] | None = None
        self.git_dir = Path(os.path.realpath(repo.controldir()))
        self.common_dir = Path(os.path.realpath(repo.commondir()))
        self.work_tree = Path(os.path.realpath(repo.path))
        relative = os.path.relpath(start.resolve(), self.work_tree)
        inside = relative != "." and not relative.startswith("..")
        self.prefix = os.fsencode(relative) + b"/" if inside else b""
        named = environ.get("GIT_INDEX_FILE")
        self.index_path = self.work_tree / named if named else self.git_dir / "index"

    @classmethod
    def open(cls, start: Path, environ: Mapping[str, str]) -> Checkout:
        """Open the clone that contains ``start``.

        Raises NotARepositoryError, UnsafeRepositoryError or UnsupportedRepositoryError.
        """
        place = discovery.find(start, environ)
        discovery.require_safe(place, environ)
        repo = open_repository(place, start, environ)
        try:
            if repo.object_format.name != "sha1":
                raise UnsupportedRepositoryError(
                    "unsupported-repository",
                    f"this repository uses {repo.object_format.name} object names; only sha1 can be pushed from here",
                )
            if place.work_tree is None and (repo.bare or not place.is_explicit):
                raise NotARepositoryError("no-work-tree", f"{place.git_dir} has no work tree to push from")
            return cls(repo, start, environ)
        except BaseException:
            repo.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close files and packs."""
        self.close()

    def close(self) -> None:
        """Close files and packs."""
        self._repo.close()

    # objects

    @property
    def store(self) -> PackBasedObjectStore:
        """The object store."""
        return self._repo.object_store

    def add_object(self, obj: ShaFile) -> Oid:
        """Store one object unless it is there already; return its id."""
        if obj.id not in self.store:
            self.store.add_object(obj)
        return Oid(obj.id.decode("ascii"))

    def commit_object(self, oid: Oid) -> Commit:
        """Return a commit; raise LandingError when it is missing or something else."""
        try:
            found = self.store[ObjectID(oid.encode("ascii"))]
        except KeyError as error:
            raise LandingError("missing-object", f"commit {oid} is not in this clone") from error
        if not isinstance(found, Commit):
            raise LandingError("missing-object", f"{oid} is a {found.type_name.decode()}, not a commit")
        return found

    def blob(self, oid: bytes) -> bytes | None:
        """Return a blob's content, None when this (partial) clone does not have it."""
        try:
            return self.store[ObjectID(oid)].as_raw_string()
        except KeyError:
            return None

    def known_blob(self, oid: bytes) -> bytes:
        """Return a blob's content; raise NeedsGitError when only git can fetch it (partial clones)."""
        found = self.blob(oid)
        if found is None:
            raise NeedsGitError(f"blob {oid.decode('ascii')} is not in this partial clone")
        return found

    def tree_of(self, commit: Oid | None) -> Oid | None:
        """Return the tree of ``commit``; None stands for the empty tree of an unborn branch."""
        return None if commit is None else Oid(self.commit_object(commit).tree.decode("ascii"))

    # configuration

    @cached_property
    def config(self) -> GitConfig:
        """Git's whole configuration for this work tree; raise RemoteConfigError for a broken file."""
        return load(self.git_dir, self.common_dir, self.work_tree, self.environ)

    def setting(self, section: str, name: str, subsection: str | None = None) -> str | None:
        """Return one configured value, None when unset."""
        return self.config.get(section, subsection, name)

    def flag(self, section: str, name: str, *, default: bool) -> bool:
        """Return one configured boolean; raise RemoteConfigError for a word that is none."""
        return self.config.get_bool(section, None, name, default=default)

    # refs

    def _follow_head(self) -> tuple[bytes, bytes | None]:
        try:
            chain, oid = self._repo.refs.follow(Ref(b"HEAD"))
        except (KeyError, SymrefLoop) as error:
            raise LandingError("bad-head", f"HEAD cannot be read: {error}") from error
        return (chain[-1] if chain else b"HEAD"), oid

    def head(self) -> Oid | None:
        """Return the checked-out commit, None on an unborn branch."""
        oid = self._follow_head()[1]
        return None if oid is None else Oid(oid.decode("ascii"))

    def head_branch(self) -> str | None:
        """Return the checked-out branch's short name, None when detached."""
        name = self._follow_head()[0]
        return text(name[11:]) if name.startswith(b"refs/heads/") else None

    def head_ref(self) -> RefName:
        """Return the full name of the checked-out branch, or ``HEAD`` when detached."""
        return RefName(text(self._follow_head()[0]))

    @property
    def is_unborn(self) -> bool:
        """Whether the checked-out branch has no commit yet."""
        return self.head() is None

    def ref(self, name: RefName) -> Oid | None:
        """Return the value of one ref, None when it does not exist."""
        try:
            return Oid(self._repo.refs[Ref(raw(name))].decode("ascii"))
        except KeyError:
            return None

    @property
    def has_reftable(self) -> bool:
        """Whether refs are kept in a reftable instead of files."""
        return (self.config.get("extensions", None, "refStorage") or "files").lower() == "reftable"

    def move_ref_in_table(self, name: RefName, old: Oid | None, new: Oid, note: bytes) -> bool:
        """Set a ref of a reftable if it still is ``old``; see ``ref_move.move_ref``, which all others go through."""
        commit = self.commit_object(new)
        refs, key, value = self._repo.refs, Ref(raw(name)), ObjectID(new.encode("ascii"))
        when = (commit.commit_time, commit.commit_timezone)
        if old is None:
            return bool(refs.add_if_new(key, value, commit.committer, *when, note))
        return bool(refs.set_if_equals(key, ObjectID(old.encode("ascii")), value, commit.committer, *when, note))

    def log_ref(self, name: RefName, old: Oid | None, new: Oid, commit: Commit, note: bytes) -> None:
        """Add one line to a ref's reflog, under the committer and time of ``commit``."""
        self._repo.log(raw(name), old, new, commit, note)

    def tracking_ref(self, remote: str, branch: str) -> RefName | None:
        """Return the remote-tracking ref of ``branch``, None when the fetch refspecs do not cover it."""
        source = raw(f"refs/heads/{branch}")
        for spec in map(raw, self.config.get_all("remote", remote, "fetch")):
            left, colon, right = spec.lstrip(b"+").partition(b":")
            if not colon or spec.startswith(b"^"):
                continue
            head, star, tail = left.partition(b"*")
            if star and source.startswith(head) and source.endswith(tail) and len(source) >= len(head) + len(tail):
                middle = source[len(head) : len(source) - len(tail)]
                return RefName(text(right.replace(b"*", middle, 1)))
            if not star and left == source:
                return RefName(text(right))
        return None

    def all_tracking_tips(self) -> Mapping[RefName, Oid]:
        """Return every remote-tracking ref and its value."""
        found = self._repo.refs.as_dict(Ref(b"refs/remotes"))
        return {
            RefName("refs/remotes/" + text(name)): Oid(oid.decode("ascii"))
            for name, oid in found.items()
            if not name.endswith(b"/HEAD")
        }

    def upstream(self, branch: str) -> tuple[str, str] | None:
        """Return the remote's name and the short branch name that ``branch`` tracks, None when it tracks none."""
        remote = self.setting("branch", "remote", branch)
        merge = self.setting("branch", "merge", branch)
        if not remote or not merge or not merge.startswith("refs/heads/"):
            return None
        return remote, merge.removeprefix("refs/heads/")

    def shallow(self) -> frozenset[Oid]:
        """Return the commits whose parents are absent on purpose."""
        return frozenset(Oid(oid.decode("ascii")) for oid in self._repo.get_shallow())

    # state

    def read_index(self) -> IndexFile:
        """Return the index as it is now; raise UnreadableIndexError for a split, sparse or damaged one.

        It is parsed once for each state of the file: every writer of an index replaces it by rename.
        """
        try:
            st = self.index_path.stat()
        except FileNotFoundError:
            return read_index(self.index_path)
        state = (st.st_ino, st.st_mtime_ns, st.st_ctime_ns, st.st_size)
        if self._index is None or self._index[0] != state:
            self._index = (state, read_index(self.index_path))
        return self._index[1]

    def operation_in_progress(self) -> str | None:
        """Name the operation that git itself has left half done, None when there is none."""
        for name, operation in _OPERATIONS:
            if (self.git_dir / name).exists():
                return operation
        return None

    def unmerged_paths(self) -> tuple[bytes, ...]:
        """Return the paths with conflicts recorded in the index."""
        return self.read_index().unmerged()

    def require_settled(self) -> None:
        """Raise UnfinishedOperationError while a merge, rebase or the like is half done."""
        operation = self.operation_in_progress()
        if operation is not None and operation != "bisect":
            raise UnfinishedOperationError(
                "operation-in-progress",
                f"a {operation} is in progress in {self.work_tree}",
                f"finish it with 'git {operation} --continue', or end it with 'git {operation} --abort'",
            )

    @cached_property
    def private_dir(self) -> Path:
        """The folder for this tool's own files inside the git directory; made on first use."""
        folder = self.git_dir / "gitref-lock"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise LandingError("git-dir-unwritable", f"{folder} cannot be made: {error.strerror}") from error
        return folder

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold this work tree against other landings of this tool; raise CheckoutBusyError when one is under way.

        The kernel drops the hold with the process, so a kill leaves nothing behind.
        """
        descriptor = os.open(self.private_dir / "busy", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise CheckoutBusyError(
                    "checkout-busy",
                    f"another push is under way in {self.work_tree}",
                    "wait for it, or use a clone of its own for each push",
                ) from error
            yield
        finally:
            os.close(descriptor)
