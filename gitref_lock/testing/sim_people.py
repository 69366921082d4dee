"""People who change the branch without the lock: they push, rewind and delete."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import build_state_commit
from gitref_lock.testing.memory_server import parents_of
from gitref_lock.testing.sim_content import edited, files_of
from gitref_lock.testing.sim_history import DELETE, HUMAN, REWIND
from gitref_lock.testing.sim_network import Network
from gitref_lock.testing.simserver import SimObjectStore


@dataclass(slots=True)
class Person:
    """Somebody with write access and a plain git."""

    network: Network
    dice: random.Random
    serial: int = 0

    def _tip(self) -> Oid | None:
        return self.network.server.refs.get(self.network.history.branch)

    def push(self) -> None:
        """Put a commit on the branch's tip in an instant: a fast-forward without the lock."""
        server, tip = self.network.server, self._tip()
        if tip is None:
            return
        self.serial += 1
        name = f"human-{self.serial}"
        store = SimObjectStore({})
        store.take(self.network.history.archive.values())
        objects = build_state_commit(
            edited(files_of(store, tip), name, self.dice.choice(("json", "own", "lines"))),
            author_name="human",
            at_s=int(self.network.kernel.now) + 1_700_000_000,
            message=name,
            parents=[tip],
        )
        server.put(objects)
        server.do("human", HUMAN, {self.network.history.branch: objects[0].oid})

    def rewind(self) -> None:
        """Force the branch back by a few commits."""
        at = self._tip()
        if at is None:
            return
        for _ in range(self.dice.randint(1, 3)):
            parents = parents_of(self.network.history.archive[at])
            at = parents[0] if parents else at
        self.network.server.do("human", REWIND, {self.network.history.branch: at})

    def delete(self) -> None:
        """Delete the branch."""
        self.network.server.do("human", DELETE, {self.network.history.branch: None})
