"""File content as git's checkout writes it, by the attributes that will be in force then.

A landing may bring a file together with the attributes that say how it is filtered. Git reads attributes from an index
first when it checks out, so each file is written from a temporary index that holds the file and, for each folder above
it, the attributes as they will be. A file that a required filter refuses is not written at all (gitattributes(5)).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dulwich.objects import Blob

from gitref_lock.landing.attributes import Attributes
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.trees import REGULAR, SYMLINK, TreeEntry
from gitref_lock.remotes import children

_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "-c", "core.splitIndex=false")


class GitContent:
    """Lets an installed git convert single files, below a ``folder`` of one's own."""

    def __init__(self, checkout: Checkout, attributes: Attributes, folder: Path) -> None:
        """Convert by ``attributes``; ``folder`` is made when it is needed."""
        self._checkout = checkout
        self._attributes = attributes
        self._folder = folder

    def of(self, path: bytes, entry: TreeEntry) -> bytes | None:
        """Return what a checkout writes for ``entry`` at ``path``; None when git is not there or could not do it.

        Raises OSError when the disk refuses.
        """
        if entry.mode == SYMLINK:
            return self._run("cat-file", "blob", entry.oid.decode("ascii"))
        try:
            self._folder.mkdir()
            return self._written(path, entry)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _written(self, path: bytes, entry: TreeEntry) -> bytes | None:
        index = self._folder / "index"
        lines = [b"%06o %s\t%s\0" % (REGULAR, oid, name) for name, oid in self._attribute_files(path).items()]
        lines.append(b"%06o %s\t%s\0" % (entry.mode, entry.oid, path))
        listed = self._run("update-index", "--add", "-z", "--index-info", index=index, stdin=b"".join(lines))
        target = self._folder / "files"
        if listed is None:
            return None
        done = self._run("checkout-index", f"--prefix={target}/", "-z", "--stdin", index=index, stdin=path + b"\0")
        if done is None:
            return None
        try:
            return Path(os.fsdecode(os.fsencode(target) + b"/" + path)).read_bytes()
        except FileNotFoundError:
            return None

    def _attribute_files(self, path: bytes) -> dict[bytes, bytes]:
        """Return the id of a blob for the attributes file of each folder above ``path``, an empty one for none.

        Git looks into the work tree for a file that the index lacks, and the work tree is behind.
        """
        found = {}
        folder = path
        while folder:
            folder = folder.rpartition(b"/")[0]
            name = folder + b"/.gitattributes" if folder else b".gitattributes"
            if name != path:
                content = self._attributes.content(folder) or b""
                found[name] = self._checkout.add_object(Blob.from_string(content)).encode("ascii")
        return found

    def _run(self, *words: str, index: Path | None = None, stdin: bytes = b"") -> bytes | None:
        environ = self._checkout.environ if index is None else {**self._checkout.environ, "GIT_INDEX_FILE": str(index)}
        try:
            done = children.run([*_GIT, *words], folder=self._checkout.work_tree, environ=environ, stdin=stdin)
        except OSError:
            return None
        return done.stdout if done.returncode == 0 else None
