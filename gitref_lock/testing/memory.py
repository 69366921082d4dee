"""A git remote in memory, as faithful as the protocol needs it: refs, objects, swaps with C git's holes, a clock.

Property tests and the simulator run the real runtime against it in virtual time. What it grants or refuses is what git
2.39 was measured to grant or refuse, including what is wrong there; the contract suite runs against both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from gitref_lock.core.clocks import ServerDate
from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.refs import RefEdit, SwapOutcome
from gitref_lock.ports import (
    Capabilities,
    FetchRequest,
    FetchResult,
    ObjectSink,
    RemoteError,
    Snapshot,
    StoredCommit,
    System,
    Traffic,
)
from gitref_lock.remotes.packs import PackedObject, read_pack, write_pack
from gitref_lock.remotes.settle import Attempt, Settlement
from gitref_lock.remotes.store import SWAP_TIMEOUT_S, checked_order, interrupted, no_atomic, stored_commit
from gitref_lock.remotes.streams import Deadline
from gitref_lock.testing.memory_server import Command, MemoryServer

_T = TypeVar("_T")


class MemorySink:
    """An ObjectSink that keeps objects in a dictionary."""

    def __init__(self) -> None:
        """Begin empty."""
        self.objects: dict[Oid, PackedObject] = {}
        self.has_promised = False

    def add_pack_bytes(self, pack: bytes, *, promisor: bool) -> None:
        """Store all objects of a (possibly thin) pack."""
        self.objects |= read_pack(pack, max_blob_bytes=1 << 30, max_total_bytes=1 << 30, base_of=self.objects.get)
        self.has_promised |= promisor

    def has(self, oid: Oid) -> bool:
        """Tell whether the object is here."""
        return oid in self.objects


class MemoryRefStore:
    """A RefStore on a MemoryServer. Every request goes through ``_exchange``, which a simulator overrides."""

    def __init__(self, server: MemoryServer, system: System, *, display_url: str = "memory:") -> None:
        """Many stores, of as many runners, share one server."""
        self.traffic = Traffic()
        self._server = server
        self._system = system
        self._display_url = display_url
        self._capabilities: Capabilities | None = None

    @property
    def display_url(self) -> str:
        """The remote's address for people."""
        return self._display_url

    @property
    def is_server_clocked(self) -> bool:
        """Whether the server was given a clock."""
        return self._server.clock is not None

    def _exchange(self, kind: str, work: Callable[[], _T]) -> _T:  # noqa: ARG002 - for those who override it
        """Carry one request to the server and its reply back.

        ``kind`` is ``ls-refs``, ``fetch``, ``probe`` or ``swap``. ``work`` is what the server does with the request;
        its arguments are frozen, so that it may run later, more than once, or never. An override loses a request by
        raising LinkError instead of calling it, and a reply by raising after calling it; RemoteError is what reads
        raise, and what a swap turns into Unknown.
        """
        return work()

    def _request(self, kind: str, work: Callable[[], _T], *, is_write: bool = False) -> _T:
        """Count a request and exchange it."""
        traffic = self.traffic
        traffic.requests += 1
        traffic.by_kind[kind] = traffic.by_kind.get(kind, 0) + 1
        if is_write:
            traffic.writes += 1
        else:
            traffic.reads += 1
        return self._exchange(kind, work)

    def snapshot(self, prefixes: Sequence[str], *, timeout_s: float | None = None) -> Snapshot:  # noqa: ARG002 - memory answers at once
        """List the refs whose names begin with one of ``prefixes``."""
        asked = tuple(prefixes)
        if not asked:
            return Snapshot({})
        sent_s = self._system.clock.monotonic()
        refs, date_s = self._request("ls-refs", lambda: (self._server.listing(asked), self._server.date()))
        date = None if date_s is None else ServerDate(date_s, sent_s, self._system.clock.monotonic())
        return Snapshot(refs, date)

    def read(
        self,
        oids: Collection[Oid],
        *,
        max_file_bytes: int = 65536,
        timeout_s: float | None = None,  # noqa: ARG002 - memory answers at once
    ) -> Mapping[Oid, StoredCommit]:
        """Fetch these commits in one request."""
        wanted = tuple(dict.fromkeys(oids))
        if not wanted:
            return {}
        sent, _ = self._request("fetch", lambda: self._server.served(FetchRequest(wanted, depth=1)))
        objects = {
            item.oid: PackedObject(item.kind, item.data)
            for item in sent
            if item.kind is not ObjectKind.BLOB or len(item.data) <= max_file_bytes
        }
        found = ((one, stored_commit(one, objects)) for one in wanted)
        return {one: commit for one, commit in found if commit is not None}

    def fetch(self, request: FetchRequest, sink: ObjectSink, *, timeout_s: float | None = None) -> FetchResult:  # noqa: ARG002 - memory answers at once
        """Fetch objects into ``sink``."""
        sent, result = self._request("fetch", lambda: self._server.served(request))
        sink.add_pack_bytes(write_pack(sent), promisor=request.filter_spec is not None)
        return result

    def probe(self, *, timeout_s: float | None = None) -> Capabilities:  # noqa: ARG002 - memory answers at once
        """Return what the server offers."""
        self._capabilities = self._request("probe", lambda: Capabilities(self._server.atomic, self._server.agent))
        return self._capabilities

    def swap(
        self,
        edits: Sequence[RefEdit],
        objects: Sequence[GitObject],
        *,
        trust_report: bool = True,
        timeout_s: float | None = None,
    ) -> SwapOutcome:
        """Apply all edits or none, judged as on every other transport."""
        ordered = checked_order(edits)
        if len(ordered) > 1 and self._capabilities is not None and not self._capabilities.atomic:
            return no_atomic(self._capabilities.agent)
        commands, frozen = tuple(Command.of(edit) for edit in ordered), tuple(objects)
        deadline = Deadline.after(self._system.clock, SWAP_TIMEOUT_S if timeout_s is None else timeout_s)

        def send() -> Attempt:
            try:
                return self._request(
                    "swap", lambda: self._server.push(commands, frozen, atomic=len(commands) > 1), is_write=True
                )
            except RemoteError as exc:
                return interrupted(exc)

        settlement = Settlement(
            ordered,
            send,
            lambda prefixes: self.snapshot(prefixes).refs,
            system=self._system,
            deadline=deadline,
            traffic=self.traffic,
        )
        return settlement.outcome(trust_report=trust_report)

    def close(self) -> None:
        """Nothing is open."""


__all__ = ["Command", "MemoryRefStore", "MemoryServer", "MemorySink"]
