"""Fenced landings and reads beside many refs, on every real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitref_lock.errors import NotAcquiredError
from gitref_lock.runtime.errand import How
from gitref_lock.runtime.remote import Remote
from gitref_lock.system import real_system
from gitref_lock.testing.contract_kit import applied, create, lock, present, state
from tests.realservers.serving import Served, Service
from tests.support.gitcli import Repo, git
from tests.support.race import command_env
from tests.support.runners import acquire_at, add_key, history_at, keys_at, push_from, release, subjects_at

pytestmark = pytest.mark.servers
MANY = 20_000


def remote_of(served: Served, stack: ExitStack) -> Remote:
    """Return the remote behind a server as the runtime sees it."""
    system = real_system()
    return Remote(served.open_store(stack, system), system, call_timeout_s=30.0)


def clone_of(served: Served, path: Path) -> Repo:
    """Clone with the git command line."""
    git("clone", "--quiet", served.url, path, cwd=path.parent, env=served.service.environ)
    return Repo(path)


def test_changes_land_fenced_and_once(service: Service, stack: ExitStack, tmp_path: Path) -> None:
    """Two clones that do not know of each other land one after the other; under another's lease neither can."""
    served = service.make_repo()
    clones = {name: clone_of(served, tmp_path / name) for name in ("first", "second")}
    for name, clone in clones.items():
        add_key(clone, name)
    remote = remote_of(served, stack)
    report = push_from(clones["first"], served.url, "first", remote=remote)
    assert report.landed is not None
    assert report.landed.how is How.FAST
    lease = acquire_at(remote)
    with pytest.raises(NotAcquiredError):
        push_from(clones["second"], served.url, "second", remote=remote_of(served, stack), wait_s=0)
    assert subjects_at(served.repo) == ["first", "first"]
    release(lease)
    report = push_from(clones["second"], served.url, "second", remote=remote_of(served, stack))
    assert report.landed is not None
    assert subjects_at(served.repo) == ["second", "first", "first"]
    assert keys_at(served.repo) == {"first": 1, "second": 1}
    events = [line["event"] for line in history_at(served.repo)]
    assert events == ["create", "land", "acquire", "release", "land"]
    served.repo.fsck()


def test_reads_do_not_grow_with_other_refs(service: Service, stack: ExitStack) -> None:
    """Beside 20,000 tags a listing and a record cost a few kilobytes where the server can filter."""
    served = service.make_repo()
    base = served.repo.ref("refs/heads/main")
    lines = [f"{base} refs/tags/t{number:05}\n" for number in range(MANY)]
    (served.repo.path / "packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled sorted \n" + "".join(lines), encoding="ascii"
    )
    one = state("one")
    applied(served.open_store(stack), [create("a", one)], one)
    store = served.open_store(stack)
    assert present(store) == {lock("a"): one[0].oid}
    assert dict(store.read([one[0].oid])[one[0].oid].files)["lock.json"] == b"one"
    if service.speaks_v2:
        assert store.traffic.bytes_received < 4096
    else:
        assert store.traffic.bytes_received > MANY * 50  # version 0 has no filter: known, and measured here


@pytest.mark.parametrize("server", ["nginx", "apache"])
def test_a_lock_over_http_needs_no_git(
    server: str, running_servers: Callable[[str], Service], stack: ExitStack, tmp_path: Path
) -> None:
    """Acquire, a push of a plain file, and release work where no git program is installed."""
    served = running_servers(server).make_repo()
    work = clone_of(served, tmp_path / "work")
    (work.path / "new.txt").write_text("made without git\n", encoding="ascii")
    empty = tmp_path / "bin"
    empty.mkdir()
    environ = {**command_env(), **served.service.environ, "PATH": str(empty)}

    def run(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "gitref_lock", *words],
            cwd=work.path,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    run("acquire", "deploy", "--ttl", "2m")
    run("inspect", "deploy")
    run("push", "new.txt", "-m", "without git")
    run("release", "deploy")
    assert subjects_at(served.repo) == ["without git", "first"]
    assert served.repo.git("show", "main:new.txt") == "made without git"
    assert [line["event"] for line in history_at(served.repo, "deploy")][-1] == "release"
    served.repo.fsck()
