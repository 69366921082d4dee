"""Checkouts as CI makes them, a remote that moves on, and pushes from them that must leave everything sound."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.workspace import Selection
from gitref_lock.pushing import PushOptions, PushReport, push
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import Remote
from tests.support.gitcli import Repo, git_env, make_bare
from tests.support.runners import holder, remote_at

Content = bytes | str | None
Files = Mapping[Any, Content]
"""Content by path, which is a text or bytes."""

Entry = bytes | str | tuple[str, bytes] | None
"""Content of a plain file, (mode, content) of another entry, or None for a deletion."""


def _quoted(path: str | bytes) -> bytes:
    raw = path if isinstance(path, bytes) else path.encode()
    return (
        b'"'
        + b"".join(b"\\%03o" % byte if byte > 126 or byte < 32 or byte in b'"\\' else bytes([byte]) for byte in raw)
        + b'"'
    )


def advance(
    repo: Repo,
    files: Mapping[Any, Entry],
    message: str = "theirs",
    branch: str = "main",
    *,
    orphan: bool = False,
) -> str:
    """Add one commit to a branch of ``repo`` without a work tree; return its id."""
    ref = f"refs/heads/{branch}"
    lines = [f"commit {ref}\ncommitter Somebody <else@example.invalid> 1700001000 +0000\n".encode()]
    lines.append(b"data %d\n%s\n" % (len(message.encode()), message.encode()))
    if repo.ref(ref) is not None and not orphan:
        lines.append(f"from {ref}^0\n".encode())
    for path, entry in files.items():
        if entry is None:
            lines.append(b"D %s\n" % _quoted(path))
            continue
        mode, content = entry if isinstance(entry, tuple) else ("100644", entry)
        if mode == "160000":
            assert isinstance(content, bytes)
            lines.append(b"M 160000 %s %s\n" % (content, _quoted(path)))
            continue
        data = content if isinstance(content, bytes) else content.encode()
        lines.append(b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), _quoted(path), len(data), data))
    repo.git("fast-import", "--quiet", "--force", stdin=b"".join(lines))
    return str(repo.git("rev-parse", ref))


def served(root: Path, files: Mapping[Any, Entry], *, history: int = 3) -> Repo:
    """Make ``repo.git`` below ``root`` with ``history`` commits, the last of which has ``files``."""
    bare = make_bare(root / "repo.git", with_commit=False)
    for number in range(1, history):
        advance(bare, {"history.txt": f"{number}\n"}, f"old {number}")
    advance(bare, files, "base")
    return bare


def write(clone: Repo, files: Files) -> None:
    """Write or delete files of a work tree."""
    import os

    for name, content in files.items():
        path = Path(os.fsdecode(os.fsencode(clone.path) + b"/" + (name if isinstance(name, bytes) else name.encode())))
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def land(
    clone: Repo,
    url: str,
    *paths: str | bytes,
    message: str = "mine",
    env: Mapping[str, str] | None = None,
    remote: Remote | None = None,
    **options: object,
) -> PushReport:
    """Push from ``clone`` in this process: ``paths``, or everything that changed."""
    remote = remote or remote_at(url)
    raw = tuple(path if isinstance(path, bytes) else path.encode() for path in paths)
    defaults: dict[str, object] = {
        "holder": holder("runner"),
        "selection": Selection(raw, takes_all=not raw),
        "wish": CommitWish((message,)),
        "remote_name": "origin",
        "wait_s": 120.0,
    }
    with Checkout.open(clone.path, git_env(extra=env)) as checkout:
        wanted = PushOptions(**{**defaults, **options})  # type: ignore[arg-type]  # keywords of a dataclass
        return push(remote, checkout, wanted, Deadline.after(remote.system, 300.0))


def content(bare: Repo, path: str, branch: str = "main") -> bytes:
    """Return the exact bytes of a file on the remote."""
    from tests.support.gitcli import git_result

    done = git_result("cat-file", "blob", f"{branch}:{path}", cwd=bare.path)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def strategies(report: PushReport) -> list[object]:
    """Return the strategies that decided conflicts."""
    return [item["strategy"] for item in report.landed.conflicts] if report.landed is not None else []


def assert_sound(clone: Repo) -> None:
    """Check that git finds nothing wrong and nothing half done: objects, locks, index against files."""
    clone.fsck()
    clone.git("update-index", "-q", "--really-refresh")
    folder = Path(clone.git("rev-parse", "--absolute-git-dir"))
    assert not list(folder.glob("*.lock"))
    left = {item.name for item in (folder / "gitref-lock").iterdir()}
    # What edits stand on is kept as long as a file is edited here that the remote has changed.
    assert left <= {"busy", "edited.json"}, left
    assert "edited.json" not in left or clone.git("status", "--porcelain") != ""


@dataclass(frozen=True)
class Picture:
    """Everything of a clone that must not change when a push fails."""

    index: bytes
    files: Mapping[str, str]
    refs: Mapping[str, str]
    head: str
    stash: str


def picture(clone: Repo) -> Picture:
    """Return index bytes, every file's mode and bytes, every ref, HEAD and the stash of a clone."""
    git_dir = Path(clone.git("rev-parse", "--absolute-git-dir"))
    files = {}
    for path in sorted(clone.path.rglob("*")):
        relative = path.relative_to(clone.path)
        if relative.parts[0] == ".git":
            continue
        status = path.lstat()
        body = str(path.readlink()) if path.is_symlink() else path.read_bytes().hex() if path.is_file() else ""
        files[str(relative)] = f"{status.st_mode:o} {hashlib.sha256(body.encode()).hexdigest()}"
    index = git_dir / "index"
    return Picture(
        index.read_bytes() if index.exists() else b"",
        files,
        {str(name): str(value) for name, value in clone.refs().items()},
        (git_dir / "HEAD").read_text(),
        clone.git("stash", "list"),
    )
