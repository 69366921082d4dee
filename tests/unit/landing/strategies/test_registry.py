"""The registry: from a rule's words to a strategy, also one that another package provides."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitref_lock.landing.strategies.base import Merged, RunRequest, StrategyFailed, StrategySpecError
from gitref_lock.landing.strategies.registry import BUILT_IN, strategy_for

_LOCAL = {"regenerate": "regenerate:make", "driver": "driver:mine"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_strategies_know_their_name(name: str) -> None:
    """Each strategy reports the name by which it was asked for; only those with commands are bound to a machine."""
    strategy = strategy_for(_LOCAL.get(name, name))

    assert strategy.name == name
    assert strategy.is_declarative == (name not in _LOCAL)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("magic", "unknown strategy 'magic' (known: text, ours, theirs, union, fail, json, lines, yaml, toml,"),
        ("", "unknown strategy ''"),
        ("text:x", "strategy 'text': unknown option 'x' (known: none)"),
        ("json:x=1", "strategy 'json': unknown option 'x' (known: arrays, numbers)"),
        ("lines:key=", "strategy 'lines': key is the name of a JSON field or CSV column"),
        ("regenerate: ", "strategy 'regenerate': say which command"),
        ("driver", "strategy 'driver': say which driver"),
    ],
)
def test_bad_specs_say_what_is_wrong(spec: str, words: str) -> None:
    """The error names the strategy, the option, and what is known."""
    with pytest.raises(StrategySpecError) as caught:
        strategy_for(spec)
    assert str(caught.value).startswith(words)


def test_a_command_keeps_its_colons_and_commas() -> None:
    """Everything after the first colon is the command."""
    requests: list[RunRequest] = []

    def run(request: RunRequest) -> Merged | StrategyFailed:
        requests.append(request)
        return StrategyFailed("no")

    strategy_for("driver:a:b,c=d", run).merge(b"f", b"1", b"2", b"3")

    assert [(request.kind, request.command, request.tree) for request in requests] == [("driver", "a:b,c=d", None)]


def test_a_driver_is_not_asked_about_deletions() -> None:
    """git runs no driver where one side deleted the file, and neither do we."""
    answer = strategy_for("driver:mine").merge(b"f", b"1", None, b"3")

    assert answer == StrategyFailed("deleted on one side, changed on the other")


@pytest.fixture
def provided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with a strategy of its own, as its metadata on the path."""
    info = tmp_path / "longest_strategy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: longest-strategy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gitref_lock.strategies]\nlongest = longest_strategy:make\n")
    (tmp_path / "longest_strategy.py").write_text(
        "from gitref_lock.landing.strategies.base import Merged\n"
        "class Longest:\n"
        "    name = 'longest'\n"
        "    is_declarative = False\n"
        "    def __init__(self, options):\n"
        "        self.options = options\n"
        "    def merge(self, path, base, ours, theirs):\n"
        "        return Merged(max(ours, theirs, key=len))\n"
        "def make(options):\n"
        "    return Longest(options)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("longest_strategy", None)


@pytest.mark.usefixtures("provided")
def test_another_package_may_provide_a_strategy() -> None:
    """An entry point is found by its name, receives its options, and is listed among the known."""
    strategy = strategy_for("longest:a=1")

    assert strategy.merge(b"f", b"", b"long", b"s") == Merged(b"long")
    assert vars(strategy) == {"options": "a=1"}
    with pytest.raises(StrategySpecError, match="driver, longest"):
        strategy_for("magic")
