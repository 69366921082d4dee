"""What ends a command after its work is done: the exit code still says what is true of the remote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.testing.faults import FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import Request, RequestKind
from tests.cli.conftest import Cli
from tests.support.gitcli import Repo
from tests.support.runners import acquire_at, add_key, in_folder, push_from, remote_at, subjects_at

NOBODY_READS = "| (exec 0<&-; sleep 1)"
SIGNALS = [signal.SIGTERM, signal.SIGINT]


def shell(cli: Cli, text: str) -> subprocess.CompletedProcess[str]:
    """Run ``text`` by a shell; CMD in it is the program."""
    words = "set -o pipefail; " + text.replace("CMD", f"{sys.executable} -m gitref_lock")
    return subprocess.run(
        ["bash", "-c", words], cwd=cli.cwd, env=cli.environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("rest", ["> /dev/full", "2> /dev/full", NOBODY_READS, f"--json {NOBODY_READS}"])
def test_a_landing_is_success_whoever_reads_about_it(cli: Cli, bare_repo: Repo, rest: str) -> None:
    """A full disk or a closed pipe behind the report does not make a failure of a change that is in the branch."""
    add_key(Repo(cli.cwd), "mine")
    assert shell(cli, f"CMD push -A -m mine {rest}").returncode == 0
    assert subjects_at(bare_repo).count("mine") == 1


@pytest.mark.parametrize("rest", ["> /dev/full", NOBODY_READS, f"--json {NOBODY_READS}"])
def test_an_acquire_that_nobody_hears_of_gives_the_lock_back(cli: Cli, bare_repo: Repo, rest: str) -> None:
    """A failed acquire holds nothing, also where it failed at telling."""
    assert shell(cli, f"CMD acquire {rest}").returncode != 0
    assert json.loads(bare_repo.git("show", "refs/locks/main:lock.json"))["state"] == "free"


def test_a_failure_keeps_its_code_when_nobody_reads(cli: Cli, repo_url: str) -> None:
    """A lock that is held is exit 4, also where the JSON document finds no reader."""
    acquire_at(remote_at(repo_url))
    done = shell(cli, f"CMD acquire -n --json {NOBODY_READS}")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("kind", "nth"), [(RequestKind.LS_REFS, 1), (RequestKind.RECEIVE_PACK, 1), (RequestKind.RECEIVE_PACK, 2)]
)
def test_a_signal_at_any_request_tells_the_truth(
    git_server: GitHttpServer, cli: Cli, bare_repo: Repo, kind: RequestKind, nth: int, when: str, number: int
) -> None:
    """Exit 0 exactly if the change is in the branch, whenever the signal came."""
    add_key(Repo(cli.cwd), "mine")
    plan = FaultPlan()
    started: list[subprocess.Popen[str]] = []

    def end(_: Request) -> None:
        os.kill(started[0].pid, number)

    getattr(plan, when)(kind, nth, end)
    git_server.set_faults(plan)
    started.append(cli.start("push", "-A", "-m", "mine"))
    started[0].communicate(timeout=60)
    has_landed = "mine" in subjects_at(bare_repo)
    assert started[0].returncode == (0 if has_landed else 128 + number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_clone_moves_is_too_late_to_fail(
    cli: Cli, bare_repo: Repo, repo_url: str, tmp_path: Path, number: int
) -> None:
    """The change is in the branch: the local move is finished, the exit code is 0."""
    mine, other, pid = Repo(cli.cwd), in_folder(tmp_path, "other", repo_url), tmp_path / "pid"
    (other.path / ".gitattributes").write_text("*.filtered filter=slow\n")
    push_from(other, repo_url, "attributes")
    mine.git("pull", "-q", "origin", "main")
    for name in ("a.filtered", "b.txt", "z.filtered"):
        (other.path / name).write_text(f"{name}\n")
    push_from(other, repo_url, "files")
    mine.git("config", "filter.slow.smudge", f"sh -c 'kill -{int(number)} $(cat {pid}); cat'")
    mine.git("config", "filter.slow.clean", "cat")
    add_key(mine, "mine")
    process = cli.start("push", "-A", "-m", "mine", "--json")
    pid.write_text(str(process.pid))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["local_updated"]) == (0, True), err
    assert mine.ref("HEAD") == bare_repo.ref("refs/heads/main")
    assert mine.git("status", "--porcelain") == ""
    assert (mine.path / "z.filtered").read_text() == "z.filtered\n"
