"""The journal: what the local clone is about to become, on disk before the swap is sent.

A process can die at any instant after the remote has applied the landing. The next command finds the journal, asks the
remote whether the landing is there, and finishes the local move or drops the note (docs/protocol.md, section 6).
The file is replaced atomically and flushed, so it is either whole or absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid, RefName, oid
from gitref_lock.landing.checkout import Checkout, raw, text
from gitref_lock.landing.dating import OLDEST_S
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.index_file import StatData
from gitref_lock.landing.trees import TreeEntry
from gitref_lock.landing.unsafe_names import is_unsafe_path

_VERSION = 1
_NAME = "journal.json"


@dataclass(frozen=True, slots=True)
class MovePath:
    """One path of the move.

    ``old`` and ``new`` are its content in the commit before and after. For a path of the push itself ``is_own`` holds,
    ``own`` is the content that was pushed, ``index_before`` what the index held then, and ``stat`` the file's status
    when it was read.
    """

    path: bytes
    old: TreeEntry | None
    new: TreeEntry | None
    is_own: bool = False
    own: TreeEntry | None = None
    index_before: TreeEntry | None = None
    stat: StatData | None = None

    @property
    def on_disk(self) -> TreeEntry | None:
        """What the work tree holds if nobody edited it since."""
        return self.own if self.is_own else self.old

    @property
    def is_unsafe(self) -> bool:
        """Whether nothing may be written at this path, nor removed there."""
        return any(is_unsafe_path(self.path, entry.mode) for entry in (self.old, self.new) if entry is not None)


@dataclass(frozen=True, slots=True)
class Move:
    """From commit ``old`` (None: unborn) to ``new``. ``head_ref`` is the checked-out branch's ref, or ``HEAD``.

    ``began_s`` is the second in which files were first looked at: the next index is not dated later.
    """

    head_ref: RefName
    old: Oid | None
    new: Oid
    paths: tuple[MovePath, ...]
    began_s: int = OLDEST_S


@dataclass(frozen=True, slots=True)
class JournalLanding:
    """Which landing the move belongs to: enough to ask the remote whether it happened.

    ``moves_head`` is False when the push went to another branch than the checked-out one: then only ``tracking_ref``
    (None: there is none) is moved, from ``tracking_before``.
    """

    remote: str
    branch: RefName
    lock_ref: RefName | None
    nonce: str
    candidates: tuple[Oid, ...] = ()
    tracking_ref: RefName | None = None
    tracking_before: Oid | None = None
    moves_head: bool = True
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journal:
    """A move and its landing."""

    landing: JournalLanding
    move: Move


def _entry_out(entry: TreeEntry | None) -> list[Any] | None:
    return None if entry is None else [entry.mode, entry.oid.decode("ascii")]


def _entry_in(value: Any) -> TreeEntry | None:  # noqa: ANN401 - straight from JSON, checked here
    return None if value is None else TreeEntry(int(value[0]), oid(value[1]).encode("ascii"))


def encode(journal: Journal) -> bytes:
    """Return the journal as JSON."""
    landing, move = journal.landing, journal.move
    document = {
        "version": _VERSION,
        "landing": {
            "remote": landing.remote,
            "branch": landing.branch,
            "lock_ref": landing.lock_ref,
            "nonce": landing.nonce,
            "candidates": list(landing.candidates),
            "tracking_ref": landing.tracking_ref,
            "tracking_before": landing.tracking_before,
            "moves_head": landing.moves_head,
            "extra": dict(landing.extra),
        },
        "move": {
            "head_ref": move.head_ref,
            "old": move.old,
            "new": move.new,
            "began_s": move.began_s,
            "paths": [
                [
                    text(item.path),
                    _entry_out(item.old),
                    _entry_out(item.new),
                    item.is_own,
                    _entry_out(item.own),
                    _entry_out(item.index_before),
                    list(item.stat) if item.stat else None,
                ]
                for item in move.paths
            ],
        },
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _ref_in(value: Any) -> RefName:  # noqa: ANN401 - straight from JSON, checked here
    if not isinstance(value, str):
        raise TypeError("a ref must be a text")
    return RefName(value)


def _path_in(value: Any) -> MovePath:  # noqa: ANN401 - straight from JSON, checked here
    name, old, new, is_own, own, before, stat = value
    return MovePath(
        raw(name),
        _entry_in(old),
        _entry_in(new),
        bool(is_own),
        _entry_in(own),
        _entry_in(before),
        StatData(*map(int, stat)) if stat else None,
    )


def decode(data: bytes) -> Journal:
    """Return the journal in ``data``; raise ValueError when it is none of this version."""
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise ValueError(f"journal version {document['version']!r}")
        landing, move = document["landing"], document["move"]
        return Journal(
            JournalLanding(
                remote=str(landing["remote"]),
                branch=_ref_in(landing["branch"]),
                lock_ref=_ref_in(landing["lock_ref"]) if landing["lock_ref"] else None,
                nonce=str(landing["nonce"]),
                candidates=tuple(oid(item) for item in landing["candidates"]),
                tracking_ref=_ref_in(landing["tracking_ref"]) if landing["tracking_ref"] else None,
                tracking_before=oid(landing["tracking_before"]) if landing["tracking_before"] else None,
                moves_head=bool(landing["moves_head"]),
                extra={str(key): str(value) for key, value in landing["extra"].items()},
            ),
            Move(
                _ref_in(move["head_ref"]),
                oid(move["old"]) if move["old"] else None,
                oid(move["new"]),
                tuple(_path_in(item) for item in move["paths"]),
                int(move.get("began_s", OLDEST_S)),
            ),
        )
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a journal: {error}") from error


def journal_path(checkout: Checkout) -> Path:
    """Return where this work tree's journal lies."""
    return checkout.private_dir / _NAME


def sync_folder(folder: Path) -> None:
    """Wait until renames in ``folder`` are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(target: Path, content: bytes) -> None:
    """Put ``content`` durably in place of ``target``, readable by its owner alone; raise OSError."""
    temporary = target.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(target)
    sync_folder(target.parent)


def write_journal(checkout: Checkout, move: Move, landing: JournalLanding) -> Journal:
    """Write the journal durably in place of an earlier one; raise LandingError when the disk refuses."""
    journal = Journal(landing, move)
    target = journal_path(checkout)
    try:
        write_private(target, encode(journal))
    except OSError as error:
        raise LandingError(
            "journal-failed", f"the journal {target} cannot be written: {error.strerror}", "free some disk space"
        ) from error
    return journal


def read_journal(checkout: Checkout) -> Journal | None:
    """Return the journal that is waiting, None when there is none; raise LandingError when it cannot be read."""
    path = journal_path(checkout)
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LandingError(
            "bad-journal",
            f"{path} cannot be read: {error}",
            "it notes an unfinished local update; compare the branch with the remote, then remove the file",
        ) from error


def discard_journal(checkout: Checkout) -> None:
    """Remove the journal; nothing happens when there is none."""
    journal_path(checkout).unlink(missing_ok=True)
