"""JSON from strangers, and instants for people: the two conversions that every record shares.

``lock.json``, ``ticket.json`` and each line of ``history.jsonl`` may have been written by anybody who can push. Parsing
is bounded and strict: a value of the wrong type, a NaN, a duplicate key or a nesting bomb is one error, never a crash.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
JsonObject = dict[str, JsonValue]

MAX_INSTANT = 253_402_300_799
"""The last second of the year 9999: later instants cannot be written as text."""

MAX_NESTING = 32
"""Deeper values are refused on reading: what is read may be written again, and the writer recurses."""

_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class MalformedError(ValueError):
    """Bytes that are not what they should be; the text says where and why, for people."""


def _refuse_constant(word: str) -> JsonValue:
    raise MalformedError(f"{word} is not a JSON number")


def _finite(word: str) -> float:
    number = float(word)
    if math.isinf(number):
        raise MalformedError(f"{word[:40]} is too large a number")
    return number


def _is_nested_deeper(value: JsonValue, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def _without_duplicates(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedError("a key occurs twice")
    return result


def parse_object(data: bytes, *, limit: int) -> JsonObject:
    """Return the JSON object in ``data``; raise MalformedError for anything else, or for more than ``limit`` bytes.

    Whatever is returned can be rendered again: infinite numbers, lone surrogates and deep nesting are refused here,
    else a stranger's unknown key would break every later writer that keeps it.
    """
    if len(data) > limit:
        raise MalformedError(f"{len(data)} bytes, more than {limit}")
    try:
        value: JsonValue = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_duplicates,
        )
        if _is_nested_deeper(value, MAX_NESTING):
            raise RecursionError
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise MalformedError("nested too deeply") from None
    except ValueError as error:
        raise MalformedError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value


def render_object(value: Mapping[str, JsonValue], *, indent: int | None = 1) -> bytes:
    """Return ``value`` as UTF-8 JSON with a final newline; ``indent`` None gives one line."""
    separators = (",", ": ") if indent is not None else (",", ":")
    return (json.dumps(value, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False) + "\n").encode(
        "utf-8", "replace"
    )


def instant(second: float) -> str:
    """Return a Unix second (truncated, clamped to the year 9999) as ``YYYY-MM-DDTHH:MM:SSZ``."""
    whole = min(max(int(second), 0), MAX_INSTANT)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_instant(text: str) -> int:
    """Return the Unix second of ``YYYY-MM-DDTHH:MM:SSZ``, or raise MalformedError."""
    try:
        second = int(datetime.fromisoformat(text).timestamp()) if _INSTANT.fullmatch(text) else -1
    except ValueError:
        second = -1
    if second < 0:
        raise MalformedError(f"not an instant since 1970: {text[:40]!r}")
    return second


def clip(text: str, limit: int) -> str:
    """Return ``text`` without control characters and cut to at most ``limit`` bytes of UTF-8."""
    visible = "".join(char if char.isprintable() else " " for char in text).strip()
    return visible.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore").rstrip()


class Fields:
    """Typed access to one JSON object; every getter raises MalformedError naming the key and what is allowed."""

    def __init__(self, value: JsonObject) -> None:
        """Wrap ``value``; keys that no getter asked for are available as ``rest``."""
        self._value = value
        self._asked: set[str] = set()

    def _get(self, key: str) -> JsonValue:
        self._asked.add(key)
        return self._value.get(key)

    @property
    def rest(self) -> JsonObject:
        """The keys that nobody asked for: kept, so that a newer writer's additions survive."""
        return {key: value for key, value in self._value.items() if key not in self._asked}

    def text(self, key: str, *, limit: int = 400, required: bool = False) -> str:
        """Return a string of at most ``limit`` characters; '' when absent or null, unless required."""
        value = self._get(key)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or len(value) > limit:
            raise MalformedError(f"{key} must be a string of at most {limit} characters")
        return value

    def integer(self, key: str, low: int, high: int, *, default: int | None = None) -> int:
        """Return an integer between ``low`` and ``high``; ``default`` when absent."""
        value = self._get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise MalformedError(f"{key} must be an integer from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float, *, default: float | None = None) -> float:
        """Return a number between ``low`` and ``high``; ``default`` when absent."""
        value = self._get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise MalformedError(f"{key} must be a number from {low} to {high}")
        return float(value)

    def moment(self, key: str) -> int | None:
        """Return an instant as a Unix second, None when absent or null."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise MalformedError(f"{key} must be an instant such as 2026-01-31T12:00:00Z")
        return parse_instant(value)

    def boolean(self, key: str) -> bool:
        """Return a boolean; False when absent."""
        value = self._get(key)
        if value is not None and not isinstance(value, bool):
            raise MalformedError(f"{key} must be true or false")
        return value is True

    def child(self, key: str) -> Fields | None:
        """Return a nested object, None when absent or null."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise MalformedError(f"{key} must be an object")
        return Fields(value)

    def texts(self, key: str, *, most: int, limit: int = 400) -> tuple[str, ...]:
        """Return a list of strings with at most ``most`` members; empty when absent."""
        value = self._get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > most:
            raise MalformedError(f"{key} must be a list of at most {most} strings")
        result = tuple(item for item in value if isinstance(item, str) and len(item) <= limit)
        if len(result) != len(value):
            raise MalformedError(f"{key} must hold strings of at most {limit} characters")
        return result
