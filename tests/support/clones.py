"""Local landings for tests: commit what was staged and move the clone, as after a swap that was applied."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gitref_lock.core.names import Oid, RefName
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commit import CommitWish, build_commit, draft
from gitref_lock.landing.journal import JournalLanding, write_journal
from gitref_lock.landing.local_move import MoveReport, apply_move
from gitref_lock.landing.move_plan import plan_move
from gitref_lock.landing.stage import stage
from gitref_lock.landing.staged import Staged
from tests.support.gitcli import git_env

NOW_S = 1_700_000_000


def open_checkout(path: Path, extra: dict[str, str] | None = None) -> Checkout:
    """Open a clone with the pinned environment of the test's own git."""
    return Checkout.open(path, git_env(extra=extra))


def landing(tracking: str | None = None, before: Oid | None = None) -> JournalLanding:
    """Return the landing part of a journal."""
    ref = RefName(tracking) if tracking else None
    return JournalLanding(
        remote="origin",
        branch=RefName("refs/heads/main"),
        lock_ref=RefName("refs/locks/main"),
        nonce="0" * 24,
        tracking_ref=ref,
        tracking_before=before,
    )


def commit_staged(checkout: Checkout, staged: Staged, message: str = "change", parent: Oid | None = None) -> Oid:
    """Return the commit of what was staged, on HEAD or ``parent``."""
    base = parent or staged.base
    what = draft(checkout, CommitWish([message]), NOW_S)
    commit = build_commit(checkout, staged.tree, [base] if base else [], what)
    return Oid(commit.id.decode())


def move_to(
    checkout: Checkout, new: Oid, own: Staged | None = None, step: Callable[[str], None] | None = None
) -> MoveReport:
    """Move the clone to ``new``, through a journal."""
    move = plan_move(checkout, checkout.head(), new, own)
    journal = write_journal(checkout, move, landing())
    return apply_move(checkout, journal, step=step) if step else apply_move(checkout, journal)


def land(path: Path, *paths: bytes, take_all: bool = False, extra: dict[str, str] | None = None) -> Staged:
    """Stage, commit and move in one go; the move must succeed and leave nothing."""
    with open_checkout(path, extra) as checkout, checkout.exclusive():
        staged = stage(checkout, paths, take_all=take_all)
        if staged.is_empty:
            return staged
        report = move_to(checkout, commit_staged(checkout, staged), staged)
        assert report.local_updated, report.reason
        assert not report.left
        return staged


def write(root: Path, name: str | bytes, content: bytes | str, *, mode: int | None = None) -> None:
    """Write a file below ``root``, making its folders."""
    path = root / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if mode is not None:
        path.chmod(mode)
