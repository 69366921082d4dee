"""One path that both sides changed: modes and kinds by git's rules, contents by the policy's strategies."""

from __future__ import annotations

import stat

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing.merge.objects import Entry, Objects
from gitref_lock.landing.merge.policy import Policy
from gitref_lock.landing.merge.results import Conflict, Resolution, as_oid
from gitref_lock.landing.strategies.base import Merged, Strategy, StrategyFailed
from gitref_lock.landing.strategies.commands import Regenerate
from gitref_lock.landing.strategies.text import Text

_WHOLE_SIDE = ("ours", "theirs")
_NEW_FILE = 0o100644


@dataclass(frozen=True, slots=True)
class Question:
    """The three versions of ``path``; ours and theirs differ from each other and from the base; None is absent."""

    path: bytes
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None

    def conflict(self, reason: str) -> Conflict:
        """Return the conflict of this path."""
        return Conflict(self.path, reason, *self._sides())

    def resolution(self, strategy: str, result: Entry | None, detail: tuple[str, ...] = ()) -> Resolution:
        """Return the report that ``strategy`` decided."""
        made = None if result is None else as_oid(result.oid)
        ours, theirs = self._sides()
        return Resolution(self.path, strategy, ours, theirs, made, detail)

    def _sides(self) -> tuple[Oid | None, Oid | None]:
        return (
            None if self.ours is None else as_oid(self.ours.oid),
            None if self.theirs is None else as_oid(self.theirs.oid),
        )


@dataclass(frozen=True, slots=True)
class Deferred:
    """A path whose strategy runs once everything else is merged."""

    question: Question
    strategy: Regenerate
    contents: tuple[bytes | None, bytes | None, bytes | None]
    mode: int

    def run(self, tree: str) -> Merged | StrategyFailed:
        """Have the file made in ``tree``."""
        return self.strategy.regenerate(self.question.path, *self.contents, tree)

    def as_entry(self, objects: Objects, answer: Merged) -> Entry | None:
        """Store what was made."""
        return None if answer.content is None else Entry(self.mode, objects.put_blob(answer.content))

    def as_resolution(self, entry: Entry | None, answer: Merged) -> Resolution:
        """Return the report."""
        return self.question.resolution(self.strategy.name, entry, answer.detail)

    def as_conflict(self, reason: str) -> Conflict:
        """Return the conflict that a failed command leaves."""
        return self.question.conflict(f"{self.strategy.name}: {reason}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path becomes (None: deleted), the report when there is something to report, and work for later."""

    entry: Entry | None
    resolution: Resolution | None = None
    deferred: Deferred | None = None


class FileMerger:
    """Decides single paths."""

    def __init__(self, objects: Objects, policy: Policy) -> None:
        """Read and store blobs through ``objects``; ask ``policy`` for strategies."""
        self._objects = objects
        self._policy = policy

    def decide(self, question: Question) -> Answer | Conflict:
        """Return what the path becomes, or the conflict."""
        base, ours, theirs = question.base, question.ours, question.theirs
        if theirs in (ours, base):
            return Answer(ours)
        if ours == base:
            return Answer(theirs)
        if (ours is None or ours.is_file) and (theirs is None or theirs.is_file):
            return self._decide_files(question)
        if ours is not None and theirs is not None and stat.S_IFMT(ours.mode) == stat.S_IFMT(theirs.mode):
            what = "symlink" if stat.S_ISLNK(ours.mode) else "submodule"
            return self._by_side(question, f"both sides changed the {what}")
        if ours is None or theirs is None:
            return self._by_side(question, "deleted on one side, changed on the other")
        return self._by_side(question, "both sides changed it to different kinds of entry")

    def _by_side(self, question: Question, reason: str) -> Answer | Conflict:
        """Decide what has no content to merge: a side wins whole, or nobody does."""
        side = self._policy.side(question.path)
        if side is None:
            return question.conflict(reason)
        entry = question.ours if side == "ours" else question.theirs
        return Answer(entry, question.resolution(side, entry, (reason,)))

    def _decide_files(self, question: Question) -> Answer | Conflict:
        """Decide between two regular files, or one and its absence."""
        mode = _merge_modes(question)
        if mode is None:
            return self._by_side(question, "both sides added it with different modes")
        base, ours, theirs = question.base, question.ours, question.theirs
        if ours is None or theirs is None:
            present = ours or theirs
            if base is not None and present is not None and (present.oid == base.oid or not base.is_file):
                # To a strategy, which sees contents only, it would look as if one side had changed nothing.
                return self._by_side(question, "deleted on one side, its mode or kind changed on the other")
        else:
            if ours.oid == theirs.oid:
                return Answer(Entry(mode, ours.oid))
            if base is not None and base.is_file and base.oid in (ours.oid, theirs.oid):
                return Answer(Entry(mode, theirs.oid if base.oid == ours.oid else ours.oid))
        return self._by_strategies(question, mode)

    def _by_strategies(self, question: Question, mode: int) -> Answer | Conflict:
        """Try the strategies in the policy's order."""
        contents = self._contents(question)
        reasons: list[str] = []
        for strategy in self._policy.plan(question.path):
            if isinstance(strategy, Regenerate):
                # Until the command has run, the tree holds what the remote has.
                return Answer(question.theirs, deferred=Deferred(question, strategy, contents, mode))
            if strategy.name in _WHOLE_SIDE:
                entry = question.ours if strategy.name == "ours" else question.theirs
                entry = None if entry is None else Entry(mode, entry.oid)
                return Answer(entry, question.resolution(strategy.name, entry))
            outcome = strategy.merge(question.path, *contents)
            if isinstance(outcome, StrategyFailed):
                reasons.append(f"{strategy.name}: {outcome.reason}")
                continue
            entry = None if outcome.content is None else Entry(mode, self._objects.put_blob(outcome.content))
            if self._is_silent(strategy, outcome, question.path, contents):
                return Answer(entry)
            return Answer(entry, question.resolution(strategy.name, entry, outcome.detail))
        return question.conflict("; ".join(reasons))

    def _contents(self, question: Question) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Read the three versions, in one fetch when they are absent."""
        base, ours, theirs = (
            None if entry is None or not entry.is_file else entry.oid
            for entry in (question.base, question.ours, question.theirs)
        )
        self._objects.prefetch([oid for oid in (base, ours, theirs) if oid is not None])
        read = self._objects.blob
        return (
            None if base is None else read(base),
            None if ours is None else read(ours),
            None if theirs is None else read(theirs),
        )

    @staticmethod
    def _is_silent(
        strategy: Strategy,
        outcome: Merged,
        path: bytes,
        contents: tuple[bytes | None, bytes | None, bytes | None],
    ) -> bool:
        """Tell whether there is nothing to report: nothing was dropped, and lines alone would have merged as well."""
        if not outcome.is_complete or outcome.detail:
            return False
        return strategy.name == "text" or isinstance(Text().merge(path, *contents), Merged)


def _merge_modes(question: Question) -> int | None:
    """Return the mode of the result, or None when both sides added the file with different modes."""
    base, ours, theirs = question.base, question.ours, question.theirs
    if ours is None or theirs is None:
        present = ours or theirs
        return _NEW_FILE if present is None else present.mode
    if ours.mode == theirs.mode:
        return ours.mode
    if base is None or not base.is_file:
        return None
    return theirs.mode if ours.mode == base.mode else ours.mode
