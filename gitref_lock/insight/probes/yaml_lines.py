"""A small, tolerant reader for workflow files: the part of YAML that people write there, with line numbers.

It never fails: what it does not understand (anchors, tags, exotic flow forms) stays text. A full YAML library would be
one more dependency for one check, and gives no lines to point at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitref_lock.core.lean import dataclass

_KEY = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#'"\[\]{},&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+(.*)|)$"""
)
_BLOCK = re.compile(r"[|>][-+0-9]*\s*(#.*)?$")
_MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line (from 1) on which it begins: text, a mapping or a list of nodes."""

    value: str | dict[str, Node] | list[Node]
    line: int

    @property
    def text(self) -> str:
        """The text; '' for a mapping or list."""
        return self.value if isinstance(self.value, str) else ""

    def get(self, *keys: str) -> Node | None:
        """Return the node at a path of keys, or None."""
        node: Node | None = self
        for key in keys:
            node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        return node

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield the entries of a mapping; none for anything else."""
        if isinstance(self.value, dict):
            yield from self.value.items()

    def __iter__(self) -> Iterator[Node]:
        """Yield the entries of a list; none for anything else."""
        if isinstance(self.value, list):
            yield from self.value


@dataclass(slots=True)
class _Line:
    indent: int
    text: str
    number: int


def parse(text: str) -> Node:
    """Return the document's root; an empty mapping for an empty document."""
    lines = []
    for number, raw in enumerate(text.replace("\t", "  ").splitlines(), 1):
        lines.append(_Line(len(raw) - len(raw.lstrip()), raw.strip(), number))
    reader = _Reader(lines)
    found = reader.node(0, 0)
    return found if found is not None else Node({}, 1)


class _Reader:
    """Walks over the lines once."""

    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.at = 0

    def peek(self) -> _Line | None:
        """Return the next line with content, skipping empty lines, comments and document marks."""
        while self.at < len(self.lines):
            text = self.lines[self.at].text
            if text and not text.startswith("#") and text != "---":
                return self.lines[self.at]
            self.at += 1
        return None

    def node(self, indent: int, depth: int) -> Node | None:
        """Read the value that begins at the next line, if that is indented by at least ``indent``."""
        line = self.peek()
        if line is None or line.indent < indent or depth > _MAX_DEPTH:
            return None
        if _is_item(line.text):
            return self.sequence(line.indent, depth)
        if _KEY.match(line.text):
            return self.mapping(line.indent, depth)
        self.at += 1
        return Node(self.scalar(line.text, line.indent), line.number)

    def sequence(self, indent: int, depth: int) -> Node:
        """Read the items at this indentation."""
        first = self.lines[self.at].number
        items: list[Node] = []
        while (line := self.peek()) is not None and line.indent == indent and _is_item(line.text):
            rest = line.text[1:].lstrip()
            if not rest or rest.startswith("#"):
                self.at += 1
                items.append(self.node(indent + 1, depth + 1) or Node("", line.number))
                continue
            if _BLOCK.match(rest):
                self.at += 1
                items.append(Node(self.block(indent), line.number))
                continue
            inner = indent + len(line.text) - len(rest)
            self.lines[self.at] = _Line(inner, rest, line.number)
            items.append(self.node(inner, depth + 1) or Node(rest, line.number))
        return Node(items, first)

    def mapping(self, indent: int, depth: int) -> Node:
        """Read the entries at this indentation."""
        first = self.lines[self.at].number
        entries: dict[str, Node] = {}
        while (line := self.peek()) is not None and line.indent == indent:
            match = _KEY.match(line.text)
            if match is None or _is_item(line.text):
                break
            self.at += 1
            entries[_unquoted(match[1])] = self.entry(match[2] or "", line, depth)
        if self.at < len(self.lines) and self.lines[self.at].indent >= indent and self.peek() is not None:
            stray = self.lines[self.at]
            if stray.indent > indent or not (_is_item(stray.text) or _KEY.match(stray.text)):
                self.at += 1  # not a shape that is known: leave it out and go on behind it
                more = self.node(indent, depth + 1)
                if more is not None and isinstance(more.value, dict):
                    entries.update(more.value)
        return Node(entries, first)

    def entry(self, rest: str, line: _Line, depth: int) -> Node:
        """Read the value behind a key."""
        if not rest or rest.startswith("#"):
            below = self.peek()
            lowest = line.indent if below is not None and _is_item(below.text) else line.indent + 1
            return self.node(lowest, depth + 1) or Node("", line.number)
        if _BLOCK.match(rest):
            return Node(self.block(line.indent), line.number)
        if rest[0] in "[{":
            return _flow(self.joined(rest), line.number)
        return Node(self.scalar(rest, line.indent), line.number)

    def block(self, indent: int) -> str:
        """Read the lines of a literal or folded text."""
        kept: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.text and line.indent <= indent:
                break
            kept.append(line.text)
            self.at += 1
        return "\n".join(kept).strip("\n")

    def joined(self, text: str) -> str:
        """Append lines until brackets are balanced."""
        parts = [_uncommented(text)]
        is_open = _depth(parts[0])
        while is_open > 0 and self.at < len(self.lines):
            parts.append(_uncommented(self.lines[self.at].text))
            is_open += _depth(parts[-1])
            self.at += 1
        return " ".join(parts)

    def scalar(self, text: str, indent: int) -> str:
        """Read a plain or quoted text with its deeper continuation lines."""
        text = _uncommented(text)
        while (line := self.peek()) is not None and line.indent > indent:
            text += " " + _uncommented(line.text)
            self.at += 1
        return _unquoted(text)


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _uncommented(text: str) -> str:
    """Cut a comment off, unless the text is quoted."""
    if text[:1] in {'"', "'"}:
        end = text.find(text[0], 1)
        rest = text[end + 1 :].strip()
        return text[: end + 1] if end > 0 and (not rest or rest.startswith("#")) else text
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _depth(text: str) -> int:
    """Return how many brackets a text leaves open."""
    return text.count("[") + text.count("{") - text.count("]") - text.count("}")


def _split(text: str) -> Iterator[str]:
    """Split at the commas outside brackets."""
    start = depth = 0
    for found in re.finditer(r"[\[{,\]}]", text):
        if found[0] != ",":
            depth += 1 if found[0] in "[{" else -1
        elif depth <= 0:
            yield text[start : found.start()]
            start = found.end()
    yield text[start:]


def _flow(text: str, line: int) -> Node:
    """Read a one-level ``{a: b}`` or ``[a, b]``."""
    inner = text.strip()[1:].rstrip().removesuffix("}").removesuffix("]")
    parts = [part.strip() for part in _split(inner) if part.strip()]
    if text.startswith("["):
        return Node([Node(_unquoted(part), line) for part in parts], line)
    pairs = (part.partition(":") for part in parts)
    return Node({_unquoted(key): Node(_unquoted(value), line) for key, _, value in pairs}, line)
