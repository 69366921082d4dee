"""``on-timeout``: what a push does when its wait for the lock is over."""

from __future__ import annotations

import json

import pytest

from tests.scheduling.jobs import Jobs
from tests.support.gitcli import Repo, clone
from tests.support.runners import history_at, tip_at


@pytest.fixture
def work(jobs: Jobs) -> Repo:
    """Return a clone with a change in it."""
    found = clone(jobs.url, jobs.folder / "work")
    (found.path / "new.txt").write_text("new\n")
    return found


def push(jobs: Jobs, *words: str) -> tuple[int, str, str]:
    """Push the change, waiting for half a second."""
    return jobs.done("push", "-A", "-m", "change", "--wait", "500ms", "--json", *words, folder="work")


def hold(jobs: Jobs) -> None:
    """Hold the branch's lock for the rest of the test."""
    jobs.run("main").held()


def test_the_default_is_to_fail(jobs: Jobs, work: Repo, bare_repo: Repo) -> None:
    """Without a setting nothing lands past a held lock."""
    hold(jobs)
    before = tip_at(bare_repo)
    assert push(jobs)[0] == 4
    assert tip_at(bare_repo) == before


def test_proceed_unlocked_is_loud_and_leaves_the_lock_alone(jobs: Jobs, work: Repo, bare_repo: Repo) -> None:
    """The change lands by the branch's own old value, a warning says so, and the holder's lease is untouched."""
    (work.path / ".git" / "info" / "exclude").write_text(".gitref-lock.toml\n")
    (work.path / ".gitref-lock.toml").write_text('on-timeout = "proceed-unlocked"\n')
    hold(jobs)
    before = tip_at(bare_repo)
    code, out, said = push(jobs)
    assert code == 0, said
    assert json.loads(out)["landed"] == "degraded"
    assert "LANDING WITHOUT THE LOCK" in said
    assert tip_at(bare_repo) != before
    assert [line["event"] for line in history_at(bare_repo)] == ["acquire"]


@pytest.mark.parametrize("flag", ["--require-fence", "--no-degrade"])
def test_a_required_fence_comes_first(jobs: Jobs, work: Repo, bare_repo: Repo, flag: str) -> None:
    """Who asks for the fence gets it, whatever the file says."""
    (work.path / ".gitref-lock.toml").write_text('[workflows."*"]\non-timeout = "proceed-unlocked"\n')
    hold(jobs)
    before = tip_at(bare_repo)
    assert push(jobs, flag)[0] == 4
    assert tip_at(bare_repo) == before
