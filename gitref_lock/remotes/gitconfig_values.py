"""Settings as values: single ones, lists, booleans, and those scoped to a URL, by git's rules of precedence.

Apart from where settings come from, so that precedence can be tested without a file.
Sources: git-config(1), "VARIABLES" and "Values"; for addresses ``http.<url>.*``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from gitref_lock.remotes.gitconfig_parse import bad_config
from gitref_lock.remotes.urlmatch import Specificity, UrlParts, match_url, normalise

Scope = Literal["system", "global", "local", "worktree", "command"]

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Entry(NamedTuple):
    """One setting with its scope. ``value`` None means a key without ``=``, which is true as a boolean."""

    scope: Scope
    section: str
    subsection: str | None
    key: str
    value: str | None


class GitConfig:
    """All settings in git's order: the last one of a name wins where git takes one, all count where it takes many."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Keep the entries and index them by name."""
        self.entries = tuple(entries)
        self._index: dict[tuple[str, str | None, str], list[str | None]] = {}
        for entry in self.entries:
            self._index.setdefault((entry.section, entry.subsection, entry.key), []).append(entry.value)

    def get(self, section: str, subsection: str | None, key: str) -> str | None:
        """Return the value that wins, None when there is none; a key without ``=`` reads as an empty text."""
        values = self.get_all(section, subsection, key)
        return values[-1] if values else None

    def get_all(self, section: str, subsection: str | None, key: str) -> list[str]:
        """Return every value of a name, the winning one last."""
        return [value or "" for value in self._index.get((section.lower(), subsection, key.lower()), ())]

    def get_bool(self, section: str, subsection: str | None, key: str, *, default: bool = False) -> bool:
        """Return a boolean as git reads one; raise RemoteConfigError for any other word."""
        values = self._index.get((section.lower(), subsection, key.lower()))
        return parse_bool(values[-1], ".".join(filter(None, (section, subsection, key)))) if values else default

    def subsections(self, section: str) -> list[str]:
        """Return the names of a section's subsections, in order of first appearance: the configured remotes, say."""
        return list(dict.fromkeys(e.subsection for e in self.entries if e.section == section and e.subsection))

    def get_for_url(self, section: str, url: str, key: str) -> str | None:
        """Return the value for this address: the most specific ``section.<url>.key`` wins, the last among equals."""
        values = list(self._stream_for_url(section, url, key))
        return (values[-1] or "") if values else None

    def get_bool_for_url(self, section: str, url: str, key: str, *, default: bool) -> bool:
        """Return the boolean for this address."""
        values = list(self._stream_for_url(section, url, key))
        return parse_bool(values[-1], f"{section}.{key}") if values else default

    def get_all_for_url(self, section: str, url: str, key: str) -> list[str]:
        """Return the list for this address: an empty value empties it, less specific later entries are passed over."""
        found: list[str] = []
        for value in self._stream_for_url(section, url, key):
            if value:
                found.append(value)
            else:
                found.clear()
        return found

    def get_every_for_url(self, section: str, url: str, key: str) -> list[str]:
        """Return the list of every entry that matches at all, as git does for credential helpers."""
        parts = normalise(url)
        found: list[str] = []
        for value, _ in self._matching(section, parts, key):
            if value:
                found.append(value)
            else:
                found.clear()
        return found

    def _stream_for_url(self, section: str, url: str, key: str) -> Iterator[str | None]:
        """Yield the values git would hand to its reader for this address: each at least as specific as any before."""
        best = Specificity()
        for value, specificity in self._matching(section, normalise(url), key):
            if specificity >= best:
                best = specificity
                yield value

    def _matching(self, section: str, url: UrlParts | None, key: str) -> Iterator[tuple[str | None, Specificity]]:
        wanted_section, wanted_key = section.lower(), key.lower()
        for entry in self.entries:
            if entry.section != wanted_section or entry.key != wanted_key:
                continue
            if entry.subsection is None:
                yield entry.value, Specificity()
            elif url is not None and (specificity := match_url(url, entry.subsection)) is not None:
                yield entry.value, specificity


def parse_bool(value: str | None, name: str) -> bool:
    """Read a boolean as git does: a word or a number; a key without ``=`` is true, an empty value false."""
    if value is None:
        return True
    word = value.lower()
    if word in {"true", "yes", "on"}:
        return True
    if word in {"false", "no", "off", ""}:
        return False
    return parse_int(value, name) != 0


def parse_int(value: str, name: str) -> int:
    """Read a number with an optional unit (k, m, g); raise RemoteConfigError for anything else."""
    text = value.strip().lower()
    digits, unit = (text[:-1], text[-1]) if text[-1:] in {"k", "m", "g"} else (text, "")
    try:
        return int(digits, 0) * _UNITS[unit]
    except ValueError:
        raise bad_config(name, f"{value!r} is neither a boolean nor a number") from None
