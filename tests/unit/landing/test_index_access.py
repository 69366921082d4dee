"""An index that only git writes is left without a lock when a signal ends the writing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gitref_lock.landing.index_access import GitIndex, take_index
from gitref_lock.landing.index_file import UNKNOWN_STAT
from gitref_lock.landing.index_patch import new_entry
from tests.support.clones import open_checkout, write
from tests.support.gitcli import git, git_env
from tests.support.struck import interrupted_when


def test_a_signal_while_git_writes_the_index_leaves_no_lock(tmp_path: Path) -> None:
    """``git update-index`` that waits with the lock in its hand gives it back, and the next writer gets it."""
    root = tmp_path / "repo"
    git("init", "-q", root, cwd=tmp_path)
    write(root, "a", "1\n")
    git("add", ".", cwd=root)
    git("update-index", "--split-index", cwd=root)
    oid = git("hash-object", "a", cwd=root).encode()
    os.mkfifo(tmp_path / "input")
    never_ends = os.open(tmp_path / "input", os.O_RDWR)
    real = shutil.which("git", path=git_env()["PATH"])
    shim = f'#!/bin/sh\ncase $1 in update-index) exec {real} "$@" < {tmp_path}/input;; esac\nexec {real} "$@"\n'
    write(tmp_path, "bin/git", shim, mode=0o755)
    lock = root / ".git" / "index.lock"
    edits = {b"b": new_entry(b"b", 0o100644, oid, UNKNOWN_STAT)}
    with open_checkout(root, {"PATH": f"{tmp_path}/bin:{git_env()['PATH']}"}) as checkout:
        held = take_index(checkout, "0" * 24, 1)
        assert isinstance(held, GitIndex)
        held.write(edits)
        with interrupted_when(lock.exists):
            held.commit()
    os.close(never_ends)
    assert not lock.exists()
    with open_checkout(root) as checkout:
        held = take_index(checkout, "0" * 24, 1)
        held.write(edits)
        held.commit()
    assert git("ls-files", cwd=root) == "a\nb"
