"""Races of real `gitref-lock push` processes, each in a clone of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.gitcli import Repo, clone, git_env
from tests.support.runners import add_key, keys_at, subjects_at

PROJECT = Path(__file__).resolve().parents[2]
DEADLINE_S = 240


@dataclass(frozen=True)
class Finished:
    """One process that has ended; ``said`` is its JSON document."""

    name: str
    code: int
    said: dict[str, object]
    stderr: str


def command_env(**extra: str) -> dict[str, str]:
    """Return the pinned environment in which this project's command can be run."""
    return {**git_env(extra={"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}), **extra}


def start_push(folder: Path, message: str, *words: str, **env: str) -> subprocess.Popen[str]:
    """Start a push of everything in ``folder``."""
    return subprocess.Popen(
        [sys.executable, "-m", "gitref_lock", "push", "-A", "-m", message, "--holder", message, "--json", *words],
        cwd=folder,
        env=command_env(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(name: str, process: subprocess.Popen[str]) -> Finished:
    """Wait for a process and read what it said."""
    out, err = process.communicate(timeout=DEADLINE_S)
    return Finished(name, process.returncode, json.loads(out) if out.strip() else {}, err)


def make_racers(folder: Path, url: str, names: Sequence[str]) -> dict[str, Repo]:
    """Clone once a name; each clone sets a key of the shared file and writes a file of its own."""
    racers = {}
    for name in names:
        racers[name] = clone(url, folder / name)
        add_key(racers[name], name)
    return racers


def race(racers: dict[str, Repo], *words: str) -> list[Finished]:
    """Start one push a racer at once and wait for all."""
    processes = {name: start_push(repo.path, name, *words) for name, repo in racers.items()}
    return [finish(name, process) for name, process in processes.items()]


def assert_all_landed_once(bare: Repo, ended: Sequence[Finished]) -> None:
    """Check on the remote, by plain git, that no exit code lies and that every change is there exactly once."""
    subjects, keys = subjects_at(bare), keys_at(bare)
    for run in ended:
        assert run.code == 0, (run.name, run.code, run.said, run.stderr)
        assert subjects.count(run.name) == 1, run.name
        assert keys.get(run.name) == 1, run.name
        assert bare.git("show", f"main:{run.name}.txt") == run.name
        landed = str(run.said["commit_hash"])
        bare.git("merge-base", "--is-ancestor", landed, "main")
        assert bare.git("log", "-1", "--format=%s", landed) == run.name
    bare.git("fsck", "--strict", "--no-dangling")
