"""Requests are read whole and told apart by kind; replies are framed as HTTP/1.1 demands."""

from __future__ import annotations

import io

import pytest

from gitref_lock.testing.gitserver_http import BadRequestError, Reply, Request, RequestKind, RequestReader, classify

V2 = {"git-protocol": "version=2"}


def read_one(data: bytes) -> Request:
    """Read one request from bytes."""
    reader = RequestReader(io.BytesIO(data))
    head = reader.read_head()
    assert head is not None
    return reader.read_rest(head)


@pytest.mark.parametrize(
    ("line", "headers", "body", "kind"),
    [
        ("GET /r/info/refs?service=git-upload-pack", {}, b"", RequestKind.ADVERTISE_UPLOAD),
        ("GET /r/info/refs?service=git-receive-pack", V2, b"", RequestKind.ADVERTISE_RECEIVE),
        ("GET /r/info/refs?", {}, b"", RequestKind.OTHER),
        ("GET /r/HEAD?", {}, b"", RequestKind.OTHER),
        ("POST /r/git-upload-pack?", V2, b"0014command=ls-refs\n0000", RequestKind.LS_REFS),
        ("POST /r/git-upload-pack?", V2, b"0012command=fetch\n0000", RequestKind.FETCH),
        ("POST /r/git-upload-pack?", {}, b"0032want ...", RequestKind.FETCH),
        ("POST /r/git-receive-pack?", {}, b"00a0...", RequestKind.RECEIVE_PACK),
        ("POST /r/git-receive-pack?", {}, b"0000", RequestKind.PROBE),
        ("POST /r/info/refs?service=git-upload-pack", {}, b"", RequestKind.OTHER),
    ],
)
def test_kinds(line: str, headers: dict[str, str], body: bytes, kind: RequestKind) -> None:
    """A request's kind follows from its line, its protocol version and its first bytes."""
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    assert classify(method, path, query, headers, body) == kind


def test_a_request_is_read_with_its_size_on_the_wire() -> None:
    """Path and query are split and decoded, header names are lower case, chunks are joined and counted."""
    data = (
        b"POST /a%20b/git-receive-pack?x=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Word: One\r\n\r\n"
        b"3;note\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
    )
    request = read_one(data)
    assert (request.method, request.path, request.query) == ("POST", "/a b/git-receive-pack", "x=1")
    assert request.headers["x-word"] == "One"
    assert request.body == b"abcde"
    assert request.wire_bytes == len(data)


@pytest.mark.parametrize(
    ("version", "connection", "keeps_alive"),
    [("1.1", b"", True), ("1.1", b"Connection: Close\r\n", False), ("1.0", b"", False)],
)
def test_who_keeps_a_connection_open(version: str, connection: bytes, keeps_alive: bool) -> None:
    """HTTP/1.1 stays open unless told otherwise; HTTP/1.0 does not."""
    assert read_one(f"GET / HTTP/{version}\r\n".encode() + connection + b"\r\n").keeps_alive == keeps_alive


def test_an_ended_stream_is_no_request() -> None:
    """A peer that closes between two requests is no error."""
    assert RequestReader(io.BytesIO(b"")).read_head() is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET /\r\n\r\n", "request line"),
        (b"GET / HTTP/1.1", "cut off"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "content-length"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", "after 3 of 5"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "chunk size"),
        (b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "gzip"),
    ],
)
def test_what_is_no_http_is_refused(data: bytes, words: str) -> None:
    """Each malformed request raises an error that says what was wrong."""
    with pytest.raises(BadRequestError, match=words):
        read_one(data)


def test_a_reply_with_its_length() -> None:
    """A reply carries its length and the date, and says when the connection ends."""
    encoded = Reply(200, (("Content-Type", "a/b"),), b"body").encode(date="today", keeps_alive=False)
    assert encoded == (
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nDate: today\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
    )


def test_a_chunked_reply() -> None:
    """A chunked reply has no length and ends with an empty chunk."""
    encoded = Reply(200, body=b"x" * 8193).encode(date="today", keeps_alive=True, chunked=True)
    head, _, body = encoded.partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert body == b"2000\r\n" + b"x" * 8192 + b"\r\n1\r\nx\r\n0\r\n\r\n"


def test_a_reply_to_head_and_an_unknown_status() -> None:
    """A reply without body keeps its length; a status without a name of its own is still a status line."""
    encoded = Reply(599, body=b"body").encode(date="today", keeps_alive=True, with_body=False)
    assert encoded == b"HTTP/1.1 599 Unknown\r\nDate: today\r\nContent-Length: 4\r\n\r\n"
