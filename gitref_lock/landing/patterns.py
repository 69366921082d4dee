"""The pattern language that .gitignore, .gitattributes and sparse-checkout files share (gitignore(5))."""

from __future__ import annotations

import re

from dulwich.wildmatch import MalformedPattern, translate

from gitref_lock.core.lean import dataclass

_WILD = re.compile(rb"[*?\[\\]")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_FOLDERS = frozenset({b"(?:[^/]+/)*", b"(?:.*/)??"})
_STAR = b"[^/]*"
_PIECE = re.compile(
    rb"\(\?:\[\^/\]\+/\)\*|\(\?:\.\*/\)\?\?|\[\^/\][*+]|\.\*|\(\?!\)|\\.|\[(?:\\.|[^\]\\])*\]|.", re.DOTALL
)
"""The pieces that translated patterns are made of: ``**`` and its folders, stars, brackets, escapes, single bytes."""


@dataclass(frozen=True, slots=True)
class PathPattern:
    """One pattern of a file that lies in folder ``base`` (empty, or ending in a slash)."""

    base: bytes
    is_negative: bool
    is_folder_only: bool
    is_basename: bool
    literal: bytes | None
    regex: re.Pattern[bytes] | None

    def matches(self, path: bytes, *, is_folder: bool) -> bool:
        """Tell whether the pattern itself matches ``path``, which is relative to the root."""
        if self.is_folder_only and not is_folder:
            return False
        if not path.startswith(self.base):
            return False
        subject = path.rpartition(b"/")[2] if self.is_basename else path[len(self.base) :]
        if self.literal is not None:
            return subject == self.literal
        return self.regex is not None and self.regex.fullmatch(subject) is not None


def _plain_slash(match: re.Match[bytes]) -> bytes:
    """Drop the backslash before a slash: it means the slash itself, and translating splits at slashes first."""
    return b"/" if match[1] == b"/" else match[0]


def path_pattern(text: bytes, base: bytes) -> PathPattern:
    """Compile one pattern; a malformed one matches nothing, as in git."""
    is_negative = text.startswith(b"!")
    if is_negative:
        text = text[1:]
    is_folder_only = text.endswith(b"/")
    if is_folder_only:
        text = text[:-1]
    is_basename = b"/" not in text
    text = text.removeprefix(b"/")
    if not _WILD.search(text):
        return PathPattern(base, is_negative, is_folder_only, is_basename, text, None)
    trailing = len(text) - len(text.rstrip(b"\\"))
    regex: re.Pattern[bytes] | None = None
    if trailing % 2 == 0:  # git never matches a pattern that ends in a lone backslash
        try:
            regex = re.compile(_decided(translate(_ESCAPED.sub(_plain_slash, text))), re.DOTALL)
        except MalformedPattern:
            regex = None
    return PathPattern(base, is_negative, is_folder_only, is_basename, None, regex)


def _decided(expression: bytes) -> bytes:
    """Return a translated pattern in which only the last star and the last ``**`` are ever tried again.

    What stands between two stars has a fixed length, so that its first place is as good as any later one; the same
    holds for the folders between two ``**``. As translated, a pattern of ten stars in somebody's .gitattributes would
    keep a command busy for hours.
    """
    groups: list[list[bytes]] = [[b""]]
    for piece in _PIECE.findall(expression):
        if piece in _FOLDERS:
            groups.append([b""])
        elif piece == _STAR:
            groups[-1].append(b"")
        else:
            groups[-1][-1] += piece
    made = [_final(runs) for runs in groups[:-1]]
    first, *others = groups[-1]
    made.append(_final([first, *others[:-1]]) + b"".join(_STAR + run for run in others[-1:]))
    head, *inner = made
    if not inner:
        return head
    return head + b"".join(b"(?>(?:[^/]++/)*?%b)" % one for one in inner[:-1]) + b"(?:[^/]++/)*?" + inner[-1]


def _final(runs: list[bytes]) -> bytes:
    """Return runs with stars between them; each is matched at its first place."""
    return runs[0] + b"".join(b"(?>[^/]*?%b)" % run for run in runs[1:])


def _without_trailing_spaces(line: bytes) -> bytes:
    """Drop trailing spaces unless a backslash keeps them."""
    end = len(line)
    while end and line[end - 1 : end] == b" ":
        slashes = len(line[: end - 1]) - len(line[: end - 1].rstrip(b"\\"))
        if slashes % 2:
            break
        end -= 1
    return line[:end]


def pattern_lines(content: bytes, base: bytes) -> tuple[PathPattern, ...]:
    """Return the patterns of an ignore or sparse-checkout file, weakest first."""
    found = []
    for raw_line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = _without_trailing_spaces(raw_line.removesuffix(b"\r"))
        if not line or line.startswith(b"#"):
            continue
        found.append(path_pattern(line, base))
    return tuple(found)


def last_match(patterns: tuple[PathPattern, ...], path: bytes, *, is_folder: bool) -> PathPattern | None:
    """Return the strongest pattern that matches, None when none does."""
    for pattern in reversed(patterns):
        if pattern.matches(path, is_folder=is_folder):
            return pattern
    return None
