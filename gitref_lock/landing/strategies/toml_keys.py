"""``toml``: documents merge by key as ``json`` does; comments and layout are kept by tomlkit."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, MutableMapping
from dataclasses import dataclass, field

from gitref_lock.landing.strategies.base import Merged, StrategyFailed, StrategySpecError
from gitref_lock.landing.strategies.live_documents import Format, merge_documents
from gitref_lock.landing.strategies.structure import Options
from gitref_lock.landing.strategies.values import CannotMergeError, Node, Values

try:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import AoT, Array, Bool, Float, Integer, Item
except ImportError as error:
    raise StrategySpecError("strategy 'toml' needs tomlkit: install gitref-lock[formats]") from error


@dataclass(frozen=True, slots=True)
class Toml:
    """Three-way merge by key (docs/merge.md)."""

    options: Options = field(default_factory=Options)
    name: str = "toml"
    is_declarative: bool = True

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Merge the documents; what cannot be read or written back exactly fails."""
        return merge_documents(_FORMAT, self.options, base, ours, theirs)


def from_options(options: str) -> Toml:
    """Return the strategy for ``arrays=...,numbers=...``."""
    return Toml(Options.parse("toml", options))


_DOTTED_KEY = re.compile(rb"\.[^.=\n,{]*=")
_MAX_DOTTED_KEYS = 1000
"""The library looks at all of a table's dotted keys for each one more."""


def _read(data: bytes, values: Values) -> Node:
    if sum(1 for _ in _DOTTED_KEY.finditer(data)) > _MAX_DOTTED_KEYS:
        raise CannotMergeError(f"it has more than {_MAX_DOTTED_KEYS} dotted keys")
    try:
        return _node(tomlkit.parse(data.decode("utf-8")), values)
    except UnicodeDecodeError as error:
        raise CannotMergeError(f"not UTF-8 at byte {error.start}") from None
    except (TOMLKitError, RecursionError) as error:
        raise CannotMergeError(f"not valid TOML: {error}") from None


def _node(value: object, values: Values) -> Node:
    """Return a value as a node."""
    if isinstance(value, Mapping):
        return values.map({str(key): _node(member, values) for key, member in value.items()}, value)
    if isinstance(value, Array | AoT):
        return values.list([_node(item, values) for item in value], value)
    if isinstance(value, bool | Bool):
        return values.scalar(bool(value), value)
    if isinstance(value, Integer | Float):
        return values.number(value.as_string(), value)
    plain = value.unwrap() if isinstance(value, Item) else value
    if not isinstance(plain, Hashable):
        raise CannotMergeError(f"it holds a value of an unknown kind ({type(plain).__name__})")
    return values.scalar(plain, value)


def _number(text: str) -> object:
    return tomlkit.value(text)


def _insert(container: MutableMapping[Hashable, object], index: int, key: Hashable, value: object) -> None:  # noqa: ARG001 (tomlkit knows where a key or table may stand)
    container[key] = value


def _write(document: object, before: bytes) -> bytes:  # noqa: ARG001 (the document remembers its layout)
    assert isinstance(document, tomlkit.TOMLDocument)
    return tomlkit.dumps(document).encode()


_FORMAT = Format(_read, _number, _insert, _write, (TOMLKitError,))
