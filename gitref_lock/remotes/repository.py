"""Where the local repository is: found as git finds it, without a git library, since every command asks first.

Sources: git(1), "Environment Variables"; gitrepository-layout(5); git-config(1), ``core.worktree``, ``safe.directory``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.remotes.gitconfig import GitConfig, RemoteConfigError, expand_path, parse_bool
from gitref_lock.remotes.gitconfig_parse import bad_config, parse_text

_HEAD = re.compile(rb"(?:ref:\s*refs/.+|[0-9a-f]{40}(?:[0-9a-f]{24})?)\s*", re.DOTALL)
_PROTECTED_SCOPES = {"system", "global", "command"}


@dataclass(frozen=True, slots=True)
class RepositoryPaths:
    """A repository's folders, absolute. ``common_dir`` differs from ``git_dir`` in a linked worktree.

    ``work_tree`` is None for a bare repository. ``is_explicit`` tells that GIT_DIR named it.
    """

    git_dir: Path
    common_dir: Path
    work_tree: Path | None
    is_explicit: bool = False

    @property
    def top(self) -> Path:
        """The folder that relative addresses in the configuration refer to: git runs there."""
        return self.work_tree or self.git_dir


def find_repository(start: Path, environ: Mapping[str, str]) -> RepositoryPaths | None:
    """Return the repository that ``start`` lies in, or that the environment names; None when there is none.

    Raises RemoteConfigError (``not-a-repository``) where git ends as well: GIT_DIR or a ``.git`` file that leads to
    no repository.
    """
    start = start.resolve()
    named = environ.get("GIT_DIR")
    if named is not None:
        return _explicit(start, named, environ)
    device = start.stat().st_dev if start.exists() else None
    crosses = parse_bool(environ.get("GIT_DISCOVERY_ACROSS_FILESYSTEM", "false"), "GIT_DISCOVERY_ACROSS_FILESYSTEM")
    ceilings = _ceilings(environ)
    for folder in (start, *start.parents):
        if folder != start and folder in ceilings:
            return None
        if device is not None and not crosses and folder.exists() and folder.stat().st_dev != device:
            return None
        dot_git = folder / ".git"
        git_dir = _follow(dot_git) if dot_git.is_file() else dot_git
        if _is_git_dir(git_dir, start, environ):
            return _discovered(start, git_dir, folder, environ)
        if dot_git.is_file():
            raise _not_a_repository(f"{dot_git} leads to {git_dir}, which is no git repository")
        if _is_git_dir(folder, start, environ):
            return _discovered(start, folder, None, environ)
    return None


def require_trusted(repo: RepositoryPaths, config: GitConfig, environ: Mapping[str, str]) -> None:
    """Raise RemoteConfigError unless this user owns the repository or ``safe.directory`` names it.

    A repository's configuration names programs to run (``core.sshCommand``, credential helpers), so another user's is
    not obeyed. As in git, a repository named by GIT_DIR is trusted, and the repository's own file cannot vouch for it.
    """
    subject = repo.work_tree or repo.git_dir
    dot_git = subject / ".git"
    owned = [subject, repo.git_dir, *([dot_git] if dot_git.is_file() else [])]
    if repo.is_explicit or all(_is_owned(path, environ) for path in owned):
        return
    is_safe = False
    for entry in config.entries:
        if (entry.section, entry.subsection, entry.key) != ("safe", None, "directory"):
            continue
        if entry.scope not in _PROTECTED_SCOPES:
            continue
        if not entry.value:
            is_safe = False
        elif entry.value == "*":
            is_safe = True
        else:
            wanted = Path(expand_path(entry.value.removesuffix("/*"), environ)).resolve()
            is_safe |= subject.is_relative_to(wanted) if entry.value.endswith("/*") else subject == wanted
    if not is_safe:
        raise RemoteConfigError(
            "unsafe-repository",
            f"{subject} is owned by another user",
            f"git config --global --add safe.directory '{subject}'",
        )


def _is_owned(path: Path, environ: Mapping[str, str]) -> bool:
    # git's own switch to rehearse a foreign owner, so that both programs can be compared
    if parse_bool(environ.get("GIT_TEST_ASSUME_DIFFERENT_OWNER", "false"), "GIT_TEST_ASSUME_DIFFERENT_OWNER"):
        return False
    try:
        owner = path.lstat().st_uid
    except OSError:
        return False
    user = os.geteuid()
    sudo = environ.get("SUDO_UID", "")
    return owner == user or (user == 0 and sudo.isdigit() and owner == int(sudo))


def _explicit(start: Path, named: str, environ: Mapping[str, str]) -> RepositoryPaths:
    """Follow GIT_DIR."""
    git_dir = start / named
    if git_dir.is_file():
        git_dir = _follow(git_dir)
    if not named or not _is_git_dir(git_dir, start, environ):
        raise _not_a_repository(f"GIT_DIR is no git repository: {named!r}")
    git_dir = git_dir.resolve()
    common_dir = _common_dir(git_dir, start, environ)
    return RepositoryPaths(git_dir, common_dir, _work_tree(start, git_dir, start, environ), is_explicit=True)


def _discovered(start: Path, git_dir: Path, holder: Path | None, environ: Mapping[str, str]) -> RepositoryPaths:
    """Build the answer for a repository found on the way up; ``holder`` is the folder with its ``.git``."""
    git_dir = git_dir.resolve()
    return RepositoryPaths(
        git_dir, _common_dir(git_dir, start, environ), _work_tree(start, git_dir, holder, environ), is_explicit=False
    )


def _work_tree(start: Path, git_dir: Path, default: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Decide the work tree: the variable, then ``core.bare``, then ``core.worktree``, then where ``.git`` stands."""
    named = environ.get("GIT_WORK_TREE")
    if named is not None:
        return (start / named).resolve()
    is_bare, configured = False, None
    for section, subsection, key, value in _own_settings(git_dir):
        if (section, subsection, key) == ("core", None, "bare"):
            is_bare = parse_bool(value, "core.bare")
        elif (section, subsection, key) == ("core", None, "worktree"):
            configured = value
    if is_bare:
        return None
    if configured:
        return (git_dir / configured).resolve()
    return default


def _own_settings(git_dir: Path) -> Iterator[tuple[str, str | None, str, str | None]]:
    """Yield what says how the repository is laid out; in a linked worktree the main one's layout does not count."""
    if (git_dir / "commondir").is_file():
        return
    files = [git_dir / "config"]
    while files:
        path = files.pop()
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise bad_config(str(path), error.strerror or "cannot be read") from error
        for entry in parse_text(data, str(path)):
            if (entry.section, entry.key) == ("extensions", "worktreeconfig") and parse_bool(entry.value, entry.key):
                files.append(git_dir / "config.worktree")
            yield entry


def _common_dir(git_dir: Path, start: Path, environ: Mapping[str, str]) -> Path:
    named = environ.get("GIT_COMMON_DIR")
    if named:
        return (start / named).resolve()
    try:
        text = (git_dir / "commondir").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return git_dir
    return (git_dir / text.rstrip("\r\n")).resolve()


def _follow(dot_git: Path) -> Path:
    """Return where a ``.git`` file leads."""
    try:
        text = dot_git.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise _not_a_repository(f"{dot_git}: {error.strerror}") from error
    if not text.startswith("gitdir: "):
        raise _not_a_repository(f"{dot_git} is a file, but names no git directory")
    return dot_git.parent / text.removeprefix("gitdir: ").rstrip("\r\n")


def _is_git_dir(path: Path, start: Path, environ: Mapping[str, str]) -> bool:
    """Tell whether a folder is a repository: a HEAD that reads as one, objects, refs."""
    head = path / "HEAD"
    try:
        if head.is_symlink():
            is_head = str(head.readlink()).startswith("refs/")
        else:
            is_head = _HEAD.fullmatch(head.read_bytes()) is not None
    except OSError:
        return False
    common = _common_dir(path, start, environ)
    objects = environ.get("GIT_OBJECT_DIRECTORY") or common / "objects"
    return is_head and os.access(objects, os.X_OK) and os.access(common / "refs", os.X_OK)


def _ceilings(environ: Mapping[str, str]) -> frozenset[Path]:
    """Return the folders at which the way up ends; behind an empty entry symbolic links are not resolved."""
    found = set()
    resolves = True
    for name in environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep):
        if not name:
            resolves = False
        elif name.startswith("/"):
            found.add(Path(name).resolve() if resolves else Path(os.path.normpath(name)))
    return frozenset(found)


def _not_a_repository(message: str) -> RemoteConfigError:
    return RemoteConfigError("not-a-repository", message, "run the command inside a clone, or name one with -C")
