"""Evidence from a CI's API: what counts, what does not, and where the token goes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gitref_lock.core.machine import LockState
from gitref_lock.core.names import LockName, Oid
from gitref_lock.core.record import Holder, LockRecord
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.remotes.api import api_settings, open_api
from gitref_lock.remotes.gitconfig import load
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.evidence import ASKING_PLACES, EVERY_S, Inquest
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.liveness import TIMEOUT_S, LivenessCheck, api_of
from gitref_lock.system import real_system
from gitref_lock.testing.sim_kernel import Task
from gitref_lock.testing.waiters import Runner, World
from tests.support.fakeapi import FakeApi
from tests.support.gitcli import git_env

MAIN = LockName("main")
GITHUB_PATH = "/repos/octo/repo/actions/runs/4711/attempts/2"
GITHUB_RUN = "/octo/repo/actions/runs/4711/attempts/2"
GITLAB_PATH = "/projects/group%2Fsub%2Fproject/jobs/99"
GITLAB_RUN = "/group/sub/project/-/jobs/99"
SECRET = "s3cret-token"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Return a running fake API."""
    with FakeApi() as running:
        yield running


def github(api: FakeApi, **more: str) -> dict[str, str]:
    """Return the environment of a GitHub job."""
    return {"GITHUB_API_URL": api.url, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_TOKEN": SECRET, **more}


def gitlab(api: FakeApi, **more: str) -> dict[str, str]:
    """Return the environment of a GitLab job."""
    return {
        "CI_API_V4_URL": f"{api.url}/api/v4",
        "CI_SERVER_URL": "https://gitlab.example",
        "CI_JOB_TOKEN": SECRET,
        **more,
    }


def check_for(environ: dict[str, str]) -> LivenessCheck:
    """Return a check over a real client."""
    api = api_of(environ)
    assert api is not None
    system = real_system()
    variables = {**git_env(), **environ}
    settings = api_settings(api.url, api.header, load(None, None, None, variables), variables, Path())
    return LivenessCheck(api, open_api(api.url, settings, system), system.clock)


def ask(check: LivenessCheck, run_url: str) -> str | None:
    """Ask about a holder with this run."""
    return check(MAIN, record(run_url))


def record(run_url: str) -> LockRecord:
    """Return the record of a lock held by a run."""
    world = World(1)
    runner = world.runner("holder")
    found: list[LockRecord] = []

    def body(_: Task) -> None:
        found.append(runner.acquire().record(MAIN))

    runner.spawn(body)
    world.run(60.0)
    return replace(found[0], holder=Holder("holder", run_url=run_url))


def body(**values: object) -> tuple[int, bytes]:
    """Return a good answer."""
    return 200, json.dumps(values).encode()


def test_a_completed_run_of_github_is_evidence(api: FakeApi) -> None:
    """The attempt named by the run's URL is asked about, with the token, and its end is told."""
    api.answers[GITHUB_PATH] = body(id=4711, status="completed", conclusion="cancelled")
    why = ask(check_for(github(api)), f"https://github.example{GITHUB_RUN}")
    assert why == "GitHub says that run 4711 is completed (cancelled)"
    path, headers = api.asked[0]
    assert path == GITHUB_PATH
    assert headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("status", ["queued", "in_progress", "waiting", "", None, 7])
def test_any_other_status_is_none(api: FakeApi, status: object) -> None:
    """Only 'completed' is an end."""
    api.answers[GITHUB_PATH] = body(id=4711, status=status, conclusion=None)
    assert ask(check_for(github(api)), f"https://github.example{GITHUB_RUN}") is None


def test_an_answer_about_another_run_is_none(api: FakeApi) -> None:
    """The answer must be about what was asked."""
    api.answers[GITHUB_PATH] = body(id=1, status="completed", conclusion="failure")
    assert ask(check_for(github(api)), f"https://github.example{GITHUB_RUN}") is None


@pytest.mark.parametrize(
    ("job", "pipeline", "is_over"),
    [
        ("failed", "running", True),
        ("canceled", "running", True),
        ("success", "running", False),
        ("success", "success", True),
        ("running", "running", False),
        ("pending", "failed", False),
    ],
)
def test_jobs_of_gitlab(api: FakeApi, job: str, pipeline: str, is_over: bool) -> None:
    """A job that succeeded may have left its lease to a later job, so its pipeline must be over too."""
    api.answers[f"/api/v4{GITLAB_PATH}"] = body(id=99, status=job, pipeline={"id": 5, "status": pipeline})
    why = ask(check_for(gitlab(api)), f"https://gitlab.example{GITLAB_RUN}")
    assert (why is not None) is is_over
    assert api.asked[0][1]["job-token"] == SECRET


def test_pipelines_of_gitlab_with_a_personal_token(api: FakeApi) -> None:
    """A run that is named by its pipeline; a token of one's own comes before the job's."""
    api.answers["/api/v4/projects/group%2Fproject/pipelines/5"] = body(id=5, status="canceled")
    check = check_for(gitlab(api, GITLAB_TOKEN="personal"))
    assert ask(check, "https://gitlab.example/group/project/-/pipelines/5") is not None
    assert api.asked[0][1]["private-token"] == "personal"
    assert "job-token" not in api.asked[0][1]


@pytest.mark.parametrize(
    "run_url",
    [
        "",
        "https://elsewhere.example/octo/repo/actions/runs/4711",
        "https://github.example.evil/octo/repo/actions/runs/4711",
        "https://github.example/octo/../admin/actions/runs/4711",
        "https://github.example/octo/repo/actions/runs/4711?x=1",
        "https://github.example/octo/repo/actions/runs/4711/../../..",
        "https://github.example/octo/repo/actions/runs/x",
        "https://github.example/octo/re%70o/actions/runs/1",
        "javascript:alert(1)",
    ],
)
def test_nothing_is_asked_about_strange_runs(api: FakeApi, run_url: str) -> None:
    """A run of another host, or a name that could lead elsewhere on the API, costs no request."""
    assert ask(check_for(github(api)), run_url) is None
    assert api.asked == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"GITHUB_TOKEN": SECRET},
        {"GITHUB_API_URL": "https://api.example"},
        {"GITHUB_API_URL": "api.example", "GITHUB_TOKEN": SECRET},
        {"GITHUB_API_URL": "https://api.example", "GITHUB_TOKEN": "a\r\nX: y"},
        {"CI_API_V4_URL": "https://gitlab.example/api/v4"},
        {"CI_JOB_TOKEN": SECRET},
    ],
)
def test_without_address_or_token_there_is_no_api(environ: dict[str, str]) -> None:
    """Nothing is guessed."""
    assert api_of(environ) is None


def test_the_token_is_not_shown() -> None:
    """An API's text never holds its token."""
    found = api_of({"GITHUB_API_URL": "https://api.example", "GITHUB_TOKEN": SECRET})
    assert SECRET not in repr(found)


def redirect(handler: BaseHTTPRequestHandler, url: str) -> None:
    """Answer with a redirect."""
    handler.send_response(302)
    handler.send_header("Location", url)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_a_redirect_is_not_followed(api: FakeApi) -> None:
    """The token goes to the configured API and nowhere else, wherever that points."""
    with FakeApi() as other:
        other.answers[GITHUB_PATH] = body(id=4711, status="completed")
        api.answers[GITHUB_PATH] = lambda handler: redirect(handler, other.url + GITHUB_PATH)
        assert ask(check_for(github(api)), f"https://github.example{GITHUB_RUN}") is None
        assert other.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"oops"),
        (401, b"{}"),
        (403, b'{"message": "rate limited"}'),
        (200, b""),
        (200, b"<html>"),
        (200, b"[1, 2]"),
        (200, b"[" * 100_000),
        (200, b"\xff\xfe"),
        (200, b'"' + b"x" * 2_000_000 + b'"'),
    ],
    ids=lambda answer: f"{answer[0]}-{answer[1][:6]!r}",
)
def test_nonsense_is_no_evidence_and_no_error(api: FakeApi, answer: tuple[int, bytes]) -> None:
    """Whatever the API says, the wait goes on; and the API is left in peace for a while."""
    api.answers[GITHUB_PATH] = answer
    check = check_for(github(api))
    assert ask(check, f"https://github.example{GITHUB_RUN}") is None
    assert check.failures
    assert ask(check, f"https://github.example{GITHUB_RUN}") is None
    assert len(api.asked) == 1


def silence(may_go: threading.Event) -> None:
    """Answer nothing."""
    may_go.wait(30)


def test_an_api_that_does_not_answer_costs_a_bounded_time(api: FakeApi) -> None:
    """A silent API, and one that answers byte by byte, are given up after the time for one question."""
    may_go = threading.Event()
    api.answers[GITHUB_PATH] = lambda _: silence(may_go)
    check = check_for(github(api))
    clock = check.clock
    before = clock.monotonic()
    assert ask(check, f"https://github.example{GITHUB_RUN}") is None
    assert clock.monotonic() - before < TIMEOUT_S + 2
    may_go.set()


def test_an_unreachable_api_is_no_error() -> None:
    """A port on which nobody listens."""
    with FakeApi() as gone:
        pass
    check = check_for(github(gone))
    assert ask(check, f"https://github.example{GITHUB_RUN}") is None
    assert check.failures


def states(world: World) -> LockState:
    """Return the state of main, as it is."""
    runner = world.runner("looker")
    found: list[LockState] = []

    def look(_: Task) -> None:
        state = runner.remote.look([MAIN], Deadline(runner.clock)).locks[MAIN]
        assert state is not None
        found.append(state)

    runner.spawn(look, at_s=world.kernel.now)
    world.run(world.kernel.now + 60)
    return found[0]


def test_an_inquest_asks_now_and_then_and_only_those_who_are_next() -> None:
    """A negative answer is asked again after 30 s, a positive one holds for its state; far places do not ask."""
    world = World(2)
    holder = world.runner("holder")

    def hold(_: Task) -> None:
        holder.acquire(ttl_s=3600.0)

    holder.spawn(hold)
    world.run(60)
    state = states(world)
    asked: list[LockName] = []
    answers: list[str | None] = [None, None, "ended"]

    def evidence(name: LockName, _: LockRecord) -> str | None:
        asked.append(name)
        return answers[len(asked) - 1]

    class Hands:
        now_s = 0.0

        def monotonic(self) -> float:
            return self.now_s

    hands = Hands()
    inquest = Inquest(evidence, hands)  # type: ignore[arg-type]  # all that it reads of a clock
    assert inquest.why(MAIN, state, ASKING_PLACES) is None
    assert asked == []
    assert inquest.why(MAIN, state, 0) is None
    hands.now_s = EVERY_S - 1
    assert inquest.why(MAIN, state, 0) is None
    assert len(asked) == 1
    hands.now_s = EVERY_S
    assert inquest.why(MAIN, state, 0) is None
    assert len(asked) == 2
    hands.now_s = 2 * EVERY_S
    assert inquest.why(MAIN, state, 0) == "ended"
    assert inquest.why(MAIN, state, ASKING_PLACES) == "ended"
    assert len(asked) == 3
    moved = LockState(Oid("1" * 40), state.record, state.ring)
    assert inquest.known(MAIN, moved) is None
    assert Inquest().why(MAIN, state, 0) is None


def test_a_dead_holders_lock_is_taken_in_the_order_of_the_queue() -> None:
    """With evidence the head takes over at once by preempting, with the evidence in the reason; the others wait on."""
    world = World(3)
    holder = world.runner("holder")

    def hold(_: Task) -> None:
        holder.acquire(ttl_s=3600.0)

    holder.spawn(hold)
    served: list[tuple[float, str, str]] = []

    def waiter(name: str, priority: int, at_s: float) -> None:
        runner = world.runner(name)

        def evidence(_: LockName, found: LockRecord) -> str | None:
            is_over = found.holder is not None and found.holder.name == "holder" and world.kernel.now > 100
            return "its run is over" if is_over else None

        def body(task: Task) -> None:
            lease = acquire_with(runner, Inquest(evidence, runner.clock), priority)
            served.append((task.kernel.now, name, lease.record(MAIN).reason))
            runner.sleeper.sleep(5.0)
            runner.release(lease)

        runner.spawn(body, at_s=at_s)

    waiter("low", 20, 1.0)
    waiter("high", 100, 2.0)
    world.run(3600.0)
    assert [name for _, name, _ in served] == ["high", "low"]
    assert 100 < served[0][0] < 100 + EVERY_S + 6
    assert served[0][2] == "its run is over"
    assert served[1][2] == ""


def acquire_with(runner: Runner, inquest: Inquest, priority: int) -> Lease:
    """Acquire main with an inquest."""
    request = AcquireRequest(
        (MAIN,), Holder(runner.name, name=runner.name), LeaseTiming.for_ttl(60.0), 3600.0, priority
    )
    return Acquirer(runner.remote, request, Deadline(runner.clock), inquest=inquest).run()
