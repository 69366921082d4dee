"""Real git for tests: a runner with a pinned environment, bare repositories, clones and cheap commits.

Pinned, so that nothing of the machine (user configuration, identity, prompts, language) can change a result.
"""

from __future__ import annotations

import os
import subprocess
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitref_lock.core.names import ZERO_OID, InvalidNameError, Oid, RefName, oid
from gitref_lock.core.objects import GitObject, ObjectKind, build_commit, build_tree

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Test Author",
    "GIT_AUTHOR_EMAIL": "author@example.invalid",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_NAME": "Test Committer",
    "GIT_COMMITTER_EMAIL": "committer@example.invalid",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


def git_env(home: Path | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which git depends on nothing but its arguments (and ``extra``)."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home) if home is not None else os.devnull,
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "gc.auto",
        "GIT_CONFIG_VALUE_0": "0",
        "GIT_CONFIG_KEY_1": "init.defaultBranch",
        "GIT_CONFIG_VALUE_1": "main",
        **_IDENTITY,
        **(extra or {}),
    }


def git_result(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run git and return what happened, whatever its exit code. ``env`` adds to the pinned environment."""
    return subprocess.run(
        ["git", *map(str, arguments)],
        cwd=cwd,
        env=git_env(extra=env),
        input=stdin if stdin is not None else b"",
        capture_output=True,
        check=False,
        timeout=120,
    )


def git(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> str:
    """Run git, which must succeed, and return its standard output without surrounding white space."""
    result = git_result(*arguments, cwd=cwd, env=env, stdin=stdin)
    if result.returncode != 0:
        raise AssertionError(f"git {arguments} exits {result.returncode}: {result.stderr.decode()}")
    return result.stdout.decode().strip()


@dataclass(frozen=True)
class Repo:
    """A repository on disk, bare or not."""

    path: Path

    def git(self, *arguments: str | Path, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> str:
        """Run git here; it must succeed."""
        return git(*arguments, cwd=self.path, env=env, stdin=stdin)

    def ref(self, name: str) -> Oid | None:
        """Return where the ref points, or None when it does not exist."""
        result = git_result("rev-parse", "--verify", "--quiet", name, cwd=self.path)
        return Oid(result.stdout.decode().strip()) if result.returncode == 0 else None

    def refs(self, prefix: str = "refs/") -> dict[RefName, Oid]:
        """Return all refs below ``prefix``."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        return {RefName(name): Oid(value) for name, value in (line.split(" ") for line in lines)}

    def has(self, object_id: str) -> bool:
        """Tell whether the object is stored here."""
        return git_result("cat-file", "-e", object_id, cwd=self.path).returncode == 0

    def store(self, *objects: GitObject) -> Oid:
        """Write objects as loose files, without running git; return the id of the first."""
        folder = self.path / "objects" if (self.path / "objects").is_dir() else self.path / ".git/objects"
        for item in objects:
            target = folder / item.oid[:2] / item.oid[2:]
            target.parent.mkdir(exist_ok=True)
            scratch = target.with_name(f"tmp_{os.getpid()}_{threading.get_ident()}_{item.oid}")
            scratch.write_bytes(zlib.compress(f"{item.kind.value} {len(item.data)}\0".encode() + item.data))
            scratch.replace(target)
        return objects[0].oid

    def blob(self, data: bytes) -> Oid:
        """Store a blob."""
        return self.store(GitObject(ObjectKind.BLOB, data))

    def commit(
        self, files: Mapping[str, bytes], *, parents: tuple[str, ...] = (), message: str = "change", at_s: int = 0
    ) -> Oid:
        """Store a commit of exactly these root files (no ref moves); parents are anything that git can resolve.

        ``at_s`` is added to a fixed date. Takes no process unless a parent has to be resolved.
        """
        blobs = {name: GitObject(ObjectKind.BLOB, data) for name, data in files.items()}
        tree = build_tree(blobs)
        commit = build_commit(
            tree=tree.oid,
            parents=[self.resolve(parent) for parent in parents],
            author_name=_IDENTITY["GIT_AUTHOR_NAME"],
            author_email=_IDENTITY["GIT_AUTHOR_EMAIL"],
            at_s=1_700_000_000 + at_s,
            message=message,
        )
        return self.store(commit, tree, *blobs.values())

    def resolve(self, revision: str) -> Oid:
        """Return the object id of ``revision``; a full id is taken as it is."""
        try:
            return oid(revision)
        except InvalidNameError:
            return Oid(self.git("rev-parse", "--verify", revision))

    def set_ref(self, name: str, value: str, *, expect: str | None = None) -> None:
        """Point a ref at ``value``; ``expect`` (``ZERO_OID``: absent) makes it a compare-and-swap."""
        self.git("update-ref", name, value, *([] if expect is None else [expect]))

    def delete_ref(self, name: str) -> None:
        """Delete a ref."""
        self.git("update-ref", "-d", name)

    def config(self, key: str, value: str) -> None:
        """Set a value of this repository's configuration."""
        self.git("config", key, value)

    def collect_garbage(self) -> None:
        """Drop every object that no ref reaches, at once."""
        self.git("reflog", "expire", "--expire=now", "--all")
        self.git("gc", "--quiet", "--prune=now")

    def fsck(self) -> None:
        """Fail unless the repository is sound: every object readable, every ref's closure complete."""
        result = git_result("fsck", "--full", "--strict", "--no-dangling", "--no-progress", cwd=self.path)
        if result.returncode != 0:
            raise AssertionError(f"fsck: {result.stderr.decode()}{result.stdout.decode()}")


def make_bare(path: Path, *, any_sha1: bool = True, with_commit: bool = True) -> Repo:
    """Make a bare repository that accepts pushes; with one commit on ``main`` unless told otherwise."""
    path.mkdir(parents=True)
    repo = Repo(path)
    repo.git("init", "--quiet", "--bare")
    settings = "[http]\n\treceivepack = true\n[core]\n\tlogAllRefUpdates = false\n[receive]\n\tautogc = false\n"
    if any_sha1:
        settings += "[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n"
    with (path / "config").open("a", encoding="ascii") as config:
        config.write(settings)
    if with_commit:
        repo.set_ref("refs/heads/main", repo.commit({"README.md": b"first\n"}, message="first"), expect=ZERO_OID)
    return repo


def clone(url: str, path: Path, *flags: str) -> Repo:
    """Clone with the git command line."""
    git("clone", "--quiet", *flags, url, path, cwd=path.parent)
    return Repo(path)
