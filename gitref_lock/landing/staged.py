"""The outcome of staging: what is to land, and what the index must hold afterwards.

Staging writes objects only. Refs, index and files stay as they are until the landing is applied
(docs/protocol.md, section 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from gitref_lock.core.names import Oid
from gitref_lock.landing.index_file import Entry
from gitref_lock.landing.trees import PathChange


class Selection(Enum):
    """Which content a push takes."""

    STAGED = "staged"
    TRACKED = "tracked"
    ALL = "all"
    PATHS = "paths"


@dataclass(frozen=True, slots=True)
class Staged:
    """What one push stages.

    ``base`` is the commit it was compared with (None: unborn), ``tree`` the resulting tree, ``changes`` each path that
    differs from ``base``, sorted. ``new_objects`` are the blobs and trees that a receiver of ``base`` may lack.
    ``index_entries`` is what the index must hold afterwards for the paths that were read from the work tree (None:
    no entry); content that is staged already is not listed, and what is staged for other paths stays staged.
    ``through_git`` is the reason why an installed git did the work, None when it was done in-process.
    """

    base: Oid | None
    tree: Oid
    changes: tuple[PathChange, ...]
    new_objects: tuple[Oid, ...]
    index_entries: Mapping[bytes, Entry | None]
    selection: Selection
    through_git: str | None = field(default=None)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.changes
