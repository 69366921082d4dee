"""Every input in the corpus, once through its target: what the fuzzer found stays found."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gitref_lock.core import text
from gitref_lock.core.text import JsonObject
from tests.fuzz.promise import PromiseBrokenError
from tests.fuzz.seeds import all_seeds
from tests.fuzz.targets import CORPUS, TARGETS

SECONDS = 5
ENTRIES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def label(path: Path) -> str:
    """Name an entry."""
    return str(path.relative_to(CORPUS))


@pytest.mark.parametrize("path", ENTRIES, ids=label)
def test_every_entry_keeps_every_promise(path: Path) -> None:
    """The target returns, in time, for an input that is good, hostile, or was once a finding."""
    began = time.process_time()
    TARGETS[path.parent.name].run(path.read_bytes())
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_a_corpus_within_its_bounds(name: str) -> None:
    """No target starts from nothing, and no entry is larger than what the fuzzer tries."""
    sizes = [path.stat().st_size for path in ENTRIES if path.parent.name == name]
    assert sizes
    assert max(sizes) <= TARGETS[name].max_bytes
    assert set(all_seeds()) == set(TARGETS)


def test_the_corpus_is_small() -> None:
    """A clone does not carry the fuzzer's finds around."""
    assert sum(path.stat().st_size for path in ENTRIES) < 300 * 1024


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_takes_the_empty_input(name: str) -> None:
    """The fuzzer begins with no bytes at all."""
    TARGETS[name].run(b"")


def test_an_undocumented_error_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that lets a lone KeyError out fails its target."""

    def planted(data: bytes, *, limit: int) -> JsonObject:
        raise KeyError(limit)

    monkeypatch.setattr("gitref_lock.core.record.parse_object", planted)
    with pytest.raises(KeyError):
        TARGETS["record"].run(b"{}")


def test_a_broken_round_trip_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that loses a value fails its target."""
    held = (CORPUS / "record" / "held").read_bytes()
    TARGETS["record"].run(held)
    monkeypatch.setattr("gitref_lock.core.record.instant", lambda second: text.instant(second + 1))
    with pytest.raises(PromiseBrokenError, match="survives"):
        TARGETS["record"].run(held)


def test_a_lost_side_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge that drops a key of ours without naming it fails its target."""
    clean = (CORPUS / "merge-json" / "clean").read_bytes()
    TARGETS["merge-json"].run(clean)
    monkeypatch.setattr("gitref_lock.landing.strategies.json_keys.settled", lambda base, ours, theirs: _theirs(theirs))
    with pytest.raises(PromiseBrokenError, match="ours"):
        TARGETS["merge-json"].run(clean)


def _theirs(theirs: bytes | None) -> object:
    from gitref_lock.landing.strategies.base import Merged

    return Merged(theirs, is_complete=True)
