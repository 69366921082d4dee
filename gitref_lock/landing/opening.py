"""Open a repository with the library, tolerant where git is and refusing where it must."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dulwich.config import ConfigFile
from dulwich.errors import NotGitRepository
from dulwich.objects import Commit
from dulwich.repo import InvalidWorktreeConfiguration, Repo, UnsupportedExtension, UnsupportedVersion

from gitref_lock.core.names import ZERO_OID, Oid
from gitref_lock.landing import discovery
from gitref_lock.landing.errors import LandingError, NotARepositoryError, UnsupportedRepositoryError
from gitref_lock.landing.hardening import LOOSE_OBJECT, hardened
from gitref_lock.landing.object_store import SturdyObjectStore
from gitref_lock.remotes.gitconfig import load, parse_bool, parse_int

_HARMLESS_EXTENSIONS = frozenset({b"partialclone", b"preciousobjects", b"noop", b"noop-v1"})
_NUMBERS = frozenset({b"compression", b"loosecompression", b"maxtreedepth", b"indexversion"})
_BOOLEANS = frozenset({b"bare", b"commitgraph", b"multipackindex", b"fsyncobjectfiles"})
_UNUSED = frozenset(
    {
        *(b"bigfilethreshold", b"packedgitlimit", b"deltabasecachelimit", b"deltawindowsize", b"windowmemory"),
        *(b"deltacachesize", b"depth", b"threads", b"writebitmaps", b"writebitmaphashcache", b"writebitmaplookuptable"),
    }
)
"""How packs are made and how much memory git may take: the library would misread it, and nothing here needs it."""


class TolerantRepo(Repo):
    """dulwich's repository, but tolerant of extensions that change nothing here."""

    _config: ConfigFile | None = None

    def get_config(self) -> ConfigFile:
        """Return ``.git/config`` in the words that the base class reads: git knows more extensions, booleans and units.

        It is read once: the base class asks for it again and again, for one setting each time.
        """
        if self._config is None:
            self._config = self._read_config()
        return self._config

    def _read_config(self) -> ConfigFile:
        config = super().get_config()
        for words in ((b"core",), (b"pack",), (b"repack",)):
            _put_plainly(config, words)
        section = (b"extensions",)
        harmless = {
            name: value
            for name, value in config.items(section)
            if name.lower() in _HARMLESS_EXTENSIONS or (name.lower() == b"refstorage" and value == b"files")
        }
        if harmless:
            kept = [(name, value) for name, value in config.items(section) if name not in harmless]
            del config[section]
            for name, value in kept:
                config.add(section, name, value)
        return config

    def log(self, name: bytes, old: Oid | None, new: Oid, commit: Commit, note: bytes) -> None:
        """Add one line to a reflog."""
        before = (old or ZERO_OID).encode("ascii")
        self._write_reflog(
            name, before, new.encode("ascii"), commit.committer, commit.commit_time, commit.commit_timezone, note
        )


def _put_plainly(config: ConfigFile, section: tuple[bytes]) -> None:
    """Rewrite one section's numbers and booleans as digits and ``true`` or ``false``; raise RemoteConfigError."""
    for name in {name.lower() for name, _ in config.items(section)}:
        value = config.get(section, name).decode("utf-8", "replace")
        label = f"{section[0].decode()}.{name.decode('utf-8', 'replace')}"
        if name in _NUMBERS:
            config.set(section, name, str(parse_int(value, label)))
        elif name in _BOOLEANS:
            config.set(section, name, parse_bool(value, label))
        elif name in _UNUSED:
            del config[section][name]


def open_repository(place: discovery.Place, start: Path, environ: Mapping[str, str]) -> TolerantRepo:
    work_tree = place.work_tree
    try:
        config = load(place.git_dir, _common_dir(place.git_dir, environ), work_tree, environ)
        if config.get("core", None, "worktree"):
            if not environ.get("GIT_WORK_TREE"):
                work_tree = None  # the library reads the setting
        elif config.get_bool("core", None, "bare") and not environ.get("GIT_WORK_TREE"):
            if work_tree is not None and not (place.git_dir / "commondir").exists():
                raise NotARepositoryError("no-work-tree", f"{place.git_dir} is a bare repository")
        elif place.is_explicit and work_tree is None:
            work_tree = start.resolve()
        repo = TolerantRepo(
            controldir=str(place.git_dir),
            worktree=str(work_tree) if work_tree else None,
            commondir=environ.get("GIT_COMMON_DIR"),
            object_directory=environ.get("GIT_OBJECT_DIRECTORY"),
        )
        repo.object_store = _sturdy(repo)
        repo.object_store.fsync_object_files = LOOSE_OBJECT in hardened(config)
    except NotGitRepository as error:
        raise NotARepositoryError("not-a-repository", f"no git repository: {error}") from error
    except (UnsupportedVersion, UnsupportedExtension) as error:
        raise UnsupportedRepositoryError(
            "unsupported-repository", f"this repository's format is not supported: {error}"
        ) from error
    except (ValueError, InvalidWorktreeConfiguration) as error:
        raise LandingError("bad-git-config", f"git's configuration cannot be read: {error}") from error
    return repo


def _sturdy(repo: TolerantRepo) -> SturdyObjectStore:
    """Return the store that writes without lock files, over the same folder."""
    plain = repo.object_store
    store = SturdyObjectStore.from_config(plain.path, repo.get_config(), shared_perm=plain.shared_perm)
    assert isinstance(store, SturdyObjectStore)
    store.object_format = plain.object_format
    plain.close()
    return store


def _common_dir(git_dir: Path, environ: Mapping[str, str]) -> Path:
    named = environ.get("GIT_COMMON_DIR")
    if named:
        return Path(named)
    try:
        return Path(os.path.realpath(git_dir / (git_dir / "commondir").read_text(encoding="utf-8").strip()))
    except FileNotFoundError:
        return git_dir
