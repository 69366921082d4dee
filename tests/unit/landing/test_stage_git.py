"""What git has staged into a copy of the index is taken over only as far as it proves something."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitref_lock.landing.index_file import UNKNOWN_STAT
from gitref_lock.landing.stage_git import stage_with_git
from tests.support.clones import open_checkout, write
from tests.support.gitcli import git


@pytest.mark.parametrize(("second", "is_known"), [(1_000_000_000, True), (4_000_000_000, False)])
def test_only_a_settled_status_is_taken_over(tmp_path: Path, second: int, is_known: bool) -> None:
    """A file that may still change within the second of its status is compared by content the next time."""
    root = tmp_path / "repo"
    git("init", "-q", root, cwd=tmp_path)
    write(root, "a", "1\n")
    os.utime(root / "a", (second, second))
    with open_checkout(root) as checkout, checkout.exclusive():
        entry = stage_with_git(checkout, (), take_all=True, reason="").index_entries[b"a"]
    assert entry is not None
    assert (entry.stat != UNKNOWN_STAT) is is_known
