"""Group commit: whoever is at the head lands the whole queue in one swap.

Each waiting change is replayed in service order on the growing tip. A change that conflicts, or that cannot be read,
gets its verdict in the same swap and never holds up the others (docs/protocol.md, section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import LockName, Oid, TicketName
from gitref_lock.core.objects import GitObject
from gitref_lock.core.queue import Entry, in_service_order
from gitref_lock.core.record import ClockSource, Holder
from gitref_lock.core.refs import At, RefEdit, Role
from gitref_lock.core.text import JsonObject
from gitref_lock.core.ticket import VERDICT_KEPT_S, Kind, Ticket, Verdict, VerdictKind
from gitref_lock.landing.change import Change, Prepared, StoreSink
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.graph import OurCommits, commit_of, parents_of
from gitref_lock.landing.merge.objects import MissingObjectError
from gitref_lock.landing.merge.policy import Policy, PolicyError
from gitref_lock.landing.merge.results import Conflict, Resolution
from gitref_lock.landing.replay import ReplayConflictError
from gitref_lock.ports import FetchRequest, RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.land_ticket import verdict_objects
from gitref_lock.runtime.remote import Picture, Remote
from gitref_lock.runtime.retry import reading

MAX_BATCH = 128
MAX_BATCH_BYTES = 8 << 20
MAX_SWEPT = 64
LOCAL_CLOCKS_APART_S = 86_400


@dataclass(frozen=True, slots=True)
class Member:
    """One ticket of a batch with its verdict."""

    entry: Entry
    ticket: Ticket
    verdict: Verdict
    resolutions: tuple[Resolution, ...] = ()


@dataclass(slots=True)
class Batch:
    """What one swap will land: the growing ``head`` on ``tip``, the new commits, and a verdict for each ticket.

    ``objects`` are all that the new commits and rescued commits need beyond the tip.
    """

    tip: Oid
    head: Oid
    commits: list[Oid] = field(default_factory=list)
    objects: dict[Oid, GitObject] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    rescued: list[Oid] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many bytes the new objects have, uncompressed."""
        return sum(len(item.data) for item in self.objects.values())

    @property
    def landed(self) -> int:
        """How many tickets' changes the swap lands."""
        return sum(1 for member in self.members if member.verdict.kind is VerdictKind.LANDED)

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
        queue = in_service_order(entries)
        now_at = self.remote.ticket_instants().now_at
        taken: list[Entry] = []
        for entry in queue:
            ticket = entry.ticket
            if ticket is None or ticket.kind is not Kind.LAND or ticket.branch != self.branch:
                continue
            if entry.name == mine or (ticket.is_combinable and ticket.expires_at > now_at):
                taken.append(entry)
        position = next((index for index, entry in enumerate(taken) if entry.name == mine), 0)
        return taken[:MAX_BATCH] if position < MAX_BATCH else [*taken[: MAX_BATCH - 1], taken[position]]

    def gather(self, picture: Picture, tip: Oid, mine: TicketName, own: Prepared, deadline: Deadline) -> Batch:
        """Fetch the waiting changes in one request, replay them on ``tip``, and return the batch."""
        batch = Batch(tip, tip)
        for entry in self.candidates(self._read(picture, mine, tip, deadline), mine):
            assert entry.ticket is not None
            commits = self._commits(entry, entry.ticket, mine, own)
            if isinstance(commits, Verdict):
                batch.members.append(Member(entry, entry.ticket, commits))
            else:
                self._land(batch, entry, entry.ticket, commits, is_mine=entry.name == mine)
        return batch

    def _read(self, picture: Picture, mine: TicketName, tip: Oid, deadline: Deadline) -> list[Entry]:
        """Return the live entries of the queue with their tickets, fetched together with the changes they carry."""
        queue = in_service_order(picture.queues[self.lock])
        others = [entry for entry in queue if entry.name != mine and _may_carry_a_change(entry)][
            : MAX_BATCH + MAX_SWEPT
        ]
        self._fetch(others, tip, deadline)
        self.remote.remember(commit for entry in others if (commit := self.change.stored(entry.tip)) is not None)
        return [self.remote.read_again(entry) for entry in queue]

    def _fetch(self, entries: Sequence[Entry], tip: Oid, deadline: Deadline) -> None:
        """Fetch all tickets at once; when the server cannot serve one, each by itself, so that one harms no other."""
        missing = [entry for entry in entries if commit_of(self.change.store, entry.tip) is None]
        if not missing:
            return
        try:
            self._fetch_tickets(missing, tip, deadline)
        except RemoteError as error:
            if error.code not in {"protocol", "not-found"} or len(missing) == 1:
                return
            for entry in missing:
                self._fetch([entry], tip, deadline)

    def _fetch_tickets(self, entries: Sequence[Entry], tip: Oid, deadline: Deadline) -> None:
        sink = StoreSink(self.change.store)
        wants = tuple(entry.tip for entry in entries)
        deepest = max((entry.ticket.changes for entry in entries if entry.ticket is not None), default=1)
        request = FetchRequest(
            wants=wants,
            haves=tuple(oid for oid in (tip, *self.change.haves) if sink.has(oid)),
            # In a shallow clone the server would send all history below a base that this clone lacks.
            depth=deepest + 2 if self.change.shallow else None,
            filter_spec=self.change.promisor_filter,
            shallow=tuple(sorted(self.change.shallow)),
        )
        reading(
            self.remote.system,
            lambda: self.remote.store.fetch(request, sink, timeout_s=deadline.capped(self.remote.call_timeout_s)),
            deadline,
        )

    def _commits(self, entry: Entry, ticket: Ticket, mine: TicketName, own: Prepared) -> tuple[Oid, ...] | Verdict:
        """Return a ticket's commits, oldest first, or the verdict that sets it aside."""
        if entry.name == mine:
            return own.commits
        commit = commit_of(self.change.store, entry.tip)
        parents = parents_of(commit) if commit is not None else ()
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
        if commit_of(self.change.store, at) is None:
            return self._set_aside("the ticket's base cannot be read")
        return tuple(reversed(found))

    def _set_aside(self, why: str) -> Verdict:
        return Verdict(VerdictKind.SET_ASIDE, by=self.holder.label, why=why)

    def _land(self, batch: Batch, entry: Entry, ticket: Ticket, commits: Sequence[Oid], *, is_mine: bool) -> None:
        """Replay one change on the batch's head, or note why it cannot land."""
        try:
            own = self.change.replayer.policy
            policy = own if is_mine else replace(Policy.from_json(ticket.policy), attributes=own.attributes)
            prepared = self._replay(batch.head, commits, ticket, policy)
        except ReplayConflictError as error:
            conflicts = tuple(conflict_json(item) for item in error.conflicts[:50])
            verdict = Verdict(VerdictKind.CONFLICT, by=self.holder.label, why=error.message, conflicts=conflicts)
            batch.members.append(Member(entry, ticket, verdict))
            return
        except (LandingError, PolicyError, MissingObjectError) as error:
            batch.members.append(Member(entry, ticket, self._set_aside(str(error)[:300])))
            return
        if (
            batch.size + sum(len(item.data) for item in prepared.objects) > MAX_BATCH_BYTES
            and batch.landed
            and not is_mine
        ):
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
        batch.members.append(Member(entry, ticket, verdict, prepared.resolutions))

    def _replay(self, head: Oid, commits: Sequence[Oid], ticket: Ticket, policy: Policy) -> Prepared:
        change = replace(
            self.change,
            ours=OurCommits(tuple(commits), Oid(ticket.base) if ticket.base else None, has_merge=False),
            replayer=replace(self.change.replayer, policy=policy),
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
        edits: list[RefEdit] = []
        objects: list[GitObject] = []
        for member in batch.members:
            made = verdict_objects(self.remote, member.ticket, member.verdict)
            ref = self.remote.namespace.ticket_ref(member.ticket.locks[0], member.entry.name)
            edits.append(RefEdit(ref, At(member.entry.tip), made[0].oid, Role.TICKET))
            objects.extend(made)
        return [*edits, *swept(self.remote, picture)], objects


def _may_carry_a_change(entry: Entry) -> bool:
    """Tell whether a ticket is one to land for its owner, or not yet read."""
    return entry.ticket is None or (entry.ticket.kind is Kind.LAND and entry.ticket.is_combinable)


def swept(remote: Remote, picture: Picture) -> list[RefEdit]:
    """Return the removal of verdicts whose names can no longer be claimed by a late copy of their create.

    Where the server's clock is not known, the sweeper's own says little about another machine's instant: a day must lie
    between them.
    """
    instants = remote.ticket_instants()
    now_at = instants.now_at - (0 if instants.source is ClockSource.SERVER else LOCAL_CLOCKS_APART_S)
    edits: list[RefEdit] = []
    for lock, queue in picture.queues.items():
        for entry in queue:
            ticket = entry.ticket
            if ticket is None or ticket.verdict is None or ticket.expires_at + VERDICT_KEPT_S > now_at:
                continue
            edits.append(RefEdit(remote.namespace.ticket_ref(lock, entry.name), At(entry.tip), None, Role.TICKET))
    return edits[:MAX_SWEPT]


def conflict_json(item: Conflict) -> JsonObject:
    """Return an unresolved conflict for reports: path, reason, and both sides' objects."""
    return {
        "path": item.path.decode("utf-8", "replace"),
        "reason": item.reason,
        "ours": item.ours,
        "theirs": item.theirs,
    }


def resolution_json(item: Resolution) -> JsonObject:
    """Return a resolved conflict for reports: path, strategy, both sides' objects, and what was decided."""
    return {
        "path": item.path.decode("utf-8", "replace"),
        "strategy": item.strategy,
        "ours": item.ours,
        "theirs": item.theirs,
        "detail": list(item.detail[:20]),
    }
