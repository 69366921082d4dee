"""Interleavings that once broke a promise, replayed step by step."""

from __future__ import annotations

from dataclasses import replace

from gitref_lock.core.names import Oid
from gitref_lock.remotes.streams import LinkError
from gitref_lock.testing.sim_actors import LOCK
from gitref_lock.testing.sim_network import Fate
from gitref_lock.testing.sim_world import World
from tests.simulation.scripting import faults_of, hold, play, push, results


def test_a_claim_found_after_its_lease_is_over_is_not_used() -> None:
    """A claim whose reply is lost, and that is read back when its time is over, is given back and tried again."""
    late = Fate(reply_lost=True, is_quiet=True)
    blind = {("r0", "ls-refs", number): Fate(lost=True, is_quiet=True) for number in range(2, 4)}
    world = play(
        2,
        lambda runners: {0: [(0.0, hold(runners[0], ttl_s=5.0))], 1: [(12.0, hold(runners[1], work_s=20.0))]},
        {("r0", "swap", 1): late, **blind},
    )
    assert results(world) == ["acquired", "acquired"]
    assert len({span.token for span in world.history.leases}) == 2
    assert faults_of(world) == []


def test_a_claim_found_after_it_was_broken_is_not_used() -> None:
    """A claim whose reply is lost and that an operator broke meanwhile is no lease, though the history shows it."""
    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], ttl_s=30.0, work_s=5.0))],
            1: [(3.0, runners[1].break_lock)],
            2: [(4.0, hold(runners[2], ttl_s=30.0, work_s=60.0, wait_s=0.0))],
        },
        {("r0", "swap", 1): Fate(reply_lost=True, is_quiet=True)},
    )
    begins = {span.runner: span.begin_s for span in world.history.leases}
    assert begins["r2"] < begins["r0"]
    assert begins["r0"] > next(span.end_s() for span in world.history.leases if span.runner == "r2")
    assert faults_of(world) == []


def test_a_copy_of_a_contended_ticket_is_recognised() -> None:
    """A ticket whose first copy met a busy server and whose second copy was granted is ours; nothing lands twice."""
    world = play(
        2,
        lambda runners: {0: [(0.0, hold(runners[0], work_s=4.0))], 1: [(2.0, push(runners[1], "lines"))]},
        {("r1", "swap", 1): Fate(again_s=0.02)},
        tune=lambda world: world.kernel.at(2.0, lambda: setattr(world.server, "busy_pushes", 1)),
    )
    assert results(world) == ["acquired", "landed"]
    assert len(world.history.refs("refs/lock-queue/")) == 1
    assert faults_of(world) == []


def test_a_landing_sent_twice_by_a_proxy_counts_once() -> None:
    """When a proxy sends a landing again, and only the refusal of the second copy is heard, the push has landed."""
    world = play(
        1,
        lambda runners: {0: [(0.0, push(runners[0], "lines"))]},
        {("r0", "swap", 2): Fate(again_s=0.2, is_second_heard=True)},
    )
    assert results(world) == ["landed"]
    assert faults_of(world) == []


def test_a_refusal_of_a_second_copy_does_not_hide_a_landing() -> None:
    """When a hook refuses the second copy of a landing whose first copy was granted, the push has landed."""

    def closing(world: World) -> None:
        world.server.pre_receive_hook = lambda _: "closed" if world.history.changes_in(_tip(world))[1:] else None

    world = play(
        1,
        lambda runners: {0: [(0.0, push(runners[0]))]},
        {("r0", "swap", 2): Fate(again_s=0.2, is_second_heard=True)},
        tune=closing,
    )
    assert results(world) == ["landed"]


def _tip(world: World) -> Oid:
    return world.server.refs[world.history.branch]


def test_release_after_a_landing_under_the_lease_is_harmless() -> None:
    """A lease whose landing has freed the lock can still be released; there is nothing left to free."""
    world = play(1, lambda runners: {0: [(0.0, push(runners[0], lease_ttl_s=30.0))]})
    assert results(world) == ["acquired", "landed"]
    assert world.history.leases[0].released_s is not None
    assert faults_of(world) == []


def test_a_landing_is_not_forgotten_when_its_lease_cannot_be_released() -> None:
    """Without atomic a push lands under a lease; that the release fails afterwards does not make it a failure."""

    def piecewise(world: World) -> None:
        world.server.atomic = False
        world.history.is_fenced = False

    lost = {
        ("r0", kind, number): Fate(lost=True)
        for kind in ("swap", "ls-refs")
        for number in range(4 if kind == "swap" else 5, 60)
    }
    world = play(1, lambda runners: {0: [(0.0, push(runners[0]))]}, lost, tune=piecewise)
    assert results(world) == ["landed"]
    assert faults_of(world) == []


def test_a_waiter_on_a_server_without_atomic_gets_the_lock() -> None:
    """Where several refs cannot move as one, the claim moves the lock alone and the ticket goes afterwards."""

    def piecewise(world: World) -> None:
        world.server.atomic = False
        world.history.is_fenced = False

    world = play(2, lambda runners: {0: [(0.0, hold(runners[0]))], 1: [(0.5, hold(runners[1]))]}, tune=piecewise)
    assert results(world) == ["acquired", "acquired"]
    assert not any(ref.startswith("refs/lock-queue/") for ref in world.server.refs)


def test_a_posted_change_whose_ticket_is_gone_is_found_in_the_branch() -> None:
    """A push that slept until its landed ticket was swept, and cannot look then, still finds what became of it."""
    blind = {("r1", "ls-refs", number): Fate(lost=True, is_quiet=True) for number in range(3, 7)}

    def far_ahead(world: World) -> None:
        world.runners[3].clock.jump(200_000.0)
        world.server.clock = None

    world = play(
        4,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=3.0))],
            1: [(0.5, push(runners[1], "lines", wait_s=30.0))],
            2: [(1.0, push(runners[2]))],
            3: [(10.0, push(runners[3]))],
        },
        blind,
        tune=far_ahead,
    )
    assert results(world) == ["acquired", "landed", "landed", "landed"]
    assert faults_of(world) == []


def test_a_server_that_dies_between_two_refs_gets_the_missing_verdicts() -> None:
    """When branch and lock moved but not the tickets, the head writes the verdicts once it has proved the landing."""

    def dying(world: World) -> None:
        original, server = world.server.push, world.server

        def push(commands: object, objects: object, *, atomic: bool) -> object:
            if len(commands) >= 4:  # type: ignore[arg-type]  # branch, lock, two tickets
                world.server.push = original  # type: ignore[method-assign]  # once
                original(commands[:2], objects, atomic=atomic)  # type: ignore[index,arg-type]  # a sequence
                server.history.applied[-1] = replace(server.history.applied[-1], partial="crash")
                raise LinkError("unreachable", "the server died")
            return original(commands, objects, atomic=atomic)  # type: ignore[arg-type]  # as it came

        world.server.push = push  # type: ignore[method-assign,assignment]  # for this run

    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=3.0))],
            1: [(0.5, push(runners[1], "lines"))],
            2: [(0.6, push(runners[2], "lines"))],
        },
        tune=dying,
    )
    assert results(world) == ["acquired", "landed", "landed"]
    assert faults_of(world) == []


def test_cleaning_up_after_a_claim_does_not_use_up_the_lease() -> None:
    """Dead tickets that a claim has passed are removed in a tenth of the lease's time, or left alone."""
    deaf = {("r2", "swap", number): Fate(lost=True, is_quiet=True) for number in range(3, 60)}
    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=3.0))],
            1: [(0.5, hold(runners[1], wait_s=100.0))],
            2: [(1.0, hold(runners[2], ttl_s=10.0, wait_s=100.0, is_polite=False))],
        },
        {**deaf, ("r1", "ls-refs", 3): Fate(crash="before")},
    )
    served = next(span for span in world.history.leases if span.runner == "r2")
    claimed_s = next(event.at_s for event, _ in world.history.moves(world.history.lock_ref) if event.actor == "r2")
    assert served.begin_s - claimed_s < 1.5


def test_a_state_that_is_gone_before_it_is_read_costs_a_listing_not_a_minute() -> None:
    """When what a listing showed has been replaced and collected, the runner lists again at once."""

    def collecting(world: World) -> None:
        for turn in range(1, 400):
            world.kernel.at(turn * 0.05, world.server.gc)

    world = play(
        2,
        lambda runners: {
            0: [(0.0, hold(runners[0], ttl_s=5.0, work_s=8.0))],
            1: [(0.5, push(runners[1], wait_s=30.0))],
        },
        {("r1", "fetch", number): Fate(out_s=2.5) for number in range(2, 5)},
        tune=collecting,
    )
    assert results(world) == ["acquired", "landed"]
    assert world.history.pushes[0].ended_s < 20.0
    assert faults_of(world) == []


def test_a_machine_that_slept_before_it_wrote_does_not_write_an_early_end() -> None:
    """The server's clock went on while the machine slept between a listing and its claim: the lease ends later."""

    def dated(world: World) -> None:
        world.server.clock = lambda: 1_700_000_000.0 + world.kernel.now

    world = play(
        2,
        lambda runners: {
            0: [(0.0, hold(runners[0], ttl_s=5.0)), (1.0, hold(runners[0], ttl_s=30.0, is_polite=False))],
            1: [(45.0, hold(runners[1], ttl_s=5.0, wait_s=60.0))],
        },
        {("r0", "fetch", 1): Fate(pause_s=40.0, suspends=True)},
        tune=dated,
    )
    ends = [
        world.history.state(LOCK, move.after).record
        for _, move in world.history.moves(world.history.lock_ref)
        if move.after is not None
    ]
    assert results(world) == ["acquired", "acquired", "acquired"]
    assert any(getattr(record, "ttl_s", 0) == 30.0 for record in ends)
    assert faults_of(world) == []


def test_a_landing_whose_second_copy_lost_the_race_has_landed() -> None:
    """When only the refusal of a landing's second copy is heard, and others landed since, the push has landed once."""
    world = play(
        2,
        lambda runners: {
            0: [(0.0, push(runners[0], "lines"))],
            1: [(1.0, push(runners[1], "lines")), (0.0, push(runners[1], "lines"))],
        },
        {("r0", "swap", 2): Fate(again_s=3.0, is_second_heard=True, back_s=1.0)},
    )
    assert results(world) == ["landed", "landed", "landed"]
    assert [push.how for push in world.history.pushes if push.runner == "r0"] == ["fast"]
    assert faults_of(world) == []
