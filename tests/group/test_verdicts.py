"""Verdicts keep the name of their ticket; the branch alone proves a landing; an untrue verdict is not believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.record import Holder
from gitref_lock.core.refs import Absent, RefEdit, Role, Superseded
from gitref_lock.core.ticket import VERDICT_KEPT_S, Kind, Ticket, Verdict, VerdictKind, build_ticket
from gitref_lock.errors import NotAcquiredError
from gitref_lock.remotes.streams import LinkError
from gitref_lock.runtime.dead_tickets import MAX_SWEPT, swept
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.testing.oracles import judge
from gitref_lock.testing.sim_network import Fate
from tests.group.crowd import ends, play, times_in_branch, told
from tests.group.memory import LOCK, MAIN, QUEUE, Hub, Runner
from tests.support.runners import acquire_at

Work = Callable[[], object]


def post_of(runner: str) -> int:
    """Return which request of a runner posts its ticket."""
    _, _, kind_of = play({}, leaves_s=60.0)
    return next(number for (name, number), kind in kind_of.items() if name == runner and kind == "swap")


def test_v1_a_late_copy_of_a_create_meets_the_verdict_under_its_name() -> None:
    """A copy of a ticket's create that arrives after its change was landed is refused: nothing lands again."""
    number = post_of("r2")
    for again_s in (6.0, 100.0, 600.0):
        world, _, _ = play({("r2", number): Fate(again_s=again_s)}, leaves_s=60.0)
        assert any("refused" in line for line in world.history.trace)
        assert times_in_branch(world, "r2") == 1
        assert judge(world.history) == []


def test_v1_a_ghost_that_comes_after_the_sweep_is_past_its_own_time() -> None:
    """Even a copy that arrives when the verdict is gone lands nothing: it is withdrawn by whoever comes next."""
    world, _, _ = play({("r2", post_of("r2")): Fate(again_s=950.0)}, leaves_s=60.0)
    assert [VerdictKind.LANDED, VerdictKind.WITHDRAWN] in ends(world).values()
    assert times_in_branch(world, "r2") == 1
    assert told(world) == {"r1": "landed", "r2": "landed", "r3": "landed", "r4": "landed"}


def test_v2_the_branch_decides_when_the_ring_has_forgotten() -> None:
    """A landing whose reply is lost is found in the branch, though a hundred others have passed over the ring since."""
    hub = Hub.open()
    swaps = 0

    def lose(kind: str, work: Work) -> object:
        nonlocal swaps
        swaps += kind == "swap"
        found = work()
        if kind == "swap" and swaps == 1:
            for index in range(70):
                other = hub.runner(f"other{index}")
                other.push(other.line())
            raise LinkError("timeout", "no reply")
        return found

    victim = hub.runner("victim", lose)
    landed = victim.push(victim.line())
    assert landed.how.value == "fast"
    assert hub.subjects().count("victim") == 1
    assert hub.file("log.jsonl").count(b'"victim"') == 1
    assert swaps == 1


def test_v3_a_refusal_after_an_unknown_is_not_believed() -> None:
    """The first copy is late, the second is refused because the first has won meanwhile: the push has landed, once."""
    hub = Hub.open()
    held: list[Work] = []

    def late(kind: str, work: Work) -> object:
        if kind != "swap":
            return work()
        if not held:
            held.append(work)
            raise LinkError("timeout", "no reply")
        held[0]()
        return work()

    victim = hub.runner("victim", late)
    landed = victim.push(victim.line())
    assert landed.head == hub.server.refs[MAIN]
    assert hub.subjects().count("victim") == 1
    assert hub.file("log.jsonl").count(b'"victim"') == 1


def ended(hub: Hub, who: Runner, expires_at: int, index: int) -> RefName:
    """Write a verdict that keeps its name until ``expires_at`` and a minute."""
    nonce = who.remote.system.entropy.nonce()
    ticket = Ticket(Kind.LAND, (LOCK,), nonce, Holder("x"), 0, 1_000 + index, expires_at, branch="main")
    return hub.put_ticket(ticket.with_verdict(Verdict(VerdictKind.LANDED)), change=None)


@pytest.mark.parametrize("is_dated", [True, False])
def test_a_verdict_keeps_its_name_until_a_minute_after_its_expiry(is_dated: bool) -> None:
    """A landing sweeps a verdict a minute after its expiry by the server's clock, without one a day later."""
    now_s = 1_700_000_000.0
    hub = Hub.open(clock=(lambda: now_s) if is_dated else None)
    who = hub.runner("sweeper")
    now_at = int(now_s) if is_dated else int(who.remote.system.clock.wall())
    apart = 0 if is_dated else 86_400
    kept = ended(hub, who, now_at - apart - VERDICT_KEPT_S + 5, 0)
    over = ended(hub, who, now_at - apart - VERDICT_KEPT_S - 5, 1)
    who.push(who.line())
    assert kept in hub.server.refs
    assert over not in hub.server.refs


def test_at_most_64_verdicts_are_swept_by_one_swap() -> None:
    """Two hundred old verdicts take four landings to sweep, each of them one swap."""
    hub = Hub.open()
    who = hub.runner("sweeper")
    for index in range(200):
        ended(hub, who, 1_600_000_000, index)
    left = []
    for turn in range(4):
        other = hub.runner(f"turn{turn}")
        pushes = hub.server.pushes
        other.push(other.line())
        assert hub.server.pushes == pushes + 1
        left.append(sum(ref.startswith(QUEUE) for ref in hub.server.refs))
    assert left == [200 - MAX_SWEPT, 200 - 2 * MAX_SWEPT, 200 - 3 * MAX_SWEPT, 0]
    picture = who.remote.look([LOCK], Deadline(who.remote.system.clock))
    assert swept(who.remote, picture) == []


def lies(hub: Hub, kind: str, victim_commit: Oid) -> Verdict:
    """Return an untrue claim of a landing."""
    commits: dict[str, tuple[Oid, ...]] = {
        "of nothing": (),
        "of somebody else's commit": (hub.server.refs[MAIN],),
        "of a commit that is nowhere": (Oid("ab" * 20),),
        "of my commit, which is not in the branch": (victim_commit,),
        "of mine among others": (hub.server.refs[MAIN], victim_commit),
    }
    return Verdict(VerdictKind.LANDED, by="liar", commits=commits[kind])


LIES = [
    "of nothing",
    "of somebody else's commit",
    "of a commit that is nowhere",
    "of my commit, which is not in the branch",
    "of mine among others",
]


def lie(hub: Hub, ref: RefName, kind: str, victim_commit: Oid) -> None:
    """End a ticket with an untrue claim, as a program that cannot be trusted might."""
    made = build_ticket(hub.ticket(ref).with_verdict(lies(hub, kind, victim_commit)), at_s=1_700_000_000)
    hub.server.put(made)
    hub.server.set_ref(ref, made[0].oid)


@pytest.mark.parametrize("kind", LIES)
def test_an_untrue_verdict_that_a_giving_up_push_meets_is_no_landing(kind: str) -> None:
    """The wait is over and the withdrawal finds a false landed verdict: the push has not landed, and says so."""
    hub = Hub.open()
    acquire_at(hub.runner("holder").remote, ttl_s=3600.0)
    tampered: list[RefName] = []

    def tamper(what: str, work: Work) -> object:
        found = work()
        if what == "ls-refs" and pusher.errand.wait.is_over and not tampered:
            [ref] = [ref for ref in hub.server.refs if ref.startswith(QUEUE)]
            lie(hub, ref, kind, change.head)
            tampered.append(ref)
        return found

    victim = hub.runner("victim", tamper)
    change = victim.line()
    pusher = victim.pusher(change, wait_s=30.0)
    with pytest.raises(NotAcquiredError) as refused:
        pusher.run()
    assert tampered
    assert "the branch does not show it" in "".join(refused.value.__notes__)
    assert "victim" not in hub.subjects()


@pytest.mark.parametrize("kind", LIES)
def test_an_untrue_verdict_is_not_believed(kind: str) -> None:
    """A ticket moved to a false landed verdict: the waiter looks at the branch, posts anew, and lands exactly once."""
    hub = Hub.open()
    tampered: list[RefName] = []

    def tamper(what: str, work: Work) -> object:
        found = work()
        posted = [ref for ref in hub.server.refs if ref.startswith(QUEUE) and ref not in before]
        if what == "swap" and posted and not tampered:
            [ref] = posted
            lie(hub, ref, kind, victim_commit)
            tampered.append(ref)
        return found

    blocker = hub.runner("blocker")
    blocker.post(blocker.line())
    before = set(hub.server.refs)
    victim = hub.runner("victim", tamper)
    change = victim.line()
    victim_commit = change.head
    landed = victim.push(change)
    assert tampered
    assert hub.subjects().count("victim") == 1
    assert landed.how.value in {"queued", "combined"}
    assert hub.file("log.jsonl").count(b'"victim"') == 1
    assert len([ref for ref in hub.server.refs if ref.startswith(QUEUE)]) == 3


def test_a_ticket_that_was_given_another_change_lands_that_one_under_its_true_author() -> None:
    """Somebody moves my ticket to a commit of theirs: their commit lands as theirs, and mine is posted anew."""
    hub = Hub.open()
    thief, victim, combiner = hub.runner("thief"), hub.runner("victim"), hub.runner("combiner")
    change = victim.line()
    posted = victim.post(change)
    stolen = thief.line()
    offered = stolen.prepare(hub.base)
    ticket = replace(posted.ticket, base=hub.base)
    made = build_ticket(ticket, at_s=1_700_000_001, change=stolen.head)
    hub.server.put([*offered.objects, *made])
    hub.server.set_ref(posted.ref, made[0].oid)
    combiner.push(combiner.line())
    pusher = victim.pusher(change)
    pusher.queue.ticket = posted
    landed = pusher.run()
    assert hub.subjects().count("victim") == 1
    assert hub.subjects().count("thief") == 1
    assert landed.head in hub.server.objects


def test_a_name_that_is_taken_by_a_verdict_cannot_be_created_again() -> None:
    """The create of a ticket expects its name to be absent; a verdict under it turns any copy away."""
    hub = Hub.open()
    waiter, combiner = hub.runner("waiter"), hub.runner("combiner")
    posted = waiter.post(waiter.line())
    combiner.push(combiner.line())
    assert hub.verdict(posted.ref).kind is VerdictKind.LANDED
    again = RefEdit(posted.ref, Absent(), posted.tip, Role.TICKET)
    assert isinstance(waiter.remote.store.swap([again], posted.objects), Superseded)
