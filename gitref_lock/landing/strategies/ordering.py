"""The order of what a structured merge unites: theirs, with what is new of ours among its neighbours."""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence


def relative_order(items: Sequence[Hashable], others: Sequence[Hashable]) -> list[Hashable]:
    """Return those of ``items`` that ``others`` have too, each once."""
    shared = set(others)
    return list(dict.fromkeys(item for item in items if item in shared))


def order_of_keys(ours: list[Hashable], theirs: list[Hashable], merged: Container[Hashable]) -> list[Hashable]:
    """Return the keys of the result: theirs in their order, each new one of ours where it stands among its neighbours.

    When both sides keep their keys sorted, so does the result.
    """
    result = [key for key in theirs if key in merged]
    known = set(theirs)
    new = [key for key in ours if key in merged and key not in known]
    if not new:
        return result
    if len(theirs) > 1 and _is_sorted(theirs) and _is_sorted(ours):
        return sorted([*result, *new], key=str)
    present = set(result)
    last_shared = max((index for index, key in enumerate(ours) if key in present), default=-1)
    followers: dict[Hashable, list[Hashable]] = {}
    at_front: list[Hashable] = []
    stretch = at_front
    for key in ours[: last_shared + 1]:
        if key in present:
            stretch = followers.setdefault(key, [])
        elif key in merged:
            stretch.append(key)
    placed = [*at_front]
    for key in result:
        placed += [key, *followers.get(key, ())]
    return [*placed, *(key for key in ours[last_shared + 1 :] if key in merged)]


def _is_sorted(keys: list[Hashable]) -> bool:
    return all(isinstance(key, str) for key in keys) and keys == sorted(keys, key=str)
