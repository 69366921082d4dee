"""break and cleanup, from real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitref_lock.core.names import LockName, Namespace, Nonce, TicketName
from gitref_lock.core.record import Holder
from gitref_lock.core.ticket import Kind, Ticket, build_ticket
from gitref_lock.testing.gitserver import GitHttpServer
from tests.cli.conftest import Cli
from tests.support.gitcli import Repo


def test_break_without_a_terminal_needs_force_or_an_expectation(cli: Cli, other: Cli, bare_repo: Repo) -> None:
    """Nobody can be asked, so the command says what to add and changes nothing."""
    cli("acquire", "main")
    tip = bare_repo.ref("refs/locks/main")
    refused = other("break", "main", "--json", code=2).error
    assert f"--expect {tip}" in refused["hint"]
    assert bare_repo.ref("refs/locks/main") == tip


def test_break_of_the_expected_state(cli: Cli, other: Cli, bare_repo: Repo) -> None:
    """By object id or generation; the answer says until when the old holder may go on, the history why."""
    held = cli("acquire", "main", "--json").json
    done = other("break", "main", "--expect", held["lock_oid"], "--reason", "its machine burnt", "--json")
    assert done.json["generation"] == held["generation"] + 1
    assert done.json["old_holder_may_run_until"] == held["expires_at"]
    assert "the old holder may go on until" in done.err
    assert "its machine burnt" in bare_repo.git("show", "refs/locks/main:history.jsonl")
    again = cli("acquire", "main", "--json").json
    other("break", "main", "--expect", str(again["generation"]))


def test_break_of_another_state_is_refused(cli: Cli, other: Cli, bare_repo: Repo) -> None:
    """The lock moved on since the operator looked: exit 5, and the new holder keeps it."""
    old = cli("acquire", "main", "--json").json
    cli("renew", "main")
    tip = bare_repo.ref("refs/locks/main")
    assert other("break", "main", "--expect", old["lock_oid"], "--json", code=5).error["code"] == "not-expected"
    assert bare_repo.ref("refs/locks/main") == tip


def test_break_of_a_free_lock(cli: Cli) -> None:
    """There is nothing to break: exit 6."""
    assert cli("break", "main", "--force", "--json", code=6).error["code"] == "not-held"
    assert cli("force-unlock", "main", "--force", code=6).out == ""


def test_force_has_no_environment_variable(cli: Cli, other: Cli) -> None:
    """What is destructive is typed, never inherited."""
    cli("acquire", "main")
    other.under(GITREF_LOCK_FORCE="1")("break", "main", code=2)
    other.under(GITREF_LOCK_PREEMPT="1")("acquire", "main", "-n", code=4)


def test_cleanup_of_nothing(cli: Cli) -> None:
    """An empty remote needs no cleaning."""
    found = cli("cleanup", "--json").json
    assert found["plan"] == {"free": [], "remove_tickets": [], "prune": [], "keep": []}


def test_cleanup_frees_what_the_servers_clock_shows_expired(
    cli: Cli, other: Cli, git_server: GitHttpServer, bare_repo: Repo
) -> None:
    """The plan comes first; a dry run changes nothing; a lease that is not over stays."""
    cli("acquire", "old", "--ttl", "5s")
    cli("acquire", "young", "--ttl", "5m")
    git_server.date_offset_s = 60
    tips = bare_repo.refs("refs/locks")
    planned = other("cleanup", "--dry-run", "--json")
    assert planned.json["plan"]["free"] == ["old"]
    assert planned.json["freed"] == []
    assert "free the expired lock old, held by tester" in planned.err
    assert bare_repo.refs("refs/locks") == tips
    assert other("prune", "--json").json["freed"] == ["old"]
    assert bare_repo.ref("refs/locks/young") == tips[Namespace().lock_ref(LockName("young"))]
    assert '"event": "reap"' in bare_repo.git("show", "refs/locks/old:lock.json")


def test_observations_last_from_one_command_to_the_next(cli: Cli, bare_repo: Repo, tmp_path: Path) -> None:
    """Without a server's clock, a lock that a clone has seen unchanged for its ttl is taken by a later command."""
    cli("acquire", "main", "-r", bare_repo.path, "--ttl", "5s")
    away = cli.at(tmp_path)
    away("acquire", "main", "-r", bare_repo.path, "-n", code=4)
    (memory,) = (cli.home / ".local/state/gitref-lock").glob("observations.json")
    seen = json.loads(memory.read_text("utf-8"))
    for locks in seen["remotes"].values():
        for lock in locks.values():
            lock["monotonic_s"] -= 6
            lock["wall_s"] -= 6
    memory.write_text(json.dumps(seen), "utf-8")
    taken = away("acquire", "main", "-r", bare_repo.path, "-n", "--json").json
    assert taken["acquired"] is True
    assert '"event": "take-over"' in bare_repo.git("show", "refs/locks/main:lock.json")


def _ticket(kind: Kind, nonce: str, expires_at: int) -> tuple[TicketName, Ticket]:
    ticket = Ticket(
        kind=kind,
        locks=(LockName("main"),),
        nonce=Nonce(nonce),
        holder=Holder(id="gone"),
        priority=0,
        enqueued_ms=1_700_000_000_000,
        expires_at=expires_at,
        branch="main" if kind is Kind.LAND else "",
    )
    return TicketName(1_700_000_000_000, ticket.nonce), ticket


@pytest.mark.parametrize(("kind", "is_removed"), [(Kind.ACQUIRE, True), (Kind.LAND, False)])
def test_cleanup_removes_tickets_whose_wait_is_over(cli: Cli, bare_repo: Repo, kind: Kind, is_removed: bool) -> None:
    """A dead waiter's ticket goes; a change that waits to be landed is never removed."""
    name, ticket = _ticket(kind, "ab" * 12, 1_700_000_100)
    ref = Namespace().ticket_ref(LockName("main"), name)
    bare_repo.set_ref(ref, bare_repo.store(*build_ticket(ticket, at_s=1_700_000_000)))
    found = cli("cleanup", "--json").json
    assert found["removed_tickets"] == ([name.leaf] if is_removed else [])
    assert (bare_repo.ref(ref) is None) is is_removed


def test_prune_removes_only_idle_locks_without_a_branch(cli: Cli, bare_repo: Repo, git_server: GitHttpServer) -> None:
    """Free, idle for long enough, no branch of its name: gone. A branch's lock stays."""
    for name in ("main", "old-feature"):
        cli("acquire", name)
        cli("release", name)
    git_server.date_offset_s = 31 * 86_400
    assert cli("cleanup", "--dry-run", "--json").json["plan"]["prune"] == []
    assert cli("cleanup", "--prune", "--json").json["pruned"] == ["old-feature"]
    assert bare_repo.ref("refs/locks/old-feature") is None
    assert bare_repo.ref("refs/locks/main") is not None
    cli("cleanup", "--older-than", "1d", code=2)


def test_prune_says_what_it_keeps_and_why(cli: Cli, other: Cli) -> None:
    """A lock that is not removed, although pruning was asked for, is named with the reason, also as JSON."""
    for name in ("main", "fresh"):
        cli("acquire", name)
        cli("release", name)
    other("acquire", "taken")
    told = cli("cleanup", "--prune", "--older-than", "0").err
    assert "keep fresh, main: it was made less than a day ago" in told
    assert "keep taken: it is held by " in told
    assert "keep main, fresh: it was used within" in cli("cleanup", "main", "fresh", "--prune").err
    kept = cli("cleanup", "nowhere", "--prune", "--dry-run", "--json").json["plan"]["keep"]
    assert kept == [{"lock": "nowhere", "why": "there is no such lock"}]
    assert "keep" not in cli("cleanup", "main").err


def test_a_lock_in_the_way_of_a_branch_can_be_removed(cli: Cli, git_server: GitHttpServer) -> None:
    """A push that the lock of a name below the branch's own stops tells the command that removes it, and that works."""
    cli("acquire", "nn/sub")
    cli("release", "nn/sub")
    stopped = cli("push", "--branch", "nn", "-m", "change", "--allow-empty", "--json", code=3).error
    assert (stopped["code"], stopped["blocking_ref"]) == ("name-collision", "refs/locks/nn/sub")
    assert "gitref-lock cleanup nn/sub --prune --older-than 1m" in stopped["hint"]
    git_server.date_offset_s = 86_400 + 120
    assert cli("cleanup", "nn/sub", "--prune", "--older-than", "1m", "--json").json["pruned"] == ["nn/sub"]
    cli("push", "--branch", "nn", "-m", "change", "--allow-empty")
