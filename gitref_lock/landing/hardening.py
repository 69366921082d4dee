"""Which files of a clone are waited for until they are on the disk: those that git would wait for (core.fsync).

By default git waits for neither loose objects nor refs nor the index: each is written aside and renamed into place, so
that a killed process harms nothing, and a machine that loses its power is left to the file system. A clone that asks
for more gets it here as well. The journal is no such file: it is always waited for.
"""

from __future__ import annotations

from gitref_lock.remotes.gitconfig import GitConfig

LOOSE_OBJECT, REFERENCE, INDEX = "loose-object", "reference", "index"

_OBJECTS = frozenset({LOOSE_OBJECT, "pack"})
_DERIVED = frozenset({"pack-metadata", "commit-graph"})
_COMMITTED = _OBJECTS | {REFERENCE}
_GROUPS = {
    "objects": _OBJECTS,
    "derived-metadata": _DERIVED,
    "committed": _COMMITTED,
    "added": _COMMITTED | {INDEX},
    "all": _COMMITTED | {INDEX} | _DERIVED,
}
_DEFAULT = frozenset({"pack"}) | _DERIVED


def hardened(config: GitConfig) -> frozenset[str]:
    """Return the components of ``core.fsync`` that are in force, as git computes them; unknown words count for none."""
    value = config.get("core", None, "fsync")
    if value is None:
        old_name = config.get_bool("core", None, "fsyncObjectFiles")
        return _DEFAULT | {LOOSE_OBJECT} if old_name else _DEFAULT
    if value == "none":
        return frozenset()
    wanted: set[str] = set()
    refused: set[str] = set()
    for word in value.split(","):
        name = word.removeprefix("-")
        (refused if word.startswith("-") else wanted).update(_GROUPS.get(name, {name}))
    return (_DEFAULT - refused) | wanted
