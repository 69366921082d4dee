"""The operations that are compared, each with its peers in one world.

Every side has a clone and a lock of its own, so that no turn depends on another side's; pushes all move one branch, and
each clone is brought up to date, unmeasured, before its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchlib.measure import Side
from scripts.benchlib.ours import ColdCli, WarmLibrary
from scripts.benchlib.peers import GitCli
from scripts.benchlib.world import BRANCH, World, run

GIT, COLD, WARM = "git", "cold", "warm"
AHEAD = {"push, up to date": 0, "push, behind by 1": 1, "push, behind by 100": 100}
LOCKING = ("acquire + release", "acquire", "release", "renew", "inspect", "poll")
THREE_STEPS = "acquire + land + release"
OPERATIONS = (*LOCKING, THREE_STEPS, *AHEAD)


@dataclass(slots=True)
class Bench:
    """The three peers of one world."""

    world: World
    git: GitCli
    cold: ColdCli
    warm: WarmLibrary
    serial: int = 0

    def sides(self, operation: str) -> list[Side]:
        """Return the peers' ways to do ``operation``; git's comes first."""
        if operation in AHEAD:
            return self._push_sides(AHEAD[operation])
        if operation == THREE_STEPS:
            return self._three_step_sides()
        git, cold, warm = self.git, self.cold, self.warm
        if operation == "acquire + release":
            return [
                Side(GIT, _both(git.acquire, git.release)),
                Side(COLD, _both(cold.acquire, cold.release)),
                Side(WARM, _both(warm.acquire, warm.release)),
            ]
        if operation == "acquire":
            return [
                Side(GIT, git.acquire, git.release),
                Side(COLD, cold.acquire, lambda: cold("release", "--if-held", cold.lock)),
                Side(WARM, warm.acquire, self._free_warm),
            ]
        self._hold()
        if operation == "release":
            return [
                Side(GIT, git.release, self._hold_git),
                Side(COLD, cold.release, cold.acquire),
                Side(WARM, warm.release, self._hold_warm),
            ]
        if operation == "renew":
            return [Side(GIT, git.renew), Side(COLD, cold.renew), Side(WARM, warm.renew)]
        if operation == "inspect":
            return [Side(GIT, lambda: _drop(git.inspect())), Side(COLD, cold.inspect), Side(WARM, warm.inspect)]
        return [Side(GIT, lambda: _drop(git.read_tip())), Side(WARM, warm.poll)]

    def settle(self) -> None:
        """Free every lock."""
        self.git.release()
        self.cold("release", "--if-held", self.cold.lock)
        self._free_warm()

    def _push_sides(self, ahead: int) -> list[Side]:
        peers: list[tuple[str, GitCli | ColdCli | WarmLibrary]]
        peers = [(GIT, self.git), (COLD, self.cold), (WARM, self.warm)]
        return [
            Side(name, lambda peer=peer: peer.push("bench"), lambda peer=peer: self._dirty(peer.folder, ahead))  # type: ignore[misc]  # a lambda's default has no type
            for name, peer in peers
        ]

    def _three_step_sides(self) -> list[Side]:
        git, cold, warm = self.git, self.cold, self.warm

        def by_git() -> None:
            git.acquire()
            git.land("bench")
            git.release()

        return [
            Side(GIT, by_git, lambda: self._dirty(git.folder, 0)),
            Side(COLD, lambda: cold.land("bench"), lambda: self._dirty(cold.folder, 0)),
            Side(WARM, lambda: warm.land("bench"), lambda: self._dirty(warm.folder, 0)),
        ]

    def _dirty(self, folder: Path, ahead: int) -> None:
        """Bring the clone up to date, change a file in it, and let the branch run ``ahead`` of it."""
        self.serial += 1
        run(["git", "fetch", "-q", "--no-tags", "origin", BRANCH], folder, self.world.environ)
        run(["git", "reset", "-q", "--hard", "FETCH_HEAD"], folder, self.world.environ)
        (folder / f"{folder.name}.txt").write_text(f"{self.serial}\n")
        if ahead:
            self.world.advance(ahead)

    def _hold(self) -> None:
        """Have every side hold its lock."""
        self._hold_git()
        self.cold.acquire()
        self._hold_warm()

    def _hold_git(self) -> None:
        if not self.git.is_held:
            self.git.acquire()

    def _hold_warm(self) -> None:
        if self.warm.lease is None:
            self.warm.acquire()

    def _free_warm(self) -> None:
        if self.warm.lease is not None:
            self.warm.release()


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def work() -> None:
        first()
        second()

    return work


def _drop(_: str) -> None:
    """Forget an answer."""


@contextmanager
def bench(world: World) -> Iterator[Bench]:
    """Make the peers of a world and see each lock through its first life, which every scenario has behind it."""
    folders = {name: world.clone(name) for name in (GIT, COLD, WARM)}
    for folder in folders.values():
        run(["git", "config", "gc.auto", "0"], folder, world.environ)
    git = GitCli(folders[GIT], world.url, "refs/locks/bench-git", world.environ)
    git.acquire()
    git.release()
    cold = ColdCli(folders[COLD], "bench-cold", world.environ)
    warm = WarmLibrary.open(folders[WARM], "bench-warm", world.environ)
    try:
        cold.acquire()
        cold.release()
        warm.acquire()
        warm.release()
        yield Bench(world, git, cold, warm)
    finally:
        warm.close()
