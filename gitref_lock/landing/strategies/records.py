"""``lines``: files of records, one a line: JSON Lines, CSV, plain lists.

What either side added is kept, once when both added the very same; what one side removed goes, unless the other changed
it. With ``key=NAME`` a record is known by that JSON field or CSV column, and two versions of one record do not become
two records: ours wins and the record is named. With ``sort`` the result is sorted, by key or else by line. The first
row of a CSV file is its header, which both sides must share.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from gitref_lock.landing.merge.lines import is_binary, split_lines
from gitref_lock.landing.strategies.base import Merged, StrategyFailed, StrategySpecError, parse_options, settled
from gitref_lock.landing.strategies.values import CannotMergeError

Record = bytes
"""One record without the end of its line; a CSV record may hold line ends in quotes."""

KeyOf = Callable[[Record], Hashable]


@dataclass(frozen=True, slots=True)
class Lines:
    """Three-way merge of records (docs/merge.md). ``key`` '' knows a record by its whole text."""

    key: str = ""
    is_sorted: bool = False
    name: str = "lines"
    is_declarative: bool = True

    def merge(
        self, path: bytes, base: bytes | None, ours: bytes | None, theirs: bytes | None
    ) -> Merged | StrategyFailed:
        """Merge the records; a binary or deleted file, other columns, or a record without its key fails."""
        if (answer := settled(base, ours, theirs)) is not None:
            return answer
        if ours is None or theirs is None:
            return StrategyFailed("deleted on one side, changed on the other")
        if is_binary(base or b"") or is_binary(ours) or is_binary(theirs):
            return StrategyFailed("both sides changed a binary file")
        try:
            return self._merge(base, ours, theirs, is_csv=path.endswith(b".csv"))
        except CannotMergeError as error:
            return StrategyFailed(str(error))

    def _merge(self, base: bytes | None, ours: bytes, theirs: bytes, *, is_csv: bool) -> Merged:
        """Merge three files of records."""
        split = _split_csv if is_csv else _split_plain
        sides = [split(data) for data in (base or b"", ours, theirs)]
        header: list[Record] = []
        if is_csv:
            header = _shared_header([rows for rows, data in zip(sides, (base, ours, theirs), strict=True) if data])
            sides = [rows[1:] for rows in sides]
        lost: list[str] = []
        if self.key:
            key_of = _csv_key(self.key, header) if is_csv else _json_key(self.key)
            records = _merge_keyed([_by_key(rows, key_of) for rows in sides], lost)
        else:
            key_of = _whole
            records = _merge_whole(sides)
        if self.is_sorted:
            records.sort(key=lambda record: _rank(key_of(record), record))
        data = _joined([*header, *records], theirs or ours)
        if data == theirs and ours != theirs and sorted(sides[1]) == sorted(sides[0]):
            lost.append("order")
        return Merged(data, is_complete=not lost, detail=tuple(lost))


def from_options(options: str) -> Lines:
    """Return the strategy for ``key=NAME,sort``."""
    given = parse_options("lines", options, frozenset({"key", "sort"}))
    if given.get("sort"):
        raise StrategySpecError("strategy 'lines': sort takes no value")
    if "key" in given and not given["key"]:
        raise StrategySpecError("strategy 'lines': key is the name of a JSON field or CSV column")
    return Lines(given.get("key", ""), "sort" in given)


def _joined(records: Sequence[Record], model: bytes) -> bytes:
    """Return the records with the line ends of ``model``: each its own, new ones what is usual there."""
    usual = b"\r\n" if 2 * model.count(b"\r\n") > model.count(b"\n") else b"\n"
    ends: dict[Record, deque[bytes]] = {}
    for line in split_lines(model):
        record = _record(line)
        ends.setdefault(record, deque()).append(line[len(record) :] if line.endswith(b"\n") else usual)
    parts: list[bytes] = []
    for record in records:
        known = ends.get(record.rpartition(b"\n")[2])  # of a row with line ends in quotes, the last line counts
        parts += [record, known.popleft() if known else usual]
    if not model.endswith(b"\n"):
        del parts[-1:]
    return b"".join(parts)


def _record(line: bytes) -> Record:
    """Return a line without its end."""
    return line.rstrip(b"\r\n")


def _split_plain(data: bytes) -> list[Record]:
    return [_record(line) for line in split_lines(data)]


def _split_csv(data: bytes) -> list[Record]:
    """Split rows at line ends outside quotes (RFC 4180)."""
    rows: list[Record] = []
    row: list[bytes] = []
    is_quoted = False
    for line in split_lines(data):
        row.append(line)
        is_quoted ^= line.count(b'"') % 2 == 1
        if not is_quoted:
            rows.append(_record(b"".join(row)))
            row = []
    if row:
        raise CannotMergeError("a quote in the CSV file is never closed")
    return rows


def _shared_header(sides: Sequence[list[Record]]) -> list[Record]:
    """Return the first row, which all sides must have alike."""
    headers = {rows[0] for rows in sides}
    if len(headers) > 1:
        raise CannotMergeError("the columns of the CSV file differ")
    return list(headers)


def _fields(row: Record) -> list[str]:
    """Return the fields of one CSV row."""
    text = row.decode("utf-8", "surrogateescape")
    try:
        return next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error as error:
        raise CannotMergeError(f"a CSV row cannot be read: {error}") from None


def _csv_key(name: str, header: list[Record]) -> KeyOf:
    """Return how to read column ``name``."""
    columns = _fields(header[0]) if header else []
    if columns.count(name) != 1:
        raise CannotMergeError(f"the CSV file has not exactly one column {name!r}")
    index = columns.index(name)

    def key_of(row: Record) -> Hashable:
        fields = _fields(row)
        if index >= len(fields):
            raise CannotMergeError(f"a CSV row has no column {name!r}")
        return fields[index]

    return key_of


def _json_key(name: str) -> KeyOf:
    """Return how to read JSON field ``name``; its value is compared as it is written."""

    def key_of(line: Record) -> Hashable:
        try:
            value = json.loads(line, parse_int=_Number, parse_float=_Number)
        except (ValueError, RecursionError):
            raise CannotMergeError("a line is not valid JSON") from None
        found = value.get(name, {}) if isinstance(value, dict) else {}
        if isinstance(found, dict | list):
            raise CannotMergeError(f"a record has no field {name!r} that could identify it")
        return type(found).__name__, found

    return key_of


class _Number(str):
    """A number as written, kept apart from text of the same digits."""

    __slots__ = ()


def _whole(record: Record) -> Hashable:
    return record


def _by_key(rows: list[Record], key_of: KeyOf) -> dict[Hashable, Record]:
    """Return the records by key; blank lines are dropped, and a key that stands twice is refused."""
    found: dict[Hashable, Record] = {}
    for row in rows:
        if not row.strip():
            continue
        key = key_of(row)
        if key in found:
            raise CannotMergeError(f"two records have the key {_shown(key)}")
        found[key] = row
    return found


def _merge_keyed(sides: Sequence[dict[Hashable, Record]], lost: list[str]) -> list[Record]:
    """Merge records by key, theirs first; ``lost`` receives the keys that both sides set."""
    base, ours, theirs = sides
    merged: list[Record] = []
    for key in (*theirs, *(key for key in ours if key not in theirs)):
        old, our, their = base.get(key), ours.get(key), theirs.get(key)
        if our in (their, old):
            chosen = their
        elif their == old:
            chosen = our
        else:
            # Both sides touched it: ours wins, but a deletion never wins over a change.
            chosen = our if our is not None else their
            lost.append(_shown(key))
        if chosen is not None:
            merged.append(chosen)
    return merged


def _merge_whole(sides: Sequence[list[Record]]) -> list[Record]:
    """Merge records that have no key: theirs without what we removed, then what only we added."""
    base, ours, theirs = (Counter(rows) for rows in sides)
    removed = (base - ours) - (base - theirs)  # what both sides removed is gone already
    added = (ours - base) - (theirs - base)
    merged: list[Record] = []
    for row in sides[2]:
        if removed[row] > 0:
            removed[row] -= 1
        else:
            merged.append(row)
    fresh: list[Record] = []
    for row in reversed(sides[1]):
        if added[row] > 0:
            added[row] -= 1
            fresh.append(row)
    return [*merged, *reversed(fresh)]


def _shown(key: Hashable) -> str:
    """Return a key for people."""
    return str(key[1]) if isinstance(key, tuple) else str(key)


def _rank(key: Hashable, record: Record) -> tuple[int, float, str, Record]:
    """Return what to sort by: numbers before other keys, by size."""
    if isinstance(key, bytes):
        return 1, 0.0, "", record
    text = _shown(key)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return 1, 0.0, text, record
    return 0, number, text, record
