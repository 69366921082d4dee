"""Commit hooks: run as git runs them, with the content that is to be committed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gitref_lock.errors import Interrupted, PolicyError
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.errors import HookError
from gitref_lock.landing.hooks import Hooks
from gitref_lock.landing.stage import stage
from gitref_lock.landing.staged import Staged
from gitref_lock.landing.workspace import Selection, take_snapshot
from tests.support.clones import NOW_S, commit_staged, move_to, open_checkout, write
from tests.support.gitcli import git, git_result
from tests.support.struck import interrupts, is_gone, struck_at_start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a repository with two files, both edited."""
    root = tmp_path / "repo"
    git("init", "-q", root, cwd=tmp_path)
    write(root, "a", "1\n")
    write(root, "b", "1\n")
    git("add", ".", cwd=root)
    git("commit", "-q", "-m", "base", cwd=root)
    write(root, "a", "2\n")
    write(root, "b", "2\n")
    return root


def hook(path: Path, name: str, script: str, *, folder: str = ".git/hooks", mode: int = 0o755) -> None:
    """Write a hook."""
    write(path, f"{folder}/{name}", script, mode=mode)


def run_pre_commit(path: Path, *paths: bytes) -> tuple[Staged, list[str]]:
    """Stage and run pre-commit."""
    with open_checkout(path) as checkout, checkout.exclusive():
        hooks = Hooks(checkout)
        return hooks.pre_commit(stage(checkout, paths)), hooks.said


def test_no_hook_changes_nothing(path: Path) -> None:
    """Without hooks the staging and the message pass through untouched."""
    staged, said = run_pre_commit(path)
    assert len(staged.changes) == 2
    assert said == []
    with open_checkout(path) as checkout:
        assert Hooks(checkout).message("text\n", staged, is_verified=True) == "text\n"


def test_pre_commit_sees_exactly_what_is_to_be_committed(path: Path) -> None:
    """The hook's index holds the pushed paths only: not what is staged or edited besides."""
    git("add", "b", cwd=path)
    hook(path, "pre-commit", "#!/bin/sh\ngit diff --cached --name-status\npwd\n")
    staged, said = run_pre_commit(path, b"a")
    assert [item.path for item in staged.changes] == [b"a"]
    assert said == [f"M\ta\n{path}\n"]
    assert git("diff", "--cached", "--name-only", cwd=path) == "b"


def test_a_failing_hook_stops_the_push_with_its_words(path: Path) -> None:
    """A non-zero exit is a policy error that repeats what the hook said; the index is untouched."""
    hook(path, "pre-commit", "#!/bin/sh\necho lint: bad file >&2\nexit 3\n")
    before = git("ls-files", "-s", cwd=path)
    with pytest.raises(HookError) as caught:
        run_pre_commit(path)
    assert isinstance(caught.value, PolicyError)
    assert caught.value.message == "the pre-commit hook exited with 3: lint: bad file"
    assert "--no-verify" in caught.value.hint
    assert git("ls-files", "-s", cwd=path) == before


def test_a_hook_that_formats_and_adds_is_taken_over(path: Path) -> None:
    """What the hook adds to its index is committed, and the clone is clean afterwards."""
    hook(path, "pre-commit", "#!/bin/sh\necho formatted > a\ngit add a\necho n > new\ngit add new\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = Hooks(checkout).pre_commit(stage(checkout, [b"a"]))
        assert [item.path for item in staged.changes] == [b"a", b"new"]
        report = move_to(checkout, commit_staged(checkout, staged), staged)
    assert report.local_updated
    assert not report.left
    assert git("show", "HEAD:a", cwd=path) == "formatted"
    assert git_result("status", "--porcelain", cwd=path).stdout == b" M b\n"


def test_a_hook_sees_an_edit_within_the_second_in_which_the_index_was_written(path: Path) -> None:
    """What is staged already and edited again unnoticed is noticed by a hook that adds it."""
    second = (1_000_000_000, 1_000_000_000)
    os.utime(path / "a", second)
    git("add", "a", cwd=path)
    write(path, "a", "3\n")
    os.utime(path / "a", second)
    os.utime(path / ".git" / "index", second)
    hook(path, "pre-commit", "#!/bin/sh\ngit -c core.trustCtime=false add a\n")
    staged, _ = run_pre_commit(path)
    entry = staged.index_entries[b"a"]
    assert entry is not None
    assert entry.oid.decode() == git("hash-object", "a", cwd=path)


def test_plumbing_in_a_hook_sees_only_true_changes(path: Path) -> None:
    """In the hook's index files have their status: `git diff-files` lists what is not part of the commit, no more."""
    for name in ("c", "d"):
        write(path, name, "1\n")
    git("add", "c", "d", cwd=path)
    git("commit", "-q", "-m", "more", cwd=path)
    os.utime(path / "c", (1_000_000_000, 1_000_000_000))
    write(path, "d", "staged, then taken back\n")
    git("add", "d", cwd=path)
    write(path, "d", "1\n")
    hook(path, "pre-commit", "#!/bin/sh\ngit diff-files --name-only\n")
    staged, said = run_pre_commit(path, b"a")
    assert [item.path for item in staged.changes] == [b"a"]
    assert said == ["b\n"]


def test_a_hook_that_takes_a_file_back(path: Path) -> None:
    """A hook may also remove a change from the commit."""
    hook(path, "pre-commit", "#!/bin/sh\ngit reset -q -- b\n")
    staged, _ = run_pre_commit(path)
    assert [item.path for item in staged.changes] == [b"a"]


def test_a_hook_that_is_not_executable_is_passed_over(path: Path) -> None:
    """Git ignores such hooks, and so does a push."""
    hook(path, "pre-commit", "#!/bin/sh\nexit 1\n", mode=0o644)
    assert len(run_pre_commit(path)[0].changes) == 2


def test_a_script_without_a_first_line_runs(path: Path) -> None:
    """A hook without an interpreter line is run by the shell."""
    hook(path, "pre-commit", "echo plain\n")
    assert run_pre_commit(path)[1] == ["plain\n"]


def test_a_hook_that_cannot_be_run_is_an_error(path: Path) -> None:
    """An interpreter that does not exist is reported, not taken for success."""
    hook(path, "pre-commit", "#!/nowhere/interpreter\n")
    with pytest.raises(HookError, match="cannot be run"):
        run_pre_commit(path)


def test_hooks_path_is_relative_to_the_work_tree(path: Path) -> None:
    """core.hooksPath replaces the usual folder."""
    git("config", "core.hooksPath", "my hooks", cwd=path)
    hook(path, "pre-commit", "#!/bin/sh\nexit 1\n")
    hook(path, "pre-commit", "#!/bin/sh\necho mine\n", folder="my hooks")
    assert run_pre_commit(path)[1] == ["mine\n"]


def test_a_linked_work_tree_uses_the_shared_hooks(path: Path, tmp_path: Path) -> None:
    """Hooks live in the common folder; the hook gets the work tree's own git directory."""
    git("worktree", "add", "-q", tmp_path / "linked", cwd=path)
    hook(path, "pre-commit", "#!/bin/sh\ngit rev-parse --abbrev-ref HEAD\n")
    write(tmp_path / "linked", "a", "linked\n")
    assert run_pre_commit(tmp_path / "linked")[1] == ["linked\n"]


_WHERE = "#!/bin/sh\nenv | grep -E '^GIT_(DIR|WORK_TREE|PREFIX)=' | sort >said\n"


@pytest.mark.parametrize("named", [{}, {"GIT_DIR": ".git"}, {"GIT_DIR": "../.git", "GIT_WORK_TREE": ".."}])
@pytest.mark.parametrize("kind", ["main", "linked", "separate", "configured"])
def test_a_hook_is_told_of_the_repository_as_by_git(
    path: Path, tmp_path: Path, kind: str, named: dict[str, str]
) -> None:
    """A hook finds the git directory, or is told where it is, exactly as in `git commit`."""
    hook(path, "pre-commit", _WHERE)
    start = path
    if kind == "linked":
        start = tmp_path / "linked"
        git("worktree", "add", "-q", start, cwd=path)
    elif kind == "separate":
        git("init", "-q", "--separate-git-dir", tmp_path / "elsewhere", cwd=path)
    elif kind == "configured":
        git("config", "core.worktree", path, cwd=path)
    write(start, "a", "3\n")
    (start / "sub").mkdir()
    folder = start / "sub" if "GIT_WORK_TREE" in named else start
    with open_checkout(folder, named) as checkout, checkout.exclusive():
        Hooks(checkout).pre_commit(stage(checkout, ()))
        work_tree = checkout.work_tree
    ours = (start / "said").read_text().splitlines()
    git("commit", "-q", "-a", "-m", "git's", cwd=folder, env=named)
    theirs = (start / "said").read_text().splitlines()

    def resolved(lines: list[str]) -> list[str]:
        pairs = [line.partition("=") for line in lines]
        return [f"{key}={(work_tree / value).resolve() if key != 'GIT_PREFIX' else value}" for key, _, value in pairs]

    assert resolved(ours) == resolved(theirs)


def test_a_hook_that_enters_a_folder_adds_there(path: Path) -> None:
    """What a hook adds from a folder of the work tree is committed under that folder."""
    write(path, "d/one", "1\n")
    hook(path, "pre-commit", "#!/bin/sh\ncd d && echo g >gen && git add gen\n")
    staged, _ = run_pre_commit(path, b"d")
    assert [item.path for item in staged.changes] == [b"d/gen", b"d/one"]


def test_message_hooks_rewrite_and_refuse(path: Path) -> None:
    """prepare-commit-msg and commit-msg may rewrite the message; commit-msg may refuse, and --no-verify skips it."""
    hook(path, "prepare-commit-msg", '#!/bin/sh\necho "prepared $2" >> "$1"\n')
    hook(path, "commit-msg", '#!/bin/sh\ngrep -q forbidden "$1" && exit 1\necho checked >> "$1"\n')
    with open_checkout(path) as checkout:
        hooks, staged = Hooks(checkout), stage(checkout, ())
        assert hooks.message("text\n", staged, is_verified=True) == "text\nprepared message\nchecked\n"
        assert hooks.message("forbidden\n", staged, is_verified=False) == "forbidden\nprepared message\n"
        with pytest.raises(HookError, match="commit-msg"):
            hooks.message("forbidden\n", staged, is_verified=True)


@pytest.mark.parametrize("name", ["prepare-commit-msg", "commit-msg"])
def test_message_hooks_see_what_is_to_be_committed(path: Path, name: str) -> None:
    """The message hooks' index holds the pushed paths only, like that of pre-commit."""
    git("add", "b", cwd=path)
    hook(path, name, "#!/bin/sh\ngit diff --cached --name-only\ngit diff-files --name-only\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        hooks = Hooks(checkout)
        hooks.message("text\n", stage(checkout, [b"a"]), is_verified=True)
    assert hooks.said == ["a\nb\n"]


def test_message_hooks_run_with_a_split_index(path: Path) -> None:
    """An index that only git reads does not stop a hook that looks at the message."""
    git("update-index", "--split-index", cwd=path)
    hook(path, "commit-msg", '#!/bin/sh\necho "Change-Id: I1" >>"$1"\n')
    with open_checkout(path) as checkout, checkout.exclusive():
        assert Hooks(checkout).message("text\n", stage(checkout, ()), is_verified=True) == "text\nChange-Id: I1\n"


_LEFT = r"a\n\n\n# c\n# ------------------------ >8 ------------------------\nz  \n; semi\n\n"


@pytest.mark.parametrize("mode", ["default", "strip", "whitespace", "verbatim", "scissors"])
@pytest.mark.parametrize("name", ["prepare-commit-msg", "commit-msg"])
def test_what_hooks_leave_is_cleaned_as_by_git(path: Path, name: str, mode: str) -> None:
    """commit.cleanup holds for the message that a hook has written."""
    git("config", "commit.cleanup", mode, cwd=path)
    hook(path, name, f"#!/bin/sh\nprintf '{_LEFT}' >\"$1\"\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        snapshot = take_snapshot(checkout, Selection(), CommitWish(["given"]), NOW_S)
    assert snapshot.commit is not None
    git("commit", "-q", "-a", "-m", "given", cwd=path)
    assert raw_message(path, snapshot.commit) == raw_message(path, "HEAD")


@pytest.mark.parametrize("left", [r"", r"\n \n", r"\n\nSigned-off-by: a <b@example.invalid>\n"])
@pytest.mark.parametrize("name", ["prepare-commit-msg", "commit-msg"])
def test_a_hook_that_empties_the_message_stops_the_push(path: Path, name: str, left: str) -> None:
    """Like `git commit`, a push refuses a message in which a hook has left nothing, unless that is allowed."""
    hook(path, name, f"#!/bin/sh\nprintf '{left}' >\"$1\"\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        with pytest.raises(HookError, match="empty commit message"):
            take_snapshot(checkout, Selection(), CommitWish(["given"]), NOW_S)
        allowed = take_snapshot(checkout, Selection(), CommitWish(["given"], allows_empty_message=True), NOW_S)
    assert allowed.commit is not None
    assert git_result("commit", "-q", "-a", "-m", "given", cwd=path).returncode
    git("commit", "-q", "-a", "-m", "given", "--allow-empty-message", cwd=path)
    assert raw_message(path, allowed.commit) == raw_message(path, "HEAD")


def raw_message(path: Path, commit: str) -> bytes:
    """Return the message of a commit, byte for byte."""
    return git_result("cat-file", "commit", commit, cwd=path).stdout.partition(b"\n\n")[2]


def test_what_a_hook_starts_in_the_background_is_not_waited_for(path: Path) -> None:
    """As with git the hook's own end counts, whoever still has its output open; that one lives on."""
    hook(path, "pre-commit", "#!/bin/sh\nsleep 60 &\necho $!\n")
    _, said = run_pre_commit(path)
    pid = int(said[0])
    assert not is_gone(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_signal_while_a_hook_is_being_started_ends_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hook is left running that nobody can end."""
    hook(path, "pre-commit", "#!/bin/sh\nexec sleep 60\n")
    with open_checkout(path) as checkout:
        started = struck_at_start(monkeypatch)
        with interrupts(), pytest.raises(Interrupted):
            Hooks(checkout).run("pre-commit", ())
    assert [process.returncode for process in started] == [-signal.SIGTERM]


def test_pre_push_gets_gits_lines(path: Path) -> None:
    """pre-push gets remote and address as arguments and the updates on standard input."""
    hook(path, "pre-push", '#!/bin/sh\necho "$@"\ncat\n')
    with open_checkout(path) as checkout:
        hooks = Hooks(checkout)
        hooks.pre_push("origin", "file:///x", [("refs/heads/main", "1" * 40, "refs/heads/main", "0" * 40)])
    assert hooks.said == [f"origin file:///x\nrefs/heads/main {'1' * 40} refs/heads/main {'0' * 40}\n"]


def test_a_split_index_cannot_be_shown_to_a_hook(path: Path) -> None:
    """With an index that only git reads the hook is not run on wrong content; the error names the way out."""
    git("update-index", "--split-index", cwd=path)
    hook(path, "pre-commit", "#!/bin/sh\nexit 0\n")
    with pytest.raises(HookError) as caught:
        run_pre_commit(path)
    assert caught.value.code == "hook-needs-plain-index"
