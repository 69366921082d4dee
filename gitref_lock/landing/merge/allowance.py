"""How much of the formats that are slow to read is merged for somebody else.

The libraries that keep the layout of YAML and TOML read some ten thousand bytes a second. A runner that lands the whole
queue spends a few seconds on each change at most; what needs more is left to its author.
"""

from __future__ import annotations

from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.strategies.base import Merged, Strategy, StrategyFailed

_BYTES = {"yaml": 64 << 10, "toml": 512 << 10}
"""What one change may have of each format, all versions of all its files together."""


@dataclass(slots=True)
class Allowance:
    """What is left for one change."""

    left: dict[str, int] = field(default_factory=lambda: dict(_BYTES))

    def metered(self, strategy: Strategy) -> Strategy:
        """Return the strategy, metered where its format is slow to read."""
        return _Metered(strategy, self) if strategy.name in self.left else strategy


@dataclass(frozen=True, slots=True)
class _Metered:
    inner: Strategy
    allowance: Allowance

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def is_declarative(self) -> bool:
        return self.inner.is_declarative

    def merge(
        self, path: bytes, base: bytes | None, ours: bytes | None, theirs: bytes | None
    ) -> Merged | StrategyFailed:
        """Merge, or raise LandingError ``left-to-its-author``."""
        self.allowance.left[self.name] -= sum(len(version or b"") for version in (base, ours, theirs))
        if self.allowance.left[self.name] < 0:
            raise LandingError("left-to-its-author", f"it has too much {self.name} to be merged for somebody else")
        return self.inner.merge(path, base, ours, theirs)
