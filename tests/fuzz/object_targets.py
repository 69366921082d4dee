"""Commits and trees that others made: what a combiner vets before it lands them, and what a reader takes apart.

An input is a commit, then trees, then files, separated. ``@`` and a digit in the commit stands for the id of that part
in hex, in a tree for its 20 bytes; so a mutation does not break every link.
"""

from __future__ import annotations

import re

from dulwich.object_store import MemoryObjectStore
from dulwich.objects import S_IFGITLINK, Commit, Tree

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.landing.vetting import UnfitError, vet
from gitref_lock.remotes.packs import PackedObject
from gitref_lock.remotes.store import stored_commit
from tests.fuzz.promise import SEPARATOR, hold

ROOM = 1 << 20
_NUMBERS = {ObjectKind.COMMIT: 1, ObjectKind.TREE: 2, ObjectKind.BLOB: 3, ObjectKind.TAG: 4}
_LINK = re.compile(rb"@([0-9])")


class Raw(MemoryObjectStore):
    """Objects as they are, however malformed."""

    def __init__(self, objects: list[GitObject]) -> None:
        """Keep these."""
        super().__init__()
        self.raw = {one.oid.encode(): (_NUMBERS[one.kind], one.data) for one in objects}

    def get_raw(self, name: object) -> tuple[int, bytes]:
        """Return an object's type and bytes."""
        return self.raw[bytes(name)]  # type: ignore[call-overload]  # an object id

    def __contains__(self, name: object) -> bool:
        """Tell whether an object is here."""
        return name in self.raw


def _made(data: bytes) -> list[GitObject]:
    """Return the commit, then all other objects; later parts are made first, so that earlier ones can name them."""
    parts = data.split(SEPARATOR)[:10]
    made: dict[int, GitObject] = {}
    for index in range(len(parts) - 1, -1, -1):
        kind = ObjectKind.COMMIT if index == 0 else ObjectKind.BLOB
        text = parts[index]
        if index and text.startswith(b"tree\n"):
            kind, text = ObjectKind.TREE, text[5:]

        def link(found: re.Match[bytes], kind: ObjectKind = kind) -> bytes:
            one = made.get(int(found[1]))
            if one is None:
                return found[0]
            return one.oid.encode() if kind is ObjectKind.COMMIT else bytes.fromhex(one.oid)

        made[index] = GitObject(kind, text if kind is ObjectKind.BLOB else _LINK.sub(link, text))
    return [made[index] for index in sorted(made)]


def objects(data: bytes) -> None:
    """Any commit is fit to be landed for its author, or an UnfitError; what is fit is what git itself would write."""
    made = _made(data)
    commit = made[0]
    found = stored_commit(commit.oid, {one.oid: PackedObject(one.kind, one.data) for one in made})
    if found is not None:
        hold(found.oid == commit.oid and found.message is not None, "a commit that is read is that commit")
    try:
        vet(Raw(made), [commit.oid], max_bytes=ROOM)
    except UnfitError as error:
        hold(0 < len(error.message) < 1000, "an unfit change says why")
        return
    Commit.from_string(commit.data).check()
    for one in made[1:]:
        if one.kind is ObjectKind.TREE and _is_in(one.oid, commit, made):
            Tree.from_string(one.data).check()
            names = [name.lower() for name, _, _ in Tree.from_string(one.data).iteritems()]
            hold(b".git" not in names and b"git~1" not in names, "no folder of git's own")


def _is_in(oid: Oid, commit: GitObject, made: list[GitObject]) -> bool:
    """Tell whether a tree is reached from the commit; a submodule's entry names no object of this repository."""
    by_oid = {one.oid: one for one in made}
    pending, seen = [Oid(commit.data[5:45].decode("ascii", "replace"))], set()
    while pending:
        at = pending.pop()
        one = by_oid.get(at)
        if at in seen or one is None or one.kind is not ObjectKind.TREE:
            continue
        seen.add(at)
        items = Tree.from_string(one.data).iteritems()
        pending += [Oid(sha.decode()) for _, mode, sha in items if mode != S_IFGITLINK]
    return oid in seen
