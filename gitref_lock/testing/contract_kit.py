"""Tools of the RefStore contract: the host that a suite runs against, small states and edits, races between threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.objects import GitObject, build_state_commit
from gitref_lock.core.refs import Absent, Applied, At, RefEdit, Role, SwapOutcome, Unknown
from gitref_lock.ports import RefStore

RACERS = 16


@dataclass(frozen=True)
class ContractHost:
    """One server with an empty repository.

    ``open_store`` returns a new store on it (the host closes them), ``collect_garbage`` drops what no ref reaches,
    ``delete_ref`` removes a ref behind every store's back, ``agent`` begins what the server calls itself.
    """

    open_store: Callable[[], RefStore]
    collect_garbage: Callable[[], object]
    delete_ref: Callable[[RefName], None]
    agent: str
    racers: int = RACERS


def lock(name: str) -> RefName:
    """Return a lock's ref."""
    return RefName(f"refs/locks/{name}")


def state(word: str, *, size: int = 0, parents: Sequence[Oid] = ()) -> tuple[GitObject, ...]:
    """Return a state commit (first) with its tree and files; ``word`` makes it unlike any other, ``size`` heavy."""
    noise = b"".join(b"%08x" % (index * 2654435761 % 2**32) for index in range(size // 8))
    files = {"lock.json": word.encode() + noise, "history.jsonl": b"line\n"}
    return build_state_commit(files, author_name="contract", at_s=1_700_000_000, message=word, parents=parents)


def create(name: str, objects: Sequence[GitObject]) -> RefEdit:
    """Return the edit that creates a lock at a state."""
    return RefEdit(lock(name), Absent(), objects[0].oid, Role.LOCK)


def update(name: str, old: Sequence[GitObject], new: Sequence[GitObject]) -> RefEdit:
    """Return the edit that moves a lock from state to state."""
    return RefEdit(lock(name), At(old[0].oid), new[0].oid, Role.LOCK)


def delete(name: str, old: Sequence[GitObject]) -> RefEdit:
    """Return the edit that deletes a ref at a state."""
    return RefEdit(lock(name), At(old[0].oid), None, Role.TICKET)


def applied(store: RefStore, edits: Sequence[RefEdit], objects: Sequence[GitObject]) -> None:
    """Swap, and fail unless it was applied."""
    outcome = store.swap(edits, objects)
    assert outcome == Applied(), outcome


def present(store: RefStore) -> dict[RefName, Oid]:
    """Return all locks."""
    return dict(store.snapshot(["refs/locks/"]).refs)


def only_winner(outcomes: Sequence[SwapOutcome]) -> int:
    """Return the index of the one applied swap."""
    winners = [index for index, outcome in enumerate(outcomes) if outcome == Applied()]
    assert len(winners) == 1, outcomes
    return winners[0]


def race_of(
    host: ContractHost, swap_of: Callable[[int], tuple[list[RefEdit], Sequence[GitObject]]]
) -> list[SwapOutcome]:
    """Send one swap from each of many threads at once; return the outcomes in order."""
    gate = threading.Barrier(host.racers)
    outcomes: list[SwapOutcome] = [Unknown("did not run")] * host.racers

    def run(index: int, store: RefStore) -> None:
        edits, objects = swap_of(index)
        gate.wait(60)
        outcomes[index] = store.swap(edits, objects)

    threads = [threading.Thread(target=run, args=(index, host.open_store())) for index in range(host.racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return outcomes
