"""The RefStore contract on real git behind each transport that needs nothing but git."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitref_lock.ports import RefStore
from gitref_lock.remotes import open_store
from gitref_lock.remotes.settings import RemoteSpec, Scheme
from gitref_lock.system import real_system
from gitref_lock.testing.contract import RefStoreContract
from gitref_lock.testing.contract_kit import ContractHost
from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo, git_env, make_bare


def host_for(scheme: Scheme, url: str, repo: Repo, stack: ExitStack) -> ContractHost:
    """Return a host whose stores are closed with ``stack``."""

    def opened() -> RefStore:
        store = open_store(RemoteSpec(None, scheme, url, url), real_system())
        stack.callback(store.close)
        return store

    return ContractHost(opened, repo.collect_garbage, repo.delete_ref, agent="git/")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Return an empty bare repository with git's stock settings for what may be fetched."""
    return make_bare(tmp_path / "served" / "repo.git", any_sha1=False, with_commit=False)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack that is unwound after the test."""
    with ExitStack() as opened:
        yield opened


class TestHttpContract(RefStoreContract):
    """Smart HTTP through git http-backend, replies with their length and chunked."""

    @pytest.fixture(params=[False, True], ids=["counted", "chunked"])
    def host(self, request: pytest.FixtureRequest, repo: Repo, stack: ExitStack) -> ContractHost:
        """Return a host behind an HTTP server."""
        server = stack.enter_context(GitHttpServer(repo.path.parent, chunks_replies=request.param))
        return host_for("http", server.repo_url(repo.path.name), repo, stack)


class TestPathContract(RefStoreContract):
    """A path and the same as a file:// address."""

    @pytest.fixture(params=["", "file://"], ids=["path", "file"])
    def host(self, request: pytest.FixtureRequest, repo: Repo, stack: ExitStack) -> ContractHost:
        """Return a host on a path."""
        return host_for("path", f"{request.param}{repo.path}", repo, stack)


class TestGitDaemonContract(RefStoreContract):
    """The git:// transport."""

    @pytest.fixture
    def host(self, repo: Repo, stack: ExitStack, git_daemon: Callable[[Path], int]) -> ContractHost:
        """Return a host behind git daemon."""
        port = git_daemon(repo.path.parent)
        return host_for("git", f"git://127.0.0.1:{port}/{repo.path.name}", repo, stack)

    @pytest.fixture
    def git_daemon(self, stack: ExitStack) -> Callable[[Path], int]:
        """Return a function that serves a folder with git daemon and returns the port."""

        def start(root: Path) -> int:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = int(free.getsockname()[1])
            command = [
                *("git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", "--export-all", "--verbose"),
                *("--enable=receive-pack", "--informative-errors", f"--base-path={root}", str(root)),
            ]
            daemon = subprocess.Popen(command, env=git_env(), stderr=subprocess.PIPE, text=True)
            stack.callback(_end, daemon)
            assert daemon.stderr is not None
            assert "Ready to rumble" in daemon.stderr.readline()
            return port

        return start


def _end(daemon: subprocess.Popen[str]) -> None:
    """End the daemon and the listener that it started as its child."""
    assert daemon.stderr is not None
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text(encoding="ascii").split()
    for pid in children:
        subprocess.run(["kill", pid], check=False)
    daemon.terminate()
    daemon.wait(10)
    daemon.stderr.close()
