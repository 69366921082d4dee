"""One change to land, held in an object store: fetched tips, the replay on each of them, and the proof that it landed.

Nothing here is visible to a user of the clone: only objects are added. The same code serves a clone on disk, a combiner
that lands other runners' changes, and the simulator's memory (docs/protocol.md, section 6).
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Sequence
from dataclasses import replace

from dulwich.objects import Blob, Commit, ObjectID, Tree

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.graph import OurCommits, commit_of, find_ours, is_reachable, left_beyond, parents_of
from gitref_lock.landing.likeness import is_like, likenesses
from gitref_lock.landing.merge.results import Resolution, resolution_json
from gitref_lock.landing.object_store import Store, StoreSink
from gitref_lock.landing.replay import ReplayConflictError, Replayed, Replayer
from gitref_lock.landing.sending import objects_beyond, objects_for
from gitref_lock.ports import FetchRequest, FetchResult, RefStore, RemoteError, StoredCommit

_DEEPER = 256


class NothingSurvivesError(LandingError):
    """The policy discarded the whole change: landing nothing must not look like success."""

    def __init__(self, resolutions: Collection[Resolution]) -> None:
        """Name the paths, each with the strategy that decided."""
        super().__init__(
            "nothing-survives",
            "the conflict policy discarded the whole change; nothing was landed",
            "choose another strategy for these paths with --strategy GLOB=NAME",
        )
        self.fields = {"conflicts": [resolution_json(item) for item in resolutions]}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A change replayed on one tip, ready to be sent.

    ``tip`` is None for a branch that is to be created. ``head`` is what the branch becomes; ``commits`` the new
    commits, empty when the tip holds the whole change already. ``rescued`` are commits to keep reachable under a rescue
    ref.
    """

    tip: Oid | None
    head: Oid
    commits: tuple[Oid, ...]
    objects: tuple[GitObject, ...]
    resolutions: tuple[Resolution, ...] = ()
    dropped: tuple[Oid, ...] = ()
    rescued: tuple[Oid, ...] = ()

    @property
    def is_landed_already(self) -> bool:
        """Whether the tip holds the whole change. A branch that is not there yet holds nothing."""
        return not self.commits and self.tip is not None


@dataclass(slots=True)
class Change:
    """What one push wants to land.

    ``ours`` are the commits; ``haves`` commits of the remote that the store surely holds; ``shallow`` the store's
    boundary, which grows when a shallow clone fetches. ``squash_message`` lands all of ours as one commit.
    """

    store: Store
    ours: OurCommits
    replayer: Replayer
    haves: tuple[Oid, ...] = ()
    shallow: frozenset[Oid] = frozenset()
    promisor_filter: str | None = None
    squash_message: bytes | None = None

    @property
    def head(self) -> Oid:
        """Our last commit; with nothing of ours, the commit that is checked out."""
        head = self.ours.commits[-1] if self.ours.commits else self.ours.base
        assert head is not None
        return head

    def fetch(self, remote: RefStore, wants: Collection[Oid], *, timeout_s: float | None = None) -> None:
        """Fetch commits of the remote and what they need, as shallow as the clone is."""
        sink = StoreSink(self.store)
        missing = tuple(oid for oid in wants if not sink.has(oid))
        if not missing:
            return
        request = FetchRequest(
            wants=missing,
            haves=tuple(oid for oid in self.haves if sink.has(oid)),
            depth=1 if self.shallow else None,
            filter_spec=self.promisor_filter,
            shallow=tuple(sorted(self.shallow)),
        )
        self._note(remote.fetch(request, sink, timeout_s=timeout_s))

    def _note(self, result: FetchResult) -> None:
        self.shallow = (self.shallow | set(result.new_shallow)) - set(result.new_unshallow)

    def beyond(self, tip: Oid) -> Change:
        """Return the change without the commits that ``tip``, which must be fetched, holds as they are."""
        left = left_beyond(self.store, self.ours, tip, self.shallow)
        return self if left == self.ours else replace(self, ours=left)

    def prepare(self, tip: Oid) -> Prepared:
        """Return the change as it lands on ``tip``, which must be fetched; raise LandingError for conflicts."""
        if not self.ours.commits:
            return Prepared(tip, tip, (), ())
        if not self._is_to_be_squashed and (self._is_on(tip) or self._is_fast_forward(tip)):
            objects = objects_beyond(self.store, self.ours, tip, self.shallow, is_partial=bool(self.promisor_filter))
            return Prepared(tip, self.head, self.ours.commits, objects)
        replayed = self._replay(tip)
        if not replayed.commits and any(map(_discards_ours, replayed.resolutions)):
            raise NothingSurvivesError(replayed.resolutions)
        objects = objects_for(self.store, replayed.commits, {tip}, is_partial=self.promisor_filter is not None)
        rescued = self._rescued(replayed, tip)
        extra = self._objects_of_rescued(rescued, tip) if rescued else ()
        known = {item.oid for item in objects}
        return Prepared(
            tip,
            replayed.head,
            replayed.commits,
            (*objects, *(item for item in extra if item.oid not in known)),
            replayed.resolutions,
            replayed.dropped,
            rescued,
        )

    def create(self, remote_tips: Sequence[Oid]) -> Prepared:
        """Return the change as the first commits of a new branch, given tips that the remote has now.

        It stands on what ours stand on, and may be nothing but that.
        Raises LandingError when a shallow clone cannot show that the remote has what the branch would stand on.
        """
        known = tuple(oid for oid in remote_tips if commit_of(self.store, oid) is not None)
        head = self._squashed() if self._is_to_be_squashed else self.head
        needed = find_ours(self.store, head, known)
        if any(oid in self.shallow for oid in needed.commits):
            raise LandingError(
                "shallow-create",
                "this clone is shallow, and the remote shows no branch that holds the commit it was cut at",
                "fetch more history (git fetch --unshallow), or create the branch on the remote first",
            )
        present = {parent for oid in needed.commits for parent in self._parents(oid)} - set(needed.commits)
        objects = objects_for(self.store, needed.commits, present, is_partial=self.promisor_filter is not None)
        return Prepared(None, head, needed.commits, objects)

    def contains(
        self, remote: RefStore, commit: Oid, tip: Oid, base: Oid | None, *, timeout_s: float | None = None
    ) -> bool:
        """Tell whether ``commit`` is reachable from ``tip`` (then it is here), fetching what is above ``base``.

        Raises RemoteError when it cannot be fetched, LandingError when the history does not tell.
        """
        stops = {base} if base is not None else set()
        found = is_reachable(self.store, commit, tip, self.shallow, stops)
        if found and not self.holds(commit):
            found = None  # the tip itself, known by its name alone
        # Where an earlier fetch has cut the history above what is looked for, it is made longer.
        for depth in (None, *((_DEEPER,) if self.shallow else ())):
            if found is None:
                haves = tuple(oid for oid in (base, *self.haves) if oid is not None and self.holds(oid))
                request = FetchRequest(
                    (tip,), haves, depth=depth, filter_spec=self.promisor_filter, shallow=tuple(sorted(self.shallow))
                )
                self._note(remote.fetch(request, StoreSink(self.store), timeout_s=timeout_s))
                found = is_reachable(self.store, commit, tip, self.shallow, stops)
        if found is None:
            raise LandingError("unproved", f"the history of {tip[:12]} does not tell whether it holds {commit[:12]}")
        return found

    def holds(self, oid: Oid) -> bool:
        """Tell whether the store holds this object."""
        return StoreSink(self.store).has(oid)

    def find_copies(
        self, remote: RefStore, prepared: Prepared, tip: Oid, *, timeout_s: float | None = None
    ) -> tuple[Oid, ...]:
        """Return the commits between ``prepared``'s base and ``tip`` that another runner made of ours, oldest first.

        A replay keeps author, author date and message: that is how a copy is known. Two runners of one bot may agree
        in all three, so a copy counts only when replaying ours on it changes nothing more. Empty when there is none.
        """
        base = prepared.tip
        self.contains(remote, prepared.head, tip, base, timeout_s=timeout_s)
        wanted = likenesses(self.store, prepared.commits)
        between = find_ours(self.store, tip, [base] if base is not None else [], self.shallow)
        copies = tuple(
            oid
            for oid in between.commits
            if (commit := commit_of(self.store, oid)) is not None and is_like(commit, wanted)
        )
        return copies if copies and self._adds_nothing(prepared, copies[-1]) else ()

    def are_copies(self, prepared: Prepared, commits: Sequence[Oid]) -> bool:
        """Tell whether the last of these commits, and every other that is here, is one of ours or a replay of one."""
        wanted = likenesses(self.store, prepared.commits)
        found = [commit_of(self.store, oid) for oid in commits]
        return found[-1] is not None and all(commit is None or is_like(commit, wanted) for commit in found)

    def _adds_nothing(self, prepared: Prepared, tip: Oid) -> bool:
        offered = OurCommits(prepared.commits, prepared.tip, has_merge=False)
        try:
            return not self.replayer.replay(offered, tip).commits
        except ReplayConflictError:
            return False

    @property
    def _is_to_be_squashed(self) -> bool:
        return self.squash_message is not None and (len(self.ours.commits) > 1 or self.ours.has_merge)

    def _is_fast_forward(self, tip: Oid) -> bool:
        if not self.ours.has_merge:
            return False
        return is_reachable(self.store, tip, self.head, self.shallow) is True

    def _parents(self, oid: Oid) -> tuple[Oid, ...]:
        commit = commit_of(self.store, oid)
        return parents_of(commit) if commit is not None else ()

    def _is_on(self, tip: Oid) -> bool:
        """Tell whether ours stand on ``tip`` without a gap: an edit may stand on older content than its branch does."""
        if tip != self.ours.base:
            return False
        behind = (tip, *self.ours.commits)
        return self.ours.has_merge or all(
            self._parents(oid)[:1] == (older,) for older, oid in zip(behind, self.ours.commits, strict=False)
        )

    def _replay(self, tip: Oid) -> Replayed:
        if self.squash_message is None or len(self.ours.commits) == 0:
            return self.replayer.replay(self.ours, tip)
        return self.replayer.squash(self.ours, self._merged_upstream(), tip, self.squash_message)

    def _squashed(self) -> Oid:
        """Return ours as one commit on the newest commit of the remote that they contain."""
        assert self.squash_message is not None
        upstream = self._merged_upstream()
        return self.replayer.squash(self.ours, upstream, upstream, self.squash_message).head

    def _merged_upstream(self) -> Oid | None:
        """Return the newest commit of the remote that ours contain: the tree that our change is measured against."""
        mine = set(self.ours.commits)
        outside = {parent for oid in self.ours.commits for parent in self._parents(oid)} - mine
        # Dates do not tell which is newest: two commits of one second may stand in either order.
        older = {
            oid
            for oid in outside
            for other in outside - {oid}
            if is_reachable(self.store, oid, other, self.shallow) is True
        }
        newest = sorted(outside - older)
        return newest[0] if newest else None

    def _rescued(self, replayed: Replayed, tip: Oid) -> tuple[Oid, ...]:
        """Return what keeps our originals reachable when the policy took the other side anywhere."""
        if not any(map(_discards_ours, replayed.resolutions)):
            return ()
        base = self.ours.base
        if base is None or is_reachable(self.store, base, tip, self.shallow) is True:
            return (self.head,)
        return (self._standalone(tip),)

    def _standalone(self, tip: Oid) -> Oid:
        """Return a commit on ``tip`` with our tree: used where the remote may no longer have what ours stand on."""
        original = commit_of(self.store, self.head)
        assert original is not None
        copy = original.copy()
        assert isinstance(copy, Commit)
        copy.parents = [ObjectID(tip.encode("ascii"))]
        copy.gpgsig = None
        self.replayer.add(copy)
        return Oid(copy.id.decode("ascii"))

    def _objects_of_rescued(self, rescued: Sequence[Oid], tip: Oid) -> tuple[GitObject, ...]:
        commits = self.ours.commits if rescued == (self.head,) else tuple(rescued)
        present = {tip, *([self.ours.base] if self.ours.base is not None else [])}
        return objects_for(self.store, commits, present, is_partial=self.promisor_filter is not None)

    def stored(self, oid: Oid, *, max_file_bytes: int = 65536) -> StoredCommit | None:
        """Return a commit of the store with the plain files at the root of its tree, None when one is missing.

        What a partial clone's filter kept away is fetched.
        """
        commit = commit_of(self.store, oid)
        tree = self.store[commit.tree] if commit is not None and commit.tree in self.store else None
        if commit is None or not isinstance(tree, Tree) or not self._has_files(tree):
            return None
        files: dict[str, bytes] = {}
        oversized: set[str] = set()
        for item in tree.iteritems():
            if item.sha not in self.store or not isinstance(blob := self.store[item.sha], Blob):
                continue
            name = item.path.decode("utf-8", "replace")
            if blob.raw_length() > max_file_bytes:
                oversized.add(name)
            else:
                files[name] = blob.as_raw_string()
        message = commit.message.decode("utf-8", "replace")
        return StoredCommit(oid, parents_of(commit), message, files, frozenset(oversized))

    def _has_files(self, tree: Tree) -> bool:
        """Tell whether the files at the root of ``tree`` are here, having asked for those that are not."""
        files = [item.sha for item in tree.iteritems() if stat.S_ISREG(item.mode)]
        absent = [Oid(sha.decode("ascii")) for sha in files if sha not in self.store]
        if absent and self.replayer.fetch_missing is not None:
            try:
                self.replayer.fetch_missing(absent)
            except RemoteError:
                return False
        return all(sha in self.store for sha in files)


def _discards_ours(item: Resolution) -> bool:
    """Tell whether the result holds nothing of ours. A union that equals theirs and lost nothing holds it already."""
    is_whole = item.strategy.partition(":")[0] == "theirs" or (item.result == item.theirs and item.detail != ())
    return is_whole and item.ours != item.result
