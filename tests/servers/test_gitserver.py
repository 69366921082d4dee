"""The embedded git server serves stock git, counts what it does, and leaves nothing behind."""

from __future__ import annotations

from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from tests.support.gitcli import Repo


def test_clone_commit_and_push_with_stock_git(work_clone: Repo, bare_repo: Repo) -> None:
    """Stock git clones, pushes and sees its push on the server's disk."""
    tip = work_clone.commit({"a": b"1\n"}, parents=("HEAD",))
    work_clone.git("push", "--quiet", "origin", f"{tip}:refs/heads/main")
    assert bare_repo.ref("refs/heads/main") == tip
    bare_repo.fsck()


def test_counts_tell_kinds_bytes_and_connections(git_server: GitHttpServer, work_clone: Repo) -> None:
    """A push by stock git costs one advertisement and one receive-pack request on one connection."""
    tip = work_clone.commit({"a": b"1\n"}, parents=("HEAD",))
    before = git_server.counts.snapshot()
    work_clone.git("push", "--quiet", "origin", f"{tip}:refs/heads/main")
    spent = git_server.counts.snapshot().diff(before)
    assert spent.by_kind == {RequestKind.ADVERTISE_RECEIVE: 1, RequestKind.RECEIVE_PACK: 1}
    assert spent.requests == 2
    assert spent.connections == 1
    assert spent.bytes_in > 500
    assert spent.bytes_out > 300
