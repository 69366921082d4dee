"""``acquire``: wait for the lock or locks and take them, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from gitref_lock.cli import keepalive, options
from gitref_lock.cli.command import Run, checked, wished_wait
from gitref_lock.core.lean import dataclass
from gitref_lock.core.text import instant
from gitref_lock.errors import Interrupted, OutcomeUnknownError, UsageError

if TYPE_CHECKING:
    from gitref_lock.core.names import LockName, Nonce
    from gitref_lock.core.record import Holder
    from gitref_lock.core.timing import LeaseTiming
    from gitref_lock.runtime.acquire import AcquireRequest
    from gitref_lock.runtime.evidence import Inquest
    from gitref_lock.runtime.lease import Lease
    from gitref_lock.runtime.swapper import LockMove

DEFAULT_TTL_S = 1800.0
GIVE_BACK_S = 5.0


def acquire(
    run: Run,
    names: options.Names = None,
    wait: options.Wait = None,
    nonblock: options.Nonblock = False,
    ttl: options.Ttl = None,
    priority: options.Priority = None,
    workflow: options.Workflow = None,
    holder: options.HolderId = None,
    reason: options.Reason = "",
    conflict_exit_code: options.ConflictExitCode = None,
    preempt: options.Preempt = False,
    cancel_older: options.CancelOlder = None,
    check_liveness: options.CheckLiveness = False,
    keep_alive: keepalive.KeepAlive = False,
    keep_alive_for: keepalive.MaxAge = None,
    keep_alive_pid: keepalive.WatchedPid = None,
) -> None:
    """Wait for the lock or locks and take them, all or none; print the lease."""
    asked = Asked(wait, nonblock, ttl, priority, workflow, holder, reason, conflict_exit_code, preempt, cancel_older)
    request = asked.request(run, names, DEFAULT_TTL_S)
    lease = take(run, request, inquest=liveness(run, is_wanted=check_liveness))
    try:
        if keep_alive:
            keepalive.start(run, lease, keep_alive_for, keep_alive_pid)
        report(run, lease)
    except BaseException:  # whatever it is, the command fails: nobody knows that the lock is held
        if not lease.reused:
            give_back(run, lease)
        raise


@dataclass(frozen=True, slots=True)
class Asked:
    """The waiting options as given; shared by every command that takes a lock."""

    wait: str | None = None
    nonblock: bool = False
    ttl: str | None = None
    priority: int | None = None
    workflow: str | None = None
    holder: str | None = None
    reason: str = ""
    conflict_exit_code: int | None = None
    preempt: bool = False
    cancel_older: bool | None = None

    def request(self, run: Run, names: Sequence[str] | None, default_ttl_s: float) -> AcquireRequest:
        """Return what to acquire: each value from its flag or variable, the workflow's rule, the file, the default.

        ``run.conflict_exit_code`` is set on the way. Raises UsageError for a value that is not allowed.
        """
        from gitref_lock import config
        from gitref_lock.core.timing import LeaseTiming
        from gitref_lock.runtime.acquire import AcquireRequest

        settings = run.settings
        wait_s = wished_wait(self.wait, nonblock=self.nonblock)
        code = checked("--conflict-exit-code", self.conflict_exit_code, config.parse_exit_code)
        run.conflict_exit_code = code if code is not None else settings.conflict_exit_code
        who = run.holder(self.holder, self.workflow)
        rule = settings.rule_for(who.workflow)
        ttl_s = checked("--ttl", self.ttl, config.parse_ttl) or rule.ttl_s or settings.ttl_s or default_ttl_s
        if wait_s is None:
            wait_s = rule.wait_s if rule.wait_s is not None else settings.wait_s
        priority = checked("--priority", self.priority, config.parse_priority)
        cancel = self.cancel_older if self.cancel_older is not None else settings.cancel_older
        wanted = run.names(names)
        run.try_again_for(who.workflow)
        return AcquireRequest(
            names=wanted,
            holder=who,
            timing=LeaseTiming.for_ttl(ttl_s, kill_after_s=settings.kill_after_s),
            wait_s=wait_s,
            priority=priority if priority is not None else settings.priority_for(who.workflow),
            reason=self.reason,
            preempt=self.preempt,
            cancel_older=bool(cancel),
        )


def liveness(run: Run, *, is_wanted: bool) -> Inquest:
    """Return what asks the CI's API about holders; nobody, with a warning, where this job may not ask."""
    from gitref_lock.runtime.evidence import Inquest

    if not is_wanted:
        return Inquest()
    from gitref_lock.runtime.liveness import LivenessCheck, api_of

    api = api_of(run.environ)
    if api is None:
        run.out.warn(
            "--check-liveness: no token or no API address in the environment (GITHUB_TOKEN with GITHUB_API_URL, or "
            "GITLAB_TOKEN or CI_JOB_TOKEN with CI_API_V4_URL); holders are not asked about"
        )
        return Inquest()
    from gitref_lock.remotes.api import api_settings, open_api

    settings = api_settings(api.url, api.header, run.around.config, run.environ, run.around.folder)
    check = LivenessCheck(api, open_api(api.url, settings, run.system), run.system.clock)
    return Inquest(check, run.system.clock)


def take(run: Run, request: AcquireRequest, *, inquest: Inquest) -> Lease:
    """Return the lease: this job's own if it holds the locks already, else a new one, waited for."""
    from gitref_lock.cli.waiting import WaitDisplay
    from gitref_lock.runtime.acquire import Acquirer

    own = _adopted(run, request)
    if own is not None:
        return own
    planner = Planner(run, request.timing)
    acquirer = Acquirer(
        run.session.remote,
        request,
        run.deadline,
        listener=WaitDisplay(run.out, run.system.clock),
        planned=planner,
        inquest=inquest,
    )
    try:
        lease = acquirer.run()
    except BaseException as error:
        if isinstance(error, Interrupted):
            planner.give_back()
        if not isinstance(error, OutcomeUnknownError):
            planner.forget()
        run.session.remember(request.names)
        raise
    warn_old_holders(run, planner.moves)
    return lease


def give_back(run: Run, lease: Lease) -> None:
    """Free a lease that a signal left without its owner, in the time that a cancelled job has; failures are told."""
    from gitref_lock.runtime.deadline import Deadline

    error = lease.release(Deadline.after(run.system, GIVE_BACK_S))
    if error is not None:
        run.out.warn(f"the lock was not given back: {error}")
        return
    for name in {*lease.names, *lease.released}:
        run.session.memory.forget(run.session.key, name, lease.token)


@dataclass(slots=True)
class Planner:
    """Writes the lease files before the swap that would create the lease is sent."""

    run: Run
    timing: LeaseTiming
    token: Nonce | None = None
    moves: Mapping[LockName, LockMove] = field(default_factory=dict)
    has_warned: bool = False

    def __call__(self, token: Nonce, moves: Mapping[LockName, LockMove]) -> None:
        """Store the lease that these moves would create."""
        from gitref_lock.runtime.possession import stored

        session = self.run.session
        sent = session.remote.clock_reading()
        self.token, self.moves = token, moves
        leases = [stored(session, name, token, self.timing, item.after.state, sent) for name, item in moves.items()]
        error = session.memory.write(leases)
        if session.memory.folder is None or error is not None:
            self._warn(error)

    def _warn(self, error: OSError | None) -> None:
        if not self.has_warned:
            self.has_warned = True
            why = f"{error.filename or ''}: {error.strerror}" if error is not None else "there is no place for it"
            self.run.out.warn(f"the lease is not stored ({why}): pass it on with --lease")

    def give_back(self) -> None:
        """Free the lease in case that the last planned swap was applied just before a signal came."""
        from gitref_lock.runtime.possession import revive

        session = self.run.session
        found = [session.memory.read(session.key, name) for name in self.moves]
        mine = [item for item in found if item is not None and item.token == self.token]
        if mine:
            give_back(self.run, revive(session.remote, mine, self.run.holder()))

    def forget(self) -> None:
        """Remove the lease files of a lease that was not created."""
        if self.token is not None:
            for name in self.moves:
                self.run.session.memory.forget(self.run.session.key, name, self.token)


def warn_old_holders(run: Run, moves: Mapping[LockName, LockMove]) -> None:
    """Say until when a holder that was preempted may still run."""
    from gitref_lock.core.record import Event, LockRecord

    for name, item in moves.items():
        before = item.before.record if item.before is not None else None
        if item.after.record.event is Event.PREEMPT and isinstance(before, LockRecord) and before.holder is not None:
            until = instant(before.expires_at or 0)
            run.out.warn(f"{name} was taken from {before.holder.label}, who may go on until {until}")


def _adopted(run: Run, request: AcquireRequest) -> Lease | None:
    """Return the lease that this job holds on all the locks already; None when it holds none of them.

    A lease of ours whose time is over is given back first: nobody else could take it before it expires.
    """
    from gitref_lock.core.machine import Stance
    from gitref_lock.runtime.possession import revive, stored_of

    session = run.session
    files = [session.memory.read(session.key, name) for name in request.names]
    stored = [item for item in files if item is not None and session.writer.may_adopt(item.writer)]
    if not stored:
        return None
    remote = session.remote
    picture = remote.look([item.lock for item in stored], run.deadline, with_queue=False)
    mine = [item for item in stored if remote.stance(item.lock, picture.locks[item.lock], item.token) is Stance.MINE]
    if not mine:
        return None
    lease = revive(remote, [item for item in mine if item.token == mine[0].token], request.holder)
    lease.states = {name: state for name in lease.names if (state := picture.locks[name]) is not None}
    if lease.left_s() <= 0:
        error = lease.release(run.deadline)
        if error is not None:
            raise error
        return None
    if set(lease.names) != set(request.names):
        held = ", ".join(lease.names)
        raise UsageError(
            f"this job holds {held} already, and several locks are taken together or not at all",
            hint=f"release it first ({held}), or acquire the others by themselves",
        )
    if lease.left_s() < request.timing.usable_s / 2:
        lease.renew(run.deadline, ttl_s=request.timing.ttl_s)
        session.memory.write(stored_of(session, lease))
    return lease


def lease_json(run: Run, lease: Lease) -> dict[str, object]:
    """Return the lease as ``--json`` shows it; the plain keys are the first lock's."""
    remote = run.session.remote
    locks: list[dict[str, object]] = [
        {
            "name": name,
            "lock_ref": remote.namespace.lock_ref(name),
            "lock_oid": lease.tip(name),
            "generation": lease.record(name).generation,
        }
        for name in lease.names
    ]
    record = lease.record(lease.names[0])
    holder: Holder | None = record.holder
    return {
        **locks[0],
        "lease": lease.token,
        "holder": holder.to_json() if holder is not None else {},
        "priority": record.priority,
        "ttl_seconds": record.ttl_s,
        "acquired_at": instant(record.acquired_at or 0),
        "expires_at": instant(record.expires_at or 0),
        "usable_seconds": round(lease.left_s(), 1),
        "locks": locks,
    }


def report(run: Run, lease: Lease) -> None:
    """Print the lease."""
    value = {
        "acquired": True,
        "reused": lease.reused,
        **lease_json(run, lease),
        "waited_seconds": round(lease.waited_s, 3),
        "attempts": lease.attempts,
        "requests": run.session.remote.store.traffic.requests,
    }
    names = ", ".join(lease.names)
    run.out.data(lease.token)
    run.out.document(value)
    run.report_to_ci(f"Lock {names} acquired", value)
    how = "held already by this job" if lease.reused else f"acquired after {lease.waited_s:.1f} s"
    run.out.say(f"{names}: {how}, generation {lease.generation}, until {value['expires_at']}")
