"""Escaping and redaction, by themselves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.cli import safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 漢字 ✓", "plain ünïcode 漢字 ✓"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("abc\u202edef\u2066", "abc\\u202edef\\u2066"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("::error::x", "\\::error::x"),
        ("  ::set-output name=a::b", "\\  ::set-output name=a::b"),
        ("a ##[error]b ##vso[x]", "a #\\#[error]b #\\#vso[x]"),
        ("a::b", "a::b"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    """What does not print is spelled out; what a CI would obey is broken up; everything else stays."""
    assert safe.visible(text) == shown


@given(st.text())
def test_no_text_does_harm(text: str) -> None:
    """For any text: one line, printable, no workflow command."""
    shown = safe.visible(text)
    assert shown.isprintable()
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    assert "##vso[" not in shown


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_json_keeps_its_meaning(value: object) -> None:
    """Escaping changes the bytes, not the values (credentials and lone surrogates aside)."""
    text = safe.json_text(value)
    assert text.isascii()
    assert "##[" not in text
    if safe.json_text(value) == json.dumps(value):
        assert json.loads(text) == value


def test_json_without_commands_and_credentials() -> None:
    """A command inside of a string is written in another way and means the same; a credential is gone."""
    text = safe.json_text(
        {"a": "##[error]x", "b": ["https://u:hunter22@host/x", "topsecret!"]}, secrets=("topsecret!",)
    )
    assert json.loads(text) == {"a": "##[error]x", "b": ["https://***@host/x", "***"]}
    assert "##[" not in text


def test_secrets_are_found_by_the_names_of_variables() -> None:
    """Values of tokens, passwords and keys count; short values and other variables do not."""
    found = safe.secrets_of({"GH_TOKEN": "abcdefgh", "A_PASSWORD": "x", "PATH": "/usr/bin", "MY_API_KEY": "0123456789"})
    assert set(found) == {"abcdefgh", "0123456789"}
