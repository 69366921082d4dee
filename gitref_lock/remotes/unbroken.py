"""A moment that no signal breaks: between a child's start and the instant at which its starter has a handle on it.

A handler of Python's may raise between any two steps. What raises while a child is being started leaves a child that
nobody can end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def unbroken() -> Iterator[None]:
    """Hold back what the handlers of stopping signals do until the block is left, where it happens then.

    Handlers run in the main thread only; elsewhere there is nothing to hold back. The children of the block get the
    signals' default, as a child always does where its parent has a handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    former = {number: handler for number in _STOPPING if callable(handler := signal.getsignal(number))}
    for number in former:
        signal.signal(number, lambda number, frame: arrived.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for number_arrived, frame in arrived:
            former[signal.Signals(number_arrived)](number_arrived, frame)
