"""Which lines changed: the alignment that decides what counts as the same place in two versions of a file.

A three-way merge is only as safe as this alignment: a line matched to its twin elsewhere in the file yields a merge
that is clean and wrong. Regions around the rarest lines are matched first, over the whole file: trimming the common
head and tail beforehand would anchor repeated lines by accident of position. Then each change is moved to one canonical
place among the equal ones. Both steps follow what git documents for ``--diff-algorithm=histogram``, which its own merge
uses, so that the same edits touch each other here and there. Where git would try harder on a block of very common
lines, the whole block counts as changed: a larger change can only cause a conflict, never hide one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

_MAX_OCCURRENCES = 64
"""A line seen more often than this anchors nothing, as in git."""


_MAX_STEPS = 6_000_000
"""Lines and blocks looked at before the rest counts as changed: two seconds. Only files made to be costly come near."""

_BLOCK_STEPS = 24
"""How many lines a block costs beside its own."""


class Hunk(NamedTuple):
    """Lines ``a_from:a_to`` of the old version are replaced by lines ``b_from:b_to`` of the new one."""

    a_from: int
    a_to: int
    b_from: int
    b_to: int


class _Region(NamedTuple):
    """A block of the two versions that still has to be compared, or a block that is equal in both."""

    a_from: int
    a_to: int
    b_from: int
    b_to: int


def diff(a: Sequence[int], b: Sequence[int]) -> list[Hunk]:
    """Return the changes from ``a`` to ``b``, in order, separated by at least one equal line.

    Lines are given as numbers: equal lines, equal numbers.
    """
    a_changed, b_changed = _mark(a, b)
    _settle(a, a_changed, b_changed)
    _settle(b, b_changed, a_changed)
    return _hunks(a_changed, b_changed)


def _mark(a: Sequence[int], b: Sequence[int]) -> tuple[bytearray, bytearray]:
    """Return a flag for each line of both versions: 1 when it has no partner; a 0 at the end guards the scans."""
    a_changed, b_changed = bytearray(len(a) + 1), bytearray(len(b) + 1)
    finder = _Finder(a, b)
    pending = [_Region(0, len(a), 0, len(b))]
    while pending:
        region = pending.pop()
        common = None
        if region.a_from < region.a_to and region.b_from < region.b_to:
            common = finder.rarest_common_block(region)
            if common is None:
                region = finder.without_equal_ends(region)
        if common is None:
            a_changed[region.a_from : region.a_to] = b"\1" * (region.a_to - region.a_from)
            b_changed[region.b_from : region.b_to] = b"\1" * (region.b_to - region.b_from)
            continue
        pending.append(_Region(region.a_from, common.a_from, region.b_from, common.b_from))
        pending.append(_Region(common.a_to, region.a_to, common.b_to, region.b_to))
    return a_changed, b_changed


class _Finder:
    """Finds equal blocks in parts of two versions; what is known of the whole versions is computed once.

    A file with many scattered edits is divided again and again, so a division must cost as much as the blocks in it,
    not as much as its lines.
    """

    def __init__(self, a: Sequence[int], b: Sequence[int]) -> None:
        self._a, self._b = a, b
        self._places: dict[int, list[int]] = {}
        for index, line in enumerate(a):
            self._places.setdefault(line, []).append(index)
        self._single_before = list(accumulate((len(self._places[line]) == 1 for line in a), initial=0))
        self._blocks: dict[tuple[int, int], tuple[int, int]] = {}
        self._steps_left = _MAX_STEPS

    def rarest_common_block(self, region: _Region) -> _Region | None:
        """Return the equal block that holds the rarest line, the longest of such, or None when no line is rare enough.

        Equally good blocks: the first one in the new version, as in git.
        """
        best: _Region | None = None
        best_length, rarity = 0, _MAX_OCCURRENCES + 1
        at = region.b_from
        while at < region.b_to and self._steps_left > 0:
            self._steps_left -= 1
            next_at = at + 1
            candidates = self._places_in(self._b[at], region)
            passed = -1
            if len(candidates) > rarity:
                candidates = ()
            for place in candidates:
                if place < passed:
                    continue
                block = self._block(place, at, region, is_single=len(candidates) == 1)
                count = 1 if len(candidates) == 1 else self._rarity(block, region)
                passed = block.a_to
                next_at = max(next_at, block.b_to)
                length = block.a_to - block.a_from
                if length > best_length or count < rarity:
                    best, best_length, rarity = block, length, count
            at = next_at
        return best if rarity <= _MAX_OCCURRENCES and self._steps_left > 0 else None

    def without_equal_ends(self, region: _Region) -> _Region:
        """Return ``region`` without its equal first and last lines; nothing in the rest is rare enough to anchor it."""
        head = self._equal_after(
            region.a_from, region.b_from, min(region.a_to - region.a_from, region.b_to - region.b_from)
        )
        rest = _Region(region.a_from + head, region.a_to, region.b_from + head, region.b_to)
        tail = self._equal_before(rest.a_to, rest.b_to, min(rest.a_to - rest.a_from, rest.b_to - rest.b_from))
        return _Region(rest.a_from, rest.a_to - tail, rest.b_from, rest.b_to - tail)

    def _places_in(self, line: int, region: _Region) -> Sequence[int]:
        """Return where ``line`` stands in the region of the old version."""
        places = self._places.get(line, ())
        if len(places) == 1:
            return places if region.a_from <= places[0] < region.a_to else ()
        return places[bisect_left(places, region.a_from) : bisect_left(places, region.a_to)]

    def _rarity(self, block: _Region, region: _Region) -> int:
        """Return how often the rarest line of a block stands in the region of the old version."""
        if self._single_before[block.a_to] > self._single_before[block.a_from]:
            return 1
        rarest = _MAX_OCCURRENCES + 1
        for line in self._a[block.a_from : block.a_to]:
            rarest = min(rarest, len(self._places_in(line, region)))
            if rarest == 1:
                break
        return rarest

    def _block(self, i: int, j: int, region: _Region, *, is_single: bool) -> _Region:
        """Return the longest equal block around ``a[i]`` and ``b[j]`` inside the region.

        Blocks around a line that stands once are met again in every part of the region, so they are remembered.
        """
        self._steps_left -= _BLOCK_STEPS
        room_before = min(i - region.a_from, j - region.b_from)
        room_after = min(region.a_to - i, region.b_to - j)
        if is_single:
            known = self._blocks.get((i, j))
            if known is None:
                limit = min(len(self._a) - i, len(self._b) - j)
                known = self._equal_before(i, j, min(i, j)), self._equal_after(i, j, limit)
                self._blocks[i, j] = known
            before, after = min(known[0], room_before), min(known[1], room_after)
        else:
            before, after = self._equal_before(i, j, room_before), self._equal_after(i, j, room_after)
            self._steps_left -= before + after
        return _Region(i - before, i + after, j - before, j + after)

    def _equal_before(self, i: int, j: int, limit: int) -> int:
        """Return how many of at most ``limit`` lines directly before ``a[i]`` and ``b[j]`` are equal."""
        a, b, count = self._a, self._b, 0
        while count < limit and a[i - count - 1] == b[j - count - 1]:
            count += 1
        return count

    def _equal_after(self, i: int, j: int, limit: int) -> int:
        """Return how many of at most ``limit`` lines from ``a[i]`` and ``b[j]`` on are equal.

        Compares slices, since most of a file is equal.
        """
        a, b, count, step = self._a, self._b, 0, 8
        while count < limit:
            size = min(step, limit - count)
            if a[i + count : i + count + size] == b[j + count : j + count + size]:
                count += size
                step = size * 2
            elif size == 1:
                break
            else:
                step = size // 2
        return count


class _Group:
    """A cursor over the runs of changed lines of one version; between two equal lines lies one run, maybe empty."""

    def __init__(self, changed: bytearray) -> None:
        """Stand on the first run."""
        self.changed = changed
        self.last = len(changed) - 1
        self.start = 0
        self.end = self._run_end(0)

    def _run_end(self, index: int) -> int:
        while self.changed[index]:
            index += 1
        return index

    def _run_start(self, index: int) -> int:
        while index and self.changed[index - 1]:
            index -= 1
        return index

    def forward(self) -> bool:
        """Step to the next run; False at the end of the file."""
        if self.end == self.last:
            return False
        self.start = self.end + 1
        self.end = self._run_end(self.start)
        return True

    def backward(self) -> None:
        """Step to the run before."""
        self.end = self.start - 1
        self.start = self._run_start(self.end)

    def slide_up(self, lines: Sequence[int]) -> bool:
        """Move the run one line up, joining a run that it then touches; False when the lines forbid it."""
        if not self.start or lines[self.start - 1] != lines[self.end - 1]:
            return False
        self.start -= 1
        self.end -= 1
        self.changed[self.start] = 1
        self.changed[self.end] = 0
        self.start = self._run_start(self.start)
        return True

    def slide_down(self, lines: Sequence[int]) -> bool:
        """Move the run one line down, joining a run that it then touches; False when the lines forbid it."""
        if self.end == self.last or lines[self.start] != lines[self.end]:
            return False
        self.changed[self.start] = 0
        self.changed[self.end] = 1
        self.start += 1
        self.end = self._run_end(self.end)
        return True


def _settle(lines: Sequence[int], changed: bytearray, other_changed: bytearray) -> None:
    """Move each run of changed lines as far down as it goes, or to the last place where the other version changed too.

    A line inserted among equal lines has several possible places. Both sides of a merge must choose the same one.
    """
    run, partner = _Group(changed), _Group(other_changed)
    while True:
        if run.end > run.start:
            _settle_run(lines, run, partner)
        if not run.forward():
            return
        partner.forward()


def _settle_run(lines: Sequence[int], run: _Group, partner: _Group) -> None:
    """Settle one run; ``partner`` is kept on the run of the other version that lies between the same equal lines."""
    while True:
        size = run.end - run.start
        while run.slide_up(lines):
            partner.backward()
        earliest = run.end
        meets_partner = partner.end > partner.start
        while run.slide_down(lines):
            partner.forward()
            meets_partner = meets_partner or partner.end > partner.start
        if run.end - run.start == size:
            break
    if run.end != earliest and meets_partner:
        while partner.end == partner.start:
            run.slide_up(lines)
            partner.backward()


def _hunks(a_changed: bytearray, b_changed: bytearray) -> list[Hunk]:
    """Read the flags as a list of changes."""
    found: list[Hunk] = []
    i = j = 0
    a_last, b_last = len(a_changed) - 1, len(b_changed) - 1
    while i < a_last or j < b_last:
        # The next changed line of each version, found by a search in C.
        gap = min(_distance(a_changed, i, a_last), _distance(b_changed, j, b_last))
        i += gap
        j += gap
        if i >= a_last and j >= b_last:
            break
        a_from, b_from = i, j
        while a_changed[i]:
            i += 1
        while b_changed[j]:
            j += 1
        found.append(Hunk(a_from, i, b_from, j))
    return found


def _distance(changed: bytearray, start: int, last: int) -> int:
    """Return how many unchanged lines follow ``start``."""
    index = changed.find(1, start)
    return (last if index < 0 else index) - start
