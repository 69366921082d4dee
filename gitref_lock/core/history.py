"""The ring of past transitions that every lock state carries (``history.jsonl``).

Each writer copies the ring it read and appends its own line, so one read gives state, audit trail, the basis of
expected waits, and the evidence that decides whether a write of unknown outcome was applied
(docs/protocol.md, sections 1 and 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Nonce, is_nonce
from gitref_lock.core.record import MAX_GENERATION, Event
from gitref_lock.core.text import Fields, JsonObject, MalformedError, clip, instant, parse_object, render_object

MAX_LINES = 64
MAX_BYTES = 16_384
_LINE_LIMIT = 2048
_MEMORY = 4 * MAX_LINES
"""Lines that are remembered both ways: whoever works on a lock reads and writes the same lines again and again."""

_MAX_DURATION_S = 1e12
"""Above any difference of two instants: a line of our own must never be unreadable, it is evidence."""


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One transition. ``held_s`` is how long the state that ended was held; ``landed`` counts changes landed by it."""

    event: Event
    generation: int
    nonce: Nonce
    at: int
    holder: str = ""
    workflow: str = ""
    held_s: float | None = None
    waited_s: float | None = None
    landed: int = 0
    note: str = ""

    def encode(self) -> bytes:
        """Return one JSON line."""
        value: JsonObject = {
            "at": instant(self.at),
            "event": self.event.value,
            "generation": self.generation,
            "holder": clip(self.holder, 60),
        }
        if workflow := clip(self.workflow, 60):
            value["workflow"] = workflow
        if self.held_s is not None:
            value["held_s"] = round(float(self.held_s), 1)
        if self.waited_s is not None:
            value["waited_s"] = round(float(self.waited_s), 1)
        if self.landed:
            value["landed"] = self.landed
        if note := clip(self.note, 120):
            value["note"] = note
        value["nonce"] = self.nonce
        return render_object(value, indent=None)

    @classmethod
    def decode(cls, data: bytes) -> HistoryLine:
        """Read one line; raise MalformedError."""
        fields = Fields(parse_object(data, limit=_LINE_LIMIT))
        nonce = fields.text("nonce", required=True)
        if not is_nonce(nonce):
            raise MalformedError("nonce must be 24 hex digits")
        try:
            event = Event(fields.text("event", required=True))
        except ValueError as error:
            raise MalformedError(str(error)) from None
        held_s = fields.number("held_s", 0, _MAX_DURATION_S, default=-1.0)
        waited_s = fields.number("waited_s", 0, _MAX_DURATION_S, default=-1.0)
        return cls(
            event=event,
            generation=fields.integer("generation", 0, MAX_GENERATION),
            nonce=Nonce(nonce),
            at=fields.moment("at") or 0,
            holder=fields.text("holder"),
            workflow=fields.text("workflow"),
            held_s=held_s if held_s >= 0 else None,
            waited_s=waited_s if waited_s >= 0 else None,
            landed=fields.integer("landed", 0, 10**6, default=0),
            note=fields.text("note"),
        )


_decoded = lru_cache(_MEMORY)(HistoryLine.decode)
_encoded = lru_cache(_MEMORY)(HistoryLine.encode)


@dataclass(frozen=True, slots=True)
class Ring:
    """The last transitions, oldest first; ``unreadable_lines`` counts lines that were dropped on reading."""

    lines: tuple[HistoryLine, ...] = ()
    unreadable_lines: int = 0

    @classmethod
    def decode(cls, data: bytes | None) -> Ring:
        """Read ``history.jsonl``; never raises: lines that are not transitions are counted and dropped."""
        raw = [line for line in (data or b"")[-4 * MAX_BYTES :].split(b"\n") if line.strip()][-MAX_LINES:]
        lines: list[HistoryLine] = []
        for line in raw:
            try:
                lines.append(_decoded(line))
            except MalformedError:
                continue
        return cls(tuple(lines), len(raw) - len(lines))

    def encode(self) -> bytes:
        """Return ``history.jsonl``: at most 64 lines and 16 KiB, the newest kept."""
        kept: list[bytes] = []
        size = 0
        for line in reversed(self.lines[-MAX_LINES:]):
            data = _encoded(line)
            size += len(data)
            if size > MAX_BYTES:
                break
            kept.append(data)
        return b"".join(reversed(kept))

    def append(self, line: HistoryLine) -> Ring:
        """Return the ring with ``line`` at its end; a renewal replaces the last renewal of its generation."""
        lines = list(self.lines)
        if line.event is Event.RENEW:
            for index in range(len(lines) - 1, -1, -1):
                if lines[index].generation != line.generation:
                    break
                if lines[index].event is Event.RENEW:
                    del lines[index]
                    break
        return Ring((*lines[-(MAX_LINES - 1) :], line))

    def index_of(self, nonce: Nonce) -> int | None:
        """Return the place of the line written with ``nonce``, or None."""
        for index in range(len(self.lines) - 1, -1, -1):
            if self.lines[index].nonce == nonce:
                return index
        return None

    @property
    def newest_at(self) -> int:
        """The newest instant in the ring (Unix second), 0 when empty."""
        return max((line.at for line in self.lines), default=0)

    @property
    def last_generation(self) -> int:
        """The highest generation in the ring, 0 when empty."""
        return max((line.generation for line in self.lines), default=0)

    def holds(self) -> tuple[float, ...]:
        """Return how long each recorded lease was held, oldest first, in seconds."""
        return tuple(line.held_s for line in self.lines if line.held_s is not None)

    def foresees_burst(self, *, among: int = 8, changes: int = 4) -> bool:
        """Tell whether one of the last ``among`` transitions landed ``changes`` or more: contention is likely again."""
        return any(line.landed >= changes for line in self.lines[-among:])


def mean_remaining_s(holds: Sequence[float], elapsed_s: float) -> float:
    """Return the expected rest of a hold that has lasted ``elapsed_s``.

    The mean of the recorded holds longer than that, less the elapsed; when none was longer, the elapsed itself.
    """
    longer = [hold for hold in holds if hold > elapsed_s]
    return sum(longer) / len(longer) - elapsed_s if longer else elapsed_s


def landed_total(lines: Iterable[HistoryLine]) -> int:
    """Return how many changes these transitions landed."""
    return sum(line.landed for line in lines)
