"""Every option can be set by the environment, except those that must be typed."""

from __future__ import annotations

import typer.main

from gitref_lock.cli.app import COMMANDS, build, reordered, wanted

TYPED_ONLY = {"--force", "--preempt", "--emergency", "--fix", "--help", "--version"}
NOT_BY_NAME = {"--lease"}
"""The lease comes from ``GITREF_LOCK_LEASE`` only together with the name of its lock."""

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
            if set(words) & TYPED_ONLY:
                wrong |= {f"{name} {words[0]}"} if variable else set()
            elif not variable:
                missing.add(f"{name} {words[0]}")
            elif words[0].startswith("--") and variable != f"GITREF_LOCK_{words[0][2:].replace('-', '_').upper()}":
                wrong.add(f"{name} {words[0]} {variable}")
    assert (missing, wrong) == (set(), set())


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
