"""A throw-away lock on the remote: what experiments write, and how all of it is removed again.

Every state is a valid free lock, so that what a killed examination leaves behind is cleaned up like any idle lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import NextState
from gitref_lock.core.names import LockName, Namespace, Nonce, Oid, RefName, TicketName, lock_name
from gitref_lock.core.objects import GitObject
from gitref_lock.core.record import Holder, ServerInfo
from gitref_lock.core.refs import Absent, Applied, At, RefEdit, Role, SwapOutcome, Unknown
from gitref_lock.ports import Capabilities, RefStore, RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.writing import created

CALL_TIMEOUT_S = 30.0
_CLEANING_TRIES = 3


@dataclass(slots=True)
class Trial:
    """One examination's writes. ``open_store`` returns a further store on the same remote."""

    remote: Remote
    open_store: Callable[[], RefStore]
    holder: Holder
    deadline: Deadline
    nonce: Nonce
    server: ServerInfo = field(default_factory=lambda: ServerInfo(atomic=False, agent="", probed_at=0))
    tried: list[Namespace] = field(default_factory=list)

    @property
    def name(self) -> LockName:
        """The lock that no one else uses."""
        return lock_name(f"gitref-lock-doctor-{self.nonce[:12]}")

    def learn(self, found: Capabilities) -> None:
        """Keep what the server says about itself, for the states to record."""
        self.server = ServerInfo(found.atomic, found.agent, self.remote.instants().now_at)

    def refs(self, namespace: Namespace) -> tuple[RefName, RefName, RefName]:
        """Return a lock's, a ticket's and a rescued commit's ref of this examination."""
        ticket = namespace.ticket_ref(self.name, TicketName(0, self.nonce))
        return namespace.lock_ref(self.name), ticket, namespace.rescue_ref(self.name, Oid("0" * 16 + self.nonce))

    def state(self) -> tuple[Oid, Sequence[GitObject]]:
        """Return a fresh state unlike any other: its commit's id and its objects."""
        after: NextState = created(self.remote, self.name, self.holder, self.server).after
        return after.state.tip, after.objects

    def swap(
        self, edits: Sequence[RefEdit], objects: Sequence[GitObject] = (), *, store: RefStore | None = None
    ) -> SwapOutcome:
        """Send one swap and take the server's word for it where the transport allows that."""
        return (store or self.remote.store).swap(edits, objects, timeout_s=self.deadline.capped(CALL_TIMEOUT_S))

    def present(self, *refs: RefName) -> dict[RefName, Oid | None]:
        """Return what these refs hold now; raises RemoteError."""
        listed = self.remote.list(list(refs), self.deadline).refs
        return {ref: listed.get(ref) for ref in refs}

    def race(self, edits: Sequence[tuple[RefEdit, Sequence[GitObject]]]) -> list[SwapOutcome]:
        """Send all edits at once, each from a thread and a store of its own; return the outcomes in order."""
        gate = threading.Barrier(len(edits))
        outcomes: list[SwapOutcome] = [Unknown("did not run")] * len(edits)

        def run(index: int, store: RefStore) -> None:
            edit, objects = edits[index]
            gate.wait(CALL_TIMEOUT_S)
            outcomes[index] = self.swap([edit], objects, store=store)

        with ExitStack() as stack:
            threads = []
            for index in range(len(edits)):
                store = self.open_store()
                stack.callback(store.close)
                threads.append(threading.Thread(target=run, args=(index, store), daemon=True))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(2 * CALL_TIMEOUT_S)
        return outcomes

    def clean_up(self, deadline: Deadline) -> list[RefName]:
        """Delete everything that this examination wrote; return what could not be removed."""
        left: list[RefName] = []
        for namespace in self.tried:
            refs = self.refs(namespace)
            seen: Mapping[RefName, Oid] = {}
            for _ in range(_CLEANING_TRIES):
                try:
                    seen = self.remote.list(list(refs), deadline).refs
                except RemoteError:
                    return [*left, *refs]
                for ref in refs:
                    if ref in seen:
                        self.remote.store.swap(
                            [RefEdit(ref, At(seen[ref]), None, Role.TICKET)], [], timeout_s=deadline.capped(10.0)
                        )
                if not seen:
                    break
            else:
                left += [ref for ref in refs if ref in seen]
        return left


def create(ref: RefName, oid: Oid, role: Role = Role.LOCK) -> RefEdit:
    """Return the edit that creates a ref."""
    return RefEdit(ref, Absent(), oid, role)


def update(ref: RefName, old: Oid, new: Oid, role: Role = Role.LOCK) -> RefEdit:
    """Return the edit that moves a ref."""
    return RefEdit(ref, At(old), new, role)


def is_applied(outcome: SwapOutcome) -> bool:
    """Tell whether the server says that it did it."""
    return isinstance(outcome, Applied)
