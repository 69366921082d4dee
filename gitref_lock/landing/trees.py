"""Trees: look up, compare, and change a few paths, touching only the folders on the way.

Paths are bytes relative to the repository's root, modes are those git stores in an index. Whole trees are never
flattened unless their every file differs, so a change costs the same in a repository of 80 and of 80,000 files.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import NamedTuple

from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID, Tree

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing.errors import LandingError

TREE = 0o040000
GITLINK = 0o160000
SYMLINK = 0o120000
REGULAR = 0o100644
EXECUTABLE = 0o100755


class TreeEntry(NamedTuple):
    """Mode and id (hex, as bytes) of one path."""

    mode: int
    oid: bytes


@dataclass(frozen=True, slots=True)
class PathChange:
    """One path's change. A mode of 0 with id None means that the path does not exist on that side."""

    path: bytes
    old_mode: int
    old_id: Oid | None
    new_mode: int
    new_id: Oid | None

    @property
    def old(self) -> TreeEntry | None:
        """The old side, None when absent."""
        return None if self.old_id is None else TreeEntry(self.old_mode, self.old_id.encode())

    @property
    def new(self) -> TreeEntry | None:
        """The new side, None when absent."""
        return None if self.new_id is None else TreeEntry(self.new_mode, self.new_id.encode())


def change(path: bytes, old: TreeEntry | None, new: TreeEntry | None) -> PathChange:
    """Return the change of ``path`` from ``old`` to ``new``."""
    return PathChange(
        path,
        old.mode if old else 0,
        Oid(old.oid.decode()) if old else None,
        new.mode if new else 0,
        Oid(new.oid.decode()) if new else None,
    )


def canonical_mode(mode: int) -> int:
    """Return the mode that git's index holds for a tree entry's ``mode``; old trees carry 100664 and the like."""
    if stat.S_ISREG(mode):
        return EXECUTABLE if mode & 0o100 else REGULAR
    return mode & 0o170000


def load_tree(store: BaseObjectStore, oid: bytes) -> Tree:
    """Return one tree object; raise LandingError when it is missing."""
    try:
        found = store[ObjectID(oid)]
    except KeyError as error:
        raise LandingError("missing-object", f"tree {oid.decode()} is not in this clone") from error
    if not isinstance(found, Tree):
        raise LandingError("missing-object", f"{oid.decode()} is not a tree")
    return found


def tree_items(store: BaseObjectStore, oid: bytes | None) -> dict[bytes, TreeEntry]:
    """Return the direct entries of a tree by name, with canonical modes; nothing for None."""
    if oid is None:
        return {}
    return {
        item.path: TreeEntry(canonical_mode(item.mode), bytes(item.sha)) for item in load_tree(store, oid).iteritems()
    }


def lookup(store: BaseObjectStore, tree: bytes | None, path: bytes) -> TreeEntry | None:
    """Return the entry at ``path``, which may be a folder; None when there is none."""
    if tree is None:
        return None
    here = TreeEntry(TREE, tree)
    for name in path.split(b"/"):
        if here.mode != TREE:
            return None
        try:
            mode, oid = load_tree(store, here.oid)[name]
        except KeyError:
            return None
        here = TreeEntry(canonical_mode(mode), bytes(oid))
    return here


def files_below(store: BaseObjectStore, tree: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, TreeEntry]]:
    """Yield every file, symlink and gitlink of a tree with its full path."""
    for name, entry in tree_items(store, tree).items():
        if entry.mode == TREE:
            yield from files_below(store, entry.oid, prefix + name + b"/")
        else:
            yield prefix + name, entry


def diff_trees(
    store: BaseObjectStore, old: bytes | None, new: bytes | None, prefix: bytes = b""
) -> Iterator[PathChange]:
    """Yield each path that differs, sorted within its folder; equal subtrees are not opened."""
    if old == new:
        return
    before, after = tree_items(store, old), tree_items(store, new)
    for name in sorted(before.keys() | after.keys()):
        left, right = before.get(name), after.get(name)
        if left == right:
            continue
        path = prefix + name
        left_tree = left.oid if left and left.mode == TREE else None
        right_tree = right.oid if right and right.mode == TREE else None
        left_file = None if left_tree else left
        right_file = None if right_tree else right
        if left_file or right_file:
            yield change(path, left_file, right_file)
        if left_tree or right_tree:
            yield from diff_trees(store, left_tree, right_tree, path + b"/")


class TreeBuild(NamedTuple):
    """A tree built and the trees that had to be stored for it."""

    tree: Oid
    new_trees: tuple[Oid, ...]


def apply_changes(
    store: BaseObjectStore, tree: bytes | None, changes: Iterable[tuple[bytes, TreeEntry | None]]
) -> TreeBuild:
    """Return the tree that results from setting (or with None removing) the given paths.

    Removing an absent path is no error, a file gives way to a folder of its name and the reverse, and a folder that
    loses its last entry goes away. Trees are stored as they are built.
    """
    root = _Wish()
    for path, entry in changes:
        node = root
        for name in path.split(b"/"):
            node = node.below.setdefault(name, _Wish())
        node.is_asked = True
        node.entry = entry
    stored: list[Oid] = []
    top = _build(store, tree, root, stored)
    if top is None:
        empty = Tree()
        _store(store, empty, stored)
        top = bytes(empty.id)
    return TreeBuild(Oid(top.decode()), tuple(stored))


@dataclass(slots=True)
class _Wish:
    """What is wanted at one name, and below it. ``is_asked`` with no ``entry`` is a removal."""

    entry: TreeEntry | None = None
    is_asked: bool = False
    below: dict[bytes, _Wish] = field(default_factory=dict)

    def sets_below(self) -> bool:
        """Tell whether anything is set below, so that a folder must be here."""
        return any(wish.entry is not None or wish.sets_below() for wish in self.below.values())


def _build(store: BaseObjectStore, oid: bytes | None, wish: _Wish, stored: list[Oid]) -> bytes | None:
    """Return the id of the tree ``oid`` with the wishes below applied, None when nothing is left in it."""
    result = Tree.from_string(load_tree(store, oid).as_raw_string()) if oid is not None else Tree()
    for name, child in wish.below.items():
        present = _entry_of(result, name)
        is_folder = present is not None and present[0] == TREE
        if child.entry is not None and not child.sets_below():
            result[name] = (child.entry.mode, ObjectID(child.entry.oid))
        elif is_folder or child.sets_below():
            folder = _build(store, bytes(present[1]) if present is not None and is_folder else None, child, stored)
            if folder is not None:
                result[name] = (TREE, ObjectID(folder))
            elif present is not None:
                del result[name]
        elif child.is_asked and present is not None:
            del result[name]
    if not len(result):
        return None
    if oid is None or bytes(result.id) != oid:
        _store(store, result, stored)
    return bytes(result.id)


def _entry_of(tree: Tree, name: bytes) -> tuple[int, ObjectID] | None:
    try:
        return tree[name]
    except KeyError:
        return None


def _store(store: BaseObjectStore, tree: Tree, stored: list[Oid]) -> None:
    if tree.id not in store:
        store.add_object(tree)
    stored.append(Oid(tree.id.decode("ascii")))
