"""Which files are waited for: those of git's ``core.fsync``, and always the journal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gitref_lock.landing.hardening import INDEX, LOOSE_OBJECT, REFERENCE, hardened
from tests.support.clones import land, open_checkout, write
from tests.support.gitcli import git, git_env, git_result

_OURS = {LOOSE_OBJECT, REFERENCE, INDEX}
_SAID = re.compile(rb"ignoring unknown core.fsync component")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    path = tmp_path / "clone"
    git("init", "-q", path, cwd=tmp_path)
    write(path, "a", "1\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    return path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, set()),
        ("none", set()),
        ("pack", set()),
        ("loose-object", {LOOSE_OBJECT}),
        ("objects", {LOOSE_OBJECT}),
        ("reference,index", {REFERENCE, INDEX}),
        ("committed", {LOOSE_OBJECT, REFERENCE}),
        ("added", _OURS),
        ("all", _OURS),
        ("committed,-loose-object", {LOOSE_OBJECT, REFERENCE}),
        ("-pack", set()),
        ("bogus,index", {INDEX}),
    ],
)
def test_the_words_of_core_fsync(clone: Path, value: str | None, expected: set[str]) -> None:
    """Groups stand for their members, and what is asked for wins over what is taken away, as in git."""
    if value is not None:
        git("config", "core.fsync", value, cwd=clone)
    with open_checkout(clone) as checkout:
        assert hardened(checkout.config) & _OURS == expected


def test_the_old_name_means_loose_objects(clone: Path) -> None:
    """``core.fsyncObjectFiles`` is read where ``core.fsync`` is not set."""
    git("config", "core.fsyncObjectFiles", "true", cwd=clone)
    with open_checkout(clone) as checkout:
        assert hardened(checkout.config) & _OURS == {LOOSE_OBJECT}
    git("config", "core.fsync", "index", cwd=clone)
    with open_checkout(clone) as checkout:
        assert hardened(checkout.config) & _OURS == {INDEX}


def test_git_knows_the_same_words(clone: Path) -> None:
    """Every word that means something here is one that git takes without a warning."""
    words = "loose-object,pack,pack-metadata,commit-graph,index,objects,reference,derived-metadata,committed,added,all"
    for value, is_known in ((words, True), (words + ",bogus", False)):
        said = git_result("-c", f"core.fsync={value}", "commit", "-q", "--allow-empty", "-m", "x", cwd=clone).stderr
        assert bool(_SAID.search(said)) is not is_known


WORDS = [
    *("committed, index", " committed", "committed,\tindex", "committed,\nindex", "\rindex"),
    *("committed ,index", "index ", "comm", "ref", "inde", "a", "l", "committedx", "Index"),
    *("- index,reference", "all,-index", "-index, all", ",index,", "index,,reference"),
    *("none", " none", "none ", "none,index", "index,none", "loose-object,none,"),
    *("-,index", "index,-,reference", "- ,index", "", ",", "-", "\vindex"),
]
WRITES = {
    LOOSE_OBJECT: ("hash-object", "-w", "new"),
    REFERENCE: ("update-ref", "refs/heads/new", "HEAD"),
    INDEX: ("update-index", "--chmod=+x", "a"),
}


@pytest.mark.parametrize("value", WORDS)
def test_git_waits_for_the_same(clone: Path, tmp_path: Path, value: str) -> None:
    """However loosely a list is written, what git's own trace says it waits for is what is computed here."""
    git("config", "core.fsync", value, cwd=clone)
    write(clone, "new", "new\n")
    seen = set()
    for kind, command in WRITES.items():
        trace = tmp_path / kind
        git(*command, cwd=clone, env=git_env(extra={"GIT_TRACE2_EVENT": str(trace)}))
        if '"fsync/hardware-flush","value":"1"' in trace.read_text(encoding="utf-8"):
            seen.add(kind)
    with open_checkout(clone) as checkout:
        assert hardened(checkout.config) & _OURS == seen


def synced(clone: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Land an edit and return what was waited for, by kind."""
    seen: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        seen.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write(clone, "a", "2\n")
    assert not land(clone, take_all=True).is_empty
    own = f"{clone}/.git/gitref-lock"
    kinds = {"/objects/": LOOSE_OBJECT, f"{own}/ref-": REFERENCE, "index": INDEX, f"{own}/journal": "journal"}
    return {next((kind for part, kind in kinds.items() if part in name), name) for name in seen} - {own}


def test_by_default_only_the_journal_is_waited_for(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A landing waits for the note of what it is about, and for nothing that git itself would not wait for."""
    assert synced(clone, monkeypatch) == {"journal"}


def test_a_clone_that_asks_for_more_gets_it(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``core.fsync=all`` objects, refs and index are on the disk as well."""
    git("config", "core.fsync", "all", cwd=clone)
    assert synced(clone, monkeypatch) == {"journal", *_OURS}
