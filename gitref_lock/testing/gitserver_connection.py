"""One client connection of the embedded git server: requests answered in order, broken off where a fault says so."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from gitref_lock.testing.faults import Callback
from gitref_lock.testing.gitserver_cgi import BackendGoneError
from gitref_lock.testing.gitserver_http import BadRequestError, Reply, Request, RequestReader

if TYPE_CHECKING:
    from gitref_lock.testing.gitserver import GitHttpServer

_ABORTIVE_CLOSE = struct.pack("ii", 1, 0)


class Connection:
    """One client connection: reads requests and answers them in order."""

    def __init__(self, server: GitHttpServer, peer: socket.socket) -> None:
        """Take over an accepted socket."""
        self.server = server
        self._socket = peer
        self._is_open = True
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> None:
        """Answer requests until either side ends the connection."""
        try:
            if self.server.connect_latency_s:
                self.server.closing.wait(self.server.connect_latency_s)
            self._start_tls()
            with self._socket.makefile("rb") as stream:
                reader = RequestReader(stream)
                while self._is_open and self._serve_one(reader):
                    pass
        except (OSError, BackendGoneError):
            pass  # the peer went away, or the server is closing: there is nobody left to tell
        except BadRequestError as error:
            with contextlib.suppress(OSError):
                self.send(Reply(400, body=str(error).encode()), keeps_alive=False)
        finally:
            self._socket.close()
            self.server.forget(self)

    def _start_tls(self) -> None:
        """Shake hands when the server speaks TLS.

        In two steps, so that a server that closes meanwhile either finds the new socket or is noticed here.
        """
        if self.server.tls is None:
            return
        peer = self.server.tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = peer
        if self.server.closing.is_set():
            raise BackendGoneError
        peer.do_handshake()

    def _serve_one(self, reader: RequestReader) -> bool:
        """Read and answer one request; tell whether the connection goes on."""
        head = reader.read_head()
        if head is None:
            return False
        if head[3].get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = reader.read_rest(head)
        self.server.counts.add_request(request.kind, request.wire_bytes)
        if self.server.latency_s:
            self.server.closing.wait(self.server.latency_s)
        refusal = self.server.refusal(request)
        if refusal is not None:
            self.send(refusal, keeps_alive=request.keeps_alive)
            return request.keeps_alive
        fault, before, after = self.server.faults.take(request.kind)
        if before is not None:
            before(request)
        fault.run(_ServedExchange(self, request, after))
        return request.keeps_alive

    def send(self, reply: Reply, *, keeps_alive: bool, with_body: bool = True) -> None:
        """Send a whole reply."""
        self.send_bytes(
            reply.encode(
                date=self.server.http_date(),
                keeps_alive=keeps_alive,
                chunked=self.server.chunks_replies,
                with_body=with_body,
            )
        )

    def send_bytes(self, data: bytes) -> None:
        """Count and send."""
        self.server.counts.add_reply(len(data))
        self._socket.sendall(data)

    def hang_up(self) -> None:
        """Close in order; both directions, so that a reader on either side wakes."""
        self._is_open = False
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown: it takes the TLS state away under a thread that is reading.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def reset(self) -> None:
        """Arrange for the close to be a reset."""
        self._is_open = False
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTIVE_CLOSE)


class _ServedExchange:
    """One request on one connection, as a fault sees it."""

    def __init__(self, connection: Connection, request: Request, after: Callback | None) -> None:
        """Bind the three."""
        self._connection = connection
        self.request = request
        self._after = after

    def work(self) -> Reply:
        """Let git answer, then run the callback."""
        return self._connection.server.work(self.request, self._after)

    def send(self, reply: Reply) -> None:
        """Send a whole reply."""
        self._connection.send(reply, keeps_alive=self.request.keeps_alive, with_body=self.request.method != "HEAD")

    def send_part(self, reply: Reply) -> None:
        """Send the head and half of the body."""
        data = reply.encode(date=self._connection.server.http_date(), keeps_alive=True)
        self._connection.send_bytes(data[: len(data) - (len(reply.body) + 1) // 2])

    def send_slowly(self, reply: Reply, pause: Callable[[], object]) -> None:
        """Send a whole reply byte by byte, with a pause after each."""
        data = reply.encode(date=self._connection.server.http_date(), keeps_alive=self.request.keeps_alive)
        for position in range(len(data)):
            self._connection.send_bytes(data[position : position + 1])
            pause()

    def hang_up(self) -> None:
        """Close in order."""
        self._connection.hang_up()

    def reset(self) -> None:
        """Close with a reset."""
        self._connection.reset()
