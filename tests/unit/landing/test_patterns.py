"""Patterns of .gitignore and .gitattributes: as translated, but decided in time whatever a stranger wrote."""

from __future__ import annotations

import re
import time

import pytest
from dulwich.wildmatch import translate
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.landing.patterns import path_pattern

_WORDS = st.lists(
    st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", r"\*", ".", "[]a]", "[[:alpha:]]", "/", "/**/", "**/"]),
    min_size=1,
    max_size=10,
).map("".join)
_PATHS = st.lists(st.text("ab.*", min_size=1, max_size=5), min_size=1, max_size=6).map("/".join)


@settings(max_examples=1500)
@given(pattern=_WORDS.filter(lambda text: not text.endswith("/")), path=_PATHS)
def test_it_matches_what_the_translation_matches(pattern: str, path: str) -> None:
    """Trying fewer stars again changes no answer."""
    found = path_pattern(pattern.encode(), b"")
    subject = path.rpartition("/")[2] if found.is_basename else path
    plain = re.compile(translate(pattern.removeprefix("/").encode()), re.DOTALL)
    assert found.matches(path.encode(), is_folder=True) is (plain.fullmatch(subject.encode()) is not None)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (b"*a" * 30 + b"b", b"a" * 4000),
        (b"**/a/" * 20 + b"b", b"a/" * 1000 + b"c"),
        (b"**/*a*a*a/" * 9 + b"b", b"aaaaaaaa/" * 200 + b"c"),
        (b"x/**/*a*b*/**/c*d", b"x/" + b"ab/" * 1000 + b"d"),
        (b"[a-z]*?*" * 9 + b"!", b"a" * 4000),
    ],
)
def test_hostile_patterns_are_decided_at_once(pattern: bytes, path: bytes) -> None:
    """Stars and folders in any number: somebody's .gitattributes does not keep a push busy for hours."""
    began = time.process_time()
    assert not path_pattern(pattern, b"").matches(path, is_folder=False)
    assert time.process_time() - began < 2
