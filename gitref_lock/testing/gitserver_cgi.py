"""Runs ``git http-backend``: the same program that serves git behind every stock web server.

The promise kept here: no process outlives the server. Each backend leads its own process group, which ``close`` kills;
nothing that git would start in the background (automatic garbage collection) is started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from pathlib import Path

from gitref_lock.testing.gitserver_http import Reply, Request

_CONCURRENT_BACKENDS = 64


class BackendGoneError(Exception):
    """The server is closing; no further git process is started."""


def _backend_path() -> Path:
    """Return the path of git's own CGI program."""
    exec_path = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    return Path(exec_path) / "git-http-backend"


class GitBackend:
    """Answers requests for the repositories below ``root``. Thread-safe.

    ``complaints`` keeps the last lines that git wrote to its standard error.
    """

    def __init__(self, root: Path) -> None:
        """Find git's CGI program and prepare its environment."""
        self._program = _backend_path()
        self._slots = threading.BoundedSemaphore(_CONCURRENT_BACKENDS)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_closed = False
        self.complaints: deque[str] = deque(maxlen=200)
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "LC_ALL": "C",
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            # Garbage collection after a push would daemonise and outlive the request.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "receive.autogc",
            "GIT_CONFIG_VALUE_0": "false",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
        }

    def answer(self, request: Request, *, user: str) -> Reply:
        """Run git for ``request`` to its end and return its reply; raise BackendGoneError while closing."""
        environment = self._environment | {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "REMOTE_USER": user,
        }
        if "git-protocol" in request.headers:
            environment["GIT_PROTOCOL"] = request.headers["git-protocol"]
        with self._slots:
            process = self._start(environment)
            try:
                output, complaint = process.communicate(request.body)
            finally:
                with self._lock:
                    self._running.discard(process)
        if self._is_closed:
            raise BackendGoneError  # killed half-way, perhaps after a head that says 200
        if complaint:
            self.complaints.extend(complaint.decode("utf-8", "replace").splitlines())
        return _parse_cgi(output)

    def close(self) -> None:
        """Kill every running backend with its children; those waiting to start will not."""
        with self._lock:
            self._is_closed = True
            running = list(self._running)
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def _start(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start one backend in a process group of its own."""
        with self._lock:
            if self._is_closed:
                raise BackendGoneError
            process = subprocess.Popen(
                [str(self._program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                process_group=0,
            )
            self._running.add(process)
            return process


def _parse_cgi(output: bytes) -> Reply:
    """Return the reply in a CGI program's output; a program that died before its headers is a 500."""
    head, separator, body = output.partition(b"\r\n\r\n")
    if not separator:
        return Reply(500)
    status = 200
    headers = []
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        elif name.lower() != "content-length":
            headers.append((name, value.strip()))
    return Reply(status, tuple(headers), body)
