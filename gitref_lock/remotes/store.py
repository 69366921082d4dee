"""What every remote has in common: the shape of reads, records out of packs, the life of a swap.

A transport supplies four verbs (list, fetch, push, probe); this class makes a RefStore of them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from gitref_lock.core.clocks import ServerDate
from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.refs import RefEdit, RefusalKind, Refused, SwapOutcome, Unknown, in_sending_order
from gitref_lock.ports import (
    Capabilities,
    FetchRequest,
    FetchResult,
    ObjectsGoneError,
    ObjectSink,
    RemoteError,
    Snapshot,
    StoredCommit,
    System,
    Traffic,
)
from gitref_lock.remotes.packs import PackedObject, PackError, PackTooLargeError, read_pack, write_pack
from gitref_lock.remotes.pktline import ServerSaidError, TooLargeError, WireError
from gitref_lock.remotes.settle import Attempt, Settlement
from gitref_lock.remotes.streams import Deadline, LinkError
from gitref_lock.remotes.wire import FetchReply, Report, receive_pack_request
from gitref_lock.remotes.words import kind_of_error, shown

_T = TypeVar("_T")

LONG_IDS = "the repository uses SHA-256 object ids, which are not supported"
READ_TIMEOUT_S = 60.0
SWAP_TIMEOUT_S = 120.0
FETCH_TIMEOUT_S = 900.0
MAX_LISTING_BYTES = 256 << 20
MAX_FETCH_BYTES = 2 << 30
MAX_RECORD_BYTES = 1 << 20
"""How much one commit may weigh in a pack when it is read as a record; what is heavier is no record of ours."""


class GitStore(ABC):
    """A RefStore over some transport of git."""

    is_stateful = False
    """Whether a granted swap must be read back whatever the caller says (docs/protocol.md, section 2)."""

    def __init__(self, system: System, display_url: str) -> None:
        """Nothing is opened before the first call."""
        self.traffic = Traffic()
        self._system = system
        self._display_url = display_url
        self._capabilities: Capabilities | None = None
        self._sends_thin = True
        self._protocol_version: int | None = None

    @property
    def protocol_version(self) -> int | None:
        """The version in which the server answered reads so far; None before the first."""
        return self._protocol_version

    @property
    def display_url(self) -> str:
        """The remote's address for people, credentials removed."""
        return self._display_url

    @property
    def is_server_clocked(self) -> bool:
        """Only HTTP tells the server's time."""
        return False

    @abstractmethod
    def _list(self, prefixes: Sequence[str], deadline: Deadline) -> tuple[Mapping[RefName, Oid], ServerDate | None]:
        """List refs under ``prefixes``; raise RemoteError or WireError."""

    @abstractmethod
    def _fetch(self, request: FetchRequest, deadline: Deadline, *, thin: bool, max_bytes: int) -> FetchReply:
        """Fetch; raise RemoteError or WireError."""

    @abstractmethod
    def _push(self, edits: Sequence[RefEdit], body: bytes, deadline: Deadline) -> Attempt:
        """Send one receive-pack request; never raises for what a server or network does."""

    @abstractmethod
    def _probe(self, deadline: Deadline) -> Capabilities:
        """Read the head of receive-pack's advertisement; raise RemoteError or WireError."""

    @abstractmethod
    def _secrets(self) -> Collection[str]:
        """Return every text that must not appear in a message."""

    @abstractmethod
    def close(self) -> None:
        """End connections and processes."""

    def snapshot(self, prefixes: Sequence[str], *, timeout_s: float | None = None) -> Snapshot:
        """List the refs whose names begin with one of ``prefixes``."""
        if not prefixes:
            return Snapshot({})  # to a server, no prefix means every ref
        deadline = self._deadline(timeout_s, READ_TIMEOUT_S)
        refs, date = self._guarded(lambda: self._list(prefixes, deadline))
        return Snapshot(refs, date)

    def read(
        self, oids: Collection[Oid], *, max_file_bytes: int = 65536, timeout_s: float | None = None
    ) -> Mapping[Oid, StoredCommit]:
        """Fetch these commits (depth 1) in one request; raise ObjectsGoneError when one is served no more.

        When together they are larger than records can be, each is asked for by itself, so that one heavy commit does
        not hide the others; the heavy one is left out.
        """
        wanted = tuple(dict.fromkeys(oids))
        if not wanted:
            return {}
        deadline = self._deadline(timeout_s, READ_TIMEOUT_S)
        together = self._records(wanted, max_file_bytes, deadline)
        if together is not None:
            return together
        found: dict[Oid, StoredCommit] = {}
        if len(wanted) > 1:
            for one in wanted:
                found |= self._records((one,), max_file_bytes, deadline) or {}
        return found

    def fetch(self, request: FetchRequest, sink: ObjectSink, *, timeout_s: float | None = None) -> FetchResult:
        """Fetch objects into ``sink``."""
        deadline = self._deadline(timeout_s, FETCH_TIMEOUT_S)
        reply = self._guarded(lambda: self._fetched(request, deadline))
        sink.add_pack_bytes(reply.pack, promisor=request.filter_spec is not None)
        return FetchResult(reply.shallow, reply.unshallow)

    def _fetched(self, request: FetchRequest, deadline: Deadline) -> FetchReply:
        try:
            return self._fetch(request, deadline, thin=True, max_bytes=request.max_bytes or MAX_FETCH_BYTES)
        except TooLargeError as exc:
            raise RemoteError("too-large", str(exc)) from None

    def probe(self, *, timeout_s: float | None = None) -> Capabilities:
        """Ask receive-pack what it can do."""
        deadline = self._deadline(timeout_s, READ_TIMEOUT_S)
        try:
            self._capabilities = self._guarded(lambda: self._probe(deadline))
        except RemoteError as exc:
            exc.of_write = True
            raise
        return self._capabilities

    def swap(
        self,
        edits: Sequence[RefEdit],
        objects: Sequence[GitObject],
        *,
        trust_report: bool = True,
        timeout_s: float | None = None,
    ) -> SwapOutcome:
        """Apply all edits or none; never raises for what a server or network does."""
        ordered = checked_order(edits)
        if len(ordered) > 1 and self._capabilities is not None and not self._capabilities.atomic:
            return no_atomic(self._capabilities.agent)
        deadline = self._deadline(timeout_s, SWAP_TIMEOUT_S)

        def send() -> Attempt:
            return self._cleaned(self._sent(ordered, objects, deadline))

        def look(prefixes: Sequence[str]) -> Mapping[RefName, Oid]:
            return self._guarded(lambda: self._list(prefixes, deadline))[0]

        settlement = Settlement(ordered, send, look, system=self._system, deadline=deadline, traffic=self.traffic)
        return settlement.outcome(trust_report=trust_report and not self.is_stateful)

    def _sent(self, edits: Sequence[RefEdit], objects: Sequence[GitObject], deadline: Deadline) -> Attempt:
        """Send one swap; a thin pack that the server cannot unpack is followed by a full one, for nothing was done."""
        if self._sends_thin and any(item.delta is not None for item in objects):
            attempt = self._push(edits, self._body(edits, write_pack(objects, thin=True)), deadline)
            if not isinstance(attempt, Report) or attempt.unpack == "ok":
                return attempt
            self._sends_thin = False
        return self._push(edits, self._body(edits, write_pack(objects)), deadline)

    @staticmethod
    def _body(edits: Sequence[RefEdit], pack: bytes) -> bytes:
        return receive_pack_request(edits, pack, atomic=len(edits) > 1)

    def _deadline(self, timeout_s: float | None, default_s: float) -> Deadline:
        """Return the end of a call that begins now."""
        return Deadline.after(self._system.clock, default_s if timeout_s is None else timeout_s)

    def _records(
        self, oids: tuple[Oid, ...], max_file_bytes: int, deadline: Deadline
    ) -> dict[Oid, StoredCommit] | None:
        """Fetch commits and take their root files out of the pack; None when they are larger than records can be."""
        limit = MAX_RECORD_BYTES * min(len(oids), 64)
        request = FetchRequest(oids, depth=1)

        def fetched() -> dict[Oid, PackedObject] | None:
            try:
                pack = self._fetch(request, deadline, thin=False, max_bytes=limit).pack
                return read_pack(pack, max_blob_bytes=max_file_bytes, max_total_bytes=4 * limit)
            except (TooLargeError, PackTooLargeError):
                return None

        objects = self._guarded(fetched)
        if objects is None:
            return None
        found = ((one, stored_commit(one, objects)) for one in oids)
        return {one: commit for one, commit in found if commit is not None}

    def _count(self, kind: str, *, is_write: bool = False) -> None:
        """Count one conversation with a service."""
        self.traffic.by_kind[kind] = self.traffic.by_kind.get(kind, 0) + 1
        if is_write:
            self.traffic.writes += 1
        else:
            self.traffic.reads += 1

    def _guarded(self, work: Callable[[], _T]) -> _T:
        """Run a read; whatever goes wrong becomes a RemoteError without credentials."""
        try:
            return work()
        except RemoteError as exc:
            exc.words = shown(exc.words, self._secrets())
            exc.args = (f"{exc.code}: {exc.words}",)
            raise
        except ServerSaidError as exc:
            words = shown(str(exc), self._secrets())
            if re.search(_GONE, words):
                raise ObjectsGoneError(words) from None
            kind = kind_of_error(words)
            is_missing = kind is RefusalKind.NOT_FOUND or re.search(_NOT_FOUND, words)
            code = "not-found" if is_missing else "permission" if kind is RefusalKind.PERMISSION else "protocol"
            raise RemoteError(code, words) from None
        except (WireError, PackError) as exc:
            raise RemoteError("protocol", shown(str(exc), self._secrets()), transient=True) from None

    def _cleaned(self, attempt: Attempt) -> Attempt:
        """Return ``attempt`` with credentials removed from every text."""
        secrets = self._secrets()
        if isinstance(attempt, Report):
            statuses = {
                ref: None if status is None else shown(status, secrets) for ref, status in attempt.statuses.items()
            }
            return Report(shown(attempt.unpack, secrets), statuses, shown(attempt.progress, secrets))
        if isinstance(attempt, Refused):
            return replace(attempt, words=shown(attempt.words, secrets))
        return replace(attempt, cause=shown(attempt.cause, secrets))


_GONE = r"not our ref|want [0-9a-f]{40} not valid|no such remote ref|unadvertised object"
_NOT_FOUND = r"(?i)not exported|repository not found|does not exist|no such repository"


def checked_order(edits: Sequence[RefEdit]) -> tuple[RefEdit, ...]:
    """Return ``edits`` in sending order; raise ValueError for none at all or a ref named twice."""
    ordered = in_sending_order(edits)
    if not ordered or len({edit.ref for edit in ordered}) != len(ordered):
        raise ValueError("a swap has at least one edit and no ref twice")
    return ordered


def no_atomic(agent: str) -> Refused:
    """Return the refusal of a swap with several edits by a server that cannot apply all or none."""
    return Refused(RefusalKind.NO_ATOMIC, f"the server ({agent or 'without agent'}) does not offer atomic pushes")


def interrupted(exc: RemoteError | WireError) -> Unknown | Refused:
    """Return the open question that a broken conversation about a swap leaves, or the refusal that it clearly was."""
    if isinstance(exc, ServerSaidError) and (kind := kind_of_error(str(exc))) is not None:
        return Refused(kind, str(exc))
    if isinstance(exc, WireError):
        return Unknown(f"no complete report: {exc}")
    nothing_sent = isinstance(exc, LinkError) and exc.nothing_sent
    return for_good(exc) if nothing_sent and not exc.transient else Unknown(str(exc), exc.retry_after_s, nothing_sent)


def for_good(exc: RemoteError) -> Refused:
    """Return the refusal of a swap of which nothing was sent, for a reason that trying again will not change."""
    known = {"authentication", "permission", "not-found"}
    return Refused(RefusalKind(exc.code) if exc.code in known else RefusalKind.OTHER, exc.words)


def stored_commit(oid: Oid, objects: Mapping[Oid, PackedObject]) -> StoredCommit | None:
    """Return the commit ``oid`` and its root files, or None when it is no commit or its tree is not readable.

    A root file whose content was not kept because of its size is named in ``oversized``.
    """
    commit = objects.get(oid)
    if commit is None or commit.kind is not ObjectKind.COMMIT or commit.data is None:
        return None
    head, _, message = commit.data.partition(b"\n\n")
    lines = [line.partition(b" ") for line in head.split(b"\n")]
    if not lines or lines[0][0] != b"tree":
        return None
    tree = objects.get(Oid(lines[0][2].decode("ascii", "replace")))
    if tree is None or tree.kind is not ObjectKind.TREE or tree.data is None:
        return None
    parents = tuple(Oid(value.decode("ascii", "replace")) for word, _, value in lines if word == b"parent")
    files: dict[str, bytes] = {}
    oversized: set[str] = set()
    for mode, name, item in _tree_entries(tree.data):
        if mode not in {b"100644", b"100755"}:
            continue
        blob = objects.get(item)
        if blob is None or blob.data is None:
            oversized.add(name)
        else:
            files[name] = blob.data
    return StoredCommit(oid, parents, message.decode("utf-8", "replace"), files, frozenset(oversized))


def _tree_entries(data: bytes) -> Iterator[tuple[bytes, str, Oid]]:
    """Yield mode, name and id of each entry of a tree; a damaged tail ends the list."""
    position = 0
    while (end := data.find(b"\0", position)) >= 0 and end + 21 <= len(data):
        mode, _, name = data[position:end].partition(b" ")
        yield mode, name.decode("utf-8", "surrogateescape"), Oid(data[end + 1 : end + 21].hex())
        position = end + 21
