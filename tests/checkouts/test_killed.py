"""A push that is killed in a checkout of any kind: the next command there finishes or drops it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitref_lock.landing.checkout import Checkout
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.recovery import resume
from gitref_lock.testing.faults import DropBefore, Fault, FaultPlan, LateCopy
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import Request, RequestKind
from tests.support.ci import advance, assert_sound, land, write
from tests.support.gitcli import Repo, clone, git_env
from tests.support.race import start_push
from tests.support.runners import history_at, holder, remote_at, subjects_at, tip_at

DEADLINE_S = 60
KINDS = {
    "full": (),
    "shallow": ("--depth=1",),
    "partial": ("--filter=blob:none",),
    "sparse": ("--sparse",),
    "all three": ("--depth=1", "--filter=blob:none", "--sparse"),
}


@pytest.fixture
def server(server_root: Path, bare: Repo) -> Iterator[GitHttpServer]:
    """Return the server, so that requests can kill."""
    with GitHttpServer(server_root) as made:
        yield made


def killed_at(server: GitHttpServer, folder: Repo, *words: str, is_applied: bool, instead: Fault | None = None) -> None:
    """Push from ``folder`` and kill the process at the request that lands, before or after it is applied.

    ``instead`` is what happens to a request that is not applied; by default it is lost.
    """
    ready = threading.Event()
    processes: list[subprocess.Popen[str]] = []

    def kill(_: Request) -> None:
        assert ready.wait(DEADLINE_S)
        processes[0].kill()
        processes[0].wait(DEADLINE_S)

    plan = FaultPlan()
    if is_applied:
        plan.after(RequestKind.RECEIVE_PACK, 1, kill)
    else:
        plan.on(RequestKind.RECEIVE_PACK, 1, instead or DropBefore()).before(RequestKind.RECEIVE_PACK, 1, kill)
    server.set_faults(plan)
    processes.append(start_push(folder.path, "killed", *words))
    ready.set()
    processes[0].communicate(timeout=DEADLINE_S)
    server.set_faults()


def about_to_land(server: GitHttpServer, tmp_path: Path) -> tuple[str, Repo]:
    """Return a remote whose lock exists, so that the next write is a landing, and a clone with a change."""
    url = server.repo_url("repo.git")
    folder = clone(url, tmp_path / "c")
    write(folder, {"first.txt": "first\n"})
    land(folder, url, message="first")
    write(folder, {"data/killed.txt": "killed\n"})
    return url, folder


@pytest.mark.parametrize("is_applied", [False, True], ids=["lost", "applied"])
def test_a_dry_run_tells_of_an_unfinished_push_and_leaves_it(
    server: GitHttpServer, bare: Repo, tmp_path: Path, is_applied: bool
) -> None:
    """Refs, index, files and journal stay as the kill left them, here and there; the next real push tidies up."""
    url, folder = about_to_land(server, tmp_path)
    killed_at(server, folder, is_applied=is_applied)
    journal = folder.path / ".git/gitref-lock/journal.json"

    def everything() -> list[object]:
        return [bare.refs(), folder.refs(), (folder.path / ".git/index").read_bytes(), journal.read_bytes()]

    before = everything()
    report = land(folder, url, message="again", dry_run=True)
    assert report.recovered.startswith("an earlier push from this clone to refs/heads/main is unfinished")
    assert ("has landed as" in report.recovered) is is_applied
    assert everything() == before
    write(folder, {"data/again.txt": "again\n"})
    assert land(folder, url, message="again").recovered.startswith("finished" if is_applied else "dropped")
    assert subjects_at(bare)[0] == "again"


@pytest.mark.parametrize("is_detached", [False, True], ids=["branch", "detached"])
@pytest.mark.parametrize("is_applied", [False, True], ids=["lost", "applied"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_push_tidies_up(
    server: GitHttpServer, bare: Repo, tmp_path: Path, kind: str, is_applied: bool, is_detached: bool
) -> None:
    """Whether the killed landing was applied is found out; both changes are there once at most, theirs too."""
    url = server.repo_url("repo.git")
    first = clone(url, tmp_path / "first")
    write(first, {"first.txt": "first\n"})
    land(first, url, message="first")
    folder = clone(url, tmp_path / "c", *KINDS[kind])
    if "--sparse" in KINDS[kind]:
        folder.git("sparse-checkout", "set", "data")
    if is_detached:
        folder.git("checkout", "-q", "--detach")
    advance(bare, {"docs/guide.md": "one\n", "README.md": "one\n"}, "theirs one")
    write(folder, {"data/killed.txt": "killed\n"})
    words = ["--branch", "main"] if is_detached else []
    killed_at(server, folder, *words, is_applied=is_applied)
    advance(bare, {"docs/guide.md": "two\n", "README.md": "two\n"}, "theirs two")
    write(folder, {"data/again.txt": "again\n"})
    report = land(folder, url, message="again", ci_branch="main")
    assert report.landed is not None
    assert report.recovered.startswith("finished" if is_applied else "dropped"), report.recovered
    assert subjects_at(bare).count("killed") == int(is_applied)
    assert subjects_at(bare)[0] == "again"
    listing = bare.git("ls-tree", "-r", "--name-only", "main").splitlines()
    assert {"data/killed.txt", "data/again.txt", "docs/old.md", "first.txt"} <= set(listing)
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert folder.git("status", "--porcelain") == ""
    assert (folder.path / "README.md").read_text() == "two\n"
    assert_sound(folder)


def test_a_copy_of_the_killed_landing_that_arrives_after_the_recovery_is_refused(
    server: GitHttpServer, bare: Repo, tmp_path: Path
) -> None:
    """The recovery says that the landing was dropped, and keeps its word: the lock was moved on under the late copy."""
    url, folder = about_to_land(server, tmp_path)
    late = LateCopy()
    killed_at(server, folder, is_applied=False, instead=late)
    remote, before = remote_at(url), bare.refs()
    with Checkout.open(folder.path, git_env()) as checkout, checkout.exclusive():
        said = resume(remote, checkout, holder("next"), Deadline.after(remote.system, 60.0))
    assert said.startswith("dropped")
    recovered = bare.refs()
    reply = late.apply()
    assert b"ng refs/heads/main" in reply.body
    assert bare.refs() == recovered
    assert "killed" not in subjects_at(bare)
    assert {ref for ref, oid in recovered.items() if before[ref] != oid} == {"refs/locks/main"}
    assert history_at(bare)[-1]["event"] == "abandon"
