"""``text``: lines merge where git's own merge would be clean; anything else fails."""

from __future__ import annotations

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.merge.lines import Binary, Clean, merge_lines
from gitref_lock.landing.strategies.base import Merged, StrategyFailed, settled


def clean_lines(base: bytes | None, ours: bytes, theirs: bytes) -> bytes | None:
    """Return what the lines alone merge to where git's own merge would be clean, else None."""
    outcome = merge_lines(base or b"", ours, theirs)
    return outcome.data if isinstance(outcome, Clean) else None


@dataclass(frozen=True, slots=True)
class Text:
    """Merge line by line (gitattributes(5), ``merge=text``)."""

    name: str = "text"
    is_declarative: bool = True

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Merge the lines; a file deleted on one side and changed on the other fails."""
        if (answer := settled(base, ours, theirs)) is not None:
            return answer
        if ours is None or theirs is None:
            return StrategyFailed("deleted on one side, changed on the other")
        outcome = merge_lines(base or b"", ours, theirs)
        if isinstance(outcome, Clean):
            return Merged(outcome.data, is_complete=True)
        if isinstance(outcome, Binary):
            return StrategyFailed("both sides changed a binary file")
        return StrategyFailed("both sides changed the same lines")
