"""The text of a commit message, cleaned and extended as git-commit(1) does for ``-m``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gitref_lock.landing.errors import LandingError

_TRAILER = re.compile(r"[A-Za-z0-9-]+\s*:\s.*|\(cherry picked from commit [0-9a-f]+\)")
_CONTINUED = re.compile(r"\s+\S.*")
_SIGNED_OFF = "Signed-off-by: "


def join(messages: Sequence[str]) -> str:
    """Return several ``-m`` values as paragraphs."""
    return "\n\n".join(message.rstrip("\n") for message in messages)


def clean(message: str, mode: str = "whitespace") -> str:
    """Return ``message`` cleaned up; ``mode`` is a value of commit.cleanup.

    ``whitespace`` (git's default without an editor) drops leading and trailing empty lines and trailing blanks, and
    folds runs of empty lines, and so does ``scissors`` there; ``strip`` drops comment lines too; ``verbatim`` changes
    nothing.
    """
    if mode == "verbatim":
        return message
    lines = message.split("\n")
    if mode == "strip":
        lines = [line for line in lines if not line.startswith("#")]
    kept: list[str] = []
    for raw_line in lines:
        line = raw_line.rstrip(" \t\r\f\v")
        if line or (kept and kept[-1]):
            kept.append(line)
    text = "\n".join(kept).rstrip("\n")
    return text + "\n" if text else ""


def says_nothing(message: str, mode: str) -> bool:
    """Tell whether git would refuse a cleaned message as empty: sign-offs alone say nothing."""
    if mode == "verbatim" and message:
        return False
    return all(line.startswith(_SIGNED_OFF) or not line.strip() for line in message.split("\n"))


def _ends_in_trailers(paragraph: list[str]) -> bool:
    return bool(paragraph) and all(
        _TRAILER.fullmatch(line) or (at > 0 and _CONTINUED.fullmatch(line)) for at, line in enumerate(paragraph)
    )


def add_trailers(message: str, trailers: Sequence[str]) -> str:
    """Return ``message`` with trailers at its end; one that is there already as the last line is not repeated."""
    for trailer in trailers:
        if not _TRAILER.fullmatch(trailer):
            raise LandingError("bad-trailer", f"not a trailer: {trailer!r}", "write it as 'Key: value'")
        body = message.rstrip("\n")
        lines = body.split("\n") if body else []
        if lines and lines[-1] == trailer:
            continue
        last_paragraph: list[str] = []
        for line in reversed(lines):
            if not line:
                break
            last_paragraph.insert(0, line)
        # the subject is never a trailer block
        has_block = len(last_paragraph) < len(lines) and _ends_in_trailers(last_paragraph)
        message = body + ("\n" if has_block else "\n\n") + trailer + "\n"
    return message


def subject(message: str) -> str:
    """Return the first paragraph on one line."""
    return " ".join(message.strip("\n").split("\n\n", 1)[0].split("\n")).strip()
