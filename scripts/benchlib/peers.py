"""The same operations done with the git command line, as a careful shell script would do them.

One process a step and no step that the operation does not need: where a script could save a read by trusting what it
did a moment ago, it does; whether a lock is free, it reads. Each write is ``push --atomic --force-with-lease`` from
the value that was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchlib.world import BRANCH, run


@dataclass(slots=True)
class GitCli:
    """A clone in which the git command line works a lock as ``lock_ref``. ``tip`` is the lock's last known state."""

    folder: Path
    url: str
    lock_ref: str
    environ: Mapping[str, str] = field(repr=False)
    tip: str = ""
    is_held: bool = False
    serial: int = 0

    def git(self, *words: str, stdin: bytes = b"") -> str:
        """Run one git process in the clone."""
        return run(["git", *words], self.folder, self.environ, stdin).decode().strip()

    def state(self, state: str) -> str:
        """Store a state of the lock: a blob, its tree, a parentless commit. Three processes."""
        self.serial += 1
        text = json.dumps({"state": state, "holder": "git", "serial": self.serial, "clone": self.folder.name})
        blob = self.git("hash-object", "-w", "--stdin", stdin=text.encode())
        tree = self.git("mktree", stdin=f"100644 blob {blob}\tlock.json\n".encode())
        return self.git("commit-tree", "-m", f"{state} {self.serial}", tree)

    def read_tip(self) -> str:
        """Return the lock's tip on the remote."""
        return self.git("ls-remote", self.url, self.lock_ref).partition("\t")[0]

    def write(self, state: str) -> None:
        """Replace the lock's state from the known tip."""
        new = self.state(state)
        lease = f"--force-with-lease={self.lock_ref}:{self.tip}"
        self.git("push", "-q", "--atomic", lease, self.url, f"{new}:{self.lock_ref}")
        self.tip, self.is_held = new, state == "held"

    def acquire(self) -> None:
        """Read the lock, since one that another holds must not be taken, and write the held state.

        A lock that was never seen is made: an empty lease needs no look.
        """
        if self.tip:
            if json.loads(self.inspect())["state"] != "free":
                raise RuntimeError("the lock is held")
            self.tip = (self.folder / ".git" / "FETCH_HEAD").read_text().split()[0]
        self.write("held")

    def renew(self) -> None:
        """Write the held state anew."""
        self.write("held")

    def release(self) -> None:
        """Write the free state; deleting the ref would be one process less, but removes a successor's lock."""
        self.write("free")

    def inspect(self) -> str:
        """Return the lock's record."""
        self.git("fetch", "-q", "--depth=1", "--no-tags", self.url, self.lock_ref)
        return self.git("cat-file", "-p", "FETCH_HEAD:lock.json")

    def push(self, message: str) -> None:
        """Commit everything, bring the branch up to date, land branch and lock in one transaction.

        From the lock's tip as it is found, on trust that it is free.
        """
        self._integrate(message)
        self.tip = self.read_tip()
        self._land("free")

    def land(self, message: str) -> None:
        """Do the same under the lock that is held, and keep it."""
        self._integrate(message)
        self._land("held")

    def _integrate(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        self.git("fetch", "-q", "--no-tags", "origin", BRANCH)
        self.git("rebase", "-q", "FETCH_HEAD")

    def _land(self, state: str) -> None:
        new = self.state(state)
        lease = f"--force-with-lease={self.lock_ref}:{self.tip}"
        self.git("push", "-q", "--atomic", lease, "origin", f"HEAD:refs/heads/{BRANCH}", f"{new}:{self.lock_ref}")
        self.tip = new
