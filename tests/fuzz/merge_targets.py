"""Three hostile versions of one file: a merge is a result or a refusal with its reason, and loses no side silently.

An input is a first line that chooses the options, then base, ours and theirs (docs/merge.md).
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable
from typing import Any

from gitref_lock.landing.merge.lines import Binary, Clean, merge_lines, split_lines
from gitref_lock.landing.strategies.base import Merged, StrategyFailed
from gitref_lock.landing.strategies.registry import strategy_for
from tests.fuzz.promise import hold, parts_of

_LOADED = [strategy_for(name) for name in ("text", "union", "json", "lines", "yaml", "toml")]
"""Strategies load on first use; the fuzzer watches only what is loaded with its target."""

GROWTH = 128
"""How many times larger than its inputs a merge may be: indentation is added, nothing else multiplies."""


def _inputs(data: bytes, specs: tuple[str, ...]) -> tuple[str, bytes | None, bytes, bytes]:
    """Return the strategy, and base (absent when it says so), ours and theirs."""
    head, base, ours, theirs = parts_of(data, 4)
    word = head.strip().decode("utf-8", "replace")
    spec = word if word in specs else specs[sum(head) % len(specs)]
    return spec, None if base == b"(absent)" else base, ours, theirs


def _merged(spec: str, path: bytes, base: bytes | None, ours: bytes, theirs: bytes) -> Merged | None:
    """Merge, and check what holds for every strategy; None for a refusal."""
    answer = strategy_for(spec).merge(path, base, ours, theirs)
    if isinstance(answer, StrategyFailed):
        hold(answer.reason and len(answer.reason) < 4000, "a refusal says why, briefly")
        return None
    size = len(base or b"") + len(ours) + len(theirs)
    hold(answer.content is not None and len(answer.content) <= GROWTH * size + 4096, "a merge is in proportion")
    hold(answer.is_complete is not bool(answer.detail) or not answer.is_complete, "nothing is complete and lost")
    if ours in (theirs, base):
        hold(answer.content == theirs, "a side that changed nothing yields")
    elif theirs == base:
        hold(answer.content == ours, "a side that changed nothing yields")
    return answer


def text(data: bytes) -> None:
    """Lines: clean or a conflict, never a marker, never a line that nobody wrote; union keeps every added line."""
    _, base, ours, theirs = _inputs(data, ("text",))
    old = base or b""
    outcome = merge_lines(old, ours, theirs)
    known = {line.rstrip(b"\n") for side in (old, ours, theirs) for line in split_lines(side)}
    if isinstance(outcome, Clean):
        made = [line.rstrip(b"\n") for line in split_lines(outcome.data)]
        hold(set(made) <= known, "every line of a clean merge was written by somebody")
        _check_counts(split_lines(old), split_lines(ours), split_lines(theirs), split_lines(outcome.data))
    elif not isinstance(outcome, Binary):
        shown = [part for part in outcome.parts if not isinstance(part, bytes)]
        hold(shown and all(part.ours != part.theirs for part in shown), "a conflict shows two sides that differ")
    if len(data) < 2000:
        plain = _merged("text", b"f.txt", base, ours, theirs)
        settled = ours in (theirs, base) or theirs == base
        hold(
            settled or (plain is not None) is isinstance(outcome, Clean), "text merges what is clean, and nothing else"
        )
    both = _merged("union", b"f.txt", base, ours, theirs)
    if both is not None and both.content is not None and base not in (ours, theirs) and ours != theirs:
        made = [line.rstrip(b"\n") for line in split_lines(both.content)]
        added = {line.rstrip(b"\n") for side in (ours, theirs) for line in split_lines(side)} - {
            line.rstrip(b"\n") for line in split_lines(old)
        }
        hold(added <= set(made), "union keeps every line that was added")


def _check_counts(old: list[bytes], ours: list[bytes], theirs: list[bytes], made: list[bytes]) -> None:
    """A line that only one side touched is there as often as that side left it."""
    counts = [Counter(side) for side in (old, ours, theirs, made)]
    for line in {*ours, *theirs, *old}:
        was, our, their, now = (count[line] for count in counts)
        hold(now <= our + their, "no line appears more often than both sides have it")
        if our == was == 0:
            hold(now == their, "what only theirs added is there as often as they added it")
        if their == was == 0:
            hold(now == our, "what only ours added is there as often as we added it")


def _parsed(data: bytes | None) -> Any:
    return json.loads((data or b"null").decode("utf-8-sig"), parse_int=_Digits, parse_float=_Digits)


class _Digits(str):
    """A number as it is written; any length."""

    __slots__ = ()


def json_keys(data: bytes) -> None:
    """JSON by key: the result is JSON, and no key that a side set is lost without its name."""
    specs = ("json", "json:arrays=id", "json:arrays=append,numbers=sum", "json:arrays=set,numbers=max")
    spec, base, ours, theirs = _inputs(data, specs)
    answer = _merged(spec, b"f.json", base, ours, theirs)
    if answer is None or ours in (theirs, base) or theirs == base:
        return
    made = _parsed(answer.content)
    if spec == "json":
        _check_keys(_parsed(base), _parsed(ours), _parsed(theirs), made, "", answer.detail)


def _check_keys(base: Any, ours: Any, theirs: Any, made: Any, place: str, lost: tuple[str, ...]) -> None:
    """Each key has the value of the side that changed it, or its pointer is named."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict) and isinstance(made, dict)):
        return
    old = base if isinstance(base, dict) else {}
    hold(set(made) <= {*ours, *theirs}, "no key that nobody has")
    for key in {*ours, *theirs}:
        pointer = f"{place}/{key.replace('~', '~0').replace('/', '~1')}"
        our, their, was = (_typed(side, key) for side in (ours, theirs, old))
        now = _typed(made, key)
        if our in (their, was):
            # A number that ours writes in another way is a change, which no reader of values sees.
            hold(now == their or (now == our and pointer in lost), f"what only theirs changed is theirs: {pointer}")
        elif their == was:
            hold(now == our or (now == their and pointer in lost), f"what only ours changed is ours: {pointer}")
        elif None in (our, their):
            hold(now == (our or their) and pointer in lost, f"a change wins over a deletion, by name: {pointer}")
        elif now != our:
            hold(pointer not in lost, f"what is named as lost is ours: {pointer}")
            _check_keys(old.get(key), ours[key], theirs[key], made[key], pointer, lost)


def _typed(side: dict[str, Any], key: str) -> str | None:
    """Return a value so that 1, "1" and true differ; None when it is absent."""
    return repr(_frozen(side[key])) if key in side else None


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return "map", sorted((key, repr(_frozen(item))) for key, item in value.items())
    if isinstance(value, list):
        return "list", [_frozen(item) for item in value]
    return type(value).__name__, value


def yaml(data: bytes) -> None:
    """YAML by key: a result that reads back, or a refusal."""
    _documents(data, "yaml", b"f.yaml")


def toml(data: bytes) -> None:
    """TOML by key: a result that reads back, or a refusal."""
    _documents(data, "toml", b"f.toml")


def _documents(data: bytes, name: str, path: bytes) -> None:
    specs = (name, f"{name}:arrays=id", f"{name}:arrays=append,numbers=sum", f"{name}:arrays=set,numbers=max")
    spec, base, ours, theirs = _inputs(data, specs)
    answer = _merged(spec, path, base, ours, theirs)
    if answer is not None and answer.content is not None and answer.content not in (ours, theirs):
        again = _merged(spec, path, answer.content, answer.content, theirs)
        hold(again is None or again.content == theirs, "a result is a version like any other")
        _merged(spec, path, theirs, answer.content, theirs + b"\n")
        if spec == "toml" and base not in (ours, theirs):
            _check_toml(base, ours, theirs, answer)


def _check_toml(base: bytes | None, ours: bytes, theirs: bytes, answer: Merged) -> None:
    """Another reader of TOML finds in the result what the sides have."""
    try:
        old, our, their = (tomllib.loads((side or b"").decode()) for side in (base, ours, theirs))
    except (ValueError, RecursionError):
        return
    made = tomllib.loads((answer.content or b"").decode())
    _check_keys(old, our, their, made, "", answer.detail)


def lines(data: bytes) -> None:
    """Records: every added one is there, by its key once; a refusal otherwise."""
    specs = ("lines", "lines:key=id", "lines:key=id,sort", "lines:sort", "lines csv", "lines:key=id csv")
    spec, base, ours, theirs = _inputs(data, specs)
    spec, _, is_csv = spec.partition(" ")
    answer = _merged(spec, b"f.csv" if is_csv else b"f.jsonl", base, ours, theirs)
    if answer is None or answer.content is None or is_csv or ours in (theirs, base) or theirs == base:
        return
    made, old, our, their = (Counter(_rows(side)) for side in (answer.content, base or b"", ours, theirs))
    if spec == "lines":
        for row in {*our, *their}:
            if our[row] >= old[row] and their[row] >= old[row]:
                hold(made[row] == max(our[row], their[row]), "a record that was added is there")
    for row in made:
        hold(row in our or row in their, "no record that nobody has")


def _rows(data: bytes) -> list[bytes]:
    return [row for line in split_lines(data) if (row := line.rstrip(b"\r\n"))]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "merge-text": text,
    "merge-json": json_keys,
    "merge-lines": lines,
    "merge-yaml": yaml,
    "merge-toml": toml,
}
