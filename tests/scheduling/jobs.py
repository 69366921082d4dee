"""Jobs for scheduling tests: real ``gitref-lock`` processes whose commands say when they hold and are told when to end.

Nothing waits for luck: every wait is for a line, an end or a ref, with a deadline that only a failure reaches.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.support.gitcli import Repo, git_env

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
HOLD = ("sh", "-c", "echo $$; read line; exit ${line:-0}")
"""A command that says its process number, then waits for a line on standard input, which is its exit code."""


def eventually(found: Callable[[], T | None], *, within_s: float = PATIENCE_S, every_s: float = 0.02) -> T:
    """Return the first result that is not None or False; fail after ``within_s``."""
    until = time.monotonic() + within_s
    while True:
        value = found()
        if value is not None and value is not False:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"did not happen within {within_s} s")
        time.sleep(every_s)


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is more than what is left of an ended one."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


@dataclass
class Job:
    """A started process; its output is read line by line."""

    process: subprocess.Popen[bytes]
    started_s: float = field(default_factory=time.monotonic)
    buffer: bytes = b""
    children: list[int] = field(default_factory=list)

    def line(self, within_s: float = PATIENCE_S) -> str:
        """Return the next line of standard output; '' at its end."""
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        until = time.monotonic() + within_s
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise AssertionError(f"no line within {within_s} s")
            chunk = os.read(pipe, 4096)
            if not chunk:
                break
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def held(self, within_s: float = PATIENCE_S) -> int:
        """Return the process number of the command once it runs (see ``HOLD``)."""
        text = self.line(within_s)
        if not text:
            raise AssertionError(f"the command never ran: {self.end()[1]}")
        self.children.append(int(text))
        return int(text)

    def let_go(self, code: int = 0) -> None:
        """Let the command end."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{code}\n".encode())
            self.process.stdin.close()

    def send(self, number: int) -> None:
        """Send a signal to gitref-lock itself."""
        os.kill(self.process.pid, number)

    def end(self, within_s: float = PATIENCE_S) -> tuple[int, str]:
        """Wait for the end; return the exit code and standard error."""
        self.process.wait(within_s)
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        os.set_blocking(self.process.stderr.fileno(), False)  # a process that was left behind may hold it open
        said = self.process.stderr.read() or b""
        return self.process.returncode, said.decode()


class Jobs:
    """Starts jobs against one remote; ``close`` ends all that is left of them."""

    def __init__(self, url: str, folder: Path) -> None:
        """Run in ``folder``, which is no repository."""
        self.url = url
        self.folder = folder
        self.started: list[Job] = []
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        self.environ = {**git_env(home), "PYTHONPATH": str(ROOT), "USER": "tester"}

    def start(
        self, *words: str, environ: Mapping[str, str] | None = None, pass_fds: tuple[int, ...] = (), folder: str = "."
    ) -> Job:
        """Start ``gitref-lock`` with these words and the remote."""
        process = subprocess.Popen(
            [sys.executable, "-m", "gitref_lock", words[0], "-r", self.url, *words[1:]],
            cwd=self.folder / folder,
            env={**self.environ, **(environ or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=pass_fds,
        )
        job = Job(process)
        self.started.append(job)
        return job

    def run(self, *words: str, command: tuple[str, ...] = HOLD, **more: object) -> Job:
        """Start ``gitref-lock run`` with a command."""
        return self.start("run", *words, "--", *command, **more)  # type: ignore[arg-type]  # keywords of start

    def done(self, *words: str, **more: object) -> tuple[int, str, str]:
        """Run to the end; return exit code, standard output and standard error."""
        job = self.start(*words, **more)  # type: ignore[arg-type]  # keywords of start
        out, err = job.process.communicate(timeout=PATIENCE_S)
        return job.process.returncode, out.decode(), err.decode()

    def close(self) -> None:
        """End everything that was started."""
        for job in self.started:
            for pid in job.children:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            if job.process.poll() is None:
                job.process.kill()
            job.process.wait(30)
            for stream in (job.process.stdin, job.process.stdout, job.process.stderr):
                if stream is not None:
                    stream.close()


def served(jobs: list[Job], *, alone: bool = True) -> Job:
    """Return a job whose command has begun to run; fail when two have and ``alone``."""
    pipes = {job.process.stdout: job for job in jobs if job.process.stdout is not None}
    ready, _, _ = select.select(list(pipes), [], [], PATIENCE_S)
    assert ready, "nobody was served"
    assert len(ready) == 1 or not alone, "two were served at once"
    return pipes[ready[0]]


def tickets(bare: Repo, lock: str = "main") -> list[str]:
    """Return the names of the tickets that wait for a lock, in service order."""
    return sorted(bare.refs(f"refs/lock-queue/{lock}/"))


def waiting(bare: Repo, count: int, lock: str = "main") -> list[str]:
    """Wait until so many tickets are written; return them in service order."""
    return eventually(lambda: found if len(found := tickets(bare, lock)) == count else None)
