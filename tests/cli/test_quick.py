"""Plain command lines read at once mean exactly what the parser of options makes of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.cli import parser, quick
from gitref_lock.cli.app import COMMANDS, body_of
from gitref_lock.cli.command import shared
from gitref_lock.cli.quick import Parameter, parameters_of, values_of

VALUES = ("x", "5m", "7", "0", "-1", "", "1.5", "a=b", "true", "--json", "-", "--", "٣", "007", "9" * 12)
NAMES = sorted({name for name, entry in COMMANDS.items() if not entry.is_hidden})


class Recorder:
    """Stands for a run: what it would begin with, and what the command would get."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        self.values: dict[str, Any] = {}

    def begin(self, **values: Any) -> None:
        """Take the shared options."""
        self.values |= values


def recording(name: str) -> Callable[..., None]:
    """Return a command with the same options that only records them."""

    @wraps(body_of(name))
    def body(run: Recorder, **values: Any) -> None:
        run.values |= values

    return body


@cache
def application(name: str) -> Any:
    """Return the parser of options for one command."""
    return parser.build("gitref-lock", [(name, recording(name), False), ("other", recording("init"), False)])


@cache
def known(name: str) -> list[Parameter]:
    """Return a command's parameters."""
    return parameters_of(body_of(name), shared)


def by_typer(name: str, words: list[str], environ: dict[str, str]) -> dict[str, Any]:
    """Return the values that the parser of options reads."""
    run = Recorder()
    with patch.dict(os.environ, environ, clear=True):
        application(name)([name, *words], prog_name="gitref-lock", standalone_mode=False, obj=run)
    return run.values


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_what_is_read_at_once_is_what_typer_reads(data: st.DataObject) -> None:
    """On generated words and variables of every command: the same values, or left to typer."""
    name = data.draw(st.sampled_from(NAMES))
    options = [word for item in known(name) for names in item.declared.names for word in names.split("/")]
    variables = [item.declared.envvar for item in known(name) if item.declared.envvar]
    value = st.sampled_from(VALUES)
    option = st.sampled_from(options)
    piece = st.one_of(
        value.map(lambda word: [word]),
        option.map(lambda word: [word]),
        st.tuples(option, value).map(list),
        st.tuples(option, value).map(lambda pair: [f"{pair[0]}={pair[1]}"]),
        st.tuples(option, value).map(lambda pair: ["".join(pair)]),
    )
    words = [word for piece in data.draw(st.lists(piece, max_size=5)) for word in piece]
    environ = data.draw(st.dictionaries(st.sampled_from(variables), value, max_size=2)) if variables else {}
    read = values_of(known(name), words, environ)
    if read is not None:
        assert read == by_typer(name, words, environ), (name, words, environ)


@pytest.mark.parametrize(
    ("command", "line", "expected"),
    [
        ("acquire", "main -w 5m --json", {"names": ["main"], "wait": "5m", "as_json": True}),
        ("acquire", "a b -n -v -v", {"names": ["a", "b"], "nonblock": True, "verbose": 2}),
        ("acquire", "--ttl=5m --priority 3", {"names": None, "ttl": "5m", "priority": 3}),
        ("acquire", "--no-cancel-older -C dir", {"cancel_older": False, "directory": Path("dir")}),
        ("release", "main --if-held", {"names": ["main"], "if_held": True}),
        ("push", "-A -m one -m two -- -odd", {"take_all": True, "message": ["one", "two"], "paths": ["-odd"]}),
        ("history", "main -n 3", {"name": "main", "count": 3}),
    ],
)
def test_everyday_lines_are_read_at_once(command: str, line: str, expected: dict[str, Any]) -> None:
    """The lines that scripts hold need no parser of options, and read as it reads them."""
    read = values_of(known(command), line.split(), {"GITREF_LOCK_REMOTE": "upstream"})
    assert read is not None
    assert {key: read[key] for key in expected} == expected
    assert read["remote"] == "upstream"
    assert read == by_typer(command, line.split(), {"GITREF_LOCK_REMOTE": "upstream"})


@pytest.mark.parametrize("words", ["--help", "-h", "--bogus", "-vv", "--wait", "--wait -n", "--json=1", "--priority x"])
def test_everything_else_is_left_to_typer(words: str) -> None:
    """Help, unknown names, clusters, missing values and values of the wrong kind are explained by typer."""
    assert values_of(known("acquire"), words.split(), {}) is None


def test_a_variable_that_must_be_converted_is_left_to_typer() -> None:
    """What counts as true in a variable is typer's to say."""
    assert values_of(known("acquire"), [], {"GITREF_LOCK_JSON": "yes"}) is None
    assert values_of(known("acquire"), ["--json"], {"GITREF_LOCK_JSON": "yes"}) is not None


def test_every_command_has_at_most_one_argument() -> None:
    """With more, who gets which word would be for typer to decide."""
    for name in COMMANDS:
        assert sum(not item.declared.names for item in known(name)) <= 1, name
    assert quick.values_of(known("history"), ["a", "b"], {}) is None
