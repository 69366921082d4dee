"""``regenerate:CMD`` and ``driver:NAME``: strategies that run a command of this machine.

Both are refused in rules that come from a repository's content: only the user's own configuration may name a command.
They hold no process code; the landing code injects the runner (and the temporary worktree, for ``regenerate``).
"""

from __future__ import annotations

from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.strategies.base import (
    Merged,
    Runner,
    RunRequest,
    Strategy,
    StrategyFailed,
    StrategySpecError,
    settled,
)


@dataclass(frozen=True, slots=True)
class Regenerate:
    """Make the file anew by a command, in a temporary worktree of the tree in which every other path is merged.

    The tree merge calls ``regenerate`` last, once the rest of the tree is known; ``merge`` alone cannot answer.
    """

    command: str
    runner: Runner | None = field(default=None, repr=False, compare=False)
    name: str = "regenerate"
    is_declarative: bool = False

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Answer only where nothing is left to decide."""
        return settled(base, ours, theirs) or StrategyFailed("regenerating needs the merged tree")

    def regenerate(
        self, path: bytes, base: bytes | None, ours: bytes | None, theirs: bytes | None, tree: str
    ) -> Merged | StrategyFailed:
        """Run the command where ``tree`` is checked out, and return what it made of ``path``."""
        if self.runner is None:
            return StrategyFailed(f"no command can be run here, so {self.command!r} was not")
        return self.runner(RunRequest("regenerate", self.command, path, base, ours, theirs, tree))


@dataclass(frozen=True, slots=True)
class Driver:
    """Ask a merge driver that git's own configuration defines (gitattributes(5), "Defining a custom merge driver")."""

    driver: str
    runner: Runner | None = field(default=None, repr=False, compare=False)
    name: str = "driver"
    is_declarative: bool = False

    def merge(
        self, path: bytes, base: bytes | None, ours: bytes | None, theirs: bytes | None
    ) -> Merged | StrategyFailed:
        """Run the driver; a file deleted on one side fails, as git does not ask a driver then."""
        if (answer := settled(base, ours, theirs)) is not None:
            return answer
        if ours is None or theirs is None:
            return StrategyFailed("deleted on one side, changed on the other")
        if self.runner is None:
            return StrategyFailed(f"no command can be run here, so the merge driver {self.driver!r} was not")
        return self.runner(RunRequest("driver", self.driver, path, base, ours, theirs))


def from_command(kind: str, command: str, runner: Runner | None) -> Strategy:
    """Return the strategy ``kind`` (``regenerate`` or ``driver``) for ``command``."""
    if not command.strip():
        raise StrategySpecError(f"strategy {kind!r}: say {'which command' if kind == 'regenerate' else 'which driver'}")
    return Regenerate(command, runner) if kind == "regenerate" else Driver(command, runner)
