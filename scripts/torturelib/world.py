"""Where a round takes place: a bare repository that notes every move of a ref, clones, and the environment of all.

The note is written by a ``reference-transaction`` hook (githooks(5)): one file a transaction, named by the instant at
which git had moved the refs. Nothing of the product takes part in it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "TORTURE_ROUND"
"""The variable by which processes of a round are found again."""

_HOOK = """#!/bin/sh
[ "$1" = committed ] || exit 0
name="$GIT_DIR/moves/$(date +%s%N)-$$"
cat > "$name.new" && mv "$name.new" "$name"
"""


class GitError(RuntimeError):
    """Git did not do what this harness needs of it."""


@dataclass(frozen=True, slots=True)
class World:
    """The folder of one round. ``url`` is where clients find the repository, ``extra`` what they need for that."""

    folder: Path
    bare: Path
    url: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def environ(self, who: str = "torture") -> dict[str, str]:
        """Return the environment of a process: nothing of this machine's configuration plays a part."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "USER": who,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": str(self.folder / "tmp"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": who,
            "GIT_AUTHOR_EMAIL": f"{who}@example.invalid",
            "GIT_COMMITTER_NAME": who,
            "GIT_COMMITTER_EMAIL": f"{who}@example.invalid",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            MARK: str(self.folder),
            **self.extra,
        }

    def clone(self, name: str) -> Path:
        """Return a clone's folder."""
        return self.folder / "clones" / name

    def job(self, name: str) -> Path:
        """Return the folder for what one process says and is told."""
        return self.folder / "jobs" / name

    def result(
        self, *words: str | Path, cwd: Path, who: str = "torture", stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git and return what happened."""
        return subprocess.run(
            ["git", *map(str, words)],
            cwd=cwd,
            env=self.environ(who),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )

    def git(self, *words: str | Path, cwd: Path | None = None, who: str = "torture", stdin: bytes = b"") -> str:
        """Run git, in the bare repository unless told otherwise; it must succeed."""
        done = self.result(*words, cwd=cwd or self.bare, who=who, stdin=stdin)
        if done.returncode:
            raise GitError(f"git {' '.join(map(str, words))} exits {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def make(self) -> None:
        """Create the repository with one commit of the shared file, and let it note every move from then on."""
        for name in ("clones", "jobs", "tmp"):
            (self.folder / name).mkdir(parents=True)
        self.bare.mkdir()
        self.git("init", "-q", "--bare", "-b", "main")
        settings = "[http]\n\treceivepack = true\n[receive]\n\tautogc = false\n[gc]\n\tauto = 0\n"
        with (self.bare / "config").open("a", encoding="ascii") as config:
            config.write(settings)
        blob = self.git("hash-object", "-w", "--stdin", stdin=b"{}\n")
        tree = self.git("mktree", stdin=f"100644 blob {blob}\tdata.json\n".encode())
        (self.bare / "moves").mkdir()
        hook = self.bare / "hooks" / "reference-transaction"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(_HOOK, encoding="ascii")
        hook.chmod(0o755)
        self.git("update-ref", "refs/heads/main", self.git("commit-tree", "-m", "first", tree))

    def make_clone(self, name: str, *, is_shallow: bool = False) -> Path:
        """Clone it, from the disk: only what is tested goes through the server."""
        folder = self.clone(name)
        depth = ["--depth", "1"] if is_shallow else []
        self.git("clone", "-q", "--no-hardlinks", *depth, f"file://{self.bare}", folder, cwd=self.folder)
        self.git("remote", "set-url", "origin", self.url, cwd=folder)
        self.git("config", "gc.auto", "0", cwd=folder)
        return folder


def add_key(clone: Path, key: str) -> None:
    """Set a key of the clone's shared file, and write a file of the key's own; ValueError when the file is torn."""
    path = clone / "data.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data[key] = key
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (clone / f"{key}.txt").write_text(f"{key}\n", encoding="utf-8")
