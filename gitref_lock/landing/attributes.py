"""Attributes of a path, macros included (gitattributes(5)).

Read from the work tree first and from the index where the file is absent, as git does when it adds. All of git's
places count: system, user, each folder's .gitattributes, info/attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.ignore import read_plain, user_file
from gitref_lock.landing.index_file import IndexFile
from gitref_lock.landing.patterns import PathPattern, path_pattern
from gitref_lock.landing.worktree import WorkTree

Value = bytes | bool | None
"""True set, False unset, bytes a value, None explicitly unspecified."""

_BLANK = b" \t\r\n"
_MAX_LINE = 2048
_SYSTEM_FILE = Path("/etc/gitattributes")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


class Rule(NamedTuple):
    """One line: a pattern, or a macro's name, with its attributes in the order written."""

    pattern: PathPattern | None
    macro: bytes | None
    values: tuple[tuple[bytes, Value], ...]


def _unquote(line: bytes) -> tuple[bytes, bytes] | None:
    """Split a line that begins with a C-quoted pattern; None when the quoting is broken."""
    out = bytearray()
    at = 1
    while at < len(line):
        char = line[at : at + 1]
        if char == b'"':
            return bytes(out), line[at + 1 :]
        if char == b"\\":
            digits = line[at + 1 : at + 4]
            if len(digits) == 3 and all(48 <= digit <= 55 for digit in digits):
                out.append(int(digits, 8) & 0xFF)
                at += 4
                continue
            escaped = line[at + 1 : at + 2]
            out += _ESCAPES.get(escaped, escaped)
            at += 2
            continue
        out += char
        at += 1
    return None


def _value(token: bytes) -> tuple[bytes, Value]:
    if token.startswith(b"-"):
        return token[1:], False
    if token.startswith(b"!"):
        return token[1:], None
    name, equals, value = token.partition(b"=")
    return name, (value if equals else True)


def parse_rules(content: bytes, base: bytes, *, macros_allowed: bool) -> tuple[Rule, ...]:
    """Return the rules of one attributes file in folder ``base``, weakest first."""
    rules = []
    for raw_line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = raw_line.strip(_BLANK)
        if not line or line.startswith(b"#") or len(raw_line) >= _MAX_LINE:
            continue
        quoted = _unquote(line) if line.startswith(b'"') else None
        if quoted is not None:
            pattern, rest = quoted
        else:
            pattern, _, rest = line.replace(b"\t", b" ").partition(b" ")
        values = tuple(_value(token) for token in rest.split())
        if quoted is None and pattern.startswith(b"[attr]"):
            if macros_allowed:
                rules.append(Rule(None, pattern[6:] or (rest.split() or [b""])[0], values))
        elif not pattern.startswith(b"!"):  # git ignores negative patterns here
            rules.append(Rule(path_pattern(pattern, base), None, values))
    return tuple(rules)


_BUILT_IN = (Rule(None, b"binary", ((b"diff", False), (b"merge", False), (b"text", False))),)


class Attributes:
    """The attributes of one checkout's paths."""

    def __init__(
        self,
        checkout: Checkout,
        index: IndexFile,
        tree: WorkTree,
        overlay: Mapping[bytes, bytes | None] | None = None,
    ) -> None:
        """Read the rules that hold everywhere.

        ``overlay`` holds the content of .gitattributes files that are about to change (None: about to go).
        """
        self._overlay = overlay or {}
        self._checkout = checkout
        self._index = index
        self._tree = tree
        weakest: tuple[Rule, ...] = _BUILT_IN
        no_system = checkout.environ.get("GIT_ATTR_NOSYSTEM", "").lower() in {"1", "true", "yes", "on"}
        for path in (None if no_system else _SYSTEM_FILE, user_file(checkout, "attributesFile", "attributes")):
            if path is not None and path.is_file():
                weakest += parse_rules(path.read_bytes(), b"", macros_allowed=True)
        self._weakest = weakest
        info = read_plain(checkout.common_dir / "info" / "attributes")
        self._strongest = parse_rules(info, b"", macros_allowed=True) if info else ()
        self._folders: dict[bytes, tuple[Rule, ...]] = {}
        self._macros: dict[bytes, tuple[tuple[bytes, Value], ...]] | None = None

    def _folder_rules(self, folder: bytes) -> tuple[Rule, ...]:
        known = self._folders.get(folder)
        if known is None:
            content = self.content(folder)
            base = folder + b"/" if folder else b""
            known = parse_rules(content, base, macros_allowed=not folder) if content else ()
            self._folders[folder] = known
        return known

    def content(self, folder: bytes) -> bytes | None:
        """Return the .gitattributes file of ``folder``, None when there is none."""
        name = folder + b"/.gitattributes" if folder else b".gitattributes"
        if name in self._overlay:
            return self._overlay[name]
        content = read_plain(self._tree.full(name)) if self._tree.is_real_folder(folder) else None
        if content is None and not self._tree.lstat(name):
            entry = self._index.find(name)
            content = self._checkout.known_blob(entry.oid) if entry is not None and not entry.stage else None
        return content

    def _strongest_first(self, path: bytes) -> Iterator[Rule]:
        yield from reversed(self._strongest)
        folder = path
        while folder:
            folder = folder.rpartition(b"/")[0]
            yield from reversed(self._folder_rules(folder))
        yield from reversed(self._weakest)

    def _macro(self, name: bytes) -> tuple[tuple[bytes, Value], ...]:
        if self._macros is None:
            self._macros = {}
            for rule in self._strongest_first(b"x"):
                if rule.macro is not None:
                    self._macros.setdefault(rule.macro, rule.values)
        return self._macros.get(name, ())

    def of(self, path: bytes) -> Mapping[bytes, Value]:
        """Return the attributes of a file; one that is unspecified is absent."""
        found: dict[bytes, Value] = {}

        def fill(values: tuple[tuple[bytes, Value], ...]) -> None:
            pending = [reversed(values)]  # no recursion: a file may define a macro of a macro of a thousand macros
            while pending:
                for name, value in pending[-1]:
                    if name not in found:
                        found[name] = value
                        if value is True:
                            pending.append(reversed(self._macro(name)))
                            break
                else:
                    pending.pop()

        for rule in self._strongest_first(path):
            if rule.pattern is not None and rule.pattern.matches(path, is_folder=False):
                fill(rule.values)
        return {name: value for name, value in found.items() if value is not None}
