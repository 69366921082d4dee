"""Staging beside the real git after random edits: names that turn from file to folder to symlink, partly staged."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from gitref_lock.errors import GitrefLockError
from tests.support.clones import land
from tests.support.gitcli import git, git_result

NAMES = ("a", "b", "c.txt", "d.log", "x y")
CONTENTS = ("1\n", "2\n", "a\r\nb\r\n", "")
IGNORES = ("*.log\n", "a/\n", "!b\n*.txt\n", "/c.txt\n")
ATTRIBUTES = ("* text=auto\n", "*.txt text\n", "a binary\n")
SPECS = ("*.txt", "a*", ".", "?")
GITS_OWN_FAILURE = b"does not have a commit checked out"
"""What `git commit -- PATH` says of a file that became a folder, although `git add PATH` staged it well."""


def some_path(random: Random) -> str:
    """Return a path of one to three parts."""
    return "/".join(random.choice(NAMES) for _ in range(random.randint(1, 3)))


def put(root: Path, path: str, random: Random) -> None:
    """Write a file or symlink, removing whatever stands in its way."""
    full = root / path
    for parent in reversed(list(full.relative_to(root).parents)[:-1]):
        here = root / parent
        if here.is_symlink() or here.is_file():
            here.unlink()
    if full.is_dir() and not full.is_symlink():
        shutil.rmtree(full)
    full.unlink(missing_ok=True)
    full.parent.mkdir(parents=True, exist_ok=True)
    content = random.choice(CONTENTS)
    if random.random() < 0.1:
        full.symlink_to(content.strip() or "x")
        return
    full.write_text(content, newline="")
    if random.random() < 0.15:
        full.chmod(0o755)


def edit(root: Path, random: Random, steps: int) -> None:
    """Make random edits, some of them staged."""
    for _ in range(steps):
        dice, path = random.random(), some_path(random)
        if dice < 0.5:
            put(root, path, random)
        elif dice < 0.65:
            files = sorted(f for f in root.rglob("*") if ".git" not in f.parts and (f.is_symlink() or f.is_file()))
            if files:
                random.choice(files).unlink()
        elif dice < 0.75:
            git_result("add", "--", path, cwd=root)
        elif dice < 0.8:
            git_result("rm", "-q", "--cached", "-r", "--ignore-unmatch", "--", path, cwd=root)
        elif dice < 0.85:
            (root / ".gitignore").write_text(random.choice(IGNORES))
        elif dice < 0.9:
            (root / ".gitattributes").write_text(random.choice(ATTRIBUTES))
        elif dice < 0.95:
            git_result("add", "-A", cwd=root)
        else:
            git_result("add", "-N", "--", path, cwd=root)


def picture(root: Path) -> dict[str, bytes]:
    """Return everything git shows."""
    return {
        "tree": git_result("ls-tree", "-r", "-z", "HEAD", cwd=root).stdout,
        "index": git_result("ls-files", "-s", "-z", cwd=root).stdout,
        "status": git_result("status", "--porcelain", "-z", cwd=root).stdout,
    }


def by_git(root: Path, mode: str, paths: list[str]) -> tuple[bool, bytes]:
    """Commit with git; tell whether it accepted the paths, and what it said."""
    if mode == "paths":
        added = git_result("add", "--", *paths, cwd=root)
        done = git_result("commit", "-q", "-m", "change", "--", *paths, cwd=root)
        return added.returncode == 0 and done.returncode == 0, done.stderr
    if mode == "all":
        git("add", "-A", cwd=root)
    is_staged = mode == "all" or git_result("diff", "--cached", "--quiet", cwd=root).returncode
    done = git_result("commit", "-q", *([] if is_staged else ["-a"]), "-m", "change", cwd=root)
    return True, done.stderr


@pytest.mark.parametrize("seed", range(40))
def test_random_edits_are_staged_as_by_git(tmp_path: Path, seed: int) -> None:
    """Tree, index and status are git's; a refusal changes nothing and happens only where git refuses too."""
    random = Random(f"staging-{seed}")
    base = tmp_path / "base"
    git("init", "-q", base, cwd=tmp_path)
    edit(base, random, 6)
    git("add", "-A", cwd=base)
    git("commit", "-q", "--allow-empty", "-m", "base", cwd=base)
    edit(base, random, random.randint(1, 8))
    mode = random.choice(["staged", "all", "paths", "paths"])
    paths = [random.choice([some_path(random), *SPECS]) for _ in range(random.randint(1, 2))] if mode == "paths" else []
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for copy in (ours, theirs):
        shutil.copytree(base, copy, symlinks=True)
    before = picture(ours)
    is_accepted, said = by_git(theirs, mode, paths)
    staged, refusal = None, None
    try:
        staged = land(ours, *map(str.encode, paths), take_all=mode == "all")
    except GitrefLockError as error:
        refusal = error
    if staged is None:
        assert not is_accepted, refusal
        assert picture(ours) == before
    elif staged.is_empty:
        assert picture(ours) == before
        assert picture(theirs)["tree"] == before["tree"]
    elif GITS_OWN_FAILURE not in said:
        assert picture(ours) == picture(theirs)
