"""What a client loses that trusts ``atomic`` blindly: C git applies parts of an atomic push.

Refusals by the ref transaction stop the whole push. Refusals before it (missing objects, hidden refs) stop only their
own command. Hence every lock commit is parentless and wholly inside the pack, a fence is always a real update, and a
report of 'some ok, some not' is a breach (docs/protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gitref_lock.core.names import ZERO_OID, Oid
from gitref_lock.core.objects import GitObject, ObjectKind, build_commit, build_state_commit, build_tree
from gitref_lock.testing.faults import FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo, git_result
from tests.support.rawgit import Answer, Command, RawHttp, lock_state

BRANCH = "refs/heads/main"
LOCK = "refs/locks/main"
MINE, *_ = MINE_OBJECTS = lock_state("mine")
RIVAL, *_ = RIVAL_OBJECTS = lock_state("rival")
RENEWED, *_ = RENEWED_OBJECTS = lock_state("mine, renewed")
NOWHERE = Oid("de" * 20)


@pytest.fixture
def remote(repo_url: str) -> Iterator[RawHttp]:
    """Return a raw connection to a repository whose lock is held by us."""
    with RawHttp(repo_url) as connection:
        assert connection.push([Command(LOCK, ZERO_OID, MINE.oid)], MINE_OBJECTS).is_ok(LOCK)
        yield connection


@pytest.fixture
def branch_change(bare_repo: Repo) -> Command:
    """Return a good move of the branch to a commit that the server stores already."""
    tip = bare_repo.ref(BRANCH)
    assert tip is not None
    return Command(BRANCH, tip, bare_repo.commit({"a": b"1\n"}, parents=(tip,)))


def steal(bare_repo: Repo) -> None:
    """Let a rival take the lock over and the server forget our lock commit."""
    rival = bare_repo.commit({"lock.json": b"rival"}, message="rival")
    bare_repo.set_ref(LOCK, rival, expect=MINE.oid)
    bare_repo.collect_garbage()
    assert not bare_repo.has(MINE.oid)


def assert_branch_moved_without_lock(answer: Answer, bare_repo: Repo, change: Command) -> None:
    """Check the breach: lock refused, branch moved all the same."""
    assert answer.is_ok(BRANCH)
    assert not answer.is_ok(LOCK)
    assert bare_repo.ref(BRANCH) == change.new


@pytest.mark.parametrize("lock_first", [True, False])
def test_a_stale_lock_with_a_complete_commit_stops_the_branch(
    remote: RawHttp, bare_repo: Repo, branch_change: Command, lock_first: bool
) -> None:
    """A refusal by the ref transaction stops everything, in either order, even after the old lock is collected."""
    steal(bare_repo)
    change = Command(BRANCH, branch_change.old, bare_repo.commit({"b": b"2\n"}, parents=(branch_change.old,)))
    fence = Command(LOCK, MINE.oid, RENEWED.oid)
    answer = remote.push([fence, change] if lock_first else [change, fence], RENEWED_OBJECTS, atomic=True)
    assert "ok" not in answer.statuses.values()
    assert bare_repo.ref(BRANCH) == change.old


def test_naive_fence_with_a_lock_commit_outside_the_pack_moves_the_branch(
    remote: RawHttp, bare_repo: Repo, branch_change: Command
) -> None:
    """A lock command whose new object is missing is refused alone; the atomic branch beside it moves."""
    answer = remote.push([branch_change, Command(LOCK, MINE.oid, NOWHERE)], atomic=True)
    assert answer.statuses[LOCK] == "missing necessary objects"
    assert_branch_moved_without_lock(answer, bare_repo, branch_change)


def test_naive_fence_with_a_parent_on_the_lock_commit_moves_the_branch(
    remote: RawHttp, bare_repo: Repo, branch_change: Command
) -> None:
    """Chaining lock commits opens the same hole: the parent may be collected, then the lock fails alone."""
    chained = build_state_commit(
        {"lock.json": b"x"}, author_name="tester", at_s=1_700_000_000, message="x", parents=(NOWHERE,)
    )
    answer = remote.push([branch_change, Command(LOCK, MINE.oid, chained[0].oid)], chained, atomic=True)
    assert_branch_moved_without_lock(answer, bare_repo, branch_change)


def test_naive_fence_under_a_hidden_namespace_moves_the_branch(
    remote: RawHttp, bare_repo: Repo, branch_change: Command
) -> None:
    """When an administrator hides the lock namespace during a hold, the lock is refused and the branch moves."""
    bare_repo.config("receive.hideRefs", "refs/locks")
    answer = remote.push([branch_change, Command(LOCK, MINE.oid, RENEWED.oid)], RENEWED_OBJECTS, atomic=True)
    assert answer.statuses[LOCK] == "deny updating a hidden ref"
    assert_branch_moved_without_lock(answer, bare_repo, branch_change)


def test_naive_landing_with_a_forgotten_blob_moves_the_lock_alone(remote: RawHttp, bare_repo: Repo) -> None:
    """The hole works the other way round: the branch lacks an object and is refused, the lock moves as if landed."""
    tip = bare_repo.ref(BRANCH)
    assert tip is not None
    tree = build_tree({"forgotten": GitObject(ObjectKind.BLOB, b"never sent")})
    commit = build_commit(
        tree=tree.oid, parents=(tip,), author_name="t", author_email="t@t.invalid", at_s=1_700_000_000, message="m"
    )
    commands = [Command(BRANCH, tip, commit.oid), Command(LOCK, MINE.oid, RENEWED.oid)]
    answer = remote.push(commands, [commit, tree, *RENEWED_OBJECTS], atomic=True)
    assert answer.is_ok(LOCK)
    assert answer.statuses[BRANCH] == "missing necessary objects"
    assert bare_repo.ref(BRANCH) == tip
    assert bare_repo.ref(LOCK) == RENEWED.oid


def test_an_equal_value_does_verify_on_the_wire_while_the_object_exists(
    remote: RawHttp, bare_repo: Repo, branch_change: Command
) -> None:
    """Old equal to new is a check on the wire: it passes for the holder and stops a branch whose lock was stolen."""
    assert remote.push([branch_change, Command(LOCK, MINE.oid, MINE.oid)], atomic=True).is_ok(BRANCH)
    assert remote.push([Command(LOCK, MINE.oid, RIVAL.oid)], RIVAL_OBJECTS).is_ok(LOCK)
    back = Command(BRANCH, branch_change.new, branch_change.old)
    answer = remote.push([back, Command(LOCK, MINE.oid, MINE.oid)], atomic=True)
    assert "ok" not in answer.statuses.values()
    assert bare_repo.ref(BRANCH) == branch_change.new


def test_naive_fence_by_an_equal_value_moves_the_branch_once_the_lock_is_collected(
    remote: RawHttp, bare_repo: Repo, branch_change: Command
) -> None:
    """The same check fails alone when our stolen lock commit is gone: the branch moves under the rival's lock."""
    steal(bare_repo)
    change = Command(BRANCH, branch_change.old, bare_repo.commit({"b": b"2\n"}, parents=(branch_change.old,)))
    answer = remote.push([change, Command(LOCK, MINE.oid, MINE.oid)], atomic=True)
    assert_branch_moved_without_lock(answer, bare_repo, change)


@pytest.fixture
def holder_with_change(work_clone: Repo, remote: RawHttp) -> tuple[Repo, Oid]:
    """Return a clone that knows our lock commit, and a change of the branch in it."""
    work_clone.git("fetch", "--quiet", "origin", LOCK)
    return work_clone, work_clone.commit({"a": b"1\n"}, parents=("HEAD",))


def rival_takes_over_during_the_push(git_server: GitHttpServer, bare_repo: Repo) -> Oid:
    """Arrange for a rival to take the lock after the advertisement, before the commands arrive."""
    rival = bare_repo.commit({"lock.json": b"rival"}, message="rival")
    plan = FaultPlan().before("receive-pack", 1, lambda _: bare_repo.set_ref(LOCK, rival, expect=MINE.oid))
    git_server.set_faults(plan)
    return rival


def test_naive_git_push_with_an_unchanged_lock_moves_the_branch_under_a_rivals_lock(
    git_server: GitHttpServer, bare_repo: Repo, holder_with_change: tuple[Repo, Oid]
) -> None:
    """The git command line drops a command that changes nothing: the 'fenced' atomic push succeeds after a theft."""
    holder, change = holder_with_change
    rival = rival_takes_over_during_the_push(git_server, bare_repo)
    lease = f"--force-with-lease={LOCK}:{MINE.oid}"
    refspecs = (f"{change}:{BRANCH}", f"{MINE.oid}:{LOCK}")
    result = git_result("push", "--atomic", lease, "origin", *refspecs, cwd=holder.path)
    assert result.returncode == 0
    assert bare_repo.ref(LOCK) == rival
    assert bare_repo.ref(BRANCH) == change


def test_git_push_with_a_renewed_lock_is_a_fence(
    git_server: GitHttpServer, bare_repo: Repo, holder_with_change: tuple[Repo, Oid]
) -> None:
    """With a fresh lock commit in it, the same push is refused as a whole after the theft."""
    holder, change = holder_with_change
    tip = bare_repo.ref(BRANCH)
    rival = rival_takes_over_during_the_push(git_server, bare_repo)
    renewed = holder.commit({"lock.json": b"renewed"}, message="renewed")
    lease = f"--force-with-lease={LOCK}:{MINE.oid}"
    refspecs = (f"{change}:{BRANCH}", f"{renewed}:{LOCK}")
    result = git_result("push", "--atomic", lease, "origin", *refspecs, cwd=holder.path)
    assert result.returncode != 0
    assert bare_repo.ref(LOCK) == rival
    assert bare_repo.ref(BRANCH) == tip
