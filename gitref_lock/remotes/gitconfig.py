"""Git's effective configuration: every file and variable git itself would read, in git's order.

Where CI keeps its credentials (extra headers in included files, settings in the environment) is known only to git's own
rules, so these are followed to the letter: scopes, ``include`` and ``includeIf``, and settings scoped to a URL.
Sources: git-config(1), "FILES", "SCOPES", "Includes", "Conditional includes", "http.<url>.*".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.remotes.gitconfig_parse import RawEntry, RemoteConfigError, bad_config, parse_environment, parse_text
from gitref_lock.remotes.gitconfig_values import Entry, GitConfig, Scope, parse_bool, parse_int
from gitref_lock.remotes.wildmatch import matches

SYSTEM_FILE = "/etc/gitconfig"
_MAX_INCLUDE_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reader stands: what relative paths and conditions refer to. None outside a repository."""

    git_dir: Path | None
    common_dir: Path | None
    work_tree: Path | None
    environ: Mapping[str, str]


def expand_path(value: str, environ: Mapping[str, str]) -> str:
    """Expand ``~/`` and ``~user/`` as git does for values that are paths; leave what cannot be expanded."""
    if not value.startswith("~"):
        return value
    user, slash, rest = value[1:].partition("/")
    if not user:
        home = environ.get("HOME")
        return f"{home}{slash}{rest}" if home else value
    return os.path.expanduser(value)  # noqa: PTH111 - pathlib raises where the text must stay as it is


def load(
    git_dir: Path | None, common_dir: Path | None, work_tree: Path | None, environ: Mapping[str, str]
) -> GitConfig:
    """Read git's whole configuration for a repository, or for no repository when the folders are None.

    A missing or unreadable optional file counts as empty; a file git would call broken raises RemoteConfigError.
    """
    place = Place(git_dir, common_dir, work_tree, environ)
    reader = _Loader(place)
    for path in system_files(environ):
        reader.file(path, "system")
    for path in global_files(environ):
        reader.file(path, "global")
    if common_dir is not None:
        reader.file(common_dir / "config", "local")
        if git_dir is not None and GitConfig(reader.entries).get_bool("extensions", None, "worktreeconfig"):
            reader.file(git_dir / "config.worktree", "worktree")
    reader.add(parse_environment(environ), None, "command", 0)
    return GitConfig(reader.entries)


def system_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the machine-wide file, none when GIT_CONFIG_NOSYSTEM says so."""
    if parse_bool(environ.get("GIT_CONFIG_NOSYSTEM", "false"), "GIT_CONFIG_NOSYSTEM"):
        return []
    return [Path(environ.get("GIT_CONFIG_SYSTEM", SYSTEM_FILE))]


def global_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the user's files in reading order; GIT_CONFIG_GLOBAL replaces both."""
    only = environ.get("GIT_CONFIG_GLOBAL")
    if only is not None:
        return [Path(only)] if only else []
    home, xdg = environ.get("HOME"), environ.get("XDG_CONFIG_HOME")
    files = []
    if xdg or home:
        files.append((Path(xdg) if xdg else Path(home or "") / ".config") / "git" / "config")
    if home:
        files.append(Path(home) / ".gitconfig")
    return files


class _Loader:
    """Collects entries, following includes where they stand."""

    def __init__(self, place: Place) -> None:
        self.entries: list[Entry] = []
        self._place = place

    def file(self, path: Path, scope: Scope, depth: int = 0) -> None:
        """Add one file's entries; a file that is not there or may not be read adds none, as in git."""
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        except OSError as error:
            raise bad_config(str(path), error.strerror or "cannot be read") from error
        self.add(parse_text(data, str(path)), path, scope, depth)

    def add(self, entries: Iterator[RawEntry], path: Path | None, scope: Scope, depth: int) -> None:
        """Add entries, and behind each include what it brings."""
        for raw in entries:
            self.entries.append(Entry(scope, *raw))
            if raw.key == "path" and raw.section in {"include", "includeif"} and self._applies(raw, path):
                if depth >= _MAX_INCLUDE_DEPTH:
                    raise bad_config(str(path or "environment"), "includes go too deep, perhaps in a circle")
                self.file(self._included(raw.value, path), scope, depth + 1)

    def _included(self, value: str | None, path: Path | None) -> Path:
        if value is None:
            raise bad_config(str(path or "environment"), "an include names no file")
        target = Path(expand_path(value, self._place.environ))
        if target.is_absolute():
            return target
        if path is None:
            raise bad_config("environment", "a relative include must come from a file")
        return path.parent / target

    def _applies(self, raw: RawEntry, path: Path | None) -> bool:
        """Judge the condition of an ``includeIf``; an unknown one is false, so that new ones do no harm."""
        if raw.section == "include":
            return raw.subsection is None
        kind, colon, pattern = (raw.subsection or "").partition(":")
        if not colon:
            return False
        if kind in {"gitdir", "gitdir/i"}:
            return self._git_dir_matches(pattern, path, ignore_case=kind.endswith("/i"))
        if kind == "onbranch":
            branch = current_branch(self._place.git_dir)
            return branch is not None and matches(_whole_folder(pattern), branch)
        if kind == "hasconfig" and pattern.startswith("remote.*.url:"):
            return self._has_remote_url(pattern.removeprefix("remote.*.url:"))
        return False

    def _git_dir_matches(self, pattern: str, path: Path | None, *, ignore_case: bool) -> bool:
        git_dir = self._place.git_dir
        if git_dir is None:
            return False
        if pattern.startswith("~/") and (home := self._place.environ.get("HOME")):
            pattern = f"{Path(home).resolve()}{pattern[1:]}"
        pattern = expand_path(pattern, self._place.environ)
        prefix = ""
        if pattern.startswith("./"):
            if path is None:
                raise bad_config("environment", "a relative condition must come from a file")
            prefix = f"{path.parent.resolve()}/"
            pattern = pattern[2:]
        elif not pattern.startswith("/"):
            pattern = f"**/{pattern}"
        pattern = _whole_folder(pattern)
        for candidate in _names_of(git_dir, self._place.environ):
            start, rest = candidate[: len(prefix)], candidate[len(prefix) :]
            same_start = start.lower() == prefix.lower() if ignore_case else start == prefix
            if same_start and matches(pattern, rest, ignore_case=ignore_case):
                return True
        return False

    def _has_remote_url(self, pattern: str) -> bool:
        """Match any remote's URL of the whole configuration, read once more with conditions on URLs left out."""
        other = _UrlBlindLoader(self._place)
        place = self._place
        for file in system_files(place.environ):
            other.file(file, "system")
        for file in global_files(place.environ):
            other.file(file, "global")
        if place.common_dir is not None:
            other.file(place.common_dir / "config", "local")
            if place.git_dir is not None:
                other.file(place.git_dir / "config.worktree", "worktree")
        other.add(parse_environment(place.environ), None, "command", 0)
        return any(
            matches(pattern, entry.value or "")
            for entry in other.entries
            if entry.section == "remote" and entry.subsection and entry.key == "url"
        )


class _UrlBlindLoader(_Loader):
    """Reads without conditions on remote URLs, which would otherwise depend on themselves."""

    def _has_remote_url(self, pattern: str) -> bool:  # noqa: ARG002 - the answer is no for every pattern
        return False


def _whole_folder(pattern: str) -> str:
    """Let a pattern that ends in a slash match everything below."""
    return f"{pattern}**" if pattern.endswith("/") else pattern


def _names_of(git_dir: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the git directory's names that conditions may mean: without symbolic links, and as the user got there."""
    real = git_dir.resolve()
    yield str(real)
    yield os.path.abspath(git_dir)  # noqa: PTH100 - resolves no symbolic link, unlike pathlib
    here, logical = Path.cwd(), environ.get("PWD", "")
    if logical.startswith("/") and Path(logical).resolve() == here and real.is_relative_to(here):
        yield str(Path(logical) / real.relative_to(here))


def current_branch(git_dir: Path | None) -> str | None:
    """Return the checked-out branch's short name; None for a detached HEAD or no repository."""
    if git_dir is None:
        return None
    try:
        head = (git_dir / "HEAD").read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
    except OSError:
        return None
    name = head.removeprefix("ref:").strip()
    return name.removeprefix("refs/heads/") if head.startswith("ref:") and name.startswith("refs/heads/") else None


__all__ = [
    "Entry",
    "GitConfig",
    "RemoteConfigError",
    "current_branch",
    "expand_path",
    "load",
    "parse_bool",
    "parse_int",
]
