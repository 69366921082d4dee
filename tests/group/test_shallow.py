"""Combining from a shallow clone: what lies behind in the queue is fetched as deep as it says."""

from __future__ import annotations

from pathlib import Path

from gitref_lock.core.names import Nonce, RefName, TicketName
from gitref_lock.core.ticket import Kind, Ticket, VerdictKind, build_ticket
from gitref_lock.testing.gitserver import GitHttpServer
from tests.group.memory import LOCK
from tests.group.test_hostile_objects import runners, verdict_at
from tests.support.gitcli import Repo, clone
from tests.support.runners import holder, push_from, subjects_at


def test_a_ticket_of_many_commits_behind_mine_is_landed_whole(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """The lander knows one commit; a ticket of five that it has not read before is fetched deep enough, and landed."""
    runners(tmp_path, repo_url)
    base = bare_repo.ref("refs/heads/main")
    assert base is not None
    files = {"README.md": b"first\n", "first.txt": b"mine\n"}
    change = base
    for turn in range(5):
        files |= {f"{turn}.txt": b"x\n"}
        change = bare_repo.commit(files, parents=(change,), message=f"part {turn}")
    nonce = Nonce("ef" * 12)
    ticket = Ticket(
        Kind.LAND,
        (LOCK,),
        nonce,
        holder("waiter"),
        0,
        9_000_000_000_000,
        4_000_000_000,
        branch="main",
        base=base,
        changes=5,
        policy={"rules": []},
    )
    made = build_ticket(ticket, at_s=1_700_000_000, change=change)
    bare_repo.store(*made)
    ref = RefName(f"refs/lock-queue/main/{TicketName(9_000_000_000_000, nonce).leaf}")
    bare_repo.set_ref(ref, made[0].oid)
    shallow = clone(repo_url, tmp_path / "shallow", "--depth=1")
    (shallow.path / "shallow.txt").write_text("mine\n")
    report = push_from(shallow, repo_url, "shallow", priority=1)
    assert report.landed is not None
    assert verdict_at(bare_repo, ref) is VerdictKind.LANDED
    assert subjects_at(bare_repo)[:6] == [*(f"part {turn}" for turn in reversed(range(5))), "shallow"]
    shallow.git("fsck", "--no-dangling")
    assert shallow.git("status", "--porcelain") == ""
