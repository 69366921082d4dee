"""The transition table, exhaustively: each legal pair does what docs/protocol.md, section 3 says; no other is legal."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.history import HistoryLine, Ring
from gitref_lock.core.machine import (
    HISTORY_FILE,
    LOCK_FILE,
    TRANSITIONS,
    GenerationRule,
    IllegalTransitionError,
    LockState,
    NextState,
    Stance,
    Target,
    Write,
    step,
)
from gitref_lock.core.names import LockName, Nonce, Oid
from gitref_lock.core.objects import ObjectKind
from gitref_lock.core.record import (
    MAX_GENERATION,
    MAX_TTL_S,
    MIN_TTL_S,
    ClockSource,
    Event,
    Holder,
    LockRecord,
    ServerInfo,
    State,
    UnreadableRecord,
    decode_record,
)
from gitref_lock.core.text import MalformedError
from gitref_lock.testing.strategies import holders, lock_records, nonces, rings, texts

NAME = LockName("deploy/prod")
TIP = Oid("a" * 40)
NOW = 1_700_001_000
ACQUIRED = 1_700_000_900
OLD_HOLDER = Holder(id="ci/1", name="Ann", workflow="nightly")
NEW_HOLDER = Holder(id="ci/2", name="Bob", workflow="deploy")
SERVER = ServerInfo(atomic=True, agent="git/2.39.5", probed_at=1)
FREE = LockRecord(
    lock=NAME,
    state=State.FREE,
    generation=41,
    nonce=Nonce("1" * 24),
    event=Event.RELEASE,
    server=SERVER,
    extra={"x-new": 1},
)
HELD = replace(
    FREE,
    state=State.HELD,
    event=Event.ACQUIRE,
    lease=Nonce("2" * 24),
    holder=OLD_HOLDER,
    priority=3,
    reason="nightly run",
    ttl_s=60.0,
    acquired_at=ACQUIRED,
    renewed_at=ACQUIRED,
    expires_at=ACQUIRED + 61,
    waited_s=4.0,
)
OLD_RING = Ring((HistoryLine(Event.ACQUIRE, 41, Nonce("2" * 24), ACQUIRED, holder="Ann"),))
WRITE = Write(
    nonce=Nonce("3" * 24),
    now_at=NOW,
    clock=ClockSource.SERVER,
    holder=NEW_HOLDER,
    tool="gitref-lock/1",
    expires_at=NOW + 301,
    ttl_s=300.0,
    priority=9,
    reason="hotfix",
    waited_s=12.5,
    landed=2,
)


@dataclass(frozen=True)
class Row:
    """What one legal pair must do; ``note`` is the note of the new ring line, ``words`` the sentence in the subject."""

    to: State
    generation: int
    note: str
    words: str
    keeps_lease: bool = False
    ends_lease: bool = False


UNTIL = "until 2023-11-14T22:35:01Z"
EXPECTED: dict[tuple[Stance, Event], Row] = {
    # absent: create -> free, Unix second; acquire -> held, Unix second
    (Stance.ABSENT, Event.CREATE): Row(State.FREE, NOW, "", "free, created by Bob (deploy)"),
    (Stance.ABSENT, Event.ACQUIRE): Row(State.HELD, NOW, "hotfix", f"held by Bob (deploy) {UNTIL}"),
    # free: acquire -> held, +1; land -> free, +1; abandon, prune step and a breach's correcting line -> free, same
    (Stance.FREE, Event.ACQUIRE): Row(State.HELD, 42, "hotfix", f"held by Bob (deploy) {UNTIL}"),
    (Stance.FREE, Event.LAND): Row(State.FREE, 42, "", "free, 2 changes landed by Bob (deploy)"),
    (Stance.FREE, Event.ABANDON): Row(State.FREE, 41, "", "free, abandoned by Bob (deploy)"),
    (Stance.FREE, Event.PRUNE): Row(State.FREE, 41, "", "free, about to be pruned by Bob (deploy)"),
    (Stance.FREE, Event.BREACH): Row(State.FREE, 41, "hotfix", "free, breach corrected by Bob (deploy)"),
    # held, mine: renew -> held, same; release, abandon -> free, same; land -> free or (kept) held, same
    (Stance.MINE, Event.RENEW): Row(State.HELD, 41, "", f"renewed by Bob (deploy) {UNTIL}", keeps_lease=True),
    (Stance.MINE, Event.LAND_KEEP): Row(
        State.HELD, 41, "", f"landed and kept by Bob (deploy) {UNTIL}", keeps_lease=True
    ),
    (Stance.MINE, Event.RELEASE): Row(
        State.FREE, 41, "", "free, released by Bob (deploy) after 100 s", ends_lease=True
    ),
    (Stance.MINE, Event.ABANDON): Row(
        State.FREE, 41, "", "free, abandoned by Bob (deploy) after 100 s", ends_lease=True
    ),
    (Stance.MINE, Event.LAND): Row(State.FREE, 41, "", "free, 2 changes landed by Bob (deploy)", ends_lease=True),
    # held, mine, past the deadline: as mine, but nothing keeps the lease
    (Stance.MINE_LATE, Event.RELEASE): Row(
        State.FREE, 41, "", "free, released by Bob (deploy) after 100 s", ends_lease=True
    ),
    (Stance.MINE_LATE, Event.ABANDON): Row(
        State.FREE, 41, "", "free, abandoned by Bob (deploy) after 100 s", ends_lease=True
    ),
    (Stance.MINE_LATE, Event.LAND): Row(State.FREE, 41, "", "free, 2 changes landed by Bob (deploy)", ends_lease=True),
    # held, expired for me: take over -> held, land -> free, reap -> free, each +1
    (Stance.EXPIRED, Event.TAKE_OVER): Row(
        State.HELD, 42, "was Ann's; hotfix", f"held by Bob (deploy) {UNTIL}", ends_lease=True
    ),
    (Stance.EXPIRED, Event.LAND_EXPIRED): Row(
        State.FREE, 42, "was Ann's; hotfix", "free, 2 changes landed by Bob (deploy)", ends_lease=True
    ),
    (Stance.EXPIRED, Event.REAP): Row(
        State.FREE, 42, "was Ann's; hotfix", "free, expired lease reaped by Bob (deploy) after 100 s", ends_lease=True
    ),
    # held by another: break -> free, preempt -> held, emergency land -> free, each +1
    (Stance.OTHER, Event.BREAK): Row(
        State.FREE, 42, "was Ann's; hotfix", "free, broken by Bob (deploy) after 100 s", ends_lease=True
    ),
    (Stance.OTHER, Event.PREEMPT): Row(
        State.HELD, 42, "was Ann's; hotfix", f"held by Bob (deploy) {UNTIL}", ends_lease=True
    ),
    (Stance.OTHER, Event.EMERGENCY): Row(
        State.FREE, 42, "was Ann's; hotfix", "free, emergency landing by Bob (deploy) after 100 s", ends_lease=True
    ),
}

PROTOCOL_TABLE = """
absent       | create                        | free | Unix second
absent       | acquire                       | held | Unix second
free         | acquire                       | held | +1
free         | land                          | free | +1
free         | abandon, prune, breach        | free | same
mine         | renew, land-keep              | held | same
mine         | release, abandon, land        | free | same
mine, past my deadline | release, abandon, land | free | same
expired      | take-over                     | held | +1
expired      | land-expired, reap            | free | +1
held by another | break, emergency           | free | +1
held by another | preempt                    | held | +1
"""

ALL_PAIRS = list(itertools.product(Stance, Event))
LEGAL = list(EXPECTED)


def pair_id(value: object) -> str:
    """Name a parameter for people."""
    return str(getattr(value, "value", value))


def before(stance: Stance) -> LockState | None:
    """Return a state that has this stance."""
    if stance is Stance.ABSENT:
        return None
    return LockState(TIP, FREE if stance is Stance.FREE else HELD, OLD_RING)


def result(stance: Stance, event: Event, **changes: Any) -> NextState:
    """Make the transition with the usual write, some fields changed."""
    return step(NAME, before(stance), stance, event, replace(WRITE, **changes))


def subject(state: NextState) -> str:
    """Return the commit's message."""
    return state.objects[0].data.decode().partition("\n\n")[2].rstrip("\n")


def test_the_table_is_the_protocols_line_by_line() -> None:
    """The data that drives everything says exactly what the written table says, no more and no less."""
    written = {
        (Stance(stance.strip()), Event(event.strip()), Target(to.strip()), GenerationRule(generation.strip()))
        for line in PROTOCOL_TABLE.strip().splitlines()
        for stance, events, to, generation in [line.split("|")]
        for event in events.split(",")
    }
    assert written == {(stance, event, rule.to, rule.generation) for (stance, event), rule in TRANSITIONS.items()}
    assert set(TRANSITIONS) == set(EXPECTED)


@pytest.mark.parametrize(("stance", "event"), LEGAL, ids=pair_id)
def test_a_legal_pair_sets_state_and_generation(stance: Stance, event: Event) -> None:
    """The new record has the state, the generation and the event of its row, and the writer's nonce and clock."""
    row, record = EXPECTED[stance, event], result(stance, event).record
    assert (record.lock, record.state, record.generation) == (NAME, row.to, row.generation)
    assert (record.event, record.nonce, record.clock, record.tool) == (event, WRITE.nonce, WRITE.clock, WRITE.tool)


@pytest.mark.parametrize(("stance", "event"), LEGAL, ids=pair_id)
def test_a_legal_pair_keeps_begins_or_ends_the_lease(stance: Stance, event: Event) -> None:
    """A renewal keeps token, holder and reason; every other way to held makes a new lease; free has none of it."""
    row, record = EXPECTED[stance, event], result(stance, event).record
    lease = (record.lease, record.holder, record.acquired_at, record.reason, record.priority, record.waited_s)
    if row.keeps_lease:
        assert lease == (HELD.lease, OLD_HOLDER, ACQUIRED, "nightly run", 3, 4.0)
    elif row.to is State.HELD:
        assert lease == (WRITE.nonce, NEW_HOLDER, NOW, "hotfix", 9, 12.5)
    else:
        assert lease == (None, None, None, "", 0, 0.0)
    times = (record.renewed_at, record.expires_at, record.ttl_s)
    assert times == ((NOW, NOW + 301, 300.0) if row.to is State.HELD else (None, None, 0.0))


@pytest.mark.parametrize(("stance", "event"), LEGAL, ids=pair_id)
def test_a_legal_pair_appends_its_line_to_the_ring(stance: Stance, event: Event) -> None:
    """The line tells event, generation, nonce, who did it, and how long the lease was held that ended here."""
    row, ring = EXPECTED[stance, event], result(stance, event).state.ring
    assert ring.lines[:-1] == (() if stance is Stance.ABSENT else OLD_RING.lines)
    assert ring.lines[-1] == HistoryLine(
        event=event,
        generation=row.generation,
        nonce=WRITE.nonce,
        at=NOW,
        holder="Bob",
        workflow="deploy",
        held_s=100.0 if row.ends_lease else None,
        waited_s=12.5,
        landed=2,
        note=row.note,
    )


@pytest.mark.parametrize(("stance", "event"), LEGAL, ids=pair_id)
def test_a_legal_pair_is_told_in_one_sentence(stance: Stance, event: Event) -> None:
    """The commit's subject says in words what happened, for people with plain git."""
    row = EXPECTED[stance, event]
    note = f": {row.note}" if row.note else ""
    assert subject(result(stance, event)) == f"deploy/prod: {row.words}, generation {row.generation}{note}"


@pytest.mark.parametrize(("stance", "event"), LEGAL, ids=pair_id)
def test_a_legal_pair_gives_one_whole_parentless_commit(stance: Stance, event: Event) -> None:
    """Commit, tree and both files are all there, so that the state stands in its own pack, and the files read back."""
    made = result(stance, event)
    commit, tree, lock_file, history_file = made.objects
    assert [item.kind for item in made.objects] == [ObjectKind.COMMIT, ObjectKind.TREE, *[ObjectKind.BLOB] * 2]
    assert made.state.tip == commit.oid
    assert b"\nparent " not in commit.data
    assert commit.data.startswith(f"tree {tree.oid}\nauthor Bob <gitref-lock@localhost> {NOW} +0000\n".encode())
    entries = {LOCK_FILE: lock_file, HISTORY_FILE: history_file}
    assert tree.data == b"".join(
        f"100644 {name}".encode() + b"\0" + bytes.fromhex(blob.oid) for name, blob in sorted(entries.items())
    )
    assert decode_record(lock_file.data, NAME) == made.record
    assert Ring.decode(history_file.data) == made.state.ring


@pytest.mark.parametrize(("stance", "event"), [pair for pair in ALL_PAIRS if pair not in EXPECTED], ids=pair_id)
def test_every_other_pair_is_illegal(stance: Stance, event: Event) -> None:
    """A pair outside the table raises in one place, naming both."""
    with pytest.raises(IllegalTransitionError) as caught:
        result(stance, event)
    assert (caught.value.stance, caught.value.event) == (stance, event)
    assert str(caught.value) == f"no transition for a lock that is {stance.value} on {event.value}"


@pytest.mark.parametrize(("stance", "event"), LEGAL, ids=pair_id)
@pytest.mark.parametrize(
    ("found", "allowed"),
    [
        (None, {Stance.ABSENT}),
        (FREE, {Stance.FREE}),
        (HELD, {Stance.MINE, Stance.MINE_LATE, Stance.EXPIRED, Stance.OTHER}),
        (UnreadableRecord(NAME, "not JSON"), {Stance.EXPIRED, Stance.OTHER}),
    ],
    ids=["absent", "free", "held", "unreadable"],
)
def test_a_stance_must_fit_what_was_found(
    stance: Stance, event: Event, found: LockRecord | UnreadableRecord | None, allowed: set[Stance]
) -> None:
    """A held lock is never acquired as if it were free, a free one never broken, an unreadable one never renewed."""
    state = LockState(TIP, found, OLD_RING) if found is not None else None
    if stance in allowed:
        assert step(NAME, state, stance, event, WRITE).record.nonce == WRITE.nonce
        return
    with pytest.raises(IllegalTransitionError):
        step(NAME, state, stance, event, WRITE)


def test_generations_never_fall_and_rise_with_every_change_of_holder() -> None:
    """Over every legal pair the fencing token is at least the old one, and higher whenever a new lease begins."""
    for stance, event in LEGAL:
        record = result(stance, event).record
        assert record.generation >= 41
        if record.lease == WRITE.nonce:
            assert record.generation > 41


@pytest.mark.parametrize(
    ("ring", "now_at", "expected"), [(OLD_RING, NOW, NOW), (OLD_RING, 5, 42), (Ring(), NOW, NOW), (Ring(), 0, 1)]
)
def test_after_an_unreadable_state_the_generation_starts_above_all_that_is_known(
    ring: Ring, now_at: int, expected: int
) -> None:
    """Breaking garbage gives at least the Unix second, and more than any readable line of its ring."""
    state = LockState(TIP, UnreadableRecord(NAME, "not JSON"), ring)
    made = step(NAME, state, Stance.OTHER, Event.BREAK, replace(WRITE, now_at=now_at))
    assert made.record.generation == expected
    assert made.state.ring.lines[-1].held_s is None
    assert made.state.ring.lines[-1].note == "hotfix"


def test_a_lock_created_before_1970_starts_at_one() -> None:
    """A machine without a clock still makes a generation that can rise."""
    assert result(Stance.ABSENT, Event.CREATE, now_at=0).record.generation == 1


def test_a_generation_at_its_limit_is_an_error_not_a_fall() -> None:
    """A fencing token that cannot rise any more must not start again below."""
    state = LockState(TIP, replace(FREE, generation=MAX_GENERATION), OLD_RING)
    with pytest.raises(MalformedError, match="generation"):
        step(NAME, state, Stance.FREE, Event.ACQUIRE, WRITE)


def test_a_held_state_needs_an_end_and_a_ttl() -> None:
    """A lease that never ends cannot be written."""
    with pytest.raises(MalformedError, match="all or none"):
        result(Stance.FREE, Event.ACQUIRE, expires_at=None)
    with pytest.raises(MalformedError, match="ttl_s"):
        result(Stance.FREE, Event.ACQUIRE, ttl_s=0.0)


def test_what_is_known_of_the_server_and_unknown_keys_stay() -> None:
    """Both go from state to state; a writer that asked the server anew replaces what is known."""
    fresh = ServerInfo(atomic=False, agent="jgit", probed_at=NOW)
    for stance, event in LEGAL:
        record = result(stance, event).record
        assert (record.server, dict(record.extra)) == (
            (None, {}) if stance is Stance.ABSENT else (SERVER, {"x-new": 1})
        )
        assert result(stance, event, server=fresh).record.server == fresh


def test_a_hold_is_never_negative() -> None:
    """A clock that was set back makes a hold of no time."""
    assert result(Stance.MINE, Event.RELEASE, now_at=ACQUIRED - 50).state.ring.lines[-1].held_s == 0.0


def test_a_plain_write_claims_nothing() -> None:
    """A writer that says nothing of priority, reason, wait or landings records none."""
    write = Write(
        nonce=WRITE.nonce, now_at=NOW, clock=ClockSource.LOCAL, holder=NEW_HOLDER, expires_at=NOW + 9, ttl_s=5.0
    )
    made = step(NAME, before(Stance.FREE), Stance.FREE, Event.ACQUIRE, write)
    record, line = made.record, made.state.ring.lines[-1]
    assert (record.priority, record.reason, record.waited_s, record.tool) == (0, "", 0.0, "")
    assert (line.landed, line.waited_s, line.note) == (0, None, "")


def test_no_wait_is_no_value_in_the_ring() -> None:
    """A fast path waited for nothing, which is not a wait of zero seconds to be averaged."""
    assert result(Stance.FREE, Event.LAND, waited_s=0.0).state.ring.lines[-1].waited_s is None


def test_one_lease_counts_as_one_hold() -> None:
    """Renewals and landings that keep the lease do not add holds of their own to the basis of expected waits."""
    state = result(Stance.FREE, Event.ACQUIRE).state
    for number, event in enumerate([Event.RENEW, Event.LAND_KEEP, Event.RENEW], 1):
        write = replace(WRITE, nonce=Nonce(f"{number:024x}"), now_at=NOW + 100 * number)
        state = step(NAME, state, Stance.MINE, event, write).state
    state = step(NAME, state, Stance.MINE, Event.RELEASE, replace(WRITE, now_at=NOW + 400)).state
    assert state.ring.holds() == (400.0,)
    assert [line.event for line in state.ring.lines[1:]] == [Event.ACQUIRE, Event.LAND_KEEP, Event.RENEW, Event.RELEASE]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"landed": 1}, "free, 1 change landed by Bob (deploy), generation 42"),
        ({"landed": 0}, "free, 0 changes landed by Bob (deploy), generation 42"),
        ({"holder": Holder(id="x")}, "free, 2 changes landed by x, generation 42"),
        ({"skips_ci": True}, "free, 2 changes landed by Bob (deploy), generation 42 [skip ci]"),
    ],
)
def test_the_sentence_is_good_english(changes: dict[str, Any], words: str) -> None:
    """One change is singular, a holder without workflow has no brackets, and CI is kept away where it must be."""
    assert subject(result(Stance.FREE, Event.LAND, **changes)) == f"deploy/prod: {words}"


def test_a_long_name_does_not_push_the_generation_out_of_the_sentence() -> None:
    """Names are cut to what a record carries before the sentence is built."""
    holder = Holder(id="i" * 5000, name="n" * 5000, workflow="w" * 5000)
    text = subject(result(Stance.FREE, Event.ACQUIRE, holder=holder, reason="r" * 5000, skips_ci=True))
    assert f"held by {'n' * 60} ({'w' * 60})" in text
    assert ", generation 42: " in text
    assert text.endswith(" [skip ci]")
    assert len(text) <= 410


@settings(deadline=None, max_examples=80)
@given(
    old=st.one_of(st.none(), lock_records(lock=NAME)),
    ring=rings(max_lines=5),
    holder=holders(),
    reason=texts(),
    nonce=nonces(),
    ttl_s=st.floats(MIN_TTL_S, MAX_TTL_S),
    data=st.data(),
)
def test_what_any_writer_makes_of_any_state_is_readable(
    old: LockRecord | None, ring: Ring, holder: Holder, reason: str, nonce: Nonce, ttl_s: float, data: st.DataObject
) -> None:
    """For every legal pair and any texts, the files read back and hold the evidence of the write."""
    state = LockState(TIP, old, ring) if old is not None else None
    is_free = old is not None and old.state is State.FREE
    fitting = [
        (stance, event)
        for stance, event in LEGAL
        if (stance is Stance.ABSENT) is (old is None) and (stance is Stance.FREE) is is_free
    ]
    stance, event = data.draw(st.sampled_from(fitting))
    if old is not None and old.generation == MAX_GENERATION:
        return
    write = replace(WRITE, holder=holder, reason=reason, nonce=nonce, ttl_s=ttl_s)
    made = step(NAME, state, stance, event, write)
    assert {item.data for item in made.objects[2:]} == set(made.files.values())
    read = decode_record(made.files[LOCK_FILE], NAME)
    assert isinstance(read, LockRecord)
    decisive = (read.state, read.generation, read.nonce, read.lease, read.expires_at)
    assert decisive == (
        made.record.state,
        made.record.generation,
        nonce,
        made.record.lease,
        made.record.expires_at,
    )
    assert Ring.decode(made.files[HISTORY_FILE]).lines[-1].nonce == nonce


def test_a_ring_that_claims_the_highest_generation_is_an_error_too() -> None:
    """Garbage with a forged last line cannot be broken to a generation that a later reader would refuse."""
    ring = Ring((HistoryLine(Event.ACQUIRE, MAX_GENERATION, Nonce("9" * 24), ACQUIRED),))
    state = LockState(TIP, UnreadableRecord(NAME, "not JSON"), ring)
    with pytest.raises(MalformedError, match="generation"):
        step(NAME, state, Stance.OTHER, Event.BREAK, WRITE)
