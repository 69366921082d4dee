"""What a client loses that releases a lock by deleting its ref: C git deletes more than it was asked to.

These are facts about the server, shown with bare requests; they are why a release is an update to a fresh commit
(docs/protocol.md, section 2).
"""

from __future__ import annotations

from gitref_lock.core.names import ZERO_OID
from tests.support.gitcli import Repo
from tests.support.rawgit import Command, RawHttp, lock_state

LOCK = "refs/locks/main"
OLD, *_ = OLD_OBJECTS = lock_state("robbed holder")
NEXT, *_ = NEXT_OBJECTS = lock_state("successor")
FRESH, *_ = FRESH_OBJECTS = lock_state("released")


def take_over_from_old_holder(remote: RawHttp) -> None:
    """Let one holder take the lock and a successor take it over."""
    assert remote.push([Command(LOCK, ZERO_OID, OLD.oid)], OLD_OBJECTS).is_ok(LOCK)
    assert remote.push([Command(LOCK, OLD.oid, NEXT.oid)], NEXT_OBJECTS).is_ok(LOCK)


def test_stale_delete_is_refused_while_the_server_still_has_the_old_object(repo_url: str, bare_repo: Repo) -> None:
    """A delete that expects an outdated value is refused, as long as that value is an object the server stores."""
    with RawHttp(repo_url) as remote:
        take_over_from_old_holder(remote)
        assert not remote.push([Command(LOCK, OLD.oid, ZERO_OID)]).is_ok(LOCK)
    assert bare_repo.ref(LOCK) == NEXT.oid


def test_naive_release_by_delete_removes_the_successors_lock(repo_url: str, bare_repo: Repo) -> None:
    """Once the old lock commit is collected, the same delete is unconditional: the successor's lock is gone, and ok."""
    with RawHttp(repo_url) as remote:
        take_over_from_old_holder(remote)
        bare_repo.collect_garbage()
        assert not bare_repo.has(OLD.oid)
        answer = remote.push([Command(LOCK, OLD.oid, ZERO_OID)])
    assert answer.is_ok(LOCK)
    assert bare_repo.ref(LOCK) is None


def test_release_by_update_to_a_fresh_commit_spares_the_successor(repo_url: str, bare_repo: Repo) -> None:
    """A release that moves the ref to a fresh commit stays a compare-and-swap after the old commit is collected."""
    with RawHttp(repo_url) as remote:
        take_over_from_old_holder(remote)
        bare_repo.collect_garbage()
        answer = remote.push([Command(LOCK, OLD.oid, FRESH.oid)], FRESH_OBJECTS)
    assert not answer.is_ok(LOCK)
    assert bare_repo.ref(LOCK) == NEXT.oid


def test_deleting_an_absent_ref_with_an_unknown_old_object_is_reported_ok(repo_url: str, bare_repo: Repo) -> None:
    """A delete that could not have matched anything is still reported as done: ok proves no holding."""
    with RawHttp(repo_url) as remote:
        assert remote.push([Command(LOCK, OLD.oid, ZERO_OID)]).is_ok(LOCK)
    assert bare_repo.ref(LOCK) is None


def test_naive_check_for_absence_deletes_the_lock(repo_url: str, bare_repo: Repo) -> None:
    """Zeros to zeros reads like 'must be absent' and is an unconditional delete, reported ok."""
    with RawHttp(repo_url) as remote:
        assert remote.push([Command(LOCK, ZERO_OID, OLD.oid)], OLD_OBJECTS).is_ok(LOCK)
        answer = remote.push([Command(LOCK, ZERO_OID, ZERO_OID)])
    assert answer.is_ok(LOCK)
    assert bare_repo.ref(LOCK) is None


def test_naive_check_for_absence_beside_a_branch_deletes_the_lock_and_moves_the_branch(
    repo_url: str, bare_repo: Repo
) -> None:
    """In an atomic push, zeros to zeros guards nothing: the lock is deleted and the branch moves."""
    tip = bare_repo.ref("refs/heads/main")
    assert tip is not None
    change = bare_repo.commit({"a": b"1\n"}, parents=(tip,))
    branch = Command("refs/heads/main", tip, change)
    with RawHttp(repo_url) as remote:
        assert remote.push([Command(LOCK, ZERO_OID, OLD.oid)], OLD_OBJECTS).is_ok(LOCK)
        answer = remote.push([branch, Command(LOCK, ZERO_OID, ZERO_OID)], atomic=True)
    assert set(answer.statuses.values()) == {"ok"}
    assert bare_repo.ref("refs/heads/main") == change
    assert bare_repo.ref(LOCK) is None
