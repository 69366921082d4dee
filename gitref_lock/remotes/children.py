"""Run a program to its end, or end it: what raises meanwhile leaves no process and no lock file of git's.

``subprocess.run`` kills at once what it waits for when a signal ends the wait. A ``git update-index`` that is killed
leaves its ``index.lock``, and everything after it fails. Here a program is asked to end first, and has time to do it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from gitref_lock.remotes.unbroken import unbroken

_GRACE_S = 2.0
_LOOK_S = 0.02

_Process = subprocess.Popen[bytes] | subprocess.Popen[str]


def run(
    command: Sequence[str | bytes],
    *,
    folder: Path | None = None,
    environ: Mapping[str, str],
    stdin: bytes = b"",
    merges_stderr: bool = False,
    has_terminal: bool = True,
    limit_s: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run ``command`` and return its exit code and output, standard error with it where ``merges_stderr`` says so.

    Raises OSError when it cannot be started and subprocess.TimeoutExpired after ``limit_s`` seconds. Whatever is raised
    while it runs, the program is ended before that goes on: SIGTERM, two seconds, SIGKILL.

    What it started ends with it where it has a process group of its own. It has one, with a session, when
    ``has_terminal`` is False: it then cannot ask anybody. Otherwise it has one only where this process has no terminal
    either, as in CI: a hook, gpg, a filter or ssh may ask on the terminal, and a background group that reads there is
    stopped for good. At a terminal Ctrl-C reaches all of them as it is.

    The output goes to a file, so that the wait is for the program alone and not for a background process that has the
    output open (a hook's upload, ssh's master connection); such a process lives on, as it does under git.
    """
    in_group = not has_terminal or not _is_at_terminal()
    process: subprocess.Popen[bytes] | None = None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        for file in (out, err):
            _append_only(file)
        given.write(stdin)
        given.seek(0)
        try:
            with unbroken():
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=dict(environ),
                    stdin=given if stdin else subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT if merges_stderr else err,
                    start_new_session=not has_terminal,
                    process_group=0 if has_terminal and in_group else None,
                )
            code = process.wait(limit_s)
        except BaseException:
            if process is not None:
                end(process, in_group=in_group)
            raise
        return subprocess.CompletedProcess(command, code, _content(out), _content(err))


def end(process: _Process, *, in_group: bool) -> None:
    """Ask a process, and its group, to end; kill what has not ended two seconds later. Never raises for their state."""
    pause = threading.Event()
    try:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            _send(process, sign, in_group=in_group)
            for _ in range(int(_GRACE_S / _LOOK_S)):
                # what was killed is only waited for where it is ours to reap
                if not _is_alive(process, in_group=in_group and sign == signal.SIGTERM):
                    return
                pause.wait(_LOOK_S)
    except BaseException:  # asked to end once more: no more grace
        _send(process, signal.SIGKILL, in_group=in_group)
        raise


def _send(process: _Process, sign: int, *, in_group: bool) -> None:
    # PermissionError is what macOS says of a group of which only a dead member is left
    with suppress(ProcessLookupError, PermissionError):
        if in_group:
            os.killpg(process.pid, sign)
        else:
            process.send_signal(sign)


def _is_alive(process: _Process, *, in_group: bool) -> bool:
    """Tell whether the process, or anything in its group, has not ended."""
    if process.poll() is None:
        return True
    if in_group:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 0)
            return True
    return False


def _is_at_terminal() -> bool:
    """Tell whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _append_only(file: IO[bytes]) -> None:
    """Have every write go to the end, also after a program has opened ``/dev/stderr`` and so truncated the file."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_APPEND)


def _content(file: IO[bytes]) -> bytes:
    """Read a whole file without moving the position that it shares with who still writes."""
    size = os.fstat(file.fileno()).st_size
    parts: list[bytes] = []
    at = 0
    while at < size and (part := os.pread(file.fileno(), size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
