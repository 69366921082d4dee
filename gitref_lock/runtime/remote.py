"""One remote as the loops of the runtime see it: decoded states, observations of tips, and the server's clock.

A state never changes under its object id, so each is fetched once. Reading comes before writing everywhere: a refused
push leaves its objects on the server (docs/protocol.md, sections 2 and 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import lru_cache

from gitref_lock import __version__
from gitref_lock.core.clocks import ClockReading, ServerClock
from gitref_lock.core.expiry import Observation, Rule, contradicts, expired_by, observe, remaining_s
from gitref_lock.core.history import Ring
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import HISTORY_FILE, LOCK_FILE, LockState, NextState, Stance
from gitref_lock.core.names import LockName, Namespace, Nonce, Oid, RefName, TicketName
from gitref_lock.core.queue import Entry
from gitref_lock.core.record import AnyRecord, ClockSource, LockRecord, ServerInfo, State, decode_record
from gitref_lock.core.text import MalformedError
from gitref_lock.core.ticket import TICKET_FILE, Ticket, decode_ticket
from gitref_lock.ports import ObjectsGoneError, RefStore, Snapshot, StoredCommit, System
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.retry import DEFAULT_BACKOFF, Backoff, reading

TOOL = f"gitref-lock/{__version__}"
PROBE_AGE_S = 7 * 86_400
_DISTRUSTED_AGENTS = ("dulwich", "gitlab", ".gl")
_LISTINGS = 5
FIRST_PATIENCE_S = 10.0
_KEPT_STATES = 2048
"""How many states are remembered: a long wait beside busy landings must not grow without bound."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What one listing showed. ``read_s`` is the monotonic instant after it; a lock that does not exist is None."""

    locks: Mapping[LockName, LockState | None]
    queues: Mapping[LockName, tuple[Entry, ...]]
    refs: Mapping[RefName, Oid]
    read_s: float


Prefetch = Callable[[Mapping[RefName, Oid], Sequence[Oid]], Iterable[StoredCommit]]
"""Given a listing and the states still to be read, fetch what is wanted besides and return the states it brought."""


@dataclass(frozen=True, slots=True)
class Instants:
    """The time for a record, in Unix seconds of ``source``: earliest now, and latest now plus a ttl."""

    source: ClockSource
    now_at: int
    latest: float

    def expires_at(self, ttl_s: float) -> int:
        """Return the end of a lease written now, counted from the latest that the clock can show."""
        return math.ceil(self.latest + ttl_s)


@dataclass(slots=True)
class Remote:
    """A remote with a memory. ``call_timeout_s`` bounds single requests, ``backoff`` is how failed ones are repeated.

    ``probed`` is what this process found the server to be, for the next record that it writes.
    """

    store: RefStore
    system: System
    namespace: Namespace = field(default_factory=Namespace)
    call_timeout_s: float | None = None
    clock: ServerClock = field(default_factory=ServerClock)
    observations: dict[LockName, Observation] = field(default_factory=dict)
    probed: ServerInfo | None = None
    backoff: Backoff = DEFAULT_BACKOFF
    _states: dict[Oid, StoredCommit] = field(default_factory=dict)
    _server: ServerInfo | None = None
    _believes_records: bool = True
    _has_answered: bool = False
    _lead_at_date_s: float = 0.0

    def look(
        self,
        names: Collection[LockName],
        deadline: Deadline,
        *,
        with_queue: bool = True,
        beside: Collection[LockName] = (),
        extra: Sequence[str] = (),
        stop_at: TicketName | None = None,
        prefetch: Prefetch | None = None,
    ) -> Picture:
        """List and read these locks and their queues, locks ``beside`` without, plus the refs under ``extra`` prefixes.

        Tickets behind ``stop_at`` are listed but not read. ``prefetch`` sees each listing with the states still to be
        read, and may bring them along with what it fetches itself. Raises RemoteError when the remote stays unreadable.
        """
        locks = (*names, *beside)
        queues = [self.namespace.queue_prefix(name) for name in names] if with_queue else []
        prefixes = [*(self.namespace.lock_ref(name) for name in locks), *queues, *extra]
        for _ in range(_LISTINGS):
            with suppress(ObjectsGoneError):
                return self._picture(locks, self.list(prefixes, deadline), deadline, stop_at, prefetch)
        return self._picture(locks, self.list(prefixes, deadline), deadline, stop_at, prefetch)

    def list(self, prefixes: Sequence[str], deadline: Deadline) -> Snapshot:
        """List refs by prefix, trying again on transient failures; the server's Date is remembered."""
        lead_s = self._boot_lead_s()
        listing = reading(
            self.system,
            lambda: self.store.snapshot(prefixes, timeout_s=deadline.capped(self.call_timeout_s)),
            deadline,
            # A remote that never answered is more likely misspelled than down for a moment.
            patience_s=None if self._has_answered else FIRST_PATIENCE_S,
            backoff=self.backoff,
        )
        self._has_answered = True
        self.clock = self.clock.with_date(listing.server_date)
        if listing.server_date is not None:
            self._lead_at_date_s = lead_s
        return listing

    def commits(self, oids: Iterable[Oid], deadline: Deadline) -> Mapping[Oid, StoredCommit]:
        """Return these commits, fetching in one request those not seen before; what is no commit is left out."""
        wanted = list(dict.fromkeys(oids))
        missing = [oid for oid in wanted if oid not in self._states]
        if len(self._states) > _KEPT_STATES:
            self._states = {oid: self._states[oid] for oid in wanted if oid in self._states}
        if missing:
            found = reading(
                self.system,
                lambda: self.store.read(missing, timeout_s=deadline.capped(self.call_timeout_s)),
                deadline,
                backoff=self.backoff,
            )
            self._states.update(found)
            for oid in missing:
                self._states.setdefault(oid, StoredCommit(oid, (), "", {}))
        return {oid: self._states[oid] for oid in wanted}

    def remember(self, commits: Iterable[StoredCommit]) -> None:
        """Keep commits that were read in another way, so that they are not fetched again."""
        self._states.update((commit.oid, commit) for commit in commits)

    def remember_written(self, states: Iterable[NextState]) -> None:
        """Keep states that were written from here, as a later read would find them: they need not be fetched."""
        self.remember(StoredCommit(item.state.tip, (), "", item.files) for item in states)

    def read_again(self, entry: Entry) -> Entry:
        """Return the entry with its ticket, where the ticket was read after the listing."""
        return (
            entry
            if entry.ticket is not None
            else Entry(entry.name, entry.tip, _ticket(entry.name, self._states.get(entry.tip)))
        )

    def _picture(
        self,
        names: Collection[LockName],
        listing: Snapshot,
        deadline: Deadline,
        stop_at: TicketName | None,
        prefetch: Prefetch | None,
    ) -> Picture:
        tips = {name: listing.refs.get(self.namespace.lock_ref(name)) for name in names}
        tickets: dict[LockName, list[tuple[TicketName, Oid]]] = {name: [] for name in names}
        for ref, tip in listing.refs.items():
            parsed = self.namespace.parse_ticket_ref(ref)
            if parsed is not None and parsed[0] in tickets:
                tickets[parsed[0]].append((parsed[1], tip))
        last = (stop_at.rank_ms, stop_at.nonce) if stop_at is not None else None
        needed = [tip for tip in tips.values() if tip is not None]
        for queue in tickets.values():
            needed += [tip for name, tip in queue if last is None or (name.rank_ms, name.nonce) <= last]
        if prefetch is not None:
            self.remember(prefetch(listing.refs, [oid for oid in needed if oid not in self._states]))
        commits = self.commits(needed, deadline)
        now_s = self.system.clock.monotonic()
        locks = {name: self._state(name, tip, commits, now_s) for name, tip in tips.items()}
        queues = {
            name: tuple(Entry(ticket, tip, _ticket(ticket, commits.get(tip))) for ticket, tip in sorted_tickets(queue))
            for name, queue in tickets.items()
        }
        return Picture(locks, queues, listing.refs, now_s)

    def _state(
        self, name: LockName, tip: Oid | None, commits: Mapping[Oid, StoredCommit], now_s: float
    ) -> LockState | None:
        if tip is None:
            self.observations.pop(name, None)
            return None
        self.observations[name] = observe(self.observations.get(name), tip, now_s)
        state = state_of(name, commits[tip])
        if contradicts(state.record, self.clock):
            self.clock = self.clock.contradicted()
        if self._believes_records and isinstance(state.record, LockRecord) and state.record.server is not None:
            self._server = state.record.server
        return state

    def recall(self, state: LockState, clock: ServerClock) -> None:
        """Take over what an earlier process of this machine knew: the server behind a lock, and its clock."""
        if self._believes_records and isinstance(state.record, LockRecord) and state.record.server is not None:
            self._server = state.record.server
        if clock.is_known and not self.clock.is_known:
            self.clock = clock
            self._lead_at_date_s = self._boot_lead_s()

    def stance(self, name: LockName, state: LockState | None, lease: Nonce | None = None) -> Stance:
        """Return what this state is to the owner of the token ``lease`` (None: to anybody)."""
        if state is None:
            return Stance.ABSENT
        record = state.record
        if isinstance(record, LockRecord):
            if record.state is State.FREE:
                return Stance.FREE
            if lease is not None and record.lease == lease:
                return Stance.MINE
        return Stance.EXPIRED if self.expiry(name, state) is not None else Stance.OTHER

    def expiry(self, name: LockName, state: LockState) -> Rule | None:
        """Return the rule by which this held state is expired for this observer, or None."""
        observation = self.observations.get(name) or Observation(state.tip, self.system.clock.monotonic())
        return expired_by(state.record, observation, self.system.clock.monotonic(), self.clock)

    def remaining_s(self, name: LockName, state: LockState) -> float:
        """Return the least time until this held state can be expired for this observer."""
        observation = self.observations.get(name) or Observation(state.tip, self.system.clock.monotonic())
        return remaining_s(state.record, observation, self.system.clock.monotonic(), self.clock)

    def _boot_lead_s(self) -> float:
        """Return by how much the clock that goes on in suspend is ahead of the one that stops."""
        return self.system.clock.boottime() - self.system.clock.monotonic()

    def _latest(self, now_s: float) -> float:
        """Return the latest that the server's clock can show: the time that this machine has slept since counts too."""
        return self.clock.latest(now_s) + max(0.0, self._boot_lead_s() - self._lead_at_date_s)

    def instants(self) -> Instants:
        """Return the time for a record: the server's where it is known and consistent, else this machine's."""
        now_s = self.system.clock.monotonic()
        if self.store.is_server_clocked and self.clock.is_known and self.clock.is_consistent:
            return Instants(ClockSource.SERVER, int(self.clock.earliest(now_s)), self._latest(now_s))
        wall = self.system.clock.wall()
        return Instants(ClockSource.LOCAL, int(wall), wall)

    def ticket_instants(self) -> Instants:
        """Return the time for a ticket: the server's where it is known at all, else this machine's.

        Front ends that disagree by seconds are still better than the wall clocks of two machines.
        """
        now_s = self.system.clock.monotonic()
        if self.store.is_server_clocked and self.clock.is_known:
            return Instants(ClockSource.SERVER, int(self.clock.earliest(now_s)), self._latest(now_s))
        return self.instants()

    def clock_reading(self) -> ClockReading:
        """Read all clocks of this machine."""
        clock = self.system.clock
        return ClockReading(clock.monotonic(), clock.boottime(), clock.wall())

    def server(self, deadline: Deadline) -> ServerInfo:
        """Return what is known of the server: from the lock's record while fresh, else by asking."""
        now_at = self.instants().now_at
        if self._server is None or not 0 <= now_at - self._server.probed_at < PROBE_AGE_S:
            found = reading(
                self.system,
                lambda: self.store.probe(timeout_s=deadline.capped(self.call_timeout_s)),
                deadline,
                backoff=self.backoff,
            )
            self._server = self.probed = ServerInfo(found.atomic, found.agent, now_at)
            self._believes_records = True
        return self._server

    def forget_server(self) -> None:
        """Drop what is known of the server: it has just shown something else."""
        self._server = self.probed = None
        self._believes_records = False

    @property
    def lacks_atomic(self) -> bool:
        """Whether the server is known to be unable to apply several refs as one."""
        return self._server is not None and not self._server.atomic

    @property
    def trusts_reports(self) -> bool:
        """Whether an ok of this server needs no read-back: not for unknown agents, dulwich or GitLab."""
        agent = self._server.agent.lower() if self._server is not None else ""
        return bool(agent) and not any(word in agent for word in _DISTRUSTED_AGENTS)

    @property
    def skips_ci(self) -> bool:
        """Whether lock commits must ask CI systems not to run: they live among the branches."""
        return self.namespace.locks.startswith("refs/heads/")


def state_of(name: LockName, commit: StoredCommit) -> LockState:
    """Return the lock state that a commit holds; unreadable parts become an unreadable record or an empty ring."""
    record, ring = _decoded_state(name, commit.files.get(LOCK_FILE), commit.files.get(HISTORY_FILE))
    return LockState(commit.oid, record, ring)


@lru_cache(maxsize=64)
def _decoded_state(name: LockName, lock: bytes | None, history: bytes | None) -> tuple[AnyRecord, Ring]:
    """Decode once: a waiter looks at the same state again and again."""
    return decode_record(lock, name), Ring.decode(history)


@lru_cache(maxsize=512)
def _decoded_ticket(data: bytes | None) -> Ticket | None:
    """Decode once: a long queue is the same at every look but for a few tickets."""
    try:
        return decode_ticket(data)
    except MalformedError:
        return None


def sorted_tickets(queue: Iterable[tuple[TicketName, Oid]]) -> list[tuple[TicketName, Oid]]:
    """Return tickets in service order."""
    return sorted(queue, key=lambda item: (item[0].rank_ms, item[0].nonce))


def _ticket(name: TicketName, commit: StoredCommit | None) -> Ticket | None:
    ticket = _decoded_ticket(commit.files.get(TICKET_FILE)) if commit is not None else None
    return ticket if ticket is not None and ticket.nonce == name.nonce else None
