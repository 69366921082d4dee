"""One push as its parts see it: the request, the change, the waits, and how a landing is sent and reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from enum import StrEnum

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import Stance
from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.record import Holder, LockRecord
from gitref_lock.core.refs import Applied, Breached, Superseded, SwapOutcome, Unknown
from gitref_lock.core.text import JsonObject
from gitref_lock.core.timing import QueueTiming, default_wait_s
from gitref_lock.errors import NotAcquiredError, OutcomeUnknownError, PolicyError
from gitref_lock.landing.change import Change, Prepared
from gitref_lock.landing.merge.results import resolution_json
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import swap_failure
from gitref_lock.runtime.land_ticket import LandTicket
from gitref_lock.runtime.landing_plan import Tag, Target
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.remote import Picture, Remote
from gitref_lock.runtime.retry import NotYet, reading
from gitref_lock.runtime.swapper import Plan, Swapper
from gitref_lock.runtime.waiting import Listener, Place, no_listener
from gitref_lock.runtime.writing import Found, correct_history

OPEN = frozenset({Stance.FREE, Stance.EXPIRED})
BeforeSwap = Callable[[Prepared, LandTicket | None], None]


def no_journal(_prepared: Prepared, _ticket: LandTicket | None) -> None:
    """Note nothing."""


class How(StrEnum):
    """By which path a change landed."""

    FAST = "fast"
    QUEUED = "queued"
    COMBINED = "combined"
    LEASED = "leased"
    UNFENCED = "unfenced"
    DEGRADED = "degraded"
    EMERGENCY = "emergency"
    ALREADY = "already"


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What to land where, and how. ``may_create`` allows a branch that the remote does not have.

    ``policy`` is the conflict policy as it travels; ``is_combinable`` whether others may land the change.
    ``ignores_lock`` lands by the branch's own old value at once, whoever holds the lock.
    """

    target: Target
    holder: Holder
    wait_s: float | None = None
    priority: int = 0
    policy: JsonObject = field(default_factory=dict)
    is_combinable: bool = True
    may_create: bool = False
    tags: tuple[Tag, ...] = ()
    keep: bool = False
    require_fence: bool = False
    may_degrade: bool = True
    emergency: str = ""
    ignores_lock: bool = False
    lease: Lease | None = None
    queue: QueueTiming = field(default_factory=QueueTiming)


@dataclass(frozen=True, slots=True)
class Landed:
    """A landing that is proved. ``head`` is the commit that the branch held with our change; ``base`` its tip before.

    ``conflicts`` report what the policy decided; ``dropped`` are commits that the branch had already.
    """

    how: How
    head: Oid
    base: Oid | None
    commits: tuple[Oid, ...]
    conflicts: tuple[JsonObject, ...] = ()
    dropped: tuple[Oid, ...] = ()
    rescued: tuple[Oid, ...] = ()
    waited_s: float = 0.0
    attempts: int = 1


@dataclass(slots=True)
class Errand:
    """One push on its way: what all of its paths share. ``sent`` is the last landing that was sent, and by whom.

    ``before_swap`` is called with what is about to be sent under our name: the place for a journal. ``present`` are
    rescue refs that the remote has already.
    """

    remote: Remote
    change: Change
    request: PushRequest
    deadline: Deadline
    place: Place
    started_s: float
    listener: Listener = no_listener
    before_swap: BeforeSwap = no_journal
    attempts: int = 0
    present: set[RefName] = field(default_factory=set)
    wait_until: Deadline | None = None
    sent: tuple[Swapper, How, Prepared] | None = None

    @property
    def wait(self) -> Deadline:
        """When this push gives up waiting; known after the first look."""
        return self.wait_until or self.deadline

    def start_waiting(self, picture: Picture) -> None:
        """Fix the end of the wait: as asked, or by the ttl of the lease that is found."""
        if self.wait_until is not None:
            return
        wait_s = self.request.wait_s
        if wait_s is None:
            state = picture.locks[self.request.target.lock]
            wait_s = default_wait_s(
                state.record.ttl_s if state is not None and isinstance(state.record, LockRecord) else None
            )
        self.wait_until = Deadline.after(self.remote.system, wait_s).earlier(self.deadline)

    def found(self, picture: Picture, lease: Lease | None = None) -> Found:
        """Return the branch's lock as listed, and what it is to us."""
        lock = self.request.target.lock
        state = picture.locks[lock]
        token = lease.token if lease is not None else None
        return Found(lock, state, self.remote.stance(lock, state, token))

    def fetch(self, wants: Sequence[Oid]) -> None:
        """Fetch commits of the remote into the change's store, trying again on transient failures."""
        reading(
            self.remote.system,
            lambda: self.change.fetch(
                self.remote.store, wants, timeout_s=self.deadline.capped(self.remote.call_timeout_s)
            ),
            self.deadline,
        )

    def prepare(self, picture: Picture) -> Prepared:
        """Return the change as it lands on the branch as listed, whose tip must be fetched."""
        target = self.request.target
        tip = picture.refs.get(target.ref)
        if tip is not None:
            return self.change.beyond(tip).prepare(tip)
        if not self.request.may_create:
            raise PolicyError(
                f"branch {target.branch} is gone from the remote",
                code="branch-gone",
                hint=f"to create it again name it: gitref-lock push --branch {target.branch}",
            )
        heads = self.remote.list(["refs/heads/", "refs/tags/"], self.deadline)
        return self.change.create(tuple(heads.refs.values()))

    def send(
        self,
        plan: Plan,
        prepared: Prepared,
        how: How,
        ticket: LandTicket | None = None,
        *,
        until: Deadline | None = None,
    ) -> Landed:
        """Carry a landing swap; ask for another attempt when it lost, raise when it cannot be.

        Nothing is sent after ``until``, where it comes before the command's own end.
        """
        self.before_swap(prepared, ticket)
        swapper = Swapper(self.remote)
        self.sent = (swapper, how, prepared)
        outcome = swapper.carry(plan, self.deadline if until is None else self.deadline.earlier(until))
        if not isinstance(outcome, Applied):
            self.give_up_or_repeat(outcome, swapper)
        return self.landed(how, prepared)

    def proved(self) -> Landed | None:
        """Return the landing that is known to be in the branch, also when a signal came before it was returned."""
        if self.sent is None:
            return None
        swapper, how, prepared = self.sent
        return self.landed(how, prepared) if swapper.is_applied else None

    def give_up_or_repeat(self, outcome: SwapOutcome, swapper: Swapper) -> None:
        """Raise NotYet for a swap that lost; the error that fits for anything else."""
        if isinstance(outcome, Breached):
            correct_history(self.remote, self.request.target.lock, self.request.holder, outcome, self.deadline)
        elif swapper.interrupted is not None and not isinstance(outcome, Unknown):
            raise swapper.interrupted
        if not isinstance(outcome, Superseded):
            failure = swap_failure(outcome, f"landing on {self.request.target.branch}", self.check)
            if isinstance(failure, OutcomeUnknownError):
                failure.fields = {**failure.fields, **self._whereabouts()}
            raise failure
        rescues = self.remote.namespace.rescue + "/"
        self.present.update(ref for ref, oid in outcome.seen.items() if oid is not None and ref.startswith(rescues))
        for tag in self.request.tags:
            if outcome.seen.get(tag.ref) is not None:
                raise PolicyError(f"{tag.ref} exists already on the remote", code="tag-exists")
        if self.wait.is_over:
            raise self.not_landed("it kept losing to other writers")
        raise NotYet(self.remote.system.entropy.uniform(0.0, 0.1))

    def landed(self, how: How, prepared: Prepared) -> Landed:
        """Return the report of a landing that is proved."""
        return Landed(
            how,
            prepared.head,
            prepared.tip,
            prepared.commits,
            tuple(resolution_json(item) for item in prepared.resolutions),
            prepared.dropped,
            prepared.rescued,
            self.waited_s,
            self.attempts,
        )

    @property
    def waited_s(self) -> float:
        """Seconds since the push began."""
        return self.remote.system.clock.monotonic() - self.started_s

    def not_landed(self, why: str) -> NotAcquiredError:
        """Return the error of a wait that is over."""
        return NotAcquiredError(
            f"the change was not landed on {self.request.target.branch} within the wait: {why}",
            hint="raise --wait, or see who holds the lock: gitref-lock inspect",
            fields={
                "branch": self.request.target.branch,
                "attempts": self.attempts,
                "waited_seconds": round(self.waited_s, 3),
            },
        )

    @property
    def check(self) -> str:
        """What finds out whether the change has landed: the clone's journal knows what was sent."""
        return "run the same push again in this clone: it finds out whether the change has landed, and lands it if not"

    def _whereabouts(self) -> JsonObject:
        """Return where to look for a change that may have landed."""
        value: JsonObject = {
            "branch": self.request.target.branch,
            "remote": self.remote.store.display_url,
        }
        if self.sent is not None:
            value["commit"] = self.sent[2].head
        return value
