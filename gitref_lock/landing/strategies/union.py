"""``union``: where both sides changed the same lines, keep the lines of both (gitattributes(5), ``merge=union``)."""

from __future__ import annotations

from dataclasses import dataclass

from gitref_lock.landing.merge.lines import Binary, Clean, Region, merge_lines
from gitref_lock.landing.strategies.base import Merged, StrategyFailed, settled


@dataclass(frozen=True, slots=True)
class Union:
    """Keep every line that either side has in a place of conflict, ours first."""

    name: str = "union"
    is_declarative: bool = True

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Merge the lines and keep both sides of each conflict; a deletion or a binary file fails."""
        if (answer := settled(base, ours, theirs)) is not None:
            return answer
        if ours is None or theirs is None:
            return StrategyFailed("deleted on one side, changed on the other")
        outcome = merge_lines(base or b"", ours, theirs)
        if isinstance(outcome, Clean):
            return Merged(outcome.data, is_complete=True)
        if isinstance(outcome, Binary):
            return StrategyFailed("both sides changed a binary file")
        return Merged(b"".join(_both(part) if isinstance(part, Region) else part for part in outcome.parts))


def _both(region: Region) -> bytes:
    """Return the lines of both sides, a line end between them, and lines that open or close both sides only once."""
    ours, theirs = region.ours, region.theirs
    head = _common(ours, theirs)
    ours_rest, theirs_rest = ours[head:], theirs[head:]
    tail = _common(ours_rest[::-1], theirs_rest[::-1])
    end = ours_rest[len(ours_rest) - tail :]
    middle = (*ours_rest[: len(ours_rest) - tail], *theirs_rest[: len(theirs_rest) - tail])
    lines = (*ours[:head], *middle, *end)
    return b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines[:-1]) + b"".join(lines[-1:])


def _common(first: tuple[bytes, ...], second: tuple[bytes, ...]) -> int:
    """Return how many lines both tuples begin with."""
    count = 0
    for left, right in zip(first, second, strict=False):
        if left != right:
            break
        count += 1
    return count
