"""HTTP messages: replies in every allowed and many forbidden forms, fed in pieces of any size."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.remotes import http
from gitref_lock.remotes.http1 import BodyTooLargeError, HttpError, Reply, read_reply, request_bytes
from gitref_lock.remotes.streams import Deadline, LinkError
from gitref_lock.system import SystemClock

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: Text/X; charset=y\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"


class Pieces:
    """A stream that hands over its bytes in pieces, then ends."""

    def __init__(self, data: bytes, size: int = 1 << 16) -> None:
        """Cut ``data`` into pieces of ``size``."""
        self._pieces = [data[start : start + size] for start in range(0, len(data), size)]

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next piece."""
        return self._pieces.pop(0) if self._pieces else b""

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Take nothing."""

    def last_words(self, deadline: Deadline) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""

    abort = close


def read(data: bytes, size: int = 1 << 16, *, max_bytes: int = 1000, enough: int | None = None) -> Reply:
    """Read one reply out of ``data``."""
    return read_reply(Pieces(data, size), Deadline.after(SystemClock(), 60), max_bytes=max_bytes, enough=enough)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("data", [GOOD, CHUNKED])
def test_a_reply_reads_the_same_in_any_pieces(data: bytes, size: int) -> None:
    """Where the network cuts a reply does not matter."""
    found = read(data, size)
    assert (found.status, found.reason, found.body, found.keep_alive) == (200, "OK", b"hello", True)
    assert found.is_complete


def test_headers_are_found_in_any_case_and_joined() -> None:
    """Names are case-insensitive, repeated ones are one list, the type loses its parameters."""
    found = read(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nCONTENT-TYPE: Text/X; a=b\r\nContent-Length: 0\r\n\r\n")
    assert found.headers["x-a"] == "1, 2"
    assert found.content_type == "text/x"


def test_interim_replies_are_skipped() -> None:
    """100 and 103 come before the reply proper."""
    assert read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + GOOD).body == b"hello"
    with pytest.raises(HttpError, match="interim"):
        read(b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + GOOD)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0", True),
        (b"HTTP/1.1 204 Nothing", True),
    ],
)
def test_whether_the_connection_stays(head: bytes, kept: bool) -> None:
    """The version's default and the Connection header decide."""
    assert read(head + b"\r\n\r\n").keep_alive is kept


def test_a_body_without_length_ends_with_the_connection() -> None:
    """Such a reply is complete only at the end, and nothing can follow it."""
    found = read(b"HTTP/1.1 200 OK\r\n\r\nhello", 3)
    assert (found.body, found.keep_alive) == (b"hello", False)


def test_junk_after_a_reply_spoils_the_connection() -> None:
    """Bytes that nobody asked for must not be taken for the next reply."""
    assert read(GOOD + b"HTTP/1.1 200 OK\r\n").keep_alive is False


@given(st.binary(max_size=2000), st.integers(1, 400))
def test_a_gzip_body_is_unpacked(body: bytes, size: int) -> None:
    """Compressed replies read the same as plain ones."""
    packed = gzip.compress(body)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert read(head + packed, size, max_bytes=2000).body == body


def test_a_gzip_bomb_is_stopped() -> None:
    """The bound holds for the unpacked body."""
    packed = gzip.compress(bytes(1 << 20))
    with pytest.raises(BodyTooLargeError):
        read(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


@pytest.mark.parametrize("data", [b"\r\nhello" * 400, b"Content-Length: 2000\r\n\r\n" + bytes(2000)])
def test_a_large_body_is_stopped(data: bytes) -> None:
    """A body beyond the bound is an error of its own, whether announced or not."""
    with pytest.raises(BodyTooLargeError):
        read(b"HTTP/1.1 200 OK\r\n" + data)


@pytest.mark.parametrize("data", [GOOD, CHUNKED, CHUNKED.replace(b"hel", b"HEL")])
def test_no_part_of_a_reply_passes_for_a_reply(data: bytes) -> None:
    """Wherever the connection ends, an incomplete reply is an error."""
    for end in range(len(data)):
        with pytest.raises(LinkError):
            read(data[:end])


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nno",
        b"Content-Length: 9\r\n\r\nno",
    ],
)
def test_an_error_counts_although_its_body_is_cut_off(rest: bytes) -> None:
    """Apache ends some errors within their body; the status says all that is needed, and the connection is used up."""
    reply = read(b"HTTP/1.1 404 Not Found\r\n" + rest)
    assert (reply.status, reply.keep_alive, reply.is_complete) == (404, False, False)


def test_a_cut_gzip_body_is_an_error() -> None:
    """A complete length around an incomplete archive is not a complete reply."""
    packed = gzip.compress(b"x" * 500)[:-6]
    with pytest.raises(LinkError, match="cut off"):
        read(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


def test_the_caller_may_have_enough() -> None:
    """Only the beginning of a long reply is read; the connection is then of no further use."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n"
    found = read(head + bytes(500_000), 1000, max_bytes=1 << 20, enough=2500)
    assert 2500 <= len(found.body) <= 4000
    assert (found.is_complete, found.keep_alive) == (False, False)


@pytest.mark.parametrize(
    "data",
    [
        *(b"SSH-2.0-OpenSSH\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n"),
        *(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/1.1 200 OK\r\n bad: x\r\n\r\n", b"x" * 20_000),
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        *(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        *(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + tail
            for tail in (b"x\r\n", b"-1\r\n", b"1\r\nab")
        ),
    ],
)
def test_what_is_no_reply_is_an_error(data: bytes) -> None:
    """Other protocols, impossible lengths, unknown encodings and endless heads are refused."""
    with pytest.raises(LinkError):
        read(data + b"\r\n" * 3)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_a_link_error(data: bytes) -> None:
    """No input makes the reader raise anything else."""
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            read(prefix + data)
        except LinkError:
            continue


def test_a_request_is_written_as_given() -> None:
    """Target, headers and body stand in order."""
    assert request_bytes("POST", "/x", [("A", "b")], b"body") == b"POST /x HTTP/1.1\r\nA: b\r\n\r\nbody"


@pytest.mark.parametrize(
    ("target", "value"), [("/a b", "x"), ("/a\r\nX: y", "x"), ("/a", "x\r\nEvil: yes"), ("/", "\0")]
)
def test_nothing_breaks_out_of_its_line(target: str, value: str) -> None:
    """An address or a configured header with a line end is refused."""
    with pytest.raises(HttpError):
        request_bytes("GET", target, [("A", value)])


def test_nothing_is_collected_behind_a_gzip_body() -> None:
    """A server that goes on after the compressed body would fill our memory, which no bound on the body saw."""
    body = gzip.compress(b"hello", mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    assert read(head % len(body) + body).body == b"hello"
    for size in (7, 1 << 16):
        with pytest.raises(HttpError, match="behind the end"):
            read(head % (len(body) + 500) + body + b"x" * 500, size)


@pytest.mark.parametrize("value", ["5", "86400", "9" * 9, "9" * 5000])
def test_any_number_of_seconds_to_wait_is_read(value: str) -> None:
    """Python reads no number of thousands of digits; a header may hold one."""
    reply = read(b"HTTP/1.1 503 Busy\r\nRetry-After: " + value.encode() + b"\r\nContent-Length: 0\r\n\r\n")
    assert http._retry_after(reply) == min(float(value), 86400.0)


def test_the_body_of_an_error_is_bounded_too() -> None:
    """A refusal with a page larger than is wanted is the refusal, with as much of the page as is wanted."""
    reply = read(b"HTTP/1.1 503 Busy\r\n\r\n" + b"x" * 5000)
    assert (reply.status, len(reply.body), reply.is_complete) == (503, 1000, False)
