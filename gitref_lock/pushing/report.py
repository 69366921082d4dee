"""What a push did, for people and for scripts."""

from __future__ import annotations

from gitref_lock.core.lean import dataclass
from gitref_lock.core.text import JsonObject
from gitref_lock.landing.local_move import MoveReport
from gitref_lock.landing.workspace import Snapshot
from gitref_lock.runtime.errand import How, Landed


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did. ``landed`` is None when there was nothing to land, or for a dry run.

    ``recovered`` says what became of an earlier push, or in a dry run that one is unfinished; ``creates`` that the
    branch is new on the remote and holds nothing but what was there already.
    ``left`` are local files that were not touched although the landing changed them; ``changes`` the paths of the new
    commit with one letter each (A, M, D, T).
    """

    branch: str
    snapshot: Snapshot
    changes: tuple[tuple[str, str], ...]
    landed: Landed | None = None
    move: MoveReport | None = None
    recovered: str = ""
    creates: bool = False

    def to_json(self) -> JsonObject:
        """Return the report under the keys that scripts know; a dry run has committed and pushed nothing."""
        landed, move = self.landed, self.move
        is_pushed = landed is not None and landed.how is not How.ALREADY
        return {
            "changes_detected": not self.snapshot.staged.is_empty,
            "committed": self.snapshot.commit is not None,
            "commit_hash": landed.head if landed is not None else self.snapshot.head,
            "pushed": is_pushed,
            "landed": landed.how.value if landed is not None else None,
            "local_updated": move.local_updated if move is not None else False,
            "branch": self.branch,
            "changes": [{"status": letter, "path": path} for letter, path in self.changes],
            "conflicts": list(landed.conflicts) if landed is not None else [],
            "rescued": list(landed.rescued) if landed is not None else [],
            "dropped": list(landed.dropped) if landed is not None else [],
            "left": [item.path.decode("utf-8", "replace") for item in move.left] if move is not None else [],
            "waited_seconds": round(landed.waited_s, 3) if landed is not None else 0.0,
            "attempts": landed.attempts if landed is not None else 0,
        }
