"""Path globs of merge rules, in gitignore(5)'s spirit: the whole path is matched, as bytes.

``*`` and ``?`` stop at a slash; ``**`` as a whole part spans any number of parts, none included; ``[abc]``, ``[a-z]``
and ``[!a]`` match one byte that is no slash; a backslash takes the next character literally. A glob without a slash
matches the last part of any path; one with a slash (a leading one is dropped) matches from the root. A glob that ends
in a slash or in ``/**`` matches everything below that directory.

A rule may come from a stranger's ticket, so matching takes at most the product of both lengths: no regular expression,
only the last star is ever tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

_Item = TypeVar("_Item")
_Wanted = TypeVar("_Wanted")

_Token = frozenset[int] | None
"""What one byte of a part must be; None is a star."""

_Part = tuple[_Token, ...] | None
"""What one part of a path must be; None is ``**``."""

_ANY = frozenset(range(256)) - {ord("/")}


class GlobError(ValueError):
    """A glob is malformed; the text says how."""


def matches(glob: str, path: bytes) -> bool:
    """Tell whether ``path`` (full, slash-separated) matches ``glob``; raise GlobError for a malformed glob."""
    wanted = compile_glob(glob)
    parts = path.split(b"/")
    if wanted[-1] is None:
        # A closing ** wants at least one part, or else dir/** would match a file called dir.
        return any(_fits(wanted[:-1], parts[:end], _part_fits) for end in range(len(parts)))
    return _fits(wanted, parts, _part_fits)


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


def _part_fits(wanted: _Part, part: bytes) -> bool:
    return wanted is not None and _fits(wanted, part, _byte_fits)


def _byte_fits(wanted: _Token, byte: int) -> bool:
    return wanted is not None and byte in wanted


def _fits(
    wanted: Sequence[_Wanted | None], items: Sequence[_Item], one: Callable[[_Wanted | None, _Item], bool]
) -> bool:
    """Match ``items`` against ``wanted``, where None stands for any number of items."""
    at = place = 0
    star, resume = -1, 0
    while at < len(items):
        if place < len(wanted) and wanted[place] is None:
            star, resume = place, at
            place += 1
        elif place < len(wanted) and one(wanted[place], items[at]):
            place += 1
            at += 1
        elif star >= 0:
            resume += 1
            at, place = resume, star + 1
        else:
            return False
    return all(rest is None for rest in wanted[place:])


def _compile_part(part: str, glob: str) -> tuple[_Token, ...]:
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
    return tuple(made)


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
