"""One git configuration file or parameter list as entries, read exactly as git reads it.

A reader of our own because every command needs it before its first request: it costs no import, keeps the order of
entries (URL matching and resets by empty values depend on it), and says file and line of a mistake.
Syntax: git-config(1), "Syntax"; parameters: git(1), ``-c`` and ``GIT_CONFIG_COUNT``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gitref_lock.errors import ConfigurationError

_SPACE = " \t\n\r"
_KEY_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_KEY = _KEY_START | frozenset("0123456789-")
_ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "\\": "\\", '"': '"'}


class RemoteConfigError(ConfigurationError):
    """Git's configuration, or what it says about a remote, cannot be used; nothing was sent.

    ``code`` is a stable word, ``message`` what was found, ``hint`` the next thing to try. No text holds a credential.
    Codes: ``bad-config``, ``not-a-repository``, ``unknown-remote``, ``no-remote``, ``bad-address``,
    ``unsupported-transport``, ``unsupported-proxy``, ``bad-header``.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        """Keep the parts."""
        super().__init__(message, code=code, hint=hint)


class RawEntry(NamedTuple):
    """One line of configuration: lower-case section and key, subsection as written, None for a key without ``=``."""

    section: str
    subsection: str | None
    key: str
    value: str | None


def bad_config(where: str, words: str) -> RemoteConfigError:
    """Return the error for configuration that git refuses as well."""
    return RemoteConfigError("bad-config", f"git configuration in {where}: {words}", "git config --list shows it too")


def split_name(name: str, where: str) -> tuple[str, str | None, str]:
    """Split ``section.sub.section.key`` at its first and last dot; lower-case what git compares without case."""
    section, dot, rest = name.partition(".")
    subsection, second, key = rest.rpartition(".")
    is_sound = dot and key and key[0] in _KEY_START and _KEY.issuperset(key) and _KEY.issuperset(section)
    if not is_sound or "\n" in subsection:
        raise bad_config(where, f"{name!r} is no name of a setting")
    return section.lower(), subsection if second else None, key.lower()


def parse_text(data: bytes, where: str) -> Iterator[RawEntry]:
    """Yield the entries of one file; raise RemoteConfigError naming ``where`` and the line of a mistake."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    return _Reader(text, where).entries()


class _Reader:
    """A cursor over one file's text; the end of the text reads as the end of a line."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text + "\n"
        self._at = 0
        self._where = where

    def entries(self) -> Iterator[RawEntry]:
        """Yield all entries in order."""
        section, subsection = "", None
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char in _SPACE:
                self._at += 1
            elif char in "#;":
                self._at = text.index("\n", self._at)
            elif char == "[":
                self._at += 1
                section, subsection = self._header()
            elif char in _KEY_START:
                key = self._word()
                yield RawEntry(section, subsection, key.lower(), self._value_after_key())
            else:
                raise self._error()

    def _error(self) -> RemoteConfigError:
        line = self._text.count("\n", 0, self._at) + 1
        return bad_config(self._where, f"line {line} cannot be read")

    def _word(self) -> str:
        start = self._at
        while self._text[self._at] in _KEY:
            self._at += 1
        return self._text[start : self._at]

    def _header(self) -> tuple[str, str | None]:
        """Read ``name]``, ``name "subsection"]`` or the old ``name.subsection]``, the bracket being behind us."""
        text, start = self._text, self._at
        while text[self._at] in _KEY or text[self._at] == ".":
            self._at += 1
        name = text[start : self._at].lower()
        if text[self._at] == "]":
            self._at += 1
            section, dot, old_style = name.partition(".")
            return section, old_style if dot else None
        if text[self._at] not in " \t\r":
            raise self._error()
        while text[self._at] in " \t\r":
            self._at += 1
        if text[self._at] != '"':
            raise self._error()
        self._at += 1
        quoted = self._subsection()
        section, dot, old_style = name.partition(".")
        return section, f"{old_style}.{quoted}" if dot else quoted

    def _subsection(self) -> str:
        """Read up to ``"]``; a backslash keeps the next character whatever it is."""
        out: list[str] = []
        while True:
            char = self._text[self._at]
            if char == "\\":
                self._at += 1
                char = self._text[self._at]
            elif char == '"':
                break
            if char == "\n":
                raise self._error()
            out.append(char)
            self._at += 1
        self._at += 1
        if self._text[self._at] != "]":
            raise self._error()
        self._at += 1
        return "".join(out)

    def _value_after_key(self) -> str | None:
        text = self._text
        while text[self._at] in " \t":
            self._at += 1
        if text[self._at] == "\n":
            return None
        if text[self._at] != "=":
            raise self._error()
        self._at += 1
        return self._value()

    def _value(self) -> str:
        """Read a value: quotes group, backslashes escape and join lines, space at both ends goes."""
        out: list[str] = []
        kept = 0  # how much of ``out`` stays when only white space follows
        is_quoted = False
        while True:
            char = self._text[self._at]
            if char == "\n":
                if is_quoted:
                    raise self._error()
                return "".join(out[:kept])
            self._at += 1
            if char in _SPACE and not is_quoted:
                if out:
                    out.append(char)
                continue
            if char in "#;" and not is_quoted:
                self._at = self._text.index("\n", self._at)
                continue
            if char == '"':
                is_quoted = not is_quoted
            elif char == "\\":
                escaped = self._text[self._at]
                if escaped != "\n" and escaped not in _ESCAPES:
                    raise self._error()
                self._at = min(self._at + 1, len(self._text) - 1)
                if escaped == "\n":  # a joined line adds nothing, but keeps the space before it
                    kept = len(out)
                    continue
                out.append(_ESCAPES[escaped])
            else:
                out.append(char)
            kept = len(out)


def parse_environment(environ: Mapping[str, str]) -> Iterator[RawEntry]:
    """Yield the settings given by ``GIT_CONFIG_COUNT`` and then those of ``git -c``, which override them."""
    count = environ.get("GIT_CONFIG_COUNT", "").strip()
    if count:
        if not (count.isascii() and count.isdigit() and len(count) < 10):
            raise bad_config("GIT_CONFIG_COUNT", f"{count!r} is no count")
        for index in range(int(count)):
            name, value = environ.get(f"GIT_CONFIG_KEY_{index}"), environ.get(f"GIT_CONFIG_VALUE_{index}")
            if name is None or value is None:
                raise bad_config("GIT_CONFIG_COUNT", f"key or value {index} is missing")
            yield RawEntry(*split_name(name, "GIT_CONFIG_COUNT"), value)
    yield from _parse_parameters(environ.get("GIT_CONFIG_PARAMETERS", ""))


def _parse_parameters(text: str) -> Iterator[RawEntry]:
    """Read ``'name'='value'`` and the older ``'name=value'``, each quoted for a shell, separated by space."""
    where = "GIT_CONFIG_PARAMETERS"
    at = 0
    while at < len(text):
        name, at = _unquote(text, at)
        value: str | None = None
        if at < len(text) and text[at] == "=":
            at += 1
            if at < len(text) and text[at] not in _SPACE:
                value, at = _unquote(text, at)
        else:
            name, equals, rest = name.partition("=")
            value = rest if equals else None
        if at < len(text) and text[at] not in _SPACE:
            raise bad_config(where, "its quoting is broken")
        yield RawEntry(*split_name(name.strip(), where), value)
        while at < len(text) and text[at] in _SPACE:
            at += 1


def _unquote(text: str, at: int) -> tuple[str, int]:
    """Read one word in single quotes, in which a quote or ``!`` stands as ``'\\''``; return it and where it ends."""
    out: list[str] = []
    while True:
        if text[at : at + 1] != "'":
            raise bad_config("GIT_CONFIG_PARAMETERS", "its quoting is broken")
        close = text.find("'", at + 1)
        if close < 0:
            raise bad_config("GIT_CONFIG_PARAMETERS", "its quoting is broken")
        out.append(text[at + 1 : close])
        at = close + 1
        if text[at : at + 1] == "\\" and text[at + 1 : at + 2] in {"'", "!"} and text[at + 2 : at + 3] == "'":
            out.append(text[at + 1])
            at += 2
            continue
        return "".join(out), at
