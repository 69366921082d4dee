"""Move the local clone to what the remote now has: branch, tracking ref, index, and the files that changed.

Order, and why a kill at any instant is harmless: index.lock is taken; files are prepared aside and the lock is filled;
the branch moves by compare-and-swap; files are put in place; what edited files stand on is noted; the index replaces
the old one; the journal goes. Until the branch moves nothing visible has changed. After it, the stale index.lock keeps
git from committing the half-moved state, and the next command of this tool, finding the journal, removes that lock and
does every step again: each one looks at what is there and does nothing when it is done already.

Content that was not part of the push stays: an edited file, a file in the way, a differently staged path are left as
they are and reported (docs/protocol.md, section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum

from dulwich.file import FileLocked

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing import edited
from gitref_lock.landing.checkout import Checkout, text
from gitref_lock.landing.compare import Task
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.index_access import IndexAccess, take_index
from gitref_lock.landing.index_file import (
    ASSUME_VALID,
    SKIP_WORKTREE,
    UNKNOWN_STAT,
    Entry,
    StatData,
    UnreadableIndexError,
)
from gitref_lock.landing.index_lock import IndexHeldError, remove_stale
from gitref_lock.landing.index_patch import new_entry
from gitref_lock.landing.journal import (
    Journal,
    discard_journal,
    read_journal,
    write_journal,
)
from gitref_lock.landing.move_plan import retarget
from gitref_lock.landing.place import Left, Placer, remove_prepared
from gitref_lock.landing.ref_move import RefHeldError, move_ref, remove_stale_refs
from gitref_lock.landing.sparse import SparseRules
from gitref_lock.landing.staged import tree_entry
from gitref_lock.ports import Sleeper

Step = Callable[[str], None]
_NOTE = b"gitref-lock: landed"
_TRIES = 6
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What became of the local clone.

    ``local_updated`` False means that it is as it was before (``reason`` says why) and that the journal waits for the
    next command, unless ``is_final``. ``left`` are files that were not touched although the landing changed them.
    """

    local_updated: bool
    left: tuple[Left, ...] = ()
    reason: str | None = None
    is_final: bool = False


class Recovery(Enum):
    """What the next command did with a journal."""

    NOTHING = "nothing"
    FINISHED = "finished"
    UNDONE = "undone"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """The outcome of ``recover``. ``move`` is set when the move was tried again."""

    outcome: Recovery
    journal: Journal | None = None
    move: MoveReport | None = None


def _no_step(_name: str) -> None:
    return


def apply_move(
    checkout: Checkout, journal: Journal, *, step: Step = _no_step, sleeper: Sleeper | None = None
) -> MoveReport:
    """Move the clone as the journal says; never raises for what this machine's disk or other programs do.

    Call while holding ``Checkout.exclusive``, and only after the swap was applied. ``step`` is told each step's name as
    it begins. The journal is removed on success, kept for the next command otherwise.
    """
    try:
        report = _Mover(checkout, journal, step, sleeper).run()
    except (OSError, IndexHeldError, UnreadableIndexError, RefHeldError, FileLocked, LandingError) as error:
        return MoveReport(local_updated=False, reason=_reason(error))
    if report.local_updated or report.is_final:
        discard_journal(checkout)
    return report


def _reason(error: Exception) -> str:
    if isinstance(error, FileLocked):
        return "another program holds a ref of this clone"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    return str(error)


def _with_status(edits: Mapping[bytes, Entry | None], known: Mapping[bytes, StatData]) -> dict[bytes, Entry | None]:
    """Return ``edits`` with the status of the files just written, so that git need not read them again."""
    fresh = dict(edits)
    for path, status in known.items():
        entry = fresh.get(path)
        if entry is not None:
            fresh[path] = entry._replace(stat=status)
    return fresh


class _Mover:
    def __init__(self, checkout: Checkout, journal: Journal, step: Step, sleeper: Sleeper | None) -> None:
        self._checkout = checkout
        self._landing = journal.landing
        self._move = journal.move
        self._step = step
        self._sleeper = sleeper
        self._left: list[Left] = []

    def run(self) -> MoveReport:
        if not self._landing.moves_head:
            self._move_tracking()
            return MoveReport(local_updated=True)
        value = self._checkout.ref(self._move.head_ref)
        if value not in {self._move.old, self._move.new}:
            self._move_tracking()
            return MoveReport(local_updated=False, reason=f"{self._move.head_ref} was moved meanwhile", is_final=True)
        if self._checkout.head_ref() != self._move.head_ref:
            self._move_branch()
            self._move_tracking()
            return MoveReport(local_updated=True, reason="another branch is checked out now")
        unsafe = next((item.path for item in self._move.paths if item.is_unsafe), None)
        if unsafe is not None:
            self._move_tracking()
            reason = f"the branch holds {text(unsafe)!r}, a path that no clone may check out"
            return MoveReport(local_updated=False, reason=reason, is_final=True)
        self._move_all()
        first_reasons = {one.path: one for one in reversed(self._left)}
        return MoveReport(local_updated=True, left=tuple(first_reasons[path] for path in sorted(first_reasons)))

    def _patiently(self, action: Callable[[], IndexAccess]) -> IndexAccess:
        """Take the index; another git process holds it for moments only."""
        for attempt in range(_TRIES):
            try:
                return action()
            except IndexHeldError:
                if self._sleeper is None or attempt == _TRIES - 1:
                    raise
                self._sleeper.sleep(_PAUSE_S)
        raise AssertionError("unreachable")

    def _move_all(self) -> None:
        self._step("take-index")
        nonce = self._landing.nonce
        index = self._patiently(lambda: take_index(self._checkout, nonce, self._move.began_s))
        try:
            placer = Placer(self._checkout, index.view, self._move.paths, nonce)
        except BaseException:
            index.abort()
            raise
        try:
            self._step("prepare-files")
            tasks = self._tasks(index, placer)
            tasks = placer.prepare(tasks)
            self._step("prepare-index")
            edits = self._edits(index)
            index.write(edits)
            self._step("move-branch")
            self._move_branch()
        except BaseException:
            index.abort()
            placer.discard()
            raise
        self._step("place-files")
        placer.place(tasks, self._step)
        self._left[:0] = placer.left
        unnoted = self._remember(placer.private)
        self._step("refresh-index")
        try:
            index.refresh(_with_status(edits, placer.statuses(self._move.began_s)))
            self._step("commit-index")
            index.commit()
        except (OSError, UnreadableIndexError, IndexHeldError):
            index.abort()
            raise
        self._step("move-tracking")
        self._move_tracking()
        self._step("clean-up")
        placer.discard()
        if unnoted is not None:
            raise unnoted

    def _remember(self, private: Collection[bytes]) -> OSError | LandingError | None:
        """Note what the edits of the files left here stand on; return what prevented it, so that the journal waits.

        Done while git cannot commit yet: were the branch moved on first, a move that is done again would stop early.
        """
        try:
            edited.remember(self._checkout, self._move, {item.path for item in self._left}, private)
        except (OSError, LandingError) as error:
            return error
        return None

    def _tasks(self, index: IndexAccess, placer: Placer) -> list[Task]:
        rules = SparseRules(self._checkout)
        tasks = []
        for item in self._move.paths:
            entry = index.find(item.path)
            if entry is None and not rules.includes(item.path) and item.on_disk is None:
                continue
            task = placer.task(item, entry)
            if task is not None:
                tasks.append(task)
        return tasks

    def _edits(self, index: IndexAccess) -> dict[bytes, Entry | None]:
        """Return the entries to change; a path that is staged to something unexpected is left."""
        rules = SparseRules(self._checkout)
        edits: dict[bytes, Entry | None] = {}
        for item in self._move.paths:
            entry = index.find(item.path)
            here = tree_entry(entry)
            expected = {item.old, item.new} | ({item.own, item.index_before} if item.is_own else set())
            if here not in expected or (entry is not None and entry.stage):
                if item.old != item.new:
                    self._left.append(Left(item.path, "something else is staged for it"))
                continue
            if item.new is None:
                if entry is not None:
                    edits[item.path] = None
                continue
            if here == item.new and not (entry is not None and entry.is_intent_to_add) and item.stat is None:
                continue
            hidden = entry.is_skip_worktree if entry is not None else not rules.includes(item.path)
            known = item.stat if item.is_own and item.own == item.new and item.stat is not None else UNKNOWN_STAT
            extended = SKIP_WORKTREE if hidden else 0
            wanted = new_entry(item.path, item.new.mode, item.new.oid, known, extended=extended)
            if entry is not None and entry.is_assumed_valid:
                wanted = wanted._replace(flags=wanted.flags | ASSUME_VALID)
            edits[item.path] = wanted
        return edits

    def _move_branch(self) -> None:
        move = self._move
        if self._checkout.ref(move.head_ref) == move.new:
            return
        if not move_ref(self._checkout, move.head_ref, move.old, move.new, _NOTE):
            raise LandingError("branch-moved", f"{move.head_ref} was moved meanwhile")

    def _move_tracking(self) -> None:
        landing, ref = self._landing, self._landing.tracking_ref
        if ref is None or self._checkout.ref(ref) == self._move.new:
            return
        # when it is neither value somebody fetched meanwhile and knows better
        move_ref(self._checkout, ref, landing.tracking_before, self._move.new, b"update by gitref-lock")


def recover(
    checkout: Checkout,
    is_landed: Callable[[Journal], Oid | bool | None],
    *,
    step: Step = _no_step,
    sleeper: Sleeper | None = None,
) -> RecoveryReport:
    """Finish or undo what an earlier command left; call while holding ``Checkout.exclusive``.

    ``is_landed`` tells whether the journal's landing is on the remote: True, False, None when that cannot be told now,
    or the commit to move to instead when the change landed inside another one (its objects must be here by then).
    """
    remove_stale(checkout)
    remove_prepared(checkout)
    journal = read_journal(checkout)
    if journal is not None:
        names = [journal.move.head_ref, journal.landing.tracking_ref]
        remove_stale_refs(checkout, [name for name in names if name is not None])
    if journal is None:
        return RecoveryReport(Recovery.NOTHING)
    landed = is_landed(journal)
    if landed is None:
        return RecoveryReport(Recovery.WAITING, journal)
    if landed is False:
        discard_journal(checkout)
        return RecoveryReport(Recovery.UNDONE, journal)
    if landed is not True and landed != journal.move.new:
        journal = write_journal(checkout, retarget(checkout, journal.move, landed), journal.landing)
    report = apply_move(checkout, journal, step=step, sleeper=sleeper)
    outcome = Recovery.FINISHED if report.local_updated or report.is_final else Recovery.WAITING
    return RecoveryReport(outcome, journal, report)
