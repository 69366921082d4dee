"""Stage through an installed git, into a temporary copy of the index.

Used where only git knows the exact result: filters such as LFS, ident, other encodings, split or sparse indexes, sparse
checkouts, submodules, unusual pathspecs. The real index is only read. The copy keeps the original's time, because git
decides by it which files it must read again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gitref_lock.landing import edited, scan
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.dating import file_system_second
from gitref_lock.landing.errors import LandingError, PathspecError, StagingError, UnfinishedOperationError
from gitref_lock.landing.index_access import EMPTY_TREE, without_pathspec_switches
from gitref_lock.landing.index_file import UNKNOWN_STAT, Entry, UnreadableIndexError, read_index
from gitref_lock.landing.index_patch import new_entry
from gitref_lock.landing.staged import Selection, Staged, assemble
from gitref_lock.landing.trees import GITLINK, PathChange, TreeEntry, change
from gitref_lock.remotes import children

_REFUSALS: tuple[tuple[str, str, type[LandingError]], ...] = (
    ("did not match any file", "no-such-path", PathspecError),
    ("are ignored by one of your", "path-ignored", PathspecError),
    ("is beyond a symbolic link", "beyond-symlink", PathspecError),
    ("outside of your sparse-checkout", "outside-sparse-checkout", PathspecError),
    ("is outside repository", "path-outside", PathspecError),
    ("Invalid pathspec magic", "bad-pathspec", PathspecError),
    ("magic not supported", "bad-pathspec", PathspecError),
    ("does not have a commit checked out", "embedded-repository", StagingError),
    ("unmerged", "unmerged-paths", UnfinishedOperationError),
)


def stage_with_git(checkout: Checkout, pathspecs: Sequence[bytes], *, take_all: bool, reason: str) -> Staged:
    """Stage like ``stage``; ``reason`` says why git is needed and goes into the refusal when there is none."""
    if shutil.which("git", path=checkout.environ.get("PATH")) is None:
        raise StagingError(
            "needs-git", f"{reason}; only an installed git can stage this exactly", "install git on this runner"
        )
    with tempfile.TemporaryDirectory(dir=checkout.private_dir, prefix="stage-") as folder:
        index = Path(folder) / "index"
        if checkout.index_path.exists():
            shutil.copy2(checkout.index_path, index)
        return _GitStager(checkout, index, reason).run(pathspecs, take_all=take_all)


class _GitStager:
    def __init__(self, checkout: Checkout, index: Path, reason: str) -> None:
        self._checkout = checkout
        self._index = index
        self._reason = reason
        self._environment = {
            **checkout.environ,
            "GIT_INDEX_FILE": str(index),
            "LC_ALL": "C",
            "LANGUAGE": "C",
            "GIT_TERMINAL_PROMPT": "0",
        }
        self._base = checkout.head()
        self._began_s = file_system_second(checkout.private_dir)

    def _git(self, *arguments: str | bytes, stdin: bytes = b"", is_users: bool = False) -> bytes:
        """Run git; only the PATHs of the user, ``is_users``, mean what the user's environment says about PATHs."""
        # fsmonitor and the untracked cache belong to the real index, not to a copy of it
        prefix = [
            "git",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.untrackedCache=false",
            "-c",
            "advice.addIgnoredFile=true",
        ]
        folder = self._checkout.work_tree / os.fsdecode(self._checkout.prefix)
        environ = self._environment if is_users else without_pathspec_switches(self._environment)
        done = children.run([*prefix, *arguments], folder=folder, environ=environ, stdin=stdin)
        if done.returncode:
            raise _refusal(done.stderr)
        return done.stdout

    def run(self, pathspecs: Sequence[bytes], *, take_all: bool) -> Staged:
        if self._git("ls-files", "-u", "-z"):
            raise UnfinishedOperationError(
                "unmerged-paths", "the index holds unmerged paths", "resolve the conflict and 'git add' the result"
            )
        before = self._differences([])
        gitlinks = self._gitlinks()
        selection = Selection.PATHS if pathspecs else Selection.ALL if take_all else Selection.STAGED
        if pathspecs:
            self._add_paths(pathspecs)
        elif take_all:
            self._git("add", "-A", "--", ":/")
        elif not before:
            selection = Selection.TRACKED
            self._git("add", "-u", "--", ":/")
        after = self._without_left(before, self._differences([]), pathspecs)
        for item in after.values():
            if item.new_mode == GITLINK and item.path not in gitlinks:
                raise scan.embedded(item.path)
        chosen = after
        if pathspecs:
            chosen = {path: after[path] for path in self._differences(pathspecs) if path in after}
        return self._result(before, after, chosen, selection)

    def _without_left(
        self, before: Mapping[bytes, PathChange], after: Mapping[bytes, PathChange], pathspecs: Sequence[bytes]
    ) -> Mapping[bytes, PathChange]:
        """Return ``after`` with what was staged ``before`` for files that are withheld and for submodules left behind.

        A submodule that is checked out as it was before the remote moved it on holds no change.
        """
        found = dict(after)
        withheld = edited.withheld(self._checkout, pathspecs)
        for path, note in edited.notes(self._checkout).items():
            item = found.get(path)
            is_behind = item is not None and item.new_mode == GITLINK and item.new == note.base
            if item is not None and (path in withheld or is_behind):
                del found[path]
                if path in before:
                    found[path] = before[path]
        return found

    def _add_paths(self, pathspecs: Sequence[bytes]) -> None:
        """Add the paths; one whose removal is staged already matches nothing any more and is no error."""
        stdin = b"\0".join(pathspecs) + b"\0"
        try:
            self._git("add", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=stdin, is_users=True)
        except PathspecError as error:
            if error.code != "no-such-path":
                raise
            remaining = []
            for one in pathspecs:
                if self._differences([one]) and not self._git("ls-files", "-z", "--", one, is_users=True):
                    continue
                remaining.append(one)
            if len(remaining) == len(pathspecs):
                raise
            if remaining:
                stdin = b"\0".join(remaining) + b"\0"
                self._git("add", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=stdin, is_users=True)

    def _gitlinks(self) -> frozenset[bytes]:
        """Return the submodules that are known before anything is added."""
        found = set()
        for line in self._git("ls-files", "-s", "-z", "--full-name", "--", ":/").split(b"\0"):
            if line.startswith(b"160000 "):
                found.add(line.partition(b"\t")[2])
        return frozenset(found)

    def _differences(self, pathspecs: Sequence[bytes]) -> Mapping[bytes, PathChange]:
        """Return what the temporary index holds beside the commit, limited to ``pathspecs``."""
        fields = self._git(
            "diff-index", "--cached", "--ita-invisible-in-index", "--raw", "-z", "--no-renames", "--no-abbrev",
            "--ignore-submodules=none", self._base or EMPTY_TREE, "--", *pathspecs,
            is_users=True,
        ).split(b"\0")  # fmt: skip
        found = {}
        for facts, path in zip(fields[::2], fields[1::2], strict=False):
            old_mode, new_mode, old, new, _status = facts.removeprefix(b":").split(b" ")
            found[path] = change(path, _entry(old_mode, old), _entry(new_mode, new))
        return found

    def _result(
        self,
        before: Mapping[bytes, PathChange],
        after: Mapping[bytes, PathChange],
        chosen: Mapping[bytes, PathChange],
        selection: Selection,
    ) -> Staged:
        changes = tuple(chosen[path] for path in sorted(chosen))
        entries: dict[bytes, Entry | None] = {}
        if selection is not Selection.STAGED:
            touched = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
            entries = self._entries(touched, before, after)
        return assemble(self._checkout, self._base, changes, entries, selection, self._began_s, self._reason)

    def _entries(
        self, touched: set[bytes], before: Mapping[bytes, PathChange], after: Mapping[bytes, PathChange]
    ) -> dict[bytes, Entry | None]:
        """Return the index entries that adding has changed, with file status where it can be read."""
        try:
            copy = read_index(self._index)
        except UnreadableIndexError:
            copy = None
        entries: dict[bytes, Entry | None] = {}
        for path in touched:
            item = after.get(path)
            wanted = item.new if item is not None else before[path].old
            known = copy.find(path) if copy is not None else None
            if wanted is None:
                entries[path] = None
            elif known is not None:
                entries[path] = new_entry(path, known.mode, known.oid, known.stat)
            else:
                entries[path] = new_entry(path, wanted.mode, wanted.oid, UNKNOWN_STAT)
        return entries


def _entry(mode: bytes, oid: bytes) -> TreeEntry | None:
    number = int(mode, 8)
    return TreeEntry(number, oid) if number else None


def _refusal(words: bytes) -> LandingError:
    """Return git's refusal as a typed error."""
    said = words.decode("utf-8", "replace")
    lines = [line for line in said.splitlines() if line and not line.startswith("hint:")]
    summary = " / ".join(lines[:3]) or "git gave no reason"
    for fragment, code, kind in _REFUSALS:
        if fragment in said:
            return kind(code, summary, "nothing was pushed")
    return StagingError("git-refused", f"git could not stage this: {summary}", "nothing was pushed")
