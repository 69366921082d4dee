"""More interleavings that once broke a promise: lost read-backs, strange clocks, old listings, doubled requests."""

from __future__ import annotations

from collections.abc import Callable

from gitref_lock.core.names import LockName
from gitref_lock.testing.sim_actors import LOCK
from gitref_lock.testing.sim_network import Fate
from gitref_lock.testing.sim_world import EPOCH_S, World
from tests.simulation.scripting import faults_of, hold, play, push, results

QUEUE = "refs/lock-queue/"
DEPLOY = LockName("deploy/prod")


def tickets(world: World) -> list[str]:
    """Return the tickets that are there in the end, ended ones among them."""
    return [ref for ref in world.server.refs if ref.startswith(QUEUE)]


def test_a_lost_race_that_cannot_be_read_back_is_no_refusal() -> None:
    """Two runners create the lock at once, and the loser's read fails: it tries again, and both land."""
    world = play(
        2,
        lambda runners: {0: [(0.0, push(runners[0], "lines"))], 1: [(0.02, push(runners[1], "lines"))]},
        {("r1", "ls-refs", 2): Fate(lost=True)},
    )
    assert results(world) == ["landed", "landed"]
    assert faults_of(world) == []


def test_a_machine_whose_clock_is_ahead_sweeps_no_fresh_verdict() -> None:
    """Where replies carry no Date, eleven hours of another machine's clock do not end the life of a verdict."""

    def ahead(world: World) -> None:
        world.server.clock = None
        for runner in world.runners[:2]:
            runner.clock.jump(EPOCH_S - runner.clock.wall())
        world.runners[2].clock.jump(EPOCH_S + 40_000.0 - world.runners[2].clock.wall())

    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=3.0))],
            1: [(0.5, push(runners[1], "lines"))],
            2: [(20.0, push(runners[2]))],
        },
        tune=ahead,
    )
    assert results(world) == ["acquired", "landed", "landed"]
    assert len(tickets(world)) == 1
    assert faults_of(world) == []


def test_a_ticket_outlives_its_landing_though_the_front_ends_disagree() -> None:
    """A runner that meets a Date behind the lock's own goes by it all the same: its clock may be hours behind."""

    def apart(world: World) -> None:
        world.server.clock = lambda: EPOCH_S + world.kernel.now + (60.0 if world.kernel.now < 0.3 else 0.0)
        world.runners[1].clock.jump(EPOCH_S - 40_000.0 - world.runners[1].clock.wall())

    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=4.0))],
            1: [(1.0, push(runners[1], "lines"))],
            2: [(20.0, push(runners[2]))],
        },
        tune=apart,
    )
    assert results(world) == ["acquired", "landed", "landed"]
    assert len(tickets(world)) == 1
    assert faults_of(world) == []


def test_a_claim_sent_twice_by_a_proxy_is_held() -> None:
    """The first copy is granted, the second refused, the read fails, a hook refuses the next: the lock is ours."""

    def closing(world: World) -> None:
        world.kernel.at(0.3, lambda: setattr(world.server, "pre_receive_hook", lambda _: "closed"))
        world.kernel.at(5.0, lambda: setattr(world.server, "pre_receive_hook", None))

    world = play(
        1,
        lambda runners: {0: [(0.0, hold(runners[0], work_s=6.0))]},
        {
            ("r0", "swap", 1): Fate(again_s=0.05, is_second_heard=True),
            ("r0", "ls-refs", 2): Fate(lost=True),
        },
        tune=closing,
    )
    assert results(world) == ["acquired"]
    assert faults_of(world) == []


def test_a_ticket_that_an_old_listing_lacks_is_not_posted_again() -> None:
    """A replica that is half a second behind shows the queue without the ticket just posted: it is waited for."""
    world = play(
        2,
        lambda runners: {0: [(0.0, hold(runners[0], work_s=4.0))], 1: [(1.0, push(runners[1], "lines"))]},
        {("r1", "ls-refs", 2): Fate(lag_s=0.5)},
        tune=lambda world: setattr(world.server, "keeps_past", True),
    )
    assert results(world) == ["acquired", "landed"]
    assert len(world.history.refs(QUEUE)) == 1
    assert faults_of(world) == []


def test_a_change_that_lands_alone_passes_nobody() -> None:
    """The head is slow to look; the next one, whose batch cannot hold it, gives it the claim window."""
    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=4.0))],
            1: [(0.5, push(runners[1]))],
            2: [(1.5, push(runners[2], is_combinable=False))],
        },
        {("r1", "ls-refs", number): Fate(out_s=0.1, back_s=2.4) for number in range(2, 9)},
    )
    assert results(world) == ["acquired", "landed", "landed"]
    landed = world.history.changes_in(world.server.refs[world.history.branch])
    assert [change for change in landed if change.startswith(("r1", "r2"))] == ["r1-1-own", "r2-1-own"]
    assert faults_of(world) == []


def test_a_post_that_a_proxy_sent_twice_is_found_after_a_long_stop() -> None:
    """The first copy is granted, the refusal of the second is heard, and the time is over: the queue is asked."""
    world = play(
        2,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=4.0)), (6.0, push(runners[0]))],
            1: [(1.0, push(runners[1], "clash"))],
        },
        {("r1", "swap", 1): Fate(again_s=0.05, is_second_heard=True), ("r1", "ls-refs", 2): Fate(pause_s=89.0)},
    )
    assert results(world) == ["acquired", "landed", "landed"]
    assert faults_of(world) == []


def closed_until(seconds: float) -> Callable[[World], None]:
    """Return what makes the host refuse every push for so long."""

    def tune(world: World) -> None:
        world.server.pre_receive_hook = lambda _: "no pushes now, please"
        world.kernel.at(seconds, lambda: setattr(world.server, "pre_receive_hook", None))

    return tune


def test_a_lock_made_when_the_host_has_opened_is_not_passed() -> None:
    """A push is refused to create the lock; before it looks again another holds it: it waits for its turn."""
    world = play(
        2,
        lambda runners: {0: [(0.0, push(runners[0]))], 1: [(1.0, hold(runners[1], work_s=8.0))]},
        {("r0", "swap", 1): Fate(back_s=4.0)},
        tune=closed_until(0.5),
    )
    assert results(world) == ["landed", "acquired"]
    assert [one.how for one in world.history.pushes] == ["queued"]
    assert faults_of(world) == []


def test_a_degraded_landing_that_is_overtaken_is_called_degraded() -> None:
    """The host opens while the request is on its way, and another takes the lock: no fence, and the report says so."""
    world = play(
        2,
        lambda runners: {0: [(0.0, push(runners[0]))], 1: [(1.0, hold(runners[1], work_s=20.0))]},
        {("r0", "swap", 2): Fate(out_s=6.0)},
        tune=closed_until(0.7),
    )
    assert results(world) == ["landed", "acquired"]
    assert [one.how for one in world.history.pushes] == ["degraded"]
    assert world.history.leases[0].begin_s < 6.0
    assert faults_of(world) == []


def test_a_push_does_not_wait_for_one_that_waits_for_another_lock_too() -> None:
    """A waiter for two locks, one of them busy for long, is passed over by landings at once, not after its window."""
    world = play(
        4,
        lambda runners: {
            0: [(0.0, hold(runners[0], locks=(DEPLOY,), ttl_s=60.0, work_s=50.0))],
            1: [(0.5, hold(runners[1], work_s=4.0))],
            2: [(1.5, hold(runners[2], locks=(LOCK, DEPLOY)))],
            3: [(2.5, push(runners[3], "lines"))],
        },
    )
    assert results(world) == ["acquired", "acquired", "acquired", "landed"]
    (landing,) = world.history.pushes
    freed_s = next(span.released_s for span in world.history.leases if span.runner == "r1")
    assert freed_s is not None
    assert landing.ended_s < freed_s + 3.0
    assert faults_of(world) == []


def test_a_machine_that_sleeps_after_its_claim_does_not_report_a_lease_that_is_over() -> None:
    """A runner claims, and sleeps past its lease while it takes its ticket away: another has the lock, and it waits."""

    def piecewise(world: World) -> None:
        world.server.atomic = False
        world.history.is_fenced = False

    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=3.0))],
            1: [(1.0, hold(runners[1]))],
            2: [(5.0, hold(runners[2], work_s=60.0))],
        },
        {("r1", "swap", 3): Fate(pause_s=40.0, suspends=True)},
        tune=piecewise,
    )
    assert results(world) == ["acquired", "acquired", "acquired"]
    assert faults_of(world) == []
    assert [lease.runner for lease in world.history.leases] == ["r0", "r2", "r1"]


def test_a_slow_look_at_the_server_does_not_lengthen_a_lease() -> None:
    """The first question about the server is lost: the record is written after the answer, and counts from then."""
    world = play(
        2,
        lambda runners: {
            0: [(0.0, hold(runners[0], ttl_s=30.0, work_s=5.0, is_polite=False))],
            1: [(25.0, hold(runners[1], ttl_s=30.0))],
        },
        {("r0", "probe", 1): Fate(lost=True, is_quiet=True)},
        tune=lambda world: setattr(world.server, "clock", lambda: EPOCH_S + world.kernel.now),
    )
    assert results(world) == ["acquired", "acquired"]
    assert faults_of(world) == []


def test_what_a_busy_server_refused_is_not_granted_later() -> None:
    """Every sending of a landing is refused by a busy server; a late copy of the first finds the lock moved on."""
    world = play(
        1,
        lambda runners: {0: [(0.0, push(runners[0]))]},
        {("r0", "swap", 2): Fate(again_s=60.0)},
        tune=lambda world: world.kernel.at(0.33, lambda: setattr(world.server, "busy_pushes", 18)),
    )
    assert results(world) == ["landed"]
    assert any("#5.1 refused" in line for line in world.history.trace)
    assert faults_of(world) == []


def test_a_refusal_that_cannot_be_read_back_is_unknown() -> None:
    """A proxy's second copy is refused, the first was granted, and no reading comes back: nobody may say refused."""
    lost = {("r0", "ls-refs", number): Fate(lost=True) for number in range(3, 60)}
    world = play(
        1,
        lambda runners: {0: [(0.0, push(runners[0]))]},
        {**lost, ("r0", "swap", 2): Fate(again_s=0.05, is_second_heard=True)},
    )
    assert results(world) == ["unknown"]
    assert faults_of(world) == []


def test_a_ticket_that_an_old_listing_lacks_is_withdrawn_all_the_same() -> None:
    """The look of a push that gives up is a second old and lacks its ticket, which is ended, not taken for gone."""
    world = play(
        3,
        lambda runners: {
            0: [(0.0, hold(runners[0], work_s=6.0))],
            1: [(1.0, push(runners[1], wait_s=0.4))],
            2: [(8.0, push(runners[2], "lines"))],
        },
        {("r1", "ls-refs", number): Fate(lag_s=1.0) for number in range(3, 5)},
        tune=lambda world: setattr(world.server, "keeps_past", True),
    )
    assert results(world) == ["acquired", "lock-timeout", "landed"]
    assert faults_of(world) == []
