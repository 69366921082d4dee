"""From what git noted to the history that the oracles of the simulation judge: every move of every ref, in true time.

Nothing in it comes from the product: the moves from the repository's own hook, the objects from ``git cat-file``, the
holds from the wrapped commands, the results from exit codes.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitref_lock.core.names import ZERO_OID, LockName, Nonce, Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.testing.sim_history import HUMAN, SEED, SWAP, Applied, History, LeaseSpan, Move, PushResult
from scripts.torturelib.people import Pushed
from scripts.torturelib.runner import Done
from scripts.torturelib.world import World

BRANCH = RefName("refs/heads/main")
_KILL_AFTER_S = 0.0
_OWN_CODES = {0: "landed", 9: "unknown"}


class IncompleteError(RuntimeError):
    """The moves that were noted do not lead to the refs that are there."""


def moves_of(bare: Path) -> list[tuple[float, tuple[Move, ...]]]:
    """Return every transaction by the instant that git noted, in an order in which each found what it expected.

    Instants are noted just after the refs have moved, so that two transactions may be noted the wrong way round.
    """
    noted = sorted((bare / "moves").iterdir(), key=lambda path: [int(part) for part in path.stem.split("-")])
    pending = [(int(path.stem.split("-")[0]) / 1e9, _parsed(path)) for path in noted if not path.suffix]
    found: list[tuple[float, tuple[Move, ...]]] = []
    tips: dict[str, Oid | None] = {}
    while pending:
        fitting = next((item for item in pending if all(tips.get(move.ref) == move.before for move in item[1])), None)
        if fitting is None:
            raise IncompleteError(f"no noted move fits what was there; {len(pending)} are left: {pending[0]}")
        pending.remove(fitting)
        found.append(fitting)
        tips |= {move.ref: move.after for move in fitting[1]}
    return found


def _parsed(path: Path) -> tuple[Move, ...]:
    moves = []
    for line in path.read_text(encoding="ascii").splitlines():
        before, after, ref = line.split(" ", 2)
        if ref != "HEAD":
            moves.append(Move(RefName(ref), _value(before), _value(after)))
    return tuple(moves)


def _value(text: str) -> Oid | None:
    return None if text == ZERO_OID else Oid(text)


def objects_of(world: World) -> dict[Oid, GitObject]:
    """Return every object of the repository, those that no ref reaches any more as well."""
    done = world.result("cat-file", "--batch-all-objects", "--batch", "--unordered", cwd=world.bare)
    data, at, found = done.stdout, 0, {}
    while at < len(data):
        end = data.index(b"\n", at)
        oid, kind, size = data[at:end].decode().split(" ")
        at = end + 1 + int(size)
        found[Oid(oid)] = GitObject(ObjectKind(kind), data[end + 1 : at])
        at += 1
    return found


def history_of(world: World, done: Sequence[Done], people: Sequence[Pushed]) -> History:
    """Return the round as the oracles read it; raise IncompleteError when git's notes have a gap."""
    history = History(archive=objects_of(world))
    host = socket.gethostname()
    strangers = {one.subject for one in people}
    for at_s, moves in moves_of(world.bare):
        begins = any(move.ref == BRANCH and move.before is None for move in moves)
        applied = Applied(at_s, host, SEED if begins else SWAP, moves)
        if _is_of_people(history, applied, strangers):
            applied = Applied(at_s, "person", HUMAN, moves)
        history.applied.append(applied)
    final = {RefName(ref): Oid(oid) for oid, ref in _refs(world)}
    noted = {ref for _, moves in moves_of(world.bare) for ref in (move.ref for move in moves)}
    tips = {ref: history.value_at(ref, history.applied[-1]) for ref in noted}
    if {ref: tip for ref, tip in tips.items() if tip is not None} != final:
        raise IncompleteError("the refs are not where the noted moves lead")
    history.pushes = [*_pushes(done), *_carried(done), *_of_people(people)]
    history.leases = [*holds_of(world, done), *_kept(done)]
    return history


def _refs(world: World) -> Iterator[tuple[str, str]]:
    for line in world.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines():
        oid, _, ref = line.partition(" ")
        yield oid, ref


def _is_of_people(history: History, applied: Applied, strangers: set[str]) -> bool:
    """Tell whether a move of the branch, without any lock, brought nothing but what people had committed."""
    move = applied.move_of(BRANCH)
    if move is None or len(applied.moves) != 1:
        return False
    known = set(history.changes_in(move.before))
    brought = set(history.changes_in(move.after)) - known
    return bool(brought) and brought <= strangers


def _pushes(done: Sequence[Done]) -> Iterator[PushResult]:
    """Yield what each push was told about the commit that it made itself."""
    for one in done:
        if one.job.kind == "push":
            result = "crashed" if one.code < 0 else _OWN_CODES.get(one.code, f"exit {one.code}")
            yield PushResult(one.clone, one.job.name, one.began_s, 200.0, one.ended_s, result)


def _carried(done: Sequence[Done]) -> Iterator[PushResult]:
    """Yield what became of local commits: whichever later push of the clone succeeds carries them with it."""
    for index, one in enumerate(done):
        carrier = next(
            (item for item in done[index:] if item.clone == one.clone and item.job.kind == "push" and item.code == 0),
            None,
        )
        for subject in one.subjects:
            ended_s, result = (carrier.ended_s, "landed") if carrier is not None else (one.ended_s, "unknown")
            yield PushResult(one.clone, subject, one.began_s, 1e6, ended_s, result)


def _of_people(people: Sequence[Pushed]) -> Iterator[PushResult]:
    for one in people:
        yield PushResult("person", one.subject, one.began_s, 1e6, one.ended_s, "landed" if one.is_in else "refused")


def holds_of(world: World, done: Sequence[Done]) -> list[LeaseSpan]:
    """Return from when to when each wrapped command worked, as it wrote down itself."""
    found = []
    for one in done:
        beats = _beats(world.job(one.job.name) / "holds")
        if beats:
            first, last = beats[0], beats[-1]
            span = LeaseSpan(one.clone, (LockName(first.lock),), Nonce(first.token), first.at_s, _KILL_AFTER_S)
            span.given_up_s = last.at_s
            found.append(span)
    return found


def generations_of(world: World, done: Sequence[Done]) -> list[tuple[float, str, int, str]]:
    """Return the fencing token with which each wrapped command began: (instant, lock, generation, lease)."""
    beats = [_beats(world.job(one.job.name) / "holds") for one in done]
    return sorted((own[0].at_s, own[0].lock, own[0].generation, own[0].token) for own in beats if own)


@dataclass(frozen=True, slots=True)
class _Beat:
    """What a wrapped command writes down every moment that it works."""

    at_s: float
    lock: str
    token: str
    generation: int


def _beats(path: Path) -> list[_Beat]:
    if not path.exists():
        return []
    return [_Beat(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _kept(done: Sequence[Done]) -> Iterator[LeaseSpan]:
    """Yield the time in which a clone could rely on a lease that ``acquire`` or ``renew`` had reported.

    It ends with what the clone did next, or with the time that the report promised, whichever is earlier.
    """
    for index, one in enumerate(done):
        token, usable = one.said.get("lease"), one.said.get("usable_seconds")
        if one.code != 0 or one.job.kind not in {"acquire", "renew"} or not isinstance(usable, float | int):
            continue
        later = (item.began_s for item in done[index + 1 :] if item.clone == one.clone)
        end_s = min(one.printed_s + usable - 0.1, next(later, float("inf")))
        if end_s > one.ended_s:
            span = LeaseSpan(one.clone, (LockName(one.job.lock),), Nonce(str(token)), one.ended_s, _KILL_AFTER_S)
            span.given_up_s = end_s
            yield span
