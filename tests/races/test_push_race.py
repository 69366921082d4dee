"""Racing runners: every change lands exactly once, whatever the number of runners."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.support.gitcli import Repo, clone, make_bare
from tests.support.race import assert_all_landed_once, make_racers, race
from tests.support.runners import history_at, push_from


def names(count: int, prefix: str = "r") -> list[str]:
    """Return ``count`` names."""
    return [f"{prefix}{number:02d}" for number in range(count)]


@pytest.mark.parametrize("count", [8, 32])
def test_racing_processes_all_land_over_http(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path, count: int
) -> None:
    """N processes change one JSON file at once over HTTP: all land, every key is kept, no exit code lies."""
    racers = make_racers(tmp_path, repo_url, names(count))
    ended = race(racers)
    assert_all_landed_once(bare_repo, ended)
    for repo in racers.values():
        assert repo.git("status", "--porcelain") == ""
    assert sum(int(str(line.get("landed", 0))) for line in history_at(bare_repo)) == count


def test_racing_processes_all_land_on_a_local_path(tmp_path: Path) -> None:
    """The same race on a path remote, through real receive-pack processes."""
    bare = make_bare(tmp_path / "remote.git")
    ended = race(make_racers(tmp_path, str(bare.path), names(8)))
    assert_all_landed_once(bare, ended)


@pytest.mark.parametrize(
    "count", [8, 16, pytest.param(32, marks=pytest.mark.slow), pytest.param(64, marks=pytest.mark.slow)]
)
def test_a_burst_costs_two_pushes_a_change_and_the_next_one_little_more_than_one(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path, count: int
) -> None:
    """A cold burst of N takes at most 2 N + 3 receive-pack requests, the burst that the ring foresees 1.25 N + 3."""
    git_server.latency_s = 0.05
    for burst, limit in (("cold", 2 * count + 3), ("warm", 1.25 * count + 3)):
        racers = make_racers(tmp_path, repo_url, names(count, burst))
        before = git_server.counts.snapshot()
        assert_all_landed_once(bare_repo, race(racers))
        writes = git_server.counts.snapshot().diff(before).by_kind[RequestKind.RECEIVE_PACK]
        assert writes <= limit, (burst, writes)


def test_one_runner_alone_needs_one_push(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """An uncontended push is one read of refs, one read of the lock and one write; behind, it needs no more."""
    push_from(make_racers(tmp_path, repo_url, ["first"])["first"], repo_url, "first")
    for name, is_behind in (("current", False), ("behind", True)):
        racer = make_racers(tmp_path, repo_url, [name])[name]
        if is_behind:
            other = clone(repo_url, tmp_path / "other")
            (other.path / "other.txt").write_text("other\n")
            push_from(other, repo_url, "other")
        before = git_server.counts.snapshot()
        report = push_from(racer, repo_url, name)
        spent = git_server.counts.snapshot().diff(before)
        assert report.landed is not None
        assert report.landed.how.value == "fast"
        assert dict(spent.by_kind) == {RequestKind.LS_REFS: 1, RequestKind.FETCH: 1, RequestKind.RECEIVE_PACK: 1}


def test_the_lock_reads_like_a_sentence_and_a_log_with_plain_git(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """After a plain fetch of the lock refs, git log -1 says who landed what and git show prints the history."""
    push_from(make_racers(tmp_path, repo_url, ["ann"])["ann"], repo_url, "ann")
    reader = clone(repo_url, tmp_path / "reader")
    reader.git("fetch", "-q", "origin", "refs/locks/*:refs/locks/*")
    subject = reader.git("log", "-1", "--format=%s", "refs/locks/main")
    assert subject.startswith("main: free, 1 change landed by ann (tests), generation ")
    lines = [json.loads(line) for line in reader.git("show", "refs/locks/main:history.jsonl").splitlines()]
    assert [line["event"] for line in lines] == ["create", "land"]
    assert json.loads(reader.git("show", "refs/locks/main:lock.json"))["state"] == "free"
