"""Where words go: data to stdout, everything for people to stderr, and nothing unescaped to either.

With ``--json`` stdout carries exactly one document (or one a line, where that is said), whatever happens.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

from gitref_lock.cli import safe
from gitref_lock.core.lean import dataclass
from gitref_lock.core.text import instant
from gitref_lock.ports import Clock
from gitref_lock.remotes.redact import redact

_COLOURS = {"error": "31;1", "warning": "33;1", "hint": "36"}


class ReaderGoneError(Exception):
    """Whoever read our output has left. Not an OSError: the parser of options has its own way with these."""


@dataclass(slots=True)
class Output:
    """One command's output. ``secrets`` never appear in it."""

    clock: Clock
    as_json: bool = False
    quiet: bool = False
    verbosity: int = 0
    log_format: str = "text"
    colour: bool = False
    secrets: tuple[str, ...] = ()
    live_length: int = 0
    documents: int = 0

    @property
    def is_live(self) -> bool:
        """Whether stderr is a terminal on which a line may be written over."""
        return self.log_format == "text" and not self.quiet and sys.stderr.isatty()

    def clean(self, text: str) -> str:
        """Return text that may be shown: without credentials, control characters or CI commands, in one line."""
        return safe.visible(redact(text, self.secrets))

    def data(self, *lines: str) -> None:
        """Write lines of data, unless the data is a JSON document. A line end inside of a line is spelled out."""
        if not self.as_json:
            self._write(sys.stdout, "".join(f"{self.clean(line)}\n" for line in lines))

    def document(self, value: Mapping[str, object]) -> None:
        """Write the JSON document, if JSON is asked for."""
        if self.as_json:
            self.documents += 1
            self._write(sys.stdout, safe.json_text(value, indent=2, secrets=self.secrets) + "\n")

    def record(self, value: Mapping[str, object]) -> None:
        """Write one JSON document on one line, for streams."""
        self.documents += 1
        self._write(sys.stdout, safe.json_text(value, secrets=self.secrets) + "\n")

    def say(self, text: str) -> None:
        """Tell people something; silent with ``-q``."""
        if not self.quiet:
            self._line("info", "", text)

    def detail(self, text: str) -> None:
        """Tell people something that only ``-v`` asks for."""
        if self.verbosity and not self.quiet:
            self._line("debug", "", text)

    def warn(self, text: str) -> None:
        """Tell people something they must not miss."""
        self._line("warning", "warning: ", text)

    def error(self, text: str, hint: str = "") -> None:
        """Tell people what failed and what to try next."""
        self._line("error", "error: ", text)
        if hint:
            self._line("hint", "hint: ", hint)

    def help(self, text: str) -> None:
        """Show the program's own help to somebody who did not ask for it."""
        self._write(sys.stderr, text.rstrip("\n") + "\n")

    def live(self, text: str) -> None:
        """Write the live line of a terminal over itself."""
        import shutil  # late: only for waits on a terminal

        line = self.clean(text)[: max(20, shutil.get_terminal_size().columns - 1)]
        self._write(sys.stderr, f"\r\x1b[2K{line}")
        self.live_length = len(line)

    def end_live(self) -> None:
        """Wipe the live line away, if there is one."""
        if self.live_length:
            self.live_length = 0
            self._write(sys.stderr, "\r\x1b[2K")

    def annotate(self, level: str, title: str, text: str, path: str | None = None, line: int | None = None) -> None:
        """Write an annotation as a workflow command (``::error title=...::text``), which the CI shows to people.

        With ``path`` (and ``line``) it is shown at that place.
        """
        self.end_live()
        body = redact(text, self.secrets).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        parts = {"title": redact(title, self.secrets), "file": path, "line": line}
        head = ",".join(f"{name}={_in_head(str(value))}" for name, value in parts.items() if value is not None)
        words = "".join(char if char.isprintable() else " " for char in f"::{level} {head}::{body}")
        self._write(sys.stderr, words + "\n")

    def _line(self, level: str, label: str, text: str) -> None:
        self.end_live()
        if self.log_format == "json":
            entry = {"at": instant(self.clock.wall()), "level": level, "message": text}
            self._write(sys.stderr, safe.json_text(entry, secrets=self.secrets) + "\n")
            return
        if self.colour and label:
            label = f"\x1b[{_COLOURS[level]}m{label.rstrip()}\x1b[0m "
        first, *more = text.rstrip("\n").split("\n")
        # The mark keeps a stranger's second line from passing for one of ours.
        self._write(sys.stderr, "".join(f"{line}\n" for line in (label + self.clean(first), *self._marked(more))))

    def _marked(self, lines: list[str]) -> list[str]:
        return [f"  | {self.clean(line)}" for line in lines]

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            stream.flush()
        except BrokenPipeError:
            raise ReaderGoneError from None


def _in_head(text: str) -> str:
    """Return text as a property of a workflow command."""
    for char, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(char, escaped)
    return text
