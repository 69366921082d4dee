"""Pushes from every kind of checkout that CI makes, while the remote moves.

Each lands once, loses nothing, leaves a clone in which git finds nothing wrong, and the next push works too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gitref_lock.landing.errors import LandingError
from gitref_lock.pushing import PushReport
from tests.support.ci import advance, assert_sound, content, land, picture, write
from tests.support.gitcli import Repo, clone, git_result
from tests.support.runners import subjects_at, tip_at


def assert_landed(report: PushReport, bare: Repo, folder: Repo, *, left: int = 0) -> None:
    """Check that the branch is what the report says, and that the clone stands on it and is sound."""
    assert report.landed is not None
    assert report.landed.head == tip_at(bare)
    assert report.move is not None
    assert report.move.local_updated, report.move.reason
    assert len(report.move.left) == left, report.move.left
    assert folder.git("rev-parse", "HEAD") == report.landed.head
    assert folder.git("status", "--porcelain") == ""
    assert_sound(folder)
    bare.fsck()


def push_twice(bare: Repo, url: str, folder: Repo, **options: Any) -> None:
    """Push a change from ``folder`` on a moved remote, and another one on a remote that moved again."""
    for turn in ("one", "two"):
        advance(bare, {"theirs.txt": f"{turn}\n", "docs/guide.md": f"guide {turn}\n"}, f"theirs {turn}")
        write(folder, {f"{turn}.txt": f"{turn}\n", "data/counts.json": f'{{\n  "a": 1,\n  "{turn}": 2\n}}\n'})
        report = land(folder, url, message=f"mine {turn}", **options)
        assert_landed(report, bare, folder)
        assert (folder.path / "docs/guide.md").read_text() == f"guide {turn}\n"
    assert subjects_at(bare)[:4] == ["mine two", "theirs two", "mine one", "theirs one"]
    assert b'"two": 2' in content(bare, "data/counts.json")


def actions_checkout(
    url: str, path: Path, sha: str, *, ref: str = "refs/remotes/origin/main", local: str | None = "main", depth: int = 1
) -> Repo:
    """Make a work tree with the very git commands that actions/checkout runs: init, fetch of one commit, checkout."""
    path.mkdir()
    repo = Repo(path)
    repo.git("init", "-q")
    repo.git("remote", "add", "origin", url)
    repo.git(
        "-c", "protocol.version=2", "fetch", "--no-tags", "--prune", "--no-recurse-submodules",
        f"--depth={depth}", "origin", f"+{sha}:{ref}",
    )  # fmt: skip
    if local is None:
        repo.git("checkout", "-q", "--force", ref)
    else:
        repo.git("checkout", "-q", "--force", "-B", local, ref)
    return repo


def test_a_full_clone(bare: Repo, url: str, tmp_path: Path) -> None:
    """The plain case: replayed on the moved tip twice, the clone follows."""
    push_twice(bare, url, clone(url, tmp_path / "c"))


def test_a_clone_of_depth_1_is_never_deepened(bare: Repo, url: str, tmp_path: Path) -> None:
    """A shallow clone stays shallow: the history before its boundary is never fetched, and git finds it sound."""
    old = bare.git("rev-list", "main").splitlines()
    folder = clone(url, tmp_path / "c", "--depth=1")
    push_twice(bare, url, folder)
    present = git_result("cat-file", "--batch-check", "--batch-all-objects", cwd=folder.path).stdout.decode()
    assert [oid for oid in old[1:] if oid in present] == []
    boundary = (folder.path / ".git/shallow").read_text().split()
    assert folder.git("rev-list", "--count", "HEAD") == "2"
    assert all(folder.has(oid) for oid in boundary)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("local", ["main", None])
def test_what_actions_checkout_makes(bare: Repo, url: str, tmp_path: Path, local: str | None, depth: int) -> None:
    """A fetch of one commit into refs/remotes/origin/main, on a branch or detached: both follow the landing."""
    folder = actions_checkout(url, tmp_path / "c", tip_at(bare), local=local, depth=depth)
    push_twice(bare, url, folder, ci_branch="main")
    assert folder.git("rev-parse", "--abbrev-ref", "HEAD") == (local or "HEAD")
    assert folder.git("rev-parse", "origin/main") == tip_at(bare)


def test_a_detached_checkout_of_a_commit_that_no_ref_names(bare: Repo, url: str, tmp_path: Path) -> None:
    """As GitLab's runner leaves it: detached at the pipeline's commit, no tracking ref, and the CI names the branch."""
    folder = actions_checkout(url, tmp_path / "c", tip_at(bare), ref="refs/pipelines/7", local=None, depth=20)
    push_twice(bare, url, folder, ci_branch="main", env={"CI_COMMIT_SHA": tip_at(bare)})


def test_a_pull_request_s_merge_ref(bare: Repo, url: str, tmp_path: Path) -> None:
    """From the merge commit of a pull request only our change lands on its branch; the checkout stays the merge."""
    base = tip_at(bare)
    bare.set_ref("refs/heads/feature", base)
    advance(bare, {"feature.txt": "feature\n"}, "feature work", "feature")
    advance(bare, {"README.md": "main moved\n"}, "main work")
    tree = bare.git("merge-tree", "--write-tree", "main", "feature")
    merge = bare.git("commit-tree", tree, "-p", "main", "-p", "feature", "-m", "Merge")
    bare.set_ref("refs/pull/1/merge", merge)
    ref = "refs/remotes/pull/1/merge"
    folder = actions_checkout(url, tmp_path / "c", merge, ref=ref, local=None)
    env = {"GITHUB_SHA": merge}
    write(folder, {"formatted.txt": "formatted\n"})
    report = land(folder, url, message="format", branch=None, ci_branch="feature", env=env)
    assert report.landed is not None
    assert subjects_at(bare, "feature")[:2] == ["format", "feature work"]
    assert content(bare, "README.md", "feature") == b"first\n"
    assert folder.git("rev-parse", "HEAD") == merge
    assert (folder.path / "README.md").read_text() == "main moved\n"
    write(folder, {"more.txt": "more\n"})
    report = land(folder, url, message="format more", branch=None, ci_branch="feature", env=env)
    assert subjects_at(bare, "feature")[:3] == ["format more", "format", "feature work"]
    assert bare.git("show", "--format=", "--name-only", "feature") == "more.txt"
    assert_sound(folder)


def test_a_single_branch_clone_lands_on_another_branch(bare: Repo, url: str, tmp_path: Path) -> None:
    """A branch that the clone never saw is fetched as far as needed; the checked-out branch stays where it is."""
    bare.set_ref("refs/heads/pages", tip_at(bare))
    advance(bare, {"pages.txt": "pages\n"}, "pages work", "pages")
    folder = clone(url, tmp_path / "c", "--single-branch")
    before = folder.git("rev-parse", "HEAD")
    write(folder, {"report.html": "<p>\n"})
    report = land(folder, url, "report.html", branch="pages")
    assert report.landed is not None
    assert subjects_at(bare, "pages")[:2] == ["mine", "pages work"]
    assert bare.git("show", "--format=", "--name-only", "pages") == "report.html"
    assert folder.git("rev-parse", "HEAD") == before
    assert folder.git("status", "--porcelain") == "?? report.html"
    push_twice(bare, url, folder)


def test_a_blobless_clone_fetches_only_what_is_needed(bare: Repo, url: str, tmp_path: Path) -> None:
    """In a partial clone a path that both sides changed is fetched, a large file of history never is."""
    advance(bare, {"huge.bin": os.urandom(200_000)}, "huge")
    huge = bare.git("rev-parse", "main:huge.bin")
    advance(bare, {"huge.bin": None}, "gone")
    folder = clone(url, tmp_path / "c", "--filter=blob:none")
    advance(bare, {"src/app.py": content(bare, "src/app.py").replace(b"line 3\n", b"line 3, theirs\n")}, "theirs")
    write(folder, {"src/app.py": (folder.path / "src/app.py").read_bytes().replace(b"line 17\n", b"line 17, mine\n")})
    assert_landed(land(folder, url), bare, folder)
    merged = content(bare, "src/app.py")
    assert b"line 3, theirs\n" in merged
    assert b"line 17, mine\n" in merged
    assert (folder.path / "src/app.py").read_bytes() == merged
    present = folder.git(
        "cat-file", "--batch-check", "--batch-all-objects", "--unordered", env={"GIT_NO_LAZY_FETCH": "1"}
    )
    assert huge not in present
    push_twice(bare, url, folder)


def test_a_sparse_checkout_keeps_what_it_hides(bare: Repo, url: str, tmp_path: Path) -> None:
    """Files outside the cone are neither deleted on the remote nor written here, though the remote changes them."""
    folder = clone(url, tmp_path / "c", "--sparse")
    folder.git("sparse-checkout", "set", "data")
    assert not (folder.path / "docs").exists()
    advance(bare, {"docs/guide.md": "guide, theirs\n", "docs/new.md": "new\n", "docs/old.md": None}, "theirs")
    write(folder, {"data/counts.json": '{\n  "a": 2\n}\n'})
    assert_landed(land(folder, url), bare, folder)
    assert not (folder.path / "docs").exists()
    assert bare.git("ls-tree", "-r", "--name-only", "main", "docs").splitlines() == ["docs/guide.md", "docs/new.md"]
    assert bare.git("show", "--format=", "--name-only", "main") == "data/counts.json"
    folder.git("sparse-checkout", "disable")
    assert (folder.path / "docs/new.md").read_text() == "new\n"
    assert folder.git("status", "--porcelain") == ""


def test_a_sparse_and_shallow_and_partial_clone(bare: Repo, url: str, tmp_path: Path) -> None:
    """All three at once, as large repositories are checked out."""
    folder = clone(url, tmp_path / "c", "--sparse", "--depth=1", "--filter=blob:none")
    folder.git("sparse-checkout", "set", "data")
    for turn in ("one", "two"):
        advance(bare, {"docs/guide.md": f"{turn}\n", "README.md": f"{turn}\n"}, f"theirs {turn}")
        write(folder, {"data/new.txt": f"{turn}\n"})
        assert_landed(land(folder, url, message=f"mine {turn}"), bare, folder)
        assert (folder.path / "README.md").read_text() == f"{turn}\n"
        assert not (folder.path / "docs").exists()


def test_a_linked_work_tree_moves_alone(bare: Repo, url: str, tmp_path: Path) -> None:
    """A push from a linked work tree moves its branch and files; the main work tree does not change."""
    main = clone(url, tmp_path / "c")
    main.git("worktree", "add", "-q", "-b", "side", tmp_path / "linked", "main")
    bare.set_ref("refs/heads/side", tip_at(bare))
    linked = Repo(tmp_path / "linked")
    advance(bare, {"docs/guide.md": "guide, theirs\n"}, "theirs", "side")
    before = picture(main)
    write(linked, {"mine.txt": "mine\n"})
    report = land(linked, url)
    assert report.landed is not None
    assert linked.git("rev-parse", "HEAD") == tip_at(bare, "side") == report.landed.head
    assert linked.git("status", "--porcelain") == ""
    after = picture(main)
    assert (after.index, after.files, after.head) == (before.index, before.files, before.head)
    assert main.git("status", "--porcelain") == ""
    assert_sound(linked)


def test_a_submodule_s_gitlink_is_kept(bare: Repo, url: str, tmp_path: Path) -> None:
    """A submodule, checked out or not, keeps the commit that the remote records; its folder is not entered."""
    inner = Repo(tmp_path / "inner")
    inner.path.mkdir()
    inner.git("init", "-q")
    write(inner, {"inner.txt": "inner\n"})
    inner.git("add", "-A")
    inner.git("commit", "-qm", "inner")
    commit = inner.git("rev-parse", "HEAD")
    modules = f'[submodule "lib"]\n\tpath = lib\n\turl = {inner.path}\n'
    advance(bare, {".gitmodules": modules, "lib": ("160000", commit.encode())}, "submodule")
    folder = clone(url, tmp_path / "c")
    folder.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    push_twice(bare, url, folder)
    assert bare.git("ls-tree", "main", "lib").split()[:3] == ["160000", "commit", commit]
    assert (folder.path / "lib/inner.txt").read_text() == "inner\n"
    bare_folder = clone(url, tmp_path / "without")
    write(bare_folder, {"again.txt": "again\n"})
    assert_landed(land(bare_folder, url), bare, bare_folder)
    assert bare.git("ls-tree", "main", "lib").split()[:3] == ["160000", "commit", commit]


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_version_of_the_index(bare: Repo, url: str, tmp_path: Path, version: int) -> None:
    """Index versions 2 to 4 with the extensions that git writes are kept as they are and stay readable."""
    folder = clone(url, tmp_path / "c")
    if version == 3:
        write(folder, {"later.txt": "later\n"})
        folder.git("add", "-N", "later.txt")  # an intent to add needs version 3
    else:
        folder.git("update-index", "--index-version", str(version))
    advance(bare, {"docs/guide.md": "guide, theirs\n"}, "theirs")
    write(folder, {"mine.txt": "mine\n"})
    report = land(folder, url, "mine.txt")
    assert report.landed is not None
    assert (folder.path / ".git/index").read_bytes()[4:8] == version.to_bytes(4, "big")
    assert folder.git("status", "--porcelain") == (" A later.txt" if version == 3 else "").strip()
    assert_sound(folder)


@pytest.mark.parametrize("kind", ["split", "sparse"])
def test_a_split_or_sparse_index_is_written_by_git(bare: Repo, url: str, tmp_path: Path, kind: str) -> None:
    """An index that is read through git only is moved all the same."""
    folder = clone(url, tmp_path / "c")
    if kind == "split":
        folder.git("update-index", "--split-index")
    else:
        folder.git("sparse-checkout", "set", "--sparse-index", "data")
    advance(bare, {"docs/guide.md": "guide, theirs\n"}, "theirs")
    write(folder, {"data/mine.txt": "mine\n"})
    assert_landed(land(folder, url), bare, folder)


def test_a_sha256_repository_is_refused_in_one_sentence(url: str, tmp_path: Path) -> None:
    """A repository with SHA-256 names is refused before anything is read from it."""
    folder = Repo(tmp_path / "c")
    folder.path.mkdir()
    folder.git("init", "-q", "--object-format=sha256")
    with pytest.raises(LandingError, match="sha256 object names; only sha1 can be pushed from here"):
        land(folder, url)


def test_a_repository_of_another_user_is_refused_until_it_is_trusted(bare: Repo, url: str, tmp_path: Path) -> None:
    """A foreign owner is refused, nothing of the repository runs, and safe.directory lets it through as in git."""
    folder = clone(url, tmp_path / "c")
    hook = folder.path / ".git/hooks/pre-commit"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    write(folder, {"mine.txt": "mine\n"})
    os.chown(folder.path, 12345, 12345) if os.geteuid() == 0 else None
    env = {} if os.geteuid() == 0 else {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    with pytest.raises(LandingError, match="owned by another user"):
        land(folder, url, env=env)
    assert not (tmp_path / "ran").exists()
    user = tmp_path / "gitconfig"
    user.write_text(f"[safe]\n\tdirectory = {folder.path}\n")
    report = land(folder, url, env={**env, "GIT_CONFIG_GLOBAL": str(user)})
    assert report.landed is not None
    assert (tmp_path / "ran").exists()


def test_a_separate_git_directory(bare: Repo, url: str, tmp_path: Path) -> None:
    """A git directory that lies elsewhere is used where it is."""
    folder = clone(url, tmp_path / "c", f"--separate-git-dir={tmp_path / 'elsewhere'}")
    push_twice(bare, url, folder)
