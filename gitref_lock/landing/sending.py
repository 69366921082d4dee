"""Which objects a landing must carry, so that the server has all that the new commits need.

Every object of a new commit that differs from its parent goes into the pack, and the first parent is the tip just read
or another new commit: the closure is complete by construction. C git's ``atomic`` does not protect against a forgotten
object, so nothing is left to a server's guess (docs/protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID, Tree

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import Delta, GitObject, ObjectKind
from gitref_lock.landing.delta import make_delta
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.graph import OurCommits, commit_of, find_ours, is_reachable, parents_of, tree_of

_KINDS = {1: ObjectKind.COMMIT, 2: ObjectKind.TREE, 3: ObjectKind.BLOB, 4: ObjectKind.TAG}
_DELTA_FROM_BYTES, _DELTA_TO_BYTES = 512, 16 << 20
"""Smaller objects are not worth a delta, larger ones not the memory."""

_GITLINK = 0o160000
_FOLDER = 0o040000


class IncompleteError(LandingError):
    """An object that the new commits need is not in this clone, and the remote is not known to have it."""

    def __init__(self, oid: Oid) -> None:
        """Name the object."""
        super().__init__(
            "incomplete", f"object {oid} is not in this clone", "fetch the branch with its full content and try again"
        )


def git_object(store: BaseObjectStore, oid: Oid) -> GitObject:
    """Return one object of ``store``; raise IncompleteError when it is missing."""
    try:
        kind, data = store.get_raw(ObjectID(oid.encode("ascii")))
    except KeyError:
        raise IncompleteError(oid) from None
    return GitObject(_KINDS[kind], data)


def objects_for(
    store: BaseObjectStore, commits: Sequence[Oid], present: Collection[Oid], *, is_partial: bool = False
) -> tuple[GitObject, ...]:
    """Return what to send for ``commits`` (parents first), given commits that the remote surely has.

    Each commit's tree is compared with its parents' trees; a parent must be in ``present`` or among ``commits``. In a
    partial clone a blob that is missing here came from the remote, and is left out.
    """
    found: dict[Oid, GitObject] = {}
    allowed = {*present, *commits}
    for oid in commits:
        commit = commit_of(store, oid)
        if commit is None:
            raise IncompleteError(oid)
        parents = parents_of(commit)
        for parent in parents:
            if parent not in allowed:
                raise IncompleteError(parent)
        found[oid] = git_object(store, oid)
        known = [tree_of(parent) for parent in (commit_of(store, oid) for oid in parents) if parent is not None]
        for item in _new_in(store, tree_of(commit), known, found, is_partial=is_partial):
            found[item.oid] = item
    return tuple(found.values())


def objects_beyond(
    store: BaseObjectStore, ours: OurCommits, tip: Oid, shallow: Collection[Oid] = frozenset(), *, is_partial: bool
) -> tuple[GitObject, ...]:
    """Return all that ``ours`` as they are need beyond ``tip``, a side merged from another branch included.

    Nothing is built on other branches of the remote: they may be gone by the time the landing arrives.
    """
    commits = find_ours(store, ours.commits[-1], [tip], shallow).commits if ours.has_merge else ours.commits
    found = (commit_of(store, oid) for oid in commits)
    outside = {parent for commit in found if commit is not None for parent in parents_of(commit)} - {*commits, tip}
    held = {parent for parent in outside if is_reachable(store, parent, tip, shallow) is True}
    return objects_for(store, commits, {tip, *held}, is_partial=is_partial)


def _new_in(
    store: BaseObjectStore, tree: Oid, known: Sequence[Oid], sent: Collection[Oid], *, is_partial: bool
) -> Iterator[GitObject]:
    """Yield the trees and blobs of ``tree`` that no tree in ``known`` has at the same place."""
    if tree in sent or tree in known:
        return
    yield _thinned(store, git_object(store, tree), known, sent)
    others = [_entries(store, other) for other in known]
    for name, (mode, oid) in _entries(store, tree).items():
        beside = [entries[name] for entries in others if name in entries]
        if mode == _GITLINK or oid in sent or any(other_oid == oid for _, other_oid in beside):
            continue
        if mode == _FOLDER:
            below = [other_oid for other_mode, other_oid in beside if other_mode == _FOLDER]
            yield from _new_in(store, oid, below, sent, is_partial=is_partial)
        elif not is_partial or ObjectID(oid.encode("ascii")) in store:
            replaced = [other_oid for other_mode, other_oid in beside if other_mode != _GITLINK]
            yield _thinned(store, git_object(store, oid), replaced, sent)


def _thinned(store: BaseObjectStore, item: GitObject, replaced: Sequence[Oid], sent: Collection[Oid]) -> GitObject:
    """Return ``item`` with its delta from what stood in its place, where that saves half of it or more.

    Only what the remote has serves as a base, nothing that is ``sent`` as well: two deltas never need each other.
    """
    bases = [oid for oid in replaced if oid not in sent]
    if not bases or not _DELTA_FROM_BYTES <= len(item.data) <= _DELTA_TO_BYTES:
        return item
    try:
        code, base = store.get_raw(ObjectID(bases[0].encode("ascii")))
    except KeyError:
        return item  # a partial clone does not have it
    if _KINDS[code] is not item.kind or len(base) > _DELTA_TO_BYTES:
        return item
    delta = make_delta(base, item.data)
    return GitObject(item.kind, item.data, Delta(bases[0], delta)) if len(delta) <= len(item.data) // 2 else item


def _entries(store: BaseObjectStore, tree: Oid) -> dict[bytes, tuple[int, Oid]]:
    try:
        found = store[ObjectID(tree.encode("ascii"))]
    except KeyError:
        raise IncompleteError(tree) from None
    assert isinstance(found, Tree)
    return {bytes(item.path): (item.mode, Oid(item.sha.decode("ascii"))) for item in found.iteritems()}
