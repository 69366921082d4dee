"""More ways to lose work or to claim what is not so, on a real server: what is ours, what landed, what waits."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gitref_lock.core.names import lock_name
from gitref_lock.errors import (
    ConfigurationError,
    GitrefLockError,
    NotAcquiredError,
    OutcomeUnknownError,
    PolicyError,
    UsageError,
)
from gitref_lock.landing.change import Change
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.graph import OurCommits
from gitref_lock.landing.merge.policy import Policy
from gitref_lock.landing.replay import Committer, Replayer
from gitref_lock.landing.workspace import Selection, disk_store
from gitref_lock.pushing import PushReport
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.operator import clean_up, plan_cleanup
from gitref_lock.system import real_system
from gitref_lock.testing.faults import DropAfter, DropBefore, FaultPlan, Status
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.support.gitcli import Repo, git_env, make_bare
from tests.support.runners import (
    acquire_at,
    add_key,
    holder,
    in_folder,
    push_from,
    release,
    remote_at,
    subjects_at,
    tip_at,
)

WRITE = RequestKind.RECEIVE_PACK
NOTHING = Selection()


@pytest.fixture
def racer(repo_url: str, tmp_path: Path) -> Repo:
    """Return a clone of a remote whose lock exists."""
    release(acquire_at(remote_at(repo_url)))
    return in_folder(tmp_path, "racer", repo_url)


def files_at(bare: Repo, commit: str = "main") -> list[str]:
    """Return the files of a commit on the remote."""
    return bare.git("ls-tree", "--name-only", commit).splitlines()


def commit_all(repo: Repo, message: str) -> None:
    """Commit everything with plain git."""
    repo.git("add", ".")
    repo.git("commit", "-q", "-m", message)


def revert_newest(folder: Path, url: str) -> None:
    """Revert the newest commit of main by a plain push from a fresh clone."""
    other = in_folder(folder, "reverter", url)
    other.git("revert", "--no-edit", "HEAD")
    other.git("push", "-q", "origin", "main")


def test_a_commit_that_landed_and_was_reverted_does_not_come_back(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """A commit that the branch holds already is not ours to replay, though no tracking ref tells so."""
    add_key(racer, "mine")
    commit_all(racer, "mine")
    racer.git("push", "-q", repo_url, "HEAD:refs/heads/main")
    racer.git("update-ref", "refs/remotes/origin/main", "HEAD~1")
    revert_newest(tmp_path, repo_url)
    (racer.path / "new.txt").write_text("new\n")
    push_from(racer, repo_url, "second")
    assert "mine.txt" not in files_at(bare_repo)
    assert subjects_at(bare_repo)[:2] == ["second", 'Revert "mine"']
    assert racer.ref("HEAD") == tip_at(bare_repo)
    assert racer.git("status", "--porcelain") == ""


def test_a_clone_that_is_behind_and_knows_no_remote_has_nothing_to_land(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """Where nothing is known of the remote, a newest commit that the branch holds is found to have landed."""
    add_key(racer, "mine")
    push_from(racer, repo_url, "mine")
    revert_newest(tmp_path, repo_url)
    racer.git("remote", "remove", "origin")
    before = tip_at(bare_repo)
    report = push_from(racer, repo_url, "nothing", selection=NOTHING, remote_name=None)
    assert report.landed is not None
    assert (report.landed.how, report.landed.head) == ("already", before)
    assert tip_at(bare_repo) == before


def test_commits_that_were_taken_off_the_branch_stay_off(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """The branch was rewound below our base to remove a commit: our change lands without it."""
    base = tip_at(bare_repo)
    other = in_folder(tmp_path, "other", repo_url)
    (other.path / "secret.txt").write_text("secret\n")
    push_from(other, repo_url, "secret")
    racer.git("pull", "-q", "origin", "main")
    bare_repo.set_ref("refs/heads/main", base)
    add_key(racer, "mine")
    push_from(racer, repo_url, "mine")
    assert subjects_at(bare_repo) == ["mine", "first"]
    assert "secret.txt" not in files_at(bare_repo)


def test_commits_that_a_fetch_saw_taken_off_stay_off(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """Also after a fetch of the rewound branch what was taken off is known to have been the remote's."""
    base = tip_at(bare_repo)
    other = in_folder(tmp_path, "other", repo_url)
    (other.path / "secret.txt").write_text("secret\n")
    push_from(other, repo_url, "secret")
    racer.git("pull", "-q", "origin", "main")
    bare_repo.set_ref("refs/heads/main", base)
    racer.git("fetch", "-q", "origin")
    add_key(racer, "mine")
    push_from(racer, repo_url, "mine")
    assert subjects_at(bare_repo) == ["mine", "first"]
    assert "secret.txt" not in files_at(bare_repo)


def test_a_history_that_a_shallow_fetch_has_cut_is_no_proof_of_absence(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """A depth-1 clone that has fetched a later tip asks for more before it says that a commit is not below it."""
    racer.git("clone", "-q", "--depth", "1", repo_url, str(tmp_path / "shallow"))
    base = tip_at(bare_repo)
    wanted = bare_repo.commit({"wanted.txt": b"x"}, parents=(base,), message="wanted")
    tip = bare_repo.commit({"later.txt": b"x"}, parents=(wanted,), message="later")
    bare_repo.set_ref("refs/heads/main", tip)
    remote = remote_at(repo_url)
    with Checkout.open(tmp_path / "shallow", git_env()) as checkout:
        store = disk_store(checkout)
        replayer = Replayer(store, Policy(), Committer(b"", 0), store.add_object)
        change = Change(store, OurCommits((), None, has_merge=False), replayer, (base,), checkout.shallow())
        change.fetch(remote.store, [tip])
        assert tip in change.shallow
        assert change.contains(remote.store, wanted, tip, base)
        stranger = bare_repo.commit({"stranger.txt": b"x"}, parents=(base,), message="stranger")
        assert not change.contains(remote.store, stranger, tip, base)


def test_a_merge_of_another_branch_of_the_remote_lands(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """A local merge whose side only another remote branch holds is landed with all that it needs."""
    racer.git("checkout", "-q", "-b", "feature")
    add_key(racer, "feature")
    commit_all(racer, "feature")
    racer.git("push", "-q", "origin", "feature")
    racer.git("checkout", "-q", "main")
    racer.git("merge", "-q", "--no-ff", "-m", "merge", "origin/feature")
    report = push_from(racer, repo_url, "x", selection=NOTHING)
    assert report.landed is not None
    assert set(subjects_at(bare_repo)) == {"merge", "feature", "first"}
    bare_repo.git("fsck", "--connectivity-only")


def test_a_new_branch_at_a_known_commit_is_created(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """That another branch holds the commit does not mean that the named one does."""
    racer.git("remote", "remove", "origin")
    report = push_from(racer, repo_url, "x", selection=NOTHING, branch="new", remote_name=None)
    assert report.landed is not None
    assert bare_repo.ref("refs/heads/new") == tip_at(bare_repo) == report.landed.head


def test_squash_lands_one_commit_though_the_branch_did_not_move(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """Several local commits land as the one that was asked for."""
    for key in ("a", "b"):
        add_key(racer, key)
        commit_all(racer, key)
    push_from(racer, repo_url, "both", selection=NOTHING, squash=True)
    assert subjects_at(bare_repo) == ["both", "first"]
    assert {"a.txt", "b.txt"} <= set(files_at(bare_repo))


def test_squash_makes_a_new_branch_of_one_commit(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """The branch that is created holds one commit on what the remote had, with all that was made here."""
    for key in ("a", "b"):
        add_key(racer, key)
        commit_all(racer, key)
    push_from(racer, repo_url, "both", selection=NOTHING, squash=True, branch="new")
    assert subjects_at(bare_repo, "new") == ["both", "first"]
    assert {"a.txt", "b.txt"} <= set(files_at(bare_repo, "new"))


def test_squash_of_a_merge_makes_a_new_branch_of_one_commit(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """A merge in between is squashed too; the first branch of an empty history becomes a root commit."""
    racer.git("checkout", "-q", "-b", "side")
    add_key(racer, "a")
    commit_all(racer, "a")
    racer.git("checkout", "-q", "main")
    (racer.path / "b.txt").write_text("b\n")
    commit_all(racer, "b")
    racer.git("merge", "-q", "--no-edit", "side")
    push_from(racer, repo_url, "all", selection=NOTHING, squash=True, branch="new")
    assert subjects_at(bare_repo, "new") == ["all", "first"]
    racer.git("checkout", "-q", "--orphan", "fresh")
    commit_all(racer, "root")
    racer.git("commit", "-q", "--allow-empty", "-m", "second")
    push_from(racer, repo_url, "orphan", selection=NOTHING, squash=True, branch="fresh")
    assert subjects_at(bare_repo, "fresh") == ["orphan"]
    assert {"a.txt", "b.txt"} <= set(files_at(bare_repo, "fresh"))


def test_a_tag_is_made_though_the_branch_holds_the_change(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """Somebody landed the same content: the tag is made at the branch's tip, and success means that it is there."""
    other = in_folder(tmp_path, "other", repo_url)
    for repo in (other, racer):
        add_key(repo, "same")
    push_from(other, repo_url, "other")
    push_from(racer, repo_url, "racer", tags=("v1",))
    assert bare_repo.git("rev-parse", "v1^{commit}") == tip_at(bare_repo)


def test_a_tag_without_anything_to_land_is_no_success(bare_repo: Repo, repo_url: str, racer: Repo) -> None:
    """Nothing to commit would look like success, and the tag would be missing."""
    with pytest.raises(UsageError) as refused:
        push_from(racer, repo_url, "x", tags=("v1",))
    assert refused.value.code == "nothing-to-tag"
    assert bare_repo.ref("refs/tags/v1") is None


def test_equal_changes_in_one_batch_each_end_at_a_commit_that_holds_them(
    bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """The second of two equal changes adds nothing; its report and its clone show a commit with the content."""
    other = in_folder(tmp_path, "other", repo_url)
    clones = {"racer": racer, "other": other}
    lease = acquire_at(remote_at(repo_url))
    reports: dict[str, PushReport] = {}

    def push(name: str, repo: Repo) -> None:
        add_key(repo, "same")
        reports[name] = push_from(repo, repo_url, name, remote=remote_at(repo_url, system=real_system()))

    threads = [threading.Thread(target=push, args=item) for item in clones.items()]
    for thread in threads:
        thread.start()
    pause = threading.Event()
    while sum("lock-queue" in ref for ref in bare_repo.refs()) < len(clones):
        pause.wait(0.05)
    release(lease)
    for thread in threads:
        thread.join()
    assert len(subjects_at(bare_repo)) == 2
    for name, repo in clones.items():
        landed = reports[name].landed
        assert landed is not None
        assert "same.txt" in files_at(bare_repo, landed.head)
        assert repo.ref("HEAD") == landed.head
        assert (repo.path / "same.txt").read_text() == "same\n"


def test_a_remote_that_takes_no_write_ends_the_wait(git_server: GitHttpServer, repo_url: str, tmp_path: Path) -> None:
    """A proxy that fails every write, the creation of the lock first of all, ends the push with its wait."""
    repo = in_folder(tmp_path, "repo", repo_url)
    add_key(repo, "mine")
    git_server.set_faults(FaultPlan().on(WRITE, range(1, 100_000), Status(502)))
    with pytest.raises(NotAcquiredError):
        push_from(repo, repo_url, "mine", timeout_s=100_000.0, wait_s=120.0)


def test_a_server_that_cannot_store_is_named_at_once(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo
) -> None:
    """A full or broken disk of the server is no lost race: one sending, exit code 3, and the branch as it was."""
    bare_repo.config("receive.unpackLimit", "1")
    packs = bare_repo.path / "objects" / "pack"
    packs.rmdir()
    packs.write_bytes(b"")
    add_key(racer, "mine")
    before, tip = git_server.counts.snapshot(), tip_at(bare_repo)
    with pytest.raises(ConfigurationError, match="unable to migrate objects") as refused:
        push_from(racer, repo_url, "mine")
    assert (refused.value.code, refused.value.fields["reason"]) == ("server-storage", "storage")
    assert git_server.counts.snapshot().diff(before).by_kind[WRITE] == 1
    assert tip_at(bare_repo) == tip


def test_another_remote_does_not_decide_an_unfinished_push(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, server_root: Path, racer: Repo
) -> None:
    """A landing whose end is unknown is asked about where it was sent, not at the next remote that is pushed to."""
    make_bare(server_root / "two.git")
    add_key(racer, "mine")
    plan = FaultPlan().on(WRITE, 1, DropAfter()).on(WRITE, range(2, 500), DropBefore())
    plan.before(WRITE, 1, lambda _: plan.always(RequestKind.LS_REFS, DropBefore()))
    git_server.set_faults(plan)
    with pytest.raises(OutcomeUnknownError):
        push_from(racer, repo_url, "mine", timeout_s=20.0)
    git_server.set_faults(FaultPlan())
    with pytest.raises(OutcomeUnknownError) as elsewhere:
        push_from(racer, git_server.repo_url("two.git"), "mine", remote_name=None)
    assert elsewhere.value.code == "unfinished-push"
    assert "finished" in push_from(racer, repo_url, "again").recovered
    assert subjects_at(bare_repo).count("mine") == 1


def test_an_unfenced_landing_keeps_what_the_policy_discards(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, racer: Repo, tmp_path: Path
) -> None:
    """A landing past a namespace that is refused cannot keep the discarded side there: it does not land at all."""
    other = in_folder(tmp_path, "other", repo_url)
    (other.path / "notes.txt").write_text("theirs\n")
    push_from(other, repo_url, "other")
    bare_repo.delete_ref("refs/locks/main")
    hook = bare_repo.path / "hooks/update"
    hook.write_text('#!/bin/sh\ncase "$1" in refs/heads/*) ;; *) echo refused; exit 1;; esac\n')
    hook.chmod(0o755)
    add_key(racer, "mine")
    (racer.path / "notes.txt").write_text("ours\n")
    before = tip_at(bare_repo)
    with pytest.raises(GitrefLockError):
        push_from(racer, repo_url, "mine")
    assert tip_at(bare_repo) == before
    with pytest.raises(ConfigurationError):
        push_from(racer, repo_url, "mine", tags=("v1",))
    (racer.path / "notes.txt").unlink()
    report = push_from(racer, repo_url, "mine")
    assert report.landed is not None
    assert (report.landed.how, report.landed.rescued) == ("degraded", ())


def test_a_cleanup_that_the_server_refuses_is_no_success(bare_repo: Repo, repo_url: str) -> None:
    """What moved on meanwhile is fine; what was refused is a failure with its own code."""
    acquire_at(remote_at(repo_url), ttl_s=5.0)
    remote = remote_at(repo_url)
    limit = Deadline.after(remote.system, 600.0)
    remote.look([lock_name("main")], limit)
    remote.system.sleeper.sleep(6.0)
    plan = plan_cleanup(remote, [lock_name("main")], limit)
    hook = bare_repo.path / "hooks/update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    refused = clean_up(remote, plan, holder("operator"), limit)
    assert [type(item) for item in refused.failures] == [PolicyError]
    hook.unlink()
    assert clean_up(remote, plan, holder("operator"), limit).reaped == [lock_name("main")]
    again = clean_up(remote, plan, holder("operator"), limit)
    assert ([what for what, _ in again.left], again.failures) == ([lock_name("main")], [])
