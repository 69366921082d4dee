"""The journal: written whole or not at all, read back as it was, never guessed at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.names import Oid, RefName
from gitref_lock.landing.errors import LandingError
from gitref_lock.landing.index_file import UNKNOWN_STAT, StatData
from gitref_lock.landing.journal import (
    Journal,
    JournalLanding,
    Move,
    MovePath,
    decode,
    discard_journal,
    encode,
    journal_path,
    read_journal,
    write_journal,
)
from gitref_lock.landing.trees import TreeEntry
from tests.support.clones import open_checkout
from tests.support.gitcli import git

OIDS = st.text("0123456789abcdef", min_size=40, max_size=40).map(Oid)
ENTRIES = st.none() | st.builds(
    TreeEntry, st.sampled_from([0o100644, 0o100755, 0o120000, 0o160000]), OIDS.map(str.encode)
)
STATS = st.none() | st.lists(st.integers(0, 2**32 - 1), min_size=9, max_size=9).map(lambda n: StatData(*n))
PATHS = st.builds(
    MovePath, st.binary(min_size=1).filter(lambda p: b"\0" not in p), ENTRIES, ENTRIES, st.booleans(), ENTRIES, ENTRIES,
    STATS,
)  # fmt: skip
REFS = st.sampled_from([RefName("refs/heads/main"), RefName("HEAD"), RefName("refs/heads/caf\udce9")])
JOURNALS = st.builds(
    Journal,
    st.builds(
        JournalLanding,
        remote=st.text(max_size=9),
        branch=REFS,
        lock_ref=st.none() | REFS,
        nonce=st.text("0123456789abcdef", min_size=24, max_size=24),
        candidates=st.lists(OIDS, max_size=3).map(tuple),
        tracking_ref=st.none() | REFS,
        tracking_before=st.none() | OIDS,
        moves_head=st.booleans(),
        extra=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    ),
    st.builds(Move, REFS, st.none() | OIDS, OIDS, st.lists(PATHS, max_size=4).map(tuple)),
)


@settings(max_examples=150, deadline=None)
@given(JOURNALS)
def test_it_is_read_back_as_written(journal: Journal) -> None:
    """Every journal survives the way to disk and back, whatever bytes its paths have."""
    assert decode(encode(journal)) == journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an empty repository."""
    git("init", "-q", tmp_path / "repo", cwd=tmp_path)
    return tmp_path / "repo"


def simple(nonce: str = "0" * 24) -> tuple[Move, JournalLanding]:
    """Return a small move and its landing."""
    item = MovePath(b"a", None, TreeEntry(0o100644, b"1" * 40), is_own=True, stat=UNKNOWN_STAT)
    move = Move(RefName("refs/heads/main"), None, Oid("2" * 40), (item,))
    return move, JournalLanding("origin", RefName("refs/heads/main"), None, nonce)


def test_it_waits_until_it_is_discarded(path: Path) -> None:
    """A journal is found by the next command, a newer one takes its place, and discarding twice is no error."""
    with open_checkout(path) as checkout:
        assert read_journal(checkout) is None
        first = write_journal(checkout, *simple())
        assert read_journal(checkout) == first
        second = write_journal(checkout, *simple("1" * 24))
        assert read_journal(checkout) == second
        assert [item.name for item in checkout.private_dir.iterdir()] == ["journal.json"]
        discard_journal(checkout)
        discard_journal(checkout)
        assert read_journal(checkout) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'{"version": 1}', b'{"version": 99}', b'{"version": 1, "landing": 3, "move": 4}'],
)
def test_a_file_that_is_no_journal_stops_with_its_name(path: Path, data: bytes) -> None:
    """What cannot be read is neither applied nor thrown away: the error names the file."""
    with open_checkout(path) as checkout:
        journal_path(checkout).write_bytes(data)
        with pytest.raises(LandingError, match=r"journal\.json cannot be read") as caught:
            read_journal(checkout)
        assert caught.value.code == "bad-journal"
        assert journal_path(checkout).read_bytes() == data


def test_damaged_values_are_refused() -> None:
    """An object id that is none makes the whole journal unreadable instead of moving a branch to it."""
    document = json.loads(encode(Journal(simple()[1], simple()[0])))
    document["move"]["new"] = "not-an-id"
    with pytest.raises(ValueError, match="not an object id"):
        decode(json.dumps(document).encode())


def test_a_disk_that_refuses_stops_before_the_swap(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the journal cannot be made durable the landing must not be sent: it is an error, and none is left."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with open_checkout(path) as checkout:
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(LandingError, match="No space left") as caught:
            write_journal(checkout, *simple())
        assert caught.value.code == "journal-failed"
        assert read_journal(checkout) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"refs/heads/main"', b"[1]"),
        (b'"refs/heads/main"', b"7"),
        (b"33188", b"1e999"),
        (b'"version":1', b'"version":' + b"[" * 50_000),
        (b'"nonce":"x"', b'"nonce":' + b"9" * 5000),
    ],
    ids=["a list for a ref", "a number for a ref", "an infinite mode", "nesting", "a long number"],
)
def test_a_damaged_journal_is_one_kind_of_error(old: bytes, new: bytes) -> None:
    """What is no journal is a ValueError, whichever part is wrong; no other error ends a command."""
    entry = TreeEntry(0o100644, b"1" * 40)
    path = MovePath(b"f", entry, None)
    landing = JournalLanding("r", RefName("refs/heads/main"), None, "x")
    text = encode(Journal(landing, Move(RefName("HEAD"), None, Oid("2" * 40), (path,))))
    assert old in text
    with pytest.raises(ValueError, match=r"journal|digits"):
        decode(text.replace(old, new))


def test_only_its_owner_can_read_it(path: Path) -> None:
    """The journal names branches, paths and a nonce: it is written for its owner alone, also over an older one."""
    with open_checkout(path) as checkout:
        for name in (journal_path(checkout), journal_path(checkout).with_suffix(".new")):
            name.write_bytes(b"{}")
            name.chmod(0o644)
        write_journal(checkout, *simple())
        assert journal_path(checkout).stat().st_mode & 0o777 == 0o600
        assert read_journal(checkout) is not None
