"""Streams: deadlines that hold for a whole call, and what broken sockets turn into."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from gitref_lock.ports import Traffic
from gitref_lock.remotes.streams import Deadline, LinkError, Reader, SocketStream, connect
from gitref_lock.system import SystemClock


@pytest.fixture
def pair() -> Iterator[tuple[SocketStream, socket.socket]]:
    """Return a stream and its other end, over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    stream = SocketStream(near, Traffic())
    with far:
        yield stream, far
    stream.close()


def soon(seconds: float = 20.0, step_s: float | None = None) -> Deadline:
    """Return a deadline on the real clock."""
    return Deadline.after(SystemClock(), seconds, step_s)


def test_a_deadline_that_is_over_lets_nothing_begin() -> None:
    """No wait of zero length is handed out."""
    with pytest.raises(LinkError, match="no time left while sending") as caught:
        soon(-1).wait("sending")
    assert (caught.value.code, caught.value.transient, caught.value.nothing_sent) == ("timeout", True, False)
    assert soon(-1).left() == 0


def test_a_single_wait_is_bounded_by_the_step() -> None:
    """A call's time may be longer than any wait within it."""
    assert soon(20, step_s=3).wait("x") == 3
    assert 0 < soon(2, step_s=3).wait("x") <= 2


def test_exact_reads_cross_the_borders_of_packets(pair: tuple[SocketStream, socket.socket]) -> None:
    """What arrives in pieces is handed over as asked, and counted."""
    stream, far = pair
    traffic = stream._traffic
    far.sendall(b"hel")
    far.sendall(b"lo world")
    reader = Reader(stream, soon())
    assert reader.exactly(5) + reader.exactly(0) + reader.exactly(6) == b"hello world"
    assert traffic.bytes_received == 11


def test_an_end_within_an_answer_is_an_error(pair: tuple[SocketStream, socket.socket]) -> None:
    """A stream that ends too early does not yield less than asked."""
    stream, far = pair
    far.sendall(b"hel")
    far.close()
    with pytest.raises(LinkError, match="closed the connection within its answer"):
        Reader(stream, soon()).exactly(5)


def test_a_reset_is_an_error(pair: tuple[SocketStream, socket.socket]) -> None:
    """A reset while reading or sending is unreachable, not a crash."""
    stream, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    with pytest.raises(LinkError, match="broke while reading") as caught:
        stream.receive(soon())
    assert caught.value.code == "unreachable"
    with pytest.raises(LinkError, match="broke while sending"):
        stream.send(bytes(64 << 20), soon())


def test_a_peer_that_takes_nothing_ends_in_time(pair: tuple[SocketStream, socket.socket]) -> None:
    """Sending more than fits into the network's buffers ends at the deadline."""
    stream, _ = pair
    with pytest.raises(LinkError, match="took no more bytes") as caught:
        stream.send(bytes(64 << 20), soon(0.3))
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(("act", "idle"), [("", True), ("talk", False), ("close", False)])
def test_only_a_silent_open_connection_is_idle(pair: tuple[SocketStream, socket.socket], act: str, idle: bool) -> None:
    """Unasked bytes or an end spoil a kept connection."""
    stream, far = pair
    if act == "talk":
        far.sendall(b"x")
    if act == "close":
        far.shutdown(socket.SHUT_WR)
    if act:
        assert len(stream.sock.recv(1, socket.MSG_PEEK)) == (act == "talk")
    assert stream.is_idle() is idle


def test_a_closed_socket_is_not_idle(pair: tuple[SocketStream, socket.socket]) -> None:
    """What this side has closed cannot be used again."""
    stream, _ = pair
    stream.abort()
    assert not stream.is_idle()


@pytest.mark.parametrize(
    ("host", "code", "transient"),
    [("nothing.invalid", "unreachable", True), ("a" * 300, "unreachable", False), ("127.0.0.1", "unreachable", True)],
)
def test_without_a_connection_nothing_was_sent(host: str, code: str, transient: bool) -> None:
    """Unknown names, impossible names and refused connections all happen before anything is sent."""
    with pytest.raises(LinkError) as caught:
        connect(host, 1, soon(), 5.0)
    assert (caught.value.code, caught.value.transient, caught.value.nothing_sent) == (code, transient, True)


def test_no_connection_is_begun_without_time() -> None:
    """A deadline that is over is a timeout, and nothing was sent."""
    with pytest.raises(LinkError) as caught:
        connect("127.0.0.1", 1, soon(-1), 5.0)
    assert (caught.value.code, caught.value.nothing_sent) == ("timeout", True)
