"""Edits of refs, what they expect, and the five outcomes of a swap (docs/protocol.md, section 2).

A swap is the only write of the whole protocol. Its answer is never a bool: each of the five outcomes demands another
reaction, and mixing any two of them loses work or claims a success that never was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import Enum

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import ZERO_OID, Oid, RefName


@dataclass(frozen=True, slots=True)
class Absent:
    """The ref must not exist."""


@dataclass(frozen=True, slots=True)
class At:
    """The ref must point at exactly this object."""

    oid: Oid


Expectation = Absent | At


class Role(Enum):
    """What a ref is to a swap. The value is its place in the request: C git makes edits visible in the order sent."""

    BRANCH = 0
    TAG = 1
    RESCUE = 2
    LOCK = 3
    TICKET = 4


@dataclass(frozen=True, slots=True)
class RefEdit:
    """Move ``ref`` from what is expected to ``new``; ``new`` None deletes it (tickets and pruned locks only).

    A deletion that expects Absent, or a lock or branch edit that changes nothing, is refused here: servers read
    ``0..0 -> 0..0`` as an unconditional delete and clients drop an edit whose two sides are equal.
    """

    ref: RefName
    expect: Expectation
    new: Oid | None
    role: Role

    def __post_init__(self) -> None:
        """Refuse edits that a server or client would not treat as a compare-and-swap."""
        if self.new is None and isinstance(self.expect, Absent):
            raise ValueError(f"{self.ref}: deleting a ref that is expected to be absent is not a compare-and-swap")
        if isinstance(self.expect, At) and self.expect.oid == self.new:
            raise ValueError(f"{self.ref}: an edit must change the ref; an equal value proves nothing")
        if ZERO_OID in (self.new, self.expect.oid if isinstance(self.expect, At) else None):
            raise ValueError(f"{self.ref}: the zero id is no object; absence is written Absent, a deletion None")


def in_sending_order(edits: Sequence[RefEdit]) -> tuple[RefEdit, ...]:
    """Return ``edits`` in the one order in which they are sent: branch, tags, rescues, lock, tickets."""
    return tuple(sorted(edits, key=lambda edit: (edit.role.value, edit.ref)))


class RefusalKind(Enum):
    """Why a server refused for good; each kind has its own exit code and advice."""

    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_FOUND = "not-found"
    POLICY = "policy"
    NAMESPACE = "namespace"
    NAME_COLLISION = "name-collision"
    QUOTA = "quota"
    STORAGE = "storage"
    NO_ATOMIC = "no-atomic"
    CONTENTION = "contention"
    MISSING_OBJECTS = "missing-objects"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Applied:
    """Every edit was reported ok (and read back, where the server's report is not to be trusted)."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """A complete report refused the swap and a read showed that an expectation no longer holds.

    ``seen`` is that read: the present value of every ref of the swap (None: absent).
    """

    seen: Mapping[RefName, Oid | None]


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused for a reason that trying again will not change; ``words`` are the server's own, redacted."""

    kind: RefusalKind
    words: str
    statuses: Mapping[RefName, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unknown:
    """No complete report came back: the swap may be applied already, later, or never.

    ``retry_after_s`` is the server's own wish, when it sent one. ``nothing_sent`` tells that no byte of the request can
    have reached the server (no connection was made): the swap is not applied, and it may simply be sent again.
    """

    cause: str
    retry_after_s: float | None = None
    nothing_sent: bool = False


@dataclass(frozen=True, slots=True)
class Breached:
    """A strict subset of an atomic swap was applied: the server broke its promise of all or nothing."""

    applied: tuple[RefName, ...]
    refused: Mapping[RefName, str]


SwapOutcome = Applied | Superseded | Refused | Unknown | Breached
