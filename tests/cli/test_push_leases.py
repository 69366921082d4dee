"""`push` and leases that others hold, or hold for it: nobody's lock is passed or ended by mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gitref_lock.testing.gitserver import GitHttpServer
from tests.cli.conftest import Cli
from tests.support.gitcli import Repo, make_bare
from tests.support.runners import add_key, history_at, subjects_at

PROGRAM = f"{sys.executable} -m gitref_lock"


@pytest.fixture
def changed(cli: Cli) -> Cli:
    """Return a runner in a clone with a change."""
    add_key(Repo(cli.cwd), "mine")
    return cli


def state_at(bare: Repo) -> str:
    """Return whether the lock is free or held."""
    return str(json.loads(bare.git("show", "refs/locks/main:lock.json"))["state"])


def in_new_session(cli: Cli, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as another terminal or cron job of the same clone would."""
    return subprocess.run(
        [sys.executable, "-m", "gitref_lock", *words],
        cwd=cli.cwd,
        env=cli.environ,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
        timeout=60,
    )


def test_another_sessions_lease_is_waited_for(changed: Cli, bare_repo: Repo) -> None:
    """Two terminals of one clone exclude each other; the token given by hand is the way around."""
    token = in_new_session(changed, "acquire", "main").stdout.strip()
    refused = in_new_session(changed, "push", "-A", "-m", "mine", "--nonblock")
    assert refused.returncode == 4
    assert "--lease TOKEN" in refused.stderr
    assert state_at(bare_repo) == "held"
    assert in_new_session(changed, "push", "-A", "-m", "mine", "--lease", token).returncode == 0
    assert state_at(bare_repo) == "free"


def test_keep_without_a_lease_is_no_success(changed: Cli, bare_repo: Repo) -> None:
    """Whoever says --keep goes on to rely on the lock: without a lease nothing lands."""
    assert changed("push", "-A", "-m", "mine", "--keep", "--json", code=6).error["code"] == "not-held"
    assert subjects_at(bare_repo) == ["first"]


def test_keep_of_a_broken_lease_is_no_success(changed: Cli, other: Cli, bare_repo: Repo) -> None:
    """A lease that an operator broke cannot be kept, though the lock is free."""
    changed("acquire", "main")
    other("break", "main", "--force", "--reason", "test")
    assert changed("push", "-A", "-m", "mine", "--keep", "--json", code=6).error["code"] == "lease-lost"
    assert subjects_at(bare_repo) == ["first"]


def test_a_push_inside_of_run_leaves_the_lease_to_run(changed: Cli, bare_repo: Repo) -> None:
    """The command goes on under its lock after the push, for longer than a renewal takes, and ends well."""
    script = f"{PROGRAM} push -A -m mine && sleep 3 && echo more"
    done = changed("run", "main", "--ttl", "6s", "--", "sh", "-c", script)
    assert done.out.endswith("more\n")
    assert subjects_at(bare_repo) == ["mine", "first"]
    assert state_at(bare_repo) == "free"


def test_a_push_inside_of_run_to_another_remote_is_a_push_like_any_other(
    git_server: GitHttpServer, changed: Cli, bare_repo: Repo
) -> None:
    """The enclosing lease is on a lock of the same name somewhere else: it is left alone."""
    two = make_bare(bare_repo.path.parent / "two.git")
    words = f"{PROGRAM} push -A -m mine -r {git_server.repo_url('two.git')}"
    changed("run", "main", "--", *words.split())
    assert subjects_at(two)[0] == "mine"
    assert subjects_at(bare_repo) == ["first"]


def test_commands_inside_of_run_use_the_lease_of_the_remote_that_they_name(
    git_server: GitHttpServer, changed: Cli, bare_repo: Repo
) -> None:
    """A lock of the same name on another remote is renewed, landed under and released by the lease taken there."""
    two = make_bare(bare_repo.path.parent / "two.git")
    there = f"-r {git_server.repo_url('two.git')} --json"
    words = ("acquire main", "renew main", "push -A -m mine --keep", "release main")
    script = " && echo , && ".join(f"{PROGRAM} {command} {there}" for command in words)
    done = changed("run", "main", "--", "sh", "-c", script)
    taken, renewed, pushed, freed = json.loads(f"[{done.out}]")
    assert taken["lease"] == renewed["lease"]
    assert (pushed["landed"], freed["released"]) == ("leased", True)
    assert (state_at(two), state_at(bare_repo)) == ("free", "free")
    assert subjects_at(two)[0] == "mine"
    assert [line["event"] for line in history_at(bare_repo)][-2:] == ["acquire", "release"]
