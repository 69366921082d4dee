"""The verdict on a round, by plain git and true time; the product's own word counts only where it is contradicted.

The oracles of the simulation judge the recorded history. What is here looks at what a simulation has none of: clones,
processes, exit codes, and the content of a real branch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gitref_lock.core.ticket import Kind
from gitref_lock.testing.oracles import (
    exactly_once,
    exclusive_leases,
    fenced_landings,
    generations,
    nothing_lost,
    tickets,
    transitions,
    waits_end,
)
from gitref_lock.testing.sim_history import History
from scripts.torturelib.people import Pushed
from scripts.torturelib.record import BRANCH, IncompleteError, generations_of, history_of
from scripts.torturelib.runner import Done
from scripts.torturelib.world import World

_ORACLES = (
    exactly_once,
    exclusive_leases,
    fenced_landings,
    generations,
    nothing_lost,
    tickets,
    transitions,
    waits_end,
)

_CODES: dict[str, frozenset[int]] = {
    "push": frozenset({0, 3, 4, 6, 9}),
    "run": frozenset({0, 3, 4, 6, 9, 137}),
    "acquire": frozenset({0, 3, 4, 6, 9}),
    "renew": frozenset({0, 3, 4, 5, 6, 9}),
    "release": frozenset({0, 3, 4, 5, 6, 9}),
    "break": frozenset({0, 3, 4, 5, 6, 9}),
    "inspect": frozenset({0, 3, 4}),
    "history": frozenset({0}),
}
"""What may become of a command under these faults; 143 besides, where it was told to end."""


@dataclass(slots=True)
class Round:
    """All that is known of a round that is over."""

    world: World
    done: list[Done] = field(default_factory=list)
    people: list[Pushed] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)


def judge(one: Round) -> list[str]:
    """Return everything that is wrong, a line each."""
    found = [*one.oddities, *_exits(one.done)]
    try:
        history = history_of(one.world, one.done, one.people)
    except IncompleteError as error:
        return [*found, f"record: {error}"]
    for oracle in _ORACLES:
        name = oracle.__name__.rpartition(".")[2]
        found += [f"{name}: {line}" for line in oracle.violations(history)]
    found += _fencing_tokens(one, history)
    found += _content(one, history)
    found += _unresolved(history)
    found += _fsck(one.world)
    for clone in sorted({item.clone for item in one.done}):
        found += _clone(one.world, clone)
    return found


def _exits(done: Sequence[Done]) -> Iterator[str]:
    """Find what no fault explains: an internal error, a traceback, a death by nobody's hand, a process that hung."""
    for one in done:
        kill = one.job.kill if one.is_hit else None
        words = f"{one.job.name} ({one.job.kind}): exit {one.code}"
        allowed = set(_CODES[one.job.kind])
        if kill is not None:
            allowed |= {"KILL": {-9}, "TERM": {143, -15}, "STOP": set[int]()}[kill.sign]
        if one.job.kind == "run":
            allowed.add(143)  # the wrapped command's own, when its lease was lost
        if one.is_late:
            yield f"{words}: it did not end by itself"
        elif one.code not in allowed:
            yield f"{words}, which nothing explains: {one.errors.strip()[-400:]}"
        if "Traceback (most recent call last)" in one.errors:
            yield f"{words}: a traceback: {one.errors.strip()[-1500:]}"
        if one.job.kind == "push" and one.code == 0 and not one.said.get("pushed"):
            yield f"{words}, but it says that nothing was pushed: {one.said}"


def _fencing_tokens(one: Round, history: History) -> Iterator[str]:
    """The generation rises with every command that began under a lease, unless an operator had ended that lease."""
    broken = exclusive_leases.ended_early(history)
    highest: Counter[str] = Counter()
    for at_s, lock, generation, token in generations_of(one.world, one.done):
        if generation <= highest[lock] and token not in broken:
            yield f"fencing: a command began under {lock} at {at_s:.3f} with {generation}, after {highest[lock]}"
        highest[lock] = max(highest[lock], generation)


def _content(one: Round, history: History) -> Iterator[str]:
    """Whatever is in the branch's history is in its files: the key in the shared one, and the file of its own."""
    tip = one.world.git("rev-parse", BRANCH)
    names = one.world.git("log", "--format=%s", tip).splitlines()
    files = set(one.world.git("ls-tree", "--name-only", tip).splitlines())
    data = json.loads(one.world.git("show", f"{tip}:data.json"))
    people = {item.subject for item in one.people}
    known = {item.change for item in history.pushes}
    for name in names[:-1]:
        if name not in known:
            yield f"content: the branch holds a commit that nobody pushed: {name}"
        if f"{name}.txt" not in files:
            yield f"content: {name} is in the branch's history, but its file is not there"
        if name not in people and data.get(name) != name:
            yield f"content: {name} is in the branch's history, but its key is not in data.json"
    yield from (f"content: {key} is in data.json, but no push of that name was made" for key in set(data) - known)


def _unresolved(history: History) -> Iterator[str]:
    """After the last push nobody waits to be landed any more."""
    for ref in history.refs("refs/lock-queue/"):
        tip = history.value_at(ref, history.applied[-1])
        ticket = history.ticket(tip) if tip is not None else None
        if tip is not None and (ticket is None or (ticket.kind is Kind.LAND and ticket.verdict is None)):
            yield f"tickets: {ref} is left unresolved"


def _fsck(world: World) -> Iterator[str]:
    done = world.result("fsck", "--strict", "--no-dangling", "--no-progress", cwd=world.bare)
    if done.returncode or done.stderr.strip():
        yield f"fsck of the remote: {(done.stderr + done.stdout).decode()[-500:]}"


def _clone(world: World, name: str) -> Iterator[str]:
    """After its last push a clone is clean, sound, and on a commit of the branch; nothing of a push is left in it."""
    clone = world.clone(name)
    private = clone / ".git" / "gitref-lock"
    status = world.git("status", "--porcelain", cwd=clone)
    if status:
        yield f"clone {name} is not clean: {status[:300]}"
    head = world.git("rev-parse", "HEAD", cwd=clone)
    if world.git("rev-parse", "refs/remotes/origin/main", cwd=clone) != head:
        yield f"clone {name}: HEAD is not the tracking ref"
    if world.git("symbolic-ref", "HEAD", cwd=clone) != BRANCH:
        yield f"clone {name}: HEAD is not on the branch"
    if world.result("merge-base", "--is-ancestor", head, BRANCH, cwd=world.bare).returncode:
        yield f"clone {name}: HEAD is not in the remote's branch"
    done = world.result("fsck", "--strict", "--no-dangling", "--no-progress", cwd=clone)
    if done.returncode or done.stderr.strip():
        yield f"fsck of clone {name}: {(done.stderr + done.stdout).decode()[-500:]}"
    left = [path.name for path in (clone / ".git").glob("*.lock")]
    left += [path.name for path in private.iterdir() if path.name.startswith(("index-", "journal"))]
    if left:
        yield f"clone {name}: left behind: {', '.join(sorted(left))}"
