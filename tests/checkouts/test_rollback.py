"""Every way of failing at every step: the clone is as before byte for byte, and the remote has no part of the change.

`docs/rollback.md` names these tests.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitref_lock.core.names import lock_name
from gitref_lock.errors import (
    ConflictError,
    GitrefLockError,
    LeaseLostError,
    NotAcquiredError,
    OutcomeUnknownError,
    PolicyError,
)
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.errors import HookError
from gitref_lock.landing.workspace import Selection
from gitref_lock.ports import RemoteError
from gitref_lock.pushing import PushOptions, push
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.operator import break_lock
from gitref_lock.testing.faults import DropAfter, DropBefore, FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import Request, RequestKind
from tests.support.ci import Picture, advance, assert_sound, content, land, picture, write
from tests.support.gitcli import Repo, clone, git_env, git_result
from tests.support.race import command_env
from tests.support.runners import acquire_at, holder, remote_at, subjects_at, tip_at

DEADLINE_S = 60
WRITE = RequestKind.RECEIVE_PACK


@pytest.fixture
def server(server_root: Path, bare: Repo) -> Iterator[GitHttpServer]:
    """Return the server, so that requests can fail."""
    with GitHttpServer(server_root) as made:
        yield made


@pytest.fixture
def url(server: GitHttpServer) -> str:
    """Return the remote's URL."""
    return server.repo_url("repo.git")


@pytest.fixture
def folder(bare: Repo, url: str, tmp_path: Path) -> Repo:
    """Return a clone as jobs leave it: a stash, edited, staged, deleted and untracked files. The remote has moved."""
    made = clone(url, tmp_path / "c")
    write(made, {"README.md": "stashed\n"})
    made.git("stash", "-q")
    write(made, {"README.md": "edited\n", "docs/old.md": None, "untracked.txt": "mine\n", "staged.txt": "staged\n"})
    made.git("add", "staged.txt")
    write(made, {"src/app.py": "pushed\n", "new.txt": "pushed\n"})
    advance(bare, {"docs/guide.md": "theirs\n"}, "theirs")
    return made


PUSHED = ("src/app.py", "new.txt")


class Untouched:
    """Remembers a clone and the remote's branch, and checks that both are as they were."""

    def __init__(self, bare: Repo, folder: Repo) -> None:
        """Remember."""
        self._bare, self._folder = bare, folder
        self._before: tuple[Picture, str] = (picture(folder), tip_at(bare))

    def check(self) -> None:
        """Compare byte by byte."""
        assert picture(self._folder) == self._before[0]
        assert tip_at(self._bare) == self._before[1]
        assert "mine" not in subjects_at(self._bare)
        assert not [name for name in self._bare.refs() if "rescue" in name]


def push_again(bare: Repo, url: str, folder: Repo) -> None:
    """Push the same change again, which must work now and land once; nothing else of the clone moves."""
    land(folder, url, *PUSHED)
    assert subjects_at(bare).count("mine") == 1
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert {line.strip() for line in folder.git("status", "--porcelain").splitlines()} == {
        "M README.md", "D docs/old.md", "?? untracked.txt", "A  staged.txt",
    }  # fmt: skip
    assert_sound(folder)


def hook(folder: Path, name: str, text: str) -> None:
    """Write an executable hook."""
    path = folder / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


# conflicts


@pytest.mark.parametrize("rule", ["**=fail", "src/**=text"])
def test_a_conflict_that_no_rule_resolves(bare: Repo, url: str, folder: Repo, rule: str) -> None:
    """Under `fail`, or a rule that stops at true conflicts, nothing changes, and the error names the paths."""
    advance(bare, {"src/app.py": "theirs\n"}, "collides")
    state = Untouched(bare, folder)
    with pytest.raises(ConflictError) as caught:
        land(folder, url, *PUSHED, rules=(rule,))
    conflicts = caught.value.fields["conflicts"]
    assert isinstance(conflicts, list)
    assert [item["path"] for item in conflicts] == ["src/app.py"]
    state.check()


def test_a_conflict_in_a_later_one_of_several_commits(bare: Repo, url: str, folder: Repo) -> None:
    """When the first commit replays and the second does not, neither is landed."""
    folder.git("commit", "-q", "-m", "local one", "staged.txt")
    advance(bare, {"src/app.py": "theirs\n"}, "collides")
    state = Untouched(bare, folder)
    with pytest.raises(ConflictError):
        land(folder, url, *PUSHED, rules=("**=fail",))
    state.check()
    assert "local one" not in subjects_at(bare)


def test_a_policy_that_discards_the_whole_change(bare: Repo, url: str, folder: Repo) -> None:
    """Landing nothing is no success: exit 7, and the clone keeps the change."""
    advance(bare, {"src/app.py": "theirs\n", "new.txt": "theirs\n"}, "collides")
    state = Untouched(bare, folder)
    with pytest.raises(ConflictError) as caught:
        land(folder, url, *PUSHED, rules=("**=theirs",))
    assert caught.value.code == "nothing-survives"
    state.check()


def test_a_discarded_side_is_rescued_on_the_remote(bare: Repo, url: str, folder: Repo) -> None:
    """What a policy discards stays on the remote under a ref; git brings it back with the command that is printed."""
    advance(bare, {"src/app.py": "theirs\n"}, "collides")
    done = command(folder, "push", *PUSHED, "-m", "mine")
    assert done.returncode == 0, done.stderr
    assert content(bare, "src/app.py") == b"theirs\n"
    printed = next(line for line in done.stderr.splitlines() if "git fetch" in line)
    words = printed.partition("git fetch ")[2].split()[:2]
    folder.git("fetch", "-q", *words)
    assert folder.git("show", "FETCH_HEAD:src/app.py") == "pushed"
    bare.fsck()


# refusals


@pytest.mark.parametrize("name", ["pre-receive", "update"])
def test_a_hook_of_the_server_refuses(bare: Repo, url: str, folder: Repo, name: str) -> None:
    """A server's refusal of the branch is exit 8 in its words; the lock is free afterwards."""
    test = 'case "$1" in refs/heads/*)' if name == "update" else "case $(cat) in *refs/heads/*)"
    hook(bare.path, name, f"{test} echo 'not on a Friday' >&2; exit 1;; esac\n")
    state = Untouched(bare, folder)
    with pytest.raises(PolicyError) as caught:
        land(folder, url, *PUSHED)
    assert "not on a Friday" in f"{caught.value} {caught.value.fields}"
    state.check()
    (bare.path / "hooks" / name).unlink()
    push_again(bare, url, folder)


@pytest.mark.parametrize("name", ["pre-commit", "prepare-commit-msg", "commit-msg", "pre-push"])
def test_a_hook_of_the_clone_refuses(bare: Repo, url: str, folder: Repo, name: str) -> None:
    """A failing local hook ends the push before anything is sent, whatever the hook itself staged."""
    stages = "git add untracked.txt\n" if name == "pre-commit" else ""
    hook(folder.path / ".git", name, f"{stages}echo 'tests are red'; exit 1\n")
    state, refs = Untouched(bare, folder), bare.refs()
    with pytest.raises(HookError, match="tests are red"):
        land(folder, url, *PUSHED)
    state.check()
    assert bare.refs() == refs
    (folder.path / ".git/hooks" / name).unlink()
    push_again(bare, url, folder)


def test_a_tag_that_exists(bare: Repo, url: str, folder: Repo) -> None:
    """A tag that is there already refuses the whole swap, the branch with it."""
    bare.set_ref("refs/tags/v1", tip_at(bare))
    state = Untouched(bare, folder)
    with pytest.raises(PolicyError):
        land(folder, url, *PUSHED, tags=("v1",))
    state.check()


# the lock


def test_the_lock_is_held_by_another(bare: Repo, url: str, folder: Repo) -> None:
    """A wait that ends lands nothing and leaves no ticket."""
    acquire_at(remote_at(url), who="ann")
    state = Untouched(bare, folder)
    with pytest.raises(NotAcquiredError):
        land(folder, url, *PUSHED, wait_s=0.0)
    state.check()
    assert not bare.refs("refs/lock-queue/")


def test_the_lease_is_lost_before_the_landing(bare: Repo, url: str, folder: Repo) -> None:
    """A push under a lease that an operator broke, and that somebody else holds now, lands nothing."""
    remote = remote_at(url)
    lease = acquire_at(remote, who="mine")
    other = remote_at(url)
    name = lock_name("main")
    limit = Deadline.after(other.system, 60.0)
    seen = other.look([name], limit, with_queue=False).locks[name]
    assert seen is not None
    break_lock(other, name, seen, holder("operator"), "stuck", limit)
    acquire_at(other, who="other", ttl_s=3600)
    state = Untouched(bare, folder)
    options = PushOptions(
        holder("mine"),
        Selection(tuple(map(str.encode, PUSHED))),
        CommitWish(("mine",)),
        remote_name="origin",
        wait_s=0.0,
    )
    with Checkout.open(folder.path, git_env()) as checkout, pytest.raises((LeaseLostError, NotAcquiredError)):
        push(remote, checkout, options, Deadline.after(remote.system, 60.0), lease=lease)
    state.check()


# the network


@pytest.mark.parametrize("kind", [RequestKind.LS_REFS, RequestKind.FETCH, RequestKind.ADVERTISE_RECEIVE, WRITE])
def test_the_network_is_dead_from_some_request_on(
    server: GitHttpServer, bare: Repo, url: str, folder: Repo, kind: RequestKind
) -> None:
    """Wherever the network dies, nothing local changes; when it is back the change lands once."""
    state = Untouched(bare, folder)
    server.set_faults(FaultPlan().always(kind, DropBefore()))
    with pytest.raises((GitrefLockError, RemoteError)):
        land(folder, url, *PUSHED, remote=remote_at(url, read_timeout_s=0.5))
    state.check()
    server.set_faults()
    push_again(bare, url, folder)


def test_the_reply_of_the_landing_and_everything_after_it_is_lost(
    server: GitHttpServer, bare: Repo, url: str, folder: Repo
) -> None:
    """Landed, but nobody can tell: exit 9, the clone unchanged; the next command finds out and finishes the move."""
    land(clone(url, folder.path.parent / "lock-maker"), url)  # makes nothing
    before = picture(folder)
    plan = FaultPlan()

    def die(_: Request) -> None:
        plan.always(RequestKind.LS_REFS, DropBefore()).always(RequestKind.ADVERTISE_RECEIVE, DropBefore())

    plan.on(WRITE, range(2, 99), DropAfter()).after(WRITE, 2, die)
    server.set_faults(plan)
    with pytest.raises(OutcomeUnknownError):
        land(folder, url, *PUSHED, remote=remote_at(url, read_timeout_s=0.5))
    server.set_faults()
    assert picture(folder) == before
    assert subjects_at(bare).count("mine") == 1
    write(folder, {"later.txt": "later\n"})
    report = land(folder, url, "later.txt", message="later")
    assert "finished an earlier push" in report.recovered
    assert subjects_at(bare)[:2] == ["later", "mine"]
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)


# processes


def command(folder: Repo, *words: str, limit_bytes: int | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; ``limit_bytes`` makes the disk refuse larger files."""

    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [sys.executable, "-m", "gitref_lock", *words],
        cwd=folder.path,
        env=command_env(**env),
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_disk_is_full_while_staging(bare: Repo, url: str, folder: Repo) -> None:
    """A file that cannot be stored ends the push before anything is sent."""
    write(folder, {"new.txt": os.urandom(300_000)})
    state = Untouched(bare, folder)
    done = command(folder, "push", *PUSHED, "-m", "mine", "--json", limit_bytes=100_000)
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "File too large" in json.loads(done.stdout)["error"]["message"]
    state.check()
    push_again(bare, url, folder)


def test_the_disk_is_full_at_the_journal(bare: Repo, url: str, folder: Repo) -> None:
    """A journal that cannot be written ends the push before the swap is sent."""
    state = Untouched(bare, folder)
    done = command(folder, "push", *PUSHED, "-m", "mine", "--json", limit_bytes=600)
    assert done.returncode == 3, (done.stdout, done.stderr)
    state.check()
    push_again(bare, url, folder)


def test_the_disk_is_full_when_the_clone_should_follow(bare: Repo, url: str, folder: Repo) -> None:
    """Landed, but an incoming file has no room here: exit 0, nothing local moved, and the next command finishes."""
    advance(bare, {"big.txt": b"0" * 5_000_000}, "a large file")
    before = picture(folder)
    done = command(folder, "push", *PUSHED, "-m", "mine", "--json", limit_bytes=1_000_000)
    said = json.loads(done.stdout)
    assert (done.returncode, said["pushed"], said["local_updated"]) == (0, True, False), done.stderr
    assert picture(folder) == before
    write(folder, {"later.txt": "later\n"})
    report = land(folder, url, "later.txt", message="later")
    assert "finished an earlier push" in report.recovered
    assert (folder.path / "big.txt").stat().st_size == 5_000_000
    assert subjects_at(bare).count("mine") == 1


def test_git_holds_the_index_when_the_clone_should_follow(bare: Repo, url: str, folder: Repo) -> None:
    """A lock of a running git is respected: landed, nothing local moved; the next command finishes."""
    lock = folder.path / ".git/index.lock"
    lock.touch()
    before = picture(folder)
    report = land(folder, url, *PUSHED)
    assert report.move is not None
    assert not report.move.local_updated
    assert picture(folder) == before
    assert lock.exists()
    lock.unlink()
    write(folder, {"later.txt": "later\n"})
    assert "finished an earlier push" in land(folder, url, "later.txt", message="later").recovered
    assert subjects_at(bare)[:2] == ["later", "mine"]


class Sender:
    """Sends a signal to a process at a request, and waits for its end when the signal cannot be handled."""

    def __init__(self, number: int) -> None:
        """Keep the signal."""
        self.number = number
        self.process: subprocess.Popen[str] | None = None
        self.armed = threading.Event()

    def __call__(self, _: Request) -> None:
        """Send it."""
        assert self.armed.wait(DEADLINE_S)
        assert self.process is not None
        os.kill(self.process.pid, self.number)
        if self.number == signal.SIGKILL:
            self.process.wait(DEADLINE_S)


def signalled(server: GitHttpServer, folder: Repo, number: int, plan: Callable[[FaultPlan, Sender], object]) -> int:
    """Push, let the plan send a signal at one of the requests, and return the exit code."""
    sender, faults = Sender(number), FaultPlan()
    plan(faults, sender)
    server.set_faults(faults)
    process = subprocess.Popen(
        [sys.executable, "-m", "gitref_lock", "push", *PUSHED, "-m", "mine", "--json"],
        cwd=folder.path,
        env=command_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sender.process = process
    sender.armed.set()
    process.communicate(timeout=DEADLINE_S)
    server.set_faults()
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["INT", "TERM", "KILL"])
@pytest.mark.parametrize("kind", [RequestKind.LS_REFS, RequestKind.FETCH, RequestKind.ADVERTISE_RECEIVE])
def test_a_signal_before_the_landing_is_sent(
    server: GitHttpServer, bare: Repo, url: str, folder: Repo, kind: RequestKind, number: int
) -> None:
    """A signal while the remote is read ends the push with 128+n; nothing changed, and the next push works."""
    state = Untouched(bare, folder)
    code = signalled(server, folder, number, lambda plan, sender: plan.before(kind, 1, sender))
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    state.check()
    push_again(bare, url, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_while_waiting_for_the_lock_withdraws(
    server: GitHttpServer, bare: Repo, url: str, folder: Repo, number: int
) -> None:
    """A posted change is withdrawn; nothing changed, and no live ticket stays."""
    acquire_at(remote_at(url), who="ann", ttl_s=600)
    state = Untouched(bare, folder)
    code = signalled(server, folder, number, lambda plan, sender: plan.after(WRITE, 1, sender))
    assert code == 128 + number
    state.check()
    tickets = [json.loads(bare.git("show", f"{name}:ticket.json")) for name in bare.refs("refs/lock-queue/")]
    assert [ticket for ticket in tickets if "verdict" not in ticket] == []


# success leaves alone what was not pushed


def test_local_files_that_collide_with_incoming_ones_are_left(bare: Repo, url: str, tmp_path: Path) -> None:
    """Untracked, edited, deleted and staged files that the remote changed stay as they are, and are named."""
    advance(bare, {"edited.txt": "1\n", "deleted.txt": "1\n", "staged.txt": "1\n", "gone.txt": "1\n"}, "more files")
    folder = clone(url, tmp_path / "c")
    advance(
        bare,
        {
            "untracked.txt": "theirs\n",
            "edited.txt": "theirs\n",
            "deleted.txt": "theirs\n",
            "staged.txt": "theirs\n",
            "gone.txt": None,
            "folder": "theirs is a file\n",
        },
        "theirs",
    )
    mine = {"untracked.txt": "mine\n", "edited.txt": "mine\n", "staged.txt": "mine\n", "gone.txt": "mine\n"}
    write(folder, {**mine, "deleted.txt": None, "folder/inner.txt": "mine\n", "pushed.txt": "pushed\n"})
    folder.git("add", "staged.txt")
    staged = folder.git("rev-parse", ":staged.txt")
    report = land(folder, url, "pushed.txt")
    assert report.move is not None
    assert report.move.local_updated
    assert {item.path.decode() for item in report.move.left} == {
        "untracked.txt", "edited.txt", "deleted.txt", "staged.txt", "gone.txt", "folder",
    }  # fmt: skip
    assert {name: (folder.path / name).read_text() for name in mine} == mine
    assert (folder.path / "folder/inner.txt").read_text() == "mine\n"
    assert not (folder.path / "deleted.txt").exists()
    assert folder.git("rev-parse", ":staged.txt") == staged
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert git_result("diff", "--quiet", "HEAD", "--", "pushed.txt", cwd=folder.path).returncode == 0
    assert_sound(folder)


def test_after_success_the_rest_of_the_clone_is_as_it_was(bare: Repo, url: str, folder: Repo) -> None:
    """Stash, staged content, edits, deletions and untracked files survive a landing byte for byte."""
    before = picture(folder)
    land(folder, url, *PUSHED)
    after = picture(folder)
    assert after.stash == before.stash
    rest = before.files.keys() - {"docs/guide.md"}
    assert {name: after.files.get(name) for name in rest} == {name: before.files[name] for name in rest}
    assert folder.git("diff", "--cached", "--name-status") == "A\tstaged.txt"
    assert folder.git("diff", "--name-status").splitlines() == ["M\tREADME.md", "D\tdocs/old.md"]
