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


def proceeding(work: Repo) -> None:
    """Let pushes of this clone land past a held lock when their wait is over."""
    (work.path / ".git" / "info" / "exclude").write_text(".gitref-lock.toml\n")
    (work.path / ".gitref-lock.toml").write_text('on-timeout = "proceed-unlocked"\n')


def test_the_default_is_to_fail(jobs: Jobs, work: Repo, bare_repo: Repo) -> None:
    """Without a setting nothing lands past a held lock."""
    hold(jobs)
    before = tip_at(bare_repo)
    assert push(jobs)[0] == 4
    assert tip_at(bare_repo) == before


def test_proceed_unlocked_is_loud_and_leaves_the_lock_alone(jobs: Jobs, work: Repo, bare_repo: Repo) -> None:
    """The change lands by the branch's own old value, a warning says so, and the holder's lease is untouched."""
    proceeding(work)
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


def test_what_is_discarded_past_the_lock_is_kept(jobs: Jobs, work: Repo, bare_repo: Repo) -> None:
    """The pushed side that a rule discards is on the remote, under the name that the report gives."""
    other = clone(jobs.url, jobs.folder / "other")
    (other.path / "new.txt").write_text("theirs\n")
    other.git("add", ".")
    other.git("commit", "-q", "-m", "theirs")
    other.git("push", "-q", "origin", "HEAD:main")
    (work.path / "more.txt").write_text("more\n")
    proceeding(work)
    hold(jobs)
    code, out, said = push(jobs, "--strategy", "**=theirs")
    assert code == 0, said
    (rescued,) = json.loads(out)["rescued"]
    assert bare_repo.git("rev-parse", f"refs/lock-rescue/main/{rescued}") == rescued
    assert bare_repo.git("show", f"{rescued}:new.txt") == "new"


def test_a_tag_cannot_be_made_past_the_lock(jobs: Jobs, work: Repo, bare_repo: Repo) -> None:
    """A tag belongs into the landing's own swap: without the lock the push says so, and lands nothing."""
    proceeding(work)
    hold(jobs)
    before = tip_at(bare_repo)
    code, out, _ = push(jobs, "--tag", "v1")
    assert code == 3
    assert "a tag" in json.dumps(json.loads(out))
    assert tip_at(bare_repo) == before
    assert bare_repo.git("tag") == ""
