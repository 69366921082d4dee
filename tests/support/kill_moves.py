"""Kill a local move at every write it makes, recover, and tell what the clone looks like.

Run as a program: ``kill_moves.py TEMPLATE WORK NEW``, where TEMPLATE holds a clone with a journal waiting and WORK is
an empty folder. For n = 1, 2, ... a copy of the clone is moved to NEW by a child that kills itself just before its n-th
system call that can change the disk; then a fresh process recovers. One JSON line is printed for each n; the last one
is the run that was never killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.journal import read_journal
from gitref_lock.landing.local_move import apply_move, recover

_CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate", "shutil.rmtree"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _kill_at(number: int) -> None:
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        is_write = event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING)
        if is_write:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _move(path: Path, number: int) -> None:
    with Checkout.open(path, os.environ) as checkout, checkout.exclusive():
        journal = read_journal(checkout)
        assert journal is not None
        _kill_at(number)
        report = apply_move(checkout, journal)
        assert report.local_updated, report.reason


def _recover(path: Path) -> str:
    with Checkout.open(path, os.environ) as checkout, checkout.exclusive():
        return recover(checkout, lambda _journal: True).outcome.value


def _forked(action: Any, *arguments: Any) -> bool:
    """Run in a child process; tell whether it was killed."""
    child = os.fork()
    if child == 0:
        action(*arguments)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, status
    return False


def _git(path: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=path, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def picture(path: Path) -> dict[str, Any]:
    """Return everything that must be the same however often the move was interrupted."""
    files = {}
    for name in sorted(path.rglob("*")):
        relative = str(name.relative_to(path))
        if relative == ".git" or relative.startswith(".git/"):
            continue
        if name.is_dir() and not name.is_symlink():
            files[relative] = "(folder)"
            continue
        files[relative] = str(name.readlink()) if name.is_symlink() else name.read_bytes().decode("latin-1")
    return {
        "files": files,
        "head": _git(path, "rev-parse", "HEAD", "refs/remotes/origin/main", "--abbrev-ref", "HEAD"),
        "index": _git(path, "ls-files", "-s", "-t"),
        "status": _git(path, "status", "--porcelain"),
        "fsck": _git(path, "fsck", "--strict", "--no-dangling"),
        "leftovers": sorted(
            [str(item.relative_to(path)) for item in (path / ".git/gitref-lock").iterdir()]
            + [str(item.relative_to(path)) for item in (path / ".git").glob("*.lock")]
        ),
    }


def main() -> None:
    """Kill at each write in turn."""
    template, work = Path(sys.argv[1]), Path(sys.argv[2])
    number = 0
    was_killed = True
    while was_killed:
        number += 1
        path = work / f"clone-{number}"
        shutil.copytree(template, path, symlinks=True)
        was_killed = _forked(_move, path, number)
        between = _git(path, "status", "--porcelain") if was_killed else ""
        _forked(_recover, path)
        _forked(_recover, path)
        seen = {"number": number, "killed": was_killed, "between": between, **picture(path)}
        sys.stdout.write(json.dumps(seen) + "\n")
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
