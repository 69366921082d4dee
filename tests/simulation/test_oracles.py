"""Every oracle can fail: each is shown a history, made by hand, that breaks its promise, and one that keeps it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitref_lock.core.machine import TRANSITIONS, GenerationRule, LockState, NextState, Stance, Target, Write, step
from gitref_lock.core.names import LockName, Namespace, Nonce, Oid, RefName, TicketName
from gitref_lock.core.objects import build_state_commit
from gitref_lock.core.record import ClockSource, Event, Holder
from gitref_lock.core.ticket import Kind, Ticket, Verdict, VerdictKind, build_ticket
from gitref_lock.testing.oracles import ORACLES, judge
from gitref_lock.testing.oracles.transitions import ABSENT, FREE, HELD, STEPS
from gitref_lock.testing.sim_history import (
    DELETE,
    HUMAN,
    MIRROR,
    SWAP,
    AcquireResult,
    Applied,
    History,
    LeaseSpan,
    Move,
    PushResult,
    Sight,
)

MAIN = LockName("main")
LOCK_REF = Namespace().lock_ref(MAIN)
BRANCH = RefName("refs/heads/main")


class Story:
    """A history told step by step; each step is one second later."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.history = History()
        self.now = 0.0
        self.refs: dict[RefName, Oid] = {}
        self.states: dict[Oid, LockState] = {}
        self.serial = 0

    def nonce(self) -> Nonce:
        """Return a new nonce."""
        self.serial += 1
        return Nonce(f"{self.serial:024x}")

    def apply(self, actor: str, moves: dict[RefName, Oid | None], kind: str = SWAP, partial: str = "") -> None:
        """Move refs in one instant."""
        self.now += 1.0
        made = tuple(Move(ref, self.refs.get(ref), new) for ref, new in moves.items())
        for ref, new in moves.items():
            if new is None:
                self.refs.pop(ref, None)
            else:
                self.refs[ref] = new
        self.history.applied.append(Applied(self.now, actor, kind, made, partial=partial))

    def next(self, actor: str, event: Event, stance: Stance, **options: object) -> NextState:
        """Return the lock's next state, kept for the oracles."""
        before = self.states.get(self.refs.get(LOCK_REF, Oid("")))
        what = Write(
            nonce=self.nonce(),
            now_at=1_700_000_000 + int(self.now),
            clock=ClockSource.LOCAL,
            holder=Holder(actor, actor, host=actor),
            expires_at=1_700_000_100,
            ttl_s=30.0,
        )
        made = step(MAIN, before, stance, event, replace(what, **options))  # type: ignore[arg-type]  # fields of Write
        self.history.archive.update((item.oid, item) for item in made.objects)
        self.states[made.state.tip] = made.state
        return made

    def lock(self, actor: str, event: Event, stance: Stance, **options: object) -> NextState:
        """Move the lock alone."""
        made = self.next(actor, event, stance, **options)
        self.apply(actor, {LOCK_REF: made.state.tip})
        return made

    def commit(self, name: str, files: dict[str, bytes] | None = None) -> Oid:
        """Make a commit on the branch's tip."""
        tip = self.refs.get(BRANCH)
        made = build_state_commit(
            files or {"a": name.encode()}, author_name="x", at_s=1, message=name, parents=[tip] if tip else []
        )
        self.history.archive.update((item.oid, item) for item in made)
        return made[0].oid

    def land(self, actor: str, name: str, files: dict[str, bytes] | None = None) -> Oid:
        """Land a commit through the free lock."""
        made = self.next(actor, Event.LAND, Stance.FREE, landed=1)
        commit = self.commit(name, files)
        self.apply(actor, {BRANCH: commit, LOCK_REF: made.state.tip})
        return commit

    def begin(self) -> Story:
        """Make a branch and a free lock."""
        self.apply("seed", {BRANCH: self.commit("seed")}, "seed")
        self.lock("r0", Event.CREATE, Stance.ABSENT)
        return self

    def ticket(self, actor: str, kind: Kind = Kind.LAND) -> tuple[RefName, Ticket]:
        """Write a ticket."""
        nonce = self.nonce()
        made = Ticket(kind, (MAIN,), nonce, Holder(actor, actor, host=actor), 0, int(self.now * 1000), 1_700_000_900)
        ref = Namespace().ticket_ref(MAIN, TicketName(int(self.now * 1000), nonce))
        self.apply(actor, {ref: self.ticket_tip(made)})
        return ref, made

    def ticket_tip(self, ticket: Ticket) -> Oid:
        """Return the commit of a ticket."""
        made = build_ticket(ticket, at_s=1, skips_ci=False)
        self.history.archive.update((item.oid, item) for item in made)
        return made[0].oid

    def span(self, runner: str, token: Nonce, begin_s: float, end_s: float) -> LeaseSpan:
        """Note a lease as its holder lived with it."""
        span = LeaseSpan(runner, (MAIN,), token, begin_s, 1.0, given_up_s=end_s)
        self.history.leases.append(span)
        return span

    def push(self, change: str, result: str, ended_s: float, how: str = "") -> None:
        """Note what a push was told."""
        runner = change.split("-", maxsplit=1)[0]
        self.history.pushes.append(PushResult(runner, change, 0.0, 60.0, ended_s, result, how))

    def found(self, oracle: str) -> list[str]:
        """Return what one oracle finds; no other may raise."""
        judge(self.history)
        return ORACLES[oracle](self.history)


def test_a_story_that_keeps_every_promise_is_clean() -> None:
    """Acquire, renew, release, land: no oracle has anything to say."""
    story = Story().begin()
    held = story.lock("r1", Event.ACQUIRE, Stance.FREE)
    story.span("r1", held.record.nonce, 3.0, 5.0)
    story.lock("r1", Event.RENEW, Stance.MINE)
    story.lock("r1", Event.RELEASE, Stance.MINE)
    story.land("r2", "r2-1-own", {"own-r2-1-own.txt": b""})
    story.push("r2-1-own", "landed", story.now + 1)
    assert judge(story.history) == []


def test_two_live_holders_are_found() -> None:
    """Two holders alive at once are a violation, unless the first was broken."""
    story = Story().begin()
    first = story.lock("r1", Event.ACQUIRE, Stance.FREE)
    story.lock("r2", Event.TAKE_OVER, Stance.EXPIRED)
    story.span("r1", first.record.nonce, 3.0, 9.0)
    story.span("r2", story.nonce(), 4.0, 5.0)
    assert story.found("exclusive_leases")
    broken = Story().begin()
    first = broken.lock("r1", Event.ACQUIRE, Stance.FREE)
    broken.lock("op", Event.BREAK, Stance.OTHER)
    broken.span("r1", first.record.nonce, 3.0, 9.0)
    broken.span("r2", broken.nonce(), 5.0, 6.0)
    assert not broken.found("exclusive_leases")


def test_a_generation_that_falls_is_found() -> None:
    """A state with a lower generation than one before it is a violation, except by an old mirror."""
    story = Story().begin()
    old = story.refs[LOCK_REF]
    story.lock("r1", Event.ACQUIRE, Stance.FREE)
    story.apply("r2", {LOCK_REF: old})
    assert story.found("generations")
    story.history.applied[-1] = replace(story.history.applied[-1], kind=MIRROR)
    assert not story.found("generations")


def test_a_landing_without_the_lock_is_found() -> None:
    """A branch that a swap moves without the lock, or over another's live lease, is a violation."""
    story = Story().begin()
    story.apply("r1", {BRANCH: story.commit("r1-1-own")})
    assert "did not move" in story.found("fenced_landings")[0]
    other = Story().begin()
    held = other.lock("r1", Event.ACQUIRE, Stance.FREE)
    other.span("r1", held.record.nonce, 3.0, 20.0)
    fence = other.next("r2", Event.LAND_EXPIRED, Stance.EXPIRED)
    other.apply("r2", {BRANCH: other.commit("r2-1-own"), LOCK_REF: fence.state.tip})
    assert "alive" in other.found("fenced_landings")[0]


def degrading(seen: list[tuple[bool, bool]], told: str = "landed", how: str = "degraded") -> Story:
    """Tell of a push that lands by the branch alone, with what it saw of the lock: absent or not, refused or not."""
    story = Story()
    story.apply("seed", {BRANCH: story.commit("seed")}, "seed")
    story.push("r1-1-own", told, 9.0, how)
    for number, (is_absent, is_refusal) in enumerate(seen):
        story.history.sights.append(Sight(1.0 + number / 10, "r1", number, is_absent, is_refusal))
    story.lock("r0", Event.CREATE, Stance.ABSENT)
    story.apply("r1", {BRANCH: story.commit("r1-1-own")})
    story.history.sent[0] = 1.9
    return story


def test_a_degraded_landing_is_judged_by_what_its_push_saw_and_is_told() -> None:
    """It needs a refused creation and a last look that showed no lock, and must be called what it is."""
    refused, absent, present = (True, True), (True, False), (False, False)
    assert degrading([refused, absent]).found("fenced_landings") == []
    assert degrading([refused, absent], "unknown", "").found("fenced_landings") == []
    assert "nobody had refused" in degrading([absent]).found("fenced_landings")[0]
    assert "had seen" in degrading([refused, present]).found("fenced_landings")[0]
    assert "told 'fast'" in degrading([refused, absent], how="fast").found("fenced_landings")[0]


def test_lies_about_landings_are_found() -> None:
    """Success without a landing, failure with one, a landing after failure, and two landings are violations."""
    lie = Story().begin()
    lie.push("r1-1-own", "landed", 9.0)
    assert "never held" in lie.found("exactly_once")[0]
    hidden = Story().begin()
    hidden.land("r1", "r1-1-own")
    hidden.push("r1-1-own", "lock-timeout", 9.0)
    assert "branch holds it" in hidden.found("exactly_once")[0]
    late = Story().begin()
    late.push("r1-1-own", "lock-timeout", 1.0)
    late.land("r1", "r1-1-own")
    assert "landed at" in late.found("exactly_once")[0]
    twice = Story().begin()
    twice.land("r1", "r1-1-own")
    twice.land("r1", "r1-1-own")
    assert "twice" in twice.found("exactly_once")[0]


def test_content_that_does_not_fit_the_commits_is_found() -> None:
    """A key that got lost in a merge, a doubled line and a line without its commit are violations."""
    story = Story().begin()
    story.land("r1", "r1-1-json", {"state.json": b"{}"})
    assert "key is not" in story.found("exactly_once")[0]
    story = Story().begin()
    story.land("r1", "r1-1-lines", {"log.jsonl": b'{"id": "r1-1-lines"}\n' * 2})
    assert "2 times" in story.found("exactly_once")[0]
    story = Story().begin()
    story.land("r1", "r1-1-lines", {"log.jsonl": b'{"id": "r1-1-lines"}\n{"id": "r2-1-lines"}\n'})
    assert "without its commit" in story.found("exactly_once")[0]


def test_a_dropped_commit_is_found() -> None:
    """A swap that takes a commit out of the branch is a violation; a person's rewind is not."""
    story = Story().begin()
    seed = story.refs[BRANCH]
    story.land("r1", "r1-1-own")
    story.apply("r2", {BRANCH: seed})
    assert story.found("nothing_lost")
    story.history.applied[-1] = replace(story.history.applied[-1], kind=DELETE)
    assert not story.found("nothing_lost")
    story.history.applied[-1] = replace(story.history.applied[-1], kind=HUMAN)
    assert story.found("nothing_lost")


def test_a_rescue_that_moves_is_found() -> None:
    """A rescued commit stays where it was put."""
    story = Story().begin()
    ref = RefName(f"refs/lock-rescue/main/{'a' * 40}")
    story.apply("r1", {ref: story.refs[BRANCH]})
    assert not story.found("nothing_lost")
    story.apply("r1", {ref: None})
    assert story.found("nothing_lost")


def test_waits_without_end_are_found() -> None:
    """A wait far beyond its limit and a process that never ends are violations; sleep does not count."""
    story = Story().begin()
    story.history.pushes.append(PushResult("r1", "r1-1-own", 0.0, 60.0, 900.0, "lock-timeout"))
    assert story.found("waits_end")
    story.history.paused["r1"] = [(10.0, 800.0)]
    assert not story.found("waits_end")
    story.history.unfinished.append("r1 has not come to its end")
    assert story.found("waits_end")


@pytest.mark.parametrize("shape", ["pair", "generation", "owner", "token", "nonce", "ring", "deletion", "unreadable"])
def test_steps_outside_the_table_are_found(shape: str) -> None:
    """Each way to leave the table of transitions is a violation."""
    story = Story().begin()
    held = story.lock("r1", Event.ACQUIRE, Stance.FREE)
    if shape == "pair":
        story.apply("r2", {LOCK_REF: story.next("r2", Event.RELEASE, Stance.MINE).state.tip})
        story.apply("r2", {LOCK_REF: held.state.tip})
    elif shape == "owner":
        story.lock("r2", Event.RELEASE, Stance.MINE)
    elif shape == "nonce":
        free = story.lock("r1", Event.RELEASE, Stance.MINE)
        story.states[free.state.tip] = free.state
        story.lock("r1", Event.ACQUIRE, Stance.FREE, nonce=held.record.nonce)
    elif shape == "deletion":
        story.apply("r1", {LOCK_REF: None})
    elif shape == "unreadable":
        story.apply("r1", {LOCK_REF: story.commit("no lock")})
    else:
        record = held.record
        before = held.state
        changed = {
            "generation": replace(before, record=replace(record, generation=record.generation + 5)),
            "token": replace(before, record=replace(record, lease=story.nonce())),
            "ring": replace(
                before, ring=replace(before.ring, lines=(replace(before.ring.lines[0], nonce=story.nonce()),))
            ),
        }[shape]
        story.states[held.state.tip] = changed
        story.lock("r1", Event.RENEW, Stance.MINE)
    assert story.found("transitions")


def test_the_oracle_s_table_is_the_machine_s() -> None:
    """The transitions that the oracle knows by heart are those of the product, seen from the ref alone."""
    words = {Stance.ABSENT: ABSENT, Stance.FREE: FREE}
    rises = {GenerationRule.SAME: 0, GenerationRule.NEXT: 1, GenerationRule.SECOND: None}
    seen = {
        (words.get(stance, HELD), event): (rule.to.value, rises[rule.generation])
        for (stance, event), rule in TRANSITIONS.items()
        if rule.to is not Target.ABSENT
    }
    assert seen == STEPS


def test_tickets_that_end_badly_are_found() -> None:
    """A ticket deleted alive, ended twice, created twice, or landed in words only is a violation."""
    deleted = Story().begin()
    ref, _ = deleted.ticket("r1")
    deleted.apply("r2", {ref: None})
    assert "before it ended" in deleted.found("tickets")[0]
    twice = Story().begin()
    ref, ticket = twice.ticket("r1")
    for kind in (VerdictKind.WITHDRAWN, VerdictKind.CONFLICT):
        twice.apply("r1", {ref: twice.ticket_tip(ticket.with_verdict(Verdict(kind)))})
    assert "ended twice" in twice.found("tickets")[0]
    ghost = Story().begin()
    ref, ticket = ghost.ticket("r1")
    ghost.apply("r1", {ref: ghost.ticket_tip(ticket.with_verdict(Verdict(VerdictKind.WITHDRAWN)))})
    ghost.apply("r2", {ref: None})
    ghost.apply("r1", {ref: ghost.ticket_tip(ticket)})
    assert "second create" in ghost.found("tickets")[0]
    claimed = Story().begin()
    ref, ticket = claimed.ticket("r1")
    commit = claimed.commit("r1-1-own")
    claimed.apply("r2", {ref: claimed.ticket_tip(ticket.with_verdict(Verdict(VerdictKind.LANDED, commits=(commit,))))})
    assert "does not hold" in claimed.found("tickets")[0]


def test_a_lease_after_failure_or_release_is_found() -> None:
    """A lock held by a lease whose acquire failed, or that was released, is a violation."""
    story = Story().begin()
    held = story.lock("r1", Event.ACQUIRE, Stance.FREE)
    story.history.acquires.append(
        AcquireResult("r1", (MAIN,), 0.0, 10.0, [held.record.nonce], story.now + 1, "lock-timeout")
    )
    assert story.found("failed_acquires")
    story.history.acquires.clear()
    story.span("r1", held.record.nonce, 3.0, 4.0).released_s = story.now + 1
    assert story.found("failed_acquires")


def test_a_newcomer_that_passes_a_waiter_is_found() -> None:
    """Whoever came long after a waiter and is served before it has passed it; in runs with faults nobody is judged."""
    story = Story().begin()
    story.history.is_calm = True
    story.ticket("r1", Kind.ACQUIRE)
    story.now = 100.0
    story.history.acquires.append(AcquireResult("r2", (MAIN,), 99.0, 10.0))
    story.lock("r2", Event.ACQUIRE, Stance.FREE)
    assert story.found("fair_order")
    story.history.is_calm = False
    assert not story.found("fair_order")


def test_an_error_of_python_is_found() -> None:
    """An error that is not one of the package's is a violation whatever caused it."""
    story = Story().begin()
    story.history.oddities.append("r1: KeyError('x')")
    assert story.found("no_internal_errors")
