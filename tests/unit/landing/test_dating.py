"""The date of the next index: what was pushed is known as unchanged at once, and an edit within the tick is seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.dating import date_ns
from gitref_lock.landing.hooks import Hooks
from gitref_lock.landing.index_file import empty_index
from gitref_lock.landing.stage import stage
from gitref_lock.landing.stage_git import stage_with_git
from gitref_lock.landing.staged import Staged
from tests.support.clones import commit_staged, move_to, open_checkout, write
from tests.support.gitcli import git

OLD_S = 1_700_000_000
Way = Callable[[Checkout], Staged]


def in_process(checkout: Checkout) -> Staged:
    """Stage without git."""
    return stage(checkout, (), take_all=True)


def through_git(checkout: Checkout) -> Staged:
    """Stage with git."""
    return stage_with_git(checkout, (), take_all=True, reason="")


def after_a_hook(checkout: Checkout) -> Staged:
    """Stage and let a hook write a file anew."""
    write(checkout.git_dir, "hooks/pre-commit", "#!/bin/sh\necho hooked > a\ngit add a\n", mode=0o755)
    return Hooks(checkout).pre_commit(stage(checkout, (), take_all=True))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a repository with one commit, whose index is a second older than what follows."""
    root = tmp_path / "repo"
    git("init", "-q", root, cwd=tmp_path)
    write(root, "old", "1\n")
    os.utime(root / "old", (OLD_S, OLD_S))
    git("add", ".", cwd=root)
    git("commit", "-q", "-m", "base", cwd=root)
    then_ns = (root / ".git" / "index").stat().st_mtime_ns - 10**9
    os.utime(root / ".git" / "index", ns=(then_ns, then_ns))
    return root


def land(path: Path, way: Way) -> None:
    """Stage everything and move the clone to the commit."""
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = way(checkout)
        assert move_to(checkout, commit_staged(checkout, staged), staged).local_updated


def differing(path: Path) -> list[str]:
    """Return the files that differ from HEAD by git's plumbing, which refreshes nothing."""
    return git("diff-index", "--name-only", "HEAD", cwd=path).split()


def edit_unseen(path: Path, name: str) -> None:
    """Change a file to other content of its size, and give it its old modification time."""
    file = path / name
    st = file.stat()
    file.write_bytes(file.read_bytes().swapcase().replace(b"1", b"2"))
    os.utime(file, ns=(st.st_mtime_ns, st.st_mtime_ns))


@pytest.mark.parametrize("way", [in_process, through_git, after_a_hook], ids=lambda way: way.__name__)
def test_what_was_pushed_is_unchanged_at_once_and_an_edit_afterwards_is_seen(path: Path, way: Way) -> None:
    """`git diff-index` finds nothing after a landing, and finds an edit that nothing but the content shows."""
    write(path, "a", "pushed\n")
    land(path, way)
    assert differing(path) == []
    edit_unseen(path, "a")
    assert differing(path) == ["a"]
    git("status", cwd=path)
    assert differing(path) == ["a"]


def test_the_files_of_an_earlier_landing_stay_known_and_watched(path: Path) -> None:
    """The next landing takes over what git has yet to compare: nothing is reported, and no edit is believed away."""
    write(path, "a", "first\n")
    land(path, in_process)
    write(path, "b", "second\n")
    land(path, in_process)
    assert differing(path) == []
    edit_unseen(path, "a")
    write(path, "c", "third\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"c"])
        assert move_to(checkout, commit_staged(checkout, staged), staged).local_updated
    assert differing(path) == ["a"]


def test_an_edit_before_the_landing_in_the_second_of_the_old_index_is_seen(path: Path) -> None:
    """A file that was edited unseen just after git wrote the index shows as edited after a landing of another file."""
    os.utime(path / ".git" / "index", (OLD_S, OLD_S))
    edit_unseen(path, "old")
    write(path, "a", "pushed\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"a"])
        assert move_to(checkout, commit_staged(checkout, staged), staged).local_updated
    assert differing(path) == ["old"]


@pytest.mark.parametrize(
    ("replaced_ns", "began_s", "expected_ns"),
    [
        (5_300_000_000, 7, 5_300_000_000),
        (7_300_000_000, 7, 7_000_000_000),
        (9_300_000_000, 7, 7_000_000_000),
        (0, 7, 7_000_000_000),
        (0, 0, 1_000_000_000),
        (500_000_000, -3, 1_000_000_000),
    ],
)
def test_an_index_is_dated_by_the_older_of_its_predecessor_and_the_first_look(
    replaced_ns: int, began_s: int, expected_ns: int
) -> None:
    """It is never dated 0, which git takes for no date; where there was no index the first look counts."""
    assert date_ns(replace(empty_index(), mtime_ns=replaced_ns), began_s) == expected_ns
