"""``ours``: the change being pushed wins."""

from __future__ import annotations

from dataclasses import dataclass

from gitref_lock.landing.strategies.base import Merged, StrategyFailed, settled


@dataclass(frozen=True, slots=True)
class Ours:
    """Keep the change being pushed, a deletion included; what the remote has at this path is dropped."""

    name: str = "ours"
    is_declarative: bool = True

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Return ours."""
        return settled(base, ours, theirs) or Merged(ours)
