"""One command's or library call's view: the repository here, the remote it uses, and what this clone remembers of it.

Everything is found as git finds it, and nothing is sent before it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from hashlib import sha256
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import LockName, Namespace
from gitref_lock.errors import UsageError
from gitref_lock.ports import System
from gitref_lock.remotes import open_store
from gitref_lock.remotes.gitconfig import GitConfig, current_branch, load
from gitref_lock.remotes.locate import find_repository, resolve
from gitref_lock.remotes.repository import RepositoryPaths, require_trusted
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.runtime.leasefile import Memory, Writer, state_folder
from gitref_lock.runtime.remote import Remote

DEFAULT_PREFIX = "refs/locks"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The folder a command runs in: the repository there (None: none), its configuration, and the environment."""

    folder: Path
    repo: RepositoryPaths | None
    config: GitConfig
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, folder: Path, environ: Mapping[str, str]) -> Surroundings:
        """Find the repository and read git's configuration; raise ConfigurationError for a broken or foreign one."""
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder", hint="name an existing folder with -C")
        repo = find_repository(folder, environ)
        if repo is None:
            return cls(folder, None, load(None, None, None, environ), environ)
        config = load(repo.git_dir, repo.common_dir, repo.work_tree, environ)
        require_trusted(repo, config, environ)
        return cls(folder, repo, config, environ)

    @property
    def top(self) -> Path | None:
        """The top of the work tree, None outside one."""
        return self.repo.work_tree if self.repo is not None else None

    @property
    def branch(self) -> str | None:
        """The checked-out branch, None for a detached HEAD or outside a repository."""
        return current_branch(self.repo.git_dir) if self.repo is not None else None


@dataclass(slots=True)
class Session:
    """One remote, ready for use. ``key`` names remote and namespace in what this clone remembers."""

    around: Surroundings
    spec: RemoteSpec
    remote: Remote
    memory: Memory
    writer: Writer

    @property
    def key(self) -> str:
        """The remote's address without credentials, and where its locks live."""
        return f"{self.spec.push_url} {self.remote.namespace.locks}"

    @property
    def place(self) -> str:
        """A short name for ``key`` that tells nothing of the address: for the environment of a wrapped command."""
        return sha256(self.key.encode()).hexdigest()[:16]

    def remember(self, names: tuple[LockName, ...] | None = None) -> None:
        """Keep the observations of these locks (None: of all seen), so that the next command goes on from here."""
        seen = self.remote.observations
        wanted = seen if names is None else {name: seen[name] for name in names if name in seen}
        self.memory.observe(self.key, wanted, self.remote.system.clock)

    def close(self) -> None:
        """End connections and processes."""
        self.remote.store.close()


def open_session(
    around: Surroundings,
    system: System,
    *,
    remote: str | None = None,
    ref_prefix: str | None = None,
    job: Mapping[str, str] | None = None,
    temp_dir: str = "",
) -> Session:
    """Resolve the remote and recall what this clone knows of it; nothing is sent.

    ``job`` is the CI job's identity (empty outside CI), ``temp_dir`` where a job outside a repository may keep files.
    Raises ConfigurationError for a remote that does not exist or cannot be used.
    """
    spec = resolve(remote, None, around.repo, around.config, around.environ, base=around.folder.absolute())
    engine = Remote(open_store(spec, system), system, Namespace(ref_prefix or DEFAULT_PREFIX))
    git_dir = around.repo.git_dir if around.repo is not None else None
    memory = Memory(state_folder(git_dir, around.environ, temp_dir))
    folder = str(around.top or around.folder.absolute())
    writer = Writer(dict(job or {}), "" if job else _login_session(system), folder)
    session = Session(around, spec, engine, memory, writer)
    engine.observations.update(memory.observations(session.key, system.clock))
    return session


def _login_session(system: System) -> str:
    """Return what tells two terminals or cron runs of one clone apart: the session's leader and when it started."""
    leader = os.getsid(0)
    try:
        started = (
            Path(f"/proc/{leader}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        started = ""
    return f"{system.clock.boot_id()} {leader} {started}"
