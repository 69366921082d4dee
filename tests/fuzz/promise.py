"""What a fuzz target may raise: a broken promise, and nothing else.

A target takes any bytes. Errors that the code under test documents are the target's own to catch; whatever else comes
out of it is a finding, and so is a promise that does not hold.
"""

from __future__ import annotations

SEPARATOR = b"\n=====\n"
"""Between the parts of an input that has several; plain text, so that a finding can be read and edited."""


class PromiseBrokenError(AssertionError):
    """Something that the code promises does not hold for this input; the text says what."""


def hold(is_kept: object, what: str) -> None:
    """Raise PromiseBrokenError unless the promise is kept."""
    if not is_kept:
        raise PromiseBrokenError(what)


def parts_of(data: bytes, count: int) -> list[bytes]:
    """Cut an input into exactly ``count`` parts; missing ones are empty, the last keeps what is over."""
    parts = data.split(SEPARATOR, count - 1)
    return parts + [b""] * (count - len(parts))


def chosen(letter: bytes, known: bytes) -> str:
    """Return one of the letters in ``known``: the one that was given, or for any other byte one by its number."""
    if letter and letter in known:
        return letter.decode()
    return chr(known[(letter[0] if letter else 0) % len(known)])
