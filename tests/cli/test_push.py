"""`gitref-lock push` as scripts see it: exit codes, JSON, and nothing lost for any bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gitref_lock.testing.faults import DropAfter, DropBefore, FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.support.gitcli import Repo, clone, make_bare
from tests.support.race import command_env
from tests.support.runners import acquire_at, add_key, keys_at, release, remote_at, subjects_at, tip_at


def run(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder`` with a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gitref_lock", *words],
        cwd=folder,
        env=command_env(**{"HOME": str(folder.parent), **env}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def error_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """Return the error that a command with --json printed."""
    found = json.loads(done.stdout)["error"]
    assert isinstance(found, dict)
    assert found["exit"] == done.returncode
    return found


def assert_untouched(bare: Repo, tip: str, folder: Repo, status: str) -> None:
    """Check that neither the branch nor the clone has changed."""
    assert tip_at(bare) == tip
    assert folder.git("status", "--porcelain") == status


@pytest.fixture
def changed(work_clone: Repo) -> Repo:
    """Return a clone with a change."""
    add_key(work_clone, "mine")
    return work_clone


def test_push_commits_lands_and_says_so(bare_repo: Repo, changed: Repo) -> None:
    """A push prints the landed commit on stdout, everything for people on stderr, and leaves a clean clone."""
    done = run(changed.path, "push", "-A", "-m", "first line", "-m", "a paragraph")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == tip_at(bare_repo)
    assert "landed (fast)" in done.stderr
    assert bare_repo.git("log", "-1", "--format=%B", "main") == "first line\n\na paragraph"
    assert changed.git("status", "--porcelain", "--branch") == "## main...origin/main"


def test_push_json_is_one_document_with_the_known_keys(bare_repo: Repo, changed: Repo) -> None:
    """With --json stdout is one document that carries the keys scripts know."""
    done = run(changed.path, "push", "-A", "-m", "mine", "--json")
    said = json.loads(done.stdout)
    assert (said["changes_detected"], said["committed"], said["pushed"], said["local_updated"]) == (True,) * 4
    assert (said["commit_hash"], said["landed"], said["branch"]) == (tip_at(bare_repo), "fast", "main")
    assert said["conflicts"] == []
    assert said["requests"] > 0


def test_nothing_to_commit_is_success_and_makes_nothing(bare_repo: Repo, work_clone: Repo) -> None:
    """A clean tree exits 0, says so, and writes nothing to the remote: not even a lock."""
    before = bare_repo.refs()
    done = run(work_clone.path, "push", "-A", "-m", "nothing", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["changes_detected"], said["pushed"], said["landed"]) == (0, False, False, None)
    assert bare_repo.refs() == before


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (["push", "no-such-file", "-m", "x"], 2, None),
        (["push", "-A"], 2, "empty-message"),
        (["push", "-A", "-m", "x", "--strategy", "nonsense"], 2, None),
        (["push", "-A", "-m", "x", "--strategy", "*.txt=nonsense"], 2, None),
        (["push", "-A", "-m", "x", "--wait", "soon"], 2, "usage"),
        (["push", "-A", "-m", "x", "--author", "nobody"], 2, "bad-author"),
        (["push", "-A", "-m", "x", "--emergency", " "], 2, "usage"),
        (["push", "-A", "-m", "x", "-r", "nowhere"], 3, None),
        (["push", "-A", "-m", "x", "-r", "http://127.0.0.1:9/none.git"], 3, "unreachable"),
        (["push", "-A", "-m", "x", "-r", "http://127.0.0.1:9/none.git", "--timeout", "1s"], 4, "timeout"),
        (["push", "-A", "-m", "x", "-b", "bad..name"], 2, None),
    ],
)
def test_bad_words_change_nothing_anywhere(
    bare_repo: Repo, changed: Repo, words: Sequence[str], code: int, name: str | None
) -> None:
    """Wrong words or a wrong remote end with their exit code, and neither remote nor clone changes."""
    tip, status = tip_at(bare_repo), changed.git("status", "--porcelain")
    done = run(changed.path, *words, "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    if name is not None:
        assert error_of(done)["code"] == name
    assert_untouched(bare_repo, tip, changed, status)


def test_outside_a_repository_push_says_where_it_looked(tmp_path: Path) -> None:
    """A folder without a repository is exit 3 and one sentence."""
    done = run(tmp_path, "push", "-A", "-m", "x", "-r", str(tmp_path))
    assert done.returncode == 3
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_detached_head_asks_for_the_branch_or_takes_the_ci_s(bare_repo: Repo, changed: Repo) -> None:
    """Detached, push lands on the branch that the CI names; without one it asks for --branch."""
    changed.git("checkout", "-q", "--detach")
    done = run(changed.path, "push", "-A", "-m", "mine", "--json")
    assert done.returncode == 2
    assert error_of(done)["code"] == "no-branch"
    ci = {"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "main", "GITHUB_REF": "refs/heads/main"}
    done = run(changed.path, "push", "-A", "-m", "mine", "--json", **ci)
    assert done.returncode == 0, done.stderr
    assert keys_at(bare_repo) == {"mine": 1}


def test_the_first_commit_of_a_new_repository_lands(
    server_root: Path, git_server: GitHttpServer, tmp_path: Path
) -> None:
    """No commits yet on either side: push creates the branch."""
    bare = make_bare(server_root / "empty.git", with_commit=False)
    folder = clone(git_server.repo_url("empty.git"), tmp_path / "new")
    folder.git("symbolic-ref", "HEAD", "refs/heads/main")
    add_key(folder, "first")
    done = run(folder.path, "push", "-A", "-m", "first", "--json")
    assert done.returncode == 0, done.stderr
    assert subjects_at(bare) == ["first"]


def test_values_that_both_sides_set_are_counted_where_not_all_are_named(bare_repo: Repo, work_clone: Repo) -> None:
    """The report names the first twenty and says how many more there are, in words and as a number."""
    (work_clone.path / "data.json").write_text("{}\n")
    assert run(work_clone.path, "push", "-A", "-m", "start").returncode == 0
    theirs = clone(work_clone.git("remote", "get-url", "origin"), work_clone.path.parent / "theirs")
    for side, value in ((theirs, "theirs"), (work_clone, "ours")):
        keys = {f"key{number:02}": value for number in range(25)}
        (side.path / "data.json").write_text(json.dumps(keys, indent=1) + "\n")
    words = ("push", "-A", "-m", "keys", "--strategy", "data.json=json")
    assert run(theirs.path, *words).returncode == 0
    done = run(work_clone.path, *words, "--json")
    [item] = json.loads(done.stdout)["conflicts"]
    assert (len(item["detail"]), item["detail_count"]) == (20, 25)
    assert "/key19 and 5 more" in done.stderr
    assert keys_at(bare_repo)["key24"] == "ours"


def test_a_new_branch_is_created_on_the_remote_only(bare_repo: Repo, changed: Repo) -> None:
    """-b NAME creates the branch that never was there, and no local one."""
    tip = tip_at(bare_repo)
    done = run(changed.path, "push", "-A", "-m", "mine", "-b", "results/today", "--json")
    assert done.returncode == 0, done.stderr
    assert tip_at(bare_repo) == tip
    assert subjects_at(bare_repo, "results/today")[0] == "mine"
    assert changed.ref("refs/heads/results/today") is None
    assert changed.git("rev-parse", "--abbrev-ref", "HEAD") == "main"


def test_a_clean_clone_makes_the_branch_that_it_names(bare_repo: Repo, work_clone: Repo, repo_url: str) -> None:
    """-b NAME with nothing to commit makes NAME of what is checked out, under NAME's lock, unless it is there."""
    before = work_clone.git("status", "--porcelain", "--branch")
    planned = run(work_clone.path, "push", "-b", "release/1", "--dry-run")
    assert (planned.returncode, f"would create release/1 at {tip_at(bare_repo)}" in planned.stderr) == (0, True)
    assert bare_repo.ref("refs/heads/release/1") is None
    lease = acquire_at(remote_at(repo_url), "release/1")
    assert run(work_clone.path, "push", "-b", "release/1", "--nonblock").returncode == 4
    assert bare_repo.ref("refs/heads/release/1") is None
    release(lease)
    made = run(work_clone.path, "push", "-b", "release/1", "--json")
    said = json.loads(made.stdout)
    assert (made.returncode, said["pushed"], said["landed"]) == (0, True, "fast")
    assert said["commit_hash"] == bare_repo.ref("refs/heads/release/1") == tip_at(bare_repo)
    again = run(work_clone.path, "push", "-b", "release/1", "--json")
    assert (again.returncode, json.loads(again.stdout)["pushed"]) == (0, False)
    assert work_clone.git("status", "--porcelain", "--branch") == before


def test_refused_authentication_is_exit_3_and_shows_no_secret(server_root: Path, tmp_path: Path) -> None:
    """A wrong password ends with exit 3, names no credential, and changes nothing."""
    bare = make_bare(server_root / "repo.git")
    with GitHttpServer(server_root, auth=("user", "right")) as server:
        folder = clone(str(bare.path), tmp_path / "clone")
        url = server.repo_url("repo.git").replace("http://", "http://user:wr0ng-s3cret@")
        folder.git("remote", "set-url", "origin", url)
        add_key(folder, "mine")
        tip, status = tip_at(bare), folder.git("status", "--porcelain")
        done = run(folder.path, "push", "-A", "-m", "mine", "--json")
    assert done.returncode == 3
    assert error_of(done)["code"] == "authentication"
    assert "wr0ng-s3cret" not in done.stdout + done.stderr
    assert_untouched(bare, tip, folder, status)


def test_a_held_lock_is_not_passed_and_names_its_holder(bare_repo: Repo, changed: Repo, repo_url: str) -> None:
    """With --nonblock a held lock is exit 4, and nothing was landed or left behind."""
    acquire_at(remote_at(repo_url), who="ann")
    tip, status = tip_at(bare_repo), changed.git("status", "--porcelain")
    done = run(changed.path, "push", "-A", "-m", "mine", "--nonblock", "--json")
    assert done.returncode == 4, done.stdout
    assert "ann" in str(error_of(done)["message"])
    assert_untouched(bare_repo, tip, changed, status)
    assert not bare_repo.refs("refs/lock-queue/")


def test_an_emergency_lands_through_a_held_lock_and_is_recorded(bare_repo: Repo, changed: Repo, repo_url: str) -> None:
    """--emergency REASON lands at once, frees the lock, and writes who did it and why into the history."""
    acquire_at(remote_at(repo_url), who="ann")
    done = run(changed.path, "push", "-A", "-m", "mine", "--emergency", "site is down", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["landed"] == "emergency"
    last = json.loads(bare_repo.git("show", "refs/locks/main:history.jsonl").splitlines()[-1])
    assert (last["event"], "site is down" in last["note"], "ann" in last["note"]) == ("emergency", True, True)


def test_a_hook_that_declines_is_exit_8_in_the_server_s_words(bare_repo: Repo, changed: Repo) -> None:
    """A branch that the server's hook protects: exit 8, its words, nothing landed, the lock free."""
    hook = bare_repo.path / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in refs/heads/*) echo "main is protected" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    tip, status = tip_at(bare_repo), changed.git("status", "--porcelain")
    done = run(changed.path, "push", "-A", "-m", "mine", "--json")
    assert done.returncode == 8, (done.stdout, done.stderr)
    assert "main is protected" in str(error_of(done))
    assert_untouched(bare_repo, tip, changed, status)
    assert '"state": "free"' in bare_repo.git("show", "refs/locks/main:lock.json")


def test_a_hostile_lock_record_counts_as_held_and_is_shown_safely(bare_repo: Repo, changed: Repo) -> None:
    """A lock.json that nobody can read blocks like a held lock; its content reaches no terminal."""
    hostile = bare_repo.commit({"lock.json": b'{"schema": 1, "lock": "main", "state": "\x1b[31m::error::"}\n'})
    bare_repo.set_ref("refs/locks/main", hostile)
    done = run(changed.path, "push", "-A", "-m", "mine", "--nonblock", "--json")
    assert done.returncode == 4, done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("::")]


def test_a_lock_name_that_collides_with_a_folder_names_the_blocking_ref(bare_repo: Repo, changed: Repo) -> None:
    """A lock 'main' beside a lock 'main/x' is an error that names the ref in the way."""
    bare_repo.set_ref("refs/locks/main/x", bare_repo.commit({"lock.json": b"{}"}))
    done = run(changed.path, "push", "-A", "-m", "mine", "--json")
    assert done.returncode == 3, done.stdout
    found = error_of(done)
    assert found["code"] == "name-collision"
    assert "refs/locks/main/x" in str(found)


@pytest.mark.parametrize("operation", ["merge", "rebase"])
def test_an_unfinished_operation_is_refused(bare_repo: Repo, work_clone: Repo, operation: str) -> None:
    """A merge or rebase in progress is exit 3 with the command that ends it; nothing is touched."""
    work_clone.git("checkout", "-q", "-b", "side")
    (work_clone.path / "README.md").write_text("side\n")
    work_clone.git("commit", "-qam", "side")
    work_clone.git("checkout", "-q", "main")
    (work_clone.path / "README.md").write_text("main\n")
    work_clone.git("commit", "-qam", "main")
    subprocess.run(["git", operation, "side"], cwd=work_clone.path, env=command_env(), capture_output=True, check=False)
    tip, status = tip_at(bare_repo), work_clone.git("status", "--porcelain")
    done = run(work_clone.path, "push", "-A", "-m", "mine", "--json")
    assert done.returncode == 3, done.stdout
    assert "--abort" in str(error_of(done)["hint"])
    assert_untouched(bare_repo, tip, work_clone, status)


def test_content_staged_for_other_paths_stays_staged(bare_repo: Repo, work_clone: Repo) -> None:
    """Pushing one path leaves what is staged for another path staged, and lands only the named one."""
    (work_clone.path / "a.txt").write_text("a\n")
    (work_clone.path / "b.txt").write_text("b\n")
    work_clone.git("add", "b.txt")
    done = run(work_clone.path, "push", "a.txt", "-m", "only a", "--json")
    assert done.returncode == 0, done.stderr
    assert bare_repo.git("show", "--format=", "--name-only", "main") == "a.txt"
    assert work_clone.git("status", "--porcelain") == "A  b.txt"


def test_dry_run_says_what_would_land_and_changes_nothing(bare_repo: Repo, changed: Repo) -> None:
    """--dry-run lists the paths with their letters; neither remote nor clone changes."""
    refs, status = bare_repo.refs(), changed.git("status", "--porcelain")
    done = run(changed.path, "push", "-A", "-m", "mine", "--dry-run")
    assert (done.returncode, done.stdout.splitlines()) == (0, ["A data.json", "A mine.txt"])
    assert bare_repo.refs() == refs
    assert changed.git("status", "--porcelain") == status


def test_a_dry_run_runs_no_hook_and_says_that_nothing_was_committed(bare_repo: Repo, changed: Repo) -> None:
    """Hooks may write, so a dry run leaves all of them out; nothing is committed."""
    refs = bare_repo.refs()
    for name in ("pre-commit", "prepare-commit-msg", "commit-msg", "pre-push"):
        hook = changed.path / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho formatted >>mine.txt\ngit add mine.txt\nexit 1\n")
        hook.chmod(0o755)
    before = (changed.path / "mine.txt").read_bytes()
    done = run(changed.path, "push", "-A", "-m", "mine", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["changes_detected"], said["committed"], said["pushed"], said["landed"]) == (True, False, False, None)
    assert [item["path"] for item in said["changes"]] == ["data.json", "mine.txt"]
    assert said["commit_hash"] == changed.git("rev-parse", "HEAD")
    assert (changed.path / "mine.txt").read_bytes() == before
    assert bare_repo.refs() == refs
    assert "would land on main" in run(changed.path, "push", "-A", "-m", "mine", "--dry-run").stderr


def test_a_tag_lands_in_the_same_swap(bare_repo: Repo, changed: Repo) -> None:
    """--tag makes an annotated tag on the landed commit; one that exists already refuses the whole push."""
    done = run(changed.path, "push", "-A", "-m", "mine", "--tag", "v1", "--json")
    assert done.returncode == 0, done.stderr
    assert bare_repo.git("cat-file", "-t", "v1") == "tag"
    assert bare_repo.git("rev-parse", "v1^{commit}") == tip_at(bare_repo)
    add_key(changed, "more")
    tip = tip_at(bare_repo)
    done = run(changed.path, "push", "-A", "-m", "more", "--tag", "v1", "--json")
    assert done.returncode == 8, done.stdout
    assert tip_at(bare_repo) == tip


def test_without_any_identity_the_error_says_how_to_set_one(bare_repo: Repo, changed: Repo) -> None:
    """No configured name, no CI actor: exit 3 and the two commands that set an identity."""
    env = command_env(HOME=str(changed.path.parent))
    for name in [key for key in env if key.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))]:
        del env[name]
    words = [sys.executable, "-m", "gitref_lock", "push", "-A", "-m", "mine", "--json"]
    done = subprocess.run(words, cwd=changed.path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stdout
    assert "user.name" in str(error_of(done))
    env |= {"GITHUB_ACTOR": "octo", "GITHUB_ACTOR_ID": "7"}
    done = subprocess.run(words, cwd=changed.path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert bare_repo.git("log", "-1", "--format=%an", "main") == "octo"


def test_an_unknown_outcome_names_what_finds_out(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, changed: Repo
) -> None:
    """Exit 9 says to push again in this clone, and where to look; the same push then tells what became of it."""
    assert run(changed.path, "push", "-A", "-m", "first").returncode == 0
    (changed.path / "more.txt").write_text("more\n", "utf-8")
    lost = FaultPlan().always(RequestKind.LS_REFS, DropBefore()).always(RequestKind.ADVERTISE_UPLOAD, DropBefore())
    git_server.set_faults(
        FaultPlan()
        .always(RequestKind.RECEIVE_PACK, DropAfter())
        .after(RequestKind.RECEIVE_PACK, 1, lambda _: git_server.set_faults(lost))
    )
    done = run(changed.path, "push", "-A", "-m", "second", "--timeout", "4s", "--json")
    assert done.returncode == 9, done.stdout + done.stderr
    told = error_of(done)
    assert "run the same push again in this clone" in str(told["hint"])
    assert (told["branch"], told["remote"]) == ("main", repo_url)
    assert told["commit"] == bare_repo.ref("refs/heads/main")
    git_server.set_faults(FaultPlan())
    again = run(changed.path, "push", "-A", "-m", "second")
    assert again.returncode == 0
    assert "finished an earlier push" in again.stderr


@pytest.mark.parametrize(
    ("setting", "words", "how", "meaning"),
    [
        ("receive.hideRefs=refs/locks", (), "degraded", "nothing but the branch's own old value"),
        ("receive.advertiseAtomic=false", (), "unfenced", "a lease that it did not check"),
        ("receive.advertiseAtomic=true", ("--emergency", "site is down"), "emergency", "ended any lease on the lock"),
    ],
)
def test_a_landing_outside_the_fence_says_what_that_means(
    bare_repo: Repo, changed: Repo, setting: str, words: tuple[str, ...], how: str, meaning: str
) -> None:
    """The warning itself says what protected the landing, so that nobody has to look for the word."""
    key, _, value = setting.partition("=")
    bare_repo.config(key, value)
    done = run(changed.path, "push", "-A", "-m", "mine", *words)
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("warning: this landing")]
    assert told.startswith(f"warning: this landing was {how}: ")
    assert meaning in told


def test_a_change_that_the_policy_discards_whole_names_its_paths(changed: Repo, repo_url: str, tmp_path: Path) -> None:
    """Exit 7 lists every path with the strategy that decided it, as for a conflict that nothing decides."""
    other = clone(repo_url, tmp_path / "other")
    for repo, text in ((other, "theirs\n"), (changed, "ours\n")):
        (repo.path / "both.txt").write_text(text, "utf-8")
    assert run(other.path, "push", "-A", "-m", "theirs").returncode == 0
    done = run(changed.path, "push", "both.txt", "-m", "ours", "--strategy", "**=theirs", "--json")
    assert done.returncode == 7, done.stdout + done.stderr
    told = error_of(done)
    assert told["code"] == "nothing-survives"
    conflicts = told["conflicts"]
    assert isinstance(conflicts, list)
    assert [(item["path"], item["strategy"]) for item in conflicts] == [("both.txt", "theirs")]
