"""A counting git server in a process of its own, so that its work does not run under the lock of the measuring process.

Run as a module it serves a folder and obeys lines on standard input: ``counts`` prints the totals so far as JSON,
``latency A B`` sets what is added to each request and to each new connection, in milliseconds. It ends with its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Counts:
    """What clients cost a server: requests, of these writes (receive-pack), bytes on the wire, connections."""

    requests: int = 0
    writes: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    connections: int = 0

    def since(self, earlier: Counts) -> Counts:
        """Return what was added since ``earlier``."""
        return Counts(
            self.requests - earlier.requests,
            self.writes - earlier.writes,
            self.bytes_up - earlier.bytes_up,
            self.bytes_down - earlier.bytes_down,
            self.connections - earlier.connections,
        )


class Served:
    """A folder of bare repositories, served on loopback; usable as a context manager."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        """Start the server and wait for its address."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.benchlib.serving", str(root)],
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.latency = (0.0, 0.0)
        self.url = self._answer()

    def counts(self) -> Counts:
        """Return the totals so far."""
        return Counts(**json.loads(self._ask("counts")))

    def set_latency(self, request_ms: float, connection_ms: float) -> None:
        """Add this much to each request and to each new connection."""
        self._ask(f"latency {request_ms} {connection_ms}")
        self.latency = (request_ms, connection_ms)

    def close(self) -> None:
        """End the server and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server."""
        self.close()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise RuntimeError("the server ended unexpectedly")
        return answer


def main(root: Path) -> int:
    """Serve ``root`` until standard input ends."""
    from gitref_lock.testing.gitserver import GitHttpServer, RequestKind

    with GitHttpServer(root) as server:
        print(server.url, flush=True)
        for line in sys.stdin:
            word, *values = line.split()
            if word == "latency":
                server.latency_s, server.connect_latency_s = (float(value) / 1000 for value in values)
                print("ok", flush=True)
                continue
            seen = server.counts.snapshot()
            totals = {
                "requests": seen.requests,
                "writes": seen.by_kind.get(RequestKind.RECEIVE_PACK, 0),
                "bytes_up": seen.bytes_in,
                "bytes_down": seen.bytes_out,
                "connections": seen.connections,
            }
            print(json.dumps(totals), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
