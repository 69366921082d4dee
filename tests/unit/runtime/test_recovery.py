"""What the recovery of a killed push makes in a clone is as sound as what a push makes."""

from __future__ import annotations

from pathlib import Path

from dulwich.objects import Commit, Tree

from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.runtime.recovery import NOBODY
from tests.support.gitcli import Repo, git


def test_copies_that_are_made_to_compare_pass_a_strict_fsck(tmp_path: Path) -> None:
    """They stay in the clone, unreferenced, and git fsck reads unreferenced commits as well."""
    git("init", "-q", tmp_path / "r", cwd=tmp_path)
    tree, commit = Tree(), Commit()
    commit.tree, commit.message = tree.id, b"copy\n"
    commit.author = commit.committer = NOBODY
    commit.author_time = commit.commit_time = commit.author_timezone = commit.commit_timezone = 0
    repo = Repo(tmp_path / "r")
    repo.store(
        *(GitObject(kind, one.as_raw_string()) for kind, one in ((ObjectKind.TREE, tree), (ObjectKind.COMMIT, commit)))
    )
    repo.fsck()
