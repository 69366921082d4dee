"""What is staged: the index beside a commit's tree.

Folders whose cache tree still names the tree's own subtree are passed over without looking at their entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dulwich.object_store import BaseObjectStore

from gitref_lock.landing.index_file import CacheNode, Entry, IndexFile
from gitref_lock.landing.trees import TREE, TreeEntry, files_below, tree_items


class Difference(NamedTuple):
    """A path whose index entry differs from the tree; None on the side where it does not exist."""

    head: TreeEntry | None
    entry: Entry | None


def diff_index(store: BaseObjectStore, index: IndexFile, tree: bytes | None) -> Mapping[bytes, Difference]:
    """Return the paths where ``index`` and ``tree`` differ.

    An intent-to-add entry counts as absent, as for `git commit`. Conflict sides count as absent too; callers refuse
    them first.
    """
    found: dict[bytes, Difference] = {}
    _Walk(store, index, found).folder(b"", index.cache_tree(), tree, 0, len(index))
    return found


class _Walk:
    def __init__(self, store: BaseObjectStore, index: IndexFile, found: dict[bytes, Difference]) -> None:
        self._store = store
        self._index = index
        self._found = found

    def folder(self, prefix: bytes, node: CacheNode | None, tree: bytes | None, start: int, stop: int) -> None:
        """Compare the entries ``start`` .. ``stop``, all under ``prefix``, with those of a tree."""
        if node is not None and node.count >= 0 and node.oid == tree and node.count == stop - start:
            return
        rest = tree_items(self._store, tree)
        names = self._index.names
        cut = len(prefix)
        at = start
        while at < stop:
            name, slash, _ = names[at][cut:].partition(b"/")
            if slash:
                end = min(self._index.below(prefix + name)[1], stop)
                below = rest.get(name)
                is_tree = below is not None and below.mode == TREE
                if is_tree:
                    del rest[name]
                child = node.children.get(name) if node is not None else None
                self.folder(prefix + name + b"/", child, below.oid if below is not None and is_tree else None, at, end)
                at = end
            else:
                entry = self._index.entry(at)
                at += 1
                if entry.is_intent_to_add or entry.stage:
                    continue
                there = rest.get(name)
                if there is not None and there.mode != TREE:
                    del rest[name]
                    if (there.mode, there.oid) == (entry.mode, entry.oid):
                        continue
                    self._found[prefix + name] = Difference(there, entry)
                else:
                    self._found[prefix + name] = Difference(None, entry)
        for name, gone in rest.items():
            if gone.mode == TREE:
                for path, file in files_below(self._store, gone.oid, prefix + name + b"/"):
                    self._found.setdefault(path, Difference(file, None))
            else:
                self._found.setdefault(prefix + name, Difference(gone, None))
