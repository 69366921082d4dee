"""Interleavings that an earlier draft of the protocol would have lost by, on a real server, with the real client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitref_lock.core.names import Nonce, lock_name
from gitref_lock.core.record import Holder
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.errors import (
    BreachedError,
    ConfigurationError,
    ConflictError,
    GitrefLockError,
    NotAcquiredError,
    PolicyError,
)
from gitref_lock.landing.workspace import Selection
from gitref_lock.runtime.acquire import Acquirer, AcquireRequest
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.lease import Lease
from gitref_lock.runtime.possession import from_records
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.faults import DropAfter, FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.support.gitcli import Repo, clone, make_bare
from tests.support.runners import (
    acquire_at,
    add_key,
    history_at,
    holder,
    in_folder,
    keys_at,
    push_from,
    release,
    remote_at,
    subjects_at,
    tip_at,
)

WRITE = RequestKind.RECEIVE_PACK


@pytest.fixture
def racer(repo_url: str, tmp_path: Path) -> Repo:
    """Return a clone with a change, of a remote whose lock exists."""
    release(acquire_at(remote_at(repo_url)))
    repo = in_folder(tmp_path, "racer", repo_url)
    add_key(repo, "mine")
    return repo


def unrelated(bare: Repo) -> str:
    """Return a commit on the remote that has no ancestor."""
    return bare.commit({"other.txt": b"other\n"}, message="unrelated")


def test_a_lock_that_moved_alone_is_a_breach_and_never_a_landing(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo
) -> None:
    """The branch is rewound and its old tip collected in between: C git moves the lock alone, and we say so."""

    def rewind(_: object) -> None:
        bare_repo.set_ref("refs/heads/main", unrelated(bare_repo))
        bare_repo.collect_garbage()

    git_server.set_faults(FaultPlan().before(WRITE, 1, rewind))
    with pytest.raises(BreachedError) as breach:
        push_from(racer, repo_url, "mine")
    assert breach.value.fields["applied"] == ["refs/locks/main"]
    assert "mine" not in subjects_at(bare_repo)
    assert racer.git("status", "--porcelain") != ""
    last = history_at(bare_repo)[-1]
    assert last["event"] == "breach"


def test_a_lock_that_is_hidden_meanwhile_makes_the_landing_a_breach(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo
) -> None:
    """The server starts to hide the lock's ref in between: C git moves the branch alone, and we say so."""
    git_server.set_faults(FaultPlan().before(WRITE, 1, lambda _: bare_repo.config("receive.hideRefs", "refs/locks")))
    with pytest.raises(BreachedError) as breach:
        push_from(racer, repo_url, "mine")
    assert breach.value.fields["applied"] == ["refs/heads/main"]
    assert subjects_at(bare_repo).count("mine") == 1


def test_two_runs_of_one_holder_never_share_a_lease(repo_url: str) -> None:
    """The same holder id twice (a matrix job, two terminals) is two contenders: only the token makes a lock mine."""
    first, second = remote_at(repo_url), remote_at(repo_url)
    lease = acquire_at(first, who="job 7")
    with pytest.raises(NotAcquiredError):
        acquire_at(second, who="job 7")
    release(lease)


def test_a_landing_is_proved_by_the_branch_when_the_ring_has_forgotten_it(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo
) -> None:
    """A reply is lost and the ring overflows before the read-back: the branch still tells."""
    other, patient = remote_at(repo_url), remote_at(repo_url, read_timeout_s=120.0)
    patient.call_timeout_s = None

    def use_the_lock_often(_: object) -> None:
        for _ in range(33):
            release(acquire_at(other))

    git_server.set_faults(FaultPlan().on(WRITE, 1, DropAfter()).after(WRITE, 1, use_the_lock_often))
    report = push_from(racer, repo_url, "mine", remote=patient)
    assert report.landed is not None
    assert subjects_at(bare_repo).count("mine") == 1
    assert all(line["event"] != "land" for line in history_at(bare_repo))


def test_releasing_a_robbed_and_collected_lock_leaves_the_successor_alone(bare_repo: Repo, repo_url: str) -> None:
    """A holder that was broken, and whose state the server has collected, cannot free its successor's lock."""
    robbed = acquire_at(remote_at(repo_url), who="robbed")
    token = robbed.generation
    operator = remote_at(repo_url)
    request = AcquireRequest((lock_name("main"),), holder("successor"), LeaseTiming.for_ttl(60), 0.0, preempt=True)
    successor = Acquirer(operator, request, Deadline.after(operator.system, 60)).run()
    bare_repo.collect_garbage()
    robbed.release(Deadline.after(robbed.remote.system, 60))
    assert bare_repo.ref("refs/locks/main") == successor.tip(lock_name("main"))
    assert successor.generation > token


def test_a_rival_that_steals_the_lock_in_between_makes_the_landing_fail(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo
) -> None:
    """The lock changes hands between our read and our write: the branch does not move under the rival's lock."""
    before = tip_at(bare_repo)
    leases = []
    git_server.set_faults(FaultPlan().before(WRITE, 1, lambda _: leases.append(acquire_at(remote_at(repo_url)))))
    with pytest.raises(NotAcquiredError):
        push_from(racer, repo_url, "mine", wait_s=1.0)
    assert tip_at(bare_repo) == before
    assert bare_repo.ref("refs/locks/main") == leases[0].tip(lock_name("main"))


def test_a_landing_wins_in_the_end_against_pushes_that_ignore_the_lock(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo
) -> None:
    """Plain pushes move the branch before each of the first three tries: the change is replayed and lands once."""

    def push_plainly(_: object) -> None:
        tip = tip_at(bare_repo)
        commit = bare_repo.commit({"plain.txt": tip.encode()}, parents=(tip,), message="plain")
        bare_repo.set_ref("refs/heads/main", commit)

    plan = FaultPlan()
    for nth in (1, 3, 4):
        plan.before(WRITE, nth, push_plainly)
    git_server.set_faults(plan)
    report = push_from(racer, repo_url, "mine")
    assert report.landed is not None
    assert (subjects_at(bare_repo).count("mine"), subjects_at(bare_repo).count("plain")) == (1, 3)


def test_a_lock_file_left_on_the_server_is_waited_for(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo
) -> None:
    """A ref that is locked for a moment is contention, not a lost race: the same swap is sent again."""
    blocker = bare_repo.path / "refs/locks/main.lock"
    blocker.touch()
    git_server.set_faults(FaultPlan().before(WRITE, 2, lambda _: blocker.unlink()))
    report = push_from(racer, repo_url, "mine")
    assert report.landed is not None
    assert subjects_at(bare_repo).count("mine") == 1


def test_a_lease_renewed_elsewhere_is_still_mine_to_release(repo_url: str, bare_repo: Repo) -> None:
    """A tip with my token and another nonce is mine: it becomes the new expectation, not a loss."""
    lease = acquire_at(remote_at(repo_url))
    other = remote_at(repo_url)
    twin = acquire_twin(other, lease.token)
    twin.renew(Deadline.after(other.system, 60))
    release(lease)
    assert json.loads(bare_repo.git("show", "refs/locks/main:lock.json"))["state"] == "free"


def acquire_twin(remote: Remote, token: Nonce) -> Lease:
    """Return the lease of ``token`` as another process of the same job would know it."""
    picture = remote.look([lock_name("main")], Deadline.after(remote.system, 60), with_queue=False)
    states = {name: state for name, state in picture.locks.items() if state is not None}
    return from_records(remote, states, token, Holder("twin"))


def test_a_discarded_side_stays_on_the_remote_and_is_reported(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """Where the policy keeps the remote's side, ours is kept under a rescue ref by the same swap, and named."""
    other = in_folder(tmp_path, "other", repo_url)
    (other.path / "notes.txt").write_text("theirs\n")
    (racer.path / "notes.txt").write_text("ours\n")
    push_from(other, repo_url, "other")
    report = push_from(racer, repo_url, "mine")
    assert report.landed is not None
    assert [item["path"] for item in report.landed.conflicts] == ["notes.txt"]
    assert bare_repo.git("show", "main:notes.txt") == "theirs"
    [rescued] = report.landed.rescued
    assert bare_repo.git("show", f"refs/lock-rescue/main/{rescued}:notes.txt") == "ours"


def test_a_change_of_which_nothing_survives_is_no_success(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """A policy that discards the whole change ends with a conflict, and the clone stays as it was."""
    other = in_folder(tmp_path, "other", repo_url)
    (other.path / "notes.txt").write_text("theirs\n")
    push_from(other, repo_url, "other")
    (racer.path / "notes.txt").write_text("ours\n")
    before = racer.git("status", "--porcelain")
    with pytest.raises(ConflictError):
        push_from(racer, repo_url, "mine", selection=Selection((b"notes.txt",)))
    assert racer.git("status", "--porcelain") == before
    assert "mine" not in subjects_at(bare_repo)


def test_a_local_merge_is_not_replayed_over_a_revert(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """A local merge and a moved tip is refused: replaying it on one parent would bring back what was reverted."""
    racer.git("add", ".")
    racer.git("commit", "-q", "-m", "own")
    other = in_folder(tmp_path, "other", repo_url)
    (other.path / "bad.txt").write_text("bad\n")
    push_from(other, repo_url, "bad")
    racer.git("fetch", "-q", "origin")
    racer.git("merge", "-q", "--no-edit", "origin/main")
    (other.path / "bad.txt").unlink()
    push_from(other, repo_url, "revert bad")
    with pytest.raises(ConflictError) as refused:
        push_from(racer, repo_url, "mine", selection=Selection())
    assert refused.value.code == "merge-on-moved-tip"
    report = push_from(racer, repo_url, "mine", selection=Selection(), squash=True)
    assert report.landed is not None
    assert "bad.txt" not in bare_repo.git("ls-tree", "--name-only", "main").splitlines()


def test_a_branch_that_vanished_is_not_brought_back(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """A branch that was on the remote and is gone is refused, unless it is named by hand."""
    bare_repo.delete_ref("refs/heads/main")
    with pytest.raises(PolicyError) as gone:
        push_from(racer, repo_url, "mine")
    assert gone.value.code == "branch-gone"
    report = push_from(racer, repo_url, "mine", branch="main")
    assert report.landed is not None
    assert subjects_at(bare_repo)[0] == "mine"


def test_two_first_pushers_of_an_empty_repository_both_land(
    git_server: GitHttpServer, server_root: Path, tmp_path: Path
) -> None:
    """An empty repository takes a root commit; the second first pusher is replayed on it."""
    bare = make_bare(server_root / "empty.git", with_commit=False)
    url = git_server.repo_url("empty.git")
    for name in ("first", "second"):
        repo = clone(str(bare.path), tmp_path / name) if name == "first" else Repo(tmp_path / name)
        if name == "second":
            repo.path.mkdir()
            repo.git("init", "-q", "-b", "main")
            repo.git("remote", "add", "origin", url)
        repo.git("symbolic-ref", "HEAD", "refs/heads/main")
        add_key(repo, name)
        push_from(repo, url, name)
    assert subjects_at(bare) == ["second", "first"]
    assert keys_at(bare) == {"first": 1, "second": 1}


def test_a_readable_held_lock_is_never_degraded_around(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """Where the namespace cannot be written but the lock can be read and is held, push waits and does not land."""
    acquire_at(remote_at(repo_url))
    hook = bare_repo.path / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in refs/lock*) echo "refs/locks is closed" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    before = tip_at(bare_repo)
    with pytest.raises(GitrefLockError):
        push_from(racer, repo_url, "mine", wait_s=1.0)
    assert tip_at(bare_repo) == before


def test_a_host_that_forbids_everything_for_a_moment_is_not_degraded_around(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """Refused to create the lock, push looks again before it lands without: somebody may hold the lock by then."""
    repo = in_folder(tmp_path, "runner", repo_url)
    add_key(repo, "mine")
    hook = bare_repo.path / "hooks" / "update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    leases: list[Lease] = []

    def open_again(_request: object) -> None:
        hook.unlink()
        leases.append(acquire_at(remote_at(repo_url)))

    before = tip_at(bare_repo)
    git_server.set_faults(FaultPlan().after(RequestKind.RECEIVE_PACK, 1, open_again))
    with pytest.raises(NotAcquiredError):
        push_from(repo, repo_url, "mine", wait_s=1.0)
    assert len(leases) == 1
    assert tip_at(bare_repo) == before


def test_a_namespace_that_policy_forbids_degrades_loudly_or_is_refused(
    bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """With the creation of the lock refused, push says 'degraded'; --no-degrade and --require-fence refuse."""
    hook = bare_repo.path / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in refs/lock*) echo "refs/locks is closed" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    repo = in_folder(tmp_path, "runner", repo_url)
    add_key(repo, "mine")
    with pytest.raises((PolicyError, ConfigurationError)):
        push_from(repo, repo_url, "mine", may_degrade=False)
    with pytest.raises((PolicyError, ConfigurationError)):
        push_from(repo, repo_url, "mine", require_fence=True)
    report = push_from(repo, repo_url, "mine")
    assert report.landed is not None
    assert report.landed.how.value == "degraded"
    assert subjects_at(bare_repo).count("mine") == 1
