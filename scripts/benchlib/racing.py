"""Races: N runners change one shared file and a file of their own at once, and all want their change on the branch.

The peer is what people write without a lock: commit, then up to 30 times pull with rebase, push, and wait for a moment
drawn at random. Whether anything was lost is read from the remote afterwards, by plain git.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchlib.serving import Served
from scripts.benchlib.world import BRANCH, DATA, World, command, run

LOOP, OURS = "loop", "gitref-lock"
BURSTS = ("first", "second")
_DEADLINE_S = 1800

# "theirs" of a rebase is the change being replayed: without it the loop ends at the first conflict instead.
LOOP_SCRIPT = r"""
git add -A && git commit -q -m "$1" || exit 1
for try in $(seq 30); do
    git pull -q --rebase -X theirs origin "$2" || git rebase --abort
    git push -q origin "HEAD:refs/heads/$2" && exit 0
    sleep "$(od -An -N2 -tu2 /dev/urandom | awk '{ print $1 / 65536 }')"
done
exit 1
"""


@dataclass(frozen=True, slots=True)
class Raced:
    """How one burst ended: runners with exit 0, changes on the branch exactly once, shared keys kept, and the cost."""

    seconds: float
    succeeded: int
    landed: int
    keys: int
    writes: int
    requests: int
    bytes: int


def words_of(side: str, name: str) -> list[str]:
    """Return the command of one runner."""
    if side == LOOP:
        return ["sh", "-c", LOOP_SCRIPT, "sh", name, BRANCH]
    return [*command(), "push", "-A", "-m", name, "-q"]


def bursts(side: str, world: World, server: Served, runners: int) -> dict[str, Raced]:
    """Race twice in one world: from nothing, and again with the experience of the first time."""
    return {
        burst: _burst(side, world, server, [f"{burst}-{number:03d}" for number in range(runners)]) for burst in BURSTS
    }


def _burst(side: str, world: World, server: Served, names: list[str]) -> Raced:
    with _at_full_speed(server):
        folders = {name: _prepared(world, name) for name in names}
    before = server.counts()
    began = time.perf_counter()
    processes = [
        subprocess.Popen(
            words_of(side, name),
            cwd=folder,
            env=dict(world.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, folder in folders.items()
    ]
    codes = [process.wait(timeout=_DEADLINE_S) for process in processes]
    seconds = time.perf_counter() - began
    spent = server.counts().since(before)
    subjects = world.git("log", "--format=%s", BRANCH).splitlines()
    kept = json.loads(world.git("show", f"{BRANCH}:{DATA}"))
    world.git("fsck", "--strict", "--no-dangling")
    return Raced(
        seconds,
        codes.count(0),
        sum(subjects.count(name) == 1 for name in names),
        sum(name in kept for name in names),
        spent.writes,
        spent.requests,
        spent.bytes_up + spent.bytes_down,
    )


def _prepared(world: World, name: str) -> Path:
    """Return a fresh clone in which the shared file has a key more, and a file of the runner's own."""
    folder = world.clone(name)
    run(["git", "config", "gc.auto", "0"], folder, world.environ)
    shared: Mapping[str, object] = json.loads((folder / DATA).read_text())
    (folder / DATA).write_text(json.dumps({**shared, name: 1}, indent=1) + "\n")
    (folder / f"{name}.txt").write_text(f"{name}\n")
    return folder


@contextmanager
def _at_full_speed(server: Served) -> Iterator[None]:
    """Take the added latency away while nothing is measured."""
    kept = server.latency
    server.set_latency(0, 0)
    try:
        yield
    finally:
        server.set_latency(*kept)
