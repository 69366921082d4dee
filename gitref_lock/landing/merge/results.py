"""What a merge of trees answers: a tree with everything that was decided on the way, or the conflicts; their JSON."""

from __future__ import annotations

from dulwich.objects import ObjectID

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.core.text import JsonObject

MAX_DETAIL = 20
"""How many values of one path a report names: a verdict that carries it stays small."""


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


def conflict_json(item: Conflict) -> JsonObject:
    """Return an unresolved conflict for reports: path, reason, and both sides' objects."""
    return {
        "path": item.path.decode("utf-8", "replace"),
        "reason": item.reason,
        "ours": item.ours,
        "theirs": item.theirs,
    }


def resolution_json(item: Resolution) -> JsonObject:
    """Return a resolved conflict for reports: path, strategy, both sides' objects, and what was decided.

    ``detail`` names the first values that both sides set, ``detail_count`` is how many there are.
    """
    return {
        "path": item.path.decode("utf-8", "replace"),
        "strategy": item.strategy,
        "ours": item.ours,
        "theirs": item.theirs,
        "detail": list(item.detail[:MAX_DETAIL]),
        "detail_count": len(item.detail),
    }
