"""One remote with a little history behind the real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.ci import served
from tests.support.gitcli import Repo

BASE = {
    "README.md": "first\n",
    "data/counts.json": '{\n  "a": 1\n}\n',
    "src/app.py": "".join(f"line {number}\n" for number in range(1, 21)),
    "docs/guide.md": "guide\n",
    "docs/old.md": "old\n",
}


@pytest.fixture
def bare(server_root: Path) -> Repo:
    """Return a bare repository with five files and three commits on main."""
    return served(server_root, BASE)


@pytest.fixture
def url(bare: Repo, server_root: Path) -> Iterator[str]:
    """Return the HTTP URL of ``bare``."""
    with GitHttpServer(server_root) as server:
        yield server.repo_url("repo.git")
