"""Tickets: what one waiter writes every other can read, and no stranger's ticket is more than one error."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.names import LockName, Nonce, Oid
from gitref_lock.core.objects import ObjectKind
from gitref_lock.core.record import MAX_PRIORITY, Holder
from gitref_lock.core.text import JsonObject, MalformedError
from gitref_lock.core.ticket import (
    MAX_CHANGES,
    MAX_LOCKS,
    READ_LIMIT,
    TICKET_FILE,
    Kind,
    Ticket,
    Verdict,
    VerdictKind,
    build_ticket,
    decode_ticket,
)
from gitref_lock.testing.strategies import tickets, verdicts

CHANGE = Oid("c" * 40)
VERDICT = Verdict(
    VerdictKind.LANDED, by="Bob", why="landed in a batch", commits=(Oid("b" * 40),), conflicts=({"path": "a.json"},)
)
ACQUIRE = Ticket(
    kind=Kind.ACQUIRE,
    locks=(LockName("main"), LockName("deploy/prod")),
    nonce=Nonce("1" * 24),
    holder=Holder(id="ci/1", name="Ann"),
    priority=-5,
    enqueued_ms=1_700_000_000_123,
    expires_at=1_700_000_600,
    tool="gitref-lock/1",
)
LAND = replace(
    ACQUIRE,
    kind=Kind.LAND,
    locks=(LockName("main"),),
    branch="main",
    base="a" * 40,
    changes=2,
    policy={"rules": [["*.json", "json"]]},
)
ENDED = LAND.with_verdict(VERDICT)


def changed(ticket: Ticket = ENDED, **changes: Any) -> bytes:
    """Return a ticket's JSON with keys changed; a value of ``...`` removes its key."""
    value = {**json.loads(ticket.encode()), **changes}
    return json.dumps({key: item for key, item in value.items() if item is not ...}).encode()


@pytest.mark.parametrize("ticket", [ACQUIRE, LAND, ENDED, replace(LAND, base="", is_combinable=False)])
def test_a_ticket_reads_back_equal(ticket: Ticket) -> None:
    """Every field of an ordinary ticket survives, also of one that ended; an acquire ticket names nothing to land."""
    expected = ticket if ticket.kind is Kind.LAND else replace(ticket, is_combinable=False)
    assert decode_ticket(ticket.encode()) == expected


@settings(deadline=None, max_examples=60)
@given(ticket=tickets())
def test_any_ticket_is_readable_and_settles(ticket: Ticket) -> None:
    """Whatever its holder is called, a ticket is read back; what decides is exact; writing it again changes nothing."""
    data = ticket.encode()
    read = decode_ticket(data)
    same: dict[str, Any] = {"holder": ticket.holder, "tool": ticket.tool, "verdict": ticket.verdict}
    assert replace(read, **same, is_combinable=ticket.is_combinable) == ticket
    assert read.holder == ticket.holder.clipped()
    assert (read.verdict is None) is (ticket.verdict is None)
    assert read.encode() == data


@settings(deadline=None, max_examples=50)
@given(verdict=verdicts())
def test_a_verdict_keeps_name_and_expiry_and_drops_the_policy(verdict: Verdict) -> None:
    """An ended ticket still tells whose it was; what it became is exact."""
    read = decode_ticket(LAND.with_verdict(verdict).encode())
    assert (read.nonce, read.expires_at, read.policy) == (LAND.nonce, LAND.expires_at, {})
    assert read.verdict is not None
    assert replace(read.verdict, by=verdict.by, why=verdict.why) == verdict


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "missing or too large"),
        (b"", "not JSON"),
        (b"[" * READ_LIMIT, "nested too deeply"),
        (b" " * (READ_LIMIT + 1), "more than 65536"),
        (changed(schema=...), "schema must be an integer"),
        (changed(schema=2), "schema 2 is newer than this tool's 1"),
        (changed(kind="steal"), "'steal' is not a valid Kind"),
        (changed(kind=None), "kind must be a string"),
        (changed(locks=[]), "a ticket names at least one lock"),
        (changed(locks="main"), "locks must be a list"),
        (changed(locks=["main"] * (MAX_LOCKS + 1)), "locks must be a list of at most 32"),
        (changed(locks=["a..b"]), "lock name 'a..b'"),
        (changed(locks=[1]), "locks must hold strings"),
        (changed(nonce="x"), "holder and nonce are required"),
        (changed(nonce=...), "nonce must be a string"),
        (changed(holder=...), "holder and nonce are required"),
        (changed(holder=[]), "holder must be an object"),
        (changed(holder={"id": 1}), "id must be a string"),
        (changed(priority=MAX_PRIORITY + 1), "priority must be an integer"),
        (changed(priority=0.5), "priority must be an integer"),
        (changed(enqueued_ms=-1), "enqueued_ms must be an integer"),
        (changed(enqueued_ms=10**17), "enqueued_ms must be an integer"),
        (changed(enqueued_ms=...), "enqueued_ms must be an integer"),
        (changed(expires_at="later"), "not an instant"),
        (changed(branch=1), "branch must be a string"),
        (changed(base="main"), "not an object id"),
        (changed(changes=-1), "changes must be an integer"),
        (changed(changes=MAX_CHANGES + 1), "changes must be an integer"),
        (changed(policy=[]), "policy must be an object"),
        (changed(combinable="yes"), "combinable must be true or false"),
        (changed(verdict="landed"), "verdict must be an object"),
        (changed(verdict={"kind": "lost"}), "'lost' is not a valid VerdictKind"),
        (changed(verdict={}), "kind must be a string"),
        (changed(verdict={"kind": "landed", "commits": ["x"]}), "not an object id"),
        (changed(verdict={"kind": "landed", "commits": [CHANGE] * 1001}), "commits must be a list"),
        (changed(verdict={"kind": "conflict", "conflicts": {}}), "conflicts must be a list of objects"),
        (changed(verdict={"kind": "conflict", "conflicts": ["a"]}), "conflicts must be a list of objects"),
        (changed(tool="\ud800"), "surrogates not allowed"),
    ],
)
def test_a_hostile_ticket_is_one_error_with_a_reason(data: bytes | None, why: str) -> None:
    """Each kind of damage is refused with words, so that the ticket can be set aside and the reason shown."""
    with pytest.raises(MalformedError, match=why):
        decode_ticket(data)


def test_a_verdict_may_leave_out_all_but_its_kind() -> None:
    """The kind decides; the rest is for people and for finding the commits."""
    read = decode_ticket(changed(verdict={"kind": "withdrawn"}))
    assert read.verdict == Verdict(VerdictKind.WITHDRAWN)


@settings(deadline=None)
@given(data=st.binary(max_size=100))
def test_random_bytes_are_no_ticket(data: bytes) -> None:
    """Nothing but the one error comes out of random bytes."""
    with pytest.raises(MalformedError):
        decode_ticket(data)


ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(key=st.sampled_from(sorted(json.loads(ENDED.encode()))), value=ANY)
def test_any_value_under_any_key_is_read_or_refused(key: str, value: Any) -> None:
    """Whatever stands under a key, only the one error is raised, and what was read can be written and read again."""
    try:
        read = decode_ticket(changed(ENDED, **{key: value}))
    except MalformedError:
        return
    decode_ticket(read.encode())


def test_a_verdict_with_thousands_of_conflicts_is_still_readable() -> None:
    """The waiter must be able to read how its change ended; conflicts that do not fit are left out."""
    conflicts: tuple[JsonObject, ...] = tuple({"path": f"data/{number:05d}.json"} for number in range(5000))
    ticket = LAND.with_verdict(Verdict(VerdictKind.CONFLICT, by="Bob", conflicts=conflicts))
    read = decode_ticket(ticket.encode())
    assert read.verdict is not None
    assert read.verdict.kind is VerdictKind.CONFLICT
    count = len(read.verdict.conflicts)
    assert 100 < count < 5000
    assert read.verdict.conflicts == conflicts[:count]


@pytest.mark.parametrize(
    ("ticket", "subject", "parents"),
    [
        (ACQUIRE, "Ann waits for main and deploy/prod", 0),
        (LAND, "Ann wants to land on main", 1),
        (ENDED, "Ann: landed", 0),
    ],
)
def test_a_ticket_is_a_commit_that_says_what_it_is(ticket: Ticket, subject: str, parents: int) -> None:
    """The subject is for people; only an unresolved land ticket carries its change as parent."""
    commit, tree, blob = build_ticket(ticket, at_s=5, change=CHANGE if ticket.kind is Kind.LAND else None)
    header, _, message = commit.data.decode().partition("\n\n")
    assert message == subject + "\n"
    assert header.count("\nparent ") == parents
    assert (f"\nparent {CHANGE}\n" in header) is (parents == 1)
    assert [item.kind for item in (commit, tree, blob)] == [ObjectKind.COMMIT, ObjectKind.TREE, ObjectKind.BLOB]
    assert blob.data == ticket.encode()
    assert f"100644 {TICKET_FILE}".encode() in tree.data


def test_an_acquire_ticket_has_no_parent() -> None:
    """It carries no change, so its commit stands alone."""
    assert b"\nparent " not in build_ticket(ACQUIRE, at_s=5)[0].data


def test_a_ticket_under_a_branch_prefix_asks_not_to_be_built() -> None:
    """Where tickets must live among branches, their subject keeps CI from running for them, however long it is."""
    holder = Holder(id="x" * 400)
    commit = build_ticket(replace(ACQUIRE, holder=holder), at_s=5, skips_ci=True)[0]
    assert commit.data.endswith(b" [skip ci]\n")
