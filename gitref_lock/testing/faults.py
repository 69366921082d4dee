"""Fault plans for the embedded git server: what goes wrong, at which request, without any luck.

A plan names the nth request of a kind and what becomes of it. Everything that has to happen "later" or "meanwhile"
is driven by the test through events and callbacks, so that a scenario runs the same way every time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gitref_lock.testing.gitserver_http import Reply, Request, RequestKind


class Exchange(Protocol):
    """One request in the server's hands, and what can be done with it."""

    @property
    def request(self) -> Request:
        """The request, read completely."""
        ...

    def work(self) -> Reply:
        """Let git do what the request asks, then run the plan's ``after`` callback."""
        ...

    def send(self, reply: Reply) -> None:
        """Send a whole reply."""
        ...

    def send_part(self, reply: Reply) -> None:
        """Send a reply's head and half of its body, under a Content-Length that promises all of it."""
        ...

    def send_slowly(self, reply: Reply, pause: Callable[[], object]) -> None:
        """Send a whole reply byte by byte and call ``pause`` after each."""
        ...

    def hang_up(self) -> None:
        """Close the connection in order."""
        ...

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        ...


class Fault(Protocol):
    """What becomes of one request."""

    def run(self, exchange: Exchange) -> None:
        """Work, reply, hang up or not."""
        ...

    def release(self) -> None:
        """Let go of anything that is being held, because the server closes."""
        ...


class _Momentary:
    """A fault that holds nothing."""

    def release(self) -> None:
        """Have nothing to let go of."""


class NoFault(_Momentary):
    """Serve the request."""

    def run(self, exchange: Exchange) -> None:
        """Work and reply."""
        exchange.send(exchange.work())


class DropBefore(_Momentary):
    """Close the connection without doing the work."""

    def run(self, exchange: Exchange) -> None:
        """Hang up at once."""
        exchange.hang_up()


class DropAfter(_Momentary):
    """Do the work, then close the connection without a reply."""

    def run(self, exchange: Exchange) -> None:
        """Work, then hang up."""
        exchange.work()
        exchange.hang_up()


@dataclass(frozen=True)
class Status(_Momentary):
    """Answer with an HTTP error; git does its work only with ``after_work``.

    ``retry_after`` is the header's text: seconds or an HTTP date.
    """

    code: int
    retry_after: str | None = None
    after_work: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def run(self, exchange: Exchange) -> None:
        """Reply with the status."""
        if self.after_work:
            exchange.work()
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = self.retry_after
        exchange.send(Reply(self.code, tuple(headers.items()), self.body))


class EmptyOk(_Momentary):
    """Answer 200 with the right type and no body, as git does for a wrong object format; no work is done."""

    def run(self, exchange: Exchange) -> None:
        """Reply with nothing."""
        service = exchange.request.path.rpartition("/")[2]
        exchange.send(Reply(200, (("Content-Type", f"application/x-{service}-result"),)))


class Truncate(_Momentary):
    """Do the work, send half of the reply, close in order."""

    def run(self, exchange: Exchange) -> None:
        """Work, half a reply, hang up."""
        exchange.send_part(exchange.work())
        exchange.hang_up()


class ResetMidReply(_Momentary):
    """Do the work, send half of the reply, reset the connection."""

    def run(self, exchange: Exchange) -> None:
        """Work, half a reply, reset."""
        exchange.send_part(exchange.work())
        exchange.reset()


@dataclass(frozen=True)
class WorkTwice(_Momentary):
    """Do the work twice, as when a middlebox resends a request; reply with the ``first`` or the second answer."""

    first: bool = False

    def run(self, exchange: Exchange) -> None:
        """Work, work again, reply once."""
        earlier = exchange.work()
        later = exchange.work()
        exchange.send(earlier if self.first else later)


@dataclass(frozen=True)
class WithHeaders(_Momentary):
    """Do the work and reply with these headers put in place of git's own, such as ``Age`` or a wrong ``Date``."""

    headers: Mapping[str, str]

    def run(self, exchange: Exchange) -> None:
        """Work, reply with changed headers."""
        reply = exchange.work()
        replaced = {name.lower() for name in self.headers}
        kept = tuple((name, value) for name, value in reply.headers if name.lower() not in replaced)
        exchange.send(Reply(reply.status, kept + tuple(self.headers.items()), reply.body))


class Trickle:
    """Do the work, then send the reply one byte every ``pause_s``, so that no single read of the client times out.

    ``let_go`` sends the rest at once.
    """

    def __init__(self, *, pause_s: float = 0.05) -> None:
        """Hold nothing yet."""
        self._may_go = threading.Event()
        self._pause_s = pause_s

    def let_go(self) -> None:
        """Pause no more."""
        self._may_go.set()

    def run(self, exchange: Exchange) -> None:
        """Work, reply slowly."""
        exchange.send_slowly(exchange.work(), lambda: self._may_go.wait(self._pause_s))

    def release(self) -> None:
        """Pause no more."""
        self._may_go.set()


class Stall:
    """Hold the reply until ``let_go`` is called or ``timeout_s`` has passed, then send it.

    ``arrived`` is set as soon as the reply is held; the work is done by then unless ``before_work``.
    """

    def __init__(self, *, timeout_s: float = 60.0, before_work: bool = False) -> None:
        """Hold nothing yet."""
        self.arrived = threading.Event()
        self._may_go = threading.Event()
        self._timeout_s = timeout_s
        self._before_work = before_work

    def let_go(self) -> None:
        """Send the held reply now."""
        self._may_go.set()

    def run(self, exchange: Exchange) -> None:
        """Work and hold, or hold and work; then reply."""
        reply = None if self._before_work else exchange.work()
        self.arrived.set()
        self._may_go.wait(self._timeout_s)
        exchange.send(exchange.work() if reply is None else reply)

    def release(self) -> None:
        """Stop holding."""
        self._may_go.set()


class LateCopy:
    """Close the client's connection now; the request is applied when the test calls ``apply``.

    This is the copy of a request that was on its way when its sender gave up on it.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.arrived = threading.Event()
        self._exchange: Exchange | None = None

    def run(self, exchange: Exchange) -> None:
        """Keep the request and hang up."""
        self._exchange = exchange
        self.arrived.set()
        exchange.hang_up()

    def apply(self) -> Reply:
        """Let git do the work now, in the caller's thread, and return the reply that nobody receives."""
        if self._exchange is None:
            raise LookupError("no request has been held yet")
        return self._exchange.work()

    def release(self) -> None:
        """Have nothing to let go of: a copy that nobody applies is lost."""


Callback = Callable[[Request], object]


class FaultPlan:
    """Rules by kind and ordinal. The first request of a kind after the plan was set is number 1.

    A plan may be extended while it is in use. Thread-safe.
    """

    def __init__(self) -> None:
        """Begin with a plan in which nothing goes wrong."""
        self._lock = threading.Lock()
        self._seen: Counter[RequestKind] = Counter()
        self._faults: dict[tuple[RequestKind, int], Fault] = {}
        self._lasting: dict[RequestKind, Fault] = {}
        self._before: dict[tuple[RequestKind, int], Callback] = {}
        self._after: dict[tuple[RequestKind, int], Callback] = {}

    def on(self, kind: RequestKind | str, ordinals: int | range | tuple[int, ...], fault: Fault) -> FaultPlan:
        """Apply ``fault`` to these requests of ``kind``; return the plan itself."""
        numbers = (ordinals,) if isinstance(ordinals, int) else ordinals
        with self._lock:
            self._faults.update({(RequestKind(kind), number): fault for number in numbers})
        return self

    def always(self, kind: RequestKind | str, fault: Fault) -> FaultPlan:
        """Apply ``fault`` to every request of ``kind`` that has no rule of its own; return the plan itself."""
        with self._lock:
            self._lasting[RequestKind(kind)] = fault
        return self

    def before(self, kind: RequestKind | str, ordinal: int, callback: Callback) -> FaultPlan:
        """Run ``callback`` in the server's thread once the request has arrived, before anything is done with it."""
        with self._lock:
            self._before[RequestKind(kind), ordinal] = callback
        return self

    def after(self, kind: RequestKind | str, ordinal: int, callback: Callback) -> FaultPlan:
        """Run ``callback`` in the server's thread once git has done the work, before the reply leaves."""
        with self._lock:
            self._after[RequestKind(kind), ordinal] = callback
        return self

    def seen(self, kind: RequestKind | str) -> int:
        """Return how many requests of ``kind`` have met this plan."""
        with self._lock:
            return self._seen[RequestKind(kind)]

    def take(self, kind: RequestKind) -> tuple[Fault, Callback | None, Callback | None]:
        """Count one request of ``kind``; return its fault and its two callbacks."""
        with self._lock:
            self._seen[kind] += 1
            key = (kind, self._seen[kind])
            fault = self._faults.get(key) or self._lasting.get(kind) or NoFault()
            return fault, self._before.get(key), self._after.get(key)

    def release(self) -> None:
        """Let every held request go, because the server closes."""
        with self._lock:
            faults = [*self._faults.values(), *self._lasting.values()]
        for fault in faults:
            fault.release()
