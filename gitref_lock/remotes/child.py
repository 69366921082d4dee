"""Child processes that speak git on their standard streams, under a deadline and in a pinned environment.

A child that hangs, floods a pipe or dies must never hang its caller: every wait is a select with the time that is left,
both directions are served at once, and what remains at the end is ended as a process group.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence

from gitref_lock.ports import Traffic
from gitref_lock.remotes.streams import CHUNK, Deadline, LinkError
from gitref_lock.remotes.unbroken import unbroken

MAX_STDERR_BYTES = 16384
_GRACE_S = 2.0

# Without these a child would serve the repository we run in instead of the one it is told, or wait for a person.
_REMOVED = (
    "GIT_DIR",  # set in hooks: would override the path we name
    "GIT_WORK_TREE",  # belongs to our own repository
    "GIT_INDEX_FILE",  # belongs to our own repository
    "GIT_COMMON_DIR",  # belongs to our own repository
    "GIT_PREFIX",  # belongs to our own repository
    "GIT_NAMESPACE",  # would shift every ref name on the other side
    "GIT_OBJECT_DIRECTORY",  # would make the other side look for objects in ours
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",  # same
    "GIT_QUARANTINE_PATH",  # set in pre-receive hooks: receive-pack refuses to update refs under it
    "GIT_SHALLOW_FILE",  # belongs to our own repository
    "GIT_GRAFT_FILE",  # belongs to our own repository
    "GIT_REPLACE_REF_BASE",  # replaced objects have no place on a wire
    "GIT_CONFIG",  # git itself hides its caller's configuration from the other side
    "GIT_CONFIG_PARAMETERS",  # same
    "GIT_CONFIG_COUNT",  # same
    "GIT_PROTOCOL",  # set below for reads only
)
_PINNED = {
    "GIT_TERMINAL_PROMPT": "0",  # never wait for a person
    "LC_ALL": "C",  # the words are matched and shown; translated ones would not match
    "LANGUAGE": "C",  # has the last word over LC_ALL for messages in some builds
    "GIT_OPTIONAL_LOCKS": "0",  # a read leaves no lock files behind
}

_CODES = (
    (r"Permission denied \(|Host key verification failed|Too many authentication failures", "authentication"),
    (r"not appear to be a git repository|not a git repository|[Rr]epository .*not found|No such file", "not-found"),
    (r"Permission denied|DENIED by|access denied|dubious ownership|not exported|service not enabled", "permission"),
    (r"timed out", "timeout"),
)


def child_environment(extra: Mapping[str, str], *, protocol_v2: bool) -> dict[str, str]:
    """Return the environment for a child: ours without the removed names, then ``extra``, then the pinned ones."""
    environment = {name: value for name, value in os.environ.items() if name not in _REMOVED}
    environment |= {**extra, **_PINNED}
    if protocol_v2:
        environment["GIT_PROTOCOL"] = "version=2"
    return environment


def code_for(words: str) -> str:
    """Return the RemoteError code that a child's last words stand for."""
    return next((code for pattern, code in _CODES if re.search(pattern, words)), "unreachable")


class ChildStream:
    """A child's standard input and output as one stream; its standard error becomes words for people."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], traffic: Traffic) -> None:
        """Start ``command``; raise LinkError when it cannot be started."""
        self._traffic = traffic
        self._incoming: deque[bytes] = deque()
        self._stderr = bytearray()
        self._ended = False
        is_started = False
        try:
            with unbroken():
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=dict(environment),
                    bufsize=0,
                    start_new_session=True,  # so that Ctrl-C reaches us only and all of it can be ended at once
                )
                self._in, self._out, self._err = self._process.stdin, self._process.stdout, self._process.stderr
                is_started = True
            traffic.connections += 1
            for pipe in (self._in, self._out, self._err):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
        except OSError as exc:
            words = f"{command[0]} cannot be started: {exc.strerror}"
            raise LinkError("unsupported", words, nothing_sent=True, transient=False) from exc
        except BaseException:
            if is_started:
                self.abort()
            raise

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``, taking in what the child writes meanwhile."""
        assert self._in is not None
        view = memoryview(data)
        while view:
            if not self._wait(deadline, for_writing=True):
                continue
            try:
                count = os.write(self._in.fileno(), view[:CHUNK])
            except BlockingIOError:
                continue
            except OSError as exc:
                self._drain_stderr(deadline)
                raise self._broken("the process ended while it was sent to") from exc
            self._traffic.bytes_sent += count
            view = view[count:]

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes of standard output; b'' at its end."""
        while not self._incoming and not self._ended:
            self._wait(deadline, for_writing=False)
        return self._incoming.popleft() if self._incoming else b""

    def last_words(self, deadline: Deadline) -> LinkError | None:
        """Return what the child said on standard error before it ended, as an error; None when it said nothing."""
        self._drain_stderr(deadline)
        return self._broken("") if self._stderr else None

    def close(self) -> None:
        """End the child: by closing its pipes, then by signals to its group."""
        self._end(None, signal.SIGTERM, signal.SIGKILL)

    def abort(self) -> None:
        """End the child now: it hangs. SIGTERM first, because git then removes its lock files."""
        self._end(signal.SIGTERM, signal.SIGKILL)

    def _end(self, *signs: signal.Signals | None) -> None:
        """Close the pipes, then send each signal and wait a little for the child's end; None only waits."""
        for pipe in (self._in, self._out):
            if pipe is not None:
                pipe.close()
        for sign in signs:
            if sign is not None:
                self._kill(sign)
            try:
                self._process.wait(_GRACE_S)
                break
            except subprocess.TimeoutExpired:
                continue
        if self._err is not None:
            self._err.close()

    def _kill(self, sign: signal.Signals) -> None:
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, sign)
            except (ProcessLookupError, PermissionError):  # macOS says the latter of a group whose only member is dead
                return

    def _wait(self, deadline: Deadline, *, for_writing: bool) -> bool:
        """Wait for any pipe; take in what there is; return whether standard input takes bytes."""
        assert self._in is not None
        assert self._out is not None
        assert self._err is not None
        with selectors.DefaultSelector() as selector:
            if for_writing:
                selector.register(self._in, selectors.EVENT_WRITE)
            if not self._ended:
                selector.register(self._out, selectors.EVENT_READ)
            if not self._err.closed:
                selector.register(self._err, selectors.EVENT_READ)
            ready = selector.select(deadline.wait("waiting for the process"))
        if not ready:
            raise self._broken("the process did not answer in time", code="timeout")
        writable = False
        for key, _ in ready:
            if key.fileobj is self._in:
                writable = True
            elif key.fileobj is self._out:
                self._take_output()
            else:
                self._take_stderr()
        return writable

    def _take_output(self) -> None:
        assert self._out is not None
        data = _read(self._out.fileno())
        if data is None:
            return
        if not data:
            self._ended = True
            return
        self._traffic.bytes_received += len(data)
        self._incoming.append(data)

    def _take_stderr(self) -> None:
        assert self._err is not None
        data = _read(self._err.fileno())
        if data is None:
            return
        if not data:
            self._err.close()
            return
        self._stderr += data[: MAX_STDERR_BYTES - len(self._stderr)]

    def _drain_stderr(self, deadline: Deadline) -> None:
        """Read the rest of standard error, briefly: a background process may hold it open."""
        assert self._err is not None
        end = Deadline.after(deadline.clock, min(0.5, deadline.left()))
        while not self._err.closed and end.left() > 0:
            with selectors.DefaultSelector() as selector:
                selector.register(self._err, selectors.EVENT_READ)
                if not selector.select(end.left()):
                    return
            self._take_stderr()

    def _broken(self, words: str, *, code: str | None = None) -> LinkError:
        """Return an error with the child's own words in it."""
        lines = self._stderr.decode("utf-8", "replace").expandtabs(2).splitlines()
        said = "\n".join(line.rstrip() for line in lines if line.strip())
        found = code or code_for(said)
        text = "; ".join(part for part in (words, said) if part)
        return LinkError(found, text, transient=found in {"unreachable", "timeout"})


def _read(descriptor: int) -> bytes | None:
    """Read what there is; None when there is nothing yet, b'' at the end."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
