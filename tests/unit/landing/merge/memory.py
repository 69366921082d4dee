"""Trees in memory for tests of the merge: written from and read back as plain mappings."""

from __future__ import annotations

from collections.abc import Mapping

from dulwich.object_store import BaseObjectStore, MemoryObjectStore
from dulwich.objects import Blob, ObjectID, ShaFile, Tree

from gitref_lock.core.names import Oid
from gitref_lock.landing.merge.policy import Policy, parse_rules
from gitref_lock.landing.merge.results import TreeMerge
from gitref_lock.landing.merge.trees import merge_trees

FILE, EXECUTABLE, SYMLINK, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o160000

Files = Mapping[str, bytes | tuple[int, bytes]]
"""Files by path; a bare content is a regular file, and a submodule's content is its commit id."""


def write_tree(store: BaseObjectStore, files: Files) -> Oid:
    """Store a tree and return its id."""
    tree = Tree()
    folders: dict[str, dict[str, bytes | tuple[int, bytes]]] = {}
    for path, file in files.items():
        folder, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(folder, {})[rest] = file
            continue
        mode, data = file if isinstance(file, tuple) else (FILE, file)
        oid = ObjectID(data)
        if mode != SUBMODULE:
            blob = Blob.from_string(data)
            store.add_object(blob)
            oid = blob.id
        tree.add(path.encode(), mode, oid)
    for folder, inside in folders.items():
        tree.add(folder.encode(), 0o040000, ObjectID(write_tree(store, inside).encode()))
    store.add_object(tree)
    return Oid(tree.id.decode())


def read_tree(store: BaseObjectStore, tree: Oid | None) -> dict[str, bytes | tuple[int, bytes]]:
    """Return all files of a tree, regular ones as bare content."""
    assert tree is not None
    files: dict[str, bytes | tuple[int, bytes]] = {}
    for entry in store.iter_tree_contents(ObjectID(tree.encode())):
        assert entry.path is not None
        assert entry.mode is not None
        assert entry.sha is not None
        data = bytes(entry.sha) if entry.mode == SUBMODULE else store[entry.sha].as_raw_string()
        files[entry.path.decode()] = data if entry.mode == FILE else (entry.mode, data)
    return files


class Merging:
    """One merge in memory: the store, what was added to it, and the result."""

    def __init__(
        self, base: Files | None, ours: Files, theirs: Files, *rules: str, policy: Policy | None = None
    ) -> None:
        """Merge under ``rules`` (``GLOB=STRATEGY``), or under ``policy``."""
        self.store = MemoryObjectStore()
        self.added: list[ShaFile] = []
        self.base = None if base is None else write_tree(self.store, base)
        self.ours, self.theirs = write_tree(self.store, ours), write_tree(self.store, theirs)
        used = policy if policy is not None else Policy(parse_rules(rules))
        self.result: TreeMerge = merge_trees(self.store, self.base, self.ours, self.theirs, used, self._add)

    def _add(self, thing: ShaFile) -> None:
        self.added.append(thing)
        self.store.add_object(thing)

    @property
    def files(self) -> dict[str, bytes | tuple[int, bytes]]:
        """The merged files."""
        return read_tree(self.store, self.result.tree)

    @property
    def conflicts(self) -> dict[str, str]:
        """The reason of each conflict, by path."""
        return {conflict.path.decode(): conflict.reason for conflict in self.result.conflicts}

    @property
    def resolved(self) -> dict[str, str]:
        """The strategy of each resolution, by path."""
        return {resolution.path.decode(): resolution.strategy for resolution in self.result.resolutions}
