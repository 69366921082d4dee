"""Text from strangers made harmless: no terminal sequence, no workflow command, no credential gets out.

Whoever can push a ref can write a holder's name. Shown raw it could hide a line, ring a bell or, in a CI log, set an
output of the job that only looked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gitref_lock.remotes.redact import redact

_COMMAND = re.compile(r"##(?=\w*\[)")
_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|CREDENTIAL|PRIVATE_?KEY", re.IGNORECASE)
_MIN_SECRET = 8


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of the environment that look like credentials by their variable's name."""
    return tuple(
        value for name, value in environ.items() if len(value) >= _MIN_SECRET and _SECRET_NAME.search(name) is not None
    )


def visible(text: str) -> str:
    """Return one line in which every character that does not print is spelled out, and no CI reads a command.

    Spelled out are control characters, line ends, and characters that change direction or are not seen.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _spelled(char) for char in text)
    text = _COMMAND.sub(r"#\\#", text)
    return f"\\{text}" if text.lstrip().startswith("::") else text


def _spelled(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(value: object, *, indent: int | None = None, secrets: tuple[str, ...] = ()) -> str:
    """Return ``value`` as JSON in ASCII, its strings without credentials, holding nothing that a CI obeys."""
    text = json.dumps(_redacted(value, secrets), indent=indent, ensure_ascii=True, allow_nan=False)
    # A number sign occurs inside of JSON strings only, where its escape means the same.
    return _COMMAND.sub(r"\\u0023\\u0023", text)


def _redacted(value: object, secrets: tuple[str, ...]) -> object:
    if isinstance(value, str):
        return redact(value, secrets).encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(key): _redacted(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, secrets) for item in value]
    return value
