"""Files that were edited here while the remote changed them: what their edit stands on.

A landing leaves such a file as it is, while the branch and the index move on. Committed later as it stands, the file
would take the remote's change back without a word. So the content that the edit was made on is remembered, and the next
push of that path is a three-way merge from it, as if the edit had been committed before (docs/protocol.md, section 6).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from dulwich.objects import Commit, ObjectID

from gitref_lock.core.names import Oid
from gitref_lock.landing.checkout import Checkout, raw, text
from gitref_lock.landing.journal import Move
from gitref_lock.landing.trees import PathChange, TreeEntry, apply_changes

_NAME = "edited.json"


def bases(checkout: Checkout) -> dict[bytes, TreeEntry | None]:
    """Return by path what the edits stand on (None: the path did not exist); empty when nothing is remembered."""
    path = checkout.private_dir / _NAME
    try:
        stored = json.loads(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return {}
    return {
        raw(name): None if entry is None else TreeEntry(int(entry[0]), str(entry[1]).encode("ascii"))
        for name, entry in stored.items()
    }


def remember(checkout: Checkout, move: Move, left: Collection[bytes]) -> None:
    """Note what the files that this move left alone stand on, and forget those that it has brought up to date."""
    known = bases(checkout)
    before = dict(known)
    for item in move.paths:
        if item.path in left:
            known.setdefault(item.path, item.own if item.is_own else item.old)
        else:
            known.pop(item.path, None)
    if known == before:
        return
    path = checkout.private_dir / _NAME
    if not known:
        path.unlink(missing_ok=True)
        return
    stored = {
        text(name): None if entry is None else [entry.mode, entry.oid.decode("ascii")] for name, entry in known.items()
    }
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(stored), encoding="ascii")
    temporary.replace(path)


def stand_in(checkout: Checkout, head: Oid, changes: Collection[PathChange]) -> Oid | None:
    """Return a commit on ``head`` that holds these paths as their edits found them; None when no edit is older.

    It is never sent: it is only what the new commit is measured against.
    """
    found = bases(checkout)
    older: Mapping[bytes, TreeEntry | None] = {
        item.path: found[item.path] for item in changes if item.path in found and found[item.path] != item.old
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
