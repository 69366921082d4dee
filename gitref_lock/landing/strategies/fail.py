"""``fail``: a person decides."""

from __future__ import annotations

from dataclasses import dataclass

from gitref_lock.landing.strategies.base import Merged, StrategyFailed, settled


@dataclass(frozen=True, slots=True)
class Fail:
    """Refuse: a person decides."""

    name: str = "fail"
    is_declarative: bool = True

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Fail unless the versions leave nothing to decide."""
        return settled(base, ours, theirs) or StrategyFailed("both sides changed it and the rule is to fail")
