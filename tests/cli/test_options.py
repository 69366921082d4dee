"""Every option can be set by the environment, except those that must be typed."""

from __future__ import annotations

import typer.main

from gitref_lock.cli.app import COMMANDS, build, reordered, wanted

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
