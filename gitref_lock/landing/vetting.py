"""What of a stranger's commits may be landed for them: only what `git fsck --strict` passes, and nothing that hurts.

A server that does not check objects accepts trees with a ``.git`` folder, with names twice or out of order. Whoever
lands such a change for its author would carry it onto the branch and into every clone. The same holds for objects so
deep or so large that they exhaust the runner that replays them. What is unfit is left to its author
(docs/protocol.md, section 8; git-fsck(1), "FSCK MESSAGES").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID

from gitref_lock.core.names import Oid
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.unsafe_names import is_dotgit, is_gitmodules, spellings

MAX_DEPTH = 100
"""Folders within each other. Replay and sending recurse; no path that any system can check out is deeper."""

MAX_NAME = 4096
MAX_ATTRIBUTES_LINE = 2048

_COMMIT, _TREE, _BLOB = 1, 2, 3
_IDENT = rb"[^<>\n]* <[^<>\n]*> (?:0|[1-9][0-9]{0,17}) [+-][0-9]{4}\n"
_HEADER = re.compile(
    rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author (?!<)%b"
    rb"committer (?!<)%b(?:(?!author |committer |parent |tree )[^ \n]+ [^\n]*\n(?: [^\n]*\n)*)*\n" % (_IDENT, _IDENT)
)
_ENTRY = re.compile(rb"(40000|100644|100755|120000|160000) ([^\0/]+)\0")
_ATTRIBUTES = re.compile(
    rb"(?:\.gitattributes|gitatt~[1-4]|g(?:i(?:7(?:d(?:29?)?)?)?)?~[1-9]\d*)[. ]*(?:\Z|[\\:])", re.IGNORECASE
)
_NOWHERE = "0" * 40


class UnfitError(LandingError):
    """A change that is not landed for somebody else; the message says why."""

    def __init__(self, why: str) -> None:
        """Keep the reason."""
        super().__init__("unfit", why, "its author can land it")


class _Item(NamedTuple):
    """One entry of a tree."""

    mode: bytes
    name: bytes
    oid: Oid


class _Folder(NamedTuple):
    """A new tree, and the tree that the parent commit has in its place."""

    tree: Oid
    before: Oid | None
    depth: int


def vet(store: BaseObjectStore, commits: Sequence[Oid], *, max_bytes: int, is_partial: bool = False) -> None:
    """Raise UnfitError unless all that ``commits`` add to their first parents is sound and together fits ``max_bytes``.

    What a parent has in the same place is not looked at. In a partial clone an absent blob is the remote's own.
    """
    vetting = _Vetting(store, max_bytes, is_partial=is_partial)
    for oid in commits:
        vetting.commit(oid)


class _Vetting:
    """One change on the scales."""

    def __init__(self, store: BaseObjectStore, max_bytes: int, *, is_partial: bool) -> None:
        self._store = store
        self._left = max_bytes
        self._is_partial = is_partial
        self._seen: set[Oid] = set()

    def commit(self, oid: Oid) -> None:
        tree, parents = self._header(oid)
        before = self._header_of(parents[0])[0] if parents else None
        pending = [_Folder(tree, before, 1)]
        while pending:
            folder = pending.pop()
            if folder.tree != folder.before and folder.tree not in self._seen:
                self._seen.add(folder.tree)
                pending.extend(self._below(folder))

    def _header(self, oid: Oid) -> tuple[Oid, tuple[Oid, ...]]:
        data = self._raw(oid, _COMMIT)
        if b"\0" in data:
            raise UnfitError(f"commit {oid[:12]} holds a NUL byte")
        if _HEADER.match(data) is None:
            raise UnfitError(f"commit {oid[:12]} has a malformed header")
        return self._header_of(oid)

    def _header_of(self, oid: Oid) -> tuple[Oid, tuple[Oid, ...]]:
        """Return tree and parents of a commit, which may be an older one that nobody vouches for."""
        found = re.match(rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)", self._raw(oid, _COMMIT, is_new=False))
        if found is None:
            raise UnfitError(f"commit {oid[:12]} has a malformed header")
        parents = tuple(Oid(line[7:].decode()) for line in found[2].splitlines())
        return Oid(found[1].decode()), parents

    def _below(self, folder: _Folder) -> Iterator[_Folder]:
        """Check one new tree and its new files; yield its new folders."""
        if folder.depth > MAX_DEPTH:
            raise UnfitError(f"folders lie more than {MAX_DEPTH} deep")
        items = _entries(self._raw(folder.tree, _TREE))
        _check_order(items)
        beside = self._known(folder.before)
        for item in items:
            known = beside.get(item.name)
            if known is not None and (known.mode, known.oid) == (item.mode, item.oid):
                continue
            _check_name(item)
            if item.mode == b"40000":
                was_folder = known is not None and known.mode == b"40000"
                yield _Folder(item.oid, known.oid if known is not None and was_folder else None, folder.depth + 1)
            elif item.mode != b"160000":
                self._check_file(item)

    def _known(self, tree: Oid | None) -> dict[bytes, _Item]:
        if tree is None:
            return {}
        return {item.name: item for item in _entries(self._raw(tree, _TREE, is_new=False))}

    def _check_file(self, item: _Item) -> None:
        if item.oid in self._seen:
            return
        self._seen.add(item.oid)
        if self._is_partial and ObjectID(item.oid.encode()) not in self._store:
            return
        data = self._raw(item.oid, _BLOB)
        if _ATTRIBUTES.match(item.name) and any(len(line) > MAX_ATTRIBUTES_LINE for line in data.split(b"\n")):
            raise UnfitError("a .gitattributes file has a line that git ignores for its length")

    def _raw(self, oid: Oid, kind: int, *, is_new: bool = True) -> bytes:
        """Return an object's bytes, which count while they are new."""
        try:
            found, data = self._store.get_raw(ObjectID(oid.encode()))
        except KeyError:
            raise UnfitError(f"object {oid[:12]} is not there") from None
        if found != kind:
            raise UnfitError(f"object {oid[:12]} is of another kind than its place says")
        if is_new:
            self._left -= len(data)
            if self._left < 0:
                raise UnfitError("the change is too large to be landed by others")
        return bytes(data)


def _entries(data: bytes) -> list[_Item]:
    """Return the entries of a tree; raise UnfitError for what git does not write."""
    items = []
    at = 0
    while at < len(data):
        found = _ENTRY.match(data, at)
        end = found.end() + 20 if found is not None else 0
        if found is None or end > len(data):
            raise UnfitError("a tree holds an entry that git does not write")
        items.append(_Item(found[1], found[2], Oid(data[end - 20 : end].hex())))
        at = end
    return items


def _check_order(items: Sequence[_Item]) -> None:
    keys = [item.name + b"/" if item.mode == b"40000" else item.name for item in items]
    if any(left >= right for left, right in pairwise(keys)):
        raise UnfitError("a tree is not sorted, or holds a name twice")
    if len({item.name for item in items}) != len(items):
        raise UnfitError("a tree holds a file and a folder of one name")


def _check_name(item: _Item) -> None:
    """Refuse what no clone should check out, on any system, and what only a person should change."""
    shown = item.name.decode("utf-8", "backslashreplace")[:80]
    if item.oid == _NOWHERE:
        raise UnfitError(f"{shown} names no object")
    if item.name in {b".", b".."} or len(item.name) > MAX_NAME:
        raise UnfitError(f"{shown!r} is no name of a file")
    if is_dotgit(item.name):
        raise UnfitError(f"{shown!r} would be git's own folder in a clone")
    if is_gitmodules(item.name):
        raise UnfitError("a change of .gitmodules is landed by its author")
    if item.mode == b"120000" and any(_ATTRIBUTES.match(part) for part in spellings(item.name)):
        raise UnfitError("a .gitattributes that is a symbolic link")
