"""Keeping a lease alive in the background, and telling at once when it is over.

The renewer has a store of its own, so that a stalled renewal never stands in the way of a release. A renewal that fails
is tried again until the holder's own deadline; what cannot be renewed by then is lost for good
(docs/protocol.md, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from threading import Event, Thread

from gitref_lock.core.lean import dataclass
from gitref_lock.errors import GitrefLockError, LeaseLostError
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease

_JITTER = 0.1
_RETRY_S = 1.0
_RENEWED_BY_OTHERS_S = 0.2
_TRIES_LEFT = 3
_SHORTEST_CALL_S = 1.0


@dataclass(slots=True)
class Renewer:
    """Renews ``lease`` every third of its ttl until stopped; ``renewed`` is called after each success.

    ``lost`` is called once, from the renewer's thread, when the lease is over. ``wait`` pauses for so many seconds, or
    until it returns True because the renewer is to end; None waits for ``stop``.
    """

    lease: Lease
    renewed: Callable[[Lease], None] = lambda _lease: None
    lost: Callable[[str], None] = lambda _why: None
    wait: Callable[[float], bool] | None = None
    failures: list[str] = field(default_factory=list)
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Begin renewing in a thread of its own, which never keeps the process alive."""
        self._thread = Thread(target=self.run, name="renewer", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float) -> bool:
        """Ask the renewer to end and wait for at most ``wait_s``; tell whether it has ended."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Renew until stopped or lost."""
        wait = self.wait or self._stop.wait
        pause = self._interval_s()
        while not wait(max(0.0, min(pause, self.lease.left_s()))):
            if self.lease.left_s() <= 0:
                self._lose("it could not be renewed in time")
                return
            try:
                self._renew()
            except LeaseLostError as error:
                if error.code != "lease-contended":
                    self._lose(self.lease.lost or error.message)
                    return
                pause = _RENEWED_BY_OTHERS_S
            except (GitrefLockError, RemoteError) as error:
                self.failures.append(str(error))
                pause = self.lease.remote.system.entropy.uniform(_RETRY_S / 2, _RETRY_S)
            else:
                self.failures.clear()
                self.renewed(self.lease)
                pause = self._interval_s()

    def _interval_s(self) -> float:
        interval_s = self.lease.timing.renew_interval_s
        return interval_s * self.lease.remote.system.entropy.uniform(1 - _JITTER, 1.0)

    def _renew(self) -> None:
        """Try once to renew.

        Neither a request nor the whole try takes all the time that is left: a stalled one is tried again on a new
        connection, and what went wrong is known when the lease ends.
        """
        remote, left_s = self.lease.remote, self.lease.left_s()
        former_s = remote.call_timeout_s
        limit_s = max(_SHORTEST_CALL_S, left_s / _TRIES_LEFT)
        remote.call_timeout_s = limit_s if former_s is None else min(former_s, limit_s)
        try:
            self.lease.renew(Deadline.after(remote.system, max(_SHORTEST_CALL_S, left_s / 2)))
        finally:
            remote.call_timeout_s = former_s

    def _lose(self, why: str) -> None:
        if self.failures and not self.lease.gone:
            why = f"{why} (last failure: {self.failures[-1]})"
        self.lease.lost = why
        self.lost(why)
