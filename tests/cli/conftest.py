"""The command line as people and CI run it: a real process, a fresh home, an environment without the machine's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gitcli import Repo, git_env

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> dict[str, Any]:
        """The error of the JSON document; it names the exit code that the process had."""
        value: dict[str, Any] = self.json["error"]
        assert value["exit"] == self.code
        return value

    @property
    def token(self) -> str:
        """The lease token that ``acquire`` printed."""
        return self.out.strip()


class Cli:
    """Runs commands in ``cwd``; every process it starts is ended with the test."""

    def __init__(self, cwd: Path, home: Path, environ: Mapping[str, str] | None = None) -> None:
        """Keep where to run."""
        self.cwd = cwd
        self.home = home
        self.environ = {**git_env(home), "PYTHONPATH": str(ROOT), "USER": "tester", **(environ or {})}
        self.started: list[subprocess.Popen[str]] = []

    def at(self, cwd: Path) -> Cli:
        """Return a runner in another folder; it shares what is ended with the test."""
        other = Cli(cwd, self.home, self.environ)
        other.started = self.started
        return other

    def under(self, **environ: str) -> Cli:
        """Return a runner with more variables; it shares what is ended with the test."""
        other = Cli(self.cwd, self.home, {**self.environ, **environ})
        other.started = self.started
        return other

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start a command and return its process."""
        process = subprocess.Popen(
            [sys.executable, "-m", "gitref_lock", *map(str, words)],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=False,
        )
        self.started.append(process)
        return process

    def __call__(self, *words: str | Path, code: int | None = 0) -> Result:
        """Run a command to its end; it must exit with ``code`` (None: any)."""
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        result = Result(process.returncode, out, err)
        assert code is None or result.code == code, f"exit {result.code}\n{out}\n{err}"
        return result


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Result:
    """Send a signal and return how the process ended."""
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    return Result(process.returncode, out, err)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an empty home."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(work_clone: Repo, home: Path) -> Iterator[Cli]:
    """Return a runner in a clone made over HTTP."""
    runner = Cli(work_clone.path, home)
    yield runner
    for process in runner.started:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def other(cli: Cli, repo_url: str, tmp_path: Path) -> Cli:
    """Return a runner outside any clone that meets the first one at the same remote."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return cli.at(folder).under(GITREF_LOCK_REMOTE=repo_url, RUNNER_TEMP=str(folder), USER="other")
