"""From what came back of a swap to its outcome: one judgement for every transport (docs/protocol.md, section 2).

The server's status words do not decide, except those that always mean the same. What decides is a complete report and,
where that refused, a read of the refs; where the report is not to be trusted, a read also after "ok".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.refs import (
    Absent,
    Applied,
    Breached,
    RefEdit,
    RefusalKind,
    Refused,
    Superseded,
    SwapOutcome,
    Unknown,
)
from gitref_lock.ports import RemoteError, System, Traffic
from gitref_lock.remotes.streams import Deadline
from gitref_lock.remotes.wire import Report
from gitref_lock.remotes.words import blocking_ref, kind_of, may_be_a_lost_race, words_of

Attempt = Report | Refused | Unknown
"""One sending of a swap: a complete report, a refusal before the server looked at it, or an open question."""

Look = Callable[[Sequence[str]], Mapping[RefName, Oid]]
"""List the refs under the given prefixes in a new request."""

MAX_SENDINGS = 6
# Missing objects are sent twice: a ref that vanishes while git checks the others shows as a missing object, once.
_SENDINGS = {None: MAX_SENDINGS, RefusalKind.MISSING_OBJECTS: 2}
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 1.5
_REREADS = 5


class Settlement:
    """The judgement of one swap. ``send`` sends the frozen bytes once; ``look`` reads refs."""

    def __init__(
        self,
        edits: Sequence[RefEdit],
        send: Callable[[], Attempt],
        look: Look,
        *,
        system: System,
        deadline: Deadline,
        traffic: Traffic,
    ) -> None:
        """Keep the parts; nothing is sent yet."""
        self._edits = edits
        self._send = send
        self._look = look
        self._system = system
        self._deadline = deadline
        self._traffic = traffic

    def outcome(self, *, trust_report: bool) -> SwapOutcome:
        """Send until the swap is decided, the sendings are used up or the time is over."""
        sendings = 0
        while True:
            attempt = self._send()
            sendings += 1
            if not isinstance(attempt, Report):
                return attempt
            refused = {ref: status for ref, status in attempt.statuses.items() if status is not None}
            if not refused:
                return Applied() if trust_report else self._read_back()
            if len(refused) < len(attempt.statuses):
                applied = tuple(edit.ref for edit in self._edits if edit.ref not in refused)
                return Breached(applied, refused)
            kind = kind_of(attempt)
            if kind is not None and not may_be_a_lost_race(kind, attempt):
                return _refusal(kind, attempt)
            try:
                seen = self._present()
            except RemoteError as exc:
                return self._unread(kind, attempt, exc)
            if any(seen[edit.ref] != _expected(edit) for edit in self._edits):
                return Superseded(seen)
            if sendings >= _SENDINGS.get(kind, 1) or not self._backoff(sendings):
                return _refusal(kind, attempt) if kind is not None else self._contention(attempt)

    def _present(self) -> dict[RefName, Oid | None]:
        """Return the present value of every ref of the swap."""
        listed = self._look([edit.ref for edit in self._edits])
        return {edit.ref: listed.get(edit.ref) for edit in self._edits}

    def _backoff(self, sendings: int) -> bool:
        """Wait before another sending or reading; return False when the time does not allow it."""
        longest = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**sendings)
        pause = self._system.entropy.uniform(longest / 2, longest)
        if pause * 2 >= self._deadline.left():
            return False
        self._traffic.retries += 1
        self._system.sleeper.sleep(pause)
        return True

    def _read_back(self) -> SwapOutcome:
        """Confirm a full ok by a read; a ref that shows otherwise is read again before it counts against the report."""
        cause = ""
        for reading in range(_REREADS):
            try:
                seen = self._present()
            except RemoteError as exc:
                cause = f"the server said ok, but reading back failed: {exc}"
            else:
                odd = [edit.ref for edit in self._edits if seen[edit.ref] != edit.new]
                if not odd:
                    return Applied()
                cause = f"the server said ok, but {odd[0]} does not show it"
            if reading == _REREADS - 1 or not self._backoff(reading + 1):
                break
        return Unknown(cause)

    @staticmethod
    def _unread(kind: RefusalKind | None, report: Report, exc: RemoteError) -> SwapOutcome:
        """Judge a complete refusal when the refs cannot be read: refused for sure, but the reason is not known."""
        if kind is not None:
            return _refusal(kind, report)
        return Refused(RefusalKind.CONTENTION, f"{words_of(report)}; reading back failed: {exc}", _statuses(report))

    def _contention(self, report: Report) -> Refused:
        """Judge a refusal that no read explains: a name in the way, as some servers do not say, or a busy server."""
        created = [edit.ref for edit in self._edits if isinstance(edit.expect, Absent)]
        if created:
            try:
                blocker = self._collision(created)
            except RemoteError:
                blocker = None  # the advice gets poorer, the outcome stays true
            if blocker is not None:
                words = f"{blocker} is in the way; {words_of(report)}"
                return Refused(RefusalKind.NAME_COLLISION, words, _statuses(report))
        return _refusal(RefusalKind.CONTENTION, report)

    def _collision(self, created: Sequence[RefName]) -> str | None:
        """Return a ref that is a folder of, or a name within, a ref to be created."""
        parents = {ref.rsplit("/", depth)[0] for ref in created for depth in range(1, ref.count("/") - 1)}
        listed = self._look([*sorted(parents), *(f"{ref}/" for ref in created)])
        folders = tuple(f"{ref}/" for ref in created)
        return next((ref for ref in listed if ref in parents or ref.startswith(folders)), None)


def _expected(edit: RefEdit) -> Oid | None:
    return None if isinstance(edit.expect, Absent) else edit.expect.oid


def _statuses(report: Report) -> dict[RefName, str]:
    return {ref: status for ref, status in report.statuses.items() if status is not None}


def _refusal(kind: RefusalKind, report: Report) -> Refused:
    """Return the refusal with the server's words; a name collision names the ref in the way first."""
    words = words_of(report)
    blocker = blocking_ref(report) if kind is RefusalKind.NAME_COLLISION else None
    return Refused(kind, f"{blocker} is in the way; {words}" if blocker else words, _statuses(report))
