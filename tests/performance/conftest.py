"""Cold commands against a server that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitref_lock.testing.gitserver import CountsSnapshot, GitHttpServer
from tests.cli.conftest import Cli
from tests.support.gitcli import Repo

Cost = Callable[..., CountsSnapshot]


@pytest.fixture
def cli(work_clone: Repo, tmp_path: Path) -> Iterator[Cli]:
    """Return a runner of commands in a clone made over HTTP."""
    home = tmp_path / "home"
    home.mkdir()
    runner = Cli(work_clone.path, home)
    yield runner
    for process in runner.started:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def cost(git_server: GitHttpServer, cli: Cli) -> Cost:
    """Return what runs a command, which must succeed, and returns what it cost the server."""

    def run(*words: str, at: Path | None = None) -> CountsSnapshot:
        before = git_server.counts.snapshot()
        (cli if at is None else cli.at(at))(*words)
        return git_server.counts.snapshot().diff(before)

    return run
