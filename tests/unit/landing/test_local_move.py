"""Moving the clone after a landing: every kind of clone ends as git itself would have it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid, RefName
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.journal import JournalLanding, read_journal, write_journal
from gitref_lock.landing.local_move import MoveReport, Recovery, apply_move, recover
from gitref_lock.landing.move_plan import missing_blobs, plan_move
from gitref_lock.landing.place import describe
from gitref_lock.landing.stage import stage
from gitref_lock.landing.staged import Staged
from gitref_lock.landing.trees import TreeEntry, apply_changes
from tests.support.clones import NOW_S, commit_staged, landing, move_to, open_checkout, write
from tests.support.gitcli import Repo, git, git_result, make_bare

BASE = {
    "shared": b"1\n2\n3\n4\n5\n",
    "edited": b"old\n",
    "gone": b"gone\n",
    "dir/gone": b"gone too\n",
    "dir/stays": b"stays\n",
    "becomes-folder": b"file\n",
    "folder/becomes-file": b"x\n",
    "script": b"#!/bin/sh\n",
    "out/side": b"outside of the cone\n",
    "mine": b"mine\n",
}


@pytest.fixture
def origin(tmp_path: Path) -> Repo:
    """Return a bare repository whose main has BASE and whose branch theirs is one commit ahead of it."""
    bare = make_bare(tmp_path / "origin.git", with_commit=False)
    seed = tmp_path / "seed"
    seed.mkdir()
    git("init", "-q", cwd=seed)
    for name, content in BASE.items():
        write(seed, name, content)
    (seed / "link").symlink_to("shared")
    git("add", ".", cwd=seed)
    git("commit", "-q", "-m", "base", cwd=seed)
    git("push", "-q", bare.path, "HEAD:refs/heads/main", cwd=seed)
    write(seed, "shared", b"1\n2\n3\n4\nfive\n")
    write(seed, "edited", b"new from theirs\n")
    git("rm", "-q", "gone", "dir/gone", "becomes-folder", "folder/becomes-file", cwd=seed)
    write(seed, "becomes-folder/inner", b"inner\n")
    write(seed, "folder", b"a file now\n")
    write(seed, "brand/new/file", b"new\n")
    write(seed, "out/new", b"new outside of the cone\n")
    (seed / "script").chmod(0o755)
    (seed / "link").unlink()
    (seed / "link").symlink_to("edited")
    git("add", "-A", cwd=seed)
    git("commit", "-q", "-m", "theirs", cwd=seed)
    git("push", "-q", bare.path, "HEAD:refs/heads/theirs", cwd=seed)
    return bare


def fetch_theirs(path: Path, *flags: str) -> Oid:
    """Fetch the moved tip as a landing would: objects only, no ref."""
    git("fetch", "-q", "--no-tags", *flags, "origin", "refs/heads/theirs", cwd=path)
    return Oid(git("rev-parse", "FETCH_HEAD", cwd=path))


def combined(checkout: Checkout, staged: Staged, theirs: Oid) -> Oid:
    """Return the commit that a replay of ``staged`` on ``theirs`` makes."""
    tree = checkout.tree_of(theirs)
    assert tree is not None
    built = apply_changes(checkout.store, tree.encode(), [(item.path, item.new) for item in staged.changes])
    merged = Staged(staged.base, built.tree, staged.changes, staged.new_objects, staged.index_entries, staged.selection)
    return commit_staged(checkout, merged, parent=theirs)


Make = Callable[[Repo, Path], Path]


@dataclass(frozen=True)
class Kind:
    """A kind of clone. ``hidden`` are the folders that a sparse checkout leaves out."""

    name: str
    make: Make
    fetch: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


def cloned(*flags: str, url: Callable[[Repo], str] = lambda repo: f"file://{repo.path}") -> Make:
    """Clone with flags."""

    def make(origin: Repo, path: Path) -> Path:
        git("clone", "-q", "-b", "main", *flags, url(origin), path, cwd=path.parent)
        return path

    return make


def then(make: Make, *commands: tuple[str, ...]) -> Make:
    """Run git commands in a fresh clone."""

    def run(origin: Repo, path: Path) -> Path:
        made = make(origin, path)
        for command in commands:
            git(*command, cwd=made)
        return made

    return run


def worktree(origin: Repo, path: Path) -> Path:
    """Make a linked work tree."""
    main = cloned()(origin, path.with_name("main-tree"))
    git("worktree", "add", "-q", "-b", "linked", path, cwd=main)
    return path


def with_submodule(origin: Repo, path: Path) -> Path:
    """Make a clone with an unrelated submodule, committed locally."""
    made = cloned()(origin, path)
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin.path), "sub", cwd=made)
    git("commit", "-q", "-m", "submodule", cwd=made)
    git("push", "-q", "origin", "HEAD:main", cwd=made)
    return made


def separate(origin: Repo, path: Path) -> Path:
    """Make a clone whose git directory lies elsewhere."""
    return cloned(f"--separate-git-dir={path.parent / 'elsewhere.git'}")(origin, path)


OUTSIDE = ("out/", "becomes-folder/", "brand/")
SPARSE = cloned("--sparse")
KINDS = [
    Kind("normal", cloned()),
    Kind("local-path", cloned(url=lambda repo: str(repo.path))),
    Kind("depth-1", cloned("--depth=1"), fetch=("--depth=1",)),
    Kind("detached", then(cloned(), ("checkout", "-q", "--detach"))),
    Kind("detached-depth-1", then(cloned("--depth=1"), ("checkout", "-q", "--detach")), fetch=("--depth=1",)),
    Kind("single-branch", cloned("--single-branch")),
    Kind("linked-worktree", worktree),
    Kind("separate-git-dir", separate),
    Kind("partial", cloned("--filter=blob:none"), fetch=("--filter=blob:none",)),
    Kind(
        "partial-sparse",
        then(cloned("--filter=blob:none", "--sparse"), ("sparse-checkout", "set", "dir", "folder")),
        fetch=("--filter=blob:none",),
        hidden=OUTSIDE,
    ),
    Kind("sparse-cone", then(SPARSE, ("sparse-checkout", "set", "dir", "brand", "folder")), hidden=OUTSIDE[:2]),
    Kind("sparse-patterns", then(SPARSE, ("sparse-checkout", "set", "--no-cone", "/*", "!/out/")), hidden=OUTSIDE[:1]),
    Kind("sparse-index", then(SPARSE, ("sparse-checkout", "set", "--sparse-index", "dir", "folder")), hidden=OUTSIDE),
    Kind("index-v3", then(cloned(), ("update-index", "--index-version=3"))),
    Kind("index-v4", then(cloned(), ("update-index", "--index-version=4"))),
    Kind("split-index", then(cloned(), ("update-index", "--split-index"))),
    Kind("untracked-cache", then(cloned(), ("update-index", "--untracked-cache"), ("status",))),
    Kind("packed-refs", then(cloned(), ("pack-refs", "--all"))),
    Kind("many-threads-config", then(cloned(), ("config", "feature.manyFiles", "true"), ("status",))),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_clone_is_clean_afterwards(origin: Repo, tmp_path: Path, kind: Kind) -> None:
    """After the move the work tree, index and branch are exactly the landed commit, and the clone is sound."""
    path = kind.make(origin, tmp_path / "clone")
    write(path, "mine", b"changed by this push\n")
    write(path, "dir/added", b"added by this push\n")
    theirs = fetch_theirs(path, *kind.fetch)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"mine", b"dir/added"])
        new = combined(checkout, staged, theirs)
        report = move_to(checkout, new, staged)
    assert report == MoveReport(local_updated=True), describe(report.left)
    assert git("rev-parse", "HEAD", cwd=path) == new
    assert git("status", "--porcelain", cwd=path) == ""
    assert git("write-tree", cwd=path) == git("rev-parse", "HEAD^{tree}", cwd=path)
    git("fsck", "--no-dangling", cwd=path)
    for name in git("ls-tree", "-r", "--name-only", "HEAD", cwd=path).splitlines():
        assert os.path.lexists(path / name) != name.startswith(kind.hidden), name
    assert not (path / "dir/gone").exists()
    assert (path / "folder").read_bytes() == b"a file now\n"
    assert os.access(path / "script", os.X_OK)
    assert str((path / "link").readlink()) == "edited"


def test_a_submodule_is_not_touched(origin: Repo, tmp_path: Path) -> None:
    """The gitlink stays in the index and its folder keeps what was checked out there."""
    path = with_submodule(origin, tmp_path / "clone")
    before = git("rev-parse", "HEAD", cwd=path / "sub")
    write(path, "mine", b"changed\n")
    write(path / "sub", "shared", b"local edit in the submodule\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"mine"])
        report = move_to(checkout, commit_staged(checkout, staged), staged)
    assert report.local_updated
    assert git("rev-parse", "HEAD", cwd=path / "sub") == before
    assert (path / "sub/shared").read_bytes() == b"local edit in the submodule\n"
    assert git("status", "--porcelain", "--ignore-submodules=dirty", cwd=path) == ""


def test_a_submodule_that_arrives_is_an_empty_folder(origin: Repo, tmp_path: Path) -> None:
    """An incoming gitlink makes the folder that a checkout would make, and nothing in it."""
    path = cloned()(origin, tmp_path / "clone")
    other = with_submodule(origin, tmp_path / "other")
    git("fetch", "-q", "origin", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        report = move_to(checkout, Oid(git("rev-parse", "HEAD", cwd=other)))
    assert report == MoveReport(local_updated=True)
    assert list((path / "sub").iterdir()) == []
    assert git("status", "--porcelain", cwd=path) == ""


def test_edits_that_were_not_pushed_stay(origin: Repo, tmp_path: Path) -> None:
    """Edited, staged, untracked and deleted files of the user keep every byte; those that collide are named."""
    path = cloned()(origin, tmp_path / "clone")
    write(path, "mine", b"pushed\n")
    write(path, "edited", b"my own unfinished edit\n")
    write(path, "dir/stays", b"edited, and nobody else changed it\n")
    write(path, "brand/new/file", b"an untracked file in the way\n")
    write(path, "notes", b"untracked\n")
    write(path, "script", b"#!/bin/sh\nstaged by me\n")
    git("add", "script", cwd=path)
    (path / "shared").unlink()
    write(path, "gone", b"edited although theirs removed it\n")
    theirs = fetch_theirs(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"mine"])
        new = combined(checkout, staged, theirs)
        report = move_to(checkout, new, staged)
    assert report.local_updated
    assert {(left.path, left.reason) for left in report.left} == {
        (b"edited", "it was edited here"),
        (b"brand/new/file", "an untracked file of that name is here"),
        (b"shared", "it was deleted here"),
        (b"gone", "it was edited here"),
        (b"script", "it was edited here"),
    }
    assert (path / "edited").read_bytes() == b"my own unfinished edit\n"
    assert (path / "brand/new/file").read_bytes() == b"an untracked file in the way\n"
    assert (path / "notes").read_bytes() == b"untracked\n"
    assert (path / "gone").read_bytes() == b"edited although theirs removed it\n"
    assert git("show", ":script", cwd=path) == "#!/bin/sh\nstaged by me"
    status = git_result("status", "--porcelain", cwd=path).stdout.decode().splitlines()
    assert sorted(status) == [
        " D shared", " M brand/new/file", " M dir/stays", " M edited", "?? gone", "?? notes", "M  script",
    ]  # fmt: skip


def test_an_edit_made_during_the_push_stays(origin: Repo, tmp_path: Path) -> None:
    """A pushed file that is edited again before the move is left, whether or not the landing merged it."""
    path = cloned()(origin, tmp_path / "clone")
    write(path, "mine", b"pushed\n")
    write(path, "shared", b"one\n2\n3\n4\n5\n")
    theirs = fetch_theirs(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"mine", b"shared"])
        new = combined(checkout, staged, theirs)
        write(path, "mine", b"edited after staging\n")
        write(path, "shared", b"edited after staging\n")
        report = move_to(checkout, new, staged)
    assert report == MoveReport(local_updated=True)
    assert git("status", "--porcelain", cwd=path).splitlines() == ["M mine", " M shared"]
    assert (path / "mine").read_bytes() == b"edited after staging\n"


def test_a_merged_own_file_is_written(origin: Repo, tmp_path: Path) -> None:
    """When the landing merged theirs into a pushed file, the work tree gets the merged content."""
    path = cloned()(origin, tmp_path / "clone")
    write(path, "shared", b"one\n2\n3\n4\n5\n")
    theirs = fetch_theirs(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout)
        write(tmp_path, "merged", b"one\n2\n3\n4\nfive\n")
        blob = git("hash-object", "-w", tmp_path / "merged", cwd=path)
        tree = checkout.tree_of(theirs)
        assert tree is not None
        new_tree = apply_changes(checkout.store, tree.encode(), [(b"shared", TreeEntry(0o100644, blob.encode()))]).tree
        merged = Staged(staged.base, new_tree, staged.changes, (), staged.index_entries, staged.selection)
        report = move_to(checkout, commit_staged(checkout, merged, parent=theirs), staged)
    assert report == MoveReport(local_updated=True)
    assert (path / "shared").read_bytes() == b"one\n2\n3\n4\nfive\n"
    assert git("status", "--porcelain", cwd=path) == ""


def test_line_ends_and_filters_are_honoured(tmp_path: Path) -> None:
    """Incoming files are written as a checkout would: CRLF where asked, filters run, also for new attributes."""
    bare = make_bare(tmp_path / "origin.git")
    seed, path = tmp_path / "seed", tmp_path / "clone"
    for folder in (seed, path):
        git("clone", "-q", f"file://{bare.path}", folder, cwd=tmp_path)
        git("config", "filter.up.smudge", "tr a-z A-Z", cwd=folder)
        git("config", "filter.up.clean", "tr A-Z a-z", cwd=folder)
    write(seed, ".gitattributes", "*.win text eol=crlf\n*.up filter=up\n*.auto text=auto\n")
    write(seed, "a.win", b"one\ntwo\n")
    write(seed, "b.up", b"quiet\n")
    write(seed, "c.auto", b"plain\n")
    git("add", ".", cwd=seed)
    git("commit", "-q", "-m", "attributes", cwd=seed)
    git("push", "-q", "origin", "HEAD:main", cwd=seed)
    git("fetch", "-q", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        report = move_to(checkout, Oid(git("rev-parse", "origin/main", cwd=path)))
    assert report == MoveReport(local_updated=True)
    assert (path / "a.win").read_bytes() == b"one\r\ntwo\r\n"
    assert (path / "c.auto").read_bytes() == b"plain\n"
    assert git("status", "--porcelain", cwd=path) == ""
    write(seed, "b.up", b"louder\n")
    git("commit", "-q", "-a", "-m", "more", cwd=seed)
    git("push", "-q", "origin", "HEAD:main", cwd=seed)
    git("fetch", "-q", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        report = move_to(checkout, Oid(git("rev-parse", "origin/main", cwd=path)))
    assert report == MoveReport(local_updated=True)
    assert (path / "b.up").read_bytes() == b"LOUDER\n"
    assert git("status", "--porcelain", cwd=path) == ""


def test_an_unborn_branch_gets_its_first_commit(tmp_path: Path) -> None:
    """The first push of an empty clone leaves it on the branch that it had not had yet."""
    bare = make_bare(tmp_path / "origin.git", with_commit=False)
    path = tmp_path / "clone"
    git("clone", "-q", bare.path, path, cwd=tmp_path)
    write(path, "a", b"first\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        assert checkout.is_unborn
        staged = stage(checkout, take_all=True)
        report = move_to(checkout, commit_staged(checkout, staged), staged)
    assert report == MoveReport(local_updated=True)
    assert git("status", "--porcelain", "-b", cwd=path).startswith("## main")
    assert git("log", "--format=%s", cwd=path) == "change"


def test_an_edit_of_the_same_second_is_still_seen_afterwards(origin: Repo, tmp_path: Path) -> None:
    """An edit that git finds only because the index is not newer stays visible when the index is written anew."""
    path = cloned()(origin, tmp_path / "clone")
    git("config", "core.trustctime", "false", cwd=path)
    second_ns = 1_700_000_000 * 10**9
    os.utime(path / "dir/stays", ns=(second_ns, second_ns + 1_000_000))
    git("update-index", "--refresh", cwd=path)
    os.utime(path / ".git/index", ns=(second_ns, second_ns + 300_000_000))
    write(path, "dir/stays", b"STAYS\n")
    os.utime(path / "dir/stays", ns=(second_ns, second_ns + 500_000_000))
    assert git_result("--no-optional-locks", "status", "--porcelain", cwd=path).stdout == b" M dir/stays\n"
    write(path, "mine", b"pushed\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout, [b"mine"])
        assert move_to(checkout, commit_staged(checkout, staged), staged) == MoveReport(local_updated=True)
    assert git_result("status", "--porcelain", cwd=path).stdout == b" M dir/stays\n"


def test_a_held_index_changes_nothing_and_is_tried_again(origin: Repo, tmp_path: Path) -> None:
    """While another program holds index.lock the clone stays as it was, and the next command finishes the move."""
    path = cloned()(origin, tmp_path / "clone")
    theirs = fetch_theirs(path)
    before = git("rev-parse", "HEAD", cwd=path)
    (path / ".git/index.lock").touch()
    with open_checkout(path) as checkout, checkout.exclusive():
        report = move_to(checkout, theirs)
        assert not report.local_updated
        assert "index.lock" in (report.reason or "")
        assert git("rev-parse", "HEAD", cwd=path) == before
        assert (path / ".git/index.lock").exists()
        assert recover(checkout, lambda _journal: True).outcome is Recovery.WAITING
        (path / ".git/index.lock").unlink()
        assert git("status", "--porcelain", cwd=path) == ""
        assert recover(checkout, lambda _journal: True).outcome is Recovery.FINISHED
        assert recover(checkout, lambda _journal: True).outcome is Recovery.NOTHING
    assert git("rev-parse", "HEAD", cwd=path) == theirs
    assert git("status", "--porcelain", cwd=path) == ""


def test_a_full_disk_is_noticed_before_anything_moves(
    origin: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the prepared files cannot be written, branch, index and files are untouched and the reason is told."""
    path = cloned()(origin, tmp_path / "clone")
    theirs = fetch_theirs(path)

    def full(_path: Path, _data: bytes, _mode: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gitref_lock.landing.place._write", full)
    with open_checkout(path) as checkout, checkout.exclusive():
        report = move_to(checkout, theirs)
        assert report == MoveReport(local_updated=False, reason="No space left on device")
        assert read_journal(checkout) is not None
    assert git("rev-parse", "HEAD", cwd=path) != theirs
    assert git("status", "--porcelain", cwd=path) == ""
    assert not (path / ".git/index.lock").exists()
    monkeypatch.undo()
    with open_checkout(path) as checkout, checkout.exclusive():
        assert recover(checkout, lambda _journal: True).outcome is Recovery.FINISHED
    assert git("status", "--porcelain", cwd=path) == ""


def test_a_landing_that_never_happened_is_forgotten(origin: Repo, tmp_path: Path) -> None:
    """A journal whose landing is not on the remote is dropped; one that cannot be judged now waits."""
    path = cloned()(origin, tmp_path / "clone")
    write(path, "mine", b"changed\n")
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout)
        new = commit_staged(checkout, staged)
        write_journal(checkout, plan_move(checkout, checkout.head(), new, staged), landing())
        assert recover(checkout, lambda _journal: None).outcome is Recovery.WAITING
        assert recover(checkout, lambda _journal: False).outcome is Recovery.UNDONE
        assert read_journal(checkout) is None
    assert git_result("status", "--porcelain", cwd=path).stdout == b" M mine\n"


def test_a_change_that_landed_inside_another_commit_is_followed(origin: Repo, tmp_path: Path) -> None:
    """When the remote landed the change with a different commit, recovery moves the clone to that one."""
    path = cloned()(origin, tmp_path / "clone")
    write(path, "mine", b"changed\n")
    theirs = fetch_theirs(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        staged = stage(checkout)
        planned = commit_staged(checkout, staged)
        write_journal(checkout, plan_move(checkout, checkout.head(), planned, staged), landing())
        other = combined(checkout, staged, theirs)
        assert recover(checkout, lambda _journal: other).outcome is Recovery.FINISHED
    assert git("rev-parse", "HEAD", cwd=path) == other
    assert git("status", "--porcelain", cwd=path) == ""


def test_a_branch_that_moved_meanwhile_is_left_alone(origin: Repo, tmp_path: Path) -> None:
    """When the user committed on the branch after the landing was sent, nothing is moved and the journal ends."""
    path = cloned()(origin, tmp_path / "clone")
    theirs = fetch_theirs(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        write_journal(checkout, plan_move(checkout, checkout.head(), theirs, None), landing())
    write(path, "mine", b"a later commit\n")
    git("commit", "-q", "-a", "-m", "later", cwd=path)
    later = git("rev-parse", "HEAD", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        report = recover(checkout, lambda _journal: True)
    assert report.outcome is Recovery.FINISHED
    assert report.move is not None
    assert report.move.reason == "refs/heads/main was moved meanwhile"
    assert git("rev-parse", "HEAD", cwd=path) == later
    assert git("status", "--porcelain", cwd=path) == ""


def test_another_branch_checked_out_meanwhile_keeps_its_files(origin: Repo, tmp_path: Path) -> None:
    """When another branch is checked out by the time of recovery only the landed branch moves."""
    path = cloned()(origin, tmp_path / "clone")
    theirs = fetch_theirs(path)
    with open_checkout(path) as checkout, checkout.exclusive():
        write_journal(checkout, plan_move(checkout, checkout.head(), theirs, None), landing())
    git("checkout", "-q", "-b", "elsewhere", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        assert recover(checkout, lambda _journal: True).outcome is Recovery.FINISHED
    assert git("rev-parse", "main", cwd=path) == theirs
    assert git("status", "--porcelain", cwd=path) == ""
    assert (path / "shared").read_bytes() == BASE["shared"]


def test_a_push_to_another_branch_moves_the_tracking_ref_only(origin: Repo, tmp_path: Path) -> None:
    """With moves_head False the checked-out branch, the index and the files stay."""
    path = cloned()(origin, tmp_path / "clone")
    theirs = fetch_theirs(path)
    tracking = RefName("refs/remotes/origin/theirs")
    with open_checkout(path) as checkout, checkout.exclusive():
        before = checkout.ref(tracking)
        git("update-ref", "-d", tracking, cwd=path)
        move = plan_move(checkout, checkout.head(), theirs, None)
        note = JournalLanding(
            "origin", RefName("refs/heads/theirs"), None, "0" * 24, tracking_ref=tracking, moves_head=False
        )
        assert apply_move(checkout, write_journal(checkout, move, note)) == MoveReport(local_updated=True)
        assert checkout.ref(tracking) == theirs == before
    assert git("status", "--porcelain", cwd=path) == ""
    assert git("rev-parse", "HEAD", cwd=path) != theirs


def test_a_tracking_ref_that_somebody_fetched_is_not_set_back(origin: Repo, tmp_path: Path) -> None:
    """The tracking ref moves only from the value it had when the landing was sent."""
    path = cloned()(origin, tmp_path / "clone")
    theirs = fetch_theirs(path)
    tracking = "refs/remotes/origin/main"
    with open_checkout(path) as checkout, checkout.exclusive():
        old = checkout.ref(RefName(tracking))
        move = plan_move(checkout, checkout.head(), theirs, None)
        journal = write_journal(checkout, move, landing(tracking, old))
        newer = git("commit-tree", "-m", "newer", "-p", theirs, f"{theirs}^{{tree}}", cwd=path)
        git("update-ref", tracking, newer, cwd=path)
        assert apply_move(checkout, journal).local_updated
    assert git("rev-parse", tracking, cwd=path) == newer


def test_missing_blobs_of_a_partial_clone_are_named(origin: Repo, tmp_path: Path) -> None:
    """The blobs that files need and the clone lacks are listed, so that they can be fetched before the swap."""
    path = cloned("--filter=blob:none")(origin, tmp_path / "clone")
    theirs = fetch_theirs(path, "--filter=blob:none")
    with open_checkout(path) as checkout:
        move = plan_move(checkout, checkout.head(), theirs, None)
        missing = missing_blobs(checkout, move)
    changed = git("diff-tree", "-r", "--no-renames", "--diff-filter=d", "HEAD", theirs, cwd=path).splitlines()
    present = git("ls-tree", "-r", "HEAD", cwd=path)
    new_ids = {line.split()[3] for line in changed}
    assert set(missing) == {one for one in new_ids if one not in present}
    assert len(missing) >= 5


def test_reflogs_say_what_happened(origin: Repo, tmp_path: Path) -> None:
    """Branch and HEAD get a reflog line, so that the state before can be found with git's own means."""
    path = cloned()(origin, tmp_path / "clone")
    theirs = fetch_theirs(path)
    before = git("rev-parse", "HEAD", cwd=path)
    with open_checkout(path) as checkout, checkout.exclusive():
        assert move_to(checkout, theirs).local_updated
    assert git("rev-parse", "main@{1}", cwd=path) == before
    assert git("rev-parse", "HEAD@{1}", cwd=path) == before
    assert "gitref-lock" in git("reflog", "-1", cwd=path)
    assert NOW_S > 0
