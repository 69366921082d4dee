"""The line merge: git's rules of touching edits, and the laws that every three-way merge obeys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.landing.merge.lines import Binary, Clean, Conflicted, Region, merge_lines, split_lines

_TEXTS = st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b""]), max_size=12).map(b"\n".join)


def test_edits_with_a_line_between_them_are_both_kept() -> None:
    """Edits that do not touch are clean."""
    assert merge_lines(b"1\n2\n3\n", b"A\n2\n3\n", b"1\n2\nB\n") == Clean(b"A\n2\nB\n")


def test_edits_of_adjacent_lines_conflict() -> None:
    """Edits that touch conflict, and the conflict holds the lines of all three versions."""
    merged = merge_lines(b"1\n2\n3\n", b"A\n2\n3\n", b"1\nB\n3\n")

    region = Region((b"1\n", b"2\n"), (b"A\n", b"2\n"), (b"1\n", b"B\n"))
    assert merged == Conflicted((b"", region, b"3\n"))


def test_an_edit_made_by_both_sides_is_kept_once() -> None:
    """The same edit on both sides is no conflict, beside an edit of one side."""
    assert merge_lines(b"1\n2\n3\n", b"A\n2\n3\n", b"A\n2\n3\n4\n") == Clean(b"A\n2\n3\n4\n")


@pytest.mark.parametrize("position", range(3))
def test_a_nul_in_any_version_makes_it_binary(position: int) -> None:
    """Binary files are never merged by lines."""
    versions = [b"1\n2\n3\n4\n", b"0\n1\n2\n3\n4\n", b"1\n2\n3\n4\n5\n"]
    versions[position] += b"\0"

    assert merge_lines(versions[0], versions[1], versions[2]) == Binary()


def test_a_nul_after_the_first_8000_bytes_does_not_make_it_binary() -> None:
    """Only the part that git looks at decides."""
    base = b"x" * 8000 + b"\n\0\n1\n2\n"

    assert merge_lines(base, b"0\n" + base, base + b"3\n") == Clean(b"0\n" + base + b"3\n")


def test_only_a_newline_ends_a_line() -> None:
    """A carriage return, a form feed or a Unicode separator is content."""
    assert split_lines(b"a\rb\x0cc\xe2\x80\xa8d\r\ne") == [b"a\rb\x0cc\xe2\x80\xa8d\r\n", b"e"]


def test_repeated_lines_are_not_anchored_by_their_place() -> None:
    """Two functions that look alike, one removed and one edited, do not merge into each other."""
    one, two = b"def one():\n    x = 1\n    return x\n\n", b"def two():\n    x = 1\n    return x\n\n"
    base = one + two
    merged = merge_lines(base, two, base.replace(b"def two", b"def three"))

    assert not isinstance(merged, Clean) or merged.data == two.replace(b"def two", b"def three")


def test_a_block_of_very_common_lines_is_merged_or_conflicts_but_ends() -> None:
    """Hundreds of equal lines do not make the merge slow, and edits at both ends of them are kept."""
    common = b"x\n" * 5000

    assert merge_lines(common, b"a\n" + common, common + b"b\n") == Clean(b"a\n" + common + b"b\n")


@given(base=_TEXTS, side=_TEXTS)
def test_one_changed_side_wins(base: bytes, side: bytes) -> None:
    """Where one side changed nothing, or both changed alike, the answer is the other side."""
    assert merge_lines(base, base, side) == Clean(side)
    assert merge_lines(base, side, base) == Clean(side)
    assert merge_lines(base, side, side) == Clean(side)


@given(base=_TEXTS, ours=_TEXTS, theirs=_TEXTS)
def test_sides_can_be_swapped(base: bytes, ours: bytes, theirs: bytes) -> None:
    """Swapping the sides swaps them in the conflicts and changes nothing else that is clean."""
    merged, swapped = merge_lines(base, ours, theirs), merge_lines(base, theirs, ours)

    assert type(merged) is type(swapped)
    if isinstance(merged, Clean):
        assert merged == swapped


@given(base=_TEXTS, ours=_TEXTS, theirs=_TEXTS)
def test_every_line_of_the_result_comes_from_a_version(base: bytes, ours: bytes, theirs: bytes) -> None:
    """No line is invented, and no line that both sides added is lost."""
    merged = merge_lines(base, ours, theirs)
    if isinstance(merged, Clean):
        made, kept = set(split_lines(merged.data)), set(split_lines(ours)) & set(split_lines(theirs))
        assert made <= set(split_lines(ours)) | set(split_lines(theirs))
        assert kept - set(split_lines(base)) <= made
