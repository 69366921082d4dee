"""Fixtures that every test may ask for: a real bare repository and the real git server in front of it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo, clone, make_bare


def pytest_configure() -> None:
    """Take signals as a foreground job does: one in the background (``make test &``, nohup) is born deaf to some.

    Every process that a test starts would inherit the deafness, and tests that send SIGINT would wait for ever.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _closed_remotes() -> Iterator[None]:
    """Close what tests opened through ``tests.support.runners``."""
    yield
    runners = sys.modules.get("tests.support.runners")
    if runners is not None:
        runners.close_all()


@pytest.fixture
def server_root(tmp_path: Path) -> Path:
    """Return the folder whose bare repositories ``git_server`` serves."""
    root = tmp_path / "served"
    root.mkdir()
    return root


@pytest.fixture
def bare_repo(server_root: Path) -> Repo:
    """Return a bare repository ``repo.git`` with one commit on main, served by ``git_server``."""
    return make_bare(server_root / "repo.git")


@pytest.fixture
def git_server(server_root: Path) -> Iterator[GitHttpServer]:
    """Return a running HTTP git server over ``server_root``."""
    with GitHttpServer(server_root) as server:
        yield server


@pytest.fixture
def repo_url(git_server: GitHttpServer, bare_repo: Repo) -> str:
    """Return the HTTP URL of ``bare_repo``."""
    return git_server.repo_url("repo.git")


@pytest.fixture
def work_clone(repo_url: str, tmp_path: Path) -> Repo:
    """Return a clone of ``bare_repo`` made over HTTP."""
    return clone(repo_url, tmp_path / "clone")
