"""Asking the CI's own API whether a holder's run has ended, so that a dead holder need not be waited for.

Opt-in, and only with a token in the environment. The token goes to the configured API and nowhere else; a run on
another host is not asked about. An API that fails, is slow or makes no sense is no evidence, and never an error
(docs/protocol.md, section 5).

Sources: GitHub REST API, "Workflow runs"; GitLab REST API, "Jobs" and "Pipelines".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Protocol

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import LockName
from gitref_lock.core.record import LockRecord
from gitref_lock.core.text import clip
from gitref_lock.ports import Clock, RemoteError

TIMEOUT_S = 3.0
_SLOWEST_ASKING_S = 600.0
_FAILURE_PAUSE_S = 30.0
_GITHUB_RUN = re.compile(r"/([A-Za-z0-9_.-]+)/([A-Za-z0-9_.-]+)/actions/runs/([0-9]{1,20})(?:/attempts/([0-9]{1,6}))?")
_GITLAB_RUN = re.compile(r"/([A-Za-z0-9_./-]+)/-/(jobs|pipelines)/([0-9]{1,20})")
_ENDED_JOBS = frozenset({"failed", "canceled"})
_ENDED_PIPELINES = frozenset({"success", "failed", "canceled", "skipped"})

Verdict = Callable[[Mapping[str, object]], str | None]
"""Reads an answer: the evidence that the run has ended, None where it does not say so."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to GET below the API's base, and how to read the answer."""

    path: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Api:
    """One CI's API. ``web`` is the address of its pages, by which runs are named; ``header`` carries the token."""

    url: str
    web: str
    header: tuple[str, str] = field(repr=False)
    ask: Callable[[str], Question | None]

    def question(self, run_url: str) -> Question | None:
        """Return what to ask about a run; None for a run of another host, or a name that makes no sense."""
        web = self.web.rstrip("/")
        if not web or not run_url.startswith(f"{web}/") or ".." in run_url:
            return None
        return self.ask(run_url.removeprefix(web))


class Client(Protocol):
    """What asks."""

    def get(self, path: str, timeout_s: float) -> bytes:
        """Return the body of a good answer; raise RemoteError for any other."""
        ...


def api_of(environ: Mapping[str, str]) -> Api | None:
    """Return the API that this CI job may ask; None without its address or a token."""
    url, token = environ.get("GITHUB_API_URL", ""), environ.get("GITHUB_TOKEN", "")
    if _is_address(url) and token:
        web = environ.get("GITHUB_SERVER_URL", "")
        return Api(url, web, ("Authorization", f"Bearer {token}"), _github) if _is_clean(token) else None
    url = environ.get("CI_API_V4_URL", "")
    personal, job = environ.get("GITLAB_TOKEN", ""), environ.get("CI_JOB_TOKEN", "")
    token = personal or job
    if _is_address(url) and _is_clean(token):
        header = ("PRIVATE-TOKEN", personal) if personal else ("JOB-TOKEN", job)
        return Api(url, environ.get("CI_SERVER_URL", ""), header, _gitlab)
    return None


def _is_address(url: str) -> bool:
    return url.startswith(("https://", "http://"))


def _is_clean(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _github(path: str) -> Question | None:
    found = _GITHUB_RUN.fullmatch(path)
    if found is None:
        return None
    owner, repository, run, attempt = found.groups()

    def verdict(answer: Mapping[str, object]) -> str | None:
        if answer.get("id") != int(run) or answer.get("status") != "completed":
            return None
        how = answer.get("conclusion")
        return f"GitHub says that run {run} is completed ({clip(how, 40) if isinstance(how, str) else 'no conclusion'})"

    tail = f"/attempts/{attempt}" if attempt else ""
    return Question(f"/repos/{owner}/{repository}/actions/runs/{run}{tail}", verdict)


def _gitlab(path: str) -> Question | None:
    """Ask about a job or a pipeline.

    A job that succeeded may have left its lease to a later job of its pipeline on purpose; so then the pipeline
    must be over too. A job that failed or was canceled leaves nothing on purpose.
    """
    found = _GITLAB_RUN.fullmatch(path)
    if found is None:
        return None
    project, kind, number = found.groups()

    def verdict(answer: Mapping[str, object]) -> str | None:
        status = answer.get("status")
        if answer.get("id") != int(number) or not isinstance(status, str):
            return None
        if kind == "pipelines":
            is_over = status in _ENDED_PIPELINES
        else:
            pipeline = answer.get("pipeline")
            of_all = pipeline.get("status") if isinstance(pipeline, dict) else None
            is_over = status in _ENDED_JOBS or (status == "success" and of_all in _ENDED_PIPELINES)
        return f"GitLab says that {kind[:-1]} {number} is over ({status})" if is_over else None

    encoded = project.replace("/", "%2F")
    return Question(f"/projects/{encoded}/{kind}/{number}", verdict)


@dataclass(slots=True)
class LivenessCheck:
    """Evidence for a waiter (see ``runtime.acquire.Evidence``). Failures are kept in ``failures`` and slow it down."""

    api: Api
    client: Client
    clock: Clock
    failures: list[str] = field(default_factory=list)
    _not_before_s: float = 0.0

    def __call__(self, name: LockName, record: LockRecord) -> str | None:  # noqa: ARG002 - the holder is asked about
        """Return why the holder's run is known to have ended, None when it is not known."""
        question = self.api.question(record.holder.run_url) if record.holder is not None else None
        if question is None or self.clock.monotonic() < self._not_before_s:
            return None
        try:
            answer = json.loads(self.client.get(question.path, TIMEOUT_S))
        except (RemoteError, ValueError, RecursionError) as error:
            self._failed(str(error))
            return None
        if not isinstance(answer, dict):
            self._failed("the API's answer is no object")
            return None
        self.failures.clear()
        return question.verdict(answer)

    def _failed(self, why: str) -> None:
        """Ask less and less often: an API that does not work must not cost every look its time."""
        self.failures.append(clip(why, 200))
        pause_s = min(_SLOWEST_ASKING_S, _FAILURE_PAUSE_S * 2 ** min(len(self.failures), 10))
        self._not_before_s = self.clock.monotonic() + pause_s
