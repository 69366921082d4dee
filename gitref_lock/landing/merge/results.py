"""What a merge of trees answers: a tree with everything that was decided on the way, or the conflicts."""

from __future__ import annotations

from dulwich.objects import ObjectID

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid


@dataclass(frozen=True, slots=True)
class Resolution:
    """One true conflict that the policy resolved.

    ``ours``, ``theirs`` and ``result`` are the objects at ``path`` (None: absent there). ``detail`` names single values
    that both sides set and one lost (JSON pointers, record keys), or says what clashed when it was no content.
    """

    path: bytes
    strategy: str
    ours: Oid | None
    theirs: Oid | None
    result: Oid | None
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """One conflict that no rule resolves; ``reason`` is for people."""

    path: bytes
    reason: str
    ours: Oid | None
    theirs: Oid | None


@dataclass(frozen=True, slots=True)
class TreeMerge:
    """``tree`` is None exactly when there are conflicts. Both lists are in the order of their paths."""

    tree: Oid | None
    resolutions: tuple[Resolution, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def as_oid(oid: ObjectID) -> Oid:
    """Return dulwich's id as the package's own."""
    return Oid(oid.decode("ascii"))
