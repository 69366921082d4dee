"""An embedded smart-HTTP git server on 127.0.0.1: real git behind it, faults and delays on demand.

Tests, demo and benchmarks talk to the same ``git http-backend`` that stock web servers run, and can make any single
request fail in any way a network or host can (``gitref_lock.testing.faults``). ``close`` ends all that was begun:
connections, threads and git processes.

Run as a module it serves a folder of repositories and prints its URL as the first line::

    python -m gitref_lock.testing.gitserver FOLDER --latency-ms 50
"""

from __future__ import annotations

import argparse
import base64
import email.utils
import os
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from gitref_lock.testing.faults import Callback, FaultPlan
from gitref_lock.testing.gitserver_cgi import GitBackend
from gitref_lock.testing.gitserver_connection import Connection
from gitref_lock.testing.gitserver_counts import CountsSnapshot, RequestCounts
from gitref_lock.testing.gitserver_http import Reply, Request, RequestKind

__all__ = ["CountsSnapshot", "GitHttpServer", "RequestCounts", "RequestKind"]

_PARENT_CHECK_S = 0.2


class GitHttpServer:
    """Serves the bare repositories below ``root``; usable as a context manager.

    ``latency_s`` is added to every request and ``connect_latency_s`` to every new connection, each in its own thread.
    ``auth`` demands HTTP basic credentials. ``date_offset_s`` shifts the ``Date`` header. ``chunks_replies`` sends
    replies chunked instead of with their length. Latencies, offset and chunking may be changed at any time.
    ``tls`` (a server-side context with its certificate) makes it an HTTPS server.
    """

    def __init__(
        self,
        root: Path,
        *,
        latency_s: float = 0.0,
        connect_latency_s: float = 0.0,
        auth: tuple[str, str] | None = None,
        date_offset_s: float = 0.0,
        faults: FaultPlan | None = None,
        chunks_replies: bool = False,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        """Listen at once; ``port`` 0 takes a free one."""
        self.latency_s = latency_s
        self.connect_latency_s = connect_latency_s
        self.date_offset_s = date_offset_s
        self.chunks_replies = chunks_replies
        self.tls = tls
        self.counts = RequestCounts()
        self.backend = GitBackend(root)
        self.closing = threading.Event()
        self._expected_auth = None if auth is None else _basic(*auth)
        self._user = "git" if auth is None else auth[0]
        self._plan = faults or FaultPlan()
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.settimeout(0)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept_all, name="git-server-accept", daemon=True)
        self._acceptor.start()

    def repo_url(self, name: str) -> str:
        """Return the URL of the repository in the folder ``name`` below the root."""
        return f"{self.url}/{name}"

    @property
    def faults(self) -> FaultPlan:
        """The plan in force; it may be extended."""
        return self._plan

    def set_faults(self, plan: FaultPlan | None = None) -> None:
        """Replace the plan; its count of requests begins now. None: nothing goes wrong any more."""
        self._plan = plan or FaultPlan()

    def close(self) -> None:
        """Refuse new connections, end open ones, kill running git processes and join all threads."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._wake_writer.send(b"x")
        self._acceptor.join()
        self._plan.release()
        self.backend.close()
        with self._lock:
            open_now = dict(self._connections)
        for connection, thread in open_now.items():
            connection.hang_up()
            thread.join()
        for end in (self._listener, self._wake_reader, self._wake_writer):
            end.close()

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the server."""
        self.close()

    def http_date(self) -> str:
        """Return the server's clock as the ``Date`` header says it: whole seconds, truncated."""
        return email.utils.formatdate(int(time.time() + self.date_offset_s), usegmt=True)

    def refusal(self, request: Request) -> Reply | None:
        """Return the 401 for a request without the right credentials."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if self._expected_auth is None or (scheme.lower() == "basic" and credentials.strip() == self._expected_auth):
            return None
        return Reply(401, (("WWW-Authenticate", 'Basic realm="git"'),))

    def work(self, request: Request, after: Callback | None) -> Reply:
        """Let git answer ``request``, then run ``after``."""
        reply = self.backend.answer(request, user=self._user)
        if after is not None:
            after(request)
        return reply

    def forget(self, connection: Connection) -> None:
        """Drop a connection that has ended."""
        with self._lock:
            self._connections.pop(connection, None)

    def _accept_all(self) -> None:
        """Start one thread a connection until the server closes."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self.closing.is_set():
                ready = {key.fileobj for key, _ in selector.select()}
                if self._listener in ready and not self.closing.is_set():
                    self._accept_one()

    def _accept_one(self) -> None:
        """Accept a connection and hand it to its thread."""
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return  # the peer gave up between the wake-up and here
        peer.settimeout(None)
        self.counts.add_connection()
        connection = Connection(self, peer)
        thread = threading.Thread(target=connection.serve, name="git-server-connection", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        thread.start()


def _basic(user: str, password: str) -> str:
    """Return what follows the scheme, whose case is free, in the Authorization header."""
    return base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def main(arguments: list[str] | None = None) -> int:
    """Serve a folder until SIGTERM or SIGINT (or, when asked, until the parent process is gone)."""
    parser = argparse.ArgumentParser(prog="python -m gitref_lock.testing.gitserver", description=__doc__)
    parser.add_argument("root", type=Path, help="folder of bare repositories")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every request")
    parser.add_argument("--connect-latency-ms", type=float, default=0.0, help="added to every new connection")
    parser.add_argument("--date-offset-s", type=float, default=0.0, help="added to the Date header")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent process ends")
    options = parser.parse_args(arguments)
    parent = os.getppid()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with GitHttpServer(
        options.root,
        latency_s=options.latency_ms / 1000,
        connect_latency_s=options.connect_latency_ms / 1000,
        date_offset_s=options.date_offset_s,
        port=options.port,
    ) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        while not ended.wait(_PARENT_CHECK_S):
            if options.with_parent and os.getppid() != parent:
                break
    return 0


if __name__ == "__main__":
    sys.exit(main())
