"""The outcome of staging: what is to land, and what the index must hold afterwards.

Staging writes objects only. Refs, index and files stay as they are until the landing is applied
(docs/protocol.md, section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from enum import Enum

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.dating import OLDEST_S
from gitref_lock.landing.index_file import Entry, IndexFile, UnreadableIndexError
from gitref_lock.landing.trees import GITLINK, PathChange, TreeEntry, apply_changes, change, lookup


class Selection(Enum):
    """Which content a push takes."""

    STAGED = "staged"
    TRACKED = "tracked"
    ALL = "all"
    PATHS = "paths"


@dataclass(frozen=True, slots=True)
class Staged:
    """What one push stages.

    ``base`` is the commit it was compared with (None: unborn), ``tree`` the resulting tree, ``changes`` each path that
    differs from ``base``, sorted. ``new_objects`` are the blobs and trees that a receiver of ``base`` may lack.
    ``index_entries`` is what the index must hold afterwards for the paths that were read from the work tree (None:
    no entry); content that is staged already is not listed, and what is staged for other paths stays staged.
    ``index_before`` is what the index held for all these paths when they were staged; a path is absent where that
    could not be told. ``through_git`` is the reason why an installed git did the work, None when it was done
    in-process. ``began_s`` is the second in which files were first looked at, by the file system's own clock.
    """

    base: Oid | None
    tree: Oid
    changes: tuple[PathChange, ...]
    new_objects: tuple[Oid, ...]
    index_entries: Mapping[bytes, Entry | None]
    selection: Selection
    through_git: str | None = field(default=None)
    index_before: Mapping[bytes, TreeEntry | None] = field(default_factory=dict)
    began_s: int = OLDEST_S

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.changes


def assemble(
    checkout: Checkout,
    base: Oid | None,
    changes: tuple[PathChange, ...],
    entries: Mapping[bytes, Entry | None],
    selection: Selection,
    began_s: int,
    through_git: str | None = None,
    index: IndexFile | None = None,
) -> Staged:
    """Build the tree of ``changes`` on ``base`` and return the whole staging; the blobs must be stored already.

    ``index`` is the index as the staging read it; None: it is read now, if it can be.
    """
    tree = checkout.tree_of(base)
    built = apply_changes(checkout.store, tree.encode() if tree else None, [(item.path, item.new) for item in changes])
    blobs = tuple(item.new_id for item in changes if item.new_id is not None and item.new_mode != GITLINK)
    before = _held(checkout, index, {item.path for item in changes} | entries.keys())
    objects = (*blobs, *built.new_trees)
    return Staged(base, built.tree, changes, objects, entries, selection, through_git, before, began_s)


def _held(checkout: Checkout, index: IndexFile | None, paths: Iterable[bytes]) -> dict[bytes, TreeEntry | None]:
    """Return what the index holds for ``paths``, nothing for an index that only git reads."""
    try:
        known = index if index is not None else checkout.read_index()
    except UnreadableIndexError:
        return {}
    return {path: tree_entry(known.find(path)) for path in paths}


def tree_entry(entry: Entry | None) -> TreeEntry | None:
    """Return mode and id of an index entry; None for no entry and for one that is only intended."""
    return None if entry is None or entry.is_intent_to_add else TreeEntry(entry.mode, entry.oid)


def restaged(
    checkout: Checkout,
    staged: Staged,
    wanted: Mapping[bytes, TreeEntry | None],
    entries: Mapping[bytes, Entry | None],
) -> Staged:
    """Return ``staged`` with other content: exactly the paths of ``wanted`` (None: removed)."""
    tree = checkout.tree_of(staged.base)
    changes = []
    for path in sorted(wanted):
        old = lookup(checkout.store, tree.encode() if tree else None, path)
        old = None if old is None or old.mode == 0o040000 else old
        if old != wanted[path]:
            changes.append(change(path, old, wanted[path]))
    fresh = assemble(checkout, staged.base, tuple(changes), entries, staged.selection, staged.began_s)
    # a path that is new to the push was not looked at before
    before = {**fresh.index_before, **staged.index_before}
    return replace(fresh, through_git=staged.through_git, index_before=before)
