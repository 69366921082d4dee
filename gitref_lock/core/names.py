"""Names of locks, refs, objects and nonces: types and validation.

Every name that comes from a user, a CI variable or a remote passes through here once; later code may trust the type.
The rules are those of git-check-ref-format, narrowed so that a lock name never collides with a ticket
(docs/protocol.md, section 1).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

from gitref_lock.core.lean import dataclass

Oid = NewType("Oid", str)
"""An object id: 40 lower-case hex digits."""

RefName = NewType("RefName", str)
"""A full ref name such as ``refs/locks/main``."""

Nonce = NewType("Nonce", str)
"""96 random bits as 24 lower-case hex digits, fresh for every write."""

LockName = NewType("LockName", str)
"""The name of a lock: a valid ref path such as ``main`` or ``deploy/prod``."""

ZERO_OID = Oid("0" * 40)

_OID = re.compile(r"[0-9a-f]{40}")
_NONCE = re.compile(r"[0-9a-f]{24}")
_TICKET_LEAF = re.compile(r"t-([0-9]{16})-([0-9a-f]{24})")
_TICKET_LOOKALIKE = re.compile(r"t-[0-9]{16}-")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")
_MAX_NAME = 200
RANK_LIMIT = 10**16


class InvalidNameError(ValueError):
    """A lock, branch or ref name that git or this protocol does not allow; the text says which rule."""


def oid(text: str) -> Oid:
    """Return ``text`` as an object id, or raise InvalidNameError unless it is 40 lower-case hex digits."""
    if not _OID.fullmatch(text):
        raise InvalidNameError(f"not an object id: {text[:60]!r}")
    return Oid(text)


def is_nonce(text: str) -> bool:
    """Tell whether ``text`` is 24 lower-case hex digits."""
    return _NONCE.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _fault(name: str) -> str | None:
    """Return the git-check-ref-format rule that ``name`` breaks, or None."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "must be valid Unicode text"
    if not 0 < size <= _MAX_NAME:
        return f"must have 1 to {_MAX_NAME} bytes"
    if _FORBIDDEN.search(name):
        return "must not contain spaces, control characters or any of ~^:?*[\\"
    if ".." in name or "@{" in name or "//" in name or name == "@":
        return "must not contain '..', '@{' or '//', nor be '@'"
    if name.startswith(("/", "-")) or name.endswith(("/", ".")):
        return "must not begin with '/' or '-', nor end with '/' or '.'"
    if any(part.startswith(".") or part.endswith(".lock") for part in name.split("/")):
        return "no part may begin with '.' or end with '.lock'"
    return None


def lock_name(text: str) -> LockName:
    """Return ``text`` as a lock name, or raise InvalidNameError with the rule that it breaks."""
    fault = _fault(text)
    if fault is None and any(_TICKET_LOOKALIKE.match(part) for part in text.split("/")):
        fault = "no part may look like a ticket (t-<16 digits>-)"
    if fault is not None:
        raise InvalidNameError(f"lock name {text!r}: {fault}")
    return LockName(text)


def ref_name(text: str) -> RefName:
    """Return ``text`` as a full ref name of at least three parts under ``refs/``, or raise InvalidNameError."""
    fault = _fault(text)
    if fault is None and (not text.startswith("refs/") or text.count("/") < 2):
        fault = "must begin with 'refs/' and have at least three parts"
    if fault is not None:
        raise InvalidNameError(f"ref name {text!r}: {fault}")
    return RefName(text)


def branch_ref(branch: str) -> RefName:
    """Return the ref of a branch given by its short name; raise InvalidNameError when git would refuse it."""
    fault = _fault(branch)
    if fault is not None:
        raise InvalidNameError(f"branch name {branch!r}: {fault}")
    return RefName(f"refs/heads/{branch}")


@dataclass(frozen=True, slots=True)
class TicketName:
    """The two parts of a ticket's ref: ``rank_ms`` (service order, 0 .. 10**16-1) and its nonce."""

    rank_ms: int
    nonce: Nonce

    def __post_init__(self) -> None:
        """Refuse a rank that would not sort as text and a nonce that is not one."""
        if not 0 <= self.rank_ms < RANK_LIMIT or not is_nonce(self.nonce):
            raise InvalidNameError(f"not a ticket: rank {self.rank_ms}, nonce {self.nonce!r}")

    @property
    def leaf(self) -> str:
        """The last part of the ticket's ref; leaves sort in service order."""
        return f"t-{self.rank_ms:016d}-{self.nonce}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where locks, tickets and rescued commits live on the remote.

    ``locks`` is configurable for hosts that refuse custom namespaces; the other two are derived from it, so that all
    runners of one remote need to agree on one word only.
    """

    locks: str = "refs/locks"

    def __post_init__(self) -> None:
        """Refuse a prefix under which no lock could be created, or under which a lock would be a branch or tag."""
        ref_name(self.locks + "/x")
        if self.locks in {"refs/heads", "refs/tags"}:
            raise InvalidNameError(f"lock prefix {self.locks!r}: a lock would be a branch or tag of the same name")

    @property
    def queue(self) -> str:
        """Prefix of all tickets."""
        return self.locks.removesuffix("s") + "-queue"

    @property
    def rescue(self) -> str:
        """Prefix of rescued commits."""
        return self.locks.removesuffix("s") + "-rescue"

    def lock_ref(self, name: LockName) -> RefName:
        """Return the lock ref of ``name``."""
        return RefName(f"{self.locks}/{name}")

    def queue_prefix(self, name: LockName) -> str:
        """Return the ref prefix under which the tickets for ``name`` are listed."""
        return f"{self.queue}/{name}/t-"

    def ticket_ref(self, name: LockName, ticket: TicketName) -> RefName:
        """Return the ref of one ticket for ``name``."""
        return RefName(f"{self.queue}/{name}/{ticket.leaf}")

    def rescue_ref(self, name: LockName, commit: Oid) -> RefName:
        """Return the ref that keeps ``commit`` reachable on the remote."""
        return RefName(f"{self.rescue}/{name}/{commit}")

    def parse_lock_ref(self, ref: str) -> LockName | None:
        """Return the lock's name, or None for a ref that is no lock of this namespace."""
        if not ref.startswith(self.locks + "/"):
            return None
        try:
            return lock_name(ref[len(self.locks) + 1 :])
        except InvalidNameError:
            return None

    def parse_ticket_ref(self, ref: str) -> tuple[LockName, TicketName] | None:
        """Return lock name and ticket, or None for a ref that is no ticket of exactly this namespace and depth."""
        if not ref.startswith(self.queue + "/"):
            return None
        name, _, leaf = ref[len(self.queue) + 1 :].rpartition("/")
        match = _TICKET_LEAF.fullmatch(leaf)
        if match is None:
            return None
        try:
            return lock_name(name), TicketName(int(match[1]), Nonce(match[2]))
        except InvalidNameError:
            return None
