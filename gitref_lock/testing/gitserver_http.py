"""HTTP as the embedded git server needs it: requests read whole, replies written whole, nothing in between.

A hand-written reader instead of ``http.server`` keeps a request under a tenth of a millisecond and, more to the point,
gives a fault plan full control over every byte that leaves (RFC 9112 for framing, gitprotocol-http(5) for the paths).
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote

_MAX_LINE = 65536
_MAX_HEADERS = 100


class RequestKind(StrEnum):
    """What a request asks of git; faults, hooks and counts are told apart by it.

    ``PROBE`` is the flush-only POST that the git command line sends ahead of a large body; ``OTHER`` is anything that
    is no smart request.
    """

    ADVERTISE_UPLOAD = "advertise-upload"
    ADVERTISE_RECEIVE = "advertise-receive"
    LS_REFS = "ls-refs"
    FETCH = "fetch"
    RECEIVE_PACK = "receive-pack"
    PROBE = "probe"
    OTHER = "other"


class BadRequestError(Exception):
    """The peer did not speak HTTP/1.1 as this server reads it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body decoded (chunks joined, gzip undone). Header names are lower case.

    ``wire_bytes`` is the size as it arrived, head included.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    kind: RequestKind
    wire_bytes: int
    keeps_alive: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. Length, date and connection headers are added when it is encoded."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def encode(self, *, date: str, keeps_alive: bool, chunked: bool = False, with_body: bool = True) -> bytes:
        """Return the bytes for the wire; ``chunked`` splits the body instead of giving its length."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{name}: {value}" for name, value in self.headers)]
        if not any(name.lower() == "date" for name, _ in self.headers):
            lines.append(f"Date: {date}")
        lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(self.body)}")
        if not keeps_alive:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if not with_body:
            return head
        return head + (_in_chunks(self.body) if chunked else self.body)


def _in_chunks(body: bytes, size: int = 8192) -> bytes:
    """Return ``body`` in the chunked transfer coding."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def classify(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> RequestKind:
    """Return the kind of a request from its line, headers and decoded body."""
    if method == "GET" and path.endswith("/info/refs"):
        if query == "service=git-upload-pack":
            return RequestKind.ADVERTISE_UPLOAD
        return RequestKind.ADVERTISE_RECEIVE if query == "service=git-receive-pack" else RequestKind.OTHER
    is_receive = path.endswith("/git-receive-pack")
    if method != "POST" or not (is_receive or path.endswith("/git-upload-pack")):
        return RequestKind.OTHER
    if body == b"0000":
        return RequestKind.PROBE
    if is_receive:
        return RequestKind.RECEIVE_PACK
    is_listing = "version=2" in headers.get("git-protocol", "") and body[4:].startswith(b"command=ls-refs")
    return RequestKind.LS_REFS if is_listing else RequestKind.FETCH


class RequestReader:
    """Reads requests from one connection, head and body apart so that ``100 Continue`` can be sent between."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read from a buffered binary stream."""
        self._stream = stream
        self._taken = 0

    def read_head(self) -> tuple[str, str, str, dict[str, str]] | None:
        """Return method, path, query and headers; None when the peer closed between two requests."""
        self._taken = 0
        line = self._line()
        if line is None:
            return None
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequestError(f"request line {line[:80]!r}")
        headers: dict[str, str] = {":version": words[2]}
        for _ in range(_MAX_HEADERS):
            field_line = self._line()
            if not field_line:
                break
            name, _, value = field_line.partition(":")
            headers[name.strip().lower()] = value.strip()
        path, _, query = words[1].partition("?")
        return words[0], unquote(path), query, headers

    def read_rest(self, head: tuple[str, str, str, dict[str, str]]) -> Request:
        """Return the whole request once its body has been read."""
        method, path, query, headers = head
        body = self._body(headers)
        if headers.get("content-encoding") in {"gzip", "x-gzip"}:
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError) as error:
                raise BadRequestError(f"gzip body: {error}") from error
        keeps_alive = headers[":version"] != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
        kind = classify(method, path, query, headers, body)
        return Request(method, path, query, headers, body, kind, self._taken, keeps_alive)

    def _line(self) -> str | None:
        """Return one line without its end; None at the end of the stream."""
        line = self._stream.readline(_MAX_LINE)
        self._taken += len(line)
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise BadRequestError("line too long or cut off")
        return line.decode("latin-1").rstrip("\r\n")

    def _exactly(self, size: int) -> bytes:
        """Return ``size`` bytes or raise."""
        data = self._stream.read(size)
        self._taken += len(data)
        if len(data) != size:
            raise BadRequestError(f"body ends after {len(data)} of {size} bytes")
        return data

    def _body(self, headers: Mapping[str, str]) -> bytes:
        """Return the body with its transfer coding undone."""
        if headers.get("transfer-encoding", "").lower() != "chunked":
            length = headers.get("content-length", "0")
            if not length.isdigit():
                raise BadRequestError(f"content-length {length!r}")
            return self._exactly(int(length))
        parts = []
        while True:
            size_line = self._line() or ""
            try:
                size = int(size_line.partition(";")[0], 16)
            except ValueError as error:
                raise BadRequestError(f"chunk size {size_line[:40]!r}") from error
            if size == 0:
                break
            parts.append(self._exactly(size))
            self._exactly(2)
        while self._line():
            pass
        return b"".join(parts)
