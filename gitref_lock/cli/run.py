"""``run``: hold the lock or locks while a command runs, and be as little in its way as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NoReturn

from gitref_lock.cli import options
from gitref_lock.cli.acquire import Asked, liveness, warn_old_holders
from gitref_lock.cli.command import Run, checked
from gitref_lock.cli.declare import Argument, Option
from gitref_lock.cli.exits import Leave
from gitref_lock.core.lean import dataclass
from gitref_lock.core.text import instant
from gitref_lock.errors import Interrupted, LeaseLostError, UsageError

if TYPE_CHECKING:
    from gitref_lock.core.names import LockName
    from gitref_lock.runtime.acquire import AcquireRequest
    from gitref_lock.runtime.evidence import Inquest
    from gitref_lock.runtime.forwarding import SignalDesk
    from gitref_lock.runtime.lease import Lease
    from gitref_lock.runtime.supervise import Ending
    from gitref_lock.runtime.swapper import LockMove

DEFAULT_TTL_S = 300.0

RunName = Annotated[
    list[str] | None,
    Argument(metavar="[NAME] -- COMMAND...", help="The lock; default: the branch.", show_default=False),
]
Locks = Annotated[list[str] | None, Option("--lock", "-l", metavar="NAME", help="A lock; repeat for several.")]
Shell = Annotated[
    str | None, Option("--command", "-c", metavar="STRING", help="Run STRING by /bin/sh instead of COMMAND.")
]
KillAfter = Annotated[
    str | None,
    Option(
        "--kill-after",
        envvar="GITREF_LOCK_KILL_AFTER",
        metavar="DURATION",
        help="From SIGTERM to SIGKILL when the lease is lost; default: min(5s, ttl/5).",
    ),
]


def run_command(
    run: Run,
    name: RunName = None,
    lock: Locks = None,
    shell: Shell = None,
    wait: options.Wait = None,
    nonblock: options.Nonblock = False,
    ttl: options.Ttl = None,
    kill_after: KillAfter = None,
    priority: options.Priority = None,
    workflow: options.Workflow = None,
    holder: options.HolderId = None,
    reason: options.Reason = "",
    conflict_exit_code: options.ConflictExitCode = None,
    preempt: options.Preempt = False,
    cancel_older: options.CancelOlder = None,
    check_liveness: options.CheckLiveness = False,
) -> None:
    """Hold the lock while COMMAND runs; renew it meanwhile, release it at the end, exit as COMMAND does."""
    from gitref_lock import config
    from gitref_lock.core.timing import LeaseTiming
    from gitref_lock.runtime.forwarding import SignalDesk

    words = _words(run.program, shell)
    names = [*(name or ()), *(lock or ())]
    asked = Asked(wait, nonblock, ttl, priority, workflow, holder, reason, conflict_exit_code, preempt, cancel_older)
    request = asked.request(run, names, DEFAULT_TTL_S)
    kill_after_s = checked("--kill-after", kill_after, config.parse_duration)
    if kill_after_s is not None:
        request = replace(request, timing=LeaseTiming.for_ttl(request.timing.ttl_s, kill_after_s=kill_after_s))
    outer = Outer.of(run.environ)
    if outer.holds(run, request.names):
        _become(run, words)
    with SignalDesk(run.system.clock) as signals:
        inquest = liveness(run, is_wanted=check_liveness)
        ending = _under_lease(run, request, words, outer, signals, inquest)
    raise Leave(_report(run, request.names, ending))


def _words(words: list[str] | None, shell: str | None) -> list[str]:
    if shell is not None:
        if words:
            raise UsageError("-c and a command behind -- exclude each other")
        return ["/bin/sh", "-c", shell]
    if not words:
        raise UsageError("no command is given", hint="gitref-lock run NAME -- COMMAND, or -c STRING for a shell")
    return words


@dataclass(frozen=True, slots=True)
class Outer:
    """The leases of enclosing ``run`` commands, as the environment tells: (lock, token), innermost first."""

    leases: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Outer:
        """Read what an enclosing ``run`` exported."""
        if environ.get("GITREF_LOCK_HELD") != "1":
            return cls()
        token = environ.get("GITREF_LOCK_LEASE", "")
        own = [(name, token) for name in environ.get("GITREF_LOCK_NAME", "").split()]
        pairs = [item.partition(":") for item in environ.get("GITREF_LOCK_OUTER", "").split()]
        return cls((*own, *((name, former) for name, _, former in pairs)))

    def holds(self, run: Run, names: Sequence[LockName]) -> bool:
        """Tell whether enclosing leases hold all of ``names``; the locks' own records have the last word.

        Raises UsageError when they hold only some: to wait for more while holding some is how deadlocks are made.
        """
        from gitref_lock.core.machine import Stance
        from gitref_lock.core.names import Nonce, is_nonce

        claimed: dict[LockName, Nonce] = {}
        for name in names:
            token = next((token for lock, token in self.leases if lock == name and is_nonce(token)), None)
            if token is not None:
                claimed[name] = Nonce(token)
        if not claimed:
            return False
        remote = run.session.remote
        picture = remote.look(list(claimed), run.deadline, with_queue=False)
        held = [
            name for name, token in claimed.items() if remote.stance(name, picture.locks[name], token) is Stance.MINE
        ]
        if held and len(held) < len(names):
            raise UsageError(
                f"the enclosing run holds {', '.join(held)}, and several locks are taken together or not at all",
                hint="name all locks in the outer run: run -l A -l B -- COMMAND",
            )
        return bool(held)

    def to_environment(self) -> str:
        """Return the text for ``GITREF_LOCK_OUTER``."""
        return " ".join(f"{name}:{token}" for name, token in self.leases)


def _become(run: Run, words: Sequence[str]) -> NoReturn:
    """Run the command in our place: the enclosing run guards it."""
    from gitref_lock.runtime.command import execute, exit_code

    run.out.detail("an enclosing run holds the lock already")
    run.out.end_live()
    run.close()
    try:
        execute(words, run.environ)
    except OSError as error:
        run.out.error(f"{words[0]}: {error.strerror}")
        raise Leave(exit_code(error)) from None


def _under_lease(
    run: Run,
    request: AcquireRequest,
    words: Sequence[str],
    outer: Outer,
    signals: SignalDesk,
    inquest: Inquest,
) -> Ending:
    """Acquire, run the command, release."""
    from gitref_lock.cli.waiting import WaitDisplay
    from gitref_lock.remotes import open_store
    from gitref_lock.runtime.acquire import Acquirer
    from gitref_lock.runtime.remote import Remote
    from gitref_lock.runtime.supervise import Supervisor

    session = run.session
    moves: dict[LockName, LockMove] = {}
    acquirer = Acquirer(
        session.remote,
        request,
        run.deadline,
        listener=WaitDisplay(run.out, run.system.clock),
        planned=lambda _token, planned: moves.update(planned),
        inquest=inquest,
    )
    try:
        try:
            lease = acquirer.run()
        finally:
            session.remember(request.names)
        warn_old_holders(run, moves)
        run.out.detail(
            f"{', '.join(lease.names)}: acquired after {lease.waited_s:.1f} s, generation {lease.generation}"
        )
        run.out.end_live()
        second = Remote(open_store(session.spec, run.system), run.system, session.remote.namespace)
        supervisor = Supervisor(lease, second, words, _environment(run, lease, outer), signals)
    except (Exception, Interrupted) as error:
        acquirer.give_back(error)
        raise
    run.out.documents += 1  # standard output is the command's from here on
    return supervisor.run()


def _environment(run: Run, lease: Lease, outer: Outer) -> dict[str, str]:
    """Return the command's environment: ours, and what it may know of the lease."""
    namespace = run.session.remote.namespace
    record = lease.record(lease.names[0])
    environ = dict(run.environ)
    environ |= {
        "GITREF_LOCK_HELD": "1",
        "GITREF_LOCK_NAME": " ".join(lease.names),
        "GITREF_LOCK_REF": " ".join(namespace.lock_ref(name) for name in lease.names),
        "GITREF_LOCK_OID": " ".join(lease.tip(name) for name in lease.names),
        "GITREF_LOCK_GENERATION": " ".join(str(lease.record(name).generation) for name in lease.names),
        "GITREF_LOCK_EXPIRES_AT": instant(record.expires_at or 0),
        "GITREF_LOCK_LEASE": lease.token,
        "GITREF_LOCK_AT": run.session.place,
    }
    environ.pop("GITREF_LOCK_OUTER", None)
    if outer.leases:
        environ["GITREF_LOCK_OUTER"] = outer.to_environment()
    return environ


def _report(run: Run, names: Sequence[LockName], ending: Ending) -> int:
    """Tell what did not go well, and return the exit code."""
    what = ", ".join(names)
    if ending.unreleased is not None:
        run.out.warn(f"{what}: the lease could not be released ({ending.unreleased.message}); it expires by itself")
    if ending.unstarted is not None:
        run.out.error(f"{ending.unstarted.filename or 'the command cannot be started'}: {ending.unstarted.strerror}")
    if ending.lost is not None:
        raise LeaseLostError(
            f"{what}: the lease was lost while the command ran, which was ended (its exit code: {ending.code}): "
            f"{ending.lost}",
            hint=f"gitref-lock history {names[0]}",
            fields={"locks": list(names), "command_exit": ending.code},
        )
    return ending.code
