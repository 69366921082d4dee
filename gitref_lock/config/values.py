"""Readers of single values: each returns the value, or says in SettingError what is allowed.

Flags, variables and files all go through these, so that a wrong value is one kind of error wherever it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gitref_lock.core.names import InvalidNameError, Namespace
from gitref_lock.core.record import MAX_PRIORITY, MAX_TTL_S, MIN_TTL_S

_MAX_DURATION_S = 366 * 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class SettingError(ValueError):
    """A value that a setting does not allow; the text says what is allowed."""


def parse_duration(value: object) -> float:
    """Return a duration in seconds from a number or a text such as ``90``, ``90s``, ``15m``, ``2h``, ``1h30m``.

    Raises SettingError for anything else, and for more than a year.
    """
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(min(value, 2 * _MAX_DURATION_S))  # TOML knows whole numbers that no float can hold
    elif isinstance(value, str):
        text = value.strip().lower()
        parts = _PART.findall(text)
        if _PLAIN.fullmatch(text):
            seconds = float(text)
        elif parts and "".join(number + unit for number, unit in parts) == text:
            seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds is None or not 0 <= seconds <= _MAX_DURATION_S:
        raise SettingError("a duration such as 90, 90s, 15m or 2h, at most 366d")
    return seconds


def parse_ttl(value: object) -> float:
    """Return the length of a lease in seconds; raise SettingError unless it is from 5 s to 24 h."""
    try:
        seconds = parse_duration(value)
    except SettingError:
        seconds = 0.0
    if not MIN_TTL_S <= seconds <= MAX_TTL_S:
        raise SettingError("a duration from 5s to 24h, such as 90s, 15m or 2h")
    return seconds


def parse_priority(value: object) -> int:
    """Return a priority; raise SettingError unless it is an integer from -1000 to 1000."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_PRIORITY:
        raise SettingError(f"an integer from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    return value


def parse_exit_code(value: object) -> int:
    """Return an exit code; raise SettingError unless it is an integer from 0 to 255."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise SettingError("an integer from 0 to 255")
    return value


def parse_prefix(value: object) -> str:
    """Return a prefix for lock refs; raise SettingError unless git and the protocol allow it."""
    text = parse_text(value)
    try:
        Namespace(text)
    except InvalidNameError as error:
        raise SettingError(f"a prefix such as refs/locks ({error})") from None
    return text


def parse_text(value: object) -> str:
    """Return a text; raise SettingError for an empty one or another type."""
    if not isinstance(value, str) or not value:
        raise SettingError("a text that is not empty")
    return value


def parse_switch(value: object) -> bool:
    """Return a boolean; raise SettingError for anything but true and false."""
    if not isinstance(value, bool):
        raise SettingError("true or false")
    return value


def number(low: float, high: float) -> Callable[[object], float]:
    """Return a reader of numbers from ``low`` to ``high``."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise SettingError(f"a number from {low:g} to {high:g}")
        return float(value)

    return read


def one_of(*words: str) -> Callable[[object], str]:
    """Return a reader that allows these words only."""

    def read(value: object) -> str:
        if value not in words:
            raise SettingError(" or ".join(words))
        return str(value)

    return read
