"""The HTTP server's part: it knows every process by a header, strikes it at the request that the plan names, or fails.

All of it happens in the server, at the instant that is meant: instead of git's work, meanwhile, after it, or in the
middle of the reply.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gitref_lock.testing import faults
from gitref_lock.testing.faults import Callback, Exchange, Fault, FaultPlan
from gitref_lock.testing.gitserver_cgi import BackendGoneError
from gitref_lock.testing.gitserver_http import RequestKind
from scripts.torturelib.plan import Job, Kill

HEADER = "X-Runner"
_WAIT_S = 30.0
_STALL_S = 2.0
_LATE_S = 2.5

_FAULTS: dict[str, Callable[[], Fault]] = {
    "drop-before": faults.DropBefore,
    "drop-after": faults.DropAfter,
    "reset": faults.ResetMidReply,
    "truncate": faults.Truncate,
    "503": lambda: faults.Status(503),
    "503-after": lambda: faults.Status(503, after_work=True),
    "429": lambda: faults.Status(429, retry_after="1"),
    "stall": lambda: faults.Stall(timeout_s=_STALL_S),
    "stall-before": lambda: faults.Stall(timeout_s=_STALL_S, before_work=True),
    "twice": faults.WorkTwice,
}


class Timers:
    """What is to happen a little later; ``finish`` waits until all of it has happened."""

    def __init__(self) -> None:
        """Nothing is to happen yet."""
        self._timers: list[threading.Timer] = []

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do it in ``seconds``."""
        timer = threading.Timer(seconds, action)
        self._timers.append(timer)
        timer.start()

    def finish(self) -> None:
        """Wait for everything."""
        for timer in self._timers:
            timer.join()


@dataclass(slots=True)
class Target:
    """A process that may be struck: it is known by its job before it exists."""

    job: Job
    ready: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    is_hit: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def strike(self, kill: Kill, timers: Timers) -> None:
        """Send the signal, and wait for a death; a process that has ended already is not struck."""
        self.ready.wait(_WAIT_S)
        process = self.process
        if process is None or process.poll() is not None:
            return
        os.kill(process.pid, getattr(signal, f"SIG{kill.sign}"))
        self.is_hit = True
        if kill.sign == "KILL":
            process.wait(_WAIT_S)
        elif kill.sign == "STOP":
            timers.later(kill.stop_s, lambda: process.send_signal(signal.SIGCONT))


class Director(FaultPlan):
    """The fault plan of a whole round: what becomes of a request depends on who sends it."""

    def __init__(self, timers: Timers) -> None:
        """Know nobody yet."""
        super().__init__()
        self._timers = timers
        self._guard = threading.Lock()
        self._targets: dict[str, Target] = {}
        self._running: list[Fault] = []
        self.done: Counter[str] = Counter()
        self.is_calm = False

    def expect(self, target: Target) -> None:
        """Know a process before it is started."""
        with self._guard:
            self._targets[target.job.name] = target

    def take(self, kind: RequestKind) -> tuple[Fault, Callback | None, Callback | None]:
        """Decide when the request is at hand."""
        return _Decided(self, kind.value), None, None

    def release(self) -> None:
        """Let every held request go."""
        with self._guard:
            held = list(self._running)
        for fault in held:
            fault.release()

    def serve(self, kind: str, exchange: Exchange) -> None:
        """Serve one request as the plan has it."""
        with self._guard:
            target = self._targets.get(exchange.request.headers.get(HEADER.lower(), ""))
            if target is not None:
                target.seen[kind] += 1
        if target is None or self.is_calm:
            exchange.send(exchange.work())
            return
        nth, kill = target.seen[kind], target.job.kill
        if kill is not None and (kill.place, kill.nth) == (kind, nth):
            self._strike(target, kill, exchange)
            return
        name = next((item.name for item in target.job.faults if (item.place, item.nth) == (kind, nth)), "")
        self._fail(name, exchange)

    def _strike(self, target: Target, kill: Kill, exchange: Exchange) -> None:
        """Strike at the instant that is meant; to one that only hears a signal or sleeps, all else is as ever."""
        is_death = kill.sign == "KILL"
        if kill.when == "before":
            target.strike(kill, self._timers)
            if is_death:
                exchange.hang_up()
                return
        reply = None
        if kill.when == "meanwhile":
            blow = threading.Thread(target=target.strike, args=(kill, self._timers))
            blow.start()
            reply = exchange.work()
            blow.join()
        reply = reply or exchange.work()
        if kill.when == "mid-reply":
            exchange.send_part(reply)
            target.strike(kill, self._timers)
            exchange.reset()
            return
        if kill.when == "after":
            target.strike(kill, self._timers)
        exchange.send(reply)

    def _fail(self, name: str, exchange: Exchange) -> None:
        if not name:
            exchange.send(exchange.work())
            return
        with self._guard:
            self.done[name] += 1
        if name == "late-copy":
            self._timers.later(_LATE_S, lambda: _apply(exchange))
            exchange.hang_up()
            return
        fault = _FAULTS[name]()
        with self._guard:
            self._running.append(fault)
        fault.run(exchange)


def _apply(exchange: Exchange) -> None:
    """Let git do what a client asked for that has hung up; nobody hears how it went."""
    try:
        exchange.work()
    except BackendGoneError:
        return


@dataclass(frozen=True, slots=True)
class _Decided:
    """A fault that asks the director once it sees the request."""

    director: Director
    kind: str

    def run(self, exchange: Exchange) -> None:
        """Serve."""
        self.director.serve(self.kind, exchange)

    def release(self) -> None:
        """Have nothing of its own to let go of."""
