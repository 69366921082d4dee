"""``hook pre-receive``: the enforcement hook, to be called from a server repository's own pre-receive hook."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli.command import Run
from gitref_lock.cli.declare import Argument, Option
from gitref_lock.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from gitref_lock.core.names import Oid
    from gitref_lock.insight.enforce import Repository, Update
    from gitref_lock.ports import StoredCommit

Kind = Annotated[str, Argument(metavar="pre-receive", help="Which hook this is; only pre-receive is known.")]
Require = Annotated[
    list[str] | None,
    Option(
        "--require",
        envvar="GITREF_LOCK_REQUIRE",
        metavar="GLOB",
        help="These branches need a lock even while it does not exist yet.",
    ),
]


def hook(run: Run, kind: Kind, require: Require = None) -> None:
    """Refuse pushes that move a branch past its lock; to be called from a server repository's hooks/pre-receive."""
    from gitref_lock.core.names import Namespace
    from gitref_lock.insight.enforce import Rules, problems

    if kind != "pre-receive":
        raise UsageError(f"there is no hook {kind!r}; only pre-receive is known")
    rules = Rules(Namespace(run.settings.ref_prefix or Namespace().locks), tuple(require or ()))
    found = problems(_updates(), _repository(), rules)
    if found:
        raise PolicyError("; ".join(found), code="not-through-the-lock")


def _updates() -> list[Update]:
    from gitref_lock.core.names import InvalidNameError, oid
    from gitref_lock.insight.enforce import Update

    updates = []
    for line in sys.stdin.buffer.read().decode("utf-8", "replace").splitlines():
        old, _, rest = line.partition(" ")
        new, _, ref = rest.partition(" ")
        try:
            updates.append(Update(oid(old), oid(new), ref))
        except InvalidNameError as error:
            raise UsageError(f"this is not what git passes to a pre-receive hook: {error}") from error
    return updates


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    # The hook's own environment is kept: it names the repository and the quarantine with the pushed objects.
    return subprocess.run(["git", *words], capture_output=True, check=False)


def _repository() -> Repository:
    from gitref_lock.core.names import Oid
    from gitref_lock.insight.enforce import Repository

    def resolve(ref: str) -> Oid | None:
        done = _git("rev-parse", "--verify", "--quiet", ref)
        return Oid(done.stdout.decode().strip()) if done.returncode == 0 else None

    def is_ancestor(older: Oid, newer: Oid) -> bool:
        return _git("merge-base", "--is-ancestor", older, newer).returncode == 0

    hidden = [
        word.strip().rstrip("/")
        for key in ("receive.hideRefs", "transfer.hideRefs")
        for word in _git("config", "--get-all", key).stdout.decode("utf-8", "replace").splitlines()
    ]
    return Repository(_read, resolve, is_ancestor, tuple(word for word in hidden if word[:1] not in {"!", "^", ""}))


def _read(oid: Oid) -> StoredCommit | None:
    """Return a commit with the small files at the root of its tree, by plain git."""
    from gitref_lock.core.names import Oid
    from gitref_lock.core.record import READ_LIMIT
    from gitref_lock.ports import StoredCommit

    raw = _git("cat-file", "commit", oid)
    if raw.returncode:
        return None
    head, _, message = raw.stdout.partition(b"\n\n")
    parents = [Oid(line[7:].decode()) for line in head.split(b"\n") if line.startswith(b"parent ")]
    files: dict[str, bytes] = {}
    for entry in _git("ls-tree", "-z", "--long", f"{oid}^{{tree}}").stdout.split(b"\0"):
        meta, _, name = entry.partition(b"\t")
        words = meta.split()
        if len(words) == 4 and words[1] == b"blob" and int(words[3]) <= READ_LIMIT:
            files[name.decode("utf-8", "replace")] = _git("cat-file", "blob", words[2].decode()).stdout
    return StoredCommit(oid, tuple(parents), message.decode("utf-8", "replace"), files)
