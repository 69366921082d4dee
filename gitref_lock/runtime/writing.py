"""Making the next state of a lock: the machine's step with this remote's time and this process's randomness.

Every plan built here brings its own kill: the swap that, from the same expectation, makes a late copy harmless
(docs/protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState, NextState, Stance, Write, step
from gitref_lock.core.names import LockName, Nonce
from gitref_lock.core.record import Event, Holder, ServerInfo
from gitref_lock.core.refs import Applied, Breached
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import TOOL, Remote
from gitref_lock.runtime.swapper import LockMove, Plan, Swapper, plan_for_locks

_KILLED_BY = {
    Stance.ABSENT: Event.CREATE,
    Stance.FREE: Event.ABANDON,
    Stance.MINE: Event.ABANDON,
    Stance.MINE_LATE: Event.ABANDON,
    Stance.EXPIRED: Event.REAP,
}


@dataclass(frozen=True, slots=True)
class Found:
    """A lock as it was read, and what it is to us."""

    name: LockName
    state: LockState | None
    stance: Stance


def write(remote: Remote, holder: Holder, *, nonce: Nonce | None = None, ttl_s: float = 0.0) -> Write:
    """Return the writer's part of a transition made now; with a ttl it carries the end of the lease."""
    instants = remote.instants()
    return Write(
        nonce=nonce or remote.system.entropy.nonce(),
        now_at=instants.now_at,
        clock=instants.source,
        holder=holder,
        tool=TOOL,
        expires_at=instants.expires_at(ttl_s) if ttl_s else None,
        ttl_s=ttl_s,
        server=remote.probed,
        skips_ci=remote.skips_ci,
    )


def next_state(found: Found, event: Event, what: Write) -> NextState:
    """Return the state that ``event`` makes of a lock as found."""
    return step(found.name, found.state, found.stance, event, what)


def move(found: Found, event: Event, what: Write) -> LockMove:
    """Return one lock's part of a swap."""
    return LockMove(found.name, found.state, next_state(found, event, what))


def killer(remote: Remote, found: Found, holder: Holder) -> Callable[[], Plan] | None:
    """Return what builds the kill of a swap that expects ``found``; None where only its holder may move the lock."""
    event = _KILLED_BY.get(found.stance)
    if event is None:
        return None

    def build() -> Plan:
        return plan_for_locks(remote, [move(found, event, write(remote, holder))])

    return build


def created(remote: Remote, name: LockName, holder: Holder, server: ServerInfo) -> LockMove:
    """Return the creation of a free lock, which records what the server is known to be."""
    what = replace(write(remote, holder), server=server)
    return move(Found(name, None, Stance.ABSENT), Event.CREATE, what)


def correct_history(remote: Remote, name: LockName, holder: Holder, breach: Breached, deadline: Deadline) -> bool:
    """Add a line to the lock's history that says which part of a swap the server applied; tell whether it was added.

    The lock then claims a landing that is not there, or misses one that is; whoever reads the history must see that.
    """
    try:
        state = remote.look([name], deadline, with_queue=False).locks[name]
    except RemoteError:
        return False
    if state is None or remote.stance(name, state) is not Stance.FREE:
        return False
    what = replace(write(remote, holder), reason=f"the server moved {', '.join(breach.applied)} only")
    plan = plan_for_locks(remote, [move(Found(name, state, Stance.FREE), Event.BREACH, what)])
    return isinstance(Swapper(remote).carry(plan, deadline), Applied)
