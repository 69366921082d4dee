"""The lock record: bounded in writing, tolerant in reading, and never garbage."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitref_lock.core.names import LockName, Nonce
from gitref_lock.core.record import (
    MAX_GENERATION,
    MAX_PRIORITY,
    READ_LIMIT,
    UNKNOWN_HOLDER,
    WRITE_LIMIT,
    ClockSource,
    Event,
    Holder,
    LockRecord,
    ServerInfo,
    State,
    UnreadableRecord,
    decode_record,
    lock_name_of,
)
from gitref_lock.core.text import MalformedError
from gitref_lock.testing.strategies import holders, lock_names, lock_records, nonces, texts

NAME = LockName("main")
FREE = LockRecord(lock=NAME, state=State.FREE, generation=7, nonce=Nonce("0" * 24), event=Event.RELEASE)
HELD = LockRecord(
    lock=NAME,
    state=State.HELD,
    generation=8,
    nonce=Nonce("1" * 24),
    event=Event.RENEW,
    lease=Nonce("2" * 24),
    holder=Holder(id="ci/1", name="Ann", workflow="deploy", run_url="https://ci.example.invalid/1", host="h1", pid=42),
    priority=5,
    reason="release day",
    ttl_s=300.0,
    acquired_at=1_700_000_000,
    renewed_at=1_700_000_100,
    expires_at=1_700_000_401,
    clock=ClockSource.SERVER,
    waited_s=12.5,
    tool="gitref-lock/1",
    server=ServerInfo(atomic=True, agent="git/2.39.5", probed_at=1_699_999_999),
    extra={"x-new": {"deep": [1, None]}},
)


def changed(**changes: Any) -> bytes:
    """Return the held record's JSON with keys changed; a value of ``...`` removes its key."""
    value = json.loads(HELD.encode())
    value.update(changes)
    return json.dumps({key: item for key, item in value.items() if item is not ...}).encode()


@pytest.mark.parametrize("record", [FREE, HELD, replace(HELD, extra={}, server=None, holder=Holder(id="x"))])
def test_a_record_reads_back_equal(record: LockRecord) -> None:
    """Every field of an ordinary record survives writing and reading."""
    assert decode_record(record.encode(), NAME) == record


def test_the_written_form_is_the_documented_one() -> None:
    """Keys, their order and the units are what docs/protocol.md, section 1 says; a free record has no lease."""
    assert json.loads(FREE.encode()) == {
        "schema": 1,
        "lock": "main",
        "state": "free",
        "generation": 7,
        "event": "release",
        "nonce": "0" * 24,
        "clock": "local",
        "tool": "",
    }
    held = json.loads(HELD.encode())
    assert list(held) == [
        *("schema", "lock", "state", "generation", "event", "nonce", "lease", "holder", "priority", "reason"),
        *("ttl_s", "acquired_at", "renewed_at", "expires_at", "waited_s", "clock", "tool", "server", "x-new"),
    ]
    assert held["expires_at"] == "2023-11-14T22:20:01Z"
    assert held["holder"] == {
        "id": "ci/1",
        "name": "Ann",
        "workflow": "deploy",
        "run_url": "https://ci.example.invalid/1",
        "host": "h1",
        "pid": 42,
    }
    assert held["server"] == {"atomic": True, "agent": "git/2.39.5", "probed_at": "2023-11-14T22:13:19Z"}


@settings(deadline=None, max_examples=60)
@given(record=lock_records())
def test_what_is_written_is_always_readable_and_settles(record: LockRecord) -> None:
    """Any record that can be built is read back, and writing what was read gives the same bytes."""
    data = record.encode()
    read = decode_record(data, record.lock)
    assert isinstance(read, LockRecord), read
    assert read.encode() == data
    assert decode_record(read.encode(), record.lock) == read


@settings(deadline=None, max_examples=60)
@given(record=lock_records())
def test_texts_are_shortened_but_nothing_that_decides_is_lost(record: LockRecord) -> None:
    """State, generation, nonce, lease, ttl and instants are exact, whatever the texts are."""
    read = decode_record(record.encode(), record.lock)
    assert isinstance(read, LockRecord)
    texts_only: dict[str, Any] = {
        "holder": record.holder,
        "reason": record.reason,
        "tool": record.tool,
        "server": record.server,
        "ttl_s": record.ttl_s,
    }
    assert replace(read, **texts_only) == record
    assert read.ttl_s == record.ttl_s or record.state is State.FREE
    assert (read.holder is None) is (record.holder is None)


@settings(deadline=None, max_examples=60)
@given(record=lock_records(), long=st.sampled_from(['"', "\\", "\U0001f512", "\x00", "\u00e9", "x"]))
def test_what_this_tool_writes_stays_below_one_kib(record: LockRecord, long: str) -> None:
    """For any holder, reason and lock name, and for the longest of the worst, only unknown keys go beyond one KiB."""
    own = replace(record, extra={})
    text = long * 400
    worst = replace(
        own,
        reason=text if own.holder is not None else "",
        holder=Holder(text, text, text, text, text, 2**31 - 1) if own.holder is not None else None,
        server=ServerInfo(atomic=False, agent=text, probed_at=0),
        tool=text,
    )
    assert len(own.encode()) <= WRITE_LIMIT
    assert len(worst.encode()) <= WRITE_LIMIT


@pytest.mark.parametrize("state", [FREE, HELD])
def test_the_longest_lock_name_of_the_worst_characters_still_fits(state: LockRecord) -> None:
    """Two hundred quotes as a name, doubled by JSON, leave room for all that decides."""
    name = lock_name_of('"' * 200)
    long = "\\" * 400
    record = replace(
        state,
        lock=name,
        generation=MAX_GENERATION,
        priority=-MAX_PRIORITY,
        ttl_s=12345.123456789012,
        holder=Holder(long, long, long, long, long, 2**31 - 1) if state.holder is not None else None,
        server=ServerInfo(atomic=False, agent=long, probed_at=0),
        tool=long,
        extra={},
    )
    data = record.encode()
    assert len(data) <= WRITE_LIMIT
    assert isinstance(decode_record(data, name), LockRecord)


def test_the_least_needed_text_goes_first() -> None:
    """The reason is cut before the run's address, the address before the host, the names before the id."""
    long = '"' * 200
    record = replace(HELD, reason=long, holder=Holder(long, long, long, long, long), extra={})
    read = decode_record(record.encode(), NAME)
    assert isinstance(read, LockRecord)
    assert read.holder is not None
    assert (read.reason, read.holder.run_url, read.holder.host) == ("", "", "")
    assert (read.holder.id, read.holder.name, read.holder.workflow) == ('"' * 80, '"' * 60, '"' * 60)
    assert read.server == HELD.server


@settings(deadline=None, max_examples=40)
@given(record=lock_records(), extra=st.dictionaries(st.text("xyz", min_size=2), st.integers(), max_size=5))
def test_unknown_keys_are_kept(record: LockRecord, extra: dict[str, int]) -> None:
    """What a newer writer added is there after this tool read and wrote the record."""
    read = decode_record(replace(record, extra={**extra}).encode(), record.lock)
    assert isinstance(read, LockRecord)
    assert read.extra == extra


def test_unknown_keys_that_would_make_a_record_unreadable_are_dropped() -> None:
    """Beyond the reading limit only what this tool knows is written: a readable record beats a complete one."""
    record = replace(HELD, extra={"x-big": "y" * READ_LIMIT})
    assert decode_record(record.encode(), NAME) == replace(HELD, extra={})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "missing or too large"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b" " * (READ_LIMIT + 1), "more than 65536"),
        (b'{"schema":' * 6000, "nested too deeply"),
        (changed(schema=...), "schema must be an integer"),
        (changed(schema=0), "schema must be an integer"),
        (changed(schema=2), "schema 2 is newer than this tool's 1"),
        (changed(lock="other"), "the record is another lock's"),
        (changed(lock=...), "lock must be a string"),
        (changed(state="borrowed"), "'borrowed' is not a valid State"),
        (changed(state=...), "state must be a string"),
        (changed(state="free"), "all or none of holder, lease and instants"),
        (changed(event="stolen"), "'stolen' is not a valid Event"),
        (changed(clock="sundial"), "'sundial' is not a valid ClockSource"),
        (changed(generation=-1), "generation must be an integer"),
        (changed(generation=MAX_GENERATION + 1), "generation must be an integer"),
        (changed(generation=1.5), "generation must be an integer"),
        (changed(generation=True), "generation must be an integer"),
        (changed(generation=10**4000), "generation must be an integer"),
        (changed(nonce="xyz"), "nonce and lease must be 24 hex digits"),
        (changed(lease="A" * 24), "nonce and lease must be 24 hex digits"),
        (changed(lease=...), "all or none of holder, lease and instants"),
        (changed(lease=""), "all or none of holder, lease and instants"),
        (changed(holder=...), "all or none of holder, lease and instants"),
        (changed(holder="Ann"), "holder must be an object"),
        (changed(holder={}), "id must be a string"),
        (changed(holder={"id": "x", "pid": -1}), "pid must be an integer"),
        (changed(holder={"id": "x", "pid": 2**31}), "pid must be an integer"),
        (changed(holder={"id": "x" * 401}), "id must be a string of at most 400"),
        (changed(ttl_s=4.9), "ttl_s must be a number from 5"),
        (changed(ttl_s=86_401), "ttl_s must be a number"),
        (changed(ttl_s="300"), "ttl_s must be a number"),
        (changed(ttl_s=...), "ttl_s must be from 5 to 86400"),
        (changed(priority=MAX_PRIORITY + 1), "priority must be an integer"),
        (changed(priority=-MAX_PRIORITY - 1), "priority must be an integer"),
        (changed(reason=["x"]), "reason must be a string"),
        (changed(reason="x" * 1001), "reason must be a string of at most 1000"),
        (changed(acquired_at=5), "acquired_at must be an instant"),
        (changed(renewed_at="yesterday"), "not an instant"),
        (changed(expires_at=...), "all or none of holder, lease and instants"),
        (changed(waited_s=-1), "waited_s must be a number"),
        (changed(server=[]), "server must be an object"),
        (changed(server={"atomic": "yes"}), "atomic must be true or false"),
        (changed().replace(b"300.0", b"NaN"), "NaN is not a JSON number"),
        (changed().replace(b"300.0", b"Infinity"), "Infinity is not a JSON number"),
        (changed().replace(b"300.0", b"1e999"), "1e999 is too large"),
        (changed().replace(b'"priority"', b'"nonce"'), "a key occurs twice"),
        (changed(reason="\ud800"), "surrogates not allowed"),
    ],
)
def test_a_damaged_state_is_unreadable_and_says_why(data: bytes | None, why: str) -> None:
    """Each kind of damage becomes a value with its reason, never an exception and never a free lock."""
    read = decode_record(data, NAME)
    assert isinstance(read, UnreadableRecord)
    assert read.lock == NAME
    assert why in read.why


@settings(deadline=None)
@given(data=st.binary(max_size=100))
def test_random_bytes_are_unreadable(data: bytes) -> None:
    """No random bytes pass for a record."""
    assert isinstance(decode_record(data, NAME), UnreadableRecord)


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)


@settings(deadline=None, max_examples=400)
@given(key=st.sampled_from(sorted(json.loads(HELD.encode()))), value=WRONG)
@example(key="x-new", value=float("inf"))
def test_any_value_under_any_key_is_read_or_unreadable(key: str, value: object) -> None:
    """Whatever stands under a key, reading never raises, and what was read can be written and read again."""
    read = decode_record(changed(**{key: value}), NAME)
    if isinstance(read, LockRecord):
        assert isinstance(decode_record(read.encode(), NAME), LockRecord)


@settings(deadline=None)
@given(cut=st.integers(0, len(HELD.encode()) - 3), byte=st.binary(max_size=1))
def test_a_torn_record_is_never_taken_for_another_state(cut: int, byte: bytes) -> None:
    """A record that lost its end does not parse."""
    assert isinstance(decode_record(HELD.encode()[:cut] + byte, NAME), UnreadableRecord)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lease": None}, "a held lock must have all or none"),
        ({"holder": None}, "a held lock must have all or none"),
        ({"state": State.FREE}, "a free lock must have all or none"),
        ({"expires_at": None}, "a held lock must have all or none"),
        ({"ttl_s": 1.0}, "ttl_s must be from 5 to 86400"),
        ({"ttl_s": float("nan")}, "ttl_s must be from 5 to 86400"),
        ({"generation": -1}, "generation or priority out of range"),
        ({"generation": MAX_GENERATION + 1}, "generation or priority out of range"),
        ({"priority": -MAX_PRIORITY - 1}, "generation or priority out of range"),
    ],
)
def test_a_record_that_contradicts_itself_cannot_be_built(changes: dict[str, Any], words: str) -> None:
    """The invariants hold for every record, read or made."""
    with pytest.raises(MalformedError, match=words):
        replace(HELD, **changes)


@settings(deadline=None)
@given(holder=holders())
def test_a_clipped_holder_fits_a_record_and_stays_as_it_is(holder: Holder) -> None:
    """Clipping bounds every text, never leaves the id empty, and changes nothing the second time."""
    clipped = holder.clipped()
    assert clipped.id
    sizes = [len(text.encode()) for text in (clipped.id, clipped.name, clipped.workflow, clipped.run_url, clipped.host)]
    assert all(size <= limit for size, limit in zip(sizes, (80, 60, 60, 120, 60), strict=True))
    assert 0 <= clipped.pid < 2**31
    assert clipped.clipped() == clipped


@settings(deadline=None)
@given(name=texts(), identity=texts())
def test_a_holder_is_called_by_its_name_else_by_its_id(name: str, identity: str) -> None:
    """People see the name where there is one."""
    assert Holder(id=identity, name=name).label == (name or identity)


def test_a_holder_without_any_text_is_unknown() -> None:
    """A holder whose id is empty or invisible is shown as unknown."""
    assert Holder(id="\x00\n").clipped() == UNKNOWN_HOLDER


@settings(deadline=None)
@given(name=lock_names(), nonce=nonces())
def test_a_record_belongs_to_one_lock(name: LockName, nonce: Nonce) -> None:
    """The state of one lock, copied to another lock's ref, is unreadable there."""
    data = replace(FREE, lock=name, nonce=nonce).encode()
    assert isinstance(decode_record(data, LockName(name + "x")), UnreadableRecord)


def test_a_lock_name_from_a_record_is_checked_like_any_other() -> None:
    """An invalid name is the same one error as other damage."""
    with pytest.raises(MalformedError, match="'a b'"):
        lock_name_of("a b")


@pytest.mark.parametrize("record", [FREE, replace(HELD, extra={})])
def test_a_name_that_no_check_has_seen_cannot_make_the_writer_loop(record: LockRecord) -> None:
    """When nothing is left to cut the record is written as it is, without the texts that could be spared."""
    unchecked = LockName("n" * 2000)
    data = replace(record, lock=unchecked, server=HELD.server, tool="t").encode()
    value = json.loads(data)
    assert (value["lock"], value["tool"], "server" in value) == (unchecked, "", False)
