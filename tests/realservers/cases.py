"""Refusals that real servers are made to say: how each is brought about, and what it must be taken for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.objects import GitObject, build_state_commit
from gitref_lock.core.refs import Absent, At, RefEdit, RefusalKind, Role
from gitref_lock.testing.contract_kit import create, lock, state, update
from tests.realservers.serving import Served
from tests.support.gitcli import Repo

_NOISE = hashlib.shake_256(b"noise").digest(9 << 20)  # a megabyte more than the web server takes, and not packable
HUGE = build_state_commit({"noise": _NOISE}, author_name="contract", at_s=1_700_000_000, message="huge")
ONE, TWO, THREE = state("one"), state("two"), state("three")


@dataclass(frozen=True)
class Case:
    """A swap that is refused. ``kind`` None: a lost race, which only a read can tell. ``exit_code`` as commands end.

    ``may_hang_up``: the server sometimes ends the connection instead of answering, which proves nothing.
    """

    edits: Sequence[RefEdit]
    objects: Sequence[GitObject]
    kind: RefusalKind | None
    exit_code: int = 8
    prepare: Callable[[Repo], None] = lambda repo: None
    is_missing: bool = False
    may_hang_up: bool = False

    def request_for(self, served: Served) -> Served:
        """Return the repository to ask for; of a missing one only the address is different."""
        if not self.is_missing:
            return served
        return Served(served.service, served.repo, served.service.address("nothing-here.git"))


def _have(*names: str) -> Callable[[Repo], None]:
    """Return what stores state two and points these locks at it."""

    def prepare(repo: Repo) -> None:
        repo.store(*TWO)
        for name in names:
            repo.set_ref(lock(name), TWO[0].oid)

    return prepare


def _hook(name: str, words: str) -> Callable[[Repo], None]:
    """Return what installs a hook that declines with these words."""

    def prepare(repo: Repo) -> None:
        hook = repo.path / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n", encoding="ascii")
        hook.chmod(0o755)

    return prepare


def _no_room(repo: Repo) -> None:
    """Put a file where packs are to be kept: a disk that takes no more, whoever the server runs as."""
    repo.config("receive.unpackLimit", "1")
    packs = repo.path / "objects" / "pack"
    packs.rmdir()
    packs.write_bytes(b"")


def _branch(new: Sequence[GitObject], old: Oid | None = None) -> RefEdit:
    return RefEdit(RefName("refs/heads/side"), Absent() if old is None else At(old), new[0].oid, Role.BRANCH)


STALE: Mapping[str, Case] = {
    "stale-create": Case([create("a", ONE)], ONE, None, prepare=_have("a")),
    "stale-update": Case([update("a", ONE, THREE)], THREE, None, prepare=_have("a")),
    "stale-atomic": Case([_branch(THREE), update("a", ONE, THREE)], THREE, None, prepare=_have("a")),
    "absent-update": Case([update("gone", ONE, THREE)], THREE, None),
}
"""Lost races. The words differ between servers and versions, and decide nothing."""

COLLISION = {
    "collision": Case([create("a/b", ONE)], ONE, RefusalKind.NAME_COLLISION, 3, prepare=_have("a")),
}

GIT: Mapping[str, Case] = {
    **STALE,
    **COLLISION,
    "hidden": Case(
        [create("a", ONE)],
        ONE,
        RefusalKind.NAMESPACE,
        prepare=lambda repo: repo.config("receive.hideRefs", "refs/locks"),
    ),
    "update-hook": Case([create("a", ONE)], ONE, RefusalKind.POLICY, prepare=_hook("update", "not today")),
    "pre-receive-hook": Case([create("a", ONE)], ONE, RefusalKind.POLICY, prepare=_hook("pre-receive", "not today")),
    "protected-branch": Case(
        [_branch(ONE)], ONE, RefusalKind.POLICY, prepare=_hook("pre-receive", "GH006: Protected branch update failed")
    ),
    "no-storage": Case([create("a", ONE)], ONE, RefusalKind.STORAGE, 3, prepare=_no_room),
    "max-size": Case(
        [create("a", state("heavy", size=60_000))],
        state("heavy", size=60_000),
        RefusalKind.QUOTA,
        prepare=lambda repo: repo.config("receive.maxInputSize", "10k"),
    ),
}

MISSING = {"no-repository": Case([create("a", ONE)], ONE, RefusalKind.NOT_FOUND, 3, is_missing=True)}

CASES: Mapping[str, Mapping[str, Case]] = {
    "nginx": {
        **GIT,
        **MISSING,
        "too-large": Case([create("a", HUGE)], HUGE, RefusalKind.QUOTA),
        "pushing-off": Case(
            [create("a", ONE)],
            ONE,
            RefusalKind.PERMISSION,
            3,
            prepare=lambda repo: repo.config("http.receivepack", "false"),
        ),
    },
    # The CGI program ends before it has read the request; whether Apache passes its answer on is a matter of luck.
    "apache": {**STALE, "no-repository": replace(MISSING["no-repository"], may_hang_up=True)},
    "git-daemon": {
        **STALE,
        **MISSING,
        "pushing-off": Case(
            [create("a", ONE)],
            ONE,
            RefusalKind.PERMISSION,
            3,
            prepare=lambda repo: repo.config("daemon.receivepack", "false"),
        ),
    },
    "sshd": {"stale-create": STALE["stale-create"], **MISSING},
    "gitolite": {
        "stale-create": STALE["stale-create"],
        "no-repository": Case([create("a", ONE)], ONE, RefusalKind.PERMISSION, 3, is_missing=True),
    },
    "gitolite-branches": {
        "denied-ref": Case([create("a", ONE)], ONE, RefusalKind.PERMISSION, 3),
        "denied-atomic": Case([_branch(ONE), create("a", ONE)], ONE, RefusalKind.PERMISSION, 3),
    },
    "gitolite-readonly": {"read-only": Case([create("a", ONE)], ONE, RefusalKind.PERMISSION, 3)},
    "jgit": {**STALE, **COLLISION},
}
"""What each server is asked to refuse."""
