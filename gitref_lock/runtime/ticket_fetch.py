"""Fetching what other runners posted, without letting one of them harm the rest.

All are asked for in one request. When the answer is too large, or the server cannot serve one of them, the request is
cut in halves until the culprit stands alone: it is set aside, the others are not (docs/protocol.md, section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.core.queue import Entry
from gitref_lock.landing.change import Change
from gitref_lock.landing.graph import commit_of
from gitref_lock.landing.weighing import WeighedSink
from gitref_lock.ports import FetchRequest, RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.retry import reading

MAX_PACK_BYTES = 16 << 20
MAX_INFLATED_BYTES = 64 << 20
MAX_REQUESTS = 48
PATIENCE_S = 5.0

TOO_LARGE = "the change is too large to be landed by others"
NOT_SERVED = "the change cannot be read"


@dataclass(slots=True)
class TicketFetch:
    """Brings the changes of tickets into a change's store. ``refused`` says why for tips that will never come."""

    remote: Remote
    change: Change
    tip: Oid
    deadline: Deadline
    refused: dict[Oid, str] = field(default_factory=dict)
    _requests: int = 0
    _weight: int = 0

    def has(self, entry: Entry) -> bool:
        """Tell whether a ticket's commit is here."""
        return commit_of(self.change.store, entry.tip) is not None

    def bring(self, entries: Sequence[Entry]) -> None:
        """Fetch these tickets with their changes. What cannot be had now stays absent, without a reason."""
        missing = [entry for entry in entries if not self.has(entry)]
        if not missing or self._requests >= MAX_REQUESTS or self._weight >= MAX_INFLATED_BYTES:
            return
        try:
            self._ask(missing)
        except RemoteError as error:
            if error.code not in {"too-large", "protocol", "not-found"}:
                return
            if len(missing) == 1:
                # ``protocol`` that may pass is an object gone since the listing: its ticket has just moved.
                if error.code == "too-large" or not error.transient:
                    self.refused[missing[0].tip] = TOO_LARGE if error.code == "too-large" else NOT_SERVED
                return
            middle = len(missing) // 2
            self.bring(missing[:middle])
            self.bring(missing[middle:])

    def _ask(self, entries: Sequence[Entry]) -> None:
        self._requests += 1
        sink = WeighedSink(self.change.store, MAX_INFLATED_BYTES)
        deepest = max((entry.ticket.changes for entry in entries if entry.ticket is not None), default=1)
        request = FetchRequest(
            wants=tuple(entry.tip for entry in entries),
            haves=tuple(oid for oid in (self.tip, *self.change.haves) if sink.has(oid)),
            # In a shallow clone the server would send all history below a base that this clone lacks.
            depth=deepest + 2 if self.change.shallow else None,
            filter_spec=self.change.promisor_filter,
            shallow=tuple(sorted(self.change.shallow)),
            max_bytes=MAX_PACK_BYTES,
        )
        reading(
            self.remote.system,
            lambda: self.remote.store.fetch(request, sink, timeout_s=self.deadline.capped(self.remote.call_timeout_s)),
            self.deadline,
            patience_s=PATIENCE_S,
        )
        self._weight += sink.weight
