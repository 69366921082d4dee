"""``renew`` and ``release``: extend or end what this job holds, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli import options
from gitref_lock.cli.command import Run, checked
from gitref_lock.cli.declare import Option
from gitref_lock.errors import GitrefLockError, HeldByAnotherError, LeaseLostError, NotHeldError

if TYPE_CHECKING:
    from gitref_lock.core.machine import LockState
    from gitref_lock.core.names import LockName
    from gitref_lock.runtime.lease import Lease


def renew(run: Run, names: options.Names = None, ttl: options.Ttl = None, lease: options.LeaseToken = None) -> None:
    """Extend the lease of this job."""
    from gitref_lock import config
    from gitref_lock.cli.acquire import lease_json
    from gitref_lock.runtime.possession import find_mine, stored_of

    asked = run.names(names)
    ttl_s = checked("--ttl", ttl, config.parse_ttl)
    session = run.session
    mine = find_mine(session, asked, run.token(lease, asked), run.holder(), run.deadline)
    _raise_first(mine.others, "renewed")
    for own in mine.leases:
        try:
            own.renew(run.deadline, ttl_s=ttl_s)
        except LeaseLostError:
            _forget(run, own)
            _raise_first(own.gone, "renewed")
            raise
        session.memory.write(stored_of(session, own))
    first = mine.leases[0]
    value = {"renewed": True, **lease_json(run, first), "requests": session.remote.store.traffic.requests}
    if len(mine.leases) > 1:
        value["locks"] = [lock for own in mine.leases for lock in _locks(run, own)]
    run.out.data(first.token)
    run.out.document(value)
    run.report_to_ci(f"Lock {', '.join(asked)} renewed", value)
    run.out.say(f"{', '.join(asked)}: renewed until {value['expires_at']}")


IfHeld = Annotated[
    bool,
    Option("--if-held", envvar="GITREF_LOCK_IF_HELD", help="Success when this job holds nothing."),
]


def release(run: Run, names: options.Names = None, lease: options.LeaseToken = None, if_held: IfHeld = False) -> None:
    """Free the lock or locks that this job holds; a lock that somebody else holds by now is left alone."""
    from gitref_lock.runtime.possession import find_mine, not_mine

    asked = run.names(names)
    session = run.session
    mine = find_mine(session, asked, run.token(lease, asked), run.holder(), run.deadline)
    released: dict[LockName, LockState] = {}
    errors: list[GitrefLockError] = []
    for own in mine.leases:
        error = own.release(run.deadline)
        released |= own.released
        if error is not None:
            errors.append(error)
        else:
            _forget(run, own)
        found = [not_mine(name, state, "released") for name, state in own.gone.items()]
        errors += [item for item in found if not (if_held and isinstance(item, NotHeldError))]
    if not if_held:
        errors += [not_mine(name, state, "released") for name, state in mine.others.items()]
    if released:
        run.out.say(f"{', '.join(released)}: released")
    if errors:
        raise _with_released(min(errors, key=_gravity), released)
    locks = [
        {"name": name, "lock_ref": session.remote.namespace.lock_ref(name), "lock_oid": state.tip}
        for name, state in released.items()
    ]
    value: dict[str, object] = {"released": bool(released), **(locks[0] if locks else {}), "locks": locks}
    value["requests"] = session.remote.store.traffic.requests
    run.out.document(value)
    run.report_to_ci(f"Lock {', '.join(asked)} {'released' if released else 'was not held'}", value)
    if not released:
        run.out.say(f"{', '.join(asked)}: nothing of this job's to release")
    for name, state in mine.others.items():
        _warn_of_held(run, name, state)


def _warn_of_held(run: Run, name: LockName, state: LockState | None) -> None:
    """Say that a lock stays held: a job that acquired it in another folder cannot end it from here."""
    from gitref_lock.core.record import LockRecord

    record = state.record if state is not None else None
    if not isinstance(record, LockRecord) or record.holder is None:
        return
    text = f"{name} stays held: this folder holds no lease on it"
    if run.ci.job and record.holder.id == run.holder().id:
        where = f", on {record.holder.host}" if record.holder.host else ""
        text += (
            f", but this CI job does ({record.holder.label}, {record.holder.id}{where}): "
            "release it in the folder that acquired it, or with --lease TOKEN"
        )
    run.out.warn(text)


def _forget(run: Run, lease: Lease) -> None:
    for name in {*lease.names, *lease.gone, *lease.released}:
        run.session.memory.forget(run.session.key, name, lease.token)


def _locks(run: Run, lease: Lease) -> list[object]:
    from gitref_lock.cli.acquire import lease_json

    locks = lease_json(run, lease)["locks"]
    assert isinstance(locks, list)
    return locks


def _raise_first(others: dict[LockName, LockState | None], what: str) -> None:
    from gitref_lock.runtime.possession import not_mine

    errors = [not_mine(name, state, what) for name, state in others.items()]
    if errors:
        raise min(errors, key=_gravity)


def _gravity(error: GitrefLockError) -> int:
    """Sort errors: an unknown outcome first, then a lock that is another's, then what is merely free."""
    return 2 if isinstance(error, NotHeldError) else 1 if isinstance(error, HeldByAnotherError) else 0


def _with_released(error: GitrefLockError, released: dict[LockName, LockState]) -> GitrefLockError:
    if released:
        error.fields = {**error.fields, "released": list(released)}
    return error
