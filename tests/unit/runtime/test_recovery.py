"""The recovery of a killed push: what it makes in a clone is sound, and what it says of the remote stays true."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich.objects import Commit, Tree

from gitref_lock.core.machine import Stance
from gitref_lock.core.names import RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.refs import Superseded
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.journal import Journal, JournalLanding, Move
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.landing_plan import Target, fenced_plan
from gitref_lock.runtime.recovery import NOBODY, _Question
from gitref_lock.runtime.writing import Found
from tests.group.memory import LOCK, MAIN, Hub
from tests.support.gitcli import Repo, git, git_env
from tests.support.runners import acquire_at, holder


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


@pytest.mark.parametrize("stance", [Stance.FREE, Stance.EXPIRED])
def test_what_is_called_not_landed_can_land_no_more(tmp_path: Path, stance: Stance) -> None:
    """Whether the killed landing found the lock free or expired: its swap is refused when it is sent afterwards."""
    git("init", "-q", tmp_path / "r", cwd=tmp_path)
    hub = Hub.open()
    if stance is Stance.EXPIRED:
        acquire_at(hub.runner("dead").remote, ttl_s=5.0)
    runner = hub.runner("victim")
    remote, change = runner.remote, runner.line()
    deadline = Deadline.after(remote.system, 600.0)
    remote.look([LOCK], deadline)
    remote.system.sleeper.sleep(6.0)
    picture = remote.look([LOCK], deadline, extra=[MAIN])
    state, tip = picture.locks[LOCK], picture.refs[MAIN]
    assert remote.stance(LOCK, state) is stance
    change.fetch(remote.store, [tip])
    prepared = change.prepare(tip)
    found = Found(LOCK, state, stance)
    plan, _ = fenced_plan(remote, change, Target("main", MAIN, LOCK), prepared, found, holder("victim"))
    landing = JournalLanding(remote.store.display_url, MAIN, RefName("refs/locks/main"), "")
    journal = Journal(landing, Move(MAIN, tip, prepared.head, ()))
    with Checkout.open(tmp_path / "r", git_env()) as checkout:
        assert _Question(remote, checkout, holder("next"), deadline).landed(journal) is False
    assert isinstance(remote.store.swap(plan.edits, plan.objects), Superseded)
    assert hub.server.refs[MAIN] == tip
