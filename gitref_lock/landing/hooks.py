"""Run the hooks that git-commit(1) and git-push(1) would run, with the environment they expect (githooks(5)).

pre-commit sees the content that is to be committed in a temporary index and may add to it; commit-msg and
prepare-commit-msg see it too, and may rewrite the message; pre-push is where Git LFS uploads. A hook that is not
executable is passed over, as git does.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.dating import date_ns
from gitref_lock.landing.errors import HookError
from gitref_lock.landing.index_diff import diff_index
from gitref_lock.landing.index_file import UNKNOWN_STAT, Entry, IndexFile, UnreadableIndexError, read_index
from gitref_lock.landing.index_patch import new_entry, patched, write_new
from gitref_lock.landing.staged import Staged, restaged
from gitref_lock.landing.trees import TreeEntry
from gitref_lock.remotes import children
from gitref_lock.remotes.gitconfig import expand_path

if TYPE_CHECKING:
    from subprocess import CompletedProcess


class Hooks:
    """The hooks of one checkout. ``said`` collects what they print, for people."""

    def __init__(self, checkout: Checkout) -> None:
        """Find the hooks' folder: core.hooksPath, else the one shared by all work trees."""
        self._checkout = checkout
        configured = checkout.setting("core", "hooksPath")
        folder = Path(expand_path(configured, checkout.environ)) if configured else checkout.common_dir / "hooks"
        self._folder = checkout.work_tree / folder
        self.said: list[str] = []

    def find(self, name: str) -> Path | None:
        """Return the hook's program, None when there is none that can be run."""
        path = self._folder / name
        return path if path.is_file() and os.access(path, os.X_OK) else None

    def run(
        self, name: str, arguments: Sequence[str], extra: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> None:
        """Run one hook if it exists; raise HookError with its words when it fails."""
        program = self.find(name)
        if program is None:
            return
        done = _execute([str(program), *arguments], self._checkout.work_tree, self._environment(extra), stdin)
        words = done.stdout.decode("utf-8", "replace")
        if words.strip():
            self.said.append(words)
        if done.returncode:
            last = " / ".join(words.strip().splitlines()[-5:])
            raise HookError(
                "hook-failed",
                f"the {name} hook exited with {done.returncode}{': ' + last if last else ''}",
                "nothing was pushed; correct what the hook found, or pass --no-verify where it may be skipped",
            )

    def _environment(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        """Return what a hook of git would have in its environment.

        Git names the git directory only where it does not lie at the top of the work tree as ``.git``, or where the
        environment named something before: with GIT_DIR alone, each folder that a hook enters is the work tree.
        """
        checkout = self._checkout
        found = {
            **checkout.environ,
            "GIT_EDITOR": ":",
            "GIT_PREFIX": os.fsdecode(checkout.prefix),
            **(extra or {}),
        }
        named, tree = checkout.environ.get("GIT_DIR"), checkout.environ.get("GIT_WORK_TREE")
        if tree:
            found["GIT_WORK_TREE"] = str(checkout.work_tree)
        if named and Path(os.path.realpath(checkout.work_tree / named)) == checkout.git_dir:
            return found
        plain = checkout.work_tree / ".git"
        if named or tree or checkout.setting("core", "worktree") or not plain.is_dir():
            found["GIT_DIR"] = str(checkout.git_dir)
        return found

    def pre_commit(self, staged: Staged) -> Staged:
        """Run pre-commit on what is to be committed; return the staging with what the hook added."""
        if self.find("pre-commit") is None:
            return staged
        with tempfile.TemporaryDirectory(dir=self._checkout.private_dir, prefix="hook-") as folder:
            index = Path(folder) / "index"
            try:
                self._index_to_commit(staged, index)
            except UnreadableIndexError as error:
                raise HookError(
                    "hook-needs-plain-index",
                    f"{error}; a pre-commit hook cannot be shown what is to be committed",
                    "turn the split or sparse index off for this clone, or pass --no-verify",
                ) from error
            content = index.read_bytes()
            self.run("pre-commit", (), {"GIT_INDEX_FILE": str(index)})
            if index.read_bytes() == content:
                return staged
            return self._after_hook(staged, index)

    def _index_to_commit(self, staged: Staged, target: Path) -> None:
        """Write the index that holds exactly what is to be committed; raise UnreadableIndexError."""
        index = self._checkout.read_index()
        store = self._checkout.store
        base = self._checkout.tree_of(staged.base)
        edits: dict[bytes, Entry | None] = {}
        # content staged for paths that are not part of this push is hidden from the hook
        for path, difference in diff_index(store, index, base.encode() if base else None).items():
            edits[path] = _entry(path, difference.head)
        for item in staged.changes:
            known = staged.index_entries.get(item.path) or index.find(item.path)
            matches = known is not None and item.new == TreeEntry(known.mode, known.oid)
            edits[item.path] = known if matches and known is not None else _entry(item.path, item.new)
        write_new(target, patched(index, edits))
        os.utime(target, ns=(date_ns(index, staged.began_s),) * 2)
        self._refresh(target)

    def _refresh(self, index: Path) -> None:
        """Have git note the files' status, as it does before a hook: without one plumbing takes a file for changed."""
        with suppress(OSError):  # no git here: then no hook asks it either
            children.run(
                ["git", "update-index", "-q", "--refresh"],
                folder=self._checkout.work_tree,
                environ=self._environment({"GIT_INDEX_FILE": str(index)}),
            )

    def _after_hook(self, staged: Staged, path: Path) -> Staged:
        """Take over what the hook has left in its index."""
        base = self._checkout.tree_of(staged.base)
        try:
            index: IndexFile = read_index(path)
        except UnreadableIndexError as error:
            raise HookError("hook-needs-plain-index", f"the pre-commit hook left an index that {error}") from error
        differences = diff_index(self._checkout.store, index, base.encode() if base else None)
        wanted = {path: _tree_entry(item.entry) for path, item in differences.items()}
        entries = dict(staged.index_entries)
        before = {item.path: item.new for item in staged.changes}
        for name in wanted.keys() | before.keys():
            entry = index.find(name)
            if wanted.get(name) != before.get(name) or name in entries:
                entries[name] = entry
        return restaged(self._checkout, staged, wanted, entries)

    def message(self, message: str, staged: Staged, *, is_verified: bool) -> str:
        """Run prepare-commit-msg and, unless --no-verify was given, commit-msg; return the message as they leave it.

        They see what is to be committed, as pre-commit does; in a clone whose index only git reads, they see that one.
        """
        if not any(self.find(name) for name in ("prepare-commit-msg", *(("commit-msg",) if is_verified else ()))):
            return message
        with tempfile.TemporaryDirectory(dir=self._checkout.private_dir, prefix="hook-") as folder:
            path = Path(folder) / "COMMIT_EDITMSG"
            path.write_text(message, encoding="utf-8", errors="surrogateescape")
            extra: dict[str, str] = {}
            with suppress(UnreadableIndexError):
                self._index_to_commit(staged, Path(folder) / "index")
                extra["GIT_INDEX_FILE"] = str(Path(folder) / "index")
            self.run("prepare-commit-msg", (str(path), "message"), extra)
            if is_verified:
                self.run("commit-msg", (str(path),), extra)
            return path.read_text(encoding="utf-8", errors="surrogateescape")

    def pre_push(self, remote: str, url: str, updates: Sequence[tuple[str, str, str, str]]) -> None:
        """Run pre-push; ``updates`` are (local ref, local id, remote ref, remote id)."""
        lines = "".join(" ".join(update) + "\n" for update in updates)
        self.run("pre-push", (remote, url), stdin=lines.encode("utf-8", "surrogateescape"))


def _execute(
    command: list[str], folder: Path, environment: Mapping[str, str], stdin: bytes | None
) -> CompletedProcess[bytes]:
    def start(words: list[str]) -> CompletedProcess[bytes]:
        return children.run(words, folder=folder, environ=environment, stdin=stdin or b"", merges_stderr=True)

    try:
        return start(command)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise HookError("hook-failed", f"{command[0]} cannot be run: {error.strerror}") from error
        return start(["sh", *command])  # a script without a first line, which a shell would run


def _entry(path: bytes, entry: TreeEntry | None) -> Entry | None:
    return None if entry is None else new_entry(path, entry.mode, entry.oid, UNKNOWN_STAT)


def _tree_entry(entry: Entry | None) -> TreeEntry | None:
    return None if entry is None else TreeEntry(entry.mode, entry.oid)
