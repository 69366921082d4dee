"""Start-up is a large part of a short command's time: what a command does not use, it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Cli

HEAVY = {"dulwich", "rich", "tenacity", "http.client", "ssl", "asyncio", "hypothesis", "tomllib", "pydantic"}


def imported(cli: Cli, *arguments: str) -> set[str]:
    """Run Python with these arguments and return the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
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


def test_the_version_imports_nothing_heavy(cli: Cli) -> None:
    """Neither a parser of options nor an engine is needed to say a number."""
    assert imported(cli, "-m", "gitref_lock", "--version") & (HEAVY | {"typer", "json"}) == set()
    assert cli("--version").out.startswith("gitref-lock ")


@pytest.mark.parametrize("command", ["acquire", "inspect"])
def test_lock_commands_import_neither_git_nor_decoration(cli: Cli, command: str) -> None:
    """Over plain HTTP a lock command needs no git library, no TLS and no terminal library."""
    assert imported(cli, "-m", "gitref_lock", command, "start-up") & HEAVY == set()


def test_the_package_imports_nothing_until_it_is_used(cli: Cli) -> None:
    """``import gitref_lock`` is free; its names come when they are asked for, without typer or rich."""
    found = imported(cli, "-c", "import gitref_lock")
    assert {name for name in found if name.startswith("gitref_lock")} == {"gitref_lock"}
    assert imported(cli, "-c", "from gitref_lock import Lock") & (HEAVY | {"typer"}) == set()


def test_shell_completion_knows_commands_and_options(cli: Cli) -> None:
    """Completion goes through the same entry point, with every command loaded."""
    bash = cli.under(_GITREF_LOCK_COMPLETE="complete_bash", COMP_WORDS="gitref-lock re", COMP_CWORD="1")
    assert {"release", "renew"} <= set(bash(code=None).out.split())
    bash = cli.under(_GITREF_LOCK_COMPLETE="complete_bash", COMP_WORDS="gitref-lock acquire --no", COMP_CWORD="2")
    assert "--nonblock" in bash(code=None).out.split()


def test_help_names_every_command(cli: Cli) -> None:
    """Aliases stay hidden."""
    shown = cli("--help").out
    assert all(f"  {name} " in shown for name in ("acquire", "renew", "release", "break", "inspect", "history"))
    assert "force-unlock" not in shown
    assert "--nonblock" in cli("lock", "--help").out


def test_no_command_at_all_shows_the_help(cli: Cli) -> None:
    """The help comes as it is, as for --help, on stderr, and the exit code says that something was missing."""
    asked = cli("--help")
    shown = cli(code=2)
    assert (shown.out, shown.err) == ("", asked.out)
    assert cli.under(GITREF_LOCK_JSON="1")(code=2).error["code"] == "usage"


def test_the_help_of_the_hook_names_only_what_it_uses(cli: Cli) -> None:
    """A hook of a server has no remote, no report and no wait to bound."""
    shown = cli("hook", "--help").out
    assert "--require" in shown
    assert "--ref-prefix" in shown
    assert not [name for name in ("--remote", "--json", "--timeout", "--quiet") if name in shown]
