"""A small process that ends a wrapped command at its lease's end, whatever becomes of the process that holds the lease.

``run`` itself may be killed, stopped or swapped out; the command must not go on for longer than its lease. The watchdog
is forked before any thread exists, hears the deadline after each renewal through a pipe, and reads it on the clock that
goes on through suspend (docs/protocol.md, section 4).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
from dataclasses import field
from threading import RLock

from gitref_lock.core.lean import dataclass
from gitref_lock.ports import Clock
from gitref_lock.runtime.command import end_group, signal_group

_MESSAGE = struct.Struct("!d")
_POLL_S = 5.0
_ORPHAN_POLL_S = 0.25
_ENDING_POLL_S = 0.05


@dataclass(slots=True)
class Watchdog:
    """The holder's end: tell it the deadline, and at last that it is not needed any more.

    A renewal may end while the watchdog is dismissed: what it still has to tell must not reach the file or socket that
    has got the pipe's number since.
    """

    pid: int
    pipe: int
    _guard: RLock = field(default_factory=RLock)

    def until(self, boottime_s: float) -> bool:
        """Tell the watchdog to end the command at this instant of the suspend-counting clock; False when it is gone."""
        with self._guard:
            if self.pipe < 0:
                return False
            try:
                os.write(self.pipe, _MESSAGE.pack(boottime_s))
            except BrokenPipeError:
                return False
            return True

    def dismiss(self) -> None:
        """End the watchdog without touching the command, and reap it."""
        os.kill(self.pid, signal.SIGKILL)  # not by a message: it may be stopped, and its last act must not come later
        with self._guard:
            pipe, self.pipe = self.pipe, -1
        os.close(pipe)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start_watchdog(clock: Clock, group: int, until_s: float, kill_after_s: float) -> Watchdog:
    """Fork the watchdog over process group ``group``.

    At ``until_s`` (suspend-counting clock) the group gets SIGTERM, ``kill_after_s`` later SIGKILL.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(writer)
            os.setsid()
            _shed(reader)
            _watch(clock, reader, group, until_s, kill_after_s)
            status = 0
        finally:
            os._exit(status)
    os.close(reader)
    return Watchdog(pid, writer)


def _shed(keep: int) -> None:
    """Let go of everything inherited: a pipe held open here would make the command's readers wait for it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    os.closerange(0, keep)
    os.closerange(keep + 1, min(65536, os.sysconf("SC_OPEN_MAX")))


def _watch(clock: Clock, reader: int, group: int, until_s: float, kill_after_s: float) -> None:
    """Wait for the deadline; a group that ends after its supervisor needs nothing more."""
    is_open = True
    while True:
        left = until_s - clock.boottime()
        if left <= 0:
            break
        # The timeout of select does not count suspended time; a short one finds out soon after waking up. Without
        # a supervisor nobody else reaps, and the group's number may be given to others: look often.
        ready, _, _ = select.select(
            [reader] if is_open else [], [], [], min(left, _POLL_S if is_open else _ORPHAN_POLL_S)
        )
        if not is_open and not signal_group(group, 0):
            return
        if not ready:
            continue
        message = os.read(reader, _MESSAGE.size)
        if len(message) < _MESSAGE.size:
            is_open = False
            continue
        until_s = _MESSAGE.unpack(message)[0]
    _end(clock, group, until_s + kill_after_s)


def _end(clock: Clock, group: int, kill_at_s: float) -> None:
    """Send SIGTERM now, SIGKILL at ``kill_at_s``; nothing when the group is gone."""
    if not end_group(group):
        return
    while (left := kill_at_s - clock.boottime()) > 0:
        select.select([], [], [], min(left, _ENDING_POLL_S))
        if not signal_group(group, 0):
            return
    signal_group(group, signal.SIGKILL)
