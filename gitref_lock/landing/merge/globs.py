"""Path globs of merge rules, in gitignore(5)'s spirit: the whole path is matched, as bytes.

``*`` and ``?`` stop at a slash; ``**`` as a whole part spans any number of parts, none included; ``[abc]``, ``[a-z]``
and ``[!a]`` match one byte that is no slash; a backslash takes the next character literally. A glob without a slash
matches the last part of any path; one with a slash (a leading one is dropped) matches from the root. A glob that ends
in a slash or in ``/**`` matches everything below that directory.

A rule may come from a stranger's ticket, so matching takes at most the product of both lengths: only the last star is
ever tried again. Within a part this is a regular expression of atomic groups, since names have up to 4096 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_Token = frozenset[int] | None
"""What one byte of a part must be; None is a star."""

_Part = re.Pattern[bytes] | None
"""What one part of a path must be; None is ``**``."""

_ALL = frozenset(range(256))
_ANY = _ALL - {ord("/")}
_ANY_PART = re.compile(b".*", re.DOTALL)


class GlobError(ValueError):
    """A glob is malformed; the text says how."""


def matches(glob: str, path: bytes) -> bool:
    """Tell whether ``path`` (full, slash-separated) matches ``glob``; raise GlobError for a malformed glob."""
    wanted = compile_glob(glob)
    parts = path.split(b"/")
    if wanted[-1] is None:
        # A closing ** wants at least one part, or else dir/** would match a file called dir.
        wanted = (*wanted[:-1], _ANY_PART, None)
    return _fits(wanted, parts)


@lru_cache(maxsize=1024)
def compile_glob(glob: str) -> tuple[_Part, ...]:
    """Return the parts that a path must have; raise GlobError for an empty or malformed glob."""
    if not glob.strip("/"):
        raise GlobError(f"glob {glob!r} is empty")
    texts = glob.removeprefix("/").split("/")
    if texts[-1] == "":
        texts[-1] = "**"
    parts = [None if text == "**" else _compile_part(text, glob) for text in texts]
    if "/" not in glob.removesuffix("/") and parts[0] is not None:
        parts.insert(0, None)
    return tuple(parts)


def _fits(wanted: Sequence[_Part], parts: Sequence[bytes]) -> bool:
    """Match ``parts`` against ``wanted``, where None stands for any number of parts."""
    at = place = 0
    star, resume = -1, 0
    while at < len(parts):
        part = wanted[place] if place < len(wanted) else None
        if part is not None and part.fullmatch(parts[at]) is not None:
            place += 1
            at += 1
        elif part is None and place < len(wanted):
            star, resume = place, at
            place += 1
        elif star >= 0:
            resume += 1
            at, place = resume, star + 1
        else:
            return False
    return all(rest is None for rest in wanted[place:])


def _compile_part(part: str, glob: str) -> re.Pattern[bytes]:
    """Translate one part, which holds no slash."""
    text = part.encode("utf-8", "surrogateescape")
    made: list[_Token] = []
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if char == ord("*"):
            if not made or made[-1] is not None:
                made.append(None)
        elif char == ord("?"):
            made.append(_ANY)
        elif char == ord("["):
            # A bracket right after the opening one, or after the negation, is a member.
            end = text.find(b"]", index + (2 if text[index : index + 1] in (b"!", b"^") else 1))
            if end < 0:
                raise GlobError(f"glob {glob!r}: a [ is never closed")
            made.append(_members(text[index:end]))
            index = end + 1
        elif char == ord("\\"):
            if index == len(text):
                raise GlobError(f"glob {glob!r}: nothing follows the last backslash")
            made.append(frozenset({text[index]}))
            index += 1
        else:
            made.append(frozenset({char}))
    return re.compile(_expression(made), re.DOTALL)


def _expression(tokens: Sequence[_Token]) -> bytes:
    """Write tokens as an expression in which the shortest match of each star but the last is final.

    What stands between two stars has a fixed length, so that an earlier match of it never forbids a later one.
    """
    first, *others = _runs(tokens)
    if not others:
        return first
    return first + b"".join(b"(?>.*?%b)" % run for run in others[:-1]) + b".*" + others[-1]


def _runs(tokens: Sequence[_Token]) -> list[bytes]:
    """Return the expressions between the stars."""
    runs = [b""]
    for token in tokens:
        if token is None:
            runs.append(b"")
        else:
            runs[-1] += _byte(token)
    return runs


def _byte(token: frozenset[int]) -> bytes:
    """Write what one byte must be."""
    if len(token) == 1:
        return re.escape(bytes(token))
    if not token:
        return b"(?!)"
    negated = len(token) > 128
    members = _ALL - token if negated else token
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(b"\\x%02x" % byte for byte in sorted(members)))


def _members(body: bytes) -> frozenset[int]:
    """Return the bytes that the inside of a bracket stands for."""
    is_negated = body[:1] in (b"!", b"^")
    body = body[1:] if is_negated else body
    found: set[int] = set()
    index = 0
    while index < len(body):
        if body[index + 1 : index + 2] == b"-" and index + 2 < len(body):
            found.update(range(body[index], body[index + 2] + 1))
            index += 3
        else:
            found.add(body[index])
            index += 1
    return _ANY - found if is_negated else _ANY & found
