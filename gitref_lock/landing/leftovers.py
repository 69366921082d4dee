"""What a job that died may leave in a clone, and how to clear it away without losing a byte of work.

A half-done rebase, merge, cherry-pick, revert or am is ended by git, after everything that ending it could lose (the
files as they are, what is staged, the commits made so far) was kept under ``refs/gitref-lock/rescue/<time>``. Lock
files go only when nobody can be their owner any more.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.index_lock import remove_stale
from gitref_lock.remotes import children

if TYPE_CHECKING:
    from subprocess import CompletedProcess

RESCUE = "refs/gitref-lock/rescue"
STALE_AFTER_S = 600.0
"""How old a lock file must be before its owner counts as dead, where processes can be seen."""

UNSEEN_STALE_AFTER_S = 6 * 3600.0
"""The same where processes cannot be seen."""

_LOCKS = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock")
_PROC = Path("/proc")
_ENDED = ("rebase", "merge", "cherry-pick", "revert", "am")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that was left: ``kind`` is ``operation`` or ``lock``, ``name`` which, ``keeps`` what is rescued."""

    kind: str
    name: str
    path: Path | None = None
    keeps: str = ""

    def __str__(self) -> str:
        """Return what will be done, for people."""
        if self.kind == "operation":
            return f"end the unfinished {self.name} (git {self.name} --abort); {self.keeps}"
        return f"remove the lock file {self.path}: its owner is gone"


@dataclass(slots=True)
class LocalReport:
    """What was done. ``rescue`` is the ref that keeps what was there, ``left`` what stayed and why."""

    done: list[Leftover] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    rescue: str = ""


def find_leftovers(checkout: Checkout, now_s: float) -> tuple[list[Leftover], list[tuple[str, str]]]:
    """Return what can be cleared away at Unix second ``now_s``, and what must stay with the reason; nothing changes."""
    found: list[Leftover] = []
    left: list[tuple[str, str]] = []
    for path in _lock_files(checkout):
        reason = _owner(checkout, path, now_s)
        if reason is None:
            found.append(Leftover("lock", path.name, path))
        else:
            left.append((str(path), reason))
    operation = checkout.operation_in_progress()
    if operation in _ENDED:
        found.append(Leftover("operation", operation, keeps=f"files, staged content and commits go to {RESCUE}/"))
    elif operation is not None:
        left.append((f"an unfinished {operation}", f"end it with 'git {operation} reset'"))
    return found, left


def clear(checkout: Checkout, leftovers: Sequence[Leftover], now_s: float) -> LocalReport:
    """Clear away what was found, locks first; call while holding ``Checkout.exclusive``.

    Every lock is judged again. An operation is ended only when what it could lose is kept.
    """
    report = LocalReport()
    remove_stale(checkout)
    for item in leftovers:
        try:
            reason = _remove_lock(checkout, item, now_s) if item.kind == "lock" else _end(checkout, item, now_s, report)
        except (LandingError, OSError) as error:
            reason = str(error)
        if reason is None:
            report.done.append(item)
        else:
            report.left.append((item.name, reason))
    return report


# lock files


def _lock_files(checkout: Checkout) -> Iterator[Path]:
    folders = dict.fromkeys((checkout.git_dir, checkout.common_dir))
    names = [folder / name for folder in folders for name in _LOCKS]
    ref = checkout.head_ref()
    if ref != "HEAD":
        names.append(checkout.common_dir / f"{ref}.lock")
    for path in names:
        if path.is_file() and not path.is_symlink():
            yield path


def _owner(checkout: Checkout, path: Path, now_s: float) -> str | None:
    """Return why a lock may still be somebody's, None when its owner is certainly gone."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return "it is gone already"
    if any(_is_same(path, own) for own in checkout.private_dir.glob("*") if own.is_file()):
        return None  # a lock of this tool; nobody else of it works here now
    age_s = now_s - status.st_mtime
    sees_processes = (_PROC / "self" / "fd").is_dir()
    if sees_processes:
        user = _user_of(checkout, status)
        if user is not None:
            return f"process {user} uses it"
    limit_s = STALE_AFTER_S if sees_processes else UNSEEN_STALE_AFTER_S
    return (
        None
        if age_s >= limit_s
        else f"it is {max(0, int(age_s))} s old; a lock counts as left behind after {limit_s:g} s"
    )


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _user_of(checkout: Checkout, status: os.stat_result) -> int | None:
    """Return a process that has the file open, or a git that runs in this clone; None when there is none."""
    roots = (str(checkout.work_tree), str(checkout.git_dir), str(checkout.common_dir))
    for process in _PROC.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            name = (process / "comm").read_text(errors="replace").strip()
            folder = str((process / "cwd").readlink())
            if name.startswith("git") and any(folder == root or folder.startswith(root + "/") for root in roots):
                return int(process.name)
            for descriptor in (process / "fd").iterdir():
                seen = descriptor.stat()
                if (seen.st_dev, seen.st_ino) == (status.st_dev, status.st_ino) and stat.S_ISREG(seen.st_mode):
                    return int(process.name)
        except OSError:
            continue  # ended meanwhile, or of another user
    return None


def _remove_lock(checkout: Checkout, item: Leftover, now_s: float) -> str | None:
    assert item.path is not None
    reason = _owner(checkout, item.path, now_s)
    if reason is not None:
        return None if not item.path.exists() else reason
    if item.path.stat().st_size and item.path.name != "HEAD.lock":
        # a whole index may be in it that never took its place
        item.path.replace(checkout.private_dir / f"kept-{item.path.name}-{int(now_s)}")
    else:
        item.path.unlink()
    return None


# operations


def _end(checkout: Checkout, item: Leftover, now_s: float, report: LocalReport) -> str | None:
    if shutil.which("git", path=checkout.environ.get("PATH")) is None:
        return "it needs git, which is not installed"
    report.rescue = _rescue(checkout, item.name, int(now_s))
    said = ""
    for way in ("--abort", "--quit"):
        done = _git(checkout, item.name, way)
        if done.returncode == 0 and checkout.operation_in_progress() is None:
            return None
        said = done.stderr.decode("utf-8", "replace").strip()
    return f"git {item.name} could not end it: {said}"


def _rescue(checkout: Checkout, operation: str, now_s: int) -> str:
    """Keep the files as they are, what is staged, and every commit of the operation; return the ref."""
    head = checkout.head()
    parents: list[str] = [head] if head is not None else []
    staged = _git(checkout, "write-tree")
    if staged.returncode == 0:  # impossible with conflicts in the index; their sides are commits that are kept below
        parents.append(_commit(checkout, staged.stdout, parents[:1], f"staged when the {operation} was ended", now_s))
    for name in ("MERGE_HEAD", "REBASE_HEAD", "ORIG_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "AUTO_MERGE"):
        found = _git(checkout, "rev-parse", "-q", "--verify", f"{name}^{{commit}}")
        if found.returncode == 0:
            parents.append(found.stdout.decode().strip())
    with tempfile.TemporaryDirectory(dir=checkout.private_dir, prefix="rescue-") as folder:
        index = Path(folder) / "index"
        if checkout.index_path.exists():
            shutil.copy2(checkout.index_path, index)
        environ = {"GIT_INDEX_FILE": str(index)}
        added = _git(checkout, "add", "-A", "--", ":/", **environ)
        tree = _git(checkout, "write-tree", **environ)
        if added.returncode or tree.returncode:
            words = (added.stderr or tree.stderr).decode("utf-8", "replace").strip()
            raise LandingError("rescue-failed", f"what is here could not be kept, so nothing was ended: {words}")
    commit = _commit(checkout, tree.stdout, parents, f"files when the {operation} was ended", now_s)
    ref = f"{RESCUE}/{now_s}"
    kept = _git(checkout, "update-ref", ref, commit)
    if kept.returncode:
        raise LandingError("rescue-failed", f"{ref} could not be written: {kept.stderr.decode(errors='replace')}")
    return ref


def _commit(checkout: Checkout, tree: bytes, parents: Sequence[str], message: str, now_s: int) -> str:
    words = [word for parent in dict.fromkeys(parents) for word in ("-p", parent)]
    who = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in _WHO.items()}
    dates = {f"GIT_{role}_DATE": f"{now_s} +0000" for role in ("AUTHOR", "COMMITTER")}
    done = _git(checkout, "commit-tree", "--no-gpg-sign", tree.decode().strip(), *words, "-m", message, **who, **dates)
    if done.returncode:
        raise LandingError("rescue-failed", f"git commit-tree: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().strip()


_WHO = {"NAME": "gitref-lock", "EMAIL": "gitref-lock@localhost"}


def _git(checkout: Checkout, *words: str, **environ: str) -> CompletedProcess[bytes]:
    pinned = {"GIT_EDITOR": ":", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_DIR": str(checkout.git_dir)}
    place = {"GIT_WORK_TREE": str(checkout.work_tree)}
    return children.run(
        ["git", "-c", "gc.auto=0", *words],
        folder=checkout.work_tree,
        environ={**checkout.environ, **pinned, **place, **environ},
    )
