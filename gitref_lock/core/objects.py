"""Git objects as bytes: just enough to build the commits that hold lock states and tickets.

Building them here, from the standard library alone, keeps the protocol pure (an object id is a function of the record)
and keeps lock commands from importing a git library (docs/decisions/0003-start-up.md).
Formats: gitformat-pack(5), git-hash-object(1), git-commit-tree(1).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import Enum

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid


class ObjectKind(Enum):
    """The four kinds of git object; the value is the word in the object's header."""

    COMMIT = "commit"
    TREE = "tree"
    BLOB = "blob"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Delta:
    """How an object's payload is made from that of ``base``, which the receiver has (gitformat-pack(5))."""

    base: Oid
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GitObject:
    """One git object: its kind and its payload (without header). ``oid`` is its SHA-1 id.

    ``delta`` is a shorter way to send it to a remote that has the base; it is no part of what the object is.
    """

    kind: ObjectKind
    data: bytes = field(repr=False)
    delta: Delta | None = field(default=None, repr=False, compare=False)
    oid: Oid = field(init=False)

    def __post_init__(self) -> None:
        """Compute the id once."""
        header = f"{self.kind.value} {len(self.data)}".encode() + b"\0"
        digest = hashlib.sha1(header + self.data, usedforsecurity=False).hexdigest()
        object.__setattr__(self, "oid", Oid(digest))


_UNSAFE_IDENT = re.compile(r"[\x00-\x1f\x7f<>]+")
_IDENT_EDGE = " .,:;\"'"


def clean_ident(text: str, fallback: str) -> str:
    """Return ``text`` fit for the name in a commit header, or ``fallback`` when nothing remains.

    Servers with receive.fsckObjects refuse angle brackets and line ends in a name; git itself strips edge punctuation.
    """
    return _UNSAFE_IDENT.sub(" ", text).strip(_IDENT_EDGE)[:100] or fallback


def build_tree(files: Mapping[str, GitObject]) -> GitObject:
    """Return the tree that holds plain files (mode 100644) under names without slashes."""
    body = b"".join(
        b"100644 " + name.encode() + b"\0" + bytes.fromhex(blob.oid) for name, blob in sorted(files.items())
    )
    return GitObject(ObjectKind.TREE, body)


def build_commit(
    *, tree: Oid, parents: Sequence[Oid], author_name: str, author_email: str, at_s: int, message: str
) -> GitObject:
    """Return a commit object; author and committer are the same, in UTC, ``at_s`` is a Unix second."""
    ident = f"{clean_ident(author_name, 'gitref-lock')} <{clean_ident(author_email, 'gitref-lock')}> {at_s} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {ident}", f"committer {ident}"]
    text = "\n".join(lines) + "\n\n" + message.rstrip("\n") + "\n"
    return GitObject(ObjectKind.COMMIT, text.encode("utf-8", "replace"))


def build_state_commit(
    files: Mapping[str, bytes], *, author_name: str, at_s: int, message: str, parents: Sequence[Oid] = ()
) -> tuple[GitObject, ...]:
    """Return commit, tree and blobs (commit first) of a self-contained state: a flat tree of ``files``."""
    blobs = {name: GitObject(ObjectKind.BLOB, data) for name, data in files.items()}
    tree = build_tree(blobs)
    commit = build_commit(
        tree=tree.oid,
        parents=parents,
        author_name=author_name,
        author_email="gitref-lock@localhost",
        at_s=at_s,
        message=message,
    )
    return (commit, tree, *blobs.values())
