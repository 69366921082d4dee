"""Reads the words of a plain command line without the parser of options, whose import takes longer than the reading.

Only what is right beyond doubt is read: exact names, values that are what they must be. Everything else (help, a
mistake, a cluster of short options, an environment variable that needs converting) is left to typer, which then says
what is wrong. Whatever is read here is read as typer reads it; a test compares both on generated command lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from gitref_lock.cli.declare import Declared, settled
from gitref_lock.core.lean import dataclass

_NUMBER_DIGITS = 9


class _Doubt(Exception):  # noqa: N818 - not an error: the other parser goes on
    """These words are for typer."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command: ``kind`` is bool, int, str, Path or list."""

    name: str
    declared: Declared
    kind: type
    default: Any


def parameters_of(*functions: Callable[..., None]) -> list[Parameter]:
    """Return the declared parameters of a command's functions, in order."""
    found = []
    for function in functions:
        hints = get_type_hints(function, include_extras=True)
        for name, parameter in inspect.signature(function).parameters.items():
            if hasattr(hints[name], "__metadata__"):
                annotated, declared = get_args(hints[name])[:2]
                found.append(Parameter(name, declared, _kind(annotated), parameter.default))
    return found


def _kind(annotated: Any) -> type:  # noqa: ANN401 - any annotation
    if get_origin(annotated) in {Union, UnionType}:
        annotated = next(item for item in get_args(annotated) if item is not type(None))
    kind: type = get_origin(annotated) or annotated
    return kind


def values_of(
    parameters: Sequence[Parameter], words: Sequence[str], environ: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return the value of each parameter; None where typer must read the words."""
    try:
        given, rest = _sorted_out(parameters, words)
        values = {item.name: _value(item, given.get(item.name, []), environ) for item in parameters if _is_option(item)}
        arguments = [item for item in parameters if not _is_option(item)]
        told = {*given, *(item.name for item in arguments if rest)}
        values |= _arguments(arguments, rest)
        return settled(values, told, {item.name: item.default for item in parameters})
    except _Doubt:
        return None


def _is_option(item: Parameter) -> bool:
    return bool(item.declared.names)


def _sorted_out(parameters: Sequence[Parameter], words: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """Return the options' values in order, by parameter, and the words that are no options."""
    known: dict[str, tuple[Parameter, bool]] = {}
    for item in parameters:
        for name in item.declared.names:
            on, _, off = name.partition("/")
            known |= {on: (item, True)} | ({off: (item, False)} if off else {})
    given: dict[str, list[Any]] = {}
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            return given, [*rest, *queue]
        if not word.startswith("-"):
            rest.append(word)
            continue
        name, has_value, value = word.partition("=")
        if name not in known:
            raise _Doubt
        item, is_on = known[name]
        if item.kind is bool or item.declared.count:
            if has_value:
                raise _Doubt
            given.setdefault(item.name, []).append(is_on)
            continue
        if has_value and not name.startswith("--"):
            raise _Doubt
        if not has_value:
            if not queue or queue[0].startswith("-"):
                raise _Doubt
            value = queue.pop(0)
        given.setdefault(item.name, []).append(value)
    return given, rest


def _value(item: Parameter, given: list[Any], environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - of the option's kind
    """Return an option's value: from its words, else its variable, else its default."""
    if not given:
        told = environ.get(item.declared.envvar or "", "")
        if not told:
            if item.default is inspect.Parameter.empty:
                raise _Doubt
            return item.default
        if item.kind is not str:
            raise _Doubt
        given = [told]
    if item.kind is list:
        return given
    if item.declared.count:
        return len(given)
    if item.kind in {bool, str}:
        return given[-1]
    if item.kind is Path:
        return Path(given[-1])
    return _number(given[-1], item)


def _number(text: str, item: Parameter) -> int:
    if item.kind is not int or not (text.isascii() and text.isdigit()) or len(text) > _NUMBER_DIGITS:
        raise _Doubt
    if item.declared.min is not None and int(text) < item.declared.min:
        raise _Doubt
    return int(text)


def _arguments(parameters: Sequence[Parameter], words: list[str]) -> dict[str, Any]:
    """Return the arguments' values; a command has at most one."""
    if not parameters:
        if words:
            raise _Doubt
        return {}
    item, *more = parameters
    if more or (item.kind is not str and item.kind is not list) or "" in words:
        raise _Doubt
    if not words:
        if item.default is inspect.Parameter.empty or item.declared.envvar:
            raise _Doubt
        return {item.name: item.default}
    if item.kind is list:
        return {item.name: words}
    if len(words) > 1:
        raise _Doubt
    return {item.name: words[0]}
