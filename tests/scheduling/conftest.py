"""Fixtures for tests with real jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scheduling.jobs import Jobs


@pytest.fixture
def jobs(repo_url: str, tmp_path: Path) -> Iterator[Jobs]:
    """Return a starter of jobs against the repository behind the git server."""
    starter = Jobs(repo_url, tmp_path / "jobs")
    yield starter
    starter.close()
