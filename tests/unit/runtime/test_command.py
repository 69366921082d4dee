"""Starting a command: held back, then itself, with the signals and descriptors that it would have had without us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.scheduling.jobs import ROOT

STARTER = """
import os, signal, sys
from gitref_lock.runtime.command import hold_back, signal_group
mode, *words = sys.argv[1:]
command = hold_back(words, dict(os.environ, ADDED="yes"), signal.pthread_sigmask(signal.SIG_BLOCK, []))
assert os.getpgid(command.pid) == command.pid
if mode == "cancel":
    command.cancel()
    print(signal_group(command.pid, 0))
else:
    failure = command.go()
    while command.status is None:
        command.reap()
    print(command.status, failure.errno if failure else 0, flush=True)
"""


def started(*words: str, mode: str = "go", prefix: tuple[str, ...] = ()) -> list[str]:
    """Start a command from a process of its own; return what both have said, by lines."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", STARTER, mode, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()


def test_it_runs_when_it_is_let_go() -> None:
    """With the environment that was given, and its own exit code."""
    assert started("sh", "-c", "echo $ADDED; exit 3") == ["yes", "3 0"]


def test_a_cancelled_command_never_runs(tmp_path: Path) -> None:
    """Nothing of it is left, and nothing was executed."""
    assert started("touch", str(tmp_path / "ran"), mode="cancel") == ["False"]
    assert not (tmp_path / "ran").exists()


def test_why_it_could_not_be_started(tmp_path: Path) -> None:
    """Missing, not executable, a folder: with the code of shells and the error's number."""
    plain = tmp_path / "plain"
    plain.write_text("exit 0\n")
    assert started(str(tmp_path / "missing")) == ["127 2"]
    assert started(str(plain)) == ["126 13"]
    assert started(str(tmp_path)) == ["126 13"]


def test_a_script_without_interpreter_gets_its_arguments(tmp_path: Path) -> None:
    """It is the shell's, found on PATH or named."""
    script = tmp_path / "script"
    script.write_text('echo "$0" "$@"\nexit 5\n')
    script.chmod(0o755)
    assert started(str(script), "a b", "c") == [f"{script} a b c", "5 0"]


def test_signals_are_as_they_were() -> None:
    """What Python ignores for itself is not ignored by the command; what our caller ignored still is."""
    caught = "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -s '\\t\\n' '  '"
    here = subprocess.run(["sh", "-c", caught], capture_output=True, text=True, check=True).stdout.split()
    assert int(here[3], 16) & 0x7FFFFFFF == 0, "only the two signals of the C library itself, which make ignores"
    assert started("sh", "-c", caught)[0].split()[:4] == here[:4]
    ignored = started("sh", "-c", caught, prefix=("nohup",))[0].split()
    assert int(ignored[3], 16) == int(here[3], 16) | 1
