"""``break``: an operator frees a lock that somebody holds, and learns until when the holder may still run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli import options
from gitref_lock.cli.command import Run
from gitref_lock.cli.declare import Option
from gitref_lock.cli.words import duration
from gitref_lock.core.text import instant
from gitref_lock.errors import NotAcquiredError, UsageError

if TYPE_CHECKING:
    from gitref_lock.core.machine import LockState
    from gitref_lock.core.names import LockName

Expect = Annotated[
    str | None,
    Option(
        "--expect", envvar="GITREF_LOCK_EXPECT", metavar="OID|GENERATION", help="Break only this state of the lock."
    ),
]
Force = Annotated[bool, Option("--force", "-f", help="Do not ask.")]


def break_lock(
    run: Run, name: options.Name = None, expect: Expect = None, reason: options.Reason = "", force: Force = False
) -> None:
    """Free a lock that somebody holds. Exactly the state that was seen is broken, or nothing."""
    from gitref_lock.runtime import operator

    (lock,) = run.names([name] if name is not None else None)
    remote = run.session.remote
    found = remote.look([lock], run.deadline, with_queue=False).locks[lock]
    run.session.remember()
    seen = operator.require_expected(lock, found, expect)
    if not force:
        _ask(run, lock, seen, has_expectation=expect is not None)
    free = operator.break_lock(remote, lock, seen, run.holder(), reason, run.deadline)
    until, left_s = _may_run_until(run, seen)
    value: dict[str, object] = {
        "broken": True,
        "name": lock,
        "lock_ref": remote.namespace.lock_ref(lock),
        "lock_oid": free.tip,
        "generation": getattr(free.record, "generation", None),
        "broken_oid": seen.tip,
        "old_holder": _holder_json(seen),
        "old_holder_may_run_until": until,
    }
    run.out.document(value)
    run.report_to_ci(f"Lock {lock} broken", value)
    run.out.say(f"{lock}: broken; it was {_whose(seen)}")
    rest = (
        f"for another {duration(left_s)} at most" if until is None else f"until {until} ({duration(left_s)} from now)"
    )
    run.out.warn(f"the old holder may go on {rest}, unless it renews before and learns of it")


def _ask(run: Run, lock: LockName, seen: LockState, *, has_expectation: bool) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if has_expectation:
            return
        raise UsageError(
            f"{lock} is {_whose(seen)}; there is no terminal to ask on",
            hint=f"gitref-lock break {lock} --expect {seen.tip} --reason WHY, or --force",
        )
    sys.stderr.write(run.out.clean(f"{lock} is {_whose(seen)}. Break it? Only 'yes' does: "))
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise NotAcquiredError(f"{lock} was not broken", code="declined")


def _whose(seen: LockState) -> str:
    from gitref_lock.runtime.lease import describe

    return describe(seen)


def _holder_json(seen: LockState) -> object:
    holder = getattr(seen.record, "holder", None)
    return holder.to_json() if holder is not None else None


def _may_run_until(run: Run, seen: LockState) -> tuple[str | None, float]:
    """Return the instant at which the old lease ends by its own record, and the seconds until then by our clocks."""
    from gitref_lock.core.expiry import ttl_of

    expires_at = getattr(seen.record, "expires_at", None)
    if expires_at is None:
        return None, ttl_of(seen.record)
    left_s = min(ttl_of(seen.record), max(0.0, expires_at - run.session.remote.instants().now_at))
    return instant(expires_at), left_s
