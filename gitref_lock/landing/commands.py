"""Run the commands that a conflict policy may name: git's merge drivers, and ``regenerate:CMD``.

Both come from this machine's configuration or command line only; a rule that travelled is refused before it gets here
(docs/protocol.md, section 7). Neither sees or changes the index, the refs or the files of the work tree through this
code: a driver is given copies, ``regenerate`` a temporary folder that holds the merged tree.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Self

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commands_tree import TreeWriter
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.strategies.base import Merged, RunRequest, StrategyFailed
from gitref_lock.remotes import children

LIMIT_S = 300.0
"""The longest time that one command may take."""

_MARKER = b"<<<<<<< "
_TAIL_LINES = 3
_GIT_PLACE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")


@dataclass(slots=True)
class _Made:
    """The folder in which a command has run on a tree, or why it failed there."""

    folder: Path
    writer: TreeWriter
    failure: str | None = None


@dataclass(slots=True)
class LocalCommands:
    """The runner that a Policy is given (``strategies.base.Runner``). Use as a context manager.

    ``limit_s`` is the longest time that one command may take (None: no limit). One command runs once on one tree, even
    when several of its files are in conflict. ``fetch_missing`` brings the blobs that a partial clone lacks.
    """

    checkout: Checkout
    limit_s: float | None = LIMIT_S
    fetch_missing: Callable[[Sequence[Oid]], None] | None = None
    _made: dict[tuple[str, str], _Made] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove every temporary folder."""
        self.close()

    def close(self) -> None:
        """Remove every temporary folder."""
        while self._made:
            shutil.rmtree(self._made.popitem()[1].folder, ignore_errors=True)

    def __call__(self, request: RunRequest) -> Merged | StrategyFailed:
        """Answer one strategy; a command that cannot be run, fails or takes too long is a StrategyFailed."""
        try:
            return self._regenerate(request) if request.kind == "regenerate" else self._drive(request)
        except (LandingError, OSError) as error:
            return StrategyFailed(str(error))

    # regenerate

    def _regenerate(self, request: RunRequest) -> Merged | StrategyFailed:
        assert request.tree is not None
        key = (request.command, request.tree)
        if key not in self._made:
            self.close()  # the tree before was of another tip
            self._made[key] = self._make(request)
        made = self._made[key]
        if made.failure is not None:
            return StrategyFailed(made.failure)
        content = made.writer.read_back(request.path)
        if content is not None and _has_markers(content, request):
            return StrategyFailed(f"{request.command!r} left conflict markers")
        return Merged(content)

    def _make(self, request: RunRequest) -> _Made:
        folder = Path(tempfile.mkdtemp(prefix="gitref-lock-tree-"))
        try:
            writer = TreeWriter(self.checkout, folder / "tree", self.fetch_missing)
            assert request.tree is not None
            writer.write(request.tree.encode("ascii"))
            environ = {**self._environ(place=False), **_versions(request, folder)}
            command = ["sh", "-c", request.command]
            return _Made(folder, writer, self._run(command, folder / "tree", environ, repr(request.command)))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    # merge drivers

    def _drive(self, request: RunRequest) -> Merged | StrategyFailed:
        """Run a merge driver as gitattributes(5) says: %O base, %A ours and the result, %B theirs, %L and %P."""
        program = self.checkout.setting("merge", "driver", request.command)
        if not program:
            return StrategyFailed(f"git's configuration has no merge.{request.command}.driver")
        assert request.ours is not None
        assert request.theirs is not None
        with tempfile.TemporaryDirectory(dir=self.checkout.private_dir, prefix="driver-") as name:
            folder = Path(name)
            files = {"O": request.base or b"", "A": request.ours, "B": request.theirs}
            values = {"L": "7", "P": os.fsdecode(request.path), "S": "base", "X": "ours", "Y": "theirs"}
            for letter, data in files.items():
                (folder / letter).write_bytes(data)
                values[letter] = str(folder / letter)
            command = ["sh", "-c", _filled(program, values)]
            failure = self._run(command, self.checkout.work_tree, self._environ(place=True), request.command)
            if failure is not None:
                return StrategyFailed(failure)
            content = (folder / "A").read_bytes()
        if _has_markers(content, request):
            return StrategyFailed(f"the merge driver {request.command!r} left conflict markers")
        return Merged(content)

    # processes

    def _environ(self, *, place: bool) -> dict[str, str]:
        """Return the command's environment; without ``place`` nothing in it leads git back to this clone."""
        environ = {name: value for name, value in self.checkout.environ.items() if name not in _GIT_PLACE}
        return {**environ, "GIT_DIR": str(self.checkout.git_dir)} if place else environ

    def _run(self, command: list[str], folder: Path, environ: Mapping[str, str], name: str) -> str | None:
        """Run a command in a session of its own; return why it failed, None when it exited with 0."""
        try:
            done = children.run(
                command, folder=folder, environ=environ, merges_stderr=True, has_terminal=False, limit_s=self.limit_s
            )
        except TimeoutExpired:
            return f"{name} did not end within {self.limit_s:g} s"
        if done.returncode == 0:
            return None
        last = " / ".join(done.stdout.decode("utf-8", "replace").strip().splitlines()[-_TAIL_LINES:])
        return f"{name} exited with {done.returncode}{': ' + last if last else ''}"


def _filled(program: str, values: Mapping[str, str]) -> str:
    """Replace %O, %A and their like; each value is quoted for the shell, and %% is a percent sign."""
    parts: list[str] = []
    rest = program
    while rest:
        before, percent, rest = rest.partition("%")
        parts.append(before)
        if not percent:
            break
        letter, rest = rest[:1], rest[1:]
        if letter in values:
            parts.append("'" + values[letter].replace("'", "'\\''") + "'")
        else:
            parts.append("%" if letter == "%" else "%" + letter)
    return "".join(parts)


def _versions(request: RunRequest, folder: Path) -> dict[str, str]:
    """Write the versions of the file beside the tree and name them to the command."""
    environ = {"GITREF_LOCK_PATH": os.fsdecode(request.path)}
    for name, data in (("base", request.base), ("ours", request.ours), ("theirs", request.theirs)):
        if data is not None:
            (folder / name).write_bytes(data)
            environ[f"GITREF_LOCK_{name.upper()}"] = str(folder / name)
    return environ


def _has_markers(content: bytes, request: RunRequest) -> bool:
    """Tell whether a result holds conflict markers that no version had: such a file must never land."""
    if not any(line.startswith(_MARKER) for line in content.split(b"\n")):
        return False
    return not any(_MARKER in (version or b"") for version in (request.base, request.ours, request.theirs))
