"""The options that commands share: each with its environment variable, none with a parser of its own.

Durations stay text until the settings are read, so that a wrong one is one kind of error wherever it comes from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from gitref_lock.cli.declare import Argument, Option

Names = Annotated[
    list[str] | None, Argument(metavar="[NAME]...", help="The locks; default: the branch.", show_default=False)
]
SomeNames = Annotated[
    list[str] | None, Argument(metavar="[NAME]...", help="The locks; default: all.", show_default=False)
]
Name = Annotated[str | None, Argument(metavar="[NAME]", help="The lock; default: the branch.", show_default=False)]

RemoteName = Annotated[
    str | None,
    Option(
        "--remote",
        "-r",
        envvar="GITREF_LOCK_REMOTE",
        metavar="NAME|URL|PATH",
        help="The remote; default: the branch's upstream, else origin.",
    ),
]
Directory = Annotated[
    Path | None, Option("-C", envvar="GITREF_LOCK_DIRECTORY", metavar="DIR", help="Run as if started in DIR.")
]
RefPrefix = Annotated[
    str | None,
    Option(
        "--ref-prefix", envvar="GITREF_LOCK_REF_PREFIX", metavar="PREFIX", help="Where locks live; default: refs/locks."
    ),
]
AsJson = Annotated[bool, Option("--json", "-j", envvar="GITREF_LOCK_JSON", help="Print one JSON document on stdout.")]
Timeout = Annotated[
    str | None,
    Option("--timeout", envvar="GITREF_LOCK_TIMEOUT", metavar="DURATION", help="Limit of the whole command."),
]
Quiet = Annotated[bool, Option("--quiet", "-q", envvar="GITREF_LOCK_QUIET", help="Only warnings and errors.")]
Verbose = Annotated[
    int,
    Option("--verbose", "-v", count=True, envvar="GITREF_LOCK_VERBOSE", help="Show traffic; tracebacks of faults."),
]
LogFormat = Annotated[
    str | None,
    Option("--log-format", envvar="GITREF_LOCK_LOG_FORMAT", metavar="text|json", help="Form of messages on stderr."),
]

Ttl = Annotated[
    str | None,
    Option("--ttl", envvar="GITREF_LOCK_TTL", metavar="DURATION", help="Length of the lease, 5s to 24h."),
]
Wait = Annotated[
    str | None,
    Option(
        "--wait", "-w", envvar="GITREF_LOCK_WAIT", metavar="DURATION", help="How long to wait; default: 30m or more."
    ),
]
Nonblock = Annotated[
    bool, Option("--nonblock", "-n", envvar="GITREF_LOCK_NONBLOCK", help="Do not wait; the same as --wait 0.")
]
Priority = Annotated[
    int | None,
    Option("--priority", envvar="GITREF_LOCK_PRIORITY", metavar="N", help="Higher is served earlier; -1000 to 1000."),
]
Workflow = Annotated[
    str | None,
    Option("--workflow", envvar="GITREF_LOCK_WORKFLOW", metavar="NAME", help="Default: what the CI's variables say."),
]
HolderId = Annotated[
    str | None, Option("--holder", envvar="GITREF_LOCK_HOLDER", metavar="ID", help="Who holds, for people.")
]
Reason = Annotated[str, Option("--reason", envvar="GITREF_LOCK_REASON", metavar="TEXT", help="Why, for people.")]
ConflictExitCode = Annotated[
    int | None,
    Option(
        "--conflict-exit-code",
        "-E",
        envvar="GITREF_LOCK_CONFLICT_EXIT_CODE",
        metavar="N",
        help="Exit code when the lock is not acquired; default: 4.",
    ),
]
Preempt = Annotated[bool, Option("--preempt", help="Break another's lease and take the lock, at once.")]
CancelOlder = Annotated[
    bool | None,
    Option(
        "--cancel-older/--no-cancel-older",
        envvar="GITREF_LOCK_CANCEL_OLDER",
        help="End older waits of the same workflow for the same locks.",
    ),
]
CheckLiveness = Annotated[
    bool,
    Option(
        "--check-liveness",
        envvar="GITREF_LOCK_CHECK_LIVENESS",
        help="Ask the CI's API whether the holder's run has ended, and if so take over early. Needs a token.",
    ),
]
LeaseToken = Annotated[
    str | None,
    Option("--lease", metavar="TOKEN", help="The lease; default: the one that this job acquired."),
]
