"""Landing a change: one optimistic swap, then the queue, where whoever is at the head lands everybody's change.

Nothing visible in the clone moves before the landing is proved; a wait that ends leaves the change either landed or
withdrawn (docs/protocol.md, section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import Stance
from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.queue import in_service_order
from gitref_lock.core.record import Event
from gitref_lock.core.refs import Applied, RefusalKind, Refused, Superseded, Unknown
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import STOPS, ConfigurationError, LeaseLostError
from gitref_lock.landing.change import Change, Prepared
from gitref_lock.ports import ObjectsGoneError, RemoteError, StoredCommit
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.dead_tickets import swept
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import OPEN, BeforeSwap, Errand, How, Landed, PushRequest, no_journal
from gitref_lock.runtime.failures import read_failure, swap_failure
from gitref_lock.runtime.landing_plan import extras, fenced_plan, unfenced_plan
from gitref_lock.runtime.landing_queue import LandingQueue
from gitref_lock.runtime.lease import Lease, describe
from gitref_lock.runtime.remote import Picture, Remote
from gitref_lock.runtime.retry import NotYet, poll
from gitref_lock.runtime.swapper import Plan, Swapper, carry_or_stop, plan_for_locks
from gitref_lock.runtime.waiting import Listener, Place, no_listener
from gitref_lock.runtime.writing import Found, created

UNFENCED_TTL_S = 120.0
_RELEASE_BUDGET_S = 5.0
_GONE_IN_A_ROW = 8


@dataclass(slots=True)
class Pusher:
    """One push, from the first look to the proof."""

    errand: Errand
    queue: LandingQueue
    _limit: Deadline
    _tried: bool = False
    _gone: int = 0
    _unfenced: Lease | None = field(default=None)

    @classmethod
    def of(
        cls,
        remote: Remote,
        change: Change,
        request: PushRequest,
        deadline: Deadline,
        *,
        listener: Listener = no_listener,
        before_swap: BeforeSwap = no_journal,
    ) -> Pusher:
        """Return the push of ``change`` that ``request`` asks for."""
        place = Place(remote, (request.target.lock,), request.holder, request.priority, request.queue)
        started_s = remote.system.clock.monotonic()
        errand = Errand(remote, change, request, deadline, place, started_s, listener, before_swap)
        return cls(errand, LandingQueue(errand), deadline)

    def run(self) -> Landed:
        """Return the proved landing, or raise; afterwards the change is in the branch exactly if this returned.

        OutcomeUnknownError alone leaves that open, and says how to find out.
        """
        system = self.errand.remote.system
        try:
            return poll(system, self._attempt, Deadline(system.clock))
        except (Exception, *STOPS) as error:
            landed = self._settled(error) or (self.errand.proved() if isinstance(error, STOPS) else None)
            if landed is not None:
                return landed
            if isinstance(error, RemoteError):
                raise read_failure(error, self._limit, f"landing on {self.errand.request.target.branch}") from error
            raise
        finally:
            if self._unfenced is not None:
                self._unfenced.release(Deadline.after(system, _RELEASE_BUDGET_S))

    def _settled(self, error: BaseException) -> Landed | None:
        """End what is posted; a signal that comes just then does not leave it to be landed after all."""
        try:
            return self.queue.settle(error)
        except STOPS as signal:
            landed = self.queue.settle(signal)
            if landed is not None:
                return landed
            raise

    def _attempt(self) -> Landed:
        """Make one attempt; one that met an object which is no longer served begins anew with a fresh listing."""
        try:
            return self._try()
        except ObjectsGoneError:
            self._gone += 1
            if self._gone >= _GONE_IN_A_ROW:
                raise
            raise NotYet(self.errand.remote.system.entropy.uniform(0.05, 0.25)) from None
        except NotYet:
            self._gone = 0
            raise

    def _try(self) -> Landed:
        errand, request = self.errand, self.errand.request
        errand.attempts += 1
        picture = self._look()
        errand.start_waiting(picture)
        if self.queue.ticket is not None:
            return self.queue.attend(picture, self.queue.ticket)
        lease = request.lease or self._unfenced
        found = errand.found(picture, lease)
        prepared = errand.prepare(picture)
        if prepared.is_landed_already and not request.tags:
            return errand.landed(How.ALREADY, prepared)
        if request.keep and found.stance is not Stance.MINE:
            raise LeaseLostError(f"the lease to be kept is lost: {found.name} is {describe(found.state)}")
        if request.ignores_lock:
            return self._land_branch_alone(prepared, How.DEGRADED, errand.deadline)
        if found.stance is Stance.ABSENT:
            return self._create_lock(prepared)
        if not errand.remote.server(errand.deadline).atomic:
            return self._land_unfenced(prepared, found, lease)
        if lease is not None and found.stance is Stance.MINE:
            return self._land_leased(prepared, found, lease)
        if request.emergency:
            return self._land_at_once(prepared, found, How.EMERGENCY, picture)
        if found.stance in OPEN and not self._tried and not self._is_contended(picture, found):
            self._tried = True
            return self._land_at_once(prepared, found, How.FAST, picture)
        return self.queue.post(picture, prepared)

    def _look(self) -> Picture:
        errand = self.errand
        ticket = self.queue.ticket
        return errand.remote.look(
            [errand.request.target.lock],
            errand.deadline,
            beside=self.queue.others,
            extra=[errand.request.target.ref],
            stop_at=ticket.name if ticket is not None else None,
            prefetch=self._prefetch if ticket is None else None,
        )

    def _prefetch(self, refs: Mapping[RefName, Oid], unread: Sequence[Oid]) -> Iterable[StoredCommit]:
        """Fetch the branch's tip, and the lock's state with it: one request for both."""
        errand = self.errand
        tip = refs.get(errand.request.target.ref)
        if tip is None or errand.change.holds(tip):
            return ()
        lock_tip = refs.get(errand.remote.namespace.lock_ref(errand.request.target.lock))
        along = [oid for oid in unread if oid == lock_tip]
        errand.fetch([tip, *along])
        return [commit for oid in along if (commit := errand.change.stored(oid)) is not None]

    def _is_contended(self, picture: Picture, found: Found) -> bool:
        assert found.state is not None
        if in_service_order(picture.queues[found.name]):
            return True
        return self.errand.request.is_combinable and found.state.ring.foresees_burst()

    def _create_lock(self, prepared: Prepared) -> Landed:
        """Create the free lock by itself, once in its life, and look again; degrade where the host forbids it."""
        errand = self.errand
        target, what = errand.request.target, f"creating the lock {errand.request.target.lock}"
        server = errand.remote.server(errand.deadline)
        plan = plan_for_locks(errand.remote, [created(errand.remote, target.lock, errand.request.holder, server)])
        swapper = Swapper(errand.remote)
        outcome = swapper.carry(plan, errand.deadline)
        if swapper.interrupted is not None:
            raise swapper.interrupted
        if isinstance(outcome, Refused) and outcome.kind in {RefusalKind.NAMESPACE, RefusalKind.POLICY}:
            if errand.request.require_fence or not errand.request.may_degrade:
                raise swap_failure(outcome, what, errand.check)
            if self._is_created():
                raise NotYet(0.0)  # the host forbade it for a while only
            return self._land_branch_alone(prepared, How.DEGRADED, errand.deadline)
        # A free lock that was created late or by somebody else is as good as ours; that somebody was faster foretells
        # that a try for the fast path would lose too.
        self._tried = self._tried or isinstance(outcome, Superseded)
        self.queue.meets_crowd = self.queue.meets_crowd or isinstance(outcome, Superseded)
        if isinstance(outcome, Applied | Superseded):
            raise NotYet(0.0)
        if isinstance(outcome, Unknown) and not outcome.nothing_sent:
            if errand.wait.is_over:
                raise errand.not_landed(f"the lock could not be created: {outcome.cause}")
            raise NotYet(0.0)
        raise swap_failure(outcome, what, errand.check)

    def _is_created(self) -> bool:
        """Tell whether somebody has created the lock by now."""
        errand = self.errand
        lock_ref = errand.remote.namespace.lock_ref(errand.request.target.lock)
        return lock_ref in errand.remote.list([lock_ref], errand.deadline).refs

    def _land_at_once(self, prepared: Prepared, found: Found, how: How, picture: Picture) -> Landed:
        errand = self.errand
        plan, _ = fenced_plan(
            errand.remote,
            errand.change,
            errand.request.target,
            prepared,
            found,
            errand.request.holder,
            reason=errand.request.emergency,
            tags=errand.request.tags,
            present=tuple(errand.present),
            tickets=swept(errand.remote, picture),
        )
        return errand.send(plan, prepared, how)

    def _land_leased(self, prepared: Prepared, found: Found, lease: Lease) -> Landed:
        """Land under a lease that is held already; it is released by the same swap unless it is to be kept."""
        errand, keep = self.errand, self.errand.request.keep
        with lease.queue:
            sent = errand.remote.clock_reading()
            plan, fence = fenced_plan(
                errand.remote,
                errand.change,
                errand.request.target,
                prepared,
                found,
                errand.request.holder,
                event=Event.LAND_KEEP if keep else Event.LAND,
                ttl_s=lease.timing.ttl_s if keep else 0.0,
                tags=errand.request.tags,
                present=tuple(errand.present),
            )
            try:
                return errand.send(plan, prepared, How.LEASED)
            finally:
                if errand.proved() is not None:
                    lease.states[fence.name] = fence.after.state
                    if keep:
                        lease.sent = sent
                    else:
                        lease.lose("the landing released it")

    def _land_unfenced(self, prepared: Prepared, found: Found, lease: Lease | None) -> Landed:
        """Land on a server that cannot apply several refs as one: under a lease, by the branch's own old value.

        Nothing is sent in the last margin of the lease; a copy that is applied later meets the branch's old value.
        """
        errand = self.errand
        if errand.request.require_fence:
            raise ConfigurationError(
                "the server cannot apply branch and lock as one, and a fence is required",
                code="no-atomic",
                hint="without --require-fence the push lands under a lease that the server does not check",
            )
        if lease is None or found.stance is not Stance.MINE:
            request = AcquireRequest(
                (errand.request.target.lock,),
                errand.request.holder,
                LeaseTiming.for_ttl(UNFENCED_TTL_S),
                errand.wait.remaining_s(),
                errand.request.priority,
                queue=errand.request.queue,
            )
            self._unfenced = Acquirer(errand.remote, request, errand.deadline, errand.listener).run()
            raise NotYet(0.0)
        lease.check()
        return self._land_branch_alone(prepared, How.UNFENCED, Deadline.after(errand.remote.system, lease.left_s()))

    def _land_branch_alone(self, prepared: Prepared, how: How, until: Deadline) -> Landed:
        """Land without a fence, sending nothing after ``until``. What the policy discarded is kept first, by itself."""
        errand = self.errand
        if errand.request.tags:
            raise ConfigurationError(
                "a tag is made in the same swap as the landing, and here that cannot be",
                code="no-atomic",
                hint="push without --tag, then tag the landed commit",
            )
        kept, objects = extras(errand.remote, errand.request.target, prepared, (), tuple(errand.present))
        for edit in kept:
            outcome = carry_or_stop(errand.remote, Plan((edit,), (*prepared.objects, *objects)), errand.deadline)
            if not isinstance(outcome, Applied):
                raise swap_failure(outcome, "keeping the side that the policy discards", errand.check)
            errand.present.add(edit.ref)
        plan = unfenced_plan(errand.remote, errand.change, errand.request.target, prepared)
        return errand.send(plan, prepared, how, until=until)
