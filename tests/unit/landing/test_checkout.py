"""Opening a clone: what is found, what is refused, and what can be read from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitref_lock.core.names import RefName
from gitref_lock.errors import ConfigurationError
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.errors import (
    CheckoutBusyError,
    LandingError,
    NotARepositoryError,
    UnfinishedOperationError,
    UnsafeRepositoryError,
    UnsupportedRepositoryError,
)
from tests.support.clones import open_checkout, write
from tests.support.gitcli import Repo, clone, git, git_env, git_result, make_bare


@pytest.fixture
def origin(tmp_path: Path) -> Repo:
    """Return a bare repository with one commit on main."""
    return make_bare(tmp_path / "origin.git")


@pytest.fixture
def path(origin: Repo, tmp_path: Path) -> Path:
    """Return a plain clone."""
    return clone(str(origin.path), tmp_path / "clone").path


def test_it_is_found_from_a_folder_inside(path: Path) -> None:
    """The clone is found upwards, and the folder of the start is kept as the prefix of PATHs."""
    (path / "a/b").mkdir(parents=True)
    with open_checkout(path / "a/b") as checkout:
        assert checkout.work_tree == path
        assert checkout.git_dir == checkout.common_dir == path / ".git"
        assert checkout.prefix == b"a/b/"
        assert checkout.head() == git("rev-parse", "HEAD", cwd=path)
        assert checkout.head_branch() == "main"
        assert not checkout.is_unborn


def test_outside_of_any_repository_it_says_so(tmp_path: Path) -> None:
    """A folder without a repository is a configuration error with a hint."""
    with pytest.raises(NotARepositoryError) as caught:
        open_checkout(tmp_path)
    assert caught.value.code == "not-a-repository"
    assert isinstance(caught.value, ConfigurationError)
    assert "inside a clone" in caught.value.hint


def test_a_missing_start_folder_says_so(tmp_path: Path) -> None:
    """A start that does not exist is reported with the system's reason."""
    with pytest.raises(NotARepositoryError, match="No such file"):
        open_checkout(tmp_path / "nowhere")


def test_a_ceiling_stops_the_search(path: Path) -> None:
    """GIT_CEILING_DIRECTORIES ends the way upwards, as for git."""
    (path / "a/b").mkdir(parents=True)
    with pytest.raises(NotARepositoryError):
        open_checkout(path / "a/b", {"GIT_CEILING_DIRECTORIES": str(path / "a")})
    with open_checkout(path / "a", {"GIT_CEILING_DIRECTORIES": str(path / "a")}) as checkout:
        assert checkout.work_tree == path


def test_bare_repositories_have_no_files_to_push(origin: Repo) -> None:
    """A bare repository is refused, whether found or named by GIT_DIR."""
    for environment in ({}, {"GIT_DIR": str(origin.path)}):
        with pytest.raises(NotARepositoryError) as caught:
            open_checkout(origin.path, environment)
        assert caught.value.code == "no-work-tree"


def test_git_dir_and_work_tree_of_the_environment_win(path: Path, tmp_path: Path) -> None:
    """GIT_DIR alone makes the start folder the work tree; GIT_WORK_TREE names another."""
    other = tmp_path / "other"
    other.mkdir()
    with open_checkout(other, {"GIT_DIR": str(path / ".git")}) as checkout:
        assert checkout.work_tree == other
    with open_checkout(tmp_path, {"GIT_DIR": str(path / ".git"), "GIT_WORK_TREE": "other"}) as checkout:
        assert checkout.work_tree == other
        assert checkout.git_dir == path / ".git"
    with pytest.raises(NotARepositoryError, match="GIT_DIR"):
        open_checkout(path, {"GIT_DIR": str(other)})


def test_core_worktree_names_the_files(path: Path, tmp_path: Path) -> None:
    """A work tree set in the configuration is used, as git does."""
    (tmp_path / "elsewhere").mkdir()
    git("config", "core.worktree", str(tmp_path / "elsewhere"), cwd=path)
    with open_checkout(path) as checkout:
        assert checkout.work_tree == tmp_path / "elsewhere"


def test_another_index_can_be_named(path: Path) -> None:
    """GIT_INDEX_FILE is the index, relative to the work tree."""
    with open_checkout(path, {"GIT_INDEX_FILE": "my-index"}) as checkout:
        assert checkout.index_path == path / "my-index"
        assert len(checkout.read_index()) == 0


def test_a_linked_work_tree_has_its_own_head_and_index(path: Path, tmp_path: Path) -> None:
    """In a linked work tree HEAD and index are its own, refs and objects are shared."""
    git("worktree", "add", "-q", "-b", "linked", tmp_path / "linked", cwd=path)
    with open_checkout(tmp_path / "linked") as checkout:
        assert checkout.common_dir == path / ".git"
        assert checkout.git_dir == path / ".git/worktrees/linked"
        assert checkout.head_branch() == "linked"
        assert checkout.index_path == checkout.git_dir / "index"
        assert checkout.ref(RefName("refs/heads/main")) == checkout.head()


def test_a_detached_head_has_no_branch(path: Path) -> None:
    """Detached, there is a commit but no branch, and HEAD itself is the ref that moves."""
    git("checkout", "-q", "--detach", cwd=path)
    with open_checkout(path) as checkout:
        assert checkout.head_branch() is None
        assert checkout.head_ref() == "HEAD"
        assert checkout.head() is not None


def test_an_unborn_branch_has_a_name_but_no_commit(tmp_path: Path) -> None:
    """Before the first commit the branch is known and its value is None."""
    (tmp_path / "new").mkdir()
    git("init", "-q", cwd=tmp_path / "new")
    with open_checkout(tmp_path / "new") as checkout:
        assert checkout.is_unborn
        assert checkout.head_branch() == "main"
        assert checkout.tree_of(None) is None
        assert len(checkout.read_index()) == 0


def test_a_repository_of_somebody_else_is_refused_like_git_does(path: Path) -> None:
    """A foreign owner is refused unless safe.directory of the user's own configuration names the clone."""
    foreign = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    assert git_result("status", cwd=path, env=foreign).returncode != 0
    with pytest.raises(UnsafeRepositoryError) as caught:
        open_checkout(path, foreign)
    assert caught.value.code == "unsafe-repository"
    assert f"safe.directory '{path}'" in caught.value.hint
    git("config", "safe.directory", "*", cwd=path)  # the repository cannot vouch for itself
    with pytest.raises(UnsafeRepositoryError):
        open_checkout(path, foreign)


@pytest.mark.parametrize(
    ("values", "is_allowed"),
    [
        (["*"], True),
        (["{path}"], True),
        (["{path}/sub"], False),
        (["{path}", ""], False),
        (["", "{path}"], True),
    ],
)
def test_safe_directory_is_read_as_git_reads_it(path: Path, values: list[str], is_allowed: bool) -> None:
    """Names, the star and the empty value that forgets earlier ones have git's meaning."""
    environment = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_COUNT": str(len(values))}
    for number, value in enumerate(values):
        environment[f"GIT_CONFIG_KEY_{number}"] = "safe.directory"
        environment[f"GIT_CONFIG_VALUE_{number}"] = value.format(path=path)
    assert (git_result("status", cwd=path, env=environment).returncode == 0) == is_allowed
    if is_allowed:
        open_checkout(path, environment).close()
    else:
        with pytest.raises(UnsafeRepositoryError):
            open_checkout(path, environment)


def test_sha256_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """A repository with SHA-256 object names cannot be pushed from here and says so."""
    (tmp_path / "new").mkdir()
    git("init", "-q", "--object-format=sha256", cwd=tmp_path / "new")
    with pytest.raises(UnsupportedRepositoryError, match="uses sha256 object names"):
        open_checkout(tmp_path / "new")


def test_harmless_extensions_are_accepted_and_unknown_ones_refused(path: Path) -> None:
    """What partial clones and preciousObjects write does not matter here; an unknown extension does."""
    git("config", "core.repositoryFormatVersion", "1", cwd=path)
    for name, value in (("partialClone", "origin"), ("preciousObjects", "true"), ("worktreeConfig", "true")):
        git("config", f"extensions.{name}", value, cwd=path)
    with open_checkout(path) as checkout:
        assert checkout.head() is not None
    git("config", "extensions.fromTheFuture", "1", cwd=path)
    with pytest.raises(UnsupportedRepositoryError):
        open_checkout(path)


def test_config_of_the_work_tree_wins(path: Path, tmp_path: Path) -> None:
    """config.worktree of this very work tree is stronger than the shared file, GIT_CONFIG_COUNT than both."""
    git("config", "extensions.worktreeConfig", "true", cwd=path)
    git("config", "user.name", "shared", cwd=path)
    git("worktree", "add", "-q", tmp_path / "linked", cwd=path)
    git("config", "--worktree", "user.name", "linked", cwd=tmp_path / "linked")
    with open_checkout(tmp_path / "linked") as checkout:
        assert checkout.setting("user", "name") == "linked"
    with open_checkout(path) as checkout:
        assert checkout.setting("user", "name") == "shared"
    extra = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "environment"}
    with open_checkout(path, extra) as checkout:
        assert checkout.setting("user", "name") == "environment"


def test_upstream_and_tracking_refs(path: Path, origin: Repo) -> None:
    """The upstream is the branch's setting; the tracking ref follows the fetch refspecs, None outside of them."""
    with open_checkout(path) as checkout:
        assert checkout.upstream("main") == ("origin", "main")
        assert checkout.upstream("other") is None
        assert checkout.tracking_ref("origin", "main") == "refs/remotes/origin/main"
        assert checkout.tracking_ref("nowhere", "main") is None
        assert checkout.all_tracking_tips() == {"refs/remotes/origin/main": checkout.head()}
    git("config", "remote.origin.fetch", "+refs/heads/main:refs/remotes/up/trunk", cwd=path)
    with open_checkout(path) as checkout:
        assert checkout.tracking_ref("origin", "main") == "refs/remotes/up/trunk"
        assert checkout.tracking_ref("origin", "other") is None
    git("config", "remote.origin.fetch", "+refs/heads/team/*:refs/remotes/up/*-x", cwd=path)
    with open_checkout(path) as checkout:
        assert checkout.tracking_ref("origin", "team/a") == "refs/remotes/up/a-x"
        assert checkout.tracking_ref("origin", "main") is None
    assert origin.ref("refs/heads/main") is not None


def test_a_shallow_clone_names_its_boundary(origin: Repo, tmp_path: Path) -> None:
    """The boundary of a shallow clone is known; a full clone has none."""
    origin.set_ref("refs/heads/main", origin.commit({"a": b"2"}, parents=("main",)))
    path = clone(f"file://{origin.path}", tmp_path / "shallow", "--depth=1").path
    with open_checkout(path) as checkout:
        assert checkout.shallow() == {checkout.head()}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("merge", "-q", "other"), "merge"),
        (("rebase", "-q", "other"), "rebase"),
        (("cherry-pick", "other"), "cherry-pick"),
        (("revert", "--no-edit", "HEAD~1"), "revert"),
    ],
)
def test_a_half_done_operation_is_named(path: Path, command: tuple[str, ...], name: str) -> None:
    """A merge, rebase, cherry-pick or revert that stopped at a conflict is refused with its own way out."""
    write(path, "f", "1\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "one", cwd=path)
    git("checkout", "-q", "-b", "other", cwd=path)
    write(path, "f", "2\n")
    git("commit", "-q", "-a", "-m", "two", cwd=path)
    git("checkout", "-q", "main", cwd=path)
    write(path, "f", "3\n")
    git("commit", "-q", "-a", "-m", "three", cwd=path)
    with open_checkout(path) as checkout:
        assert checkout.operation_in_progress() is None
        checkout.require_settled()
    assert git_result(*command, cwd=path).returncode != 0
    with open_checkout(path) as checkout:
        assert checkout.operation_in_progress() == name
        assert checkout.unmerged_paths() == (b"f",)
        with pytest.raises(UnfinishedOperationError) as caught:
            checkout.require_settled()
    assert caught.value.code == "operation-in-progress"
    assert f"git {name} --abort" in caught.value.hint


def test_a_bisect_does_not_stop_a_push(path: Path) -> None:
    """Bisecting is named but does not stand in the way."""
    git("bisect", "start", cwd=path)
    with open_checkout(path) as checkout:
        assert checkout.operation_in_progress() == "bisect"
        checkout.require_settled()


def test_only_one_landing_at_a_time_and_a_kill_ends_the_hold(path: Path) -> None:
    """A second process is refused while the first holds the clone; when it is killed the hold is gone."""
    program = (
        "import os, sys, pathlib\n"
        "from gitref_lock.landing.checkout import Checkout\n"
        "with Checkout.open(pathlib.Path(sys.argv[1]), os.environ) as checkout, checkout.exclusive():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    environment = {**git_env(), "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", program, path], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with open_checkout(path) as checkout, pytest.raises(CheckoutBusyError), checkout.exclusive():
            pass
        holder.kill()
        holder.wait()
    with open_checkout(path) as checkout, checkout.exclusive():
        pass


@pytest.mark.parametrize(
    "setting",
    [
        *("core.bigFileThreshold=100m", "core.packedGitLimit=128m", "core.deltaBaseCacheLimit=1g"),
        *("core.bigFileThreshold=1", "core.compression=0k", "core.looseCompression=9", "core.commitGraph=on"),
        *("core.multiPackIndex=1", "core.fsyncObjectFiles=yes", "core.bare=no", "core.bare=0"),
        *("pack.windowMemory=100m", "pack.deltaCacheSize=1m", "pack.threads=0", "pack.depth=1k"),
        *("pack.writeBitmaps=yes", "pack.writeBitmapHashCache=off", "repack.writeBitmaps=1", "pack.indexVersion=2"),
    ],
)
def test_settings_with_units_and_every_word_for_a_boolean_are_read(path: Path, setting: str) -> None:
    """What git takes for a number or a boolean is no reason to refuse a repository, and its objects can be read."""
    name, _, value = setting.partition("=")
    git("config", name, value, cwd=path)
    with open_checkout(path) as checkout:
        head = checkout.head()
        assert head is not None
        assert checkout.commit_object(head).id.decode() == git("rev-parse", "HEAD", cwd=path)


@pytest.mark.parametrize("setting", ["core.compression=much", "core.commitGraph=perhaps"])
def test_a_setting_that_git_refuses_is_refused_by_name(path: Path, setting: str) -> None:
    """The error says which setting cannot be read."""
    name, _, value = setting.partition("=")
    git("config", name, value, cwd=path)
    with pytest.raises(ConfigurationError, match=f"(?i){name}"):
        open_checkout(path)


def test_broken_configuration_is_an_error_that_names_the_file(path: Path) -> None:
    """A syntax error in git's configuration is reported, not ignored."""
    with (path / ".git/config").open("a", encoding="utf-8") as file:
        file.write("[broken\n")
    with pytest.raises((LandingError, ConfigurationError), match="config"):
        open_checkout(path)


def test_missing_and_wrong_objects_are_told_apart_from_crashes(path: Path) -> None:
    """Asking for a commit that is absent, or is none, is a LandingError."""
    with open_checkout(path) as checkout:
        head = checkout.head()
        assert head is not None
        tree = checkout.tree_of(head)
        assert tree is not None
        with pytest.raises(LandingError, match="not a commit"):
            checkout.commit_object(tree)
        with pytest.raises(LandingError, match="not in this clone"):
            checkout.commit_object(type(head)("1" * 40))


def test_it_is_closed_when_opening_fails_late(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure after the repository was opened closes its files again."""
    closed: list[object] = []

    def close(repo: object) -> None:
        closed.append(repo)

    def fail(self: Checkout, *_arguments: object) -> None:
        raise LandingError("test", "late failure")

    monkeypatch.setattr(Checkout, "__init__", fail)
    monkeypatch.setattr("gitref_lock.landing.opening.TolerantRepo.close", close)
    with pytest.raises(LandingError, match="late failure"):
        open_checkout(path)
    assert len(closed) == 1
