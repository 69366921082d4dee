"""Move one local ref by compare-and-swap, in a way that survives a kill.

The lock that git's ref files need (``<ref>.lock``, created exclusively, renamed over the ref) is made here as a hard
link to a file of this tool: after a kill the next command can tell its own stale lock from one that a running git
holds, and no stale lock keeps the branch from moving for ever. Repositories with reftable have no such files; there
the library does the swap.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dulwich.objects import Commit

from gitref_lock.core.names import ZERO_OID, Oid, RefName
from gitref_lock.landing.checkout import Checkout, raw
from gitref_lock.landing.hardening import REFERENCE, hardened
from gitref_lock.remotes.gitconfig_parse import RemoteConfigError

_PREFIX = "ref-"
_TAIL_BYTES = 4096
_LOGGED = ("HEAD", "refs/heads/", "refs/remotes/", "refs/notes/")
"""Which refs have a reflog unless core.logAllRefUpdates says ``always``."""


class RefHeldError(Exception):
    """Another program holds the ref's lock."""


def _path(checkout: Checkout, name: RefName) -> Path:
    folder = checkout.git_dir if name == "HEAD" else checkout.common_dir
    return folder / os.fsdecode(raw(name))


def _lock(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def move_ref(checkout: Checkout, name: RefName, old: Oid | None, new: Oid, note: bytes) -> bool:
    """Set ``name`` to ``new`` if it still is ``old`` (None: absent); tell whether it was.

    ``note`` goes to the reflog, under the committer and time of ``new``. ``HEAD`` means a detached HEAD. Raises
    RefHeldError while another program holds the ref, OSError when the disk refuses.
    """
    commit = checkout.commit_object(new)
    if checkout.has_reftable:
        return checkout.move_ref_in_table(name, old, new, note)
    path = _path(checkout, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, own = _lock(path), checkout.private_dir / (_PREFIX + path.name[:100])
    own.unlink(missing_ok=True)
    with own.open("xb") as file:
        file.write(new.encode("ascii") + b"\n")
        if REFERENCE in hardened(checkout.config):
            file.flush()
            os.fsync(file.fileno())
    try:
        _link(own, lock)
    except FileExistsError as error:
        own.unlink()
        raise RefHeldError(f"{lock} exists") from error
    try:
        if checkout.ref(name) != old or (name == "HEAD" and checkout.head_ref() != "HEAD"):
            return False
        _log(checkout, name, old, new, commit, note)
        _replace(lock, path)
        return True
    finally:
        if _is_same(lock, own):
            lock.unlink()
        own.unlink()


def _link(own: Path, lock: Path) -> None:
    try:
        os.link(own, lock)
    except FileExistsError:
        raise
    except OSError:
        with lock.open("xb") as file:  # no hard links here: as exclusive, but not recognisable after a kill
            file.write(own.read_bytes())


def _replace(lock: Path, path: Path) -> None:
    """Rename the lock over the ref; empty folders of deleted refs may stand in the way."""
    if path.is_dir():
        for folder, _, _ in os.walk(path, topdown=False):
            Path(folder).rmdir()
    lock.replace(path)


def _is_same(lock: Path, own: Path) -> bool:
    try:
        return lock.samefile(own)
    except FileNotFoundError:
        return False


def _log(checkout: Checkout, name: RefName, old: Oid | None, new: Oid, commit: Commit, note: bytes) -> None:
    """Add the reflog lines that git would write, once: for the ref, and for HEAD when the ref is checked out."""
    if not _wants_log(checkout, name):
        return
    names = [name]
    if name != "HEAD" and checkout.head_ref() == name:
        names.append(RefName("HEAD"))
    start = f"{old or ZERO_OID} {new} ".encode("ascii")
    for one in names:
        log = (checkout.git_dir if one == "HEAD" else checkout.common_dir) / "logs" / os.fsdecode(raw(one))
        if not _last_line(log).startswith(start):
            checkout.log_ref(one, old, new, commit, note)


def _wants_log(checkout: Checkout, name: RefName) -> bool:
    """Tell whether git would log this ref (git-config(1), "core.logAllRefUpdates").

    A value that git would refuse counts as none: the landing is on the remote by now, and a line too many harms nobody.
    """
    if (checkout.setting("core", "logAllRefUpdates") or "").lower() == "always":
        return True
    try:
        is_wanted = checkout.flag("core", "logAllRefUpdates", default=True)
    except RemoteConfigError:
        is_wanted = True
    return is_wanted and name.startswith(_LOGGED)


def _last_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().rstrip(b"\n").rpartition(b"\n")[2]
    except FileNotFoundError:
        return b""


def remove_stale_refs(checkout: Checkout, names: Iterable[RefName]) -> None:
    """Remove locks on ``names`` that a killed command of this tool left; call only while holding ``exclusive``."""
    locks = [_lock(_path(checkout, name)) for name in names]
    for own in checkout.private_dir.glob(_PREFIX + "*"):
        for lock in locks:
            if _is_same(lock, own):
                lock.unlink()
        own.unlink(missing_ok=True)
