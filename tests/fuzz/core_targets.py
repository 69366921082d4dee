"""Records, history rings, tickets and names: what anybody who can push may write (docs/protocol.md, section 1)."""

from __future__ import annotations

import re

from gitref_lock.core.history import MAX_BYTES, MAX_LINES, Ring
from gitref_lock.core.names import (
    InvalidNameError,
    LockName,
    Namespace,
    Nonce,
    Oid,
    TicketName,
    branch_ref,
    lock_name,
    oid,
    ref_name,
)
from gitref_lock.core.objects import build_commit, clean_ident
from gitref_lock.core.record import READ_LIMIT, LockRecord, UnreadableRecord, decode_record
from gitref_lock.core.text import JsonObject, MalformedError
from gitref_lock.core.ticket import READ_LIMIT as TICKET_LIMIT
from gitref_lock.core.ticket import Ticket, Verdict, VerdictKind, build_ticket, decode_ticket
from gitref_lock.landing.merge.policy import Policy, PolicyError
from gitref_lock.landing.vetting import _HEADER
from tests.fuzz.promise import hold, parts_of

MAIN = LockName("main")
_KEPT = ("lock", "state", "generation", "nonce", "event", "lease", "acquired_at", "renewed_at", "expires_at", "clock")
_WHY = "x" * 400
_CONFLICTS: tuple[JsonObject, ...] = tuple({"path": _WHY} for _ in range(50))
_PATHS = (b"data/a.json", b"docs/x y.txt", b"a" * 200, b"/".join([b"d"] * 60) + b"/f.csv")


def record(data: bytes) -> None:
    """Any ``lock.json`` is a record or an unreadable one; what is read is written so that it is read the same."""
    found = decode_record(data, MAIN)
    if isinstance(found, UnreadableRecord):
        hold(found.lock == MAIN and 0 < len(found.why) < 2000, "an unreadable record says why, briefly")
        return
    encoded = found.encode()
    hold(len(encoded) <= READ_LIMIT, "what is written can be read")
    again = decode_record(encoded, MAIN)
    assert isinstance(again, LockRecord), again
    for name in _KEPT:
        hold(getattr(again, name) == getattr(found, name), f"{name} survives")
    hold(again.holder is None or again.holder.label, "a holder has a label")
    hold(decode_record(again.encode(), MAIN) == again, "once shortened, a record stays as it is")


def history(data: bytes) -> None:
    """Any ``history.jsonl`` is a ring of a bounded number of lines, and what is written again is read the same."""
    ring = Ring.decode(data)
    hold(len(ring.lines) + ring.unreadable_lines <= MAX_LINES, "a ring has a bounded number of lines")
    encoded = ring.encode()
    hold(len(encoded) <= MAX_BYTES, "a ring has a bounded size")
    again = Ring.decode(encoded)
    hold(not again.unreadable_lines, "what is written can be read")
    kept = ring.lines[len(ring.lines) - len(again.lines) :]
    facts = [(line.event, line.generation, line.nonce, line.at, line.landed) for line in again.lines]
    hold(facts == [(line.event, line.generation, line.nonce, line.at, line.landed) for line in kept], "facts survive")
    hold(Ring.decode(again.encode()) == again, "once shortened, a ring stays as it is")
    longer = ring
    for line in again.lines[-2:]:
        longer = longer.append(line)
        hold(longer.index_of(line.nonce) is not None, "an appended line is found by its nonce")
    hold(len(longer.lines) <= MAX_LINES and ring.newest_at >= 0 <= ring.last_generation, "a ring stays bounded")
    hold(all(held_s >= 0 for held_s in ring.holds()), "nothing was held for less than no time")


def ticket(data: bytes) -> None:
    """Any ``ticket.json`` is a ticket or malformed; a ticket gets a verdict that its owner can read."""
    text, path = parts_of(data, 2)
    try:
        found = decode_ticket(text)
    except MalformedError as error:
        hold(str(error), "a malformed ticket says why")
        return
    _check_policy(found, path)
    verdict = Verdict(VerdictKind.CONFLICT, by=found.holder.label, why=_WHY, conflicts=_CONFLICTS)
    for ended in (found.with_verdict(verdict), found.with_verdict(found.verdict or verdict)):
        encoded = ended.encode()
        hold(len(encoded) <= TICKET_LIMIT, "a verdict can be read by its waiter")
        again = decode_ticket(encoded)
        hold((again.nonce, again.locks, again.kind) == (found.nonce, found.locks, found.kind), "a ticket stays itself")
        assert again.verdict is not None
        assert ended.verdict is not None
        hold(again.verdict.kind is ended.verdict.kind, "a verdict keeps its kind")
        hold(again.verdict.commits == ended.verdict.commits, "a verdict keeps its commits")
    commit = build_ticket(found, at_s=1_700_000_000, change=Oid("a" * 40))[0]
    hold(_HEADER.match(commit.data), "a ticket's commit is one that servers accept")
    name = TicketName(found.enqueued_ms % 10**16, found.nonce)
    for lock in found.locks:
        ref = Namespace().ticket_ref(lock, name)
        hold(Namespace().parse_ticket_ref(ref) == (lock, name), "a ticket's ref leads back to it")


def _check_policy(found: Ticket, path: bytes) -> None:
    """A stranger's merge policy is data: it names no command and decides every path."""
    try:
        policy = Policy.from_json(found.policy)
    except PolicyError:
        return
    hold(policy.is_declarative, "a policy from elsewhere names no command")
    hold(Policy.from_json(policy.to_json()) == policy, "a policy travels unchanged")
    for one in (path[:255] or b"x", *_PATHS):
        hold(policy.plan(one), "every path has a strategy")
        hold(policy.side(one) in {"ours", "theirs", None}, "a side is one of two")


_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def names(data: bytes) -> None:
    """Any text is a name that git and the protocol allow, or refused; a lock and a ticket are never mistaken."""
    text = data.decode("utf-8", "surrogateescape")
    space = Namespace()
    for read in (ref_name, branch_ref, oid):
        try:
            made = read(text)
        except InvalidNameError:
            continue
        hold(not _CONTROL.search(made) and ".." not in made and len(made.encode()) <= 220, "a ref that git allows")
    try:
        lock = lock_name(text)
    except InvalidNameError as error:
        hold(len(str(error)) < 8 * len(text) + 400, "an error is in proportion")
    else:
        one = TicketName(7, Nonce("ab" * 12))
        hold(space.parse_lock_ref(space.lock_ref(lock)) == lock, "a lock's ref leads back to it")
        hold(space.parse_ticket_ref(space.ticket_ref(lock, one)) == (lock, one), "a ticket's ref leads back to it")
        hold(space.parse_lock_ref(space.ticket_ref(lock, one)) is None, "a ticket is no lock")
    for ref in (text, f"{space.queue}/{text}", f"{space.locks}/{text}"):
        parsed = space.parse_ticket_ref(ref)
        hold(parsed is None or space.ticket_ref(*parsed) == ref, "a ref that is a ticket is that ticket's")
        named = space.parse_lock_ref(ref)
        hold(named is None or space.lock_ref(named) == ref, "a ref that is a lock is that lock's")
    commit = build_commit(
        tree=Oid("b" * 40), parents=(), author_name=text, author_email=text, at_s=1_700_000_000, message=text
    )
    hold(_HEADER.match(commit.data), "a commit of any author is one that servers accept")
    hold(clean_ident(text, "nobody"), "an author has a name")
