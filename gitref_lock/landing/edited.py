"""Files that were edited here while the remote changed them: what their edit stands on.

A landing leaves such a file as it is, while the branch and the index move on. Committed later as it stands, the file
would take the remote's change back without a word. So the content that the edit was made on is remembered, and the next
push of that path is a three-way merge from it, as if the edit had been committed before (docs/protocol.md, section 6).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

from dulwich.objects import Commit, ObjectID

from gitref_lock.core.names import Oid, RefName, oid
from gitref_lock.landing.attributes import Attributes
from gitref_lock.landing.checkout import Checkout, raw, text
from gitref_lock.landing.compare import Comparer
from gitref_lock.landing.convert import Converter
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.index_file import UnreadableIndexError
from gitref_lock.landing.journal import Move, write_private
from gitref_lock.landing.staged import tree_entry
from gitref_lock.landing.trees import EXECUTABLE, REGULAR, PathChange, TreeEntry, apply_changes, lookup
from gitref_lock.landing.worktree import WorkTree

_NAME = "edited.json"


class Note(NamedTuple):
    """What the edit of a file stands on, None when the path did not exist.

    A file that ``is_withheld`` is one that git was told to keep out of commits: it lands only when it is named.
    """

    base: TreeEntry | None
    is_withheld: bool = False


def bases(checkout: Checkout) -> dict[bytes, TreeEntry | None]:
    """Return by path what the edits stand on (None: the path did not exist); see ``notes``."""
    return {path: note.base for path, note in notes(checkout).items()}


def withheld(checkout: Checkout, named: Collection[bytes] = ()) -> frozenset[bytes]:
    """Return the files that a push leaves out, except those that the PATHs ``named`` name by themselves."""
    given = {os.path.normpath(checkout.prefix + one) for one in named}
    return frozenset(path for path, note in notes(checkout).items() if note.is_withheld and path not in given)


def notes(checkout: Checkout) -> dict[bytes, Note]:
    """Return what is remembered, by path.

    A note that is damaged is set aside: without it the clone is as any other clone. Raises LandingError when it cannot
    be set aside.
    """
    path = checkout.private_dir / _NAME
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as damage:
        aside = path.with_name(_NAME + ".damaged")
        try:
            path.replace(aside)
        except OSError as error:
            raise LandingError(
                "bad-note",
                f"{path} cannot be read ({damage}), and cannot be renamed to {aside.name}: {error.strerror}",
                "it notes what edited files stand on; remove it, and compare them with the branch before pushing them",
            ) from error
        return {}


def _decode(data: bytes) -> dict[bytes, Note]:
    """Return what was written; raise ValueError, TypeError, AttributeError, LookupError or RecursionError else."""
    found: dict[bytes, Note] = {}
    for name, entry in json.loads(data).items():
        is_withheld = isinstance(entry, dict)
        base = entry["withheld"] if is_withheld else entry
        if base is not None:
            mode, named = base
            base = TreeEntry(int(mode), oid(named).encode("ascii"))
        found[raw(name)] = Note(base, is_withheld)
    return found


def _encoded(note: Note) -> object:
    base = None if note.base is None else [note.base.mode, note.base.oid.decode("ascii")]
    return {"withheld": base} if note.is_withheld else base


def _write(checkout: Checkout, known: Mapping[bytes, Note]) -> None:
    path = checkout.private_dir / _NAME
    if not known:
        path.unlink(missing_ok=True)
        return
    stored = {text(name): _encoded(note) for name, note in known.items()}
    write_private(path, json.dumps(stored).encode("ascii"))


def remember(checkout: Checkout, move: Move, left: Collection[bytes], private: Collection[bytes] = ()) -> None:
    """Note what the files that this move left alone stand on, and forget those that it has brought up to date.

    ``private`` are those that git was told to keep out of commits. Call only for a move that has gone through the
    files. Raises OSError or LandingError.
    """
    known = notes(checkout)
    before = dict(known)
    for item in move.paths:
        if item.path in left:
            note = known.setdefault(item.path, Note(item.own if item.is_own else item.old))
            known[item.path] = note._replace(is_withheld=note.is_withheld or item.path in private)
        else:
            known.pop(item.path, None)
    if known != before:
        _write(checkout, known)


def forget_given_up(checkout: Checkout, head: Oid | None) -> None:
    """Forget the edits that were given up: file and index hold what ``head`` does, so a new edit stands on that.

    While anything is stashed nothing is forgotten, for the edit may come back from there. Raises LandingError.
    """
    known = notes(checkout)
    if not known or checkout.ref(RefName("refs/stash")) is not None:
        return
    try:
        index = checkout.read_index()
    except UnreadableIndexError:
        return
    tree, files = checkout.tree_of(head), WorkTree(checkout.work_tree)
    converter = Converter(checkout, Attributes(checkout, index, files))
    comparer = Comparer(checkout, index, converter, lambda _item, _reason: None)
    kept = {}
    for path, note in known.items():
        entry = index.find(path)
        at_head = lookup(checkout.store, tree.encode("ascii") if tree is not None else None, path)
        st = files.lstat(path)
        here = comparer.content_of(path, st, entry) if st is not None else None
        is_told = st is None or here is not None
        if not (is_told and at_head == here == tree_entry(entry)):
            kept[path] = note
    if kept != known:
        with suppress(OSError):  # a base that stays costs a conflict at worst
            _write(checkout, kept)


def _is_merged_by_hand(checkout: Checkout, base: TreeEntry | None, item: PathChange) -> bool:
    ours, theirs = item.new, item.old
    if ours is None or theirs is None or ours.mode != theirs.mode:
        return False
    versions = [entry for entry in (base, ours, theirs) if entry is not None]
    if any(entry.mode not in {REGULAR, EXECUTABLE} for entry in versions):
        return False
    from gitref_lock.landing.hand_merge import holds  # late: most pushes have no file that was left

    contents = [checkout.blob(entry.oid) if entry is not None else b"" for entry in (base, ours, theirs)]
    old, mine, new = contents
    return old is not None and mine is not None and new is not None and holds(old, mine, new)


def stand_in(checkout: Checkout, head: Oid, changes: Collection[PathChange]) -> Oid | None:
    """Return a commit on ``head`` that holds these paths as their edits found them; None when no edit is older.

    A file that holds what the remote changed has been merged by hand: it stands on ``head``. The commit is never sent:
    it is only what the new commit is measured against.
    """
    found = bases(checkout)
    older: Mapping[bytes, TreeEntry | None] = {
        item.path: found[item.path]
        for item in changes
        if item.path in found
        and found[item.path] != item.old
        and not _is_merged_by_hand(checkout, found[item.path], item)
    }
    if not older:
        return None
    parent = checkout.commit_object(head)
    commit = Commit()
    commit.tree = ObjectID(apply_changes(checkout.store, parent.tree, sorted(older.items())).tree.encode("ascii"))
    commit.parents = [parent.id]
    commit.author = commit.committer = parent.committer
    commit.author_time = commit.commit_time = parent.commit_time
    commit.author_timezone = commit.commit_timezone = parent.commit_timezone
    commit.message = b"what the edits of this push stand on\n"
    return checkout.add_object(commit)
