"""Renewing a lease that no running command holds, for as long as the job that acquired it lives.

``acquire --keep-alive`` leaves this behind in a process of its own. It ends when the lease is released, lost, or too
old, and when the job is over: a renewer that outlives its job would block everybody else for good
(docs/protocol.md, section 4).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gitref_lock.core.names import LockName
from gitref_lock.core.record import Holder
from gitref_lock.errors import LeaseLostError
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.leasefile import StoredLease
from gitref_lock.runtime.possession import revive
from gitref_lock.runtime.renewing import Renewer
from gitref_lock.runtime.session import Session

DEFAULT_MAX_AGE_S = 6 * 3600.0
LOOK_S = 1.0
RELEASED = "the lease was released"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number. ``parent`` 0: unknown."""

    pid: int
    parent: int
    started: str

    @classmethod
    def find(cls, pid: int) -> Process | None:
        """Return a running process; None when there is none, or only what is left of an ended one."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None if Path("/proc/self/stat").exists() else cls._ask_ps(pid)
        state, parent, *rest = text.rpartition(")")[2].split()
        return None if state in {"Z", "X"} else cls(pid, int(parent), rest[17])

    @classmethod
    def _ask_ps(cls, pid: int) -> Process | None:
        """Find a process where there is no /proc. Source: ps(1) of POSIX, and ``lstart`` of the BSDs and macOS."""
        command = ["ps", "-o", "ppid=,state=,lstart=", "-p", str(pid)]
        words = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        return cls(pid, int(words[0]), " ".join(words[2:])) if len(words) > 2 and words[1][0] != "Z" else None

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        now = Process.find(self.pid)
        return now is not None and now.started == self.started


def job_process(shell_pid: int) -> Process | None:
    """Return what stands for the job's life: the parent of the shell that ran us; None when that is nobody."""
    shell = Process.find(shell_pid)
    return Process.find(shell.parent) if shell is not None and shell.parent > 1 else None


@dataclass(slots=True)
class KeepAlive:
    """Renews the lease in ``files`` until there is a reason to end.

    ``watched`` is the process whose end ends the job (None: nobody's), ``tell`` gets words for the log.
    """

    session: Session
    files: Mapping[LockName, StoredLease]
    holder: Holder
    watched: Process | None
    max_age_s: float = DEFAULT_MAX_AGE_S
    tell: Callable[[str], None] = lambda _text: None
    ended: str = ""
    _until_s: float = field(init=False, default=0.0)

    def run(self) -> str:
        """Renew until the end and return why it ended; raise LeaseLostError when the lease was lost."""
        clock = self.session.remote.system.clock
        self._until_s = clock.boottime() + self.max_age_s
        lease = revive(self.session.remote, list(self.files.values()), self.holder)
        Renewer(lease, renewed=self._renewed, wait=self._wait).run()
        if self.ended:
            return self.ended
        if self._is_released():
            return RELEASED
        raise LeaseLostError(
            f"the lease on {', '.join(lease.names)} is lost: {lease.lost}", fields={"locks": list(lease.names)}
        )

    def _wait(self, seconds: float) -> bool:
        """Pause for so long; True as soon as there is a reason to end."""
        system = self.session.remote.system
        until_s = system.clock.boottime() + seconds
        while True:
            self.ended = self._reason()
            left_s = until_s - system.clock.boottime()
            if self.ended or left_s <= 0:
                return bool(self.ended)
            system.sleeper.sleep(min(left_s, LOOK_S))

    def _reason(self) -> str:
        if self._is_released():
            return RELEASED
        if self.watched is not None and not self.watched.is_alive:
            return f"the job is over: process {self.watched.pid} has ended; the lease now runs out"
        if self.session.remote.system.clock.boottime() >= self._until_s:
            return f"{self.max_age_s:g} s are over, the longest that a lease is kept alive; it now runs out"
        return ""

    def _is_released(self) -> bool:
        """Tell whether a lease file is gone, or is another lease's by now."""
        memory, key = self.session.memory, self.session.key
        found = {name: memory.read(key, name) for name in self.files}
        return any(file is None or file.token != self.files[name].token for name, file in found.items())

    def _renewed(self, lease: Lease) -> None:
        """Keep the lease files up to date: with whose hand they were first written, and what is true now."""
        self.tell(f"{', '.join(lease.names)}: renewed, {lease.left_s():.0f} s left")
        if self._is_released():
            return
        clock = self.session.remote.clock
        error = self.session.memory.write(
            replace(file, timing=lease.timing, state=lease.states[name], sent=lease.sent, clock=clock)
            for name, file in self.files.items()
        )
        if error is not None:
            self.tell(f"the lease file cannot be written: {error.strerror}")
