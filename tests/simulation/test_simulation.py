"""Whole runs of the product in virtual time keep every promise, and a seed means the same on every machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.testing.sim import check, replay_command
from gitref_lock.testing.sim_faults import Faults
from gitref_lock.testing.sim_world import Setting, World

ROOT = Path(__file__).resolve().parents[2]
SEEDS = {"default": 160, "ci": 1000, "nightly": 10_000}[os.environ.get("HYPOTHESIS_PROFILE", "default")]
CHUNKS = 8


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_is_kept(chunk: int) -> None:
    """No oracle finds anything in runs with faults, people, administrators and clocks of every kind."""
    for seed in range(chunk * SEEDS // CHUNKS, (chunk + 1) * SEEDS // CHUNKS):
        setting = Setting(seed)
        world, found = check(setting)
        assert not found, "\n".join([*found, *world.facts, replay_command(setting)])


def test_without_faults_everything_lands() -> None:
    """On a good network, with time enough and nothing in conflict, every push lands."""
    for seed in range(1000, 1010):
        world, found = check(Setting(seed, 6, 2, faults=Faults(), is_quiet=True, holds=0.0))
        assert not found
        told = {push.result for push in world.history.pushes if "clash" not in push.change}
        assert told <= {"landed", "lock-timeout", "nothing-survives"}
        patient = [push for push in world.history.pushes if push.allowed_s > 100 and "clash" not in push.change]
        assert {push.result for push in patient} <= {"landed"}, world.facts


def forbid_locks(world: World) -> None:
    """Let the host forbid every ref of the locks, as a policy for a namespace does."""
    world.server.update_hook = lambda cmd: "hook declined" if cmd.ref.startswith("refs/lock") else None


def test_where_the_host_forbids_locks_every_promise_but_the_fence_is_kept() -> None:
    """Pushes land by the branch's own old value and are called degraded; nothing is lost and nothing is held."""
    told: set[tuple[str, str]] = set()
    for seed in range(80):
        setting = Setting(seed, tune=forbid_locks)
        world, found = check(setting)
        assert not found, "\n".join([*found, *world.facts])
        assert not any(ref.startswith("refs/locks/") for ref in world.server.refs)
        told |= {(push.result, push.how) for push in world.history.pushes}
    assert {how for result, how in told if result == "landed"} == {"degraded"}


def test_faults_do_happen() -> None:
    """The runs that keep every promise are not tame: each kind of fault and of outcome is among them."""
    seen: set[str] = set()
    notes = ""
    for seed in range(120):
        world, _ = check(Setting(seed))
        seen |= {push.result for push in world.history.pushes} | {push.how for push in world.history.pushes}
        notes += "\n".join([*world.history.trace, *world.facts])
    assert {"landed", "unknown", "crashed", "lock-timeout", "nothing-survives"} <= seen
    assert {"fast", "queued", "combined", "leased", "unfenced", "emergency"} <= seen
    for sign in (
        "crashes before sending",
        "crashes after sending",
        "crashes after the reply",
        "is lost on the way",
        "its reply is lost",
        "breaks off; it arrives",
        ".1 ",
        "stops for",
        "suspends for",
        "human human",
        "human rewind",
        "human delete",
        "mirror mirror",
        "objects are collected",
        "pre-receive hook declined",
        "breaks main: Applied",
        "a partition begins",
        "a wall clock is set",
        "is told ok, and nothing is done",
    ):
        assert sign in notes, sign


def fingerprint(seed: int) -> str:
    """Return what happened in a run, as one word."""
    world, _ = check(Setting(seed))
    return hashlib.sha256("\n".join(world.history.trace).encode()).hexdigest()


def test_a_seed_always_means_the_same() -> None:
    """A run does not depend on the process, its hash seed, or what ran before it."""
    code = "import sys; from tests.simulation.test_simulation import fingerprint; print(*map(fingerprint, (3, 11, 27)))"
    words = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert words == {" ".join(map(fingerprint, (3, 11, 27)))}


def test_the_command_that_replays_a_run_names_what_was_given() -> None:
    """A failure prints one command; what was drawn from the seed is not part of it."""
    assert replay_command(Setting(7)) == "make simulate SEED=7"
    assert replay_command(Setting(7, 4, 2)) == "make simulate SEED=7 RUNNERS=4 STEPS=2"
