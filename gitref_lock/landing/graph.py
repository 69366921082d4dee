"""Walking commits: what is ours, and whether a commit is reachable.

Both walks go from the newest commit to older ones and stop as soon as the answer is certain, so that their cost does
not grow with the length of the history (docs/protocol.md, sections 6 and 9).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from dulwich.errors import ObjectFormatException
from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, ObjectID

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid

_UNREADABLE = (ObjectFormatException, LookupError, ValueError, TypeError, AttributeError, AssertionError)
"""What the library may raise over a commit that a stranger made, its slips included."""

_SLOP = 64
"""How many more commits are looked at once all that remain belong to the remote: commit dates may lie."""


def commit_of(store: BaseObjectStore, oid: Oid) -> Commit | None:
    """Return a commit of ``store``, None when it is missing, malformed or something else."""
    try:
        found = store[ObjectID(oid.encode("ascii"))]
    except _UNREADABLE:
        return None
    return found if isinstance(found, Commit) else None


def parents_of(commit: Commit) -> tuple[Oid, ...]:
    """Return the parents' ids."""
    return tuple(Oid(parent.decode("ascii")) for parent in commit.parents)


def tree_of(commit: Commit) -> Oid:
    """Return the tree's id."""
    return Oid(commit.tree.decode("ascii"))


@dataclass(frozen=True, slots=True)
class OurCommits:
    """The commits to land, oldest first. ``base`` is the parent of the first one, None when that is a root commit.

    ``has_merge`` tells whether one of them has several parents.
    """

    commits: tuple[Oid, ...]
    base: Oid | None
    has_merge: bool


def find_ours(
    store: BaseObjectStore, head: Oid, theirs: Iterable[Oid], shallow: Collection[Oid] = frozenset()
) -> OurCommits:
    """Return the commits reachable from ``head`` and from none of ``theirs``; shallow boundary commits never are ours.

    With nothing known of the remote every commit down to the root, or to the shallow boundary, is ours.
    """
    walk = _Walk(store, shallow)
    walk.add(head, is_theirs=False)
    for oid in theirs:
        walk.add(oid, is_theirs=True)
    found = walk.run()
    commits = _parents_first(found)
    if not commits:
        return OurCommits((), head, has_merge=False)
    first = parents_of(found[commits[0]])
    return OurCommits(
        tuple(commits), first[0] if first else None, has_merge=any(len(found[oid].parents) > 1 for oid in commits)
    )


def left_beyond(
    store: BaseObjectStore, ours: OurCommits, tip: Oid, shallow: Collection[Oid] = frozenset()
) -> OurCommits:
    """Return ``ours`` without the commits that ``tip`` holds as they are: a replay would undo their revert."""
    if tip == ours.base or not ours.commits:
        return ours
    known = [tip, *([ours.base] if ours.base is not None else [])]
    left = set(find_ours(store, ours.commits[-1], known, shallow).commits)
    commits = tuple(oid for oid in ours.commits if oid in left)
    if len(commits) == len(ours.commits):
        return ours
    parents = [parents_of(commit) for oid in commits if (commit := commit_of(store, oid)) is not None]
    base = (parents[0][0] if parents[0] else None) if parents else tip
    return OurCommits(commits, base, has_merge=any(len(item) > 1 for item in parents))


class _Walk:
    """A walk by commit date that paints what is theirs, as git's own revision walk does."""

    def __init__(self, store: BaseObjectStore, shallow: Collection[Oid]) -> None:
        self._store = store
        self._shallow = shallow
        self._queue: list[tuple[int, Oid]] = []
        self._commits: dict[Oid, Commit] = {}
        self._theirs: set[Oid] = set()
        self._ours_queued = 0
        self._done: set[Oid] = set()

    def add(self, oid: Oid, *, is_theirs: bool) -> None:
        """Queue a commit, or paint it (and what was already walked below it) as theirs."""
        if is_theirs and oid in self._commits:
            self._paint(oid)
            return
        if oid in self._commits:
            return
        commit = commit_of(self._store, oid)
        if commit is None:
            return
        self._commits[oid] = commit
        if is_theirs or oid in self._shallow:
            self._theirs.add(oid)
        else:
            self._ours_queued += 1
        heapq.heappush(self._queue, (-commit.commit_time, oid))

    def _paint(self, start: Oid) -> None:
        pending = [start]
        while pending:
            oid = pending.pop()
            if oid in self._theirs or oid not in self._commits:
                continue
            self._theirs.add(oid)
            if oid in self._done:
                pending.extend(parents_of(self._commits[oid]))
            else:
                self._ours_queued -= 1

    def run(self) -> dict[Oid, Commit]:
        """Return our commits."""
        slop = _SLOP
        while self._queue and slop:
            if not self._ours_queued:
                if len(self._theirs) == len(self._commits):
                    break  # what is theirs has no ancestor of ours
                slop -= 1
            _, oid = heapq.heappop(self._queue)
            is_theirs = oid in self._theirs
            if not is_theirs:
                self._ours_queued -= 1
            self._done.add(oid)
            if oid not in self._shallow:
                for parent in parents_of(self._commits[oid]):
                    self.add(parent, is_theirs=is_theirs)
        return {oid: commit for oid, commit in self._commits.items() if oid not in self._theirs}


def _parents_first(commits: dict[Oid, Commit]) -> list[Oid]:
    """Return the commits so that each comes after its parents."""
    order: list[Oid] = []
    seen: set[Oid] = set()
    for start in commits:
        pending = [(start, False)]
        while pending:
            oid, is_expanded = pending.pop()
            if is_expanded:
                order.append(oid)
            elif oid not in seen and oid in commits:
                seen.add(oid)
                pending.append((oid, True))
                pending.extend((parent, False) for parent in reversed(parents_of(commits[oid])))
    return order


def is_reachable(
    store: BaseObjectStore,
    wanted: Oid,
    tip: Oid,
    shallow: Collection[Oid] = frozenset(),
    stop_at: Collection[Oid] = frozenset(),
) -> bool | None:
    """Tell whether ``wanted`` is ``tip`` or one of its ancestors; None when a missing commit hides the answer.

    Commits in ``stop_at``, older than ``wanted`` by construction, are not walked past; what is below those in
    ``shallow`` is missing on purpose.
    """
    pending, seen, is_hidden = [tip], {tip}, False
    while pending:
        oid = pending.pop()
        if oid == wanted:
            return True
        if oid in stop_at:
            continue
        commit = commit_of(store, oid)
        if commit is None or (oid in shallow and parents_of(commit)):
            is_hidden = True
            continue
        for parent in parents_of(commit):
            if parent not in seen:
                seen.add(parent)
                pending.append(parent)
    return None if is_hidden else False
