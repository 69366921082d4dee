"""The start of Python is most of a cold command's time: no command imports what it does not use.

The numbers of modules are bounds with little room: a new import on the way of a lock command should be a decision.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Cli

DECORATION = {"rich", "pydantic", "click", "markdown_it", "pygments"}
ENGINES = {"dulwich", "urllib3", "merge3"}
RETRIES = {"tenacity", "asyncio"}
PROTOCOLS = {"http.client", "email", "ssl", "urllib.request", "encodings.idna"}
GENERAL = {"typer", "importlib.metadata", "tomllib", "zipfile", "csv"}
"""What plain words, built-in strategies and absent configuration files do without."""

LOCK_MODULES = 190
PUSH_MODULES = 325


def imported(cli: Cli, *words: str) -> set[str]:
    """Run a command, which must succeed, and return the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gitref_lock", *words],
        cwd=cli.cwd,
        env=cli.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_the_version_needs_nothing(cli: Cli) -> None:
    """To say its version the program imports its own entry, and neither a parser of options nor anything else."""
    found = imported(cli, "--version")
    assert found & (DECORATION | ENGINES | RETRIES | PROTOCOLS | GENERAL | {"json", "dataclasses"}) == set()


def test_lock_commands_need_no_engine_and_no_decoration(cli: Cli) -> None:
    """An uncontended acquire, renew, inspect and release over plain HTTP: sockets, records, nothing else."""
    for command in ("acquire", "renew", "inspect", "release"):
        found = imported(cli, command, "x")
        assert found & (DECORATION | ENGINES | RETRIES | PROTOCOLS | GENERAL | {"subprocess", "random"}) == set(), (
            command
        )
        assert not any(name.startswith("gitref_lock.landing") for name in found), command
        assert len(found) <= LOCK_MODULES, (command, len(found))


@pytest.mark.parametrize("is_behind", [False, True])
def test_an_uncontended_push_needs_no_decoration_and_no_retries(cli: Cli, is_behind: bool) -> None:
    """A push reads and writes git's files through dulwich, but shows nothing live and tries nothing again.

    It loads the merge only when the branch has moved, and what lands for others only at the head of a queue.
    """
    (cli.cwd / "a.txt").write_text("0\n")
    cli("push", "-A", "-m", "creates the lock")
    if is_behind:
        subprocess.run(["git", "reset", "-q", "--hard", "HEAD~1"], cwd=cli.cwd, env=cli.environ, check=True)
    (cli.cwd / "b.txt").write_text("1\n")
    found = imported(cli, "push", "-A", "-m", "change")
    assert "dulwich" in found
    assert found & (DECORATION | RETRIES | PROTOCOLS | GENERAL) == set()
    assert found & {"urllib3", "dulwich.client", "dulwich.porcelain"} == set()
    assert ("gitref_lock.landing.merge.trees" in found) is is_behind
    assert found & {"gitref_lock.runtime.combine", "gitref_lock.landing.vetting"} == set()
    assert len(found) <= PUSH_MODULES, len(found)
