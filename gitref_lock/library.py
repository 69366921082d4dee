"""Locks for Python programs: the same engine as the command line, without its words, signals and exit codes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gitref_lock.ci import detect, holder_of
from gitref_lock.core.names import lock_name
from gitref_lock.core.record import DEFAULT_PRIORITY
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import GitrefLockError
from gitref_lock.ports import RemoteError, System
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import remote_failure
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.session import Session, Surroundings, open_session
from gitref_lock.system import real_system

RELEASE_BUDGET_S = 60.0


@dataclass(slots=True)
class Lock:
    """One or more locks of a remote. Durations in seconds.

    ``remote`` is a configured name, a URL or a path (None: the branch's upstream, else origin); ``name`` one lock's
    name or several, taken together or not at all. ``ttl`` is the length of the lease (5 s to 24 h): it is not renewed
    by itself, so choose one that the work fits into, or call ``lease.renew``. ``wait`` None waits for the larger of
    30 minutes and the present lease's ttl plus 5 minutes; 0 does not wait.
    ``priority`` is the command line's default, so that programs and commands queue alike.
    """

    remote: str | None
    name: str | Sequence[str]
    ttl: float = 1800.0
    wait: float | None = None
    priority: int = DEFAULT_PRIORITY
    reason: str = ""
    holder: str = ""
    directory: Path = field(default_factory=Path)
    ref_prefix: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    system: System = field(default_factory=real_system, repr=False)

    @contextmanager
    def hold(self) -> Iterator[Lease]:
        """Take the locks, yield the lease, and free them at the end.

        Raises NotAcquiredError when the wait is over. At the end of a body that succeeded it raises LeaseLostError when
        the lease was lost meanwhile, and what prevented a release; a body's own error comes first, with a note.
        """
        session = self._open()
        try:
            lease = self._take(session)
            try:
                yield lease
            except BaseException as error:
                failure = self._free(lease)
                if failure is not None:
                    error.add_note(f"the lock was not released: {failure}")
                raise
            self._end(lease)
        finally:
            session.close()

    def _end(self, lease: Lease) -> None:
        """Free what is left after a body that succeeded; a lease that was lost meanwhile matters more than that."""
        try:
            if not lease.released:
                lease.check()
        finally:
            failure = self._free(lease)
        if failure is not None:
            raise failure

    def _open(self) -> Session:
        context = detect(self.environ)
        return open_session(
            Surroundings.of(self.directory, self.environ),
            self.system,
            remote=self.remote,
            ref_prefix=self.ref_prefix,
            job=context.job,
            temp_dir=context.temp_dir,
        )

    def _take(self, session: Session) -> Lease:
        names = [self.name] if isinstance(self.name, str) else self.name
        user = self.environ.get("USER", "")
        who = holder_of(detect(self.environ), user=user, host=socket.gethostname(), pid=os.getpid(), wished=self.holder)
        request = AcquireRequest(
            names=tuple(dict.fromkeys(lock_name(text) for text in names)),
            holder=who,
            timing=LeaseTiming.for_ttl(self.ttl),
            wait_s=self.wait,
            priority=self.priority,
            reason=self.reason,
        )
        try:
            return Acquirer(session.remote, request, Deadline(self.system.clock)).run()
        except RemoteError as error:
            raise remote_failure(error, session.remote.store.display_url) from error

    def _free(self, lease: Lease) -> GitrefLockError | None:
        try:
            return lease.release(Deadline.after(self.system, RELEASE_BUDGET_S))
        except RemoteError as error:
            return remote_failure(error, lease.remote.store.display_url)
