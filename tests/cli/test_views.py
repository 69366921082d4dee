"""inspect and history: what people and scripts read, also when a stranger wrote it."""

from __future__ import annotations

import json

import pytest

from gitref_lock.core.objects import build_state_commit
from tests.cli.conftest import Cli, end
from tests.support.gitcli import Repo

EVIL = "eve\n::error::pwned\x1b[2J##[set-output name=x]y##vso[task.complete]\u202e[bold]"


def test_inspect_of_a_held_lock(cli: Cli, other: Cli) -> None:
    """Holder, since, until and waiters, for people and as JSON with the documented keys."""
    held = cli("acquire", "main", "--workflow", "nightly", "--reason", "a migration", "--json").json
    waiter = other.start("acquire", "main", "--priority", "5")
    assert waiter.stderr is not None
    waiter.stderr.readline()
    (lock,) = cli("inspect", "--json").json["locks"]
    assert lock["state"] == "held"
    assert {key: lock[key] for key in ("lock_ref", "lock_oid", "generation", "expires_at")} == {
        key: held[key] for key in ("lock_ref", "lock_oid", "generation", "expires_at")
    }
    assert (lock["holder"]["workflow"], lock["expired"], lock["priority"]) == ("nightly", False, 20)
    (ticket,) = lock["queue"]
    assert (ticket["holder"]["name"], ticket["priority"], ticket["position"]) == ("other", 5, 1)
    shown = cli("status").out
    assert "main: held by tester (nightly)" in shown
    assert "reason: a migration" in shown
    assert "waiting 1: other, priority 5" in shown
    end(waiter)


def test_list_shows_every_lock(cli: Cli) -> None:
    """A table for people, one object a lock for scripts; none is no failure."""
    assert cli("list").out == "there are no locks\n"
    cli("acquire", "b")
    cli("acquire", "a/c")
    cli("release", "b")
    assert [lock["name"] for lock in cli("inspect", "--all", "--json").json["locks"]] == ["a/c", "b"]
    header, *rows = cli("list").out.splitlines()
    assert header.split()[:3] == ["LOCK", "STATE", "HOLDER"]
    assert [row.split()[:2] for row in rows] == [["a/c", "held"], ["b", "free"]]


def test_inspect_of_a_lock_that_never_was(cli: Cli) -> None:
    """Absent is an answer."""
    assert cli("inspect", "nothing", "--json").json["locks"][0]["state"] == "absent"
    assert "free; it never was taken" in cli("inspect", "nothing").out


def test_watch_gives_one_document_a_line(cli: Cli) -> None:
    """With --timeout the watching ends by itself, with success."""
    cli("acquire")
    lines = cli("inspect", "--watch", "--json", "--timeout", "3s").out.splitlines()
    assert len(lines) >= 2
    assert all(json.loads(line)["locks"][0]["name"] == "main" for line in lines)


def test_watch_in_a_log_speaks_when_something_changed(cli: Cli) -> None:
    """Without a terminal a look that shows nothing new says nothing."""
    cli("acquire")
    (line,) = cli("inspect", "--watch", "--timeout", "5s").out.splitlines()
    assert line.split()[:3] == ["main", "held", "tester"]


def test_history_newest_first_and_verified(cli: Cli, other: Cli) -> None:
    """All commands of this tool leave a history that the protocol's own table allows."""
    cli("acquire")
    cli("renew")
    cli("release")
    cli("acquire")
    other("break", "main", "--force", "--reason", "stuck")
    found = cli("history", "--verify", "--json").json
    assert [line["event"] for line in found["history"]] == ["break", "acquire", "release", "renew", "acquire"]
    assert (found["verified"], found["checked"], found["findings"]) == (True, 4, [])
    assert [line["event"] for line in cli("log", "main", "-n", "1", "--json").json["history"]] == ["break"]
    assert cli("history", "--since", "2000-01-01T00:00:00Z", "-n", "0", "--json").json["history"] == []
    assert len(cli("history", "--since", "1h", "--json").json["history"]) == 5
    assert "stuck" in cli("history").out
    cli("history", "--since", "yesterday", code=2)


def _write_state(repo: Repo, lock: bytes, history: bytes) -> None:
    objects = build_state_commit(
        {"lock.json": lock, "history.jsonl": history}, author_name="eve", at_s=1_700_000_000, message="x"
    )
    repo.set_ref("refs/locks/main", repo.store(*objects))


def _hostile_record() -> dict[str, object]:
    return {
        "schema": 1,
        "lock": "main",
        "state": "held",
        "generation": 7,
        "event": "acquire",
        "nonce": "a" * 24,
        "lease": "a" * 24,
        "holder": {"id": EVIL, "name": EVIL, "workflow": EVIL, "run_url": EVIL, "host": EVIL},
        "priority": 0,
        "reason": EVIL,
        "ttl_s": 3600,
        "acquired_at": "2026-01-01T00:00:00Z",
        "renewed_at": "2026-01-01T00:00:00Z",
        "expires_at": "2999-01-01T00:00:00Z",
        "clock": "server",
    }


def is_harmless(text: str) -> bool:
    """Tell whether no terminal or CI system acts on this output, and nothing in it hides."""
    lines = text.split("\n")
    return (
        all(line.isprintable() for line in lines)
        and not any(line.lstrip().startswith("::") for line in lines)
        and "##[" not in text
        and "##vso[" not in text
    )


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "main"),
        ("inspect", "main", "--json", "--history", "9"),
        ("list",),
        ("history", "main"),
        ("history", "main", "--json"),
        ("acquire", "main", "-n"),
        ("acquire", "main", "-n", "--json"),
        ("acquire", "main", "-w", "1", "--log-format", "json"),
        ("acquire", "main", "--preempt"),
        ("release", "main"),
        ("renew", "main", "--json"),
        ("break", "main"),
        ("break", "main", "--force", "--json"),
        ("cleanup",),
        ("inspect", "main", "--watch", "--timeout", "1s"),
    ],
    ids=" ".join,
)
def test_a_hostile_record_does_no_harm(cli: Cli, bare_repo: Repo, words: tuple[str, ...]) -> None:
    """Whatever somebody wrote into the lock, no control character, workflow command or forged line comes out."""
    line = {"at": "2026-01-01T00:00:00Z", "event": "acquire", "generation": 7, "nonce": "a" * 24}
    line |= {"holder": EVIL, "workflow": EVIL, "note": EVIL}
    _write_state(bare_repo, json.dumps(_hostile_record()).encode(), json.dumps(line).encode() + b"\n")
    shown = cli(*words, code=None)
    assert is_harmless(shown.out), shown.out
    assert is_harmless(shown.err), shown.err
    assert shown.code in {0, 2, 4, 5}


@pytest.mark.parametrize(
    "lock",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": 99}',
        b"\xff\xfe",
        b'{"schema": 1, "lock": "other"}',
        b"[" * 100_000,
        b" " * 70_000,
    ],
)
def test_an_unreadable_record_counts_as_held(cli: Cli, bare_repo: Repo, lock: bytes) -> None:
    """It is shown as what it is, not acquired, and can be broken by who saw it."""
    _write_state(bare_repo, lock, b"nonsense\n")
    (found,) = cli("inspect", "main", "--json").json["locks"]
    assert (found["state"], found["holder"]) == ("unreadable", None)
    assert found["why"]
    cli("acquire", "main", "-n", code=4)
    assert cli("history", "main", "--verify", "--json", code=1).json["verified"] is False
    cli("break", "main", "--expect", found["lock_oid"])
    cli("acquire", "main", "-n")


@pytest.mark.parametrize(("there", "asked"), [("deploy/prod", "deploy"), ("deploy", "deploy/prod")])
def test_a_lock_that_cannot_be_created_is_not_called_free(cli: Cli, there: str, asked: str) -> None:
    """Beside a lock whose name is a folder of it, or lies in it, a lock is told to be impossible, and why."""
    cli("acquire", there)
    told = cli("inspect", asked).out
    assert told.startswith(f"{asked}: cannot be created beside the lock {there}: ")
    assert "would wait" not in told
    (shown,) = cli("inspect", asked, "--json").json["locks"]
    assert (shown["state"], shown["blocked_by"], shown["expected_wait_seconds"]) == ("absent", there, None)
    assert "free" in cli("inspect", "deploy-2/prod").out
    cli("acquire", asked, "-n", code=3)
