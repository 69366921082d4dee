"""The repository is found where git finds it: same folders, same refusals."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gitref_lock.remotes import gitconfig
from gitref_lock.remotes.gitconfig import RemoteConfigError
from gitref_lock.remotes.repository import RepositoryPaths, find_repository, require_trusted


def base_environ(root: Path) -> dict[str, str]:
    """An environment that knows nothing but a home of its own."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}


def git(root: Path, *words: str) -> str:
    """Run git for setting up."""
    author = ["-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *author, *words], cwd=root, env=base_environ(root), capture_output=True, check=True)
    return done.stdout.decode()


def git_says(start: Path, environ: Mapping[str, str]) -> tuple[str, str, str | None] | None:
    """Return git's idea of git dir, common dir and work tree; None when it finds no repository."""

    def ask(*words: str) -> str | None:
        done = subprocess.run(
            ["git", "rev-parse", *words], cwd=start, env=environ, capture_output=True, text=True, check=False
        )
        return done.stdout.removesuffix("\n") if done.returncode == 0 else None

    git_dir, common = ask("--absolute-git-dir"), ask("--path-format=absolute", "--git-common-dir")
    if git_dir is None or common is None:
        return None
    top = ask("--show-toplevel")
    if top is None and ask("--is-bare-repository") == "false" and ask("--is-inside-work-tree") == "false":
        top = subprocess.run(
            ["git", "config", "core.worktree"], cwd=start, env=environ, capture_output=True, text=True, check=False
        ).stdout.removesuffix("\n")
        top = os.path.realpath(Path(git_dir) / top) if top else None
    return git_dir, common, top


def we_say(start: Path, environ: Mapping[str, str]) -> tuple[str, str, str | None] | None:
    """Return ours in the same shape."""
    try:
        found = find_repository(start, environ)
    except RemoteConfigError:
        return None
    if found is None:
        return None
    return str(found.git_dir), str(found.common_dir), str(found.work_tree) if found.work_tree else None


def plain(root: Path) -> Path:
    git(root, "init", "-q", "repo")
    (root / "repo/a/b").mkdir(parents=True)
    return root / "repo/a/b"


def inside_git_dir(root: Path) -> Path:
    return plain(root).parents[1] / ".git/refs"


def bare(root: Path) -> Path:
    git(root, "init", "-q", "--bare", "bare.git")
    return root / "bare.git/objects"


def linked(root: Path) -> Path:
    git(root, "init", "-q", "repo")
    git(root, "-C", "repo", "commit", "-q", "--allow-empty", "-m", "m")
    git(root, "-C", "repo", "worktree", "add", "-q", "../tree")
    return root / "tree"


def linked_of_bare(root: Path) -> Path:
    linked(root)
    git(root, "clone", "-q", "--bare", "repo", "bare.git")
    git(root, "-C", "bare.git", "worktree", "add", "-q", "../other")
    return root / "other"


def separate(root: Path) -> Path:
    git(root, "init", "-q", "--separate-git-dir", "elsewhere.git", "repo")
    return root / "repo"


def submodule(root: Path) -> Path:
    linked(root)
    git(root, "init", "-q", "super")
    git(root, "-C", "super", "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(root / "repo"), "sub")
    return root / "super/sub"


def worktree_setting(root: Path) -> Path:
    git(root, "init", "-q", "repo")
    (root / "files").mkdir()
    git(root, "-C", "repo", "config", "core.worktree", "../../files")
    return root / "repo"


def bare_setting(root: Path) -> Path:
    git(root, "init", "-q", "repo")
    git(root, "-C", "repo", "config", "core.bare", "true")
    return root / "repo"


def bare_by_worktree_config(root: Path) -> Path:
    git(root, "init", "-q", "repo")
    git(root, "-C", "repo", "config", "extensions.worktreeConfig", "true")
    git(root, "-C", "repo", "config", "--unset", "core.bare")
    git(root, "-C", "repo", "config", "--worktree", "core.bare", "true")
    return root / "repo"


def detached(root: Path) -> Path:
    top = linked(root)
    git(root, "-C", "tree", "checkout", "-q", "--detach")
    return top


def through_link(root: Path) -> Path:
    plain(root)
    (root / "link").symlink_to(root / "repo/a")
    return root / "link/b"


def none_at_all(root: Path) -> Path:
    return root


def half_a_repository(root: Path) -> Path:
    plain(root)
    fake = root / "repo/a/.git"
    fake.mkdir()
    (fake / "HEAD").write_text("nonsense\n", "utf-8")
    return root / "repo/a/b"


def broken_git_file(root: Path) -> Path:
    top = plain(root)
    (top / ".git").write_text("gitdir: nowhere\n", "utf-8")
    return top


def odd_git_file(root: Path) -> Path:
    top = plain(root)
    (top / ".git").write_text("hello\n", "utf-8")
    return top


SHAPES = [
    plain, inside_git_dir, bare, linked, linked_of_bare, separate, submodule, worktree_setting, bare_setting,
    bare_by_worktree_config, detached, through_link, none_at_all, half_a_repository, broken_git_file, odd_git_file,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_shape_is_found_as_git_finds_it(tmp_path: Path, shape: Callable[[Path], Path]) -> None:
    """Clones, worktrees, submodules, bare and broken ones: the same folders, or no repository for both."""
    start = shape(tmp_path)
    environ = base_environ(tmp_path)
    assert we_say(start, environ) == git_says(start, environ)


VARIABLES = [
    {"GIT_DIR": "repo/.git"},
    {"GIT_DIR": "{root}/repo/.git"},
    {"GIT_DIR": "repo"},
    {"GIT_DIR": "tree/.git"},
    {"GIT_DIR": ""},
    {"GIT_DIR": "bare.git"},
    {"GIT_DIR": "repo/.git", "GIT_WORK_TREE": "repo"},
    {"GIT_DIR": "bare.git", "GIT_WORK_TREE": "."},
    {"GIT_DIR": "repo/.git/worktrees/tree", "GIT_COMMON_DIR": "repo/.git"},
    {"GIT_WORK_TREE": "repo"},
]


@pytest.mark.parametrize("changes", VARIABLES, ids=str)
def test_the_environment_names_repository_and_work_tree(tmp_path: Path, changes: dict[str, str]) -> None:
    """GIT_DIR, GIT_WORK_TREE and GIT_COMMON_DIR are relative to where the command runs."""
    linked_of_bare(tmp_path)
    environ = base_environ(tmp_path) | {k: v.format(root=tmp_path) for k, v in changes.items()}
    assert we_say(tmp_path, environ) == git_says(tmp_path, environ)


@pytest.mark.parametrize(
    "ceilings", ["{root}", "{root}/repo", "{root}/repo/a", "{root}/repo/a/b", "{root}/link", ":{root}/link", "repo", ""]
)
def test_ceilings_end_the_way_up(tmp_path: Path, ceilings: str) -> None:
    """A folder named as a ceiling is not searched, except as the place to start from."""
    start = plain(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    environ = base_environ(tmp_path) | {"GIT_CEILING_DIRECTORIES": ceilings.format(root=tmp_path)}
    assert we_say(start, environ) == git_says(start, environ)


def load_for(paths: RepositoryPaths, environ: Mapping[str, str]) -> gitconfig.GitConfig:
    return gitconfig.load(paths.git_dir, paths.common_dir, paths.work_tree, environ)


SAFE = ["", "{repo}", "*", "{root}/*", "{root}", "*\n\tdirectory =", "{root}/other"]


@pytest.mark.parametrize("safe", SAFE)
def test_another_users_repository_is_refused_as_git_refuses_it(tmp_path: Path, safe: str) -> None:
    """A foreign repository is used only when the user's own configuration vouches for it."""
    plain(tmp_path)
    repo = tmp_path / "repo"
    environ = base_environ(tmp_path)
    text = safe.format(repo=repo, root=tmp_path)
    if text:
        (tmp_path / "home/.gitconfig").write_text(f"[safe]\n\tdirectory = {text}\n", "utf-8")
    git(tmp_path, "-C", "repo", "config", "safe.directory", "*")
    paths = find_repository(repo, environ)
    assert paths is not None
    require_trusted(paths, load_for(paths, environ), environ)
    environ["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    refuses = git_says(repo, environ) is None
    if safe == "{root}/*":
        refuses = False  # a whole folder can be named since git 2.46
    if refuses:
        with pytest.raises(RemoteConfigError, match="owned by another user"):
            require_trusted(paths, load_for(paths, environ), environ)
    else:
        require_trusted(paths, load_for(paths, environ), environ)


def test_a_broken_pointer_is_a_typed_error(tmp_path: Path) -> None:
    """A ``.git`` file or variable that leads nowhere is named, not skipped: the parent's repository would be wrong."""
    with pytest.raises(RemoteConfigError, match="leads to") as caught:
        find_repository(broken_git_file(tmp_path), base_environ(tmp_path))
    assert caught.value.code == "not-a-repository"
    with pytest.raises(RemoteConfigError, match="GIT_DIR"):
        find_repository(tmp_path, base_environ(tmp_path) | {"GIT_DIR": "nowhere"})


def test_relative_addresses_refer_to_the_top(tmp_path: Path) -> None:
    """The folder for relative addresses is the work tree, or the repository itself when it is bare."""
    found = find_repository(plain(tmp_path), base_environ(tmp_path))
    assert found is not None
    assert found.top == tmp_path / "repo"
    naked = find_repository(bare(tmp_path), base_environ(tmp_path))
    assert naked is not None
    assert naked.top == tmp_path / "bare.git"
