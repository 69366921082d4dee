"""How little each operation asks of a server: requests, connections, and bytes that do not grow with the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from tests.performance.conftest import Cost
from tests.support.gitcli import Repo, clone, make_bare
from tests.support.runners import acquire_at, push_from, release, remote_at

READS_AND_WRITE = {RequestKind.LS_REFS: 1, RequestKind.FETCH: 1, RequestKind.RECEIVE_PACK: 1}
WRITE = {RequestKind.RECEIVE_PACK: 1}


def test_lock_commands_cost_one_request_or_three(cost: Cost) -> None:
    """An acquire of a free lock lists, reads and writes; renewing and releasing write, since the lease is known."""
    cost("acquire", "x")
    cost("release", "x")
    acquired, renewed, released = cost("acquire", "x"), cost("renew", "x"), cost("release", "x")
    assert dict(acquired.by_kind) == READS_AND_WRITE
    assert dict(renewed.by_kind) == WRITE
    assert dict(released.by_kind) == WRITE
    assert {acquired.connections, renewed.connections, released.connections} == {1}


def test_a_push_costs_three_requests_its_lock_included(
    cost: Cost, bare_repo: Repo, work_clone: Repo, tmp_path: Path
) -> None:
    """Up to date or behind by one commit or a hundred: one listing, one fetch, one write, on one connection."""
    (work_clone.path / "a.txt").write_text("0\n")
    cost("push", "-A", "-m", "creates the lock")
    for number, ahead in enumerate((0, 1, 100)):
        tip = bare_repo.resolve("main")
        for _ in range(ahead):
            tip = bare_repo.commit({"README.md": b"first\n", "a.txt": b"0\n"}, parents=(tip,), message="upstream")
        bare_repo.set_ref("refs/heads/main", tip)
        (work_clone.path / f"b{number}.txt").write_text(f"{ahead}\n")
        spent = cost("push", "-A", "-m", f"behind by {ahead}")
        assert dict(spent.by_kind) == READS_AND_WRITE, ahead
        assert spent.connections == 1


def test_a_poll_costs_one_request(git_server: GitHttpServer, repo_url: str, bare_repo: Repo) -> None:
    """A waiter that sees nothing new has listed the lock with its queue, and nothing else."""
    lease = acquire_at(remote_at(repo_url))
    waiter = remote_at(repo_url)
    from gitref_lock.runtime.deadline import Deadline

    deadline = Deadline.after(waiter.system, 60.0)
    waiter.look(lease.names, deadline)
    before = git_server.counts.snapshot()
    waiter.look(lease.names, deadline)
    assert dict(git_server.counts.snapshot().diff(before).by_kind) == {RequestKind.LS_REFS: 1}
    release(lease)


def test_a_warm_library_needs_no_new_connection(git_server: GitHttpServer, repo_url: str, bare_repo: Repo) -> None:
    """With the connection kept and the lock's last state known, acquire lists and writes: two requests."""
    remote = remote_at(repo_url)
    release(acquire_at(remote))
    before = git_server.counts.snapshot()
    lease = acquire_at(remote)
    spent = git_server.counts.snapshot().diff(before)
    assert dict(spent.by_kind) == {RequestKind.LS_REFS: 1, RequestKind.RECEIVE_PACK: 1}
    release(lease)
    assert git_server.counts.snapshot().diff(before).connections == 0


@pytest.mark.parametrize("refs", [10, 20_000])
def test_a_warm_push_reads_twice_and_writes_once(
    git_server: GitHttpServer, server_root: Path, tmp_path: Path, refs: int
) -> None:
    """A library push on a kept connection costs the same three requests, whatever else the repository holds."""
    bare = filled(server_root / f"warm{refs}.git", refs)
    url = git_server.repo_url(bare.path.name)
    work = clone(url, tmp_path / "work", "--single-branch")
    remote = remote_at(url, read_timeout_s=30.0)
    (work.path / "a.txt").write_text("0\n")
    push_from(work, url, "creates the lock", remote=remote)
    (work.path / "a.txt").write_text("1\n")
    before = git_server.counts.snapshot()
    push_from(work, url, "change", remote=remote)
    spent = git_server.counts.snapshot().diff(before)
    assert spent.requests <= 3
    assert spent.connections == 0


def filled(path: Path, refs: int) -> Repo:
    """Return a bare repository with this many more refs, all at its only commit."""
    bare = make_bare(path)
    tip = bare.resolve("main")
    lines = "".join(f"{tip} refs/heads/topic/{number:06d}\n" for number in range(refs))
    (bare.path / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + lines)
    return bare


def test_bytes_do_not_grow_with_unrelated_refs(
    cost: Cost, git_server: GitHttpServer, server_root: Path, tmp_path: Path
) -> None:
    """Each operation moves as many bytes with 20,000 refs as with 10, within a tenth."""
    spent: dict[int, dict[str, int]] = {}
    for refs in (10, 20_000):
        bare = filled(server_root / f"r{refs:05d}.git", refs)
        work = clone(git_server.repo_url(bare.path.name), tmp_path / f"w{refs:05d}", "--single-branch")
        (work.path / "a.txt").write_text("0\n")
        cost("push", "-A", "-m", "creates the lock", at=work.path)
        cost("acquire", "x", at=work.path)
        cost("release", "x", at=work.path)
        spent[refs] = {}
        for command in ("acquire", "renew", "inspect", "release"):
            one = cost(command, "x", at=work.path)
            spent[refs][command] = one.bytes_in + one.bytes_out
        (work.path / "a.txt").write_text("1\n")
        one = cost("push", "-A", "-m", "change", at=work.path)
        spent[refs]["push"] = one.bytes_in + one.bytes_out
    for command, few in spent[10].items():
        assert abs(spent[20_000][command] - few) <= few / 10, (command, few, spent[20_000][command])
