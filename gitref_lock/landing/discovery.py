"""Where the repository is, and whether its owner may be trusted.

A repository that another user owns can run programs through its configuration and hooks; like git, nothing of it is
used unless ``safe.directory`` names it (git-config(1), safe.directory).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.errors import NotARepositoryError, UnsafeRepositoryError
from gitref_lock.remotes.gitconfig import expand_path, load


@dataclass(frozen=True, slots=True)
class Place:
    """A repository found: its git directory, its work tree, and whether the environment named it."""

    git_dir: Path
    work_tree: Path | None
    is_explicit: bool


def _read_gitfile(path: Path) -> Path | None:
    try:
        text = path.read_bytes()
    except OSError:
        return None
    if not text.startswith(b"gitdir:"):
        return None
    target = os.fsdecode(text[7:].strip())
    return Path(os.path.realpath(path.parent / target))


def _is_git_dir(path: Path) -> bool:
    head = path / "HEAD"
    if not (head.is_file() or head.is_symlink()):
        return False
    if (path / "commondir").is_file():
        return True
    return (path / "objects").is_dir() and ((path / "refs").is_dir() or (path / "reftable").is_dir())


def _ceilings(environ: Mapping[str, str]) -> frozenset[str]:
    names = environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep)
    return frozenset(os.path.realpath(name) for name in names if name)


def find(start: Path, environ: Mapping[str, str]) -> Place:
    """Return the repository of ``start`` as git would find it; raise NotARepositoryError when there is none.

    GIT_DIR, GIT_WORK_TREE and GIT_CEILING_DIRECTORIES are honoured (git(1), "The Git Repository").
    """
    try:
        here = start.resolve(strict=True)
    except OSError as error:
        raise NotARepositoryError("not-a-repository", f"{start}: {error.strerror}") from error
    named = environ.get("GIT_DIR")
    if named:
        git_dir = Path(os.path.realpath(here / named))
        if git_dir.is_file():
            git_dir = _read_gitfile(git_dir) or git_dir
        if not _is_git_dir(git_dir):
            raise NotARepositoryError("not-a-repository", f"GIT_DIR is no git repository: {named}")
        tree = environ.get("GIT_WORK_TREE")
        return Place(git_dir, Path(os.path.realpath(here / tree)) if tree else None, is_explicit=True)
    ceilings = _ceilings(environ)
    for folder in (here, *here.parents):
        if folder != here and str(folder) in ceilings:
            break
        candidate = folder / ".git"
        if candidate.is_file():
            target = _read_gitfile(candidate)
            if target is not None and _is_git_dir(target):
                return Place(target, folder, is_explicit=False)
        elif _is_git_dir(candidate):
            return Place(Path(os.path.realpath(candidate)), folder, is_explicit=False)
        if _is_git_dir(folder):
            return Place(folder, None, is_explicit=False)
    raise NotARepositoryError(
        "not-a-repository",
        f"{start} is not inside a git repository",
        "run the command inside a clone, or point -C at one",
    )


def _trusted_directories(environ: Mapping[str, str]) -> Iterable[str]:
    """Return safe.directory of the system, user and command-line configuration; the repository's own does not count."""
    return load(None, None, None, environ).get_all("safe", None, "directory")


def _is_owned(path: Path, environ: Mapping[str, str]) -> bool:
    # git's own switch to rehearse a foreign owner; honoured so that both programs can be compared
    if environ.get("GIT_TEST_ASSUME_DIFFERENT_OWNER", "").lower() in {"1", "true", "yes"}:
        return False
    try:
        owner = path.lstat().st_uid
    except OSError:
        return False
    mine = os.geteuid()
    if owner == mine:
        return True
    sudo = environ.get("SUDO_UID", "")
    return mine == 0 and sudo.isdigit() and owner == int(sudo)


def require_safe(place: Place, environ: Mapping[str, str]) -> None:
    """Raise UnsafeRepositoryError unless this user owns the repository or safe.directory names it."""
    if place.is_explicit:
        return
    subject = place.work_tree or place.git_dir
    owned = [place.git_dir, subject]
    gitfile = subject / ".git"
    if gitfile.exists() and not stat.S_ISDIR(gitfile.lstat().st_mode):
        owned.append(gitfile)
    if all(_is_owned(path, environ) for path in owned):
        return
    allowed = False
    for value in _trusted_directories(environ):
        if not value:
            allowed = False
        elif value == "*":
            allowed = True
        else:
            wanted = os.path.realpath(expand_path(value.removesuffix("/*"), environ))
            own = str(subject)
            allowed = allowed or own == wanted or (value.endswith("/*") and own.startswith(wanted + os.sep))
    if not allowed:
        raise UnsafeRepositoryError(
            "unsafe-repository",
            f"{subject} is owned by another user",
            f"git config --global --add safe.directory '{subject}'",
        )
