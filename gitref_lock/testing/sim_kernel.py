"""Virtual time: the product's blocking code runs in greenlets, and a heap of events is the only clock there is.

Nothing here reads a real clock or starts a thread; two runs with the same seed take the same steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it ships no types

_T = TypeVar("_T")


class Crashed(BaseException):
    """The process is gone: every call to the outside raises this again, so that no cleanup has an effect."""


class TimedOut(Exception):  # noqa: N818 - a wait that ended, not a failure
    """A wait ended before what it waited for came."""


@dataclass(slots=True)
class Stop:
    """Until when (true time) a machine's processes stand still: stopped, or asleep with the machine."""

    until_s: float = 0.0


class Kernel:
    """True time in seconds and what happens next."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = 0

    def at(self, instant_s: float, action: Callable[[], object]) -> None:
        """Call ``action`` at a true time, in the order of asking when times are equal."""
        self._serial += 1
        heapq.heappush(self._heap, (max(instant_s, self.now), self._serial, action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Call ``action`` in ``seconds``."""
        self.at(self.now + seconds, action)

    def spawn(self, name: str, body: Callable[[Task], None], *, stop: Stop | None = None) -> Task:
        """Start a task whose body runs in a greenlet of its own, at once."""
        task = Task(self, name, body, stop=stop or Stop())
        self.at(self.now, task.start)
        return task

    def run(self, until_s: float, *, is_done: Callable[[], bool] = lambda: False) -> None:
        """Let events happen until a true time, or until ``is_done`` after one of them."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            self.now, _, action = heapq.heappop(heap)
            action()
            if is_done():
                return
        if not heap or heap[0][0] > until_s:
            self.now = max(self.now, until_s)


@dataclass(slots=True)
class Reply(Generic[_T]):
    """Something that a task waits for: a value or an exception, once."""

    task: Task
    is_here: bool = False
    nap: int | None = None
    value: _T | None = None
    error: Exception | None = None

    def give(self, value: _T) -> None:
        """Hand over the value; a task that does not wait any more never sees it."""
        self.value = value
        self._arrive()

    def fail(self, error: Exception) -> None:
        """Hand over an error instead."""
        self.error = error
        self._arrive()

    def _arrive(self) -> None:
        self.is_here = True
        if self.nap is not None:
            self.task.wake_from(self.nap)


@dataclass(slots=True)
class Task:
    """One simulated process; ``stop`` is shared with the other processes of its machine."""

    kernel: Kernel
    name: str
    body: Callable[[Task], None]
    is_dead: bool = False
    is_over: bool = False
    stop: Stop = field(default_factory=Stop)
    failure: BaseException | None = None
    on_end: Callable[[Task], None] | None = None
    _green: greenlet | None = None
    _naps: int = 0
    _asleep: int | None = None

    def start(self) -> None:
        """Enter the greenlet for the first time."""
        self._green = greenlet(self._run)
        self._green.switch()

    def _run(self) -> None:
        try:
            self.body(self)
        except Crashed:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever ends a task is judged by the oracles
            self.failure = error
        self.is_over = True
        if self.on_end is not None:
            self.on_end(self)

    def check(self) -> None:
        """Raise Crashed in a process that is gone."""
        if self.is_dead:
            raise Crashed

    def die(self) -> None:
        """End the process here and now."""
        self.is_dead = True
        raise Crashed

    def kill(self) -> None:
        """End the process from outside, wherever it waits."""
        if self.is_over or self.is_dead:
            return
        self.is_dead = True
        if self._asleep is not None:
            self._asleep = None
            assert self._green is not None
            self._green.throw(Crashed())

    def sleep(self, seconds: float) -> None:
        """Let true time pass."""
        self.check()
        self._naps += 1
        nap = self._naps
        self.kernel.after(max(0.0, seconds), lambda: self.wake_from(nap))
        self._block(nap)

    def pause(self, seconds: float) -> None:
        """Stop here for ``seconds`` of true time."""
        self.stop.until_s = max(self.stop.until_s, self.kernel.now + seconds)
        self.sleep(seconds)

    def wait(self, reply: Reply[_T], timeout_s: float) -> _T:
        """Return what comes; raise its error, or TimedOut."""
        self.check()
        if not reply.is_here:
            self._naps += 1
            nap = reply.nap = self._naps
            self.kernel.after(max(0.0, timeout_s), lambda: self.wake_from(nap))
            self._block(nap)
        if not reply.is_here:
            raise TimedOut
        if reply.error is not None:
            raise reply.error
        return reply.value  # type: ignore[return-value]  # a reply without an error has its value

    def wake_from(self, nap: int) -> None:
        """End one wait, now or when the machine goes on; a wait that is over already is left alone."""
        if self._asleep != nap:
            return
        if self.kernel.now < self.stop.until_s:
            self.kernel.at(self.stop.until_s, lambda: self.wake_from(nap))
            return
        self._asleep = None
        assert self._green is not None
        self._green.switch()

    def _block(self, nap: int) -> None:
        self._asleep = nap
        hub = getcurrent().parent
        assert hub is not None
        hub.switch()
        self.check()
