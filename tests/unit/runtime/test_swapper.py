"""Carrying a swap whose answers are lost, old, torn or untrue: what is said of it in the end is what is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gitref_lock.core.names import LockName, Oid, RefName
from gitref_lock.core.record import ServerInfo
from gitref_lock.core.refs import Applied, RefusalKind, Refused, SwapOutcome
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.landing_plan import Target, fenced_plan
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.swapper import Plan, Swapper, plan_for_locks
from gitref_lock.runtime.writing import Found, created
from gitref_lock.testing.clock import jumping_system
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer
from tests.group.memory import LOCK, MAIN, Hub, Runner
from tests.support.runners import holder

Work = Callable[[], object]
Refs = dict[RefName, Oid]
LOCK_REF = RefName("refs/locks/main")
TARGET = Target("main", MAIN, LOCK)


def landing_of(runner: Runner) -> Plan:
    """Return the swap that lands a line of the runner's through the free lock as it is now."""
    remote, change = runner.remote, runner.line()
    picture = remote.look([LOCK], Deadline(remote.system.clock), extra=[MAIN])
    state, tip = picture.locks[LOCK], picture.refs[MAIN]
    change.fetch(remote.store, [tip])
    found = Found(LOCK, state, remote.stance(LOCK, state))
    return fenced_plan(remote, change, TARGET, change.prepare(tip), found, holder(runner.name))[0]


@dataclass
class Link:
    """A runner's way to the server: the reply to its first swap is lost, and listings after that go by ``listings``.

    Each of those is given what is true and returns what is shown; after the last one the truth is shown.
    """

    hub: Hub
    listings: list[Callable[[Refs], Refs]] = field(default_factory=list)
    swaps: int = 0
    before: Refs = field(default_factory=dict)

    def __call__(self, kind: str, work: Work) -> object:
        """Carry one request."""
        if kind == "swap":
            self.swaps += 1
            if self.swaps == 1:
                self.before = dict(self.hub.server.refs)
                self.first_swap(work)
                raise RemoteError("timeout", "no reply", transient=True)
        if kind == "ls-refs" and self.swaps and self.listings:
            found = work()
            assert isinstance(found, tuple)
            return self.listings.pop(0)(found[0]), found[1]
        return self.other(kind, work)

    def first_swap(self, work: Work) -> None:
        """Let the server do the first swap, whose reply is lost."""
        work()

    def other(self, kind: str, work: Work) -> object:
        """Carry a request that nothing is planned for."""
        return work()

    def true(self, refs: Refs) -> Refs:
        """Show what is true."""
        return refs

    def old(self, refs: Refs) -> Refs:
        """Show what a replica that lags behind the first swap has."""
        return {ref: self.before[ref] for ref in refs if ref in self.before}

    def torn(self, refs: Refs) -> Refs:
        """Show a listing that had read the branch before the swap, and the lock after it."""
        return refs | {ref: self.before[ref] for ref in refs if ref == MAIN}


def carried(link: Link, seconds: float = 60.0) -> tuple[SwapOutcome, Plan]:
    """Carry a landing over the link; return what became of it and what was sent."""
    runner = link.hub.runner("victim", link)
    plan = landing_of(runner)
    return Swapper(runner.remote).carry(plan, Deadline.after(runner.remote.system, seconds)), plan


def test_an_old_listing_after_the_lock_was_seen_moved_proves_nothing() -> None:
    """The landing is in, and another after it; a replica that shows neither does not make it one that was lost."""

    class Overtaken(Link):
        def first_swap(self, work: Work) -> None:
            work()
            other = self.hub.runner("other")
            other.push(other.line())

    link = Overtaken(Hub.open())
    link.listings = [link.true, link.old]
    outcome, _ = carried(link)
    assert not link.listings
    assert isinstance(outcome, Applied)
    assert link.hub.subjects()[:2] == ["other", "victim"]


def test_a_torn_picture_is_read_again_before_it_counts() -> None:
    """Two readings show the lock moved and the branch not; the third shows both: the landing is in."""
    link = Link(Hub.open())
    link.listings = [link.true, link.torn, link.true, link.torn]
    outcome, _ = carried(link)
    assert not link.listings
    assert isinstance(outcome, Applied)


def test_a_landing_that_a_server_half_did_before_its_kill_is_seen() -> None:
    """The server moves the branch alone, against all or nothing, and grants the kill after it: the landing is in."""

    class Breaking(Link):
        def first_swap(self, work: Work) -> None:
            self.late = work

        def other(self, kind: str, work: Work) -> object:
            if kind == "swap":
                lock = self.hub.server.refs[LOCK_REF]
                self.late()
                self.hub.server.set_ref(LOCK_REF, lock)
            return work()

    link = Breaking(Hub.open())
    outcome, plan = carried(link, 0.0)
    assert link.swaps == 2
    assert plan.landing is not None
    assert link.hub.server.refs[MAIN] == plan.landing.commit
    assert isinstance(outcome, Applied)


@pytest.mark.parametrize("names", [("main",), ("main", "other")])
def test_a_swap_of_several_refs_is_not_sent_to_a_server_that_cannot_do_it(names: tuple[str, ...]) -> None:
    """Known from a lock's record, before this process has asked: what would be done ref by ref is refused here."""
    system = jumping_system(1)
    server = MemoryServer(atomic=False)
    info = ServerInfo(atomic=False, agent=server.agent, probed_at=int(system.clock.wall()))

    def joined() -> Remote:
        return Remote(MemoryRefStore(server, system), system)

    first, deadline = joined(), Deadline.after(system, 60.0)
    plan = plan_for_locks(first, [created(first, LockName("known"), holder("first"), info)])
    assert isinstance(Swapper(first).carry(plan, deadline), Applied)
    remote, refs, pushes = joined(), dict(server.refs), server.pushes
    remote.look([LockName("known")], deadline)
    plan = plan_for_locks(remote, [created(remote, LockName(name), holder("second"), info) for name in names])
    outcome = Swapper(remote).carry(plan, deadline)
    if len(names) == 1:
        assert isinstance(outcome, Applied)
        return
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.NO_ATOMIC
    assert (server.refs, server.pushes) == (refs, pushes)
