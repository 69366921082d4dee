"""What a client loses that believes a status word or a git exit code: neither tells who holds the lock.

Hence a nonce in every write, and a read instead of words after any refusal (docs/protocol.md, section 2).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.core.names import ZERO_OID
from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo, clone, git_result
from tests.support.rawgit import Command, RawHttp, lock_state

BRANCH = "refs/heads/main"
LOCK = "refs/locks/main"
FIRST, *_ = FIRST_OBJECTS = lock_state("first")
SECOND, *_ = SECOND_OBJECTS = lock_state("second")


def test_naive_identical_writers_both_believe_that_they_hold_the_lock(
    git_server: GitHttpServer, bare_repo: Repo, tmp_path: Path
) -> None:
    """Two runners that build the same lock commit and push it with 'must be absent' both get exit code 0."""
    exit_codes = []
    for name in ("one", "two"):
        runner = clone(git_server.repo_url("repo.git"), tmp_path / name)
        claim = runner.commit({"lock.json": b"held by deploy"}, message="lock")
        push = git_result("push", f"--force-with-lease={LOCK}:", "origin", f"{claim}:{LOCK}", cwd=runner.path)
        exit_codes.append(push.returncode)
    assert exit_codes == [0, 0]


def test_a_word_of_ones_own_in_the_commit_leaves_one_winner(
    git_server: GitHttpServer, bare_repo: Repo, tmp_path: Path
) -> None:
    """The same two runners with a nonce each: the second is refused."""
    exit_codes = []
    for name in ("one", "two"):
        runner = clone(git_server.repo_url("repo.git"), tmp_path / name)
        claim = runner.commit({"lock.json": b"held by deploy " + name.encode()}, message="lock")
        push = git_result("push", f"--force-with-lease={LOCK}:", "origin", f"{claim}:{LOCK}", cwd=runner.path)
        exit_codes.append(push.returncode)
    assert exit_codes[0] == 0
    assert exit_codes[1] != 0


@pytest.mark.parametrize("atomic", [False, True])
def test_a_lost_race_and_a_busy_lock_file_read_the_same(repo_url: str, bare_repo: Repo, atomic: bool) -> None:
    """'Somebody else has it' and 'try again' come with the same status word, single or atomic."""
    busy_ref = "refs/locks/busy"
    (bare_repo.path / "refs/locks").mkdir()
    (bare_repo.path / f"{busy_ref}.lock").touch()
    with RawHttp(repo_url) as remote:
        assert remote.push([Command(LOCK, ZERO_OID, FIRST.oid)], FIRST_OBJECTS).is_ok(LOCK)
        lost = remote.push([Command(LOCK, ZERO_OID, SECOND.oid)], SECOND_OBJECTS, atomic=atomic)
        busy = remote.push([Command(busy_ref, ZERO_OID, SECOND.oid)], SECOND_OBJECTS, atomic=atomic)
    assert lost.statuses[LOCK] == busy.statuses[busy_ref] != "ok"
    assert bare_repo.ref(LOCK) == FIRST.oid
    assert bare_repo.ref(busy_ref) is None


def test_a_swap_sent_twice_is_refused_the_second_time_although_it_won(repo_url: str, bare_repo: Repo) -> None:
    """A client that resends after a lost reply and believes the refusal gives up a lock that it holds."""
    command = Command(LOCK, ZERO_OID, FIRST.oid)
    with RawHttp(repo_url) as remote:
        assert remote.push([command], FIRST_OBJECTS).is_ok(LOCK)
        assert not remote.push([command], FIRST_OBJECTS).is_ok(LOCK)
    assert bare_repo.ref(LOCK) == FIRST.oid


def test_a_refused_push_leaves_its_objects_on_the_server(repo_url: str, bare_repo: Repo) -> None:
    """Losing attempts fill the server with loose objects: read first, push only when it can win."""
    with RawHttp(repo_url) as remote:
        assert remote.push([Command(LOCK, ZERO_OID, FIRST.oid)], FIRST_OBJECTS).is_ok(LOCK)
        assert not remote.push([Command(LOCK, ZERO_OID, SECOND.oid)], SECOND_OBJECTS).is_ok(LOCK)
    assert bare_repo.has(SECOND.oid)


def test_a_declining_hook_drops_the_objects(repo_url: str, bare_repo: Repo) -> None:
    """Only a pre-receive refusal takes the whole push back, objects included."""
    hook = bare_repo.path / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n", encoding="ascii")
    hook.chmod(0o755)
    with RawHttp(repo_url) as remote:
        answer = remote.push([Command(LOCK, ZERO_OID, FIRST.oid)], FIRST_OBJECTS)
    assert answer.statuses[LOCK] == "pre-receive hook declined"
    assert "not today" in answer.remarks
    assert not bare_repo.has(FIRST.oid)


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [("refs/locks/a", "refs/locks/a/b"), ("refs/locks/a/b", "refs/locks/a")],
    ids=["below", "above"],
)
def test_one_lock_name_blocks_another_that_begins_with_it(
    repo_url: str, bare_repo: Repo, taken: str, wanted: str
) -> None:
    """A ref and a folder of refs cannot share a name, so the lock 'a' and the lock 'a/b' exclude each other."""
    with RawHttp(repo_url) as remote:
        assert remote.push([Command(taken, ZERO_OID, FIRST.oid)], FIRST_OBJECTS).is_ok(taken)
        answer = remote.push([Command(wanted, ZERO_OID, SECOND.oid)], SECOND_OBJECTS)
    assert not answer.is_ok(wanted)
    assert "cannot create" in answer.remarks


@pytest.mark.parametrize("ref", ["refs/locks/a..b", "refs/locks/x.lock", "refs/one-level"])
def test_names_that_git_refuses(repo_url: str, bare_repo: Repo, ref: str) -> None:
    """Names with two dots, the ending .lock, or a single level are refused as funny."""
    with RawHttp(repo_url) as remote:
        answer = remote.push([Command(ref, ZERO_OID, FIRST.oid)], FIRST_OBJECTS)
    assert answer.statuses[ref] == "funny refname"
