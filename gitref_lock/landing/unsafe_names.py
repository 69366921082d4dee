"""Names in a tree that no clone should check out: they lead out of the work tree, or into git's own folder.

A server that does not check objects accepts such trees from anybody who may push. Git refuses their paths when it
writes an index (git-fsck(1): ``hasDot``, ``hasDotdot``, ``hasDotgit``, ``fullPathname``, ``emptyName``); all that
writes files here by the names of a tree asks this module first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DOTGIT = re.compile(rb"(?:\.git|git~1)[. ]*(?:\Z|[\\:])", re.IGNORECASE)
_MODULES = re.compile(
    rb"(?:\.gitmodules|gitmod~[1-4]|g(?:i(?:7(?:e(?:ba?)?)?)?)?~[1-9]\d*)[. ]*(?:\Z|[\\:])", re.IGNORECASE
)
_INVISIBLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_PERHAPS = re.compile(rb"(?:\A|/)(?:[.gG/]|\Z)|[\\\x80-\xff]")
"""What every unsafe path shows somewhere: most paths need no closer look."""

_LINK = 0o120000


def is_dotgit(name: bytes) -> bool:
    """Tell whether some file system takes ``name`` for git's own folder."""
    return any(_DOTGIT.match(part) for part in spellings(name))


def is_gitmodules(name: bytes) -> bool:
    """Tell whether some file system takes ``name`` for ``.gitmodules``."""
    return any(_MODULES.match(part) for part in spellings(name))


def is_unsafe_path(path: bytes, mode: int) -> bool:
    """Tell whether nothing may be written, replaced or removed at ``path``; ``mode`` is that of its entry."""
    if _PERHAPS.search(path) is None:
        return False
    names = path.split(b"/")
    if any(name in {b"", b".", b".."} or is_dotgit(name) for name in names):
        return True
    return mode == _LINK and is_gitmodules(names[-1])


def spellings(name: bytes) -> Iterator[bytes]:
    """Yield what some file system may take ``name`` for: Windows splits at backslashes, macOS drops some characters."""
    plain = _INVISIBLE.sub("", name.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    for text in {name, plain}:
        yield text
        for at, char in enumerate(text):
            if char == ord("\\"):
                yield text[at + 1 :]
