"""Stage exactly as `git add` and `git commit` would, without touching the index.

With PATH arguments the push takes those paths as they are in the work tree, untracked ones included, like
`git add PATH && git commit -- PATH`; with ``all`` everything, like `git add -A`; with neither, what is staged already,
and when nothing is staged the changes of tracked files, like `git commit -a`.

Ordinary files are staged in-process. Where git's result depends on more than content, name and attributes, an installed
git stages into a temporary index (``stage_git``); without git the push is refused with the reason.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from dulwich.objects import Blob

from gitref_lock.core.names import Oid
from gitref_lock.landing import edited, pathspec, scan
from gitref_lock.landing.attributes import Attributes
from gitref_lock.landing.checkout import Checkout, text
from gitref_lock.landing.convert import Converter
from gitref_lock.landing.dating import file_system_second
from gitref_lock.landing.errors import NeedsGitError, PathspecError, StagingError, UnfinishedOperationError
from gitref_lock.landing.ignore import Ignores
from gitref_lock.landing.index_diff import Difference, diff_index
from gitref_lock.landing.index_file import UNKNOWN_STAT, Entry, UnreadableIndexError, stat_data
from gitref_lock.landing.index_patch import new_entry
from gitref_lock.landing.staged import Selection, Staged, assemble, tree_entry
from gitref_lock.landing.trees import EXECUTABLE, GITLINK, REGULAR, SYMLINK, TreeEntry, change, lookup
from gitref_lock.landing.worktree import WorkTree, is_repository


def stage(checkout: Checkout, pathspecs: Sequence[bytes] = (), *, take_all: bool = False) -> Staged:
    """Stage for one push; only objects are written.

    Raises PathspecError (``no-such-path``, ``path-ignored``, ``path-outside``, ``path-invalid``, ``bad-pathspec``,
    ``beyond-symlink``, ``outside-sparse-checkout``), StagingError with the reason, or UnfinishedOperationError for
    unmerged paths.
    """
    if take_all and pathspecs:
        raise PathspecError("bad-pathspec", "PATH and --all exclude each other", "name paths, or use --all")
    try:
        try:
            return _InProcess(checkout, pathspecs, take_all=take_all).run()
        except (UnreadableIndexError, NeedsGitError) as error:
            reason = str(error)
        from gitref_lock.landing.stage_git import stage_with_git

        return stage_with_git(checkout, pathspecs, take_all=take_all, reason=reason)
    except OSError as error:
        where = f" ({text(os.fsencode(error.filename))})" if error.filename else ""
        raise StagingError("staging-failed", f"staging failed: {error.strerror}{where}") from error


def _raw(oid: Oid | None) -> bytes | None:
    return None if oid is None else oid.encode()


def require_mergeless(paths: Sequence[bytes]) -> None:
    """Raise UnfinishedOperationError when the index holds unmerged paths."""
    if paths:
        raise UnfinishedOperationError(
            "unmerged-paths",
            f"{len(paths)} path(s) are unmerged, first {text(paths[0])}",
            "resolve the conflict and 'git add' the result, or abort the merge",
        )


class _InProcess:
    """One staging run, done without git."""

    def __init__(self, checkout: Checkout, given: Sequence[bytes], *, take_all: bool) -> None:
        self._checkout = checkout
        self._index = checkout.read_index()
        require_mergeless(self._index.unmerged())
        if checkout.flag("core", "ignoreCase", default=False) or checkout.flag(
            "core", "precomposeUnicode", default=False
        ):
            raise NeedsGitError("the file system changes names")
        self._trusts_mode = checkout.flag("core", "fileMode", default=True)
        if not checkout.flag("core", "symlinks", default=True):
            raise NeedsGitError("core.symlinks is false")
        self._specs = pathspec.parse(given, checkout.prefix, checkout.work_tree, checkout.environ)
        self._selection = Selection.PATHS if given else Selection.ALL if take_all else Selection.STAGED
        self._base = checkout.head()
        self._tree = _raw(checkout.tree_of(self._base))
        self._files = WorkTree(checkout.work_tree)
        self._ignores = Ignores(checkout, self._index, self._files)
        self._converter: Converter | None = None
        self._entries: dict[bytes, Entry | None] = {}
        self._wanted: dict[bytes, TreeEntry | None] = {}
        self._differences: Mapping[bytes, Difference] | None = None
        self._withheld = edited.withheld(checkout, given)
        self._began_s = file_system_second(checkout.private_dir)

    def run(self) -> Staged:
        if self._selection is Selection.STAGED:
            for path, difference in self._staged().items():
                self._wanted[path] = tree_entry(difference.entry)
            if not self._wanted:
                self._selection = Selection.TRACKED
        if self._selection is Selection.TRACKED or self._selection is Selection.ALL:
            for path, difference in self._staged().items():
                self._wanted[path] = tree_entry(difference.entry)
        if self._selection is not Selection.STAGED:
            self._take_tracked()
        if self._selection is Selection.ALL:
            self._take_untracked([b""])
        elif self._selection is Selection.PATHS:
            self._take_named()
        return self._result()

    def _staged(self) -> Mapping[bytes, Difference]:
        if self._differences is None:
            self._differences = diff_index(self._checkout.store, self._index, self._tree)
        return self._differences

    def _positions(self) -> Iterator[int]:
        """Yield the positions of the tracked entries that are meant."""
        names = self._index.names
        if not self._specs.includes or not self._specs.is_literal:
            ranges = [(0, len(names))]
        else:
            ranges = []
            for spec in self._specs.includes:
                at = self._index.position(spec.match)
                if at < len(names) and names[at] == spec.match:
                    ranges.append((at, at + 1))
                ranges.append(self._index.below(spec.match.rstrip(b"/")))
        for start, stop in ranges:
            for at in range(start, stop):
                if self._specs.matches(names[at]):
                    yield at

    def _take_tracked(self) -> None:
        """Record every tracked, meant path whose file differs from the index."""
        checks_skipped = self._index.has_extended
        for entry, st in scan.tracked_candidates(self._index, self._files, self._positions()):
            if checks_skipped and entry.is_skip_worktree:
                if st is not None:
                    raise NeedsGitError(f"{text(entry.path)} is present although the sparse checkout leaves it out")
                continue
            if entry.path in self._withheld:
                continue
            if entry.mode == GITLINK:
                self._take_gitlink(entry, st)
                continue
            if st is None or stat.S_ISDIR(st.st_mode):
                self._set(entry.path, None, None)
                continue
            self._take_file(entry.path, st, entry)

    def _take_gitlink(self, entry: Entry, st: os.stat_result | None) -> None:
        if st is None:
            self._set(entry.path, None, None)
        elif not stat.S_ISDIR(st.st_mode) or os.path.lexists(self._files.full(entry.path) + b"/.git"):
            raise NeedsGitError(f"{text(entry.path)} is a submodule")

    def _take_file(self, path: bytes, st: os.stat_result, entry: Entry | None) -> None:
        """Hash one file and record it when it differs from its index entry."""
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode)):
            raise NeedsGitError(f"{text(path)} is neither a file nor a symlink")
        try:
            data = self._files.read(path, st)
        except OSError as error:
            raise StagingError("unreadable", f"cannot read {text(path)}: {error.strerror}") from error
        mode = SYMLINK
        if stat.S_ISREG(st.st_mode):
            mode = EXECUTABLE if st.st_mode & 0o100 else REGULAR
            if not self._trusts_mode:
                mode = entry.mode if entry is not None and stat.S_ISREG(entry.mode) else REGULAR
            if self._converter is None:
                attributes = Attributes(self._checkout, self._index, self._files)
                self._converter = Converter(self._checkout, attributes)
            known = entry.oid if entry is not None and not entry.is_intent_to_add else None
            data = self._converter.to_git(path, data, known)
        blob = Blob.from_string(data)
        oid = bytes(blob.id)
        if entry is not None and not entry.is_intent_to_add and (entry.mode, entry.oid) == (mode, oid):
            return
        self._checkout.add_object(blob)
        self._set(path, TreeEntry(mode, oid), st)

    def _set(self, path: bytes, found: TreeEntry | None, st: os.stat_result | None) -> None:
        self._wanted[path] = found
        if found is None:
            self._entries[path] = None
            return
        known = stat_data(st) if st is not None else UNKNOWN_STAT
        self._entries[path] = new_entry(path, found.mode, found.oid, known)

    def _take_untracked(self, folders: Sequence[bytes]) -> None:
        if self._checkout.flag("core", "sparseCheckout", default=False):
            raise NeedsGitError("a sparse checkout decides which new files may be added")
        walk = scan.UntrackedScan(self._index, self._files, self._ignores, self._specs)
        for folder in folders:
            for file in walk.walk(folder):
                if file.path not in self._withheld:
                    self._take_file(file.path, file.st, None)

    def _take_named(self) -> None:
        """Add the untracked files that the PATHs mean, and paths whose removal is staged already."""
        folders: list[bytes] = [] if self._specs.includes else [b""]
        single = scan.UntrackedScan(self._index, self._files, self._ignores, self._specs)
        for spec in self._specs.includes:
            name = spec.match.rstrip(b"/")
            beyond = self._files.symlink_above(spec.match) if spec.regex is None else None
            if beyond is not None:
                raise PathspecError(
                    "beyond-symlink", f"{text(spec.given)!r} is beyond the symbolic link {text(beyond)}"
                )
            st = self._files.lstat(name) if name else None
            if spec.regex is not None or not name or (st is not None and stat.S_ISDIR(st.st_mode)):
                folders.append(spec.literal_folder)
            elif st is not None and self._index.find(name) is None and not spec.match.endswith(b"/"):
                self._take_single(single, name, st)
        self._require_no_embedded(folders)
        roots = [one for one in folders if not any(_is_within(one, other) for other in folders if other != one)]
        self._walk_roots(sorted(set(roots)))
        self._add_staged_matches()
        for spec in self._specs.includes:
            if not spec.is_used:
                raise self._unmatched(spec)

    def _walk_roots(self, roots: Sequence[bytes]) -> None:
        open_roots = [root for root in roots if not (root and self._ignores.is_folder_ignored(root))]
        if open_roots:
            self._take_untracked(open_roots)

    def _require_no_embedded(self, folders: Sequence[bytes]) -> None:
        for folder in folders:
            parts = folder.split(b"/") if folder else []
            for depth in range(1, len(parts) + 1):
                above = b"/".join(parts[:depth])
                entry = self._index.find(above)
                if entry is not None and entry.mode == GITLINK:
                    if depth < len(parts):
                        raise PathspecError("path-invalid", f"{text(folder)!r} is inside the submodule {text(above)}")
                    continue
                if is_repository(self._files.full(above)):
                    raise scan.embedded(above)

    def _take_single(self, walk: scan.UntrackedScan, name: bytes, st: os.stat_result) -> None:
        if self._checkout.flag("core", "sparseCheckout", default=False):
            raise NeedsGitError("a sparse checkout decides which new files may be added")
        self._require_no_embedded([name.rpartition(b"/")[0]])
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode)):
            raise StagingError("not-a-file", f"{text(name)} is neither a file nor a symlink")
        for file in walk.file(name, st):
            self._take_file(file.path, file.st, None)
        if name in walk.ignored:
            raise _ignored(name)

    def _add_staged_matches(self) -> None:
        """Take over what is staged for the meant paths, unless the work tree says otherwise."""
        if self._specs.is_literal and all(not self._is_folder_like(spec.match) for spec in self._specs.includes):
            names = [spec.match for spec in self._specs.includes]
            found = {name: self._difference_of(name) for name in names}
        else:
            found = {path: item for path, item in self._staged().items() if self._specs.matches(path)}
        for path, difference in found.items():
            if difference is not None and self._specs.matches(path) and path not in self._wanted:
                self._wanted[path] = tree_entry(difference.entry)

    def _is_folder_like(self, match: bytes) -> bool:
        """Tell whether anything is tracked below ``match``, in the index or in the commit."""
        if not match or match.endswith(b"/"):
            return True
        start, stop = self._index.below(match)
        below = lookup(self._checkout.store, self._tree, match)
        return start != stop or (below is not None and stat.S_ISDIR(below.mode))

    def _difference_of(self, path: bytes) -> Difference | None:
        head = lookup(self._checkout.store, self._tree, path)
        entry = self._index.find(path)
        if entry is not None and entry.is_intent_to_add:
            entry = None
        return None if head == tree_entry(entry) else Difference(head, entry)

    def _unmatched(self, spec: pathspec.Spec) -> PathspecError:
        name = spec.match.rstrip(b"/")
        st = self._files.lstat(name) if name else None
        if spec.regex is None and st is not None and self._ignores.is_ignored(name, is_folder=stat.S_ISDIR(st.st_mode)):
            return _ignored(name)
        return PathspecError(
            "no-such-path",
            f"{text(spec.given)!r} matches no file that is tracked or could be added",
            "nothing was pushed; check the spelling and the folder the command runs in",
        )

    def _result(self) -> Staged:
        store = self._checkout.store
        changes = []
        for path in sorted(self._wanted):
            if self._differences is not None:
                difference = self._differences.get(path)
                old = difference.head if difference is not None else tree_entry(self._index.find(path))
            else:
                old = lookup(store, self._tree, path)
            if old is not None and stat.S_ISDIR(old.mode):
                old = None
            if old != self._wanted[path]:
                changes.append(change(path, old, self._wanted[path]))
        return assemble(
            self._checkout,
            self._base,
            tuple(changes),
            dict(self._entries),
            self._selection,
            self._began_s,
            index=self._index,
        )


def _ignored(name: bytes) -> PathspecError:
    return PathspecError(
        "path-ignored", f"{text(name)} is ignored by a .gitignore rule", "nothing was pushed; change the rule to add it"
    )


def _is_within(folder: bytes, other: bytes) -> bool:
    return not other or folder == other or folder.startswith(other + b"/")
