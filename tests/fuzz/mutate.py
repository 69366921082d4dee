"""Changes to an input that keep it JSON, so that the fuzzer gets past the parser: half of all tries, bytes the rest.

Each part of an input, or each of its lines, that is JSON may have one value replaced, removed, doubled or nested.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.promise import SEPARATOR

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**53 + 1, 10**16, 10**300, -(10**16), 0.5, -0.0, 1e308, 5e-324),
    *("", "0", "1" * 40, "ab" * 12, "main", "held", "free", "land", "2026-01-31T12:00:00Z", "9999-12-31T23:59:59Z"),
    *("\ud800", "\u0000\u202e", "x" * 399, "x" * 2001, "é" * 60, "/~", "*", "**/", "ours", "json:arrays=id"),
    *([], {}, [[]], [{}], {"": None}, {"id": 1}, [1, 1], ["a", "b"], {"rules": [["*", "lines"]]}),
)


def as_json(data: bytes, max_size: int, seed: int, plain: Callable[[bytes, int], bytes]) -> bytes:
    """Return a changed input of at most ``max_size`` bytes; ``plain`` is the fuzzer's own mutation."""
    draw = random.Random(seed)
    mark = SEPARATOR if SEPARATOR in data else b"\n" if draw.random() < 0.3 else SEPARATOR
    parts = data.split(mark)
    at = draw.randrange(len(parts))
    try:
        value = json.loads(parts[at]) if draw.random() < 0.5 else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict | list):
        return plain(data, max_size)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        value = json.loads(json.dumps(_changed(value, draw)))  # a copy: what is doubled must not become a circle
    layout = draw.choice(({"indent": 1}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}))
    parts[at] = json.dumps(value, **layout).encode("utf-8", "replace")
    if draw.random() < 0.1:
        parts.insert(at, parts[at])
    made = mark.join(parts)
    return made if len(made) <= max_size else plain(data, max_size)


def _changed(value: Any, draw: random.Random) -> Any:
    """Change one value somewhere inside."""
    if isinstance(value, dict | list) and value and draw.random() < 0.85:
        key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        what = draw.random()
        if what < 0.08:
            del value[key]
        elif what < 0.16 and isinstance(value, list):
            value.insert(draw.randrange(len(value) + 1), json.loads(json.dumps(draw.choice(value))))
        elif what < 0.2 and isinstance(value, dict):
            value[draw.choice(("id", "x", "verdict", "policy", "server", "holder", "lease", ""))] = draw.choice(_VALUES)
        elif what < 0.24 and isinstance(value, list):
            draw.shuffle(value)
        else:
            value[key] = _changed(value[key], draw)
        return value
    if isinstance(value, int) and not isinstance(value, bool) and draw.random() < 0.5:
        return value + draw.choice((-1, 1, 1000, -1000))
    if isinstance(value, str) and value and draw.random() < 0.4:
        cut = draw.randrange(len(value))
        return draw.choice((value[:cut], value[cut:] + value[:cut], value * 3, value[:cut] + "\u2028" + value[cut:]))
    return [value] if draw.random() < 0.1 else json.loads(json.dumps(draw.choice(_VALUES)))
