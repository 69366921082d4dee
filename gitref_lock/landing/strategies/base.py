"""What a strategy is: one way to unite the two versions of a path that both sides changed.

A strategy sees whole files as bytes and answers with bytes, a deletion, or a refusal with its reason. It never answers
with a conflict marker, and it names whatever it dropped: a merge that loses something silently is the one failure this
project exists to prevent (docs/protocol.md, section 7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gitref_lock.core.lean import dataclass


@dataclass(frozen=True, slots=True)
class Merged:
    """What a strategy made of a path.

    ``content`` None deletes the path. ``is_complete`` tells that nothing of either side was dropped; such a result is
    reported only where lines alone would not have merged. ``detail`` names the single values that both
    sides set and one side lost, as JSON pointers (RFC 6901) or as the keys of records.
    """

    content: bytes | None
    is_complete: bool = False
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StrategyFailed:
    """The strategy cannot unite these versions; ``reason`` is for people."""

    reason: str


class Strategy(Protocol):
    """One way to unite two versions of a path.

    ``name`` is what reports and rules call it. ``is_declarative`` tells that the outcome depends on nothing but the
    arguments, so that another machine that lands our change for us comes to the same result.
    """

    @property
    def name(self) -> str:
        """The word in rules and reports."""
        ...

    @property
    def is_declarative(self) -> bool:
        """Whether any machine comes to the same result."""
        ...

    def merge(
        self, path: bytes, base: bytes | None, ours: bytes | None, theirs: bytes | None
    ) -> Merged | StrategyFailed:
        """Unite ``ours`` and ``theirs``, which differ from ``base`` and from each other; None is an absent file."""
        ...


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a strategy that needs a local command asks of the landing code.

    ``command`` is the user's command or the name of a merge driver. ``tree`` is the tree, as hex digits, in which every
    other path is merged already (``regenerate``), or None when the three versions are all that is needed (``driver``).
    """

    kind: str
    command: str
    path: bytes
    base: bytes | None
    ours: bytes | None
    theirs: bytes | None
    tree: str | None = None


Runner = Callable[[RunRequest], Merged | StrategyFailed]
"""Runs a local command for a strategy; the landing code gives it, since it owns worktrees and processes."""


class StrategySpecError(ValueError):
    """A strategy's name or option is unknown or malformed; the text says which and what is allowed."""


def settled(base: bytes | None, ours: bytes | None, theirs: bytes | None) -> Merged | None:
    """Return the answer where only one side changed or both agree, else None; every strategy begins with it."""
    if ours in (theirs, base):
        return Merged(theirs, is_complete=True)
    if theirs == base:
        return Merged(ours, is_complete=True)
    return None


def parse_options(name: str, text: str, allowed: frozenset[str]) -> dict[str, str]:
    """Read ``key=value,flag`` into a mapping; raise StrategySpecError for an unknown or doubled key.

    A flag maps to the empty text. A value may hold ``=`` but no comma.
    """
    options: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, _, value = part.partition("=")
        if key not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise StrategySpecError(f"strategy {name!r}: unknown option {key!r} (known: {known})")
        if key in options:
            raise StrategySpecError(f"strategy {name!r}: option {key!r} is given twice")
        options[key] = value
    return options


def refuse_options(name: str, options: str) -> None:
    """Raise StrategySpecError when a strategy that has no options was given some."""
    parse_options(name, options, frozenset())
