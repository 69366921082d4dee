"""Runners in this process: a remote seen through a real store, a push from a real clone, a lease.

Each runner has its own store and its own jumping clock, so that waits take no time.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

from gitref_lock.core.names import Oid, lock_name
from gitref_lock.core.record import Holder
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.workspace import Selection
from gitref_lock.ports import System
from gitref_lock.pushing import PushOptions, PushReport, push
from gitref_lock.remotes import open_store
from gitref_lock.remotes.locate import resolve
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.clock import jumping_system
from tests.support.gitcli import Repo, git_env

_SEEDS = itertools.count(1)
_OPEN: list[Remote] = []


def remote_at(url: str, *, system: System | None = None, read_timeout_s: float = 2.0) -> Remote:
    """Return a remote over a real store; reads and writes that stall end after ``read_timeout_s``."""
    from gitref_lock.remotes.gitconfig import load

    system = system or jumping_system(next(_SEEDS))
    environ = git_env()
    spec = resolve(url, None, None, load(None, None, None, environ), environ)
    spec = replace(spec, http=replace(spec.http, read_timeout_s=read_timeout_s))
    remote = Remote(open_store(spec, system), system, call_timeout_s=10.0)
    _OPEN.append(remote)
    return remote


def close_all() -> None:
    """Close every remote opened here; tests do it through the fixture ``closed_remotes``."""
    while _OPEN:
        _OPEN.pop().store.close()


def holder(name: str) -> Holder:
    """Return a holder called ``name``."""
    return Holder(id=name, name=name, workflow="tests")


def push_from(
    clone: Repo, url: str, message: str, *, remote: Remote | None = None, timeout_s: float = 300.0, **options: object
) -> PushReport:
    """Push everything that changed in ``clone`` to ``url`` and return the report."""
    remote = remote or remote_at(url)
    defaults: dict[str, object] = {
        "holder": holder(message),
        "selection": Selection(takes_all=True),
        "wish": CommitWish((message,)),
        "remote_name": "origin",
        "wait_s": 120.0,
    }
    with Checkout.open(clone.path, git_env()) as checkout:
        wanted = PushOptions(**{**defaults, **options})  # type: ignore[arg-type]  # keywords of a dataclass
        return push(remote, checkout, wanted, Deadline.after(remote.system, timeout_s))


def acquire_at(
    remote: Remote, name: str = "main", *, who: str = "holder", ttl_s: float = 60.0, wait_s: float = 0
) -> Lease:
    """Acquire one lock and return the lease."""
    request = AcquireRequest((lock_name(name),), holder(who), LeaseTiming.for_ttl(ttl_s), wait_s)
    return Acquirer(remote, request, Deadline.after(remote.system, 300.0)).run()


def release(lease: Lease) -> None:
    """Release a lease; it must work."""
    failure = lease.release(Deadline.after(lease.remote.system, 60.0))
    if failure is not None:
        raise failure


def add_key(clone: Repo, key: str, value: object = 1) -> None:
    """Set one key of the clone's shared ``data.json``, and write a file of the key's own."""
    path = clone.path / "data.json"
    data = json.loads(path.read_text()) if path.exists() else {}
    data[key] = value
    path.write_text(json.dumps(data, indent=1) + "\n")
    (clone.path / f"{key}.txt").write_text(f"{key}\n")


def keys_at(bare: Repo, branch: str = "main") -> dict[str, object]:
    """Return the remote's shared ``data.json``."""
    loaded = json.loads(bare.git("show", f"{branch}:data.json"))
    assert isinstance(loaded, dict)
    return loaded


def subjects_at(bare: Repo, branch: str = "main") -> list[str]:
    """Return the subjects of all commits of a branch of the remote, newest first."""
    return bare.git("log", "--format=%s", branch).splitlines()


def tip_at(bare: Repo, branch: str = "main") -> Oid:
    """Return the branch's tip on the remote."""
    tip = bare.ref(f"refs/heads/{branch}")
    assert tip is not None
    return tip


def history_at(bare: Repo, lock: str = "main") -> list[dict[str, object]]:
    """Return the lock's ring as plain git shows it, oldest first."""
    text = bare.git("show", f"refs/locks/{lock}:history.jsonl")
    return [json.loads(line) for line in text.splitlines()]


def in_folder(folder: Path, name: str, url: str) -> Repo:
    """Return a fresh clone of ``url``."""
    from tests.support.gitcli import clone

    return clone(url, folder / name)
