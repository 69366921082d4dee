"""Starting a wrapped command in a process group of its own, held back until everything that guards it is in place.

The command is forked first and waits at a pipe: were ``run`` killed between starting the command and starting its
watchdog, nothing would end the command with its lease. It gets the descriptors, the signals and, on a terminal, the
foreground that it would have had without us.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from gitref_lock.core.lean import dataclass

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_NEVER_STARTED = 125
_GO = b"g"
_SUBREAPER = 36
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(slots=True)
class Command:
    """A forked command. ``pid`` is its process and its process group; ``status`` its exit code once it has ended."""

    pid: int
    arguments: Sequence[str]
    status: int | None = None
    is_stopped: bool = False
    _go: int = -1
    _failure: int = -1

    def go(self) -> OSError | None:
        """Let the command begin; return why it could not, None when it runs."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go, _GO)
        os.close(self._go)
        with open(self._failure, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
            said = pipe.read()
        return OSError(int(said), os.strerror(int(said)), self.arguments[0]) if said else None

    def cancel(self) -> None:
        """End a command that was never let go."""
        os.close(self._go)
        os.close(self._failure)
        os.waitpid(self.pid, 0)

    def reap(self) -> None:
        """Take in every ended or stopped process of the group that is a child of ours; never waits."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-self.pid, os.WNOHANG | os.WUNTRACED)
                if pid == 0:
                    return
                if pid == self.pid and os.WIFSTOPPED(status):
                    self.is_stopped = True
                elif pid == self.pid:
                    code = os.waitstatus_to_exitcode(status)
                    self.status = code if code >= 0 else 128 - code

    def exists(self) -> bool:
        """Tell whether any process of the group is left."""
        self.reap()
        return signal_group(self.pid, 0)

    def terminate(self) -> None:
        """Ask the group to end; a stopped process must go on to hear it."""
        end_group(self.pid)

    def resume(self) -> None:
        """Let a stopped group go on."""
        signal_group(self.pid, signal.SIGCONT)

    def kill(self) -> bool:
        """Kill the group; tell whether any process of it is left."""
        signal_group(self.pid, signal.SIGKILL)
        return self.exists()


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only asks); tell whether there is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_group(group: int) -> bool:
    """Ask a process group to end, also where it is stopped; tell whether there is one."""
    return signal_group(group, signal.SIGTERM) and signal_group(group, signal.SIGCONT)


def exit_code(failure: OSError) -> int:
    """Return the code by which shells tell that a command could not be started."""
    return NOT_FOUND if failure.errno in {errno.ENOENT, errno.ENOTDIR} else NOT_EXECUTABLE


def hold_back(arguments: Sequence[str], environ: Mapping[str, str], mask: set[signal.Signals]) -> Command:
    """Fork the command; it begins with the signal mask ``mask`` when ``go`` is called.

    To be called with all signals blocked and before any thread exists.
    """
    go_reader, go_writer = os.pipe()
    failure_reader, failure_writer = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as where a program that has no streams calls us
            stream.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            os.close(go_writer)
            os.close(failure_reader)
            if os.read(go_reader, 1) == _GO:
                _become(arguments, environ, mask, failure_writer)
        finally:
            os._exit(_NEVER_STARTED)
    os.close(go_reader)
    os.close(failure_writer)
    with contextlib.suppress(OSError):  # the child has done it already
        os.setpgid(pid, pid)
    return Command(pid, arguments, _go=go_writer, _failure=failure_reader)


def _become(arguments: Sequence[str], environ: Mapping[str, str], mask: set[signal.Signals], failure: int) -> NoReturn:
    """Replace this process by the command; write the error number to ``failure`` where that does not work."""
    try:
        execute(arguments, environ, mask)
    except OSError as error:
        os.write(failure, str(error.errno or errno.EIO).encode())
        os._exit(exit_code(error))


def execute(arguments: Sequence[str], environ: Mapping[str, str], mask: set[signal.Signals] | None = None) -> NoReturn:
    """Replace this process by a command, with the signals as this process was given them; raise OSError."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) or number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    words, variables = list(arguments), dict(environ)
    try:
        os.execvpe(words[0], words, variables)  # noqa: S606 - exactly this is asked for
    except OSError as error:
        # A script without a first line that names its interpreter is the shell's, as for every other caller.
        script = shutil.which(words[0], path=variables.get("PATH")) if error.errno == errno.ENOEXEC else None
        if script is None:
            raise
    os.execve("/bin/sh", ["/bin/sh", script, *words[1:]], variables)  # noqa: S606 - exactly this is asked for


def adopt_orphans() -> bool:
    """Make orphaned descendants children of this process, so that they are reaped; tell whether that worked."""
    if sys.platform != "linux":
        return False
    import ctypes  # late: only run needs it

    try:
        return int(ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


@dataclass(slots=True)
class Terminal:
    """The terminal on standard input, whose foreground a command borrows; nothing where there is none."""

    is_ours: bool

    @classmethod
    def here(cls) -> Terminal:
        """Find out whether standard input is a terminal on which this process is in the foreground."""
        try:
            return cls(os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp())
        except OSError:
            return cls(is_ours=False)

    def lend(self, group: int) -> None:
        """Put a process group into the foreground."""
        if self.is_ours:
            with _quiet_output_stop(), contextlib.suppress(OSError):
                os.tcsetpgrp(0, group)

    def take_back(self) -> None:
        """Put our own process group into the foreground."""
        self.lend(os.getpgrp())

    def stop_with(self, command: Command) -> None:
        """Stop like the command, which a person has stopped, and continue it when we are continued."""
        command.is_stopped = False
        if not self.is_ours:
            return
        self.take_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        if Terminal.here().is_ours:
            self.lend(command.pid)
        command.resume()


@contextlib.contextmanager
def _quiet_output_stop() -> Iterator[None]:
    """Let a background process change the foreground: SIGTTOU would stop it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
