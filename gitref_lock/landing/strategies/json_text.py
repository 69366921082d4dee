"""JSON as text: every value with its place, so that a merge changes only the text of what it changes.

Numbers keep their digits, keys their order, and lines their layout; a document is never written anew. RFC 8259, without
the liberties that some parsers take: no comments, no trailing commas, no NaN, no key twice in one object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from dataclasses import dataclass

from gitref_lock.landing.strategies.values import CannotMergeError, Kind, Node, Values

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_DECODER = json.JSONDecoder()
_MAX_DEPTH = 100
_MAX_INDENT = 16
MAX_GAP = 100
"""Wider indents and gaps are nobody's layout: repeated for each new item they would make gigabytes of kilobytes."""

_MAX_GROWTH = 32
_ROOM = 256
_BOM = "\ufeff"


@dataclass(slots=True)
class Span:
    """Where a value stands in its document, from ``start`` up to ``end``; ``key_start`` is where its key begins."""

    document: Document
    start: int
    end: int
    key_start: int = -1

    @property
    def raw(self) -> str:
        """The value as written."""
        return self.document.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Style:
    """How a document is laid out.

    ``newline`` and ``indent`` are None in a document on one line. ``is_ascii`` tells whether other characters are
    written as escapes; None when there are none.
    """

    newline: str | None
    indent: str | None
    item_separator: str
    key_separator: str
    is_ascii: bool | None

    def suits(self, other: Style) -> bool:
        """Tell whether text in this style can stand in a document of the ``other`` style."""
        is_same_ascii = self.is_ascii is None or other.is_ascii is None or self.is_ascii == other.is_ascii
        same = (self.newline, self.indent, self.key_separator) == (other.newline, other.indent, other.key_separator)
        return same and is_same_ascii

    def gap(self, depth: int) -> str:
        """Return what stands before an item of a container at ``depth`` (0: the root)."""
        return "" if self.newline is None else self.newline + (self.indent or "") * depth


class Document:
    """A parsed document: ``text`` (without a byte order mark), ``root``, and ``style``."""

    def __init__(self, data: bytes, values: Values) -> None:
        """Parse ``data``; raise CannotMergeError unless it is valid JSON in UTF-8."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CannotMergeError(f"not UTF-8 at byte {error.start}") from None
        self.has_bom = text.startswith(_BOM)
        self.text = text.removeprefix(_BOM)
        self._values = values
        self.root = self._value(self._skip(0), 0)
        end = self._skip(span_of(self.root).end)
        if end != len(self.text):
            raise self._fault(end)
        self.style = self._detect_style()

    def _fault(self, index: int) -> CannotMergeError:
        line = self.text.count("\n", 0, index) + 1
        return CannotMergeError(f"not valid JSON at line {line}")

    def _skip(self, index: int) -> int:
        match = _SPACE.match(self.text, index)
        return index if match is None else match.end()

    def _value(self, start: int, depth: int) -> Node:
        """Parse the value that begins at ``start``."""
        if depth > _MAX_DEPTH:
            raise CannotMergeError(f"nested deeper than {_MAX_DEPTH}")
        char = self.text[start : start + 1]
        if char == "{":
            return self._object(start, depth)
        if char == "[":
            return self._array(start, depth)
        if char == '"':
            value, end = self._string(start)
            return self._values.scalar(value, Span(self, start, end))
        for word, constant in _WORDS.items():
            if self.text.startswith(word, start):
                return self._values.scalar(constant, Span(self, start, start + len(word)))
        match = _NUMBER.match(self.text, start)
        if match is None:
            raise self._fault(start)
        return self._values.number(match[0], Span(self, start, match.end()))

    def _string(self, start: int) -> tuple[str, int]:
        if self.text[start : start + 1] != '"':
            raise self._fault(start)
        try:
            value, end = _DECODER.raw_decode(self.text, start)
        except json.JSONDecodeError:
            raise self._fault(start) from None
        return str(value), end

    def _object(self, start: int, depth: int) -> Node:
        members: dict[Hashable, Node] = {}
        index = self._skip(start + 1)
        is_open = self.text[index : index + 1] != "}"
        while is_open:
            key, end = self._string(index)
            colon = self._skip(end)
            if self.text[colon : colon + 1] != ":":
                raise self._fault(colon)
            if key in members:
                raise CannotMergeError(f"key {key[:60]!r} stands twice in one object")
            member = self._value(self._skip(colon + 1), depth + 1)
            span_of(member).key_start = index
            members[key] = member
            index, is_open = self._next(span_of(member).end, "}")
        return self._values.map(members, Span(self, start, index + 1))

    def _array(self, start: int, depth: int) -> Node:
        items: list[Node] = []
        index = self._skip(start + 1)
        is_open = self.text[index : index + 1] != "]"
        while is_open:
            items.append(self._value(index, depth + 1))
            index, is_open = self._next(span_of(items[-1]).end, "]")
        return self._values.list(items, Span(self, start, index + 1))

    def _next(self, end: int, closing: str) -> tuple[int, bool]:
        """Return where the next item begins and True, or where the closing bracket stands and False."""
        index = self._skip(end)
        char = self.text[index : index + 1]
        if char == ",":
            return self._skip(index + 1), True
        if char == closing:
            return index, False
        raise self._fault(index)

    def _detect_style(self) -> Style:
        """Read the layout off the root and the first places that show it."""
        newline = indent = None
        children = children_of(self.root)
        colon = re.search(r'"[ \t]*:[ \t]*(?=\S)', self.text)
        item_separator = "," if colon and colon[0] == '":' else ", "
        if children:
            first = span_of(children[0])
            lead = self.text[span_of(self.root).start + 1 : start_of(children[0])]
            if "\n" in lead:
                newline = "\r\n" if "\r\n" in lead else "\n"
                indent = lead.rpartition("\n")[2][:_MAX_INDENT]
            if len(children) > 1 and start_of(children[1]) - first.end <= MAX_GAP:
                item_separator = self.text[first.end : start_of(children[1])]
        is_ascii = None if self.text.isascii() else False
        if is_ascii is None and re.search(r"\\u(?!00[01])", self.text):
            is_ascii = True
        key_separator = colon[0][1:] if colon and len(colon[0]) <= MAX_GAP else ": "
        return Style(newline, indent, item_separator, key_separator, is_ascii)


def span_of(node: Node) -> Span:
    """Return where a node stands."""
    assert isinstance(node.origin, Span)
    return node.origin


def start_of(node: Node) -> int:
    """Return where a node begins, its key included."""
    span = span_of(node)
    return span.start if span.key_start < 0 else span.key_start


def children_of(node: Node) -> list[Node]:
    """Return the members or items of a container, in the order of the document."""
    return list(node.members.values()) if node.kind is Kind.MAP else node.items


def is_multiplied(node: Node, style: Style, depth: int) -> bool:
    """Tell whether a value would be many times as large in ``style``: lines of a deep list of zeros are all indent."""
    span = span_of(node)
    return _spacing(node, style, depth) > _MAX_GROWTH * (span.end - span.start) + _ROOM


def _spacing(node: Node, style: Style, depth: int) -> int:
    """Return about how many characters ``write_anew`` puts between values."""
    children = children_of(node)
    if not children:
        return 0
    beside = len(style.key_separator) + len(style.item_separator)
    own = (len(children) + 1) * len(style.gap(depth + 1)) + len(children) * beside
    return own + sum(_spacing(child, style, depth + 1) for child in children)


def write_anew(node: Node, style: Style, depth: int) -> str:
    """Return a value in ``style``; numbers keep their digits."""
    raw = span_of(node).raw
    if node.kind in (Kind.MAP, Kind.LIST):
        brackets = "{}" if node.kind is Kind.MAP else "[]"
        if not children_of(node):
            return brackets
        lead, tail = style.gap(depth + 1), style.gap(depth)
        separator = style.item_separator if style.newline is None else "," + lead
        parts = [
            (write_key(child, style) if node.kind is Kind.MAP else "") + write_anew(child, style, depth + 1)
            for child in children_of(node)
        ]
        return brackets[0] + lead + separator.join(parts) + tail + brackets[1]
    if raw.startswith('"'):
        return _write_string(json.loads(raw), style)
    return raw


def write_key(node: Node, style: Style) -> str:
    """Return the key of a member and the separator after it, in ``style``."""
    span = span_of(node)
    key, _end = _DECODER.raw_decode(span.document.text, span.key_start)
    return _write_string(str(key), style) + style.key_separator


def _write_string(text: str, style: Style) -> str:
    """Write a string; what UTF-8 cannot hold is always escaped."""
    is_ascii = bool(style.is_ascii) or any("\ud800" <= char <= "\udfff" for char in text)
    return json.dumps(text, ensure_ascii=is_ascii)
