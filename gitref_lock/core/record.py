"""The lock record (``lock.json``, schema 1): its values, their bounds, and the codec.

Writing is bounded to one KiB; reading is tolerant of new keys and strict on values. What cannot be read is not garbage:
it counts as held by an unknown holder for a day, so that a damaged or newer state never lets two runners in
(docs/protocol.md, section 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import InvalidNameError, LockName, Nonce, is_nonce, lock_name
from gitref_lock.core.text import (
    Fields,
    JsonObject,
    JsonValue,
    MalformedError,
    clip,
    instant,
    parse_object,
    render_object,
)

SCHEMA = 1
MIN_TTL_S = 5.0
MAX_TTL_S = 86_400.0
MAX_PRIORITY = 1000
DEFAULT_PRIORITY = 20
"""What commands and programs queue with that name no priority."""
MAX_GENERATION = 2**53
READ_LIMIT = 65_536
WRITE_LIMIT = 1024
UNREADABLE_TTL_S = MAX_TTL_S


class State(StrEnum):
    """What a lock can be."""

    FREE = "free"
    HELD = "held"


class Event(StrEnum):
    """What moved a lock to the state that names it."""

    CREATE = "create"
    ACQUIRE = "acquire"
    RENEW = "renew"
    RELEASE = "release"
    LAND = "land"
    LAND_KEEP = "land-keep"
    ABANDON = "abandon"
    TAKE_OVER = "take-over"
    LAND_EXPIRED = "land-expired"
    REAP = "reap"
    BREAK = "break"
    PREEMPT = "preempt"
    EMERGENCY = "emergency"
    BREACH = "breach"
    PRUNE = "prune"


class ClockSource(StrEnum):
    """Whose clock the instants of a record come from."""

    SERVER = "server"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds or waits, for people. Equality of ids never makes a lock mine: only the lease token does."""

    id: str
    name: str = ""
    workflow: str = ""
    run_url: str = ""
    host: str = ""
    pid: int = 0

    def clipped(self) -> Holder:
        """Return this holder with every text cut to what a record may carry."""
        return Holder(
            id=clip(self.id, 80) or "unknown",
            name=clip(self.name, 60),
            workflow=clip(self.workflow, 60),
            run_url=clip(self.run_url, 120),
            host=clip(self.host, 60),
            pid=self.pid if 0 <= self.pid < 2**31 else 0,
        )

    @property
    def label(self) -> str:
        """The shortest name that people will recognise."""
        return self.name or self.id

    def to_json(self) -> JsonObject:
        """Return the record's form; empty fields are left out."""
        value: JsonObject = {"id": self.id}
        for key, text in (
            ("name", self.name),
            ("workflow", self.workflow),
            ("run_url", self.run_url),
            ("host", self.host),
        ):
            if text:
                value[key] = text
        if self.pid:
            value["pid"] = self.pid
        return value

    @classmethod
    def from_fields(cls, fields: Fields) -> Holder:
        """Read a holder; raise MalformedError for wrong types or sizes."""
        return cls(
            id=fields.text("id", required=True),
            name=fields.text("name"),
            workflow=fields.text("workflow"),
            run_url=fields.text("run_url"),
            host=fields.text("host"),
            pid=fields.integer("pid", 0, 2**31 - 1, default=0),
        )


UNKNOWN_HOLDER = Holder(id="unknown")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the creator of the lock learned about the server by asking it; ``probed_at`` is a Unix second."""

    atomic: bool
    agent: str
    probed_at: int

    def to_json(self) -> JsonObject:
        """Return the record's form."""
        return {"atomic": self.atomic, "agent": clip(self.agent, 80), "probed_at": instant(self.probed_at)}


@dataclass(frozen=True, slots=True)
class LockRecord:
    """One state of one lock. Durations in seconds, instants in Unix seconds of ``clock``.

    A free record has neither holder nor lease nor instants of a lease; ``lease`` is the nonce of the acquiring write.
    """

    lock: LockName
    state: State
    generation: int
    nonce: Nonce
    event: Event
    lease: Nonce | None = None
    holder: Holder | None = None
    priority: int = 0
    reason: str = ""
    ttl_s: float = 0.0
    acquired_at: int | None = None
    renewed_at: int | None = None
    expires_at: int | None = None
    clock: ClockSource = ClockSource.LOCAL
    waited_s: float = 0.0
    tool: str = ""
    server: ServerInfo | None = None
    extra: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a record that contradicts itself."""
        is_held = self.state is State.HELD
        parts = (self.lease, self.holder, self.acquired_at, self.renewed_at, self.expires_at)
        if any((part is not None) is not is_held for part in parts):
            raise MalformedError(f"a {self.state} lock must have all or none of holder, lease and instants")
        if is_held and not MIN_TTL_S <= self.ttl_s <= MAX_TTL_S:
            raise MalformedError(f"ttl_s must be from {MIN_TTL_S:g} to {MAX_TTL_S:g}")
        if not 0 <= self.generation <= MAX_GENERATION or abs(self.priority) > MAX_PRIORITY:
            raise MalformedError("generation or priority out of range")

    def encode(self) -> bytes:
        """Return ``lock.json``; texts are shortened until it fits one KiB (unknown keys not counted)."""
        record = replace(
            self, reason=clip(self.reason, 160), holder=self.holder.clipped() if self.holder is not None else None
        )
        own = render_object(_own_json(record))
        while len(own) > WRITE_LIMIT:
            shorter = _shorter(record)
            if shorter == record:
                break
            record = shorter
            own = render_object(_own_json(record))
        with_extra = render_object({**_own_json(record), **self.extra})
        return with_extra if len(with_extra) <= READ_LIMIT else own


def _own_json(record: LockRecord) -> JsonObject:
    value: JsonObject = {
        "schema": SCHEMA,
        "lock": record.lock,
        "state": record.state.value,
        "generation": record.generation,
        "event": record.event.value,
        "nonce": record.nonce,
    }
    if record.holder is not None:
        value |= {
            "lease": record.lease,
            "holder": record.holder.to_json(),
            "priority": record.priority,
            "reason": record.reason,
            "ttl_s": record.ttl_s,
            "acquired_at": instant(record.acquired_at or 0),
            "renewed_at": instant(record.renewed_at or 0),
            "expires_at": instant(record.expires_at or 0),
            "waited_s": round(record.waited_s, 1),
        }
    value |= {"clock": record.clock.value, "tool": clip(record.tool, 40)}
    if record.server is not None:
        value["server"] = record.server.to_json()
    return value


def _shorter(record: LockRecord) -> LockRecord:
    """Return the record with its least needed text shortened or gone; the same record when nothing is left to cut."""
    if record.reason:
        return replace(record, reason=clip(record.reason, len(record.reason.encode()) // 2))
    holder = record.holder
    if holder is None:
        return replace(record, server=None, tool="")
    for shorter in (
        replace(holder, run_url=""),
        replace(holder, host=""),
        replace(holder, workflow=""),
        replace(holder, name=""),
        replace(holder, id=clip(holder.id, 24) or UNKNOWN_HOLDER.id),
    ):
        if shorter != holder:
            return replace(record, holder=shorter)
    return replace(record, server=None, tool="")


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A state that cannot be read: held by an unknown holder for a day of observation; ``why`` is for people."""

    lock: LockName
    why: str


AnyRecord = LockRecord | UnreadableRecord


def decode_record(data: bytes | None, name: LockName) -> AnyRecord:
    """Read ``lock.json`` of the lock ``name``; never raises: what is wrong becomes an UnreadableRecord."""
    try:
        if data is None:
            raise MalformedError("lock.json is missing or too large")
        return _decode(Fields(parse_object(data, limit=READ_LIMIT)), name)
    except MalformedError as error:
        return UnreadableRecord(name, str(error))


def _decode(fields: Fields, name: LockName) -> LockRecord:
    schema = fields.integer("schema", 1, 2**31)
    if schema != SCHEMA:
        raise MalformedError(f"schema {schema} is newer than this tool's {SCHEMA}")
    if fields.text("lock", required=True) != name:
        raise MalformedError("the record is another lock's")
    holder = fields.child("holder")
    server = fields.child("server")
    try:
        state = State(fields.text("state", required=True))
        clock = ClockSource(fields.text("clock", required=True))
        event = Event(fields.text("event", required=True))
    except ValueError as error:
        raise MalformedError(str(error)) from None
    lease = fields.text("lease")
    return LockRecord(
        lock=lock_name_of(name),
        state=state,
        generation=fields.integer("generation", 0, MAX_GENERATION),
        nonce=_nonce(fields.text("nonce", required=True)),
        event=event,
        lease=_nonce(lease) if lease else None,
        holder=Holder.from_fields(holder) if holder is not None else None,
        priority=fields.integer("priority", -MAX_PRIORITY, MAX_PRIORITY, default=0),
        reason=fields.text("reason", limit=1000),
        ttl_s=fields.number("ttl_s", MIN_TTL_S, MAX_TTL_S, default=0.0),
        acquired_at=fields.moment("acquired_at"),
        renewed_at=fields.moment("renewed_at"),
        expires_at=fields.moment("expires_at"),
        clock=clock,
        waited_s=fields.number("waited_s", 0, 1e9, default=0.0),
        tool=fields.text("tool"),
        server=_server(server) if server is not None else None,
        extra=fields.rest,
    )


def _nonce(text: str) -> Nonce:
    if not is_nonce(text):
        raise MalformedError("nonce and lease must be 24 hex digits")
    return Nonce(text)


def _server(fields: Fields) -> ServerInfo:
    return ServerInfo(
        atomic=fields.boolean("atomic"), agent=fields.text("agent"), probed_at=fields.moment("probed_at") or 0
    )


def lock_name_of(text: str) -> LockName:
    """Return ``text`` as a lock name; raise MalformedError where lock_name would raise InvalidNameError."""
    try:
        return lock_name(text)
    except InvalidNameError as error:
        raise MalformedError(str(error)) from None
