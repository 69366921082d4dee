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
_NAMES = {
    LOOSE_OBJECT: frozenset({LOOSE_OBJECT}),
    "pack": frozenset({"pack"}),
    "pack-metadata": frozenset({"pack-metadata"}),
    "commit-graph": frozenset({"commit-graph"}),
    REFERENCE: frozenset({REFERENCE}),
    INDEX: frozenset({INDEX}),
    "objects": _OBJECTS,
    "derived-metadata": _DERIVED,
    "committed": _COMMITTED,
    "added": _COMMITTED | {INDEX},
    "all": _COMMITTED | {INDEX} | _DERIVED,
}
_BEFORE_A_WORD = ", \t\n\r"
_DEFAULT = frozenset({"pack"}) | _DERIVED


def hardened(config: GitConfig) -> frozenset[str]:
    """Return the components of ``core.fsync`` that are in force, as git computes them; unknown words count for none."""
    value = config.get("core", None, "fsync")
    if value is None:
        old_name = config.get_bool("core", None, "fsyncObjectFiles")
        return _DEFAULT | {LOOSE_OBJECT} if old_name else _DEFAULT
    return _components(value)


def _components(value: str) -> frozenset[str]:
    """Read a list of components as git does, which is looser than git-config(1) says.

    Blanks and line ends before a word do not count, those after it do. A word stands for every name that begins with
    it. ``none`` takes the default away where it is the last word, and only there; a lone minus ends the list.
    """
    default = _DEFAULT
    wanted: set[str] = set()
    refused: set[str] = set()
    rest = value.lstrip(_BEFORE_A_WORD)
    while rest:
        word = rest.partition(",")[0]
        name = word.removeprefix("-")
        if not name:
            break
        if rest == "none":
            default = frozenset()
        for known, components in _NAMES.items():
            if known.startswith(name):
                (refused if word != name else wanted).update(components)
        rest = rest[len(word) :].lstrip(_BEFORE_A_WORD)
    return (default - refused) | wanted
