"""Plan a local move: which paths change between two commits, and what this push itself did to them."""

from __future__ import annotations

from dulwich.objects import ObjectID

from gitref_lock.core.names import Oid
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.dating import file_system_second
from gitref_lock.landing.index_file import IndexFile, UnreadableIndexError
from gitref_lock.landing.journal import Move, MovePath
from gitref_lock.landing.sparse import SparseRules
from gitref_lock.landing.staged import Staged, tree_entry
from gitref_lock.landing.trees import GITLINK, TreeEntry, diff_trees, lookup


def _raw(oid: Oid | None) -> bytes | None:
    return None if oid is None else oid.encode("ascii")


def plan_move(checkout: Checkout, old: Oid | None, new: Oid, own: Staged | None) -> Move:
    """Return what will change locally when the branch goes from commit ``old`` to ``new``.

    ``own`` is what this push staged, None when it made no commit. What the index held is taken from there, so that what
    was staged since counts as somebody else's; only what is unknown there is looked up now. Both commits' trees must
    be in the object store.
    """
    store = checkout.store
    old_tree, new_tree = _raw(checkout.tree_of(old)), _raw(checkout.tree_of(new))
    paths = {item.path: MovePath(item.path, item.old, item.new) for item in diff_trees(store, old_tree, new_tree)}
    if own is not None:
        contents = {item.path: item.new for item in own.changes}
        pushed = contents.keys() | own.index_entries.keys()
        now = None if pushed <= own.index_before.keys() else _index(checkout)
        for path in sorted(pushed):
            entry = own.index_entries.get(path)
            known = paths.get(path)
            base = known.old if known else _file(lookup(store, old_tree, path))
            target = known.new if known else base
            before = own.index_before[path] if path in own.index_before else tree_entry(now.find(path) if now else None)
            paths[path] = MovePath(
                path,
                base,
                target,
                is_own=True,
                own=contents[path] if path in contents else tree_entry(entry),
                index_before=before,
                stat=entry.stat if entry is not None else None,
            )
    began_s = own.began_s if own is not None else file_system_second(checkout.private_dir)
    return Move(checkout.head_ref(), old, new, tuple(paths[path] for path in sorted(paths)), began_s)


def _file(entry: TreeEntry | None) -> TreeEntry | None:
    return None if entry is None or entry.mode == 0o040000 else entry


def _index(checkout: Checkout) -> IndexFile | None:
    """Return the index as it is now, None when only git reads it."""
    try:
        return checkout.read_index()
    except UnreadableIndexError:
        return None


def missing_blobs(checkout: Checkout, move: Move) -> tuple[Oid, ...]:
    """Return the blobs that the move writes to files and that this (partial) clone lacks; fetch them beforehand."""
    rules = SparseRules(checkout)
    wanted = {
        item.new.oid
        for item in move.paths
        if item.new is not None and item.new.mode != GITLINK and item.new != item.on_disk and rules.includes(item.path)
    }
    return tuple(Oid(oid.decode("ascii")) for oid in sorted(wanted) if ObjectID(oid) not in checkout.store)


def retarget(checkout: Checkout, move: Move, new: Oid) -> Move:
    """Return ``move`` with another destination, keeping what it knows about this push's own paths."""
    old_tree, new_tree = _raw(checkout.tree_of(move.old)), _raw(checkout.tree_of(new))
    paths = {
        item.path: MovePath(item.path, item.old, item.new) for item in diff_trees(checkout.store, old_tree, new_tree)
    }
    for item in move.paths:
        if item.is_own:
            target = _file(lookup(checkout.store, new_tree, item.path))
            paths[item.path] = MovePath(
                item.path, item.old, target, is_own=True, own=item.own, index_before=item.index_before, stat=item.stat
            )
    return Move(move.head_ref, move.old, new, tuple(paths[path] for path in sorted(paths)), move.began_s)
