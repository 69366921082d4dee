"""HTTP/1.1 messages: just what a git client needs, written so that every read is bounded in size and time.

``http.client`` would be the natural choice, but it costs a lock command about a fifth of its start-up (it imports the
mail package and TLS even for plain HTTP), hides whether a request was sent at all, and has only per-read timeouts.
Rules: RFC 9112 (messages), RFC 9110 (meaning).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence

from gitref_lock.core.lean import dataclass
from gitref_lock.remotes.streams import Deadline, LinkError, Stream

MAX_HEAD_BYTES = 65536
MAX_INTERIM_REPLIES = 16
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"\w{3}, (\d{2}) (\w{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT")


class HttpError(LinkError):
    """The peer does not speak HTTP as we understand it, or its reply is larger than the caller wants."""

    def __init__(self, words: str) -> None:
        """A protocol error; trying again may meet a healthier proxy."""
        super().__init__("protocol", words)


class BodyTooLargeError(HttpError):
    """The reply's body exceeds the caller's bound."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply. ``is_complete`` is false when the caller had enough before its end, or an error's body was cut off."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool
    is_complete: bool = True

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def request_bytes(method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
    """Return a request; raise HttpError when the target or a header would break out of its line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any(character in line for line in lines for character in "\r\n\0") or " " in target:
        raise HttpError("a header or the address holds a line end or a space")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + body


class _Feed:
    """Lines and bytes out of a stream; ``limit`` bounds what is kept."""

    def __init__(self, stream: Stream, deadline: Deadline) -> None:
        self.stream = stream
        self.deadline = deadline
        self.buffer = bytearray()

    def more(self) -> bool:
        """Read once; return whether anything came."""
        chunk = self.stream.receive(self.deadline)
        self.buffer += chunk
        return bool(chunk)

    def line(self, *, room: int) -> bytes:
        """Return the next line without its end; HttpError when it is longer than ``room``."""
        start = 0
        while (end := self.buffer.find(b"\n", start)) < 0:
            start = len(self.buffer)
            if start > room:
                raise HttpError("a line of the reply is too long")
            if not self.more():
                raise LinkError("unreachable", "the server closed the connection before its reply was complete")
        if end > room:
            raise HttpError("a line of the reply is too long")
        line = bytes(self.buffer[:end]).removesuffix(b"\r")
        del self.buffer[: end + 1]
        return line

    def take(self, count: int) -> bytes:
        """Return up to ``count`` bytes that are there; b'' only at the end of the stream."""
        if not self.buffer and not self.more():
            return b""
        data = bytes(self.buffer[:count])
        del self.buffer[: len(data)]
        return data


class _Body:
    """The decoded body so far, bounded."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self.data = bytearray()
        self._max = max_bytes
        is_zipped = encoding in {"gzip", "x-gzip"}
        self._engine = zlib.decompressobj(16 + zlib.MAX_WBITS) if is_zipped else None
        if not is_zipped and encoding not in {"", "identity"}:
            raise HttpError(f"unknown content encoding {encoding[:40]!r}")

    def add(self, chunk: bytes) -> None:
        if self._engine is None:
            self.data += chunk
        else:
            try:
                self.data += self._engine.decompress(chunk, self._max + 1 - len(self.data))
            except zlib.error as exc:
                raise HttpError(f"a damaged gzip body: {exc}") from exc
            if self._engine.unused_data:  # zlib would collect it without a bound
                raise HttpError("bytes behind the end of a gzip body")
            if self._engine.unconsumed_tail:
                raise BodyTooLargeError(f"the reply exceeds {self._max} bytes")
        if len(self.data) > self._max:
            raise BodyTooLargeError(f"the reply exceeds {self._max} bytes")

    def finish(self) -> bytes:
        if self._engine is not None and not self._engine.eof and self.data:
            raise LinkError("unreachable", "the reply's gzip body is cut off")
        return bytes(self.data)


def read_reply(
    stream: Stream, deadline: Deadline, *, max_bytes: int, enough: int | None = None, has_body: bool = True
) -> Reply:
    """Read one reply.

    ``enough``: return after so many body bytes although more may follow (the connection is then of no further use).
    ``has_body`` false: a successful CONNECT, whose stream goes on as a tunnel.
    """
    feed = _Feed(stream, deadline)
    for _ in range(MAX_INTERIM_REPLIES):
        version, status, reason = _status_line(feed)
        headers = _headers(feed)
        if status >= 200 or status == 101:
            break
    else:
        raise HttpError("too many interim replies")
    tokens = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    keep_alive = "close" not in tokens and (version == "HTTP/1.1" or "keep-alive" in tokens)
    if status in {204, 304} or (not has_body and 200 <= status < 300):
        return Reply(status, reason, headers, b"", keep_alive and not feed.buffer)
    body = _Body(headers.get("content-encoding", "").strip().lower(), max_bytes)
    try:
        is_complete, until_end = _read_body(feed, headers, body, enough)
    except LinkError:
        # An error's status says it all; Apache never ends the body of some, and closes the connection seconds later.
        if status < 400:
            raise
        is_complete, until_end = False, True
    data = body.finish() if is_complete else bytes(body.data[:max_bytes])
    keep_alive = keep_alive and is_complete and not until_end and not feed.buffer
    return Reply(status, reason, headers, data, keep_alive, is_complete)


def _status_line(feed: _Feed) -> tuple[str, int, str]:
    """Return version, status and reason."""
    line = feed.line(room=8192).decode("latin-1")
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
        raise HttpError(f"not an HTTP reply: {line[:60]!r}")
    return version, int(code), reason.strip()


def _headers(feed: _Feed) -> dict[str, str]:
    """Return the headers by lower-case name; repeated ones are joined by commas."""
    headers: dict[str, str] = {}
    room = MAX_HEAD_BYTES
    while line := feed.line(room=room):
        room -= len(line)
        if room <= 0:
            raise HttpError("the reply's head is too long")
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise HttpError(f"not a header: {name[:60]!r}")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return headers


def _read_body(feed: _Feed, headers: Mapping[str, str], body: _Body, enough: int | None) -> tuple[bool, bool]:
    """Read the body into ``body``; return whether it is complete, and whether only the connection's end said so."""
    encoding = headers.get("transfer-encoding", "").lower()
    if encoding == "chunked":
        return _read_chunks(feed, body, enough), False
    if encoding:
        raise HttpError(f"unknown transfer encoding {encoding[:40]!r}")
    length = headers.get("content-length")
    if length is None:
        while chunk := feed.take(1 << 20):
            body.add(chunk)
            if enough is not None and len(body.data) >= enough:
                return False, True
        return True, True
    values = {value.strip() for value in length.split(",")}
    value = values.pop()
    if values or not (value.isascii() and value.isdigit()) or len(value) > 15:
        raise HttpError(f"not a content length: {length[:40]!r}")
    return _read_counted(feed, body, int(value), enough), False


def _read_counted(feed: _Feed, body: _Body, count: int, enough: int | None) -> bool:
    """Add exactly ``count`` raw bytes to ``body``; return False when the caller had enough before the end."""
    while count:
        if enough is not None and len(body.data) >= enough:
            return False
        chunk = feed.take(count)
        if not chunk:
            raise LinkError("unreachable", "the server closed the connection before its reply was complete")
        count -= len(chunk)
        body.add(chunk)
    return True


def _read_chunks(feed: _Feed, body: _Body, enough: int | None) -> bool:
    """Add a chunked body to ``body``; return False when the caller had enough before the end."""
    while True:
        word = feed.line(room=1024).partition(b";")[0].strip()
        try:
            size = int(word, 16) if word.isalnum() and len(word) <= 12 else -1
        except ValueError:
            size = -1
        if size < 0:
            raise HttpError(f"not a chunk size: {word[:20]!r}")
        if size == 0:
            break
        if not _read_counted(feed, body, size, enough):
            return False
        if feed.line(room=16):
            raise HttpError("a chunk is longer than it says")
    for _ in range(100):
        if not feed.line(room=MAX_HEAD_BYTES):
            return True
    raise HttpError("too many trailers")


def http_date(text: str) -> int | None:
    """Return the Unix second of an IMF-fixdate (RFC 9110, section 5.6.7), or None for anything else."""
    match = _DATE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _MONTHS:
        return None
    day, year = int(match[1]), int(match[3])
    month = _MONTHS.index(match[2].lower()) + 1
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    if not (1970 <= year <= 9999 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    # Days since 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March.
    shifted = year - (month <= 2)
    leap_days = shifted // 4 - shifted // 100 + shifted // 400
    days = 365 * shifted + leap_days + (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return (days - 719468) * 86400 + hour * 3600 + minute * 60 + second
