"""Globs of merge rules."""

from __future__ import annotations

from time import process_time

import pytest

from gitref_lock.landing.merge.globs import GlobError, matches


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("**", b"a"),
        ("**", b"a/b/c"),
        ("*", b"a/b"),
        ("*.json", b"a/b.json"),
        ("data/**", b"data/x"),
        ("data/**", b"data/x/y"),
        ("data/", b"data/x"),
        ("data/", b"deep/data/x"),
        ("a/*.json", b"a/b.json"),
        ("a/**/b", b"a/b"),
        ("a/**/b", b"a/x/y/b"),
        ("**/b", b"b"),
        ("**/b", b"x/b"),
        ("/x", b"x"),
        ("[!a]x", b"bx"),
        ("[a-c]x", b"bx"),
        ("[]]x", b"]x"),
        ("?", b"\xff"),
        ("a\\*", b"a*"),
        ("a**b", b"axxb"),
        ("*a*b*c", b"xxaxxbxxc"),
    ],
)
def test_matching(glob: str, path: bytes) -> None:
    """These globs match these paths."""
    assert matches(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("data/**", b"data"),
        ("data/", b"data"),
        ("/data/", b"deep/data/x"),
        ("a/*.json", b"a/c/b.json"),
        ("a/*.json", b"x/a/b.json"),
        ("/x", b"a/x"),
        ("[!a]x", b"ax"),
        ("[!a]x", b"/x"),
        ("a?b", b"a/b"),
        ("a\\*", b"ab"),
        ("*.json", b"a.json/b"),
        ("A", b"a"),
    ],
)
def test_not_matching(glob: str, path: bytes) -> None:
    """These globs do not match these paths."""
    assert not matches(glob, path)


@pytest.mark.parametrize("glob", ["", "/", "a[b", "a\\"])
def test_malformed(glob: str) -> None:
    """A malformed glob is refused, not taken for something else."""
    with pytest.raises(GlobError):
        matches(glob, b"a")


@pytest.mark.parametrize("glob", ["*a" * 400 + "b", "**/a/" * 150 + "b", "**/" * 300 + "b"])
def test_hostile_globs_end(glob: str) -> None:
    """A glob made to backtrack costs no more than the product of the lengths."""
    start = process_time()

    assert not matches(glob, b"a/" * 2000 + b"a")
    assert process_time() - start < 5


@pytest.mark.parametrize(
    "glob", ["*" + "a" * 490 + "b*c", "**/*" + "a" * 480 + "b/**", "*a" * 490, "[!b]" * 240 + "*b"]
)
@pytest.mark.parametrize("path", [b"a" * 4096, b"/".join([b"a" * 255] * 100), b"/".join([b"a"] * 2000)])
def test_a_hostile_glob_takes_a_moment(glob: str, path: bytes) -> None:
    """A hundred rules as long as a ticket may hold, on the longest names that a tree may hold."""
    began = process_time()
    for number in range(100):
        matches(f"{glob}{number}", path)
    assert process_time() - began < 5
