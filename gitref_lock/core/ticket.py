"""Tickets (``ticket.json``): a waiter's place in the queue, and later its verdict under the same name.

An acquire ticket waits for a lease. A land ticket carries a change (the first parent of its commit) that anyone at the
head may land; it is never deleted while unresolved, only moved by update to a verdict, so that exactly one of landed
and withdrawn happens (docs/protocol.md, sections 5 and 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from enum import StrEnum

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import InvalidNameError, LockName, Nonce, Oid, is_nonce, lock_name, oid
from gitref_lock.core.objects import GitObject, build_state_commit
from gitref_lock.core.record import MAX_PRIORITY, Holder
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

TICKET_FILE = "ticket.json"
SCHEMA = 1
READ_LIMIT = 65_536
MAX_LOCKS = 32
MAX_CHANGES = 1000
MAX_LAND_LIFE_S = 600
VERDICT_KEPT_S = 60


class Kind(StrEnum):
    """What a ticket waits for."""

    ACQUIRE = "acquire"
    LAND = "land"


class VerdictKind(StrEnum):
    """How a ticket ended."""

    LANDED = "landed"
    CONFLICT = "conflict"
    SET_ASIDE = "set-aside"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a ticket. ``commits`` are what the change became; a claim only, until the branch shows them."""

    kind: VerdictKind
    by: str = ""
    why: str = ""
    commits: tuple[Oid, ...] = ()
    conflicts: tuple[JsonObject, ...] = ()

    def to_json(self) -> JsonObject:
        """Return the record's form."""
        return {
            "kind": self.kind.value,
            "by": clip(self.by, 60),
            "why": clip(self.why, 400),
            "commits": list(self.commits),
            "conflicts": list(self.conflicts),
        }


@dataclass(frozen=True, slots=True)
class Ticket:
    """One waiter. ``locks`` are all the locks it waits for; instants are Unix seconds, ``enqueued_ms`` milliseconds.

    For a land ticket ``branch``, ``base`` (the remote commit its change stands on), ``changes`` (how many commits lie
    between the two) and ``policy`` say how to land it, and ``is_combinable`` whether somebody else may.
    """

    kind: Kind
    locks: tuple[LockName, ...]
    nonce: Nonce
    holder: Holder
    priority: int
    enqueued_ms: int
    expires_at: int
    branch: str = ""
    base: str = ""
    changes: int = 0
    policy: JsonObject = field(default_factory=dict)
    is_combinable: bool = True
    verdict: Verdict | None = None
    tool: str = ""

    def with_verdict(self, verdict: Verdict) -> Ticket:
        """Return the ticket ended; its policy is dropped, its name and expiry stay."""
        return replace(self, verdict=verdict, policy={})

    def encode(self) -> bytes:
        """Return ``ticket.json``; of a verdict's conflicts only as many as its waiter can read back."""
        data = render_object(self.to_json())
        verdict = self.verdict
        while len(data) > READ_LIMIT and verdict is not None and verdict.conflicts:
            verdict = replace(verdict, conflicts=verdict.conflicts[: len(verdict.conflicts) // 2])
            data = render_object(replace(self, verdict=verdict).to_json())
        return data

    def to_json(self) -> JsonObject:
        """Return the ticket's form, complete."""
        value: JsonObject = {
            "schema": SCHEMA,
            "kind": self.kind.value,
            "locks": list(self.locks),
            "nonce": self.nonce,
            "holder": self.holder.clipped().to_json(),
            "priority": self.priority,
            "enqueued_ms": self.enqueued_ms,
            "expires_at": instant(self.expires_at),
        }
        if self.kind is Kind.LAND:
            value |= {
                "branch": self.branch,
                "base": self.base,
                "changes": self.changes,
                "policy": self.policy,
                "combinable": self.is_combinable,
            }
        if self.verdict is not None:
            value["verdict"] = self.verdict.to_json()
        value["tool"] = clip(self.tool, 40)
        return value


def decode_ticket(data: bytes | None) -> Ticket:
    """Read ``ticket.json``; raise MalformedError with the reason."""
    if data is None:
        raise MalformedError("ticket.json is missing or too large")
    fields = Fields(parse_object(data, limit=READ_LIMIT))
    schema = fields.integer("schema", 1, 2**31)
    if schema != SCHEMA:
        raise MalformedError(f"schema {schema} is newer than this tool's {SCHEMA}")
    holder = fields.child("holder")
    nonce = fields.text("nonce", required=True)
    if holder is None or not is_nonce(nonce):
        raise MalformedError("holder and nonce are required")
    policy = fields.child("policy")
    verdict = fields.child("verdict")
    base = fields.text("base")
    try:
        kind = Kind(fields.text("kind", required=True))
        locks = tuple(lock_name(text) for text in fields.texts("locks", most=MAX_LOCKS))
        if base:
            oid(base)
    except (InvalidNameError, ValueError) as error:
        raise MalformedError(str(error)) from None
    if not locks:
        raise MalformedError("a ticket names at least one lock")
    return Ticket(
        kind=kind,
        locks=locks,
        nonce=Nonce(nonce),
        holder=Holder.from_fields(holder),
        priority=fields.integer("priority", -MAX_PRIORITY, MAX_PRIORITY, default=0),
        enqueued_ms=fields.integer("enqueued_ms", 0, 10**16),
        expires_at=fields.moment("expires_at") or 0,
        branch=fields.text("branch"),
        base=base,
        changes=fields.integer("changes", 0, MAX_CHANGES, default=0),
        policy=policy.rest if policy is not None else {},
        is_combinable=fields.boolean("combinable"),
        verdict=_verdict(verdict) if verdict is not None else None,
        tool=fields.text("tool"),
    )


def _verdict(fields: Fields) -> Verdict:
    try:
        kind = VerdictKind(fields.text("kind", required=True))
        commits = tuple(oid(text) for text in fields.texts("commits", most=1000))
    except (InvalidNameError, ValueError) as error:
        raise MalformedError(str(error)) from None
    return Verdict(
        kind=kind,
        by=fields.text("by"),
        why=fields.text("why", limit=2000),
        commits=commits,
        conflicts=_objects(fields.rest.get("conflicts")),
    )


def _objects(value: JsonValue) -> tuple[JsonObject, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedError("conflicts must be a list of objects")
    objects = tuple(item for item in value if isinstance(item, dict))
    if len(objects) != len(value):
        raise MalformedError("conflicts must be a list of objects")
    return objects


def build_ticket(
    ticket: Ticket, *, at_s: int, change: Oid | None = None, skips_ci: bool = False
) -> Sequence[GitObject]:
    """Return the ticket's commit, tree and blob (commit first).

    ``change`` becomes the parent of a land ticket, so that the push that posts the ticket uploads what is to be landed.
    A verdict has no parent: its commit must stand alone at the server.
    """
    wants = " and ".join(ticket.locks)
    if ticket.verdict is not None:
        text = f"{ticket.holder.label}: {ticket.verdict.kind.value}"
    elif ticket.kind is Kind.LAND:
        text = f"{ticket.holder.label} wants to land on {ticket.branch}"
    else:
        text = f"{ticket.holder.label} waits for {wants}"
    return build_state_commit(
        {TICKET_FILE: ticket.encode()},
        author_name=ticket.holder.label,
        at_s=at_s,
        message=clip(text, 400) + (" [skip ci]" if skips_ci else ""),
        parents=() if change is None or ticket.verdict is not None else (change,),
    )
