"""``yaml``: documents merge by key as ``json`` does; comments and layout are kept by ruamel.yaml.

A file whose layout that library cannot reproduce to the byte fails instead of being written anew, and so does one with
anchors, aliases, tags or several documents: a merge by key could change what they refer to.
"""

from __future__ import annotations

import io
from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass, field

from gitref_lock.landing.strategies.base import Merged, StrategyFailed, StrategySpecError
from gitref_lock.landing.strategies.live_documents import Format, merge_documents
from gitref_lock.landing.strategies.structure import Options
from gitref_lock.landing.strategies.values import CannotMergeError, Node, Values

try:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.tokens import (
        AliasToken,
        AnchorToken,
        DocumentStartToken,
        FlowMappingEndToken,
        FlowMappingStartToken,
        FlowSequenceEndToken,
        FlowSequenceStartToken,
        TagToken,
    )
except ImportError as error:
    raise StrategySpecError("strategy 'yaml' needs ruamel.yaml: install gitref-lock[formats]") from error

_LAYOUTS = ((2, 2, 0), (2, 4, 2), (4, 4, 2), (4, 4, 0), (4, 6, 4), (4, 2, 0), (3, 3, 0), (8, 8, 0))
"""Indents of maps, of lists, and of the dash, in the order tried."""

_MAX_DEPTH = 100
_MAX_BRACKETS = 20
"""Brackets within each other: at each token the library looks at all that are open."""


@dataclass(frozen=True, slots=True)
class Yaml:
    """Three-way merge by key (docs/merge.md)."""

    options: Options = field(default_factory=Options)
    name: str = "yaml"
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


def from_options(options: str) -> Yaml:
    """Return the strategy for ``arrays=...,numbers=...``."""
    return Yaml(Options.parse("yaml", options))


def _parser(layout: tuple[int, int, int]) -> YAML:
    parser = YAML()
    parser.preserve_quotes = True
    parser.width = 1_000_000
    parser.indent(mapping=layout[0], sequence=layout[1], offset=layout[2])
    return parser


def _text_of(data: bytes) -> str:
    """Return the text with plain line ends; mixed ends could not be restored."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CannotMergeError(f"not UTF-8 at byte {error.start}") from None
    if "\r" in text and text.count("\r\n") != text.count("\n"):
        raise CannotMergeError("its line ends are mixed")
    return text.replace("\r\n", "\n")


def _read(data: bytes, values: Values) -> Node:
    text = _text_of(data)
    try:
        is_open = 0
        for token in YAML().scan(io.StringIO(text)):
            if isinstance(token, AliasToken | AnchorToken | TagToken):
                raise CannotMergeError("it has anchors, aliases or tags")
            is_open += isinstance(token, FlowMappingStartToken | FlowSequenceStartToken)
            is_open -= isinstance(token, FlowMappingEndToken | FlowSequenceEndToken)
            if is_open > _MAX_BRACKETS:
                raise CannotMergeError(f"brackets are nested deeper than {_MAX_BRACKETS}")
        return _node(_parser(_LAYOUTS[0]).load(text), values, 0)
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}" if place is not None else ""
        raise CannotMergeError(f"not one valid YAML document{where}") from None


def _node(value: object, values: Values, depth: int) -> Node:
    """Return a value as a node."""
    if depth > _MAX_DEPTH:
        raise CannotMergeError(f"nested deeper than {_MAX_DEPTH}")
    if isinstance(value, CommentedMap):
        return values.map({key: _node(member, values, depth + 1) for key, member in value.items()}, value)
    if isinstance(value, CommentedSeq):
        return values.list([_node(item, values, depth + 1) for item in value], value)
    if isinstance(value, bool) or value is None:
        return values.scalar(value, value)
    if isinstance(value, int | float):
        return values.number(str(value), value)
    if isinstance(value, str):
        return values.scalar(str(value), value)
    if not isinstance(value, Hashable):
        raise CannotMergeError(f"it holds a value of an unknown kind ({type(value).__name__})")
    return values.scalar(value, value)


def _number(text: str) -> object:
    return YAML().load(text)


def _insert(container: MutableMapping[Hashable, object], index: int, key: Hashable, value: object) -> None:
    assert isinstance(container, CommentedMap)
    container.insert(index, key, value)


def _write(document: object, before: bytes) -> bytes:
    """Write the edited document in the layout that reproduces it as it was."""
    text = _text_of(before)
    starts = any(isinstance(token, DocumentStartToken) for token in YAML().scan(io.StringIO(text)))
    for layout in _LAYOUTS:
        parser = _parser(layout)
        parser.explicit_start = starts
        if _dump(parser, parser.load(text)).rstrip("\n") == text.rstrip("\n"):
            made = _dump(parser, document).rstrip("\n") + text[len(text.rstrip("\n")) :]
            return made.replace("\n", "\r\n").encode() if b"\r\n" in before else made.encode()
    raise CannotMergeError("its layout could not be kept")


def _dump(parser: YAML, document: object) -> str:
    buffer = io.StringIO()
    parser.dump(document, buffer)
    return buffer.getvalue()


_FORMAT = Format(_read, _number, _insert, _write, (YAMLError,))
