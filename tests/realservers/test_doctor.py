"""``doctor`` on real servers: it passes the safe ones, and finds out by experiment what is wrong with the others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.realservers.serving import Served, Service
from tests.support.race import command_env

pytestmark = pytest.mark.servers


def doctor(served: Served, folder: Path) -> tuple[int, dict[str, Any]]:
    """Run the command outside of any clone; return its exit code and its document."""
    done = subprocess.run(
        [sys.executable, "-m", "gitref_lock", "doctor", "--json", "--remote", served.url],
        cwd=folder,
        env={**command_env(), **served.service.environ, "RUNNER_TEMP": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    value = json.loads(done.stdout)
    assert isinstance(value, dict), done.stderr
    return done.returncode, value


def errors(found: dict[str, Any]) -> list[str]:
    """Return the codes of the errors."""
    return [item["code"] for item in found["findings"] if item["severity"] == "error"]


def test_a_safe_server_passes(service: Service, tmp_path: Path) -> None:
    """Every experiment succeeds on every server that the contract holds on, and nothing is left there."""
    served = service.make_repo()
    before = served.repo.refs()
    code, found = doctor(served, tmp_path)
    assert (code, errors(found)) == (0, []), found
    measured = found["measured"]
    assert measured["protocol_version"] == (2 if service.speaks_v2 else 0)
    assert measured["agent"].startswith(service.agent)
    for name in ("atomic_offered", "atomic_kept", "race_exclusive", "stale_swap_refused", "deletes"):
        assert measured[name] is True, (name, found)
    assert measured["server_time"] == served.url.startswith("http")
    assert served.repo.refs() == before


def test_a_server_that_lies_about_swaps_is_found_out(running_servers: Callable[[str], Service], tmp_path: Path) -> None:
    """dulwich's server says ok to swaps that it does not make and breaks atomic ones: exit 3, with the reason."""
    served = running_servers("dulwich").make_repo()
    code, found = doctor(served, tmp_path)
    assert code == 3
    assert {"unsafe-swaps", "atomic-broken"} <= set(errors(found)), found
    assert found["measured"]["stale_swap_refused"] is False
    assert list(served.repo.refs()) == ["refs/heads/main"]


def test_a_namespace_that_gitolite_denies_is_replaced(
    running_servers: Callable[[str], Service], tmp_path: Path
) -> None:
    """Where rules allow branches only, the working prefix is named, and every other experiment is made there."""
    served = running_servers("gitolite-branches").make_repo()
    code, found = doctor(served, tmp_path)
    assert (code, errors(found)) == (3, ["namespace-refused"])
    assert found["measured"]["ref_prefix"] == "refs/heads/gitref-locks"
    assert found["measured"]["race_exclusive"] is True
    assert list(served.repo.refs()) == ["refs/heads/main"]


def test_a_repository_without_write_access_is_told(running_servers: Callable[[str], Service], tmp_path: Path) -> None:
    """Reading alone is not enough."""
    served = running_servers("gitolite-readonly").make_repo()
    code, found = doctor(served, tmp_path)
    assert (code, errors(found)) == (3, ["not-writable"])
