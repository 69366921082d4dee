"""A file counts as merged by hand only where nothing of the remote's change is lost by it."""

from __future__ import annotations

import pytest

from gitref_lock.landing.hand_merge import holds

BASE = b"1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("ours", "theirs", "is_held"),
    [
        (b"1\ntwo\nthree\n4\n", b"1\ntwo\n3\n4\n", True),
        (b"1\n2\nthree\n4\n", b"1\ntwo\n3\n4\n", False),
        (b"1\nTWO\n3\n4\n", b"1\ntwo\n3\n4\n", False),
        (b"1\ntwo\n2\n3\n4\n", b"1\ntwo\n3\n4\n", False),
        (b"1\ntwo\nmore\n3\n4\n", b"1\ntwo\n3\n4\n", True),
        (b"1\nthree\n4\n", b"1\n3\n4\n", True),
        (b"1\n2\nthree\n4\n", b"1\n3\n4\n", False),
        (b"1\n2\n3\n4\nfive\n5\n", b"1\n2\n3\n4\n5\n", True),
        (b"1\n2\n3\n4\nfive\n", b"1\n2\n3\n4\n5\n", False),
        (b"1\ntwo\n3\n4", b"1\ntwo\n3\n4\n", True),
        (b"1\ntwo\nthree\0\n4\n", b"1\ntwo\n3\n4\n", False),
        (b"", b"1\ntwo\n3\n4\n", False),
        (b"", b"", True),
    ],
)
def test_lines_of_theirs_are_held_or_not(ours: bytes, theirs: bytes, *, is_held: bool) -> None:
    """Lines that theirs brought must be there, lines that it took away must not come back; binaries never count."""
    assert holds(BASE, ours, theirs) is is_held
