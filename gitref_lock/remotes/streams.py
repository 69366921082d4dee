"""Byte streams with a deadline and a count: what HTTP, ``git://`` and child processes have in common.

A server that sends one byte a second would outlive any per-read timeout; here every read and write is bounded by the
time that is left for the whole call. The one wait that cannot be bounded is the system's name lookup.
"""

from __future__ import annotations

import select
import socket
from typing import Protocol

from gitref_lock.core.lean import dataclass
from gitref_lock.ports import Clock, RemoteError, Traffic

CHUNK = 65536


class LinkError(RemoteError):
    """A connection could not be made or broke. ``nothing_sent``: no byte of the request can have reached the server."""

    def __init__(self, code: str, words: str, *, nothing_sent: bool = False, transient: bool = True) -> None:
        """Worth another try unless the caller says otherwise."""
        super().__init__(code, words, transient=transient)
        self.nothing_sent = nothing_sent


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one call on the monotonic clock; ``step_s`` bounds each single wait as well."""

    clock: Clock
    at: float
    step_s: float | None = None

    @classmethod
    def after(cls, clock: Clock, seconds: float, step_s: float | None = None) -> Deadline:
        """Return the deadline ``seconds`` from now."""
        return cls(clock, clock.monotonic() + seconds, step_s)

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self.at - self.clock.monotonic())

    def wait(self, what: str) -> float:
        """Return how long the next single wait may take; raise LinkError when the time is over."""
        left = self.left()
        if left <= 0:
            raise LinkError("timeout", f"no time left while {what}")
        return left if self.step_s is None else min(left, self.step_s)


class Stream(Protocol):
    """A connection in both directions; errors are LinkErrors."""

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``."""
        ...

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes, at most CHUNK of them; b'' at the end."""
        ...

    def last_words(self, deadline: Deadline) -> LinkError | None:
        """Return why the other side ended, where it said so outside the protocol."""
        ...

    def close(self) -> None:
        """End it in good order; never raises."""
        ...

    def abort(self) -> None:
        """End it now, because the other side hangs or made no sense; never raises."""
        ...


class Reader:
    """Exact reads on top of a stream, for parsers."""

    def __init__(self, stream: Stream, deadline: Deadline) -> None:
        """Read from ``stream`` until ``deadline``."""
        self.stream = stream
        self.deadline = deadline
        self.buffer = bytearray()

    def exactly(self, count: int) -> bytes:
        """Return ``count`` bytes; raise LinkError when the stream ends before."""
        while len(self.buffer) < count:
            chunk = self.stream.receive(self.deadline)
            if not chunk:
                said = self.stream.last_words(self.deadline)
                raise said or LinkError("unreachable", "the server closed the connection within its answer")
            self.buffer += chunk
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data


class SocketStream:
    """A TCP (or TLS) connection."""

    def __init__(self, sock: socket.socket, traffic: Traffic) -> None:
        """Own ``sock`` and count into ``traffic``."""
        self.sock = sock
        self._traffic = traffic

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``; the deadline holds for the whole of it."""
        self.sock.settimeout(deadline.wait("sending"))
        try:
            self.sock.sendall(data)
        except TimeoutError as exc:
            raise LinkError("timeout", "the server took no more bytes") from exc
        except OSError as exc:
            raise LinkError("unreachable", f"the connection broke while sending: {exc}") from exc
        self._traffic.bytes_sent += len(data)

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes; b'' at the end."""
        self.sock.settimeout(deadline.wait("waiting for the answer"))
        try:
            data = self.sock.recv(CHUNK)
        except TimeoutError as exc:
            raise LinkError("timeout", "the server did not answer in time") from exc
        except OSError as exc:
            raise LinkError("unreachable", f"the connection broke while reading: {exc}") from exc
        self._traffic.bytes_received += len(data)
        return data

    def is_idle(self) -> bool:
        """Tell whether a kept connection may carry another request: open, and nothing unasked has arrived."""
        if self.sock.fileno() < 0:
            return False
        try:
            if not select.select([self.sock], [], [], 0)[0]:
                return True
            # Bytes or an end. On TLS they may be session tickets only, which a read consumes without returning data.
            self.sock.settimeout(0)
            self.sock.recv(1)
        except BlockingIOError:
            return True
        except OSError as exc:
            return type(exc).__name__ == "SSLWantReadError"
        return False

    def last_words(self, deadline: Deadline) -> LinkError | None:  # noqa: ARG002 - part of Stream
        """A socket has no words outside the protocol."""
        return None

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def abort(self) -> None:
        """Close the socket."""
        self.sock.close()


def _plain(host: str) -> str | bytes:
    """Return a plain name as bytes: only other names need the codec of international ones, which is slow to import."""
    is_plain = host.isascii() and all(0 < len(label) < 64 for label in host.split("."))
    return host.encode("ascii") if is_plain else host


def connect(host: str, port: int, deadline: Deadline, connect_timeout_s: float) -> socket.socket:
    """Return a TCP connection with small writes sent at once; LinkError (nothing sent) when there is none."""
    try:
        addresses = socket.getaddrinfo(_plain(host), port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise LinkError("unreachable", f"{host}: {exc.strerror or exc}", nothing_sent=True) from exc
    except UnicodeError as exc:
        raise LinkError("unreachable", f"{host}: not a host name", nothing_sent=True, transient=False) from exc
    code, words = "unreachable", "no address"
    for family, kind, proto, _, address in addresses:
        try:
            wait = min(deadline.wait("connecting"), connect_timeout_s)
        except LinkError as exc:
            raise LinkError(exc.code, f"{host}:{port}: {exc.words}", nothing_sent=True) from exc
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as exc:
            words = str(exc)
            continue
        try:
            sock.settimeout(wait)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            sock.close()
            code = "timeout" if isinstance(exc, TimeoutError) else "unreachable"
            words = exc.strerror or str(exc)
            continue
        return sock
    raise LinkError(code, f"{host}:{port}: {words}", nothing_sent=True)
