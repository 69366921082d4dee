"""The three-way merge of two versions of a text, line by line, on bytes.

It promises what a lock that merges unattended must promise: it is never clean where git's own merge would stop, and
where it is clean the bytes are git's. Edits of adjacent lines therefore conflict; a line ends at ``\\n`` only (a lone
``\\r`` is content); a NUL in the first 8,000 bytes makes a file binary, and binaries are never merged
(gitattributes(5), git-merge-file(1)). A conflict is a value that holds both sides; no marker is ever produced.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.merge.difference import Hunk, diff

_BINARY_PROBE = 8000


@dataclass(frozen=True, slots=True)
class Region:
    """One place that both sides changed differently: the lines of base, ours and theirs there."""

    base: tuple[bytes, ...]
    ours: tuple[bytes, ...]
    theirs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Clean:
    """The merged bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Conflicted:
    """The file in order: stretches of merged bytes and, between them, at least one region of conflict."""

    parts: tuple[bytes | Region, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """One of the versions is binary: its lines mean nothing."""


LineMerge = Clean | Conflicted | Binary


@dataclass(slots=True)
class Change:
    """A range of each version; ``side`` 1 takes ours, 2 takes theirs, 0 is a conflict unless both ranges are equal."""

    side: int
    base_from: int
    base_to: int
    ours_from: int
    ours_to: int
    theirs_from: int
    theirs_to: int


def is_binary(data: bytes) -> bool:
    """Tell whether git would take ``data`` for binary."""
    return b"\0" in data[:_BINARY_PROBE]


def split_lines(data: bytes) -> list[bytes]:
    """Return the lines with their ends; only ``\\n`` ends a line, and the last one may lack it."""
    lines = data.split(b"\n")
    last = lines.pop()
    ended = [line + b"\n" for line in lines]
    if last:
        ended.append(last)
    return ended


def merge_lines(base: bytes, ours: bytes, theirs: bytes) -> LineMerge:
    """Merge the changes from ``base`` to ``ours`` and from ``base`` to ``theirs``.

    A file that is new on both sides has the empty base.
    """
    if theirs in (ours, base):
        return Clean(ours)
    if ours == base:
        return Clean(theirs)
    if is_binary(base) or is_binary(ours) or is_binary(theirs):
        return Binary()
    versions = (split_lines(base), split_lines(ours), split_lines(theirs))
    base_lines, our_lines, their_lines = versions
    base_ids, our_ids, their_ids = _number(versions)
    return _assemble(combine(base_ids, our_ids, their_ids), base_lines, our_lines, their_lines)


def _number(versions: Sequence[Sequence[bytes]]) -> list[list[int]]:
    """Give equal lines equal numbers, so that the alignment compares small integers."""
    numbers: dict[bytes, int] = {}
    return [[numbers.setdefault(line, len(numbers)) for line in version] for version in versions]


def combine(base: Sequence[int], ours: Sequence[int], theirs: Sequence[int]) -> list[Change]:
    """Return the changes of both sides in order, for lines (or other items) given as numbers.

    Two that overlap or touch become a conflict; a change that both sides made is left out: it is in ours already.
    """
    our_hunks, their_hunks = diff(base, ours), diff(base, theirs)
    changes: list[Change] = []
    i = j = 0
    our_shift = their_shift = 0
    while i < len(our_hunks) or j < len(their_hunks):
        our = our_hunks[i] if i < len(our_hunks) else None
        their = their_hunks[j] if j < len(their_hunks) else None
        if our is not None and (their is None or our.a_to < their.a_from):
            _append(changes, 1, our.a_from, our.a_to, our.b_from, our.b_to, *_shifted(our, their_shift))
            our_shift = our.b_to - our.a_to
            i += 1
            continue
        assert their is not None
        if our is None or their.a_to < our.a_from:
            _append(changes, 2, their.a_from, their.a_to, *_shifted(their, our_shift), their.b_from, their.b_to)
            their_shift = their.b_to - their.a_to
            j += 1
            continue
        if not _equal(our, their, ours, theirs):
            start, end = min(our.a_from, their.a_from), max(our.a_to, their.a_to)
            _append(
                changes,
                0,
                start,
                end,
                our.b_from - (our.a_from - start),
                our.b_to + (end - our.a_to),
                their.b_from - (their.a_from - start),
                their.b_to + (end - their.a_to),
            )
        if our.a_to >= their.a_to:
            their_shift = their.b_to - their.a_to
            j += 1
        if their.a_to >= our.a_to:
            our_shift = our.b_to - our.a_to
            i += 1
    return changes


def _shifted(hunk: Hunk, shift: int) -> tuple[int, int]:
    """Return where the base lines of ``hunk`` lie in the version that did not change them."""
    return hunk.a_from + shift, hunk.a_to + shift


def _equal(our: Hunk, their: Hunk, ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """Tell whether both sides made the very same change."""
    return (
        our.a_from == their.a_from
        and our.a_to == their.a_to
        and ours[our.b_from : our.b_to] == theirs[their.b_from : their.b_to]
    )


def _append(
    changes: list[Change],
    side: int,
    base_from: int,
    base_to: int,
    ours_from: int,
    ours_to: int,
    theirs_from: int,
    theirs_to: int,
) -> None:
    """Add a change, or widen the last one when they touch on either side; changes of different sides then conflict."""
    last = changes[-1] if changes else None
    if last is None or (ours_from > last.ours_to and theirs_from > last.theirs_to):
        changes.append(Change(side, base_from, base_to, ours_from, ours_to, theirs_from, theirs_to))
        return
    if side != last.side:
        last.side = 0
    last.base_to, last.ours_to, last.theirs_to = base_to, ours_to, theirs_to


def _assemble(
    changes: Sequence[Change], base: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]
) -> LineMerge:
    """Write the result along ours, which already holds our own changes and those that both sides made."""
    parts: list[bytes | Region] = []
    stretch: list[Sequence[bytes]] = []
    done = 0
    for change in changes:
        stretch.append(ours[done : change.ours_from])
        our_part = ours[change.ours_from : change.ours_to]
        their_part = theirs[change.theirs_from : change.theirs_to]
        done = change.ours_to
        if change.side == 1 or our_part == their_part:
            stretch.append(our_part)
        elif change.side == 2:
            stretch.append(their_part)
        else:
            parts.append(b"".join(chain.from_iterable(stretch)))
            parts.append(Region(tuple(base[change.base_from : change.base_to]), tuple(our_part), tuple(their_part)))
            stretch = []
    stretch.append(ours[done:])
    tail = b"".join(chain.from_iterable(stretch))
    if not parts:
        return Clean(tail)
    return Conflicted((*parts, tail))
