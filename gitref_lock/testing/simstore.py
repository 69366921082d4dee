"""A remote in virtual time: a request travels, may be lost, come twice, come late, or after its client has died."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject
from gitref_lock.core.refs import RefEdit, SwapOutcome
from gitref_lock.landing.object_store import StoreSink
from gitref_lock.ports import (
    Capabilities,
    FetchRequest,
    FetchResult,
    ObjectSink,
    RemoteError,
    Snapshot,
    StoredCommit,
    System,
)
from gitref_lock.remotes.streams import LinkError
from gitref_lock.testing.memory import MemoryRefStore
from gitref_lock.testing.sim_kernel import Reply, Task, TimedOut
from gitref_lock.testing.sim_network import Fate, Machine, Network
from gitref_lock.testing.simserver import SimObjectStore

_T = TypeVar("_T")

READ_TIMEOUT_S = 60.0
WRITE_TIMEOUT_S = 120.0


class SimRefStore(MemoryRefStore):
    """One runner's connection to the simulated remote."""

    def __init__(self, network: Network, machine: Machine, system: System) -> None:
        """Requests are made by the task that the machine runs now."""
        super().__init__(network.server, system, display_url=f"sim:{machine.name}")
        self._network = network
        self._machine = machine
        self._until_s: float | None = None

    # Timeouts: the outermost call's limit counts for the requests within it.

    def _limited(self, seconds: float | None, default_s: float, call: Callable[[], _T]) -> _T:
        if self._until_s is not None:
            return call()
        self._until_s = self._machine.clock.monotonic() + (default_s if seconds is None else seconds)
        try:
            return call()
        finally:
            self._until_s = None

    def snapshot(self, prefixes: Sequence[str], *, timeout_s: float | None = None) -> Snapshot:
        """List refs."""
        snapshot = super().snapshot
        return self._limited(timeout_s, READ_TIMEOUT_S, lambda: snapshot(prefixes))

    def read(
        self, oids: Collection[Oid], *, max_file_bytes: int = 65536, timeout_s: float | None = None
    ) -> Mapping[Oid, StoredCommit]:
        """Fetch records."""
        read = super().read
        return self._limited(timeout_s, READ_TIMEOUT_S, lambda: read(oids, max_file_bytes=max_file_bytes))

    def fetch(self, request: FetchRequest, sink: ObjectSink, *, timeout_s: float | None = None) -> FetchResult:
        """Fetch objects, handed over without packing."""
        assert isinstance(sink, StoreSink)
        store = sink.store
        assert isinstance(store, SimObjectStore)

        def call() -> FetchResult:
            sent, result = self._request("fetch", lambda: self._server.served(request))
            store.take(sent)
            return result

        return self._limited(timeout_s, READ_TIMEOUT_S, call)

    def probe(self, *, timeout_s: float | None = None) -> Capabilities:
        """Ask what the server offers."""
        probe = super().probe
        return self._limited(timeout_s, READ_TIMEOUT_S, probe)

    def swap(
        self,
        edits: Sequence[RefEdit],
        objects: Sequence[GitObject],
        *,
        trust_report: bool = True,
        timeout_s: float | None = None,
    ) -> SwapOutcome:
        """Send a swap."""
        swap = super().swap
        limit_s = WRITE_TIMEOUT_S if timeout_s is None else timeout_s
        return self._limited(
            limit_s, limit_s, lambda: swap(edits, objects, trust_report=trust_report, timeout_s=limit_s)
        )

    # One request.

    def _exchange(self, kind: str, work: Callable[[], _T]) -> _T:
        net, machine = self._network, self._machine
        task = machine.task
        assert task is not None
        task.check()
        number, fate = net.fate(machine.name, kind)
        self._before(task, fate)
        assert self._until_s is not None
        timeout_s = (self._until_s - machine.clock.monotonic()) / machine.clock.rate
        if timeout_s <= 0:
            raise LinkError("timeout", "no time left", nothing_sent=True)
        if fate.refused:
            task.sleep(min(timeout_s, fate.out_s))
            raise LinkError("unreachable", "connection refused", nothing_sent=True)
        reply: Reply[_T] = Reply(task)
        net.history.sent[number] = net.kernel.now
        self._dispatch(kind, number, fate, work, reply)
        if fate.crash == "sent":
            net.note(f"{machine.name} crashes after sending #{number} ({kind})")
            task.die()
        try:
            found = task.wait(reply, timeout_s)
        except TimedOut:
            raise LinkError("timeout", f"no reply to #{number}") from None
        if fate.crash == "after":
            net.note(f"{machine.name} crashes after the reply to #{number} ({kind})")
            task.die()
        return found

    def _before(self, task: Task, fate: Fate) -> None:
        """Stop or crash between a decision and its sending."""
        net, machine = self._network, self._machine
        if fate.crash == "before":
            net.note(f"{machine.name} crashes before sending")
            task.die()
        if fate.pause_s:
            if fate.suspends:
                machine.clock.suspend(fate.pause_s)
            now = net.kernel.now
            net.note(f"{machine.name} {'suspends' if fate.suspends else 'stops'} for {fate.pause_s:.1f} s")
            net.history.paused.setdefault(machine.name, []).append((now, now + fate.pause_s))
            task.pause(fate.pause_s)

    def _dispatch(self, kind: str, number: int, fate: Fate, work: Callable[[], _T], reply: Reply[_T]) -> None:
        """Put the request on its way: in time, late, twice, or never."""
        net, name, after = self._network, self._machine.name, self._network.kernel.after
        if net.is_cut(name, inbound=False):
            return
        if fate.lost:
            if kind == "swap":
                net.note(f"{name} #{number} is lost on the way")
            self._break_off(fate, reply)
            return
        if fate.late_s is not None:
            net.note(f"{name} #{number} breaks off; it arrives {fate.late_s:.1f} s later")
            after(fate.late_s, lambda: self._arrive(kind, number, fate, work, None))
            self._break_off(fate, reply)
            return
        first, second = (None, reply) if fate.is_second_heard else (reply, None)
        after(fate.out_s, lambda: self._arrive(kind, number, fate, work, first))
        if fate.again_s is not None:
            after(fate.out_s + fate.again_s, lambda: self._arrive(kind, number, fate, work, second, copy=1))

    def _break_off(self, fate: Fate, reply: Reply[_T]) -> None:
        """Let the client see a broken connection, or nothing until its timeout."""
        if not fate.is_quiet:
            self._network.kernel.after(
                fate.back_s, lambda: reply.fail(LinkError("unreachable", "the connection was reset"))
            )

    def _arrive(
        self,
        kind: str,
        number: int,
        fate: Fate,
        work: Callable[[], _T],
        reply: Reply[_T] | None,
        copy: int = 0,
    ) -> None:
        """Do the server's work and send its answer back."""
        net, server = self._network, self._network.server
        server.sender = (self._machine.name, number, copy)
        try:
            if fate.lag_s is not None:
                value = server.as_of(fate.lag_s, work)
            elif fate.torn_s is not None:
                first = work()

                def finish() -> None:
                    server.sender = (self._machine.name, number, copy)
                    self._answer(kind, number, fate, torn(first, work(), fate.torn_at), reply)

                net.kernel.after(fate.torn_s, finish)
                return
            else:
                value = work()
        except RemoteError as error:
            failure = error
            if reply is not None:
                net.kernel.after(fate.back_s, lambda: reply.fail(failure))
            return
        self._answer(kind, number, fate, value, reply)

    def _answer(self, kind: str, number: int, fate: Fate, value: _T, reply: Reply[_T] | None) -> None:
        net, name = self._network, self._machine.name
        if reply is None or net.is_cut(name, inbound=True):
            return
        if fate.reply_lost:
            if kind == "swap":
                net.note(f"{name} #{number}: its reply is lost")
            self._break_off(fate, reply)
            return
        net.kernel.after(fate.back_s, lambda: reply.give(value))


def torn(first: _T, second: _T, cut: float) -> _T:
    """Return a listing whose first names were read earlier than its last ones."""
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    old, new = first[0], second[0]
    names = sorted({*old, *new})
    split = int(len(names) * cut + 0.5)
    mixed = {name: old[name] for name in names[:split] if name in old}
    mixed |= {name: new[name] for name in names[split:] if name in new}
    return (mixed, second[1])  # type: ignore[return-value]  # the shape of what was given
