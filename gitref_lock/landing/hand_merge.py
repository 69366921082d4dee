"""Whether somebody has merged the remote's change into an edited file already.

Such a file must be measured from the remote's version: measured from where the edit began, both sides changed the same
lines, and a rule would take one side whole although the file holds both.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitref_lock.landing.merge.difference import Hunk, diff
from gitref_lock.landing.merge.lines import is_binary, split_lines


def holds(base: bytes, ours: bytes, theirs: bytes) -> bool:
    """Tell whether ``ours`` holds every line that ``theirs`` brought to ``base``, and none back that it took away."""
    if any(map(is_binary, (base, ours, theirs))):
        return False
    numbers: dict[bytes, int] = {}
    old, mine, new = (
        [numbers.setdefault(line, len(numbers)) for line in split_lines(data)] for data in (base, ours, theirs)
    )
    edits = diff(new, mine)
    return not any(_is_undone(change, old, edits, mine) for change in diff(old, new))


def _is_undone(change: Hunk, old: Sequence[int], edits: Sequence[Hunk], mine: Sequence[int]) -> bool:
    """Tell whether one of our ``edits`` of theirs removes a line of theirs' ``change``, or brings one back."""
    taken_away = set(old[change.a_from : change.a_to])
    for edit in edits:
        if edit.a_from < change.b_to and edit.a_to > change.b_from and edit.a_from < edit.a_to:
            return True
        touches = edit.a_from <= change.b_to and edit.a_to >= change.b_from
        if touches and not taken_away.isdisjoint(mine[edit.b_from : edit.b_to]):
            return True
    return False
