"""What every command has in common: its shared options, and the run that they configure.

A command is a plain function of a Run and its own options; the shared ones are added to its signature here, once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gitref_lock.cli import options, safe
from gitref_lock.cli.output import Output
from gitref_lock.core.lean import dataclass
from gitref_lock.errors import UsageError
from gitref_lock.system import real_system

if TYPE_CHECKING:
    from gitref_lock.ci import CiContext
    from gitref_lock.config import Settings
    from gitref_lock.core.names import LockName, Nonce
    from gitref_lock.core.record import Holder
    from gitref_lock.errors import ConfigurationError
    from gitref_lock.ports import System
    from gitref_lock.runtime.deadline import Deadline
    from gitref_lock.runtime.session import Session, Surroundings

T = TypeVar("T")
R = TypeVar("R")


def shared(
    remote: options.RemoteName = None,
    directory: options.Directory = None,
    ref_prefix: options.RefPrefix = None,
    as_json: options.AsJson = False,
    timeout: options.Timeout = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_format: options.LogFormat = None,
) -> None:
    """Carry the shared options' declarations; never called."""


SHARED = shared.__code__.co_varnames[: shared.__code__.co_argcount]
"""The names of the shared options' parameters."""


@dataclass(slots=True)
class Run:
    """One command on its way. ``begin`` fills it from the shared options before the command's body runs.

    ``conflict_exit_code`` replaces 4 when set. ``program`` are the words behind ``--`` where they are another program's
    (None: there is no ``--``). ``has_landed`` tells that the change is in the branch: nothing that fails from then on
    makes the command a failure. ``session`` is opened on first use and closed by the entry point.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    system: System = field(default_factory=real_system)
    out: Output = field(init=False)
    conflict_exit_code: int | None = None
    timeout_s: float | None = None
    program: list[str] | None = None
    forgives_settings: bool = False
    settings_fault: ConfigurationError | None = None
    has_landed: bool = False
    _deadline: Deadline | None = None
    _settings: Settings | None = None
    _around: Surroundings | None = None
    _ci: CiContext | None = None
    _session: Session | None = None

    def __post_init__(self) -> None:
        """Make an output that works before the options are known."""
        self.out = Output(self.system.clock, secrets=safe.secrets_of(self.environ))
        self.out.colour = sys.stderr.isatty() and not self.environ.get("NO_COLOR")

    def begin(
        self,
        remote: str | None,
        directory: Path | None,
        ref_prefix: str | None,
        as_json: bool,
        timeout: str | None,
        quiet: bool,
        verbose: int,
        log_format: str | None,
    ) -> None:
        """Read the shared options, the surroundings and the settings, in that order."""
        from gitref_lock import config
        from gitref_lock.runtime.deadline import Deadline
        from gitref_lock.runtime.session import Surroundings

        out = self.out
        out.as_json, out.quiet, out.verbosity = as_json, quiet, verbose
        out.log_format = checked("--log-format", log_format, config.one_of(*config.LOG_FORMATS)) or "text"
        self._deadline = Deadline.after(self.system, checked("--timeout", timeout, config.parse_duration))
        self._around = Surroundings.of(directory or Path(), self.environ)
        found = self._load()
        if found.log_format is not None and log_format is None:
            out.log_format = found.log_format
        if timeout is None and found.timeout_s is not None:
            self._deadline = Deadline.after(self.system, found.timeout_s)
        self._settings = found.with_flags(
            remote=remote,
            ref_prefix=checked("--ref-prefix", ref_prefix, config.parse_prefix),
            timeout_s=checked("--timeout", timeout, config.parse_duration),
        )
        self.timeout_s = self._settings.timeout_s

    def _load(self) -> Settings:
        from gitref_lock import config
        from gitref_lock.errors import ConfigurationError

        try:
            return config.load(self.around.folder, self.around.top)
        except ConfigurationError as error:
            if not self.forgives_settings:
                raise
            self.settings_fault = error
            return config.Settings()

    @property
    def deadline(self) -> Deadline:
        """When the whole command must be over."""
        assert self._deadline is not None
        return self._deadline

    @property
    def is_over_time(self) -> bool:
        """Whether ``--timeout`` is over."""
        return self._deadline is not None and self._deadline.is_over

    @property
    def settings(self) -> Settings:
        """Flags, environment and file in one."""
        assert self._settings is not None
        return self._settings

    @property
    def around(self) -> Surroundings:
        """Folder, repository and git's configuration."""
        assert self._around is not None
        return self._around

    @property
    def ci(self) -> CiContext:
        """What the CI's variables say."""
        if self._ci is None:
            from gitref_lock.ci import detect

            self._ci = detect(self.environ)
        return self._ci

    @property
    def session(self) -> Session:
        """The remote, opened on first use."""
        if self._session is None:
            from gitref_lock.runtime.session import open_session

            self._session = open_session(
                self.around,
                self.system,
                remote=self.settings.remote,
                ref_prefix=self.settings.ref_prefix,
                job=self.ci.job,
                temp_dir=self.ci.temp_dir,
            )
        return self._session

    @property
    def display_url(self) -> str:
        """The remote's address for people; 'the remote' before it is opened."""
        return self._session.remote.store.display_url if self._session is not None else "the remote"

    def names(self, given: Sequence[str] | None) -> tuple[LockName, ...]:
        """Return the locks that are meant, without repetition: the given ones, else the branch's."""
        from gitref_lock.core.names import lock_name

        names = tuple(dict.fromkeys(lock_name(text) for text in given or ()))
        if names:
            return names
        branch = self.default_branch()
        if branch is None:
            raise UsageError(
                "no lock is named, and there is no branch to name one: none is checked out here",
                hint="name the lock as an argument",
            )
        return (lock_name(branch),)

    def default_branch(self) -> str | None:
        """Return the checked-out branch, else what the CI's variables say."""
        return self.around.branch or self.ci.branch

    def holder(self, holder: str | None = None, workflow: str | None = None) -> Holder:
        """Return who this run is, for people."""
        import socket

        from gitref_lock.ci import holder_of

        user = self.environ.get("USER") or self.environ.get("LOGNAME") or _user_name()
        return holder_of(
            self.ci,
            user=user,
            host=socket.gethostname(),
            pid=os.getpid(),
            wished=holder or self.settings.holder or "",
            workflow=workflow or self.settings.workflow or "",
        )

    def try_again_for(self, workflow: str) -> None:
        """Let failed requests be repeated as the workflow's rule says, else as the file does, else as usual."""
        rule = self.settings.rule_for(workflow)
        pattern = rule.retry if rule.retry is not None else self.settings.retry
        if pattern == type(pattern)():
            return
        from gitref_lock.runtime.retry import PATIENCE_S, Backoff

        budget_s = pattern.budget_s if pattern.budget_s is not None else PATIENCE_S
        backoff = Backoff(pattern.base_s, pattern.factor, pattern.cap_s, pattern.jitter, budget_s)
        self.session.remote.backoff = backoff

    def token(self, given: str | None, names: Sequence[LockName]) -> Nonce | None:
        """Return the lease token that was given: the option's, else the environment's where it is for these locks.

        What an enclosing ``run`` exports does not stand in for a lease file of another remote.
        """
        from gitref_lock.core.names import Nonce, is_nonce

        if given is not None:
            if not is_nonce(given):
                raise UsageError("--lease: must be the 24 hex digits that 'acquire' printed")
            return Nonce(given)
        held, lease = self.environ.get("GITREF_LOCK_NAME", "").split(), self.environ.get("GITREF_LOCK_LEASE", "")
        if not is_nonce(lease) or not held or not set(names) <= set(held):
            return None
        return Nonce(lease) if self.is_at_home or not self._has_file(names) else None

    def _has_file(self, names: Sequence[LockName]) -> bool:
        from gitref_lock.runtime.possession import stored_leases

        return bool(stored_leases(self.session, names, None))

    @property
    def is_at_home(self) -> bool:
        """Whether the remote is the one whose lease an enclosing ``run`` exports; where that is not said, it is."""
        return self.environ.get("GITREF_LOCK_AT", "") in {"", self.session.place}

    def report_to_ci(self, title: str, values: Mapping[str, object]) -> None:
        """Hand scalars and a table to the CI's later steps, where the CI takes them."""
        if self.environ.get("GITHUB_OUTPUT") or self.environ.get("GITHUB_STEP_SUMMARY"):
            from gitref_lock.cli import github

            github.set_outputs(self.out, self.environ, values, f"gitref-lock-{self.system.entropy.nonce()}")
            github.add_summary(self.out, self.environ, title, values)

    def close(self) -> None:
        """Show what it cost, if asked, and end connections."""
        if self._session is None:
            return
        traffic = self._session.remote.store.traffic
        self.out.detail(
            f"{traffic.requests} requests ({traffic.reads} reads, {traffic.writes} writes, {traffic.retries} retries), "
            f"{traffic.bytes_sent} bytes sent, {traffic.bytes_received} received, {traffic.connections} connections"
        )
        self._session.close()


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def checked(option: str, value: T | None, reader: Callable[[T], R]) -> R | None:
    """Return an option's value as read; raise UsageError that names the option and what is allowed."""
    from gitref_lock.config import SettingError

    if value is None:
        return None
    try:
        return reader(value)
    except SettingError as error:
        raise UsageError(
            f"{option}: {str(value)[:60]!r} is not allowed; it must be {error}",
            fields={"option": option, "allowed": str(error)},
        ) from None


def wished_wait(wait: str | None, *, nonblock: bool) -> float | None:
    """Return how many seconds the options say to wait, None where they say nothing; raise UsageError for both."""
    from gitref_lock.config import parse_duration

    if nonblock and wait is not None:
        raise UsageError("--nonblock and --wait exclude each other")
    return 0.0 if nonblock else checked("--wait", wait, parse_duration)


def perform(run: Run, body: Callable[..., None], values: dict[str, Any]) -> None:
    """Begin ``run`` with the shared options among ``values``; let ``body``, a command, do its work with the rest."""
    run.begin(**{name: values.pop(name) for name in SHARED})
    body(run, **values)
