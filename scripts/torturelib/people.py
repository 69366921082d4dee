"""Somebody who pushes with plain git and knows nothing of locks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from scripts.torturelib.world import World

NAME = "person"
_TRIES = 12


@dataclass(frozen=True, slots=True)
class Pushed:
    """One push of plain git; ``is_in`` says whether git said that it went through."""

    subject: str
    began_s: float
    ended_s: float
    is_in: bool


@dataclass(slots=True)
class Person:
    """One clone in which commits are made, rebased and pushed."""

    world: World
    number: int
    done: list[Pushed] = field(default_factory=list)

    def run(self, pauses: tuple[float, ...]) -> None:
        """Push once after each pause."""
        for index, pause_s in enumerate(pauses):
            time.sleep(pause_s)
            self._push(f"r{self.number}{NAME}{index}")

    def _push(self, subject: str) -> None:
        clone, began_s = self.world.clone(NAME), time.time()
        (clone / f"{subject}.txt").write_text(f"{subject}\n", encoding="utf-8")
        self.world.git("add", f"{subject}.txt", cwd=clone)
        self.world.git("commit", "-q", "-m", subject, cwd=clone, who=NAME)
        is_in = False
        for _ in range(_TRIES):
            self.world.result("pull", "-q", "--rebase", "origin", "main", cwd=clone, who=NAME)
            is_in = self.world.result("push", "-q", "origin", "HEAD:main", cwd=clone).returncode == 0
            if is_in:
                break
        if not is_in:
            self.world.git("reset", "-q", "--hard", "HEAD~1", cwd=clone)
        self.done.append(Pushed(subject, began_s, time.time(), is_in))
