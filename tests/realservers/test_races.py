"""Races on one lock at real servers: one winner each round, and no exit code lies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitref_lock.core.objects import GitObject
from gitref_lock.core.refs import Applied, Superseded
from gitref_lock.testing.contract_kit import (
    ContractHost,
    applied,
    create,
    lock,
    only_winner,
    present,
    race_of,
    state,
    update,
)
from tests.realservers.serving import Served, Service
from tests.support.gitcli import git
from tests.support.race import command_env

pytestmark = pytest.mark.servers

RACERS = 16
ROUNDS = {"nginx": 4, "apache": 4, "lighttpd": 4, "git-daemon": 4, "jgit": 4}
"""How many rounds; behind ssh, where a login takes long, one."""


def racers_at(service: Service) -> int:
    """Return how many clients race: JGit 4 hangs under sixteen."""
    return service.racers if service.name == "jgit" else RACERS


def test_a_lock_has_one_winner_a_round(service: Service) -> None:
    """Of sixteen updates from one state, sent at once, one is applied each round; all others see the winner."""
    served = service.make_repo(with_commit=False)
    old: Sequence[GitObject] = state("start")
    with ExitStack() as opened:
        applied(served.open_store(opened), [create("raced", old)], old)
    for number in range(ROUNDS.get(service.name, 1)):
        with ExitStack() as opened:  # kept connections of earlier rounds would count against the server's limit
            old = one_round(served, opened, old, f"round {number}")


def one_round(served: Served, opened: ExitStack, old: Sequence[GitObject], word: str) -> Sequence[GitObject]:
    """Race from the state ``old``; return the winner's state."""
    racers = racers_at(served.service)
    host = ContractHost(lambda: served.open_store(opened), lambda: None, lambda ref: None, "", racers)
    states = [state(f"{word} racer {index}") for index in range(racers)]
    outcomes = race_of(host, lambda index: ([update("raced", old, states[index])], states[index]))
    won = states[only_winner(outcomes)]
    assert present(host.open_store()) == {lock("raced"): won[0].oid}
    lost = [outcome for outcome in outcomes if outcome != Applied()]
    assert lost == [Superseded({lock("raced"): won[0].oid})] * (racers - 1)
    return won


def test_sixteen_processes_race_for_a_lock(running_servers: Callable[[str], Service], tmp_path: Path) -> None:
    """Of sixteen `acquire` processes at once one exits with 0 and holds the lock; every other exits with 4."""
    served = running_servers("nginx").make_repo()
    environ = {
        **command_env(),
        **served.service.environ,
        "RUNNER_TEMP": str(tmp_path),
        "GITREF_LOCK_REMOTE": served.url,
    }
    words = [sys.executable, "-m", "gitref_lock", "acquire", "deploy", "--nonblock", "--json"]
    processes = [
        subprocess.Popen(
            [*words, "--holder", f"runner-{number}"],
            env=environ,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(RACERS)
    ]
    ended = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        ended.append((process.returncode, out, err))
    codes = sorted(code for code, _, _ in ended)
    assert codes == [0] + [4] * (RACERS - 1), ended
    winner = next(json.loads(out) for code, out, _ in ended if code == 0)
    record = json.loads(served.repo.git("show", "refs/locks/deploy:lock.json"))
    assert (record["state"], record["generation"]) == ("held", winner["generation"]), winner
    git("fsck", "--strict", "--no-dangling", cwd=served.repo.path)
