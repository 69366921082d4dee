"""Replaying our commits on the tip that the remote has now, in memory.

Each commit is merged three-way with its own parent's tree as base. No merge base is ever searched, so a shallow clone
and a rewound branch are no special cases. Author, dates, message and encoding stay; the committer is who replays
(docs/protocol.md, sections 6 and 7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, ObjectID, ShaFile

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.graph import OurCommits, commit_of, parents_of, tree_of
from gitref_lock.landing.merge.objects import MissingObjectError
from gitref_lock.landing.merge.policy import Policy
from gitref_lock.landing.merge.results import Conflict, Resolution, TreeMerge
from gitref_lock.landing.message import add_trailers


@dataclass(frozen=True, slots=True)
class Committer:
    """Who replays, as the commit header has it: ``identity`` is ``Name <mail>``, ``zone_s`` east of UTC."""

    identity: bytes
    at_s: int
    zone_s: int = 0


Sign = Callable[[Commit], None]
"""Signs a commit in place, when its author demands signatures."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What our commits became. ``head`` is the last new commit, or the tip when all were dropped.

    ``commits`` are the new commits, oldest first; ``dropped`` those of ours that changed nothing any more; ``origins``
    maps each new commit to ours.
    """

    head: Oid
    commits: tuple[Oid, ...]
    dropped: tuple[Oid, ...]
    resolutions: tuple[Resolution, ...]
    origins: tuple[tuple[Oid, Oid], ...]


class ReplayConflictError(LandingError):
    """A conflict that no rule resolves: nothing was changed anywhere."""

    def __init__(self, commit: Oid, conflicts: Sequence[Conflict]) -> None:
        """Name the commit and the paths."""
        names = ", ".join(item.path.decode("utf-8", "replace") for item in conflicts[:5])
        more = f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
        super().__init__(
            "conflict",
            f"commit {commit[:12]} conflicts with the remote branch in {names}{more}",
            "choose a strategy for these paths with --strategy GLOB=NAME, or merge by hand",
        )
        self.commit = commit
        self.conflicts = tuple(conflicts)


class MergeOnMovedTipError(LandingError):
    """Our commits contain a merge and the remote has moved: replaying it on one parent would undo upstream work."""

    def __init__(self, tip: Oid) -> None:
        """Name the tip."""
        super().__init__(
            "merge-on-moved-tip",
            f"the local commits contain a merge, and the remote branch has moved to {tip[:12]}",
            "land them as one commit with --squash, or merge the remote branch again",
        )


@dataclass(frozen=True, slots=True)
class Replayer:
    """Replays over one object store. ``add`` stores new objects; ``fetch_missing`` brings blobs of a partial clone.

    ``names_itself`` adds the policy's trailer, with the committer, to what is replayed for another runner.
    """

    store: BaseObjectStore
    policy: Policy
    committer: Committer
    add: Callable[[ShaFile], None]
    sign: Sign | None = None
    fetch_missing: Callable[[Sequence[Oid]], None] | None = None
    names_itself: bool = False

    def replay(self, ours: OurCommits, tip: Oid) -> Replayed:
        """Return our commits replayed on ``tip``; raise ReplayConflictError or MergeOnMovedTipError."""
        if ours.has_merge:
            raise MergeOnMovedTipError(tip)
        head = tip
        made: list[Oid] = []
        dropped: list[Oid] = []
        resolutions: list[Resolution] = []
        origins: list[tuple[Oid, Oid]] = []
        for oid in ours.commits:
            commit = self._commit(oid)
            parents = parents_of(commit)
            base = tree_of(self._commit(parents[0])) if parents else None
            theirs = tree_of(self._commit(head))
            merged = self._merge(base, tree_of(commit), theirs)
            if merged.tree is None:
                raise ReplayConflictError(oid, merged.conflicts)
            resolutions.extend(merged.resolutions)
            was_empty = base == tree_of(commit)
            if merged.tree == theirs and not was_empty:
                dropped.append(oid)
                continue
            head = self._remake(commit, merged.tree, head)
            made.append(head)
            origins.append((head, oid))
        return Replayed(head, tuple(made), tuple(dropped), tuple(resolutions), tuple(origins))

    def squash(self, ours: OurCommits, merged_upstream: Oid | None, tip: Oid | None, message: bytes) -> Replayed:
        """Return all of ours as one commit on ``tip``: the change from ``merged_upstream``'s tree to our head's.

        Without a tip it is a root commit of our head's tree.
        """
        head = self._commit(ours.commits[-1])
        if tip is None:
            made = self._remake(head, tree_of(head), None, message)
            return Replayed(made, (made,), (), (), ((made, ours.commits[-1]),))
        base = tree_of(self._commit(merged_upstream)) if merged_upstream is not None else None
        theirs = tree_of(self._commit(tip))
        merged = self._merge(base, tree_of(head), theirs)
        if merged.tree is None:
            raise ReplayConflictError(ours.commits[-1], merged.conflicts)
        if merged.tree == theirs:
            return Replayed(tip, (), ours.commits, merged.resolutions, ())
        made = self._remake(head, merged.tree, tip, message)
        return Replayed(made, (made,), (), merged.resolutions, ((made, ours.commits[-1]),))

    def _merge(self, base: Oid | None, ours: Oid, theirs: Oid) -> TreeMerge:
        from gitref_lock.landing.merge.trees import merge_trees  # late: most changes meet nothing to merge with

        try:
            return merge_trees(self.store, base, ours, theirs, self.policy, self.add, self.fetch_missing)
        except RecursionError as error:
            raise LandingError("too-deep", "folders lie too deep within each other to be merged") from error
        except MissingObjectError as error:
            raise LandingError(
                "missing-object", str(error), "fetch the branch with its full content and try again"
            ) from error

    def _commit(self, oid: Oid) -> Commit:
        commit = commit_of(self.store, oid)
        if commit is None:
            raise LandingError("missing-object", f"commit {oid} is not in this clone")
        return commit

    def _remake(self, original: Commit, tree: Oid, parent: Oid | None, message: bytes | None = None) -> Oid:
        commit = Commit()
        commit.tree = ObjectID(tree.encode("ascii"))
        commit.parents = [ObjectID(parent.encode("ascii"))] if parent is not None else []
        commit.author = original.author
        commit.author_time = original.author_time
        commit.author_timezone = original.author_timezone
        commit.committer = self.committer.identity
        commit.commit_time = self.committer.at_s
        commit.commit_timezone = self.committer.zone_s
        if original.encoding is not None:
            commit.encoding = original.encoding
        commit.message = self._marked(original.message if message is None else message)
        if self.sign is not None:
            self.sign(commit)
        self.add(commit)
        return Oid(commit.id.decode("ascii"))

    def _marked(self, message: bytes) -> bytes:
        if not self.names_itself or not self.policy.trailer:
            return message
        name = self.committer.identity.decode("utf-8", "surrogateescape")
        text = message.decode("utf-8", "surrogateescape")
        return add_trailers(text, [f"{self.policy.trailer}: {name}"]).encode("utf-8", "surrogateescape")
