"""What is staged for a pushed path while the push waits stays staged: the index of the beginning is what counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.landing.hooks import Hooks
from gitref_lock.landing.journal import write_journal
from gitref_lock.landing.local_move import Recovery, apply_move, recover
from gitref_lock.landing.move_plan import plan_move
from gitref_lock.landing.stage import stage
from tests.support.clones import commit_staged, landing, move_to, open_checkout, write
from tests.support.gitcli import git, git_result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a repository with one committed file ``f``, which is edited."""
    path = tmp_path / "clone"
    git("init", "-q", path, cwd=tmp_path)
    write(path, "f", "1\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    write(path, "f", "pushed\n")
    return path


def stage_meanwhile(path: Path, name: str = "f") -> None:
    """Stage something else for a path and leave the file as it was."""
    kept = (path / name).read_bytes()
    write(path, name, "staged while the push waited\n")
    git("add", "-f", name, cwd=path)
    write(path, name, kept)


def staged_content(path: Path, name: str = "f") -> str:
    """Return what the index holds for a path."""
    return git("show", f":{name}", cwd=path)


@pytest.mark.parametrize("setup", [[], ["update-index", "--index-version=4"], ["config", "core.ignoreCase", "true"]])
def test_content_staged_while_the_push_waited_stays(path: Path, setup: list[str]) -> None:
    """A plan made after the landing does not take for expected what was staged since, whoever staged the push."""
    if setup:
        git(*setup, cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"f"])
        new = commit_staged(checkout, staged)
        stage_meanwhile(path)
        report = move_to(checkout, new, staged)
    assert report.local_updated
    assert [(left.path, left.reason) for left in report.left] == [(b"f", "something else is staged for it")]
    assert staged_content(path) == "staged while the push waited"
    assert (path / "f").read_bytes() == b"pushed\n"


def test_content_staged_before_the_push_is_replaced(path: Path) -> None:
    """What was staged when the push began gives way to what landed, as after git commit -- PATH."""
    stage_meanwhile(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"f"])
        report = move_to(checkout, commit_staged(checkout, staged), staged)
    assert report.local_updated
    assert report.left == ()
    assert git_result("status", "--porcelain", cwd=path).stdout == b""


def test_a_hook_does_not_hide_what_was_staged_meanwhile(path: Path) -> None:
    """Also with a pre-commit hook that adds to the push the index of the beginning counts, for its paths too."""
    hook = path / ".git/hooks/pre-commit"
    write(path, ".git/hooks/pre-commit", "#!/bin/sh\necho made >made && git add made\n", mode=0o755)
    assert hook.exists()
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = Hooks(checkout).pre_commit(stage(checkout, [b"f"]))
        assert [item.path for item in staged.changes] == [b"f", b"made"]
        new = commit_staged(checkout, staged)
        stage_meanwhile(path)
        stage_meanwhile(path, "made")
        report = move_to(checkout, new, staged)
    assert [left.path for left in report.left] == [b"f", b"made"]
    assert staged_content(path) == staged_content(path, "made") == "staged while the push waited"


def test_a_killed_move_keeps_what_was_staged_before_it(path: Path) -> None:
    """The next command, which finishes the move from its journal, leaves what was staged before the kill and after."""
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"f"])
        new = commit_staged(checkout, staged)
        write_journal(checkout, plan_move(checkout, checkout.head(), new, staged), landing())
    stage_meanwhile(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        assert recover(checkout, lambda _journal: True).outcome is Recovery.FINISHED
    assert staged_content(path) == "staged while the push waited"


def test_an_index_only_git_reads_is_asked_when_the_move_is_planned(path: Path) -> None:
    """A split index cannot be read at staging; what is staged in it by the time of the move stays all the same."""
    git("update-index", "--split-index", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"f"])
        assert staged.index_before == {}
        new = commit_staged(checkout, staged)
        stage_meanwhile(path)
        move = plan_move(checkout, checkout.head(), new, staged)
        report = apply_move(checkout, write_journal(checkout, move, landing()))
    assert [left.path for left in report.left] == [b"f"]
    assert staged_content(path) == "staged while the push waited"
