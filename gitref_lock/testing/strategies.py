"""Hypothesis strategies for everything that the protocol writes and reads, for users of the library and for its tests.

They draw what the types allow, hostile texts included (quotes, controls, emoji, right-to-left marks), so that a
property found to hold here holds for any holder name and any reason. Needs the ``testing`` extra: nothing else in the
package imports Hypothesis.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gitref_lock.core.history import HistoryLine, Ring
from gitref_lock.core.names import (
    RANK_LIMIT,
    InvalidNameError,
    LockName,
    Nonce,
    Oid,
    TicketName,
    lock_name,
)
from gitref_lock.core.record import (
    MAX_GENERATION,
    MAX_PRIORITY,
    MAX_TTL_S,
    MIN_TTL_S,
    ClockSource,
    Event,
    Holder,
    LockRecord,
    ServerInfo,
    State,
)
from gitref_lock.core.text import MAX_INSTANT, JsonObject, JsonValue
from gitref_lock.core.ticket import MAX_CHANGES, Kind, Ticket, Verdict, VerdictKind

_NASTY = "\"\\'<>&{}[]:,;.\n\r\t\x00\x1b\x7f\x85\u00a0\u2028\u202e\ufeff\U0001f512\u00e9"
_NAME_CHARACTERS = "abzAZ059._-@{}+=#%!,;\"'<>()|&$\u00e9\u0142\u4e2d\U0001f512"


def texts(max_size: int = 200) -> st.SearchStrategy[str]:
    """Return any text without lone surrogates; quotes, backslashes, controls and emoji come up often."""
    plain = st.text(max_size=max_size)
    nasty = st.text(alphabet=_NASTY, max_size=max_size)
    repeated = st.builds(
        lambda unit, times: (unit * times)[:max_size], st.sampled_from(_NASTY), st.integers(0, max_size)
    )
    return st.one_of(plain, nasty, repeated)


def nonces() -> st.SearchStrategy[Nonce]:
    """Return nonces: 24 lower-case hex digits."""
    return st.binary(min_size=12, max_size=12).map(lambda data: Nonce(data.hex()))


def oids() -> st.SearchStrategy[Oid]:
    """Return object ids."""
    return st.binary(min_size=20, max_size=20).map(lambda data: Oid(data.hex()))


def is_lock_name(text: str) -> bool:
    """Tell whether ``text`` is accepted as a lock name."""
    try:
        lock_name(text)
    except InvalidNameError:
        return False
    return True


def lock_names() -> st.SearchStrategy[LockName]:
    """Return lock names of one to four parts, with every kind of character that git allows in a ref."""
    part = st.one_of(
        st.sampled_from(["main", "deploy", "prod", "release-1.2", "t-1", "@", "x.lockd"]),
        st.text(alphabet=_NAME_CHARACTERS, min_size=1, max_size=50),
    )
    joined = st.lists(part, min_size=1, max_size=4).map("/".join)
    return joined.filter(is_lock_name).map(LockName)


def ticket_names() -> st.SearchStrategy[TicketName]:
    """Return ticket names of any rank."""
    ranks = st.one_of(st.integers(0, RANK_LIMIT - 1), st.integers(0, 3), st.integers(10**12, 2 * 10**12))
    return st.builds(TicketName, ranks, nonces())


def instants() -> st.SearchStrategy[int]:
    """Return Unix seconds that a record can hold (1970 to 9999)."""
    return st.one_of(st.integers(0, MAX_INSTANT), st.integers(1_700_000_000, 1_900_000_000))


def json_values() -> st.SearchStrategy[JsonValue]:
    """Return small JSON values, nested at most a few levels."""
    leaves: st.SearchStrategy[Any] = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False, allow_infinity=False),
        texts(20),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts(8), inner, max_size=3)),
        max_leaves=6,
    )


def json_objects() -> st.SearchStrategy[JsonObject]:
    """Return small JSON objects."""
    return st.dictionaries(texts(12), json_values(), max_size=4)


def extras() -> st.SearchStrategy[JsonObject]:
    """Return keys that a newer writer might add to a record: never one of this schema's own."""
    return st.dictionaries(texts(12).map(lambda text: "x-" + text), json_values(), max_size=3)


def holders(max_size: int = 200) -> st.SearchStrategy[Holder]:
    """Return holders with texts of up to ``max_size`` characters of any kind."""
    text = texts(max_size)
    return st.builds(Holder, id=text, name=text, workflow=text, run_url=text, host=text, pid=st.integers(-1, 2**32))


def server_infos() -> st.SearchStrategy[ServerInfo]:
    """Return what a lock's creator may have learned of its server."""
    return st.builds(ServerInfo, atomic=st.booleans(), agent=texts(120), probed_at=instants())


def _tenths() -> st.SearchStrategy[float]:
    return st.integers(0, 10**7).map(lambda tenths: tenths / 10)


@st.composite
def lock_records(draw: st.DrawFn, state: State | None = None, lock: LockName | None = None) -> LockRecord:
    """Return records as a writer may build them: free or held, texts of any kind and length, unknown keys."""
    chosen = state if state is not None else draw(st.sampled_from(State))
    common: dict[str, Any] = {
        "lock": lock if lock is not None else draw(lock_names()),
        "state": chosen,
        "generation": draw(st.one_of(st.integers(0, MAX_GENERATION), st.integers(1_700_000_000, 1_900_000_000))),
        "nonce": draw(nonces()),
        "event": draw(st.sampled_from(Event)),
        "clock": draw(st.sampled_from(ClockSource)),
        "tool": draw(texts(60)),
        "server": draw(st.none() | server_infos()),
        "extra": draw(extras()),
    }
    if chosen is State.FREE:
        return LockRecord(**common)
    return LockRecord(
        **common,
        lease=draw(nonces()),
        holder=draw(holders()),
        priority=draw(st.integers(-MAX_PRIORITY, MAX_PRIORITY)),
        reason=draw(texts(400)),
        ttl_s=draw(st.floats(MIN_TTL_S, MAX_TTL_S)),
        acquired_at=draw(instants()),
        renewed_at=draw(instants()),
        expires_at=draw(instants()),
        waited_s=draw(_tenths()),
    )


def history_lines() -> st.SearchStrategy[HistoryLine]:
    """Return lines of the ring."""
    return st.builds(
        HistoryLine,
        event=st.sampled_from(Event),
        generation=st.integers(0, MAX_GENERATION),
        nonce=nonces(),
        at=instants(),
        holder=texts(100),
        workflow=texts(100),
        held_s=st.none() | _tenths(),
        waited_s=st.none() | _tenths(),
        landed=st.integers(0, 128),
        note=texts(200),
    )


def rings(max_lines: int = 80) -> st.SearchStrategy[Ring]:
    """Return rings, also longer ones than may be written."""
    return st.lists(history_lines(), max_size=max_lines).map(lambda lines: Ring(tuple(lines)))


def verdicts() -> st.SearchStrategy[Verdict]:
    """Return verdicts."""
    return st.builds(
        Verdict,
        kind=st.sampled_from(VerdictKind),
        by=texts(80),
        why=texts(300),
        commits=st.lists(oids(), max_size=3).map(tuple),
        conflicts=st.lists(json_objects(), max_size=2).map(tuple),
    )


@st.composite
def tickets(draw: st.DrawFn) -> Ticket:
    """Return tickets of both kinds, waiting and ended."""
    kind = draw(st.sampled_from(Kind))
    is_land = kind is Kind.LAND
    return Ticket(
        kind=kind,
        locks=tuple(draw(st.lists(lock_names(), min_size=1, max_size=4, unique=True))),
        nonce=draw(nonces()),
        holder=draw(holders()),
        priority=draw(st.integers(-MAX_PRIORITY, MAX_PRIORITY)),
        enqueued_ms=draw(st.integers(0, 10**15)),
        expires_at=draw(instants()),
        branch=str(draw(lock_names())) if is_land else "",
        base=draw(st.one_of(st.just(""), oids())) if is_land else "",
        changes=draw(st.integers(0, MAX_CHANGES)) if is_land else 0,
        policy=draw(json_objects()) if is_land else {},
        is_combinable=draw(st.booleans()) if is_land else True,
        verdict=draw(st.none() | verdicts()),
        tool=draw(texts(60)),
    )
