"""The only doors to the outside: a remote's refs, the clocks, randomness and sleep.

Everything above this module is written against these protocols, so that the command line, the library and the
simulator run the same code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from gitref_lock.core.clocks import ServerDate
from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Nonce, Oid, RefName
from gitref_lock.core.objects import GitObject
from gitref_lock.core.refs import RefEdit, SwapOutcome


class RemoteError(Exception):
    """A read from the remote failed. ``transient`` tells whether trying again may help; nothing was written.

    ``code`` is one of: ``authentication``, ``permission``, ``not-found``, ``unreachable``, ``timeout``, ``tls``,
    ``protocol``, ``server-error``, ``unsupported``, ``too-large``. ``words`` are the remote's own, with credentials
    removed. ``of_write`` tells that it was the door for writers that did not open, which says nothing of reading.
    """

    of_write = False

    def __init__(self, code: str, words: str, *, transient: bool = False, retry_after_s: float | None = None) -> None:
        """Keep the fields; the text is code and words."""
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words
        self.transient = transient
        self.retry_after_s = retry_after_s


class ObjectsGoneError(RemoteError):
    """An object that a listing had shown is no longer served: list again."""

    def __init__(self, words: str) -> None:
        """Always worth another listing."""
        super().__init__("protocol", words, transient=True)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One listing: the value of every ref under the asked prefixes. It is not atomic across refs."""

    refs: Mapping[RefName, Oid]
    server_date: ServerDate | None = None


@dataclass(frozen=True, slots=True)
class StoredCommit:
    """A commit and the plain files at the root of its tree, each at most the asked size.

    ``oversized`` names root files that were larger than the limit and therefore not kept.
    """

    oid: Oid
    parents: tuple[Oid, ...]
    message: str
    files: Mapping[str, bytes]
    oversized: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What receive-pack advertises: ``atomic`` and its agent string ('' when it names none)."""

    atomic: bool
    agent: str


@dataclass(slots=True)
class Traffic:
    """What a store has cost so far. ``writes`` counts receive-pack requests that carried commands."""

    requests: int = 0
    reads: int = 0
    writes: int = 0
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    connections: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)


class ObjectSink(Protocol):
    """Where fetched objects go: a local repository's object store, or memory."""

    def add_pack_bytes(self, pack: bytes, *, promisor: bool) -> None:
        """Store all objects of a (possibly thin) pack; bases of thin deltas are looked up in the sink."""
        ...

    def has(self, oid: Oid) -> bool:
        """Tell whether the object is present locally."""
        ...


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch. ``depth`` None sends no depth; ``filter_spec`` is for partial clones (``blob:none``).

    ``shallow`` are the local shallow boundary commits, which the server must know to answer rightly. An answer of more
    than ``max_bytes`` is broken off with RemoteError ``too-large``.
    """

    wants: tuple[Oid, ...]
    haves: tuple[Oid, ...] = ()
    depth: int | None = None
    filter_spec: str | None = None
    shallow: tuple[Oid, ...] = ()
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class FetchResult:
    """Shallow boundary changes that came with the pack; the caller decides whether to record them."""

    new_shallow: tuple[Oid, ...] = ()
    new_unshallow: tuple[Oid, ...] = ()


class RefStore(Protocol):
    """One remote repository's refs and objects. One instance serves one thread.

    Reads raise RemoteError; ``swap`` never raises for what a server or network does: every such event is an outcome.
    ``timeout_s`` bounds one call altogether; None means the store's own default.
    """

    traffic: Traffic

    @property
    def display_url(self) -> str:
        """The remote's address for people, credentials removed."""
        ...

    @property
    def is_server_clocked(self) -> bool:
        """Whether reads and writes yield a ServerDate (smart HTTP only)."""
        ...

    def snapshot(self, prefixes: Sequence[str], *, timeout_s: float | None = None) -> Snapshot:
        """List the refs whose names begin with one of ``prefixes`` (an exact name is its own prefix)."""
        ...

    def read(
        self, oids: Collection[Oid], *, max_file_bytes: int = 65536, timeout_s: float | None = None
    ) -> Mapping[Oid, StoredCommit]:
        """Fetch these commits (depth 1) in one request; raise ObjectsGoneError when the server serves one no more.

        An object that exists but is no commit, or has no readable tree, is left out of the answer.
        """
        ...

    def fetch(self, request: FetchRequest, sink: ObjectSink, *, timeout_s: float | None = None) -> FetchResult:
        """Fetch objects into ``sink``."""
        ...

    def probe(self, *, timeout_s: float | None = None) -> Capabilities:
        """Ask receive-pack what it can do (one advertisement, of which only the first packet is read)."""
        ...

    def swap(
        self,
        edits: Sequence[RefEdit],
        objects: Sequence[GitObject],
        *,
        trust_report: bool = True,
        timeout_s: float | None = None,
    ) -> SwapOutcome:
        """Apply all edits or none, each only if its expectation holds at the server.

        Sends ``edits`` in sending order, with ``atomic`` whenever there is more than one, and ``objects`` as one pack.
        The bytes are a function of the arguments: a second call with equal arguments sends the same bytes.
        Without ``trust_report`` a full ok is read back before it counts as Applied.
        """
        ...

    def close(self) -> None:
        """End connections and processes."""
        ...


class Clock(Protocol):
    """The clocks of this machine, in seconds."""

    def monotonic(self) -> float:
        """Steady clock for observers; may stop while the machine sleeps."""
        ...

    def boottime(self) -> float:
        """Steady clock that goes on while the machine sleeps, where the platform has one."""
        ...

    def wall(self) -> float:
        """Unix time; may jump."""
        ...

    def boot_id(self) -> str:
        """A word that changes when the monotonic clock restarts; '' when the platform has none."""
        ...


class Entropy(Protocol):
    """Randomness: nonces and jitter."""

    def nonce(self) -> Nonce:
        """Return 96 fresh random bits as hex."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """Return a number between ``low`` and ``high``, for jitter."""
        ...


class Sleeper(Protocol):
    """Waiting."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``, or earlier by raising when the wait is interrupted."""
        ...


@dataclass(frozen=True, slots=True)
class System:
    """Clock, randomness and sleep in one hand: what every loop of the runtime needs."""

    clock: Clock
    entropy: Entropy
    sleeper: Sleeper
