"""The alignment: a diff that leads from one version to the other, in one canonical place among equal ones."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.landing.merge.difference import Hunk, diff

_LINES = st.lists(st.integers(0, 4), max_size=30)


@given(a=_LINES, b=_LINES)
def test_applying_the_changes_to_the_old_version_makes_the_new_one(a: list[int], b: list[int]) -> None:
    """The changes are complete, in order, and apart from each other by at least one equal line."""
    made: list[int] = []
    done = 0
    for hunk in diff(a, b):
        assert hunk.a_from > done or done == 0
        made += a[done : hunk.a_from]
        assert len(made) == hunk.b_from
        made += b[hunk.b_from : hunk.b_to]
        done = hunk.a_to
    made += a[done:]

    assert made == b


@given(lines=_LINES)
def test_equal_versions_have_no_changes(lines: list[int]) -> None:
    """Nothing changed is nothing reported."""
    assert diff(lines, lines) == []


def test_a_line_repeated_once_more_is_added_after_its_equals() -> None:
    """Among equal places for an insertion the last one is chosen, as git does."""
    assert diff([1, 2, 2, 3], [1, 2, 2, 2, 3]) == [Hunk(3, 3, 3, 4)]


def test_a_rare_line_anchors_before_common_ones() -> None:
    """A moved unique block is matched to itself, whatever common lines stand around it."""
    hunks = diff([0, 0, 7, 8, 0], [0, 7, 8, 0, 0])

    assert hunks == [Hunk(1, 2, 1, 1), Hunk(5, 5, 4, 5)]


def test_fifty_thousand_lines_with_scattered_edits_take_a_moment() -> None:
    """The alignment of a large file is complete: each edit is its own change."""
    a = list(range(50_000))
    b = [-line if line % 500 == 250 else line for line in a]

    assert len(diff(a, b)) == 100


def test_files_made_to_be_costly_take_a_moment() -> None:
    """Lines that stand often but not too often, in another order, and matches among much that is new: what is left
    when the budget is spent counts as changed.
    """
    often = [number % 250 for number in range(16_000)]
    sparse = [number // 6 if number % 6 == 0 else 10**6 + number for number in range(60_000)]
    began = time.process_time()
    for old, new in ((often, often[::-1]), (list(range(10_000)), sparse)):
        made: list[int] = []
        at = 0
        for hunk in diff(old, new):
            made += old[at : hunk.a_from] + new[hunk.b_from : hunk.b_to]
            at = hunk.a_to
        assert made + old[at:] == new
    assert time.process_time() - began < 20
