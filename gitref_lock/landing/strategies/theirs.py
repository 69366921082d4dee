"""``theirs``: what the remote has wins."""

from __future__ import annotations

from dataclasses import dataclass

from gitref_lock.landing.strategies.base import Merged, StrategyFailed, settled


@dataclass(frozen=True, slots=True)
class Theirs:
    """Keep what the remote has, a deletion included; the change being pushed is dropped at this path."""

    name: str = "theirs"
    is_declarative: bool = True

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Return theirs."""
        return settled(base, ours, theirs) or Merged(theirs)
