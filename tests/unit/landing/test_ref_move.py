"""Which ref moves are logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.core.names import Oid, RefName
from gitref_lock.landing.ref_move import move_ref
from tests.support.clones import land, move_to, open_checkout, write
from tests.support.gitcli import git


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    path = tmp_path / "r"
    git("init", "-q", path, cwd=tmp_path)
    write(path, "f", "1\n")
    land(path, take_all=True)
    return path


@pytest.mark.parametrize("value", ["always", "Always", "true", "1", "no word of git's"])
def test_a_landing_is_logged_whatever_the_setting_says_but_no(path: Path, value: str) -> None:
    """With ``always`` as with ``true``, or a value that nobody knows, the clone follows and its reflogs tell it."""
    write(path, "f", "2\n")
    git("commit", "-q", "-a", "-m", "theirs", cwd=path)
    theirs = Oid(git("rev-parse", "HEAD", cwd=path))
    git("reset", "-q", "--hard", "HEAD~", cwd=path)
    git("config", "core.logAllRefUpdates", value, cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        assert move_to(checkout, theirs).local_updated
    for log in ("HEAD", "refs/heads/main"):
        last = (path / ".git/logs" / log).read_text().splitlines()[-1]
        assert last.split()[1] == theirs
        assert last.endswith("gitref-lock: landed")


@pytest.mark.parametrize(("value", "is_logged"), [("always", True), ("true", False), ("false", False)])
def test_always_means_every_ref(path: Path, value: str, *, is_logged: bool) -> None:
    """A ref that is neither branch, remote branch nor note is logged where the setting says ``always``."""
    git("config", "core.logAllRefUpdates", value, cwd=path)
    head = Oid(git("rev-parse", "HEAD", cwd=path))
    with open_checkout(path) as checkout:
        assert move_ref(checkout, RefName("refs/other/x"), None, head, b"note")
    assert git("rev-parse", "refs/other/x", cwd=path) == head
    assert (path / ".git/logs/refs/other/x").exists() is is_logged
