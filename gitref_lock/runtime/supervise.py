"""``run``: a command that lives at most as long as its lease, and a lease that lives at most as long as its command.

A thread with a store of its own renews; a watchdog process ends the command at the lease's end whatever becomes of this
process; the release goes through another store, so that a stalled renewal never delays it. A renewal that is still
under way then can only be refused, or is adopted and released (docs/protocol.md, sections 3 and 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from threading import RLock

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState
from gitref_lock.core.record import Event, LockRecord, State
from gitref_lock.errors import GitrefLockError, LeaseLostError
from gitref_lock.ports import Clock, RemoteError
from gitref_lock.runtime.command import (
    NOT_EXECUTABLE,
    Command,
    Terminal,
    adopt_orphans,
    exit_code,
    hold_back,
)
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import remote_failure
from gitref_lock.runtime.forwarding import SignalDesk
from gitref_lock.runtime.lease import Lease, describe
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.renewing import Renewer
from gitref_lock.runtime.watchdog import Watchdog, start_watchdog

RELEASE_PATIENCE_S = 15.0
RELEASE_TRY_S = 5.0
HURRIED_RELEASE_S = 2.0
_LOST_RELEASE_S = 2.0
_RENEWER_STOP_S = 0.2
_POLL_S = 0.5
_GROUP_POLL_S = 0.05
_AFTER_KILL_S = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended. ``code`` is the command's own exit code (128+n for a signal, 126 and 127 where it never began).

    ``unstarted`` is why it never began, ``lost`` why the lease ended while the command needed it, ``unreleased`` why
    the lease could not be released; each None when all is well.
    """

    code: int
    unstarted: OSError | None = None
    lost: str | None = None
    unreleased: GitrefLockError | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs ``arguments`` under ``lease``, which it renews through ``renewing_remote`` and releases at the end.

    ``signals`` must have been entered. No other thread may exist when ``run`` is called.
    """

    lease: Lease
    renewing_remote: Remote
    arguments: Sequence[str]
    environ: Mapping[str, str]
    signals: SignalDesk
    renewing: Lease = field(init=False)
    _renewer: Renewer = field(init=False)
    _watchdog: Watchdog | None = None
    _terminal: Terminal = field(init=False)

    def __post_init__(self) -> None:
        """Make the renewing thread's own view of the lease."""
        first = next(iter(self.lease.states.values()))
        self.renewing_remote.recall(first, self.lease.remote.clock)
        self.renewing = replace(self.lease, remote=self.renewing_remote, states=dict(self.lease.states), queue=RLock())
        self._renewer = Renewer(self.renewing, renewed=self._tell_watchdog, lost=lambda _why: self.signals.wake())
        self._terminal = Terminal.here()

    def run(self) -> Ending:
        """Run the command to its end and release the lease; never raises for what the command or the remote does.

        What else goes wrong before the command begins is raised, after the release.
        """
        adopt_orphans()
        command: Command | None = None
        try:
            with self.signals.held_up() as mask:
                command = hold_back(self.arguments, self.environ, mask)
                self._watchdog = start_watchdog(self._clock, command.pid, self._until_s, self._kill_after_s)
                self._renewer.start()
                self.signals.forward_to(command.pid)
        except Exception as error:
            if self._watchdog is not None:
                self._watchdog.dismiss()
            if command is not None:
                command.cancel()
            if isinstance(error, OSError):
                return self._finish(Ending(exit_code(error), unstarted=error))
            failure = self._finish(Ending(NOT_EXECUTABLE)).unreleased
            if failure is not None:
                error.add_note(f"the lease could not be released ({failure.message}); it expires by itself")
            raise
        self._terminal.lend(command.pid)
        unstarted = command.go()
        try:
            self._wait_for(command)
            if self._is_lost():
                self._end(command)
        finally:
            self._watchdog.dismiss()
            self._terminal.take_back()
        code = command.status if command.status is not None else 128 + 9
        return self._finish(Ending(code, unstarted=unstarted, lost=self.renewing.lost))

    @property
    def _clock(self) -> Clock:
        return self.lease.remote.system.clock

    @property
    def _until_s(self) -> float:
        return self.renewing.sent.boottime_s + self.renewing.timing.usable_s

    @property
    def _kill_after_s(self) -> float:
        return self.renewing.timing.kill_after_s

    def _tell_watchdog(self, _: Lease) -> None:
        if self._watchdog is not None:
            self._watchdog.until(self._until_s)

    def _is_lost(self) -> bool:
        try:
            self.renewing.check()
        except LeaseLostError:
            return True
        return False

    def _wait_for(self, command: Command) -> None:
        """Return when the command has ended or its lease is lost."""
        while True:
            command.reap()
            if command.status is not None or self._is_lost():
                return
            if command.is_stopped:
                self._terminal.stop_with(command)
                continue
            # Short, because no timeout counts the time that the machine sleeps.
            self.signals.pause(min(self.renewing.left_s(), _POLL_S))

    def _end(self, command: Command) -> None:
        """End what is left of the command's group: by the watchdog if there is one, else from here.

        One process sends SIGTERM, so that the command gets it once.
        """
        assert self._watchdog is not None
        if not self._watchdog.until(min(self._clock.boottime(), self._until_s)):
            command.terminate()
        now_s = self._clock.boottime()
        kill_at_s = now_s + self._kill_after_s + _GROUP_POLL_S * 4
        while command.exists() and self._clock.boottime() < kill_at_s:
            self.signals.pause(_GROUP_POLL_S)
        give_up_s = self._clock.boottime() + _AFTER_KILL_S
        while command.kill() and self._clock.boottime() < give_up_s:
            self.signals.pause(_GROUP_POLL_S)

    def _finish(self, ending: Ending) -> Ending:
        """Release what of the lease is still ours."""
        self.signals.release_begins()
        self._renewer.stop(_RENEWER_STOP_S)
        now = self.renewing
        states = {name: state for name, state in now.states.items() if name not in now.gone}
        last = replace(now, remote=self.lease.remote, states=states, gone={}, queue=RLock())
        failure = self._release(last, ending)
        self.lease.lose("it was released")
        stolen = [f"{name} is {describe(state)}" for name, state in last.gone.items() if not _is_released(last, state)]
        lost = ending.lost or ("; ".join(stolen) if stolen else None)
        return replace(ending, lost=lost, unreleased=failure)

    def _release(self, last: Lease, ending: Ending) -> GitrefLockError | None:
        """Try to release for a while; for a short one only where a signal has come or the lease is lost anyway."""
        system = last.remote.system
        patience = Deadline.after(system, RELEASE_PATIENCE_S)
        while True:
            budget_s = RELEASE_TRY_S
            if ending.lost is not None or self.signals.received:
                budget_s = min(HURRIED_RELEASE_S, _LOST_RELEASE_S)
            limit = Deadline.after(system, budget_s)
            try:
                failure = last.release(limit)
            except RemoteError as error:
                failure = remote_failure(error, last.remote.store.display_url)
            if failure is None or patience.is_over or ending.lost is not None or self.signals.received:
                return failure


def _is_released(lease: Lease, state: LockState | None) -> bool:
    """Tell whether this state comes from our own release: an earlier try whose answer was lost, or the command's."""
    record = state.record if state is not None else None
    if not isinstance(record, LockRecord) or state is None:
        return False
    held = [line for line in state.ring.lines if line.nonce == lease.token]
    return (
        record.state is State.FREE
        and record.event in {Event.RELEASE, Event.ABANDON}
        and bool(held)
        and held[-1].generation == record.generation
    )
