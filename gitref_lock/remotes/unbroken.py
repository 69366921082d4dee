"""A moment that no signal breaks: between a child's start and the instant at which its starter has a handle on it.

A handler of Python's may raise between any two steps. What raises while a child is being started leaves a child that
nobody can end; what raises while handlers are exchanged must not leave a handler that does nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def unbroken() -> AbstractContextManager[None]:
    """Hold back what the handlers of stopping signals do until the block is left, where it happens then.

    Handlers run in the main thread only; elsewhere there is nothing to hold back. The children of the block get the
    signals' default, as a child always does where its parent has a handler.
    """
    return _Held() if threading.current_thread() is threading.main_thread() else nullcontext()


class _Held:
    """Stands in for each handler: within the block it notes the signal, before and after it does what they do.

    So a signal that arrives while some handlers are exchanged and others are not is never lost, and one that raises
    there leaves at worst this object as a handler, which does what the right one does. Blocking the signals instead
    would not do: another thread would take them, and Python would run the handler in this one all the same.
    """

    def __init__(self) -> None:
        """Nothing is exchanged before the block is entered."""
        self._is_holding = False
        self._arrived: list[tuple[int, FrameType | None]] = []
        self._former: dict[int, Callable[[int, FrameType | None], object]] = {}
        for number in _STOPPING:
            handler = signal.getsignal(number)
            if isinstance(handler, _Held):
                handler = handler.stands_for(number)
            if callable(handler):
                self._former[number] = handler

    def stands_for(self, number: int) -> Callable[[int, FrameType | None], object]:
        """Return the handler that this one is in place of: itself within its block."""
        return self if self._is_holding else self._former[number]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self._is_holding:
            self._arrived.append((number, frame))
        else:
            self._former[number](number, frame)

    def __enter__(self) -> None:
        try:
            for number in self._former:
                signal.signal(number, self)
            self._is_holding = True  # from here nothing raises; nothing is held when something raised before
        except BaseException:
            self._put_back()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._is_holding = False
            self._put_back()
        except BaseException:
            self._put_back()  # one that was put back has raised before the others were
            raise
        finally:
            self._deliver()

    def _put_back(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _deliver(self) -> None:
        """Do what was held back, all of it: the first that raises does not cancel the others."""
        while self._arrived:
            number, frame = self._arrived.pop(0)
            try:
                self._former[number](number, frame)
            finally:
                self._deliver()
