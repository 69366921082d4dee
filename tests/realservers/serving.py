"""Real git servers on 127.0.0.1: what a test may know about one, and how its processes begin and end.

Each server is a context manager over a folder of its own, on a free port, ended by process id with everything that it
started. Nothing outlives the test run.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gitref_lock.ports import RefStore, System
from gitref_lock.remotes import open_store
from gitref_lock.remotes.gitconfig import load
from gitref_lock.remotes.locate import resolve
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.system import real_system
from tests.support.gitcli import Repo, git_env, make_bare

_NUMBERS = itertools.count(1)
START_S = 30.0


@dataclass(frozen=True)
class Service:
    """A running server. ``environ`` is what a client needs beside the address: certificates, ssh command, password.

    ``version`` names product and version, ``agent`` begins what its receive-pack calls itself. ``racers`` is how many
    clients at once it is asked to bear. ``where`` returns where on disk a repository of a given name is served from.
    """

    name: str
    version: str
    agent: str
    where: Callable[[str], Path]
    address: Callable[[str], str]
    environ: Mapping[str, str] = field(default_factory=dict)
    racers: int = 16
    speaks_v2: bool = True
    prepare: Callable[[Repo], None] = lambda repo: None

    def make_repo(self, prefix: str = "repo", *, with_commit: bool = True) -> Served:
        """Make a fresh repository that this server serves."""
        name = f"{prefix}-{os.getpid()}-{next(_NUMBERS)}.git"
        repo = make_bare(self.where(name), any_sha1=False, with_commit=with_commit)
        self.prepare(repo)
        return Served(self, repo, self.address(name))


@dataclass(frozen=True)
class Served:
    """One repository behind a server."""

    service: Service
    repo: Repo
    url: str

    @property
    def client_environ(self) -> dict[str, str]:
        """The pinned environment of a client that can reach the server."""
        return git_env(extra=self.service.environ)

    @property
    def spec(self) -> RemoteSpec:
        """The remote as the product resolves it."""
        environ = self.client_environ
        return resolve(self.url, None, None, load(None, None, None, environ), environ)

    def open_store(self, stack: ExitStack, system: System | None = None) -> RefStore:
        """Return a new store, closed with ``stack``."""
        store = open_store(self.spec, system or real_system())
        stack.callback(store.close)
        return store


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def open_folder() -> Iterator[Path]:
    """Return a folder that every user of this machine may enter: some servers give up root's rights."""
    with tempfile.TemporaryDirectory(prefix="gitref-lock-server-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def running(
    command: Sequence[str | Path],
    is_ready: Callable[[], bool],
    log: Path,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[int]:
    """Run a server in a process group of its own until the block ends; yield its process id once it is ready."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=git_env(extra=environ),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            _await(process, is_ready, log)
            yield process.pid
        finally:
            _end_group(process)


def _await(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path) -> None:
    """Return once the server is ready; fail with its own words when it ends or takes too long."""
    until = time.monotonic() + START_S
    pause = threading.Event()
    while not is_ready():
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"{process.args!r} did not start: {log.read_text(errors='replace')[-2000:]}")
        pause.wait(0.02)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a server and every process of its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
    process.wait(5)


def accepts(port: int) -> Callable[[], bool]:
    """Return a check that somebody listens on the port."""

    def check() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    return check


def version_of(command: Sequence[str], pattern: str) -> str:
    """Return what a pattern's first group finds in what a program says about its version."""
    import re

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(pattern, done.stdout + done.stderr)
    assert found is not None, (command, done.stdout, done.stderr)
    return found[1]


def git_version() -> str:
    """Return the version of the git that serves behind most of these servers."""
    return version_of(["git", "version"], r"git version (\S+)")
