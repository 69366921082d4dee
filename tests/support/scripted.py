"""Small servers that do as they are told: a scripted HTTP peer and an HTTP proxy, for what no stock server does."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


def http_reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return a reply with its length; underscores in header names stand for hyphens."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def read_request(stream: BinaryIO) -> Seen | None:
    """Read one request; None at the end of the connection."""
    first = stream.readline().decode().rstrip("\r\n")
    if not first:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline().decode().rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Seen(first, headers, stream.read(int(headers.get("content-length", "0"))))


class _Listener:
    """Accepts connections in a thread of its own and serves each in another."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            if self._closing:
                peer.close()
                return
            self.connections += 1
            self._open.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer, peer.makefile("rb") as stream:
            self.serve(peer, stream)

    def serve(self, peer: socket.socket, stream: BinaryIO) -> None:
        """Serve one connection."""
        raise NotImplementedError

    def hang_up_all(self) -> None:
        """End every connection, as a server does with idle ones."""
        for peer in self._open:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything; a second call does nothing."""
        if self._closing:
            return
        self._closing = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._acceptor.join(10)
        self._listener.close()
        self.hang_up_all()
        for thread in self._threads:
            thread.join(10)


class ScriptedServer(_Listener):
    """Answers the nth request with the nth reply, whatever it asks; b'' hangs up instead, as does the script's end."""

    def __init__(self, replies: Sequence[bytes]) -> None:
        """Listen at once."""
        self.seen: list[Seen] = []
        self._replies = list(replies)
        super().__init__()

    @property
    def url(self) -> str:
        """The address of a repository there."""
        return f"http://127.0.0.1:{self.port}/repo.git"

    def serve(self, peer: socket.socket, stream: BinaryIO) -> None:
        """Serve requests until the script says to hang up."""
        while (request := read_request(stream)) is not None:
            self.seen.append(request)
            reply = self._replies.pop(0) if self._replies else b""
            if not reply:
                return
            peer.sendall(reply)


class ProxyServer(_Listener):
    """An HTTP proxy: tunnels for CONNECT, forwards one request a connection otherwise.

    ``auth`` is demanded if given; headers named in ``strips`` (in lower case) do not pass.
    """

    def __init__(self, auth: tuple[str, str] | None = None, strips: frozenset[str] = frozenset()) -> None:
        """Listen at once."""
        self._strips = strips | {"proxy-authorization"}
        self.lines: list[str] = []
        self._expected = None if auth is None else "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        super().__init__()

    def serve(self, peer: socket.socket, stream: BinaryIO) -> None:
        """Serve one connection."""
        request = read_request(stream)
        if request is None:
            return
        self.lines.append(request.line)
        if request.headers.get("proxy-authorization") != self._expected:
            peer.sendall(http_reply(407, b"who are you?"))
            return
        method, target, _ = request.line.split(" ")
        place = target if method == "CONNECT" else target.removeprefix("http://").partition("/")[0]
        host, _, port = place.partition(":")
        with socket.create_connection((host, int(port))) as upstream:
            if method == "CONNECT":
                peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream.sendall(self._forwarded(request, target, place))
            for data, receiver in _pumped(peer, upstream):
                receiver.sendall(data)

    def _forwarded(self, request: Seen, target: str, place: str) -> bytes:
        """Return the request as the origin gets it."""
        method = request.line.split(" ")[0]
        head = [f"{method} {target.removeprefix('http://' + place)} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in request.headers.items() if name not in self._strips]
        return ("\r\n".join(head) + "\r\nConnection: close\r\n\r\n").encode() + request.body


def _pumped(one: socket.socket, other: socket.socket) -> Iterator[tuple[bytes, socket.socket]]:
    """Yield what comes from either side and where it goes, until one side ends."""
    partner = {one: other, other: one}
    while True:
        for sender in select.select([one, other], [], [])[0]:
            data = sender.recv(65536)
            if not data:
                return
            yield data, partner[sender]
