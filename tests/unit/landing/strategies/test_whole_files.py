"""``text``, ``union``, ``ours``, ``theirs`` and ``fail`` on single files."""

from __future__ import annotations

import pytest

from gitref_lock.landing.strategies.base import Merged, StrategyFailed
from gitref_lock.landing.strategies.registry import strategy_for

_DELETED = StrategyFailed("deleted on one side, changed on the other")


def test_text_merges_what_git_merges() -> None:
    """Edits of lines apart are clean, of the same lines they are not."""
    text = strategy_for("text")

    assert text.merge(b"f", b"1\n2\n3\n", b"A\n2\n3\n", b"1\n2\nB\n") == Merged(b"A\n2\nB\n", is_complete=True)
    assert text.merge(b"f", b"1\n", b"2\n", b"3\n") == StrategyFailed("both sides changed the same lines")
    assert text.merge(b"f", None, b"2\n", b"3\n") == StrategyFailed("both sides changed the same lines")


@pytest.mark.parametrize("spec", ["text", "union"])
def test_lines_do_not_decide_about_binaries_and_deletions(spec: str) -> None:
    """What has no lines fails."""
    strategy = strategy_for(spec)

    assert strategy.merge(b"f", b"\0a\n", b"\0b\n", b"\0c\n") == StrategyFailed("both sides changed a binary file")
    assert strategy.merge(b"f", b"a\n", None, b"c\n") == _DELETED
    assert strategy.merge(b"f", b"a\n", b"c\n", None) == _DELETED


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "made"),
    [
        (b"", b"o\n", b"t\n", b"o\nt\n"),
        (b"a\n", b"a\no\n", b"a\nt\n", b"a\no\nt\n"),
        (b"", b"o", b"t", b"o\nt"),
        (b"x\n", b"same\no\nend\n", b"same\nt\nend\n", b"same\no\nt\nend\n"),
        (b"1\n2\n3\n", b"o\n2\n3\n", b"1\n2\nt\n", b"o\n2\nt\n"),
    ],
)
def test_union_keeps_the_lines_of_both(base: bytes, ours: bytes, theirs: bytes, made: bytes) -> None:
    """In a place of conflict ours comes first, and lines that both sides have there come once."""
    answer = strategy_for("union").merge(b"f", base, ours, theirs)

    assert isinstance(answer, Merged)
    assert answer.content == made


@pytest.mark.parametrize(("ours", "theirs"), [(b"o", b"t"), (None, b"t"), (b"o", None)])
def test_a_side_wins_whole(ours: bytes | None, theirs: bytes | None) -> None:
    """Content or deletion, the side's version is the result, and it is not called complete."""
    assert strategy_for("ours").merge(b"f", b"b", ours, theirs) == Merged(ours)
    assert strategy_for("theirs").merge(b"f", b"b", ours, theirs) == Merged(theirs)


def test_fail_leaves_it_to_a_person() -> None:
    """Nothing is decided, and the reason says why."""
    assert strategy_for("fail").merge(b"f", b"b", b"o", b"t") == StrategyFailed(
        "both sides changed it and the rule is to fail"
    )
