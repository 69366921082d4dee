"""``--check-liveness`` from end to end: real runs, a lock of a run that has ended, and an API that says so or fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.scheduling.jobs import Jobs, waiting
from tests.support.fakeapi import FakeApi
from tests.support.gitcli import Repo
from tests.support.runners import history_at

TOKEN = "secret-api-token"
PATH = "/repos/octo/repo/actions/runs/77/attempts/1"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Return a running fake API."""
    with FakeApi() as running:
        yield running


def job(api: FakeApi, run: int, **more: str) -> dict[str, str]:
    """Return the environment of a GitHub job."""
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": api.url,
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "octo/repo",
        "GITHUB_RUN_ID": str(run),
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_JOB": "deploy",
        **more,
    }


def test_the_lock_of_an_ended_run_is_taken_early(jobs: Jobs, api: FakeApi, bare_repo: Repo) -> None:
    """The holder's run is completed: the waiter preempts at once, with the evidence as the reason."""
    assert jobs.done("acquire", "main", "--ttl", "1h", environ=job(api, 77))[0] == 0
    api.answers[PATH] = (200, json.dumps({"id": 77, "status": "completed", "conclusion": "cancelled"}).encode())
    before = time.monotonic()
    environ = job(api, 78, GITHUB_TOKEN=TOKEN)
    code, out, said = jobs.done("run", "main", "--check-liveness", "--", "echo", "ran", environ=environ)
    assert (code, out) == (0, "ran\n"), said
    assert time.monotonic() - before < 30
    line = history_at(bare_repo)[1]
    assert line["event"] == "preempt"
    assert "run 77 is completed (cancelled)" in str(line["note"])
    assert {path for path, _ in api.asked} == {PATH}
    assert TOKEN not in said


def test_a_running_holder_is_left_alone(jobs: Jobs, api: FakeApi, bare_repo: Repo) -> None:
    """A run that goes on keeps its lock, and the wait ends as any other."""
    assert jobs.done("acquire", "main", "--ttl", "1h", environ=job(api, 77))[0] == 0
    api.answers[PATH] = (200, json.dumps({"id": 77, "status": "in_progress", "conclusion": None}).encode())
    environ = job(api, 78, GITHUB_TOKEN=TOKEN)
    assert jobs.done("acquire", "main", "--check-liveness", "-w", "1s", environ=environ)[0] == 4
    assert len(api.asked) == 1
    assert [line["event"] for line in history_at(bare_repo)] == ["acquire"]


def test_an_api_that_fails_never_fails_the_wait(jobs: Jobs, api: FakeApi, bare_repo: Repo) -> None:
    """The API answers with an error; the waiter is served when the holder releases."""
    api.answers[PATH] = (500, b"oops")
    holder = jobs.run("main", environ=job(api, 77))
    holder.held()
    waiter = jobs.run("main", "--check-liveness", environ=job(api, 78, GITHUB_TOKEN=TOKEN))
    waiting(bare_repo, 1)
    holder.let_go()
    waiter.held()
    waiter.let_go()
    code, said = waiter.end()
    assert code == 0
    assert TOKEN not in said
    assert len(api.asked) == 1


def test_without_a_token_nobody_is_asked(jobs: Jobs, api: FakeApi) -> None:
    """The option alone asks nobody; a warning says what is missing."""
    code, out, said = jobs.done("run", "main", "--check-liveness", "--", "echo", "ran", environ=job(api, 78))
    assert (code, out) == (0, "ran\n")
    assert "GITHUB_TOKEN" in said
    assert api.asked == []
