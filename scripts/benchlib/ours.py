"""Our side of each operation: cold, as processes of the command line; warm, as a library that keeps its connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gitref_lock.core.names import LockName, lock_name
from gitref_lock.core.record import Holder
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.workspace import Selection
from gitref_lock.pushing import PushOptions, push
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.session import Session, Surroundings, open_session
from gitref_lock.system import real_system
from scripts.benchlib.world import BRANCH, command, run

_BUDGET_S = 120.0


@dataclass(slots=True)
class ColdCli:
    """The command line in a clone: a process an operation."""

    folder: Path
    lock: str
    environ: Mapping[str, str] = field(repr=False)

    def words(self, *words: str) -> list[str]:
        """Return the words of a command."""
        return [*command(), *words]

    def __call__(self, *words: str) -> None:
        """Run one command; it must succeed."""
        run(self.words(*words), self.folder, self.environ)

    def acquire(self) -> None:
        """Take the lock."""
        self("acquire", self.lock)

    def release(self) -> None:
        """Free the lock."""
        self("release", self.lock)

    def renew(self) -> None:
        """Extend the lease."""
        self("renew", self.lock)

    def inspect(self) -> None:
        """Show the lock."""
        self("inspect", self.lock)

    def push(self, message: str) -> None:
        """Commit everything and land it."""
        self("push", "-A", "-m", message)

    def land(self, message: str) -> None:
        """Take the branch's lock, land under it, free it: three commands."""
        self("acquire", BRANCH)
        self("push", "-A", "-m", message, "--keep")
        self("release", BRANCH)


@dataclass(slots=True)
class WarmLibrary:
    """The engine in this process: one session, one connection, many operations."""

    folder: Path
    lock: LockName
    session: Session
    environ: Mapping[str, str] = field(repr=False)
    lease: Lease | None = None

    @classmethod
    def open(cls, folder: Path, lock: str, environ: Mapping[str, str]) -> WarmLibrary:
        """Open a session in a clone."""
        session = open_session(Surroundings.of(folder, environ), real_system())
        return cls(folder, lock_name(lock), session, environ)

    @property
    def remote(self) -> Remote:
        """The session's remote."""
        return self.session.remote

    def close(self) -> None:
        """End the connection."""
        self.session.close()

    def deadline(self) -> Deadline:
        """Return the end of an operation that begins now."""
        return Deadline.after(self.remote.system, _BUDGET_S)

    def acquire(self, lock: LockName | None = None) -> None:
        """Take the lock, or another one."""
        request = AcquireRequest((lock or self.lock,), Holder(id="warm", name="warm"), LeaseTiming.for_ttl(600.0), 0.0)
        self.lease = Acquirer(self.remote, request, self.deadline()).run()

    def release(self) -> None:
        """Free the lock."""
        assert self.lease is not None
        failure = self.lease.release(self.deadline())
        self.lease = None
        if failure is not None:
            raise failure

    def renew(self) -> None:
        """Extend the lease."""
        assert self.lease is not None
        self.lease.renew(self.deadline())

    def poll(self) -> None:
        """List the lock and its queue, as a waiter does between two looks at anything else."""
        names = self.remote.namespace
        self.remote.list([names.lock_ref(self.lock), names.queue_prefix(self.lock)], self.deadline())

    def inspect(self) -> None:
        """Read the lock's state, as one that has not seen it before."""
        known = self.remote
        Remote(known.store, known.system, known.namespace).look([self.lock], self.deadline())

    def land(self, message: str) -> None:
        """Take the branch's lock, land under it, free it."""
        self.acquire(lock_name(BRANCH))
        self.push(message)
        self.release()

    def push(self, message: str) -> None:
        """Commit everything and land it; a lease that is held is kept."""
        wanted = PushOptions(
            holder=Holder(id="warm", name="warm"),
            selection=Selection(takes_all=True),
            wish=CommitWish((message,)),
            branch=BRANCH,
            remote_name="origin",
            keep=self.lease is not None,
        )
        with Checkout.open(self.folder, self.environ) as checkout:
            report = push(self.remote, checkout, wanted, self.deadline(), lease=self.lease)
        if report.landed is None:
            raise RuntimeError("nothing was landed")
