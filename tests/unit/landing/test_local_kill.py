"""Kill -9 during the local move: whatever the instant, the next command ends in the same state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid, RefName
from gitref_lock.landing.journal import write_journal
from gitref_lock.landing.local_move import Recovery, recover
from gitref_lock.landing.move_plan import plan_move
from gitref_lock.landing.stage import stage
from gitref_lock.landing.staged import Staged
from gitref_lock.landing.trees import apply_changes
from tests.support import kill_moves
from tests.support.clones import commit_staged, landing, open_checkout, write
from tests.support.gitcli import git, git_env


def _prepare(path: Path) -> Oid:
    """Make a clone with a journal that waits: own changes, theirs of every kind, and unrelated edits."""
    path.mkdir()
    git("init", "-q", cwd=path)
    for name in ("own", "theirs", "removed", "dir/removed", "to-folder", "from/x", "edited"):
        write(path, name, f"{name}\n")
    (path / "link").symlink_to("own")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    base = git("rev-parse", "HEAD", cwd=path)
    git("checkout", "-q", "-b", "theirs", cwd=path)
    write(path, "theirs", "changed by theirs\n")
    git("rm", "-q", "removed", "dir/removed", "to-folder", "from/x", cwd=path)
    write(path, "to-folder/inner", "inner\n")
    write(path, "from", "a file\n")
    write(path, "new/deep/file", "new\n")
    (path / "theirs").chmod(0o755)
    (path / "link").unlink()
    (path / "link").symlink_to("theirs")
    git("add", "-A", cwd=path)
    git("commit", "-q", "-m", "theirs", cwd=path)
    theirs = Oid(git("rev-parse", "HEAD", cwd=path))
    git("checkout", "-q", "main", cwd=path)
    git("branch", "-q", "-D", "theirs", cwd=path)
    git("update-ref", "refs/remotes/origin/main", base, cwd=path)
    write(path, "own", "pushed\n")
    write(path, "own-new", "pushed\n")
    write(path, "edited", "not part of the push\n")
    write(path, "untracked", "mine\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"own", b"own-new"])
        tree = checkout.tree_of(theirs)
        assert tree is not None
        built = apply_changes(checkout.store, tree.encode(), [(item.path, item.new) for item in staged.changes])
        merged = Staged(staged.base, built.tree, staged.changes, (), staged.index_entries, staged.selection)
        new = commit_staged(checkout, merged, parent=theirs)
        move = plan_move(checkout, checkout.head(), new, staged)
        write_journal(checkout, move, landing("refs/remotes/origin/main", Oid(base)))
        assert checkout.ref(RefName("refs/heads/main")) == base
    return new


@pytest.mark.slow
def test_killed_before_any_write_the_move_is_finished_by_the_next_command(tmp_path: Path) -> None:
    """At each of its writes the move is killed; recovery always gives the files, index and refs of a whole move."""
    template, work = tmp_path / "template", tmp_path / "work"
    new = _prepare(template)
    work.mkdir()
    done = subprocess.run(
        [sys.executable, kill_moves.__file__, template, work],
        env={**git_env(), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr.decode()
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    whole = runs[-1]
    assert not whole["killed"]
    assert len(runs) > 30
    assert whole["head"].split() == [new, new, "main"]
    assert whole["status"] == " M edited\n?? untracked\n"
    assert whole["files"]["own"] == "pushed\n"
    assert whole["files"]["theirs"] == "changed by theirs\n"
    assert whole["files"]["from"] == "a file\n"
    assert whole["files"]["edited"] == "not part of the push\n"
    assert whole["leftovers"] == [".git/gitref-lock/busy"]
    assert whole["fsck"] == ""
    for run in runs:
        for part in ("files", "head", "index", "status", "fsck", "leftovers"):
            assert run[part] == whole[part], (run["number"], part)


def test_a_killed_commands_index_lock_is_known_as_its_own(tmp_path: Path) -> None:
    """A lock of a running git is never removed by recovery; only this tool's own stale one is."""
    path = tmp_path / "clone"
    _prepare(path)
    foreign = path / ".git/index.lock"
    foreign.write_bytes(b"of a running git")
    with open_checkout(path) as checkout, checkout.exclusive():
        assert recover(checkout, lambda _journal: True).outcome is Recovery.WAITING
        assert foreign.read_bytes() == b"of a running git"
        foreign.unlink()
        assert recover(checkout, lambda _journal: True).outcome is Recovery.FINISHED
