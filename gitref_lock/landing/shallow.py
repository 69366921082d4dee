"""The shallow boundary of a clone: where its history was cut, and where it is cut after a landing.

A ref must not reach a commit whose parents are absent without the clone saying so (gitformat: ``shallow``): the
boundary is written before the branch moves, and reads as harmless if the move never happens.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from gitref_lock.core.names import Oid
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.graph import commit_of, parents_of


def write_boundary(checkout: Checkout, known: Collection[Oid], head: Oid) -> None:
    """Add to the clone's boundary the commits below ``head`` at which its history ends; a full clone stays full."""
    before = checkout.shallow()
    if not before:
        return
    boundary: set[Oid] = set()
    pending, seen = [head], {head}
    while pending:
        oid = pending.pop()
        commit = commit_of(checkout.store, oid)
        if commit is None or oid in before:
            continue
        parents = parents_of(commit)
        if oid in known or any(commit_of(checkout.store, parent) is None for parent in parents):
            boundary.add(oid)
            continue
        fresh = [parent for parent in parents if parent not in seen]
        seen.update(fresh)
        pending.extend(fresh)
    if boundary:
        _write(checkout.common_dir / "shallow", before | boundary)


def _write(path: Path, boundary: Collection[Oid]) -> None:
    temporary = path.with_name("shallow.gitref-lock")
    temporary.write_text("".join(f"{oid}\n" for oid in sorted(boundary)), encoding="ascii")
    temporary.replace(path)
