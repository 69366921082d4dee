"""Streams that are closed or that nobody reads: commands do their work, and no lock is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Cli
from tests.support.gitcli import clone, make_bare

COMMANDS = ["acquire v1", "inspect v1", "history v1", "release v1 --if-held", "doctor --offline", "--version", "--help"]

WITHOUT_STREAMS = """
import sys
from gitref_lock.cli.app import main
sys.stdout.close()
sys.exit(main(["run", "v1", "--", "touch", "ran"]))
"""


@pytest.fixture
def local(tmp_path: Path, home: Path) -> Cli:
    """Return a runner in a clone whose remote is a path."""
    bare = make_bare(tmp_path / "remote.git")
    return Cli(clone(str(bare.path), tmp_path / "local").path, home)


def shell(cli: Cli, text: str) -> subprocess.CompletedProcess[str]:
    """Run ``text`` by a shell; CMD in it is the program."""
    return subprocess.run(
        ["sh", "-c", text.replace("CMD", f"{sys.executable} -m gitref_lock")],
        cwd=cli.cwd,
        env=cli.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_under_its_lock_without_standard_streams(local: Cli, closed: str) -> None:
    """The wrapped command runs, the lock is free afterwards, and no descriptor of the remote takes a stream's place."""
    done = shell(local, f"CMD run v1 -- touch ran {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (local.cwd / "ran").exists()
    assert local("inspect", "v1", "--json").json["locks"][0]["state"] == "free"


def test_a_wrapped_command_finds_closed_what_was_closed(local: Cli) -> None:
    """A descriptor that is closed for us is closed for the command, as it would be without us."""
    told = "CMD run v1 -- sh -c 'test -e /dev/fd/1 || touch closed' >&-"
    assert shell(local, told).returncode == 0
    assert (local.cwd / "closed").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_works_without_a_standard_stream(local: Cli, words: str, closed: str) -> None:
    """A closed input or output changes neither what is done nor the exit code."""
    done = shell(local, f"CMD {words} {closed}")
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


@pytest.mark.parametrize("words", ["--version", "--help", "inspect --help", "inspect v1"])
def test_output_that_nobody_reads_ends_quietly(local: Cli, words: str) -> None:
    """Version and help end as all other output does where the reader has left: with 141 and without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "gitref_lock", *words.split()],
        cwd=local.cwd,
        env=local.environ,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_failure_before_the_command_begins_releases_the_lock(local: Cli) -> None:
    """Whatever goes wrong between the acquisition and the start, the lock does not stay held for its whole ttl."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_STREAMS],
        cwd=local.cwd,
        env={**local.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "unexpected: ValueError" in done.stderr
    assert not (local.cwd / "ran").exists()
    assert local("inspect", "v1", "--json").json["locks"][0]["state"] == "free"
