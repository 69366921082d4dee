"""Every option can be set by the environment, except those that must be typed."""

from __future__ import annotations

import pytest
import typer.main

from gitref_lock.cli.app import COMMANDS, build, reordered, wanted
from tests.cli.conftest import Cli

TYPED_ONLY = {"--force", "--preempt", "--emergency", "--fix", "--help", "--version"}
NOT_BY_NAME = {"--lease"}
"""The lease comes from ``GITREF_LOCK_LEASE`` only together with the name of its lock."""

OWN_NAMES = {("inspect", "--all"): "GITREF_LOCK_INSPECT_ALL", ("status", "--all"): "GITREF_LOCK_INSPECT_ALL"}
"""What means something else than the option of that name in another command has a name of its own."""

SAME_WISH = {"GITREF_LOCK_DRY_RUN"}
"""What is told in the words of each command and means the same in all: show, and change nothing."""

ONE_PIECE_OF_WORK = {"--command", "--file", "--lock", "--message", "--tag", "--tag-message", "--trailer"}
"""What is run or committed this one time is no setting: inherited by a nested command it would be done twice."""


def test_every_option_has_its_variable() -> None:
    """``GITREF_LOCK_<OPTION>``, the same in every command; what is destructive has none."""
    group = typer.main.get_command(build(list(COMMANDS)))
    missing, wrong = set(), set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # a group
        for parameter in command.params:
            words = [word for word in parameter.opts if word.startswith("--")] or list(parameter.opts)
            if parameter.param_type_name != "option" or set(words) & (NOT_BY_NAME | ONE_PIECE_OF_WORK):
                continue
            variable = parameter.envvar
            own = f"GITREF_LOCK_{words[0][2:].replace('-', '_').upper()}"
            if set(words) & TYPED_ONLY:
                wrong |= {f"{name} {words[0]}"} if variable else set()
            elif not variable:
                missing.add(f"{name} {words[0]}")
            elif words[0].startswith("--") and variable != OWN_NAMES.get((name, words[0]), own):
                wrong.add(f"{name} {words[0]} {variable}")
    assert (missing, wrong) == (set(), set())


def test_one_variable_means_one_thing() -> None:
    """Options that share a variable take the same kind of value and say the same of it; exceptions are named."""
    group = typer.main.get_command(build(list(COMMANDS)))
    meanings: dict[str, dict[str, str]] = {}
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # a group
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.envvar:
                said = f"{parameter.type.name} {parameter.help}"
                meanings.setdefault(str(parameter.envvar), {}).setdefault(said, name)
    shared = {variable for variable, said in meanings.items() if len(said) > 1}
    assert shared == SAME_WISH


def test_only_the_asked_command_is_loaded() -> None:
    """Help, completion and unknown words load all of them."""
    assert wanted(["acquire", "--json"], completes=False) == ["acquire"]
    assert wanted(["acquire"], completes=True) == list(COMMANDS)
    assert wanted(["--help"], completes=False) == list(COMMANDS)
    assert wanted(["nonsense"], completes=False) == list(COMMANDS)
    assert wanted([], completes=False) == list(COMMANDS)


def test_shared_options_in_front_move_behind_the_command() -> None:
    """Only those that every command has; all other words stay as they are."""
    assert reordered(["-C", "d", "--json", "acquire", "x"]) == ["acquire", "-C", "d", "--json", "x"]
    assert reordered(["--remote=r", "run", "--", "-C"]) == ["run", "--remote=r", "--", "-C"]
    for words in (["acquire", "-C", "d"], ["--help", "acquire"], ["-C"], [], ["--ttl", "5", "acquire"]):
        assert reordered(words) == words


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"WAIT": "10m"}, "acquire e1 -n"),
        ({"NONBLOCK": "1"}, "acquire e1 --wait 5s"),
        ({"NONBLOCK": "1"}, "push -m change --allow-empty --wait 5s"),
        ({"WAIT": "10m"}, "push -m change --allow-empty -n"),
        ({"ALL": "1"}, "push -m change new.txt"),
        ({"INSPECT_ALL": "1"}, "inspect e1"),
        ({"LOCAL": "1"}, "cleanup e1"),
        ({"LOCAL": "1"}, "cleanup --prune --older-than 5d"),
        ({"PRUNE": "1", "OLDER_THAN": "5d"}, "cleanup --local"),
        ({"OLDER_THAN": "5d"}, "cleanup e1"),
        ({"FORMAT": "sarif"}, "doctor --offline --json"),
    ],
)
def test_an_option_comes_before_the_variable_of_its_opposite(cli: Cli, environ: dict[str, str], line: str) -> None:
    """What is typed wins over what the environment says, also where that is another option's variable."""
    (cli.cwd / "new.txt").write_text("new\n")
    (cli.cwd / "other.txt").write_text("other\n")
    under = cli.under(**{f"GITREF_LOCK_{name}": value for name, value in environ.items()})
    done = under(*line.split())
    if line.endswith("new.txt"):
        assert under("push", "-m", "the rest", "--dry-run").out.split() == ["A", "other.txt"]
    if line.endswith("--json"):
        assert "findings" in done.json


def test_a_wait_that_is_typed_is_waited_whatever_the_variable_says(cli: Cli, other: Cli) -> None:
    """``--wait`` waits under the variable of -n, -n does not under that of ``--wait``; -v speaks under quiet."""
    other("acquire", "e1")
    waited = cli.under(GITREF_LOCK_NONBLOCK="1")("acquire", "e1", "--wait", "1s", "--json", code=4).error
    assert waited["waited_seconds"] >= 1
    at_once = cli.under(GITREF_LOCK_WAIT="10m")("acquire", "e1", "-n", "--json", code=4).error
    assert at_once["waited_seconds"] < 1
    assert "requests" in cli.under(GITREF_LOCK_QUIET="1")("inspect", "e1", "-v").err


@pytest.mark.parametrize("command", ["acquire e1", "push -m change --allow-empty"])
def test_opposites_of_one_source_are_refused(cli: Cli, command: str) -> None:
    """Two options, or two variables, that contradict each other leave nothing to decide by."""
    words = "exclude each other"
    assert words in cli(*command.split(), "-n", "--wait", "5s", code=2).err
    both = cli.under(GITREF_LOCK_NONBLOCK="1", GITREF_LOCK_WAIT="5s")
    assert words in both(*command.split(), code=2).err
