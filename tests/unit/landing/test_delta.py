"""Deltas: they make what they should, cost little for an edit, and never take long."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.core.objects import Delta, GitObject, ObjectKind
from gitref_lock.landing.delta import make_delta
from gitref_lock.remotes.packs import apply_delta, write_pack
from tests.support.gitcli import Repo, git_result

PIECES = st.sampled_from([b"alpha = 1\n", b"beta = 22\r\n", b"x", b"\n", b"\0" * 70_000, b"gamma: [1, 2, 3]\n"])
TEXTS = st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=9).map(b"".join))


def lines(count: int) -> list[bytes]:
    """Return numbered lines."""
    return [b"key-%06d = %018d\n" % (number, number * 7919) for number in range(count)]


@given(TEXTS, TEXTS)
def test_a_delta_makes_the_new_version_from_the_old(base: bytes, data: bytes) -> None:
    """Any two versions; and it is at most a little longer than the version itself."""
    delta = make_delta(base, data)
    assert apply_delta(base, delta, max_bytes=1 << 24) == data
    assert len(delta) <= len(data) + len(data) // 100 + 40


@pytest.mark.parametrize("places", [(0,), (9_999,), (5_000,), (10, 5_000, 9_990)])
def test_edits_cost_what_they_change(places: tuple[int, ...]) -> None:
    """A changed line here and there, a line more, a line less: some hundred bytes of half a million."""
    old = lines(10_000)
    new = list(old)
    for place in places:
        new[place] = b"changed\n"
    new.insert(places[0] + 1, b"one more\n")
    base, data = b"".join(old), b"".join(new)
    delta = make_delta(base, data)
    assert len(delta) < 300
    assert apply_delta(base, delta, max_bytes=1 << 24) == data


def test_a_reordered_file_is_made_of_its_old_lines() -> None:
    """Blocks that moved are copied from where they were."""
    old = lines(4_000)
    base, data = b"".join(old), b"".join(old[2_000:] + old[:2_000])
    assert len(make_delta(base, data)) < 200, "the lines at both ends are cut by what happens to be equal"


def test_unlike_versions_take_time_in_proportion_to_their_size() -> None:
    """Counted in comparisons of lines, not in seconds: twice the size looks twice as often."""
    assert _looks(8_000) < 2.2 * _looks(4_000)


def _looks(count: int) -> int:
    """Return how often two shuffled files of this many lines are looked into."""
    seen = 0

    class Counting(bytes):
        def startswith(self, *words: Any) -> bool:
            nonlocal seen
            seen += 1
            return super().startswith(*words)

    old = lines(count)
    new = list(old)
    random.Random(1).shuffle(new)
    make_delta(Counting(b"".join(old)), b"".join(new))
    return seen


@pytest.mark.parametrize("size", [0xFFFFFF, 0x1000000, 0x1010000])
def test_the_largest_copies_are_cut_as_the_format_wants(size: int) -> None:
    """A copy says at most sixteen megabytes; longer runs take several."""
    base = bytes(size)
    delta = make_delta(base, base + b"more")
    assert len(delta) < 40
    assert apply_delta(base, delta, max_bytes=1 << 26) == base + b"more"


def test_git_makes_the_same_of_it(bare_repo: Repo) -> None:
    """git's own index-pack resolves a thin pack of ours."""
    old = lines(3_000)
    new = [*old[:100], b"new line\n", *old[150:]]
    base, item = (GitObject(ObjectKind.BLOB, b"".join(version)) for version in (old, new))
    bare_repo.commit({"file.txt": base.data})
    thin = GitObject(ObjectKind.BLOB, item.data, Delta(base.oid, make_delta(base.data, item.data)))
    done = git_result("index-pack", "--stdin", "--fix-thin", cwd=bare_repo.path, stdin=write_pack([thin], thin=True))
    assert done.returncode == 0, done.stderr
    assert bare_repo.has(item.oid)
