"""Group commit: whoever is at the head lands the whole queue in one swap.

Each waiting change is replayed in service order on the growing tip. A change that conflicts, or that cannot be read,
gets its verdict in the same swap and never holds up the others (docs/protocol.md, section 8).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field, replace

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import LockName, Oid, TicketName
from gitref_lock.core.objects import GitObject
from gitref_lock.core.queue import Entry, in_service_order
from gitref_lock.core.record import Holder
from gitref_lock.core.refs import RefEdit
from gitref_lock.core.ticket import Kind, Ticket, Verdict, VerdictKind
from gitref_lock.landing.change import Change, Prepared
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.graph import OurCommits, commit_of, parents_of
from gitref_lock.landing.merge.allowance import Allowance
from gitref_lock.landing.merge.objects import MissingObjectError
from gitref_lock.landing.merge.policy import Policy, PolicyError
from gitref_lock.landing.merge.results import conflict_json, resolution_json
from gitref_lock.landing.replay import ReplayConflictError
from gitref_lock.landing.vetting import vet
from gitref_lock.runtime.dead_tickets import MAX_SWEPT, Member, dead, swept, verdict_edits
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.landing_turn import MAX_BATCH
from gitref_lock.runtime.remote import Picture, Remote
from gitref_lock.runtime.ticket_fetch import TicketFetch

MAX_BATCH_BYTES = 8 << 20
MAX_BATCH_S = 10.0
"""For how long other runners' changes are replayed: a tip that old is likely to be overtaken."""


@dataclass(slots=True)
class Batch:
    """What one swap will land: the growing ``head`` on ``tip``, the new commits, and a verdict for each ticket.

    ``objects`` are all that the new commits and rescued commits need beyond the tip. ``is_full``: what is behind in the
    queue waits for the next batch, so that nothing passes a change that found no room.
    """

    tip: Oid
    head: Oid
    commits: list[Oid] = field(default_factory=list)
    objects: dict[Oid, GitObject] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    rescued: list[Oid] = field(default_factory=list)
    is_full: bool = False

    @property
    def size(self) -> int:
        """How many bytes the new objects have, uncompressed."""
        return sum(len(item.data) for item in self.objects.values())

    @property
    def landed(self) -> int:
        """How many tickets' changes the swap lands."""
        return sum(1 for member in self.members if member.verdict.kind is VerdictKind.LANDED)

    def lands_others(self, mine: TicketName) -> bool:
        """Tell whether the swap lands a change besides mine."""
        return any(member.verdict.kind is VerdictKind.LANDED and member.entry.name != mine for member in self.members)

    def verdict_of(self, name: TicketName) -> Member | None:
        """Return the member of one ticket."""
        return next((member for member in self.members if member.entry.name == name), None)


@dataclass(frozen=True, slots=True)
class Combiner:
    """Builds batches over one change's object store; ``holder`` is who lands them."""

    remote: Remote
    change: Change
    lock: LockName
    branch: str
    holder: Holder

    def candidates(self, entries: Sequence[Entry], mine: TicketName) -> list[Entry]:
        """Return the land tickets to take, in service order: mine always, others while they are not expired."""
        taken = [
            entry
            for entry in in_service_order(entries)
            if entry.ticket is not None
            and entry.ticket.kind is Kind.LAND
            and entry.ticket.branch == self.branch
            and (entry.name == mine or (entry.ticket.is_combinable and not self._is_over(entry.ticket)))
        ]
        position = next((index for index, entry in enumerate(taken) if entry.name == mine), 0)
        return taken[:MAX_BATCH] if position < MAX_BATCH else [*taken[: MAX_BATCH - 1], taken[position]]

    def _is_over(self, ticket: Ticket) -> bool:
        return ticket.expires_at <= self.remote.ticket_instants().now_at

    def gather(self, picture: Picture, tip: Oid, mine: TicketName, own: Prepared, deadline: Deadline) -> Batch:
        """Fetch the waiting changes in one request, replay them on ``tip``, and return the batch."""
        batch = Batch(tip, tip)
        fetch = TicketFetch(self.remote, self.change, tip, deadline)
        entries = self._read(picture, mine, fetch)
        batch.members.extend(dead(self.remote, self.lock, entries, mine, self.holder))
        ended = {mine.nonce, *(entry.name.nonce for entry in picture.queues[self.lock] if not entry.is_live)}
        clock = self.remote.system.clock
        until_s = clock.monotonic() + MAX_BATCH_S
        for entry in self.candidates(entries, mine):
            assert entry.ticket is not None
            if entry.name == mine:
                self._land(batch, entry, entry.ticket, own.commits, is_mine=True)
                continue
            if batch.is_full or clock.monotonic() > until_s:
                continue
            commits = self._commits(entry, entry.ticket, fetch, ended)
            ended.add(entry.name.nonce)
            if isinstance(commits, Verdict):
                batch.members.append(Member(entry, entry.ticket, commits))
            elif commits:
                self._land(batch, entry, entry.ticket, commits, is_mine=False)
        return batch

    def alone(self, picture: Picture, tip: Oid, mine: TicketName, own: Prepared) -> Batch:
        """Return the batch of my change only."""
        batch = Batch(tip, tip)
        entry = next(entry for entry in picture.queues[self.lock] if entry.name == mine)
        assert entry.ticket is not None
        self._land(batch, entry, entry.ticket, own.commits, is_mine=True)
        return batch

    def _read(self, picture: Picture, mine: TicketName, fetch: TicketFetch) -> list[Entry]:
        """Return the live entries of the queue with their tickets, fetched together with the changes they carry."""
        queue = in_service_order(picture.queues[self.lock])
        others = [entry for entry in queue if entry.name != mine and self._may_carry_a_change(entry, mine)]
        others = others[: MAX_BATCH + MAX_SWEPT]
        if self.change.shallow:
            # How deep to fetch stands in the tickets: those behind mine have not been read yet.
            self.remote.commits([entry.tip for entry in others], fetch.deadline)
            others = [self.remote.read_again(entry) for entry in others]
        fetch.bring(others)
        self.remote.remember(commit for entry in others if (commit := self.change.stored(entry.tip)) is not None)
        return [self.remote.read_again(entry) for entry in queue]

    def _may_carry_a_change(self, entry: Entry, mine: TicketName) -> bool:
        """Tell whether a ticket is one to land for its owner; those behind mine have not been read yet."""
        ticket = entry.ticket
        if ticket is None:
            return entry.order > (mine.rank_ms, mine.nonce)
        return ticket.kind is Kind.LAND and ticket.is_combinable and not self._is_over(ticket)

    def _commits(
        self, entry: Entry, ticket: Ticket, fetch: TicketFetch, ended: Collection[str]
    ) -> tuple[Oid, ...] | Verdict:
        """Return a ticket's commits, oldest first, or the verdict that sets it aside; none while it cannot be had."""
        if ticket.locks != (self.lock,):
            return self._set_aside("the ticket waits for other locks than the one it stands at")
        if entry.name.nonce in ended:
            return self._set_aside("the change was posted under another name too")
        commit = commit_of(self.change.store, entry.tip)
        if commit is None:
            why = fetch.refused.get(entry.tip)
            return self._set_aside(why) if why else ()
        parents = parents_of(commit)
        if len(parents) != 1 or not ticket.base or not ticket.changes > 0:
            return self._set_aside("the ticket does not carry a change")
        found: list[Oid] = []
        at = parents[0]
        while at != ticket.base:
            step = commit_of(self.change.store, at)
            if step is None or len(step.parents) != 1 or len(found) >= ticket.changes:
                return self._set_aside("the ticket's commits do not lead to the base it names")
            found.append(at)
            at = parents_of(step)[0]
        if not found or commit_of(self.change.store, at) is None:
            return self._set_aside(
                "the ticket's base cannot be read" if found else "the ticket does not carry a change"
            )
        return tuple(reversed(found))

    def _set_aside(self, why: str) -> Verdict:
        return Verdict(VerdictKind.SET_ASIDE, by=self.holder.label, why=why)

    def _land(self, batch: Batch, entry: Entry, ticket: Ticket, commits: Sequence[Oid], *, is_mine: bool) -> None:
        """Replay one change on the batch's head, or note why it cannot land."""
        try:
            own = self.change.replayer.policy
            if is_mine:
                policy = own
            else:
                theirs = Policy.from_json(ticket.policy)
                policy = replace(theirs, attributes=own.attributes, allowance=Allowance())
                self._vet(commits)
            prepared = self._replay(batch.head, commits, ticket, policy, names_itself=not is_mine)
            if not is_mine and prepared.commits != tuple(commits):
                self._vet(prepared.commits)
        except ReplayConflictError as error:
            conflicts = tuple(conflict_json(item) for item in error.conflicts[:50])
            verdict = Verdict(VerdictKind.CONFLICT, by=self.holder.label, why=error.message, conflicts=conflicts)
            batch.members.append(Member(entry, ticket, verdict))
            return
        except (LandingError, PolicyError, MissingObjectError) as error:
            batch.members.append(Member(entry, ticket, self._set_aside(str(error)[:300])))
            return
        except (ValueError, LookupError, RecursionError, TypeError, AttributeError, AssertionError) as error:
            if is_mine:
                raise
            # A stranger's objects may break the library that reads them; its author sees what comes of them.
            why = f"the change cannot be replayed here ({type(error).__name__})"
            batch.members.append(Member(entry, ticket, self._set_aside(why)))
            return
        if (
            batch.size + sum(len(item.data) for item in prepared.objects) > MAX_BATCH_BYTES
            and batch.landed
            and not is_mine
        ):
            batch.is_full = True
            return
        batch.head = prepared.head
        batch.objects.update((item.oid, item) for item in prepared.objects)
        batch.commits.extend(prepared.commits)
        batch.rescued.extend(prepared.rescued)
        verdict = Verdict(
            VerdictKind.LANDED,
            by=self.holder.label,
            commits=prepared.commits,
            conflicts=tuple(resolution_json(item) for item in prepared.resolutions[:50]),
        )
        batch.members.append(Member(entry, ticket, verdict))

    def _vet(self, commits: Sequence[Oid]) -> None:
        is_partial = self.change.promisor_filter is not None
        vet(self.change.store, commits, max_bytes=MAX_BATCH_BYTES, is_partial=is_partial)

    def _replay(
        self, head: Oid, commits: Sequence[Oid], ticket: Ticket, policy: Policy, *, names_itself: bool
    ) -> Prepared:
        change = replace(
            self.change,
            ours=OurCommits(tuple(commits), Oid(ticket.base) if ticket.base else None, has_merge=False),
            replayer=replace(self.change.replayer, policy=policy, names_itself=names_itself),
            squash_message=None,
        )
        return change.prepare(head)

    def prepared(self, batch: Batch) -> Prepared:
        """Return the batch as one landing."""
        return Prepared(
            batch.tip, batch.head, tuple(batch.commits), tuple(batch.objects.values()), rescued=tuple(batch.rescued)
        )

    def edits(self, batch: Batch, picture: Picture) -> tuple[list[RefEdit], list[GitObject]]:
        """Return the edits that move each ticket to its verdict and sweep old verdicts, and their objects."""
        edits, objects = verdict_edits(self.remote, self.lock, batch.members)
        return [*edits, *swept(self.remote, picture)], objects
