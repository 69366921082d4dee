"""The judgement of swaps: every branch of report and read-back, with scripted answers and a clock moved by sleeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from gitref_lock.core.names import Nonce, Oid, RefName
from gitref_lock.core.refs import (
    Absent,
    Applied,
    At,
    Breached,
    RefEdit,
    RefusalKind,
    Refused,
    Role,
    Superseded,
    SwapOutcome,
    Unknown,
)
from gitref_lock.ports import RemoteError, System, Traffic
from gitref_lock.remotes.settle import MAX_SENDINGS, Attempt, Settlement
from gitref_lock.remotes.streams import Deadline
from gitref_lock.remotes.wire import Report

A, B = RefName("refs/locks/a"), RefName("refs/locks/b")
OLD, NEW, RIVAL = Oid("1" * 40), Oid("2" * 40), Oid("3" * 40)
EDITS = (RefEdit(A, At(OLD), NEW, Role.LOCK), RefEdit(B, Absent(), NEW, Role.LOCK))
STAY: Mapping[RefName, Oid] = {A: OLD}
DONE: Mapping[RefName, Oid] = {A: NEW, B: NEW}


@dataclass
class Time:
    """A clock, jitter and sleep in one: time passes by sleeping."""

    now: float = 100.0
    pauses: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    boottime = wall = monotonic

    def boot_id(self) -> str:
        """Return nothing."""
        return ""

    def nonce(self) -> Nonce:
        """Return a constant."""
        return Nonce("0" * 24)

    def uniform(self, low: float, high: float) -> float:
        """Return the upper end."""
        assert low < high
        return high

    def sleep(self, seconds: float) -> None:
        """Pass the time."""
        self.pauses.append(seconds)
        self.now += seconds


@dataclass
class Bench:
    """Scripted sendings and readings; the last of each repeats."""

    sendings: Sequence[Attempt]
    readings: Sequence[Mapping[RefName, Oid] | RemoteError]
    edits: Sequence[RefEdit] = EDITS
    budget_s: float = 60.0
    time: Time = field(default_factory=Time)
    sent: int = 0
    looked: list[tuple[str, ...]] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)

    def send(self) -> Attempt:
        """Return the next answer."""
        self.sent += 1
        return self.sendings[min(self.sent, len(self.sendings)) - 1]

    def look(self, prefixes: Sequence[str]) -> Mapping[RefName, Oid]:
        """Return the next listing or raise."""
        self.looked.append(tuple(prefixes))
        found = self.readings[min(len(self.looked), len(self.readings)) - 1]
        if isinstance(found, RemoteError):
            raise found
        return {name: oid for name, oid in found.items() if name.startswith(tuple(prefixes))}

    def outcome(self, *, trust_report: bool = True) -> SwapOutcome:
        """Settle."""
        system = System(self.time, self.time, self.time)
        deadline = Deadline.after(self.time, self.budget_s)
        settlement = Settlement(
            self.edits, self.send, self.look, system=system, deadline=deadline, traffic=self.traffic
        )
        return settlement.outcome(trust_report=trust_report)


def all_say(status: str | None, progress: str = "") -> Report:
    """Return a report with one status for all."""
    return Report("ok", dict.fromkeys((A, B), status), progress)


OK = all_say(None)
NO = all_say("atomic transaction failed")


def test_all_ok_is_applied_without_a_read() -> None:
    """A trusted full ok costs nothing more."""
    bench = Bench([OK], [])
    assert bench.outcome() == Applied()
    assert bench.looked == []


def test_an_untrusted_ok_is_applied_when_the_refs_show_it() -> None:
    """Without trust the refs are read, exactly those of the swap."""
    bench = Bench([OK], [DONE])
    assert bench.outcome(trust_report=False) == Applied()
    assert bench.looked == [(A, B)]


def test_a_mixed_picture_is_read_again() -> None:
    """A listing that shows only part of the swap is read again before it counts."""
    bench = Bench([OK], [{A: NEW}, RemoteError("timeout", "slow"), DONE])
    assert bench.outcome(trust_report=False) == Applied()
    assert len(bench.looked) == 3


def test_a_contradicted_ok_is_unknown() -> None:
    """An ok that the refs do not show is never Applied and never a refusal."""
    bench = Bench([OK], [{A: RIVAL}])
    outcome = bench.outcome(trust_report=False)
    assert isinstance(outcome, Unknown)
    assert "refs/locks/a does not show it" in outcome.cause
    assert not outcome.nothing_sent
    assert bench.sent == 1
    assert 1 < len(bench.looked) <= 5


def test_an_ok_that_cannot_be_read_back_is_unknown() -> None:
    """A read that keeps failing leaves the question open."""
    outcome = Bench([OK], [RemoteError("timeout", "slow")]).outcome(trust_report=False)
    assert isinstance(outcome, Unknown)
    assert "reading back failed: timeout: slow" in outcome.cause


def test_a_deletion_is_read_back_as_absence() -> None:
    """A deleted ref shows by being gone."""
    edits = (RefEdit(A, At(OLD), None, Role.TICKET),)
    bench = Bench([Report("ok", {A: None})], [{A: OLD}, {}], edits=edits)
    assert bench.outcome(trust_report=False) == Applied()


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize("words", ["atomic transaction failed", "missing necessary objects", "hook declined"])
def test_a_strict_subset_is_a_breach(words: str, trust: bool) -> None:
    """Some ok and some not: the server broke its promise, whatever its words."""
    outcome = Bench([Report("ok", {A: None, B: words})], []).outcome(trust_report=trust)
    assert outcome == Breached((A,), {B: words})


def test_a_lost_race_is_superseded_by_what_is_seen() -> None:
    """A refusal with the expectation gone shows the present value of every ref, absent ones too."""
    bench = Bench([NO], [{A: RIVAL}])
    assert bench.outcome() == Superseded({A: RIVAL, B: None})
    assert bench.sent == 1


def test_contention_is_sent_again_until_it_passes() -> None:
    """A refusal with the expectation still there is sent again after growing pauses."""
    bench = Bench([NO, NO, OK], [STAY])
    assert bench.outcome() == Applied()
    assert bench.sent == 3
    assert bench.time.pauses == sorted(bench.time.pauses)
    assert bench.traffic.retries == len(bench.time.pauses) == 2


def test_contention_without_end_is_refused_with_the_server_s_words() -> None:
    """The sendings are bounded."""
    bench = Bench([all_say("failed to lock", "error: try later")], [STAY])
    outcome = bench.outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.CONTENTION
    assert outcome.words == f"{A}, {B}: failed to lock; error: try later"
    assert outcome.statuses == dict.fromkeys((A, B), "failed to lock")
    assert bench.sent == MAX_SENDINGS


def test_contention_ends_with_the_time() -> None:
    """No pause begins that would use up the time."""
    bench = Bench([NO], [STAY], budget_s=0.5)
    outcome = bench.outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.CONTENTION
    assert bench.time.now <= 100.5
    assert 1 <= bench.sent < MAX_SENDINGS


def test_a_question_after_contention_stays_open() -> None:
    """A resend that gets no report is unknown, although the first was refused."""
    lost = Unknown("connection reset")
    assert Bench([NO, lost], [STAY]).outcome() == lost


def test_a_rival_during_contention_is_superseded() -> None:
    """The expectation may go while we wait."""
    assert Bench([NO], [STAY, {A: RIVAL}]).outcome() == Superseded({A: RIVAL, B: None})


@pytest.mark.parametrize("words", ["hook declined", "deny updating a hidden ref", "quota exceeded"])
def test_permanent_words_are_refused_at_once(words: str) -> None:
    """What trying again cannot change is neither read nor sent again."""
    bench = Bench([all_say(words)], [])
    outcome = bench.outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is not RefusalKind.CONTENTION
    assert bench.sent == 1
    assert bench.looked == []


def test_missing_objects_may_be_a_lost_race() -> None:
    """A base that was rewound and collected shows as missing objects; the read tells."""
    report = all_say("missing necessary objects")
    assert Bench([report], [{A: RIVAL}]).outcome() == Superseded({A: RIVAL, B: None})
    bench = Bench([report], [STAY])
    outcome = bench.outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.MISSING_OBJECTS
    assert bench.sent == 2


def test_no_fast_forward_may_be_a_lost_race() -> None:
    """A branch that moved shows as no fast-forward on some servers; a policy against it is refused at once."""
    report = all_say("denying non-fast-forward refs/heads/main (you should pull first)")
    assert Bench([report], [{A: RIVAL}]).outcome() == Superseded({A: RIVAL, B: None})
    bench = Bench([report], [STAY])
    outcome = bench.outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.POLICY
    assert bench.sent == 1


def test_a_collision_is_told_from_the_words() -> None:
    """git names the ref in the way."""
    report = all_say(
        "atomic transaction failed", f"error: cannot lock ref '{B}': 'refs/locks' exists; cannot create '{B}'"
    )
    bench = Bench([report], [STAY])
    outcome = bench.outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.NAME_COLLISION
    assert outcome.words.startswith("refs/locks is in the way; ")
    assert bench.sent == 1


@pytest.mark.parametrize("blocker", ["refs/locks/b/c", "refs/locks/x/b"])
def test_a_collision_without_words_is_found_by_a_read(blocker: str) -> None:
    """A server that only says "failed to lock" does not hide which ref is in the way."""
    new = B if blocker.startswith(B) else RefName("refs/locks/x/b/deep")
    edits = (RefEdit(new, Absent(), NEW, Role.LOCK),)
    listing = {RefName(blocker): RIVAL, RefName("refs/locks/xx"): RIVAL}
    outcome = Bench([Report("ok", {new: "failed to lock"})], [listing], edits=edits).outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.NAME_COLLISION
    assert outcome.words.startswith(f"{blocker} is in the way; ")


def test_a_refusal_that_cannot_be_looked_into_is_refused_all_the_same() -> None:
    """A complete refusal is certain, even when its reason cannot be read."""
    outcome = Bench([NO], [RemoteError("timeout", "slow")]).outcome()
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.CONTENTION
    assert outcome.words.endswith("reading back failed: timeout: slow")


@pytest.mark.parametrize("answer", [Unknown("lost"), Refused(RefusalKind.PERMISSION, "HTTP 403")])
def test_what_is_no_report_passes_through(answer: Unknown | Refused) -> None:
    """An open question and a refusal at the door are not judged again."""
    bench = Bench([answer], [])
    assert bench.outcome() is answer
    assert bench.sent == 1
