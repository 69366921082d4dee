"""How a copy of a commit is known that another runner made of it: by what a replay keeps.

That is author, author date and message, but for the line with which its committer may name itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit

from gitref_lock.core.names import Oid
from gitref_lock.landing.graph import commit_of

Likeness = tuple[bytes, int, int, bytes]


def likenesses(store: BaseObjectStore, commits: Iterable[Oid]) -> set[Likeness]:
    """Return what copies of these commits have in common with them."""
    found = (commit_of(store, oid) for oid in commits)
    return {_likeness(commit, commit.message.rstrip()) for commit in found if commit is not None}


def is_like(commit: Commit, wanted: Collection[Likeness]) -> bool:
    """Tell whether a commit is one of ``wanted``, or a copy of one to which its committer has added its own name."""
    message = commit.message.rstrip()
    if _likeness(commit, message) in wanted:
        return True
    head, _, last = message.rpartition(b"\n")
    return last.endswith(b": " + commit.committer) and _likeness(commit, head.rstrip()) in wanted


def _likeness(commit: Commit, message: bytes) -> Likeness:
    return (commit.author, commit.author_time, commit.author_timezone, message)
