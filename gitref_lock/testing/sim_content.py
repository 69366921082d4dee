"""What the runners of a simulation change: files that say afterwards which changes arrived."""

from __future__ import annotations

import json
from collections.abc import Mapping

from dulwich.objects import ObjectID, ShaFile, Tree

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, build_state_commit
from gitref_lock.landing.graph import commit_of
from gitref_lock.landing.merge.policy import Policy, Rule
from gitref_lock.testing.simserver import SimObjectStore

JSON_FILE = "state.json"
LINES_FILE = "log.jsonl"
PLAIN_FILE = "note.txt"
POLICY = Policy((Rule(JSON_FILE, "json"), Rule(LINES_FILE, "lines")))


def files_of(store: SimObjectStore, oid: Oid) -> dict[str, bytes]:
    """Return the files of a commit; its tree is flat."""
    commit = commit_of(store, oid)
    assert commit is not None
    tree = store[commit.tree]
    assert isinstance(tree, Tree)
    return {item.path.decode(): store[item.sha].as_raw_string() for item in tree.iteritems()}


def edited(files: Mapping[str, bytes], name: str, kind: str) -> dict[str, bytes]:
    """Return the files with one change made.

    ``json``: a key of its own in a shared file; ``lines``: a line; ``own``: a file of its own; ``clash``: the one line
    that everybody changes; ``mixed-json``: a key and the clash.
    """
    new = dict(files)
    if kind in {"json", "mixed-json"}:
        value = json.loads(new.get(JSON_FILE, b"{}"))
        new[JSON_FILE] = json.dumps(value | {name: 1}, indent=1, sort_keys=True).encode() + b"\n"
    if kind in {"clash", "mixed-json"}:
        new[PLAIN_FILE] = f"the one line, by {name}\n".encode()
    if kind == "lines":
        new[LINES_FILE] = new.get(LINES_FILE, b"") + json.dumps({"id": name}).encode() + b"\n"
    if kind == "own":
        new[f"own-{name}.txt"] = f"{name}\n".encode()
    return new


def first_commit(shared: dict[ObjectID, ShaFile]) -> tuple[GitObject, ...]:
    """Return the objects of the commit that every clone begins with, commit first."""
    files = {JSON_FILE: b'{\n "seed": 0\n}\n', LINES_FILE: b'{"id": "seed"}\n', PLAIN_FILE: b"the one line\n"}
    made = build_state_commit(files, author_name="seed", at_s=1_700_000_000, message="seed")
    SimObjectStore(shared).take(made)
    return made
