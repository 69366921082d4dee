"""What is measured on: bare repositories with any number of refs, clones, and upstream changes, made cheaply.

Nothing of the machine's own git configuration takes part, and nothing is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BRANCH = "main"
DATA = "data.json"


_MEMORY = Path("/dev/shm")


def in_memory() -> bool:
    """Tell whether files can be kept in memory, where a disk's moods do not count."""
    return os.access(_MEMORY, os.W_OK)


def fresh_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for repositories and clones, in memory where that can be.

    On a disk the creation of files gets slower after many have been deleted, which a benchmark does all the time.
    """
    return tempfile.TemporaryDirectory(dir=_MEMORY if in_memory() else None)


def environment(home: Path) -> dict[str, str]:
    """Return the environment of every process that is measured, git's and ours alike."""
    who = {"NAME": "Bench", "EMAIL": "bench@example.invalid"}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "USER": "bench",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **{f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in who.items()},
    }


def command() -> list[str]:
    """Return the words that start our command line: the installed script, as people run it."""
    script = Path(sys.executable).with_name("gitref-lock")
    return [str(script)] if script.exists() else [sys.executable, "-m", "gitref_lock"]


def run(words: list[str], cwd: Path, environ: Mapping[str, str], stdin: bytes = b"", *, check: bool = True) -> bytes:
    """Run a program and return its standard output; it must succeed unless ``check`` is off."""
    done = subprocess.run(words, cwd=cwd, env=dict(environ), input=stdin, capture_output=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)} exits {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class World:
    """One bare repository on the server, and how to work with it. ``url`` is where clients find it."""

    bare: Path
    url: str
    scratch: Path
    environ: Mapping[str, str]

    @classmethod
    def make(cls, served: Path, server_url: str, name: str, environ: Mapping[str, str], *, refs: int) -> World:
        """Make a bare repository with one commit on the branch and ``refs`` other refs."""
        bare = served / f"{name}.git"
        run(["git", "init", "-q", "--bare", "-b", BRANCH, str(bare)], served, environ)
        settings = "[http]\n\treceivepack = true\n[receive]\n\tautogc = false\n[core]\n\tlogAllRefUpdates = false\n"
        with (bare / "config").open("a", encoding="ascii") as config:
            config.write(settings)
        scratch = served.parent / f"{name}-work"
        scratch.mkdir()
        world = cls(bare, f"{server_url}/{bare.name}", scratch, environ)
        tree = world.tree({DATA: b'{\n "first": 1\n}\n', "README.md": b"first\n"})
        tip = world.git("commit-tree", "-m", "first", tree)
        world.git("update-ref", f"refs/heads/{BRANCH}", tip)
        if refs:
            lines = [f"{tip} refs/heads/topic/{number:06d}\n" for number in range(refs)]
            (bare / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + "".join(lines))
        return world

    def git(self, *words: str, stdin: bytes = b"") -> str:
        """Run git in the bare repository."""
        return run(["git", *words], self.bare, self.environ, stdin).decode().strip()

    def tree(self, files: Mapping[str, bytes]) -> str:
        """Store a tree of these root files."""
        blobs = {name: self.git("hash-object", "-w", "--stdin", stdin=data) for name, data in files.items()}
        return self.git("mktree", stdin="".join(f"100644 blob {oid}\t{name}\n" for name, oid in blobs.items()).encode())

    def clone(self, name: str) -> Path:
        """Return a fresh clone of the branch alone (unrelated refs would only slow git's own bookkeeping)."""
        folder = self.scratch / name
        words = ["git", "clone", "-q", "--single-branch", "--no-tags", "-b", BRANCH, self.url, str(folder)]
        run(words, self.scratch, self.environ)
        return folder

    def advance(self, count: int) -> str:
        """Move the branch ahead by ``count`` commits, each of one new file, without a client; return the tip."""
        tip = self.git("rev-parse", f"refs/heads/{BRANCH}")
        stream = [f"reset refs/heads/{BRANCH}\nfrom {tip}\n\n"]
        for number in range(count):
            name, text = f"up-{tip[:8]}-{number}.txt", f"{number}\n"
            stream.append(
                f"commit refs/heads/{BRANCH}\ncommitter Up <up@example.invalid> 1700000000 +0000\ndata 2\nup\n"
                f"M 100644 inline {name}\ndata {len(text)}\n{text}\n"
            )
        self.git("fast-import", "--quiet", stdin="".join(stream).encode())
        return self.git("rev-parse", f"refs/heads/{BRANCH}")
