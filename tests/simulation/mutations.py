"""One safeguard switched off at a time: what each one is good for, shown by what happens without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from gitref_lock.core import machine
from gitref_lock.core.clocks import ClockReading
from gitref_lock.core.machine import GenerationRule, NextState, Stance, Target, Transition, Write
from gitref_lock.core.names import Nonce, Oid, RefName
from gitref_lock.core.objects import GitObject, build_commit
from gitref_lock.core.record import Event, LockRecord
from gitref_lock.core.refs import Applied, At, RefEdit, Role, Superseded, SwapOutcome, in_sending_order
from gitref_lock.core.ticket import Verdict
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.remotes import store as remote_store
from gitref_lock.remotes.wire import Report
from gitref_lock.runtime import (
    dead_tickets,
    landing_plan,
    landing_queue,
    lease,
    push,
    swapper,
    waiting,
    writing,
)
from gitref_lock.runtime.acquire import Acquirer
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.land_ticket import LandTicket
from gitref_lock.runtime.landing_queue import LandingQueue
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.push import Pusher
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.swapper import LandingClaim, LockMove, Plan, Swapper
from gitref_lock.runtime.writing import Found
from gitref_lock.testing.memory_server import Command, MemoryServer
from gitref_lock.testing.sim import check
from gitref_lock.testing.sim_clock import SimEntropy
from gitref_lock.testing.sim_faults import Faults
from gitref_lock.testing.sim_history import DELETE
from gitref_lock.testing.sim_world import Setting, World

Patch = pytest.MonkeyPatch
_ANY = Setting(0)


@dataclass(frozen=True, slots=True)
class Mutation:
    """A safeguard, how to switch it off, the runs that show what follows, and which oracles may say so."""

    name: str
    apply: Callable[[Patch], None]
    oracles: frozenset[str]
    setting: Setting = _ANY

    def catch(self, most: int) -> tuple[int, str] | None:
        """Return how many seeds it took and what was found; None when nothing was within ``most``."""
        with pytest.MonkeyPatch.context() as patch:
            self.apply(patch)
            for count in range(most):
                _, found = check(replace(self.setting, seed=count))
                for line in found:
                    if line.partition(":")[0] in self.oracles:
                        return count + 1, line
        return None


def _nonce(patch: Patch) -> None:
    patch.setattr(SimEntropy, "nonce", lambda self: Nonce("0" * 24))


def _read_back(patch: Patch) -> None:
    patch.setattr(Remote, "trusts_reports", True)


def _lying(world: World) -> None:
    world.server.agent, world.server.lies = "", 0.1


def _fence(patch: Patch) -> None:
    def unfenced(*args: object, **kwargs: object) -> tuple[Plan, LockMove]:
        plan, fence = original(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came
        edits = tuple(edit for edit in plan.edits if edit.role is not Role.LOCK)
        return Plan(edits, plan.objects, (), plan.landing), fence

    original = landing_plan.fenced_plan
    patch.setattr(push, "fenced_plan", unfenced)
    patch.setattr(landing_queue, "fenced_plan", unfenced)


def _deadline_before_send(patch: Patch) -> None:
    def lease_from_reply(self: Acquirer, token: Nonce, moves: object, sent: ClockReading, waited_s: float) -> Lease:
        return original(self, token, moves, self.remote.clock_reading(), waited_s)  # type: ignore[arg-type]  # as it came

    def renew_from_reply(self: Lease, deadline: Deadline, *, ttl_s: float | None = None) -> None:
        renew(self, deadline, ttl_s=ttl_s)
        self.sent = self.remote.clock_reading()

    original, renew = Acquirer._lease, Lease.renew
    patch.setattr(Acquirer, "_lease", lease_from_reply)
    patch.setattr(Lease, "renew", renew_from_reply)


def _claim_window(patch: Patch) -> None:
    patch.setattr(waiting, "claim_delay_s", lambda place, kind, timing: 0.0)


def _parentless(patch: Patch) -> None:
    def with_parent(found: Found, event: Event, what: Write) -> NextState:
        made = machine.step(found.name, found.state, found.stance, event, what)
        if found.state is None:
            return made
        commit = build_commit(
            tree=made.objects[1].oid,
            parents=[found.state.tip],
            author_name="x",
            author_email="x",
            at_s=what.now_at,
            message="with a parent",
        )
        return NextState(replace(made.state, tip=commit.oid), (commit, *made.objects[1:]))

    patch.setattr(writing, "next_state", with_parent)
    patch.setattr(lease, "next_state", with_parent)


def _pruning(world: World) -> None:
    """Let an administrator delete the lock's ref every few seconds, and collect what nothing reaches any more."""
    world.server.holes = True

    def prune() -> None:
        world.server.do("administrator", DELETE, {world.history.lock_ref: None})
        world.server.collect()

    for turn in range(1, 48):
        world.kernel.at(turn * 2.5, prune)


def _release_by_update(patch: Patch) -> None:
    def deleting(self: Lease, mine: list[Found]) -> Plan:
        edits = [
            RefEdit(self.remote.namespace.lock_ref(found.name), At(found.state.tip), None, Role.LOCK)
            for found in mine
            if found.state is not None
        ]
        return Plan(tuple(edits), ())

    patch.setattr(Lease, "release_plan", deleting)


def _withdrawal_by_update(patch: Patch) -> None:
    def deleting(self: LandTicket, deadline: Deadline) -> Verdict | None:
        entry = self.entry(self.remote.look([self.lock], deadline, stop_at=self.name))
        if entry is None:
            return None
        if entry.ticket is not None and entry.ticket.verdict is not None:
            return entry.ticket.verdict
        edit = RefEdit(self.ref, At(entry.tip), None, Role.TICKET)
        Swapper(self.remote).carry(Plan((edit,), ()), deadline)
        return None

    patch.setattr(LandTicket, "withdraw", deleting)


def _kill(patch: Patch) -> None:
    patch.setattr(Swapper, "_kill", lambda self, plan: Superseded({}))


def _proof_by_branch(patch: Patch) -> None:
    def by_lock(
        self: Swapper,
        plan: Plan,
        landing: LandingClaim,
        seen: dict[RefName, Oid],
        lock_edits: list[RefEdit],
        until: Deadline,
    ) -> SwapOutcome:
        return Applied() if all(seen.get(edit.ref) == edit.new for edit in lock_edits) else Superseded({})

    patch.setattr(Swapper, "_judge_landing", by_lock)
    patch.setattr(landing_queue, "holds_commits", lambda *_: True)


def _verdict_kept(patch: Patch) -> None:
    patch.setattr(dead_tickets, "VERDICT_KEPT_S", -100_000)


def _edit_order(patch: Patch) -> None:
    patch.setattr(remote_store, "in_sending_order", lambda edits: in_sending_order(edits)[::-1])


def _dying(world: World) -> None:
    world.server.dies = 0.2


def _token(patch: Patch) -> None:
    def by_id(self: Acquirer) -> Lease:
        picture = self.remote.look(self.request.names, self.deadline)
        records = {name: state.record for name, state in picture.locks.items() if state is not None}
        for record in records.values():
            if (
                isinstance(record, LockRecord)
                and record.holder is not None
                and record.lease is not None
                and record.holder.id == self.request.holder.id
                and len(records) == len(self.request.names)
            ):
                states = {name: state for name, state in picture.locks.items() if state is not None}
                timing, sent = LeaseTiming.for_ttl(record.ttl_s), self.remote.clock_reading()
                return Lease(self.remote, self.request.holder, record.lease, timing, states, sent)
        return original(self)

    original = Acquirer._attempt
    patch.setattr(Acquirer, "_attempt", by_id)


def _legs(world: World) -> None:
    for runner in world.runners:
        runner.holder_id = "ci/1/legs"


def _max_of_clocks(patch: Patch) -> None:
    patch.setattr(lease, "elapsed_for_holder", lambda start, now: now.monotonic_s - start.monotonic_s)


def _generation_on_break(patch: Patch) -> None:
    patch.setitem(machine.TRANSITIONS, (Stance.OTHER, Event.BREAK), Transition(Target.FREE, GenerationRule.SAME))


def _atomic(patch: Patch) -> None:
    def piecewise(
        self: MemoryServer, commands: tuple[Command, ...], objects: tuple[GitObject, ...], *, atomic: bool
    ) -> Report:
        return original(self, commands, objects, atomic=False)

    original = MemoryServer.push
    patch.setattr(MemoryServer, "push", piecewise)


def _late_claims(patch: Patch) -> None:
    patch.setattr(Acquirer, "_stands", lambda self, lease: True)


def _own_copies(patch: Patch) -> None:
    patch.setattr(swapper, "believed", lambda plan, outcome, *, was_contended: outcome)
    patch.setattr(Swapper, "_looked_for", lambda self, plan, outcome, until: outcome)


def _busy(world: World) -> None:
    for second in range(1, 120):
        world.kernel.at(second * 2.0, lambda: setattr(world.server, "busy_pushes", 1))


def _gone_tickets(patch: Patch) -> None:
    patch.setattr(landing_queue, "copies_in_branch", lambda *_: ())
    patch.setattr(dead_tickets, "LOCAL_CLOCKS_APART_S", 0)


def _strange_clocks(patch: Patch) -> None:
    patch.setattr(dead_tickets, "LOCAL_CLOCKS_APART_S", 0)


def _dateless(world: World) -> None:
    """Take the server's Date away, and set the runners' clocks a quarter of an hour apart."""
    world.server.clock = None
    for index, runner in enumerate(world.runners):
        runner.clock.jump(index * 900.0)


def _verdicts_repeated(patch: Patch) -> None:
    patch.setattr(LandingQueue, "_repeat_verdicts", lambda self, edits, objects: None)


def _sleep(patch: Patch) -> None:
    patch.setattr(Remote, "_latest", lambda self, now_s: self.clock.latest(now_s))


def _dated(world: World) -> None:
    world.server.clock = lambda: 1_700_000_000.0 + world.kernel.now


def _margin(patch: Patch) -> None:
    patch.setattr(LeaseTiming, "usable_s", property(lambda self: self.ttl_s))


def _look_before_degrading(patch: Patch) -> None:
    patch.setattr(Pusher, "_is_created", lambda self: False)


def _moody(world: World) -> None:
    """Let the host refuse every push for two seconds, again and again, and the lock's ref be deleted meanwhile."""
    server = world.server

    def close() -> None:
        server.pre_receive_hook = lambda _: "no pushes now, please"
        server.do("administrator", DELETE, {world.history.lock_ref: None})

    for second in range(0, 120, 4):
        world.kernel.at(second, close)
        world.kernel.at(second + 2.0, lambda: setattr(server, "pre_receive_hook", None))


_LOSSY = Faults(lose_reply=0.15, late_copy=0.15, duplicate=0.1)
_SLOW = Faults(delay_s=(0.02, 0.08), slow=0.2)
_SLEEPING = Faults(pause=0.3, pauses_s=(20.0, 40.0), suspend_share=1.0)
_STOPPING = Faults(pause=0.1, suspend_share=1.0)

MUTATIONS = (
    Mutation("nonce", _nonce, frozenset({"transitions"})),
    Mutation("read-back of untrusted reports", _read_back, frozenset({"exactly_once"}), Setting(0, tune=_lying)),
    Mutation("fence", _fence, frozenset({"fenced_landings"})),
    Mutation(
        "own deadline counts from before the sending",
        _deadline_before_send,
        frozenset({"exclusive_leases"}),
        Setting(0, 8, 3, faults=_SLOW, is_quiet=True, holds=1.0, impolite=1.0),
    ),
    Mutation(
        "claim window",
        _claim_window,
        frozenset({"fair_order"}),
        Setting(0, runners=8, steps=3, faults=Faults(), is_quiet=True),
    ),
    Mutation(
        "lock commits without parents",
        _parentless,
        frozenset({"fenced_landings"}),
        Setting(0, steps=3, faults=Faults(pause=0.2, pauses_s=(1.0, 3.0)), tune=_pruning),
    ),
    Mutation("release by update, not delete", _release_by_update, frozenset({"transitions"})),
    Mutation("withdrawal by update, not delete", _withdrawal_by_update, frozenset({"tickets", "exactly_once"})),
    Mutation("kill before abandon", _kill, frozenset({"exactly_once"}), Setting(0, faults=_LOSSY)),
    Mutation("proof by the branch", _proof_by_branch, frozenset({"exactly_once"}), Setting(0, faults=_LOSSY)),
    Mutation(
        "verdict kept until expiry", _verdict_kept, frozenset({"tickets", "exactly_once"}), Setting(0, faults=_LOSSY)
    ),
    Mutation("edit order", _edit_order, frozenset({"tickets"}), Setting(0, tune=_dying)),
    Mutation("lease token, not holder id", _token, frozenset({"exclusive_leases"}), Setting(0, tune=_legs)),
    Mutation(
        "largest of the holder's clocks", _max_of_clocks, frozenset({"exclusive_leases"}), Setting(0, faults=_STOPPING)
    ),
    Mutation("generation on break", _generation_on_break, frozenset({"transitions"})),
    Mutation("atomic", _atomic, frozenset({"fenced_landings", "exactly_once"}), Setting(0, faults=_LOSSY)),
    Mutation("safety margin", _margin, frozenset({"exclusive_leases"})),
    Mutation(
        "a claim in doubt is judged afresh", _late_claims, frozenset({"exclusive_leases"}), Setting(0, faults=_LOSSY)
    ),
    Mutation(
        "a refusal that a copy of ours may have caused",
        _own_copies,
        frozenset({"exactly_once", "tickets", "failed_acquires"}),
        Setting(0, faults=Faults(duplicate=0.3, proxy_share=0.5), tune=_busy),
    ),
    Mutation(
        "a ticket that is gone is looked for in the branch",
        _gone_tickets,
        frozenset({"exactly_once"}),
        Setting(0, steps=3, faults=Faults(pause=0.1, pauses_s=(20.0, 100.0), lose_reply=0.1), tune=_dateless),
    ),
    Mutation(
        "no verdict is swept by a strange clock",
        _strange_clocks,
        frozenset({"tickets"}),
        Setting(0, faults=_LOSSY, tune=_dateless),
    ),
    Mutation(
        "sleep counts for the end of a lease",
        _sleep,
        frozenset({"exclusive_leases"}),
        Setting(0, 8, 3, faults=_SLEEPING, is_quiet=True, holds=1.0, tune=_dated),
    ),
    Mutation(
        "the look before a degraded landing",
        _look_before_degrading,
        frozenset({"fenced_landings"}),
        Setting(0, 8, 3, faults=_SLOW, tune=_moody),
    ),
)
