"""``acquire --keep-alive``: the small process that renews between a job's steps, and how it is started."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli import options
from gitref_lock.cli.command import Run, checked
from gitref_lock.cli.declare import Option
from gitref_lock.errors import NotHeldError, UsageError

if TYPE_CHECKING:
    from gitref_lock.core.names import Nonce
    from gitref_lock.ports import Sleeper
    from gitref_lock.runtime.lease import Lease

_READY = b"ready\n"
_START_S = 20.0
_TRIES = 4
_PAUSE_S = 0.05
_NOT_INHERITED = ("GITREF_LOCK_TIMEOUT", "GITREF_LOCK_JSON", "GITREF_LOCK_QUIET", "GITREF_LOCK_TTL")

KeepAlive = Annotated[
    bool,
    Option(
        "--keep-alive", envvar="GITREF_LOCK_KEEP_ALIVE", help="Leave a small process that renews until the release."
    ),
]
MaxAge = Annotated[
    str | None,
    Option(
        "--keep-alive-for",
        envvar="GITREF_LOCK_KEEP_ALIVE_FOR",
        metavar="DURATION",
        help="The longest time to keep the lease alive; default: 6h.",
    ),
]
WatchedPid = Annotated[
    int | None,
    Option(
        "--keep-alive-pid",
        envvar="GITREF_LOCK_KEEP_ALIVE_PID",
        metavar="PID",
        help="The process whose end ends the job; 0: none. Default: the parent of the shell that runs this.",
    ),
]


def keep_alive(run: Run, names: options.Names = None, max_age: MaxAge = None, watched_pid: WatchedPid = None) -> None:
    """Renew this job's lease until it is released or the job is over."""
    from gitref_lock import config
    from gitref_lock.runtime import keepalive

    asked = run.names(names)
    token = run.token(None, asked)
    session = run.session
    files = {name: session.memory.read(session.key, name) for name in asked}
    own = {name: file for name, file in files.items() if file is not None and file.token == token}
    if len(own) != len(asked):
        raise NotHeldError(f"no lease on {', '.join(asked)} is stored here to be kept alive")
    log = log_file(run, next(iter(own.values())).token)
    if not _is_only_one(log, run.system.sleeper):
        _say_ready()
        run.out.say("another process keeps this lease alive already")
        return
    watched = keepalive.Process.find(watched_pid) if watched_pid else None
    max_age_s = checked("--keep-alive-for", max_age, config.parse_duration) or keepalive.DEFAULT_MAX_AGE_S
    keeper = keepalive.KeepAlive(session, own, run.holder(), watched, max_age_s, tell=run.out.say)
    run.out.say(f"keeping {', '.join(asked)} alive, process {os.getpid()}, for {max_age_s:g} s at most")
    _say_ready()
    ended = keeper.run()
    run.out.say(ended)
    if ended == keepalive.RELEASED:
        log.unlink(missing_ok=True)  # nothing went wrong that anybody could want to look up


def log_file(run: Run, token: Nonce) -> Path:
    """Return where the process of this lease writes what it does: beside the lease file."""
    folder = run.session.memory.folder
    if folder is None:
        raise UsageError("--keep-alive: there is no place here for the lease file that it needs")
    return folder / f"keep-alive-{token[:12]}.log"


def start(run: Run, lease: Lease, max_age: str | None, watched_pid: int | None) -> None:
    """Start the process that keeps ``lease`` alive; a warning tells when it does not come up."""
    import subprocess

    from gitref_lock import config
    from gitref_lock.runtime.keepalive import job_process

    checked("--keep-alive-for", max_age, config.parse_duration)
    log = log_file(run, lease.token)
    if watched_pid is None:
        job = job_process(os.getppid())
        watched_pid = job.pid if job is not None else 0
    environ = {name: value for name, value in run.environ.items() if name not in _NOT_INHERITED}
    environ |= {
        "GITREF_LOCK_NAME": " ".join(lease.names),
        "GITREF_LOCK_LEASE": lease.token,
        "GITREF_LOCK_AT": run.session.place,
        "GITREF_LOCK_DIRECTORY": str(run.around.folder.absolute()),
        "GITREF_LOCK_LOG_FORMAT": "json",
        "GITREF_LOCK_KEEP_ALIVE_PID": str(watched_pid),
    }
    # By the environment, since everybody on the machine can read an argument, and an address may hold a password.
    for variable, value in (
        ("GITREF_LOCK_REMOTE", run.settings.remote),
        ("GITREF_LOCK_REF_PREFIX", run.settings.ref_prefix),
        ("GITREF_LOCK_KEEP_ALIVE_FOR", max_age),
    ):
        if value is not None:
            environ[variable] = value
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gitref_lock", "keep-alive", *lease.names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environ,
            start_new_session=True,
        )
    assert process.stdout is not None
    if _came_up(process.stdout.fileno()):
        run.out.say(f"{', '.join(lease.names)}: kept alive by process {process.pid}, which writes to {log}")
    else:
        process.kill()
        run.out.warn(f"the lease is not kept alive: its process did not come up; see {log}")
    process.stdout.close()


def _came_up(pipe: int) -> bool:
    import select

    ready, _, _ = select.select([pipe], [], [], _START_S)
    return bool(ready) and os.read(pipe, len(_READY)) == _READY


def _say_ready() -> None:
    """Tell the starter that all is well, and hold its pipe open no longer."""
    os.write(1, _READY)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _is_only_one(log: Path, sleeper: Sleeper) -> bool:
    """Tell whether no other process keeps this lease alive; the lock on the log lasts as long as this process.

    It is tried several times: ``is_running`` of another command holds it for a moment.
    """
    import fcntl

    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sleeper.sleep(_PAUSE_S)
        else:
            return True
    os.close(descriptor)
    return False


def is_running(log: Path) -> bool | None:
    """Tell whether the process that writes to ``log`` still runs; None when there is no such log."""
    import fcntl

    try:
        with log.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
