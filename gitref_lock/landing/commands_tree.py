"""A tree of the object store as a folder of files, for a command that wants to see the merged state.

Files are written as a checkout writes them (line ends, filters through git), and read back as staging reads them. A
tree from a remote is not trusted: a name that leads out of the folder or into a git directory is refused.
"""

# ruff: noqa: PTH102, PTH211 - names are bytes; pathlib holds text

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from dulwich.objects import ObjectID

from gitref_lock.core.names import Oid
from gitref_lock.landing.attributes import Attributes
from gitref_lock.landing.checkout import Checkout, text
from gitref_lock.landing.convert import Converter
from gitref_lock.landing.errors import LandingError, NeedsGitError
from gitref_lock.landing.index_file import empty_index
from gitref_lock.landing.trees import EXECUTABLE, GITLINK, SYMLINK, TREE, TreeEntry, files_below, lookup, tree_items
from gitref_lock.landing.unsafe_names import is_unsafe_path
from gitref_lock.landing.worktree import WorkTree
from gitref_lock.remotes import children

_ATTRIBUTES = b".gitattributes"


class TreeWriter:
    """Writes one tree into ``folder``, which must not exist yet, and reads files of it back."""

    def __init__(
        self, checkout: Checkout, folder: Path, fetch_missing: Callable[[Sequence[Oid]], None] | None = None
    ) -> None:
        """Read from ``checkout``; ``fetch_missing`` brings blobs that a partial clone lacks."""
        self._checkout = checkout
        self._folder = folder
        self._fetch_missing = fetch_missing
        self._tree = b""

    def write(self, tree: bytes) -> None:
        """Write all files of ``tree`` (hex); raise LandingError for what cannot be written, OSError for the disk."""
        self._tree = tree
        store = self._checkout.store
        if self._fetch_missing is not None:
            files = (item for _, item in files_below(store, tree) if item.mode != GITLINK)
            absent = sorted({item.oid for item in files if ObjectID(item.oid) not in store})
            if absent:
                self._fetch_missing([Oid(oid.decode("ascii")) for oid in absent])
        self._folder.mkdir()
        # attributes first: they decide how the others are written
        self._write_below(tree, b"", self._converter(), only_attributes=True)
        self._write_below(tree, b"", self._converter(), only_attributes=False)

    def _converter(self) -> Converter:
        # an empty index: only this tree's own .gitattributes files count
        return Converter(self._checkout, Attributes(self._checkout, empty_index(), WorkTree(self._folder)))

    def _write_below(self, tree: bytes, prefix: bytes, converter: Converter, *, only_attributes: bool) -> None:
        for name, entry in tree_items(self._checkout.store, tree).items():
            if b"/" in name or is_unsafe_path(name, entry.mode):
                raise LandingError("bad-tree", f"the tree holds the name {text(prefix + name)!r}")
            path = prefix + name
            full = os.fsencode(self._folder) + b"/" + path
            if entry.mode == TREE:
                if only_attributes:
                    os.mkdir(full)
                self._write_below(entry.oid, path + b"/", converter, only_attributes=only_attributes)
            elif (name == _ATTRIBUTES) is not only_attributes:
                continue
            elif entry.mode == GITLINK:
                os.mkdir(full)
            else:
                self._write_file(path, full, entry, converter)

    def _write_file(self, path: bytes, full: bytes, entry: TreeEntry, converter: Converter) -> None:
        data = self._checkout.blob(entry.oid)
        if data is None:
            raise LandingError("missing-object", f"the content of {text(path)} is not in this clone")
        if entry.mode == SYMLINK:
            os.symlink(data, full)
            return
        try:
            data = converter.to_work_tree(path, data)
        except NeedsGitError as error:
            data = self._through_git(
                ["cat-file", "--filters", f"--path={os.fsdecode(path)}", text(entry.oid)], b"", error
            )
        mode = 0o777 if entry.mode == EXECUTABLE else 0o666
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    def read_back(self, path: bytes) -> bytes | None:
        """Return what git would store for the file at ``path`` now, None when it is gone.

        Raises LandingError when something else than a plain file is there.
        """
        tree = WorkTree(self._folder)
        st = tree.lstat(path)
        if st is None:
            return None
        if not stat.S_ISREG(st.st_mode):
            raise LandingError("no-file", f"{text(path)} is no plain file any more")
        data = tree.read(path, st)
        before = lookup(self._checkout.store, self._tree, path)
        try:
            return self._converter().to_git(path, data, before.oid if before is not None else None)
        except NeedsGitError as error:
            oid = self._through_git(["hash-object", "-w", "--stdin", f"--path={os.fsdecode(path)}"], data, error)
            content = self._checkout.blob(oid.strip())
            assert content is not None
            return content

    def _through_git(self, words: Sequence[str], data: bytes, reason: NeedsGitError) -> bytes:
        """Convert with an installed git, which reads attributes and filters of the clone itself."""
        try:
            done = children.run(
                ["git", *words], folder=self._checkout.work_tree, environ=self._checkout.environ, stdin=data
            )
        except OSError as error:
            raise LandingError("needs-git", f"{reason}, and git is not installed") from error
        if done.returncode:
            raise LandingError(
                "needs-git", f"{reason}, and git could not do it: {done.stderr.decode(errors='replace')}"
            )
        return done.stdout
