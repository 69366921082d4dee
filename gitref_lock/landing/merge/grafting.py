"""Carrying edits out on a tree: only the directories on the way to an edit are written anew, and empty ones vanish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from dulwich.objects import ObjectID

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.merge.objects import TREE_MODE, Entry, Objects


@dataclass(slots=True)
class Edits:
    """The edits of one name and of what lies below it. ``is_edited`` tells whether ``entry`` (None: deleted) counts."""

    is_edited: bool = False
    entry: Entry | None = None
    below: dict[bytes, Edits] = field(default_factory=dict)

    @classmethod
    def of(cls, edits: Mapping[bytes, Entry | None]) -> Edits:
        """Sort full paths into their directories."""
        root = cls()
        for path, entry in edits.items():
            place = root
            for name in path.split(b"/"):
                place = place.below.setdefault(name, cls())
            place.is_edited, place.entry = True, entry
        return root


@dataclass(frozen=True, slots=True)
class Clash:
    """After all edits ``path`` would be both a file and a directory."""

    path: bytes
    file: Entry
    directory: ObjectID


SettleClash = Callable[[Clash], Entry | None]


def graft(objects: Objects, tree: ObjectID, edits: Edits, settle: SettleClash) -> ObjectID:
    """Return ``tree`` with ``edits`` carried out; ``settle`` decides where a file and a directory share a name."""
    made = _graft(objects, tree, edits, settle, b"")
    return made if made is not None else objects.put_tree({})


def _graft(
    objects: Objects, tree: ObjectID | None, edits: Edits, settle: SettleClash, prefix: bytes
) -> ObjectID | None:
    """Return the new directory, or None when nothing is left in it."""
    old = objects.tree(tree)
    new = dict(old)
    for name, edit in edits.below.items():
        entry = _edit_entry(objects, objects.entry(tree, name), edit, settle, prefix + name)
        if entry is None:
            new.pop(name, None)
        else:
            new[name] = entry
    if new == old:
        return tree
    return objects.put_tree(new) if new else None


def _edit_entry(objects: Objects, present: Entry | None, edit: Edits, settle: SettleClash, path: bytes) -> Entry | None:
    """Return what one name holds after its edits."""
    directory = present.oid if present is not None and present.is_tree else None
    file = None if directory is not None else present
    if edit.is_edited:
        file = edit.entry
    if edit.below:
        directory = _graft(objects, directory, edit, settle, path + b"/")
    if file is not None and directory is not None:
        return settle(Clash(path, file, directory))
    return file if directory is None else Entry(TREE_MODE, directory)
