"""Staging beside the real git: the same tree, index and status, or a refusal with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitref_lock.errors import GitrefLockError
from tests.staging.cases import CASES, Case
from tests.support.clones import land
from tests.support.gitcli import git, git_result


def _make(root: Path, case: Case) -> None:
    root.mkdir(parents=True)
    git("init", "-q", cwd=root)
    case.base(root)
    if any(root.iterdir()) and case.base is not Case.base:
        git("add", "-A", cwd=root)
        if git_result(
            "diff-index", "--cached", "--quiet", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", cwd=root
        ).returncode:
            git("commit", "-q", "-m", "base", cwd=root)
    case.edit(root)


def _commit_with_git(root: Path, case: Case) -> None:
    """Do what the push is documented to equal."""
    if case.take_all:
        git("add", "-A", cwd=root)
    elif case.paths:
        specs = list(map(os.fsdecode, case.paths))
        known = git_result("add", "--", *specs, cwd=root)
        # a removal that is staged already matches nothing for `git add`, but is a change for `git commit`
        assert known.returncode == 0 or b"did not match" in known.stderr, known.stderr
        _commit_or_nothing(root, "-m", "change", *([] if case.by_plain_commit else ["--", *specs]))
        return
    elif git_result("diff", "--cached", "--quiet", cwd=root).returncode == 0:
        _commit_or_nothing(root, "-a", "-m", "change")
        return
    _commit_or_nothing(root, "-m", "change")


def _commit_or_nothing(root: Path, *arguments: str) -> None:
    result = git_result("commit", "-q", *arguments, cwd=root)
    assert result.returncode == 0 or b"nothing" in result.stdout or b"no changes" in result.stdout, result.stdout


def _picture(root: Path) -> dict[str, bytes]:
    """Return everything git shows of a repository."""
    return {
        "tree": git_result("ls-tree", "-r", "-t", "-z", "HEAD", cwd=root).stdout if _has_head(root) else b"",
        "index": git_result("ls-files", "-s", "-t", "-z", cwd=root).stdout,
        "status": git_result("status", "--porcelain", "-z", "--ignore-submodules=none", cwd=root).stdout,
    }


def _has_head(root: Path) -> bool:
    return git_result("rev-parse", "-q", "--verify", "HEAD", cwd=root).returncode == 0


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_same_as_git_or_refused(tmp_path: Path, case: Case) -> None:
    """The commit, the index and the status afterwards are those of git, or the refusal has the right code."""
    ours = tmp_path / "ours" / "repo"
    _make(ours, case)
    if case.refused is not None:
        before = _picture(ours)
        with pytest.raises(GitrefLockError) as caught:
            land(ours, *case.paths, take_all=case.take_all)
        assert caught.value.code == case.refused
        assert _picture(ours) == before
        return
    reference = tmp_path / "reference" / "repo"
    _make(reference, case)
    before = _picture(ours)
    staged = land(ours, *case.paths, take_all=case.take_all)
    _commit_with_git(reference, case)
    if staged.is_empty:
        # nothing to land changes nothing, while `git add` would already have written the index
        assert _picture(ours) == before
        assert _picture(reference)["tree"] == before["tree"]
    else:
        assert _picture(ours) == _picture(reference)
    git("fsck", "--strict", "--no-dangling", cwd=ours)
    assert (staged.through_git is not None) == case.needs_git, staged.through_git


@pytest.mark.parametrize("case", [case for case in CASES if case.needs_git], ids=lambda case: case.name)
def test_without_git_is_refused_with_the_reason(tmp_path: Path, case: Case) -> None:
    """Where only git knows the exact result and there is no git, the push is refused and nothing changes."""
    root = tmp_path / "repo"
    _make(root, case)
    before = _picture(root)
    with pytest.raises(GitrefLockError) as caught:
        land(root, *case.paths, take_all=case.take_all, extra={"PATH": str(tmp_path)})
    assert caught.value.code == "needs-git"
    assert "only an installed git" in caught.value.message
    assert _picture(root) == before
