"""The three-way merge of whole trees: what a push lands when the remote has moved.

The result is what git's own merge makes of the same three trees wherever that is clean. Where it is not, the policy
decides each path and every decision is reported, or the path is a conflict and there is no tree. Paths that only one
side changed are never a strategy's business. Work is proportional to what changed, not to the size of the repository
(docs/protocol.md, section 7; docs/merge.md).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from dataclasses import replace

from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID, ShaFile

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing.merge.changes import Changes, changes_between, parent_of, parents_of
from gitref_lock.landing.merge.files import Deferred, FileMerger, Question
from gitref_lock.landing.merge.grafting import Clash, Edits, graft
from gitref_lock.landing.merge.objects import Entry, Objects
from gitref_lock.landing.merge.policy import Policy
from gitref_lock.landing.merge.renames import Renames, find_renames
from gitref_lock.landing.merge.results import Conflict, Resolution, TreeMerge, as_oid
from gitref_lock.landing.strategies.base import StrategyFailed


def merge_trees(
    store: BaseObjectStore,
    base: Oid | None,
    ours: Oid,
    theirs: Oid,
    policy: Policy,
    add: Callable[[ShaFile], None],
    fetch_missing: Callable[[Sequence[Oid]], None] | None = None,
) -> TreeMerge:
    """Merge the changes from tree ``base`` to ``ours`` and to ``theirs``; ``base`` None is the empty tree.

    ``add`` receives every new blob and tree, and must make it readable in ``store``; nothing is added for a merge with
    conflicts. ``fetch_missing`` brings absent objects into the store (partial clones); an object that stays absent
    raises MissingObjectError.
    """
    if theirs in (ours, base):
        return TreeMerge(ours)
    if ours == base:
        return TreeMerge(theirs)
    objects = Objects(store, add, fetch_missing)
    trees = [None if tree is None else ObjectID(tree.encode()) for tree in (base, ours, theirs)]
    assert trees[1] is not None
    assert trees[2] is not None
    return _TreeMerger(objects, policy, trees[0], trees[1], trees[2]).run()


@dataclass(frozen=True, slots=True)
class _Side:
    """One side: its tree, its changes, and the renames among them that matter."""

    changes: Changes
    renames: Renames


class _TreeMerger:
    """One merge: gathers edits of the tree of theirs, then carries them out."""

    def __init__(
        self, objects: Objects, policy: Policy, base: ObjectID | None, ours: ObjectID, theirs: ObjectID
    ) -> None:
        self._objects = objects
        self._policy = policy
        self._our_tree, self._their_tree = ours, theirs
        our_changes = changes_between(objects, base, ours)
        their_changes = changes_between(objects, base, theirs)
        self._ours = _Side(our_changes, _relevant_renames(objects, our_changes, their_changes))
        self._theirs = _Side(their_changes, _relevant_renames(objects, their_changes, our_changes))
        self._files = FileMerger(objects, policy)
        self._edits: dict[bytes, Entry | None] = {}
        self._done: set[bytes] = set()
        self._resolutions: dict[bytes, Resolution] = {}
        self._conflicts: dict[bytes, Conflict] = {}
        self._deferred: list[Deferred] = []

    def run(self) -> TreeMerge:
        self._merge_renames()
        self._merge_paths()
        self._check_moved_dirs(self._ours, self._theirs, is_ours_moved=True)
        self._check_moved_dirs(self._theirs, self._ours, is_ours_moved=False)
        tree = graft(self._objects, self._their_tree, Edits.of(self._edits), self._settle_clash)
        if not self._conflicts and self._deferred:
            tree = self._run_deferred(tree)
        if self._conflicts:
            return TreeMerge(None, (), tuple(self._conflicts[path] for path in sorted(self._conflicts)))
        self._objects.flush()
        # A file may have lost its place to a directory, or the other way round, after it was decided.
        return TreeMerge(
            as_oid(tree),
            tuple(
                replace(self._resolutions[path], result=_oid(self._entry_at(tree, path)))
                for path in sorted(self._resolutions)
            ),
        )

    def _report(self, resolution: Resolution) -> None:
        """Note a resolution; a path that is decided twice has one, the last, with everything that was said of it."""
        before = self._resolutions.get(resolution.path)
        if before is not None:
            resolution = replace(resolution, detail=before.detail + resolution.detail)
        self._resolutions[resolution.path] = resolution

    def _refuse(self, conflict: Conflict) -> None:
        """Note a conflict; the first reason of a path counts."""
        self._conflicts.setdefault(conflict.path, conflict)

    def _merge_renames(self) -> None:
        """Let each edit follow the file that the other side renamed; a rename that clashes is a conflict."""
        ours, theirs = self._ours, self._theirs
        for path in sorted(ours.renames.undecided | theirs.renames.undecided):
            versions = (ours.changes.new.get(path), theirs.changes.new.get(path))
            if versions == (None, None) and not self._policy.is_strict(path):
                # Deleted by both: even if it was renamed, nothing of it is lost.
                continue
            if path in ours.changes.new and path in theirs.changes.new:
                self._settle_structure("cannot tell for sure whether it was renamed", path, [path])
        for source in sorted(ours.renames.pairs.keys() | theirs.renames.pairs.keys()):
            if source not in ours.changes.new or source not in theirs.changes.new:
                continue
            self._merge_rename(source, ours.renames.pairs.get(source), theirs.renames.pairs.get(source))

    def _merge_rename(self, source: bytes, our_target: bytes | None, their_target: bytes | None) -> None:
        """Merge one file that at least one side renamed and both sides touched."""
        ours, theirs = self._ours.changes, self._theirs.changes
        if our_target is not None and their_target is not None and our_target != their_target:
            self._settle_structure("renamed to different names", our_target, [source, our_target, their_target])
            return
        target = our_target or their_target
        assert target is not None
        paths = [source, target]
        other = theirs if their_target is None else ours
        if other.new[source] is None and our_target != their_target:
            self._settle_structure("renamed on one side, deleted on the other", target, paths)
        elif our_target != their_target and _kind(other.new[source]) != _kind(other.old[source]):
            self._settle_structure("renamed on one side, another kind of entry on the other", target, paths)
        elif target in self._done or (our_target != their_target and target in other.new):
            self._settle_structure("renamed onto a file that the other side has too", target, paths)
        else:
            self._done.update(paths)
            our_entry = ours.new[target if our_target is not None else source]
            their_entry = theirs.new[target if their_target is not None else source]
            self._edits[source] = None
            self._decide(Question(target, ours.old[source], our_entry, their_entry))

    def _merge_paths(self) -> None:
        """Take what only we changed, and decide what both changed."""
        ours, theirs = self._ours.changes, self._theirs.changes
        for path in sorted(ours.new.keys() - self._done):
            if path not in theirs.new:
                self._edits[path] = ours.new[path]
            elif ours.new[path] != theirs.new[path]:
                self._decide(Question(path, ours.old[path], ours.new[path], theirs.new[path]))

    def _decide(self, question: Question) -> None:
        """Have one path decided and note what came of it."""
        answer = self._files.decide(question)
        if isinstance(answer, Conflict):
            self._refuse(answer)
            return
        self._edits[question.path] = answer.entry
        if answer.resolution is not None:
            self._report(answer.resolution)
        if answer.deferred is not None:
            self._deferred.append(answer.deferred)

    def _settle_structure(self, reason: str, path: bytes, paths: Sequence[bytes]) -> None:
        """Give all of ``paths`` to the side that the policy of ``path`` names, or make it a conflict."""
        ours, theirs = self._ours.changes, self._theirs.changes
        self._done.update(paths)
        our_entry = next((ours.new[name] for name in reversed(paths) if ours.new.get(name)), None)
        their_entry = next((theirs.new[name] for name in reversed(paths) if theirs.new.get(name)), None)
        side = self._policy.side(path)
        if side is None:
            self._refuse(Conflict(path, reason, _oid(our_entry), _oid(their_entry)))
            return
        if side == "ours":
            for name in paths:
                if name in ours.new or name in theirs.new:
                    self._edits[name] = ours.new[name] if name in ours.new else theirs.old[name]
        result = our_entry if side == "ours" else their_entry
        self._report(Resolution(path, side, _oid(our_entry), _oid(their_entry), _oid(result), (reason,)))

    def _check_moved_dirs(self, mover: _Side, other: _Side, *, is_ours_moved: bool) -> None:
        """Find files that one side added to a directory which the other side moved away.

        Whether such a file should move along only a person knows, so git stops. A policy that does not fail keeps the
        file where it was added, which loses nothing.
        """
        added = other.changes.added()
        # As in git, a directory that only received new subdirectories does not count.
        received = {parent_of(path) for path in added}
        moved = mover.renames.moved_dirs(mover.changes.removed_dirs & received)
        if not moved:
            return
        for path, entry in sorted(added.items()):
            home = next((folder for folder in parents_of(path) if folder in moved), None)
            if home is None:
                continue
            ours, theirs = (None, entry) if is_ours_moved else (entry, None)
            reason = f"added to {home.decode(errors='backslashreplace')}/, which the other side moved"
            if self._policy.is_strict(path):
                self._refuse(Conflict(path, reason, _oid(ours), _oid(theirs)))
            else:
                side = "theirs" if is_ours_moved else "ours"
                self._report(Resolution(path, side, _oid(ours), _oid(theirs), _oid(entry), (reason,)))

    def _settle_clash(self, clash: Clash) -> Entry | None:
        """Choose between a file and a directory of one name."""
        ours, theirs = self._entry_at(self._our_tree, clash.path), self._entry_at(self._their_tree, clash.path)
        reason = "a file on one side, a directory on the other"
        side = self._policy.side(clash.path)
        if side is not None and self._loses_a_move(clash.path, is_ours_kept=side == "ours"):
            # Whoever wins the name, a file that was moved there would be gone, or its edits, and nobody deleted it.
            reason, side = f"{reason}, and a file was moved there", None
        if side is None:
            self._refuse(Conflict(clash.path, reason, _oid(ours), _oid(theirs)))
            return clash.file
        chosen = ours if side == "ours" else theirs
        self._report(Resolution(clash.path, side, _oid(ours), _oid(theirs), _oid(chosen), (reason,)))
        return chosen

    def _loses_a_move(self, path: bytes, *, is_ours_kept: bool) -> bool:
        """Tell whether a file moved to ``path`` or below it is lost with the side that goes, or its edits are."""
        kept, lost = (self._ours, self._theirs) if is_ours_kept else (self._theirs, self._ours)
        return bool(self._moved_to(path, lost.changes)) or any(
            lost.changes.new.get(source) is not None for source in self._moved_to(path, kept.changes)
        )

    def _moved_to(self, path: bytes, changes: Changes) -> set[bytes]:
        """Return the files that one side moved, or may have moved, from elsewhere to ``path`` or below it."""
        below = path + b"/"
        sources = {name: old for name, old in changes.deleted().items() if not (name == path or name.startswith(below))}
        targets = {name: new for name, new in changes.added().items() if name == path or name.startswith(below)}
        found = find_renames(self._objects, sources, targets, sources)
        return {*found.pairs, *found.undecided}

    def _entry_at(self, tree: ObjectID, path: bytes) -> Entry | None:
        """Return what a tree holds at ``path``."""
        entry: Entry | None = None
        names: ObjectID | None = tree
        for name in path.split(b"/"):
            entry = self._objects.entry(names, name)
            if entry is None:
                return None
            names = entry.oid if entry.is_tree else None
        return entry

    def _run_deferred(self, tree: ObjectID) -> ObjectID:
        """Run the commands that want to see everything else merged; all of them see the same tree."""
        self._objects.flush()
        edits: dict[bytes, Entry | None] = {}
        for deferred in self._deferred:
            answer = deferred.run(tree.decode())
            if isinstance(answer, StrategyFailed):
                self._refuse(deferred.as_conflict(answer.reason))
                continue
            entry = deferred.as_entry(self._objects, answer)
            edits[deferred.question.path] = entry
            self._report(deferred.as_resolution(entry, answer))
        return graft(self._objects, tree, Edits.of(edits), self._settle_clash)


def _relevant_renames(objects: Objects, changes: Changes, other: Changes) -> Renames:
    """Find the renames of one side that the other side's changes make matter."""
    deleted = changes.deleted()
    if not deleted:
        return Renames()
    relevant = deleted.keys() & other.new.keys()
    if changes.removed_dirs:
        touched = changes.removed_dirs & {parent_of(path) for path in other.added()}
        if touched:
            relevant |= {path for path in deleted if any(folder in touched for folder in parents_of(path))}
    if not relevant:
        return Renames()
    return find_renames(objects, deleted, changes.added(), relevant)


def _kind(entry: Entry | None) -> int | None:
    """Return whether it is a file, a symlink or a submodule, as git's type bits."""
    return None if entry is None else stat.S_IFMT(entry.mode)


def _oid(entry: Entry | None) -> Oid | None:
    return None if entry is None else as_oid(entry.oid)
