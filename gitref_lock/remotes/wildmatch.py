"""Git's path patterns as regular expressions: ``*`` stays within a folder, ``**`` crosses folders.

Used for the conditions of ``includeIf``. The rules are those of gitignore(5) and git-config(1); a slash is matched only
by ``**`` and by itself, never by ``?``, ``*`` or a bracket expression.
"""

from __future__ import annotations

import re
from functools import lru_cache

_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Tell whether the whole of ``text`` matches; a pattern that cannot be read (an open bracket) matches nothing."""
    compiled = _compile(pattern, ignore_case)
    return compiled is not None and compiled.fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compile(pattern: str, ignore_case: bool) -> re.Pattern[str] | None:  # noqa: FBT001 - part of the cache key
    """Translate once; None when the pattern is malformed."""
    source = _translate(pattern)
    if source is None:
        return None
    try:
        return re.compile(source, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    except re.error:  # a reversed range such as [z-a]
        return None


def _translate(pattern: str) -> str | None:
    """Return the regular expression for one pattern, None when a bracket or an escape is left open."""
    out: list[str] = []
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at]
        if char == "*":
            stop = at
            while stop < end and pattern[stop] == "*":
                stop += 1
            is_whole = (at == 0 or pattern[at - 1] == "/") and (stop == end or pattern[stop] == "/")
            if stop - at >= 2 and is_whole:
                if stop == end:
                    out.append(".*")
                else:
                    out.append("(?:.*/)?")
                    stop += 1
            else:
                out.append("[^/]*")
            at = stop
        elif char == "?":
            out.append("[^/]")
            at += 1
        elif char == "[":
            bracket = _bracket(pattern, at)
            if bracket is None:
                return None
            source, at = bracket
            out.append(source)
        elif char == "\\":
            if at + 1 == end:
                return None
            out.append(re.escape(pattern[at + 1]))
            at += 2
        else:
            out.append(re.escape(char))
            at += 1
    return "".join(out)


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """Translate the bracket expression at ``start``; return it and the position behind it, None when it is open."""
    at = start + 1
    negated = pattern[at : at + 1] in {"!", "^"}
    at += negated
    first = at
    out: list[str] = []
    while at < len(pattern):
        char = pattern[at]
        if char == "]" and at > first:
            body = "".join(out)
            return f"(?!/)[{'^' if negated else ''}{body}]", at + 1
        if pattern.startswith("[:", at) and (close := pattern.find(":]", at)) > 0:
            named = _POSIX_CLASSES.get(pattern[at + 2 : close])
            if named is None:
                return None
            out.append(named)
            at = close + 2
            continue
        if char == "\\":
            at += 1
            if at == len(pattern):
                return None
            char = pattern[at]
        is_range_dash = char == "-" and pattern[at - 1] != "\\" and first < at and pattern[at + 1 : at + 2] != "]"
        out.append("-" if is_range_dash else re.escape(char))
        at += 1
    return None
