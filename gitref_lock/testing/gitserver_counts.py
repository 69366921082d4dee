"""What a client cost the server: requests by kind, bytes on the wire, connections.

Counts are raised before the reply leaves, so that a client that has its reply reads exact numbers.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gitref_lock.testing.gitserver_http import RequestKind


@dataclass(frozen=True, slots=True)
class CountsSnapshot:
    """Counts at one instant. ``bytes_in`` and ``bytes_out`` include HTTP heads; ``by_kind`` has no zero entries."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections: int = 0
    by_kind: Mapping[RequestKind, int] = field(default_factory=dict)

    def diff(self, earlier: CountsSnapshot) -> CountsSnapshot:
        """Return what was added since ``earlier``."""
        kinds = Counter(self.by_kind)
        kinds.subtract(earlier.by_kind)
        return CountsSnapshot(
            self.requests - earlier.requests,
            self.bytes_in - earlier.bytes_in,
            self.bytes_out - earlier.bytes_out,
            self.connections - earlier.connections,
            {kind: count for kind, count in kinds.items() if count},
        )


class RequestCounts:
    """Running totals of one server. Thread-safe."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._kinds: Counter[RequestKind] = Counter()
        self._bytes_in = 0
        self._bytes_out = 0
        self._connections = 0

    def add_request(self, kind: RequestKind, bytes_in: int) -> None:
        """Count one request that was read completely."""
        with self._lock:
            self._kinds[kind] += 1
            self._bytes_in += bytes_in

    def add_reply(self, bytes_out: int) -> None:
        """Count bytes that are about to be sent."""
        with self._lock:
            self._bytes_out += bytes_out

    def add_connection(self) -> None:
        """Count one accepted connection."""
        with self._lock:
            self._connections += 1

    def snapshot(self) -> CountsSnapshot:
        """Return the totals so far."""
        with self._lock:
            return CountsSnapshot(
                self._kinds.total(), self._bytes_in, self._bytes_out, self._connections, dict(self._kinds)
            )
