"""PATH arguments, with the meaning git gives them (gitglossary(7), "pathspec").

Literal paths, folders, wildcards, exclusion, and the long and short magic words for top, literal, glob and exclude are
matched in-process; attribute and case-insensitive matching, and GIT_*_PATHSPECS, are left to git.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from dulwich.wildmatch import MalformedPattern, translate, translate_bracket_expression

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.checkout import text
from gitref_lock.landing.errors import NeedsGitError, PathspecError

_WILD = re.compile(rb"[*?\[\\]")
_GLOBAL_SWITCHES = ("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS")
_SHORT = {b"/": "top", b"!": "exclude", b"^": "exclude"}


@dataclass(slots=True)
class Spec:
    """One PATH. ``match`` is relative to the root and may end in a slash (folders only)."""

    given: bytes
    match: bytes
    is_exclude: bool
    regex: re.Pattern[bytes] | None
    is_used: bool = False

    @property
    def literal_folder(self) -> bytes:
        """The deepest folder that everything this spec can match lies in, or is."""
        if self.regex is None:
            return self.match.rstrip(b"/")
        found = _WILD.search(self.match)
        return self.match[: found.start() if found else None].rpartition(b"/")[0]

    def matches(self, path: bytes) -> bool:
        """Tell whether a file's path is meant."""
        own = self.match
        if not own or path == own or path.startswith(own if own.endswith(b"/") else own + b"/"):
            return True
        return self.regex is not None and self.regex.fullmatch(path) is not None


@dataclass(slots=True)
class Pathspecs:
    """All PATH arguments of one command; empty means everything."""

    includes: tuple[Spec, ...]
    excludes: tuple[Spec, ...] = field(default=())

    def matches(self, path: bytes) -> bool:
        """Tell whether ``path`` is meant, and remember which arguments meant it."""
        found = not self.includes
        for spec in self.includes:
            if spec.matches(path):
                spec.is_used = True
                found = True
        return found and not any(spec.matches(path) for spec in self.excludes)

    def would_match(self, path: bytes) -> bool:
        """Tell whether ``path`` is meant, without counting it for any argument."""
        found = not self.includes or any(spec.matches(path) for spec in self.includes)
        return found and not any(spec.matches(path) for spec in self.excludes)

    def may_match_below(self, folder: bytes) -> bool:
        """Tell whether anything under ``folder`` can be meant."""
        if not self.includes:
            return True
        for spec in self.includes:
            base = spec.literal_folder
            if not base or base == folder or base.startswith(folder + b"/") or folder.startswith(base + b"/"):
                return True
        return False

    @property
    def is_literal(self) -> bool:
        """Whether no argument has a wildcard."""
        return all(spec.regex is None for spec in self.includes)


def _magic(given: bytes) -> tuple[set[str], bytes]:
    """Split off the magic words."""
    if not given.startswith(b":"):
        return set(), given
    if given.startswith(b":("):
        words, closed, rest = given[2:].partition(b")")
        if not closed:
            raise PathspecError("bad-pathspec", f"missing ')' at the end of the pathspec magic in {text(given)!r}")
        return {word.strip().decode("ascii", "replace") for word in words.split(b",") if word.strip()}, rest
    found: set[str] = set()
    at = 1
    while given[at : at + 1] in _SHORT:
        found.add(_SHORT[given[at : at + 1]])
        at += 1
    if given[at : at + 1] == b":":
        at += 1
    elif at == 1:
        raise NeedsGitError(f"the pathspec {text(given)!r} uses magic")
    return found, given[at:]


def _normalise(given: bytes, prefix: bytes, work_tree: Path) -> bytes:
    """Return ``given`` relative to the root, without ``.``, ``..`` and doubled slashes."""
    if given.startswith(b"/"):
        root = os.fsencode(work_tree)
        if given == root or given.startswith(root + b"/"):
            joined = given[len(root) :]
        else:
            folder = os.path.realpath(os.path.dirname(given))  # noqa: PTH120 - bytes paths
            joined = os.path.join(folder, os.path.basename(given))  # noqa: PTH118, PTH119 - bytes paths
            if not joined.startswith(root + b"/"):
                raise _outside(given)
            joined = joined[len(root) :]
    else:
        joined = prefix + given
    parts: list[bytes] = []
    for part in joined.split(b"/"):
        if part == b"..":
            if not parts:
                raise _outside(given)
            parts.pop()
        elif part not in {b"", b"."}:
            parts.append(part)
    is_folder = joined.endswith((b"/", b"/.", b"/..")) and parts
    return b"/".join(parts) + (b"/" if is_folder else b"")


def _outside(given: bytes) -> PathspecError:
    return PathspecError("path-outside", f"{text(given)!r} is outside the repository")


def _wildcards(pattern: bytes) -> bytes:
    """Translate wildcards that may cross folders."""
    out = b""
    at = 0
    while at < len(pattern):
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            out += b".*" if not out.endswith(b".*") else b""
        elif char == b"?":
            out += b"."
        elif char == b"[":
            if pattern[at : at + 1] in {b"!", b"^"}:
                raise NeedsGitError(f"the pathspec {text(pattern)!r} has a negated set")
            try:
                at, bracket = translate_bracket_expression(pattern, at)
            except MalformedPattern:
                return b"(?!)"
            out += bracket
        elif char == b"\\":
            if at == len(pattern):
                return b"(?!)"
            out += re.escape(pattern[at : at + 1])
            at += 1
        else:
            out += re.escape(char)
    return out


def _spec(given: bytes, prefix: bytes, work_tree: Path) -> Spec:
    if not given:
        raise PathspecError("bad-pathspec", "an empty PATH means nothing", "use '.' for everything here")
    if b"\0" in given:
        raise PathspecError("bad-pathspec", f"{text(given)!r} contains a NUL")
    words, rest = _magic(given)
    unknown = words - {"top", "exclude", "literal", "glob"}
    if unknown:
        raise NeedsGitError(f"the pathspec {text(given)!r} uses magic")
    if {"literal", "glob"} <= words:
        raise PathspecError("bad-pathspec", f"{text(given)!r}: 'literal' and 'glob' exclude each other")
    base = b"" if "top" in words else prefix
    match = _normalise(rest, base, work_tree)
    regex = None
    if "literal" not in words and _WILD.search(rest):
        fixed = base if match.startswith(base) else b""
        pattern = match[len(fixed) :]
        if "glob" in words:
            try:
                body = translate(pattern)
            except MalformedPattern:
                body = b"(?!)"
        else:
            body = _wildcards(pattern)
        regex = re.compile(re.escape(fixed) + body, re.DOTALL)
    return Spec(given, match, "exclude" in words, regex)


def parse(given: Sequence[bytes], prefix: bytes, work_tree: Path, environ: Mapping[str, str]) -> Pathspecs:
    """Return the PATH arguments, given relative to ``prefix``.

    Raises PathspecError for one that means nothing or lies outside, NeedsGitError for magic that only git knows.
    """
    if given and any(environ.get(name) for name in _GLOBAL_SWITCHES):
        raise NeedsGitError("the environment changes what pathspecs mean")
    specs = [_spec(one, prefix, work_tree) for one in given]
    includes = tuple(spec for spec in specs if not spec.is_exclude)
    excludes = tuple(spec for spec in specs if spec.is_exclude)
    for spec in includes:
        if any(part.lower() == b".git" for part in spec.match.split(b"/")):
            raise PathspecError("path-invalid", f"{text(spec.given)!r} names git's own files")
    return Pathspecs(includes, excludes)
