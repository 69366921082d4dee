"""JSON from strangers and instants for people: bounded, strict, and never a crash."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gitref_lock.core.text import (
    MAX_INSTANT,
    MAX_NESTING,
    Fields,
    JsonObject,
    JsonValue,
    MalformedError,
    clip,
    instant,
    parse_instant,
    parse_object,
    render_object,
)
from gitref_lock.testing.strategies import instants, json_objects, texts

LIMIT = 65_536


@settings(deadline=None)
@given(value=json_objects(), one_line=st.booleans())
def test_what_is_rendered_parses_to_the_same_value(value: JsonObject, one_line: bool) -> None:
    """Rendering and parsing are inverse, on one line or on several; the text ends with a line end."""
    data = render_object(value, indent=None if one_line else 1)
    assert data.endswith(b"\n")
    assert not one_line or data.count(b"\n") == 1
    assert parse_object(data, limit=len(data)) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": Infinity}', "Infinity is not a JSON number"),
        (b'{"a": [-Infinity]}', "-Infinity is not a JSON number"),
        (b'{"a": 1e999}', "1e999 is too large a number"),
        (b'{"a": -1e999}', "-1e999 is too large a number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": 1, "a": 2}', "a key occurs twice"),
        (b'{"b": {"a": 1, "a": 1}}', "a key occurs twice"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "not JSON"),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
        (b'{"\\uDFFF": 1}', "surrogates not allowed"),
        (b'{"a": "\\udc00\\ud800"}', "surrogates not allowed"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\x00", "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b"[" * LIMIT, "nested too deeply"),
        (b'{"a":' * (LIMIT // 5), "nested too deeply"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
        (b"{}" + b" " * LIMIT, "more than 65536"),
    ],
)
def test_hostile_bytes_are_one_error_with_a_reason(data: bytes, why: str) -> None:
    """Each kind of damage is refused with words that say what is wrong."""
    with pytest.raises(MalformedError, match=why):
        parse_object(data, limit=LIMIT)


def nested(levels: int) -> bytes:
    """Return an object with ``levels`` levels of containers."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_nesting_is_bounded_well_below_what_the_interpreter_could_bear() -> None:
    """The deepest permitted value can be rendered again; one level more is refused."""
    value = parse_object(nested(MAX_NESTING), limit=LIMIT)
    assert parse_object(render_object(value), limit=LIMIT) == value
    with pytest.raises(MalformedError, match="nested too deeply"):
        parse_object(nested(MAX_NESTING + 1), limit=LIMIT)


def test_an_escaped_surrogate_pair_is_an_ordinary_character() -> None:
    """Only lone surrogates are refused: other JSON writers escape every emoji as a pair."""
    assert parse_object(b'{"a": "\\ud83d\\udd12"}', limit=LIMIT) == {"a": "\U0001f512"}


@settings(deadline=None)
@given(data=st.binary(max_size=200))
@example(data=b'{"a": 1e400}')
def test_random_bytes_never_crash_the_parser(data: bytes) -> None:
    """Any bytes give an object that can be rendered again, or the one error."""
    try:
        value = parse_object(data, limit=LIMIT)
    except MalformedError:
        return
    render_object(value)


@settings(deadline=None)
@given(text=st.text(alphabet='{}[]:,"\\ud8dcE+-.019aNInfinity \n', max_size=60))
def test_text_that_looks_like_json_never_crashes_the_parser(text: str) -> None:
    """Near misses of JSON give an object that can be rendered again, or the one error."""
    try:
        value = parse_object(('{"a":' + text + "}").encode(), limit=LIMIT)
    except MalformedError:
        return
    render_object(value)


@settings(deadline=None)
@given(second=instants())
def test_an_instant_reads_back_as_its_second(second: int) -> None:
    """From 1970 to 9999 writing and reading an instant are inverse, and later instants sort later as text."""
    assert parse_instant(instant(second)) == second
    assert second == MAX_INSTANT or instant(second) < instant(second + 1)


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000.9, "2023-11-14T22:13:20Z"),
        (-5, "1970-01-01T00:00:00Z"),
        (10**18, "9999-12-31T23:59:59Z"),
    ],
)
def test_an_instant_is_truncated_and_clamped(second: float, text: str) -> None:
    """Fractions are dropped; what cannot be written becomes the nearest instant that can."""
    assert instant(second) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00+00:00",
        "2026-01-31 12:00:00Z",
        "2026-1-31T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T25:00:00Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-01-31T12:00:00Z\n",
        "\u0662\u0660\u0662\u0666-01-31T12:00:00Z",
    ],
)
def test_other_forms_of_an_instant_are_refused(text: str) -> None:
    """One form only: no offsets, no short fields, no foreign digits, nothing before 1970."""
    with pytest.raises(MalformedError, match="not an instant since 1970"):
        parse_instant(text)


@settings(deadline=None)
@given(
    text=st.one_of(texts(), st.text(alphabet=st.characters(categories=["Cs", "Lu", "Zs"]))), limit=st.integers(0, 40)
)
def test_a_clipped_text_is_visible_bounded_and_stays_as_it_is(text: str, limit: int) -> None:
    """No control character or lone surrogate survives, the bytes fit, and clipping again changes nothing."""
    clipped = clip(text, limit)
    assert len(clipped.encode("utf-8")) <= limit
    assert clipped.isprintable()
    assert clipped == clipped.strip()
    assert clip(clipped, limit) == clipped


@settings(deadline=None)
@given(text=st.text(alphabet="abc \u00e9\U0001f512", max_size=10))
def test_a_short_visible_text_is_only_stripped(text: str) -> None:
    """Clipping does no more than it must."""
    assert clip(text, 40) == text.strip()


@pytest.mark.parametrize(
    ("ask", "value", "words"),
    [
        (lambda fields: fields.text("k"), 1, "k must be a string of at most 400"),
        (lambda fields: fields.text("k", limit=3), "abcd", "k must be a string of at most 3"),
        (lambda fields: fields.text("k", required=True), None, "k must be a string"),
        (lambda fields: fields.integer("k", 1, 5), None, "k must be an integer from 1 to 5"),
        (lambda fields: fields.integer("k", 0, 5), True, "k must be an integer from 0 to 5"),
        (lambda fields: fields.integer("k", 0, 5), 1.0, "k must be an integer"),
        (lambda fields: fields.integer("k", 0, 5), "1", "k must be an integer"),
        (lambda fields: fields.integer("k", 0, 5), 6, "k must be an integer"),
        (lambda fields: fields.integer("k", 0, 5), -1, "k must be an integer"),
        (lambda fields: fields.integer("k", 0, 5), 10**400, "k must be an integer"),
        (lambda fields: fields.number("k", 0, 5), None, "k must be a number from 0 to 5"),
        (lambda fields: fields.number("k", 0, 5), False, "k must be a number"),
        (lambda fields: fields.number("k", 0, 5), "1", "k must be a number"),
        (lambda fields: fields.number("k", 0, 5), 5.5, "k must be a number"),
        (lambda fields: fields.number("k", 0, 5), 10**400, "k must be a number"),
        (lambda fields: fields.number("k", 0, 5), math.nan, "k must be a number"),
        (lambda fields: fields.moment("k"), 5, "k must be an instant such as 2026-01-31T12:00:00Z"),
        (lambda fields: fields.moment("k"), "soon", "not an instant"),
        (lambda fields: fields.boolean("k"), 1, "k must be true or false"),
        (lambda fields: fields.child("k"), [], "k must be an object"),
        (lambda fields: fields.texts("k", most=2), "ab", "k must be a list of at most 2 strings"),
        (lambda fields: fields.texts("k", most=2), ["a", "b", "c"], "k must be a list of at most 2 strings"),
        (lambda fields: fields.texts("k", most=2), ["a", 1], "k must hold strings of at most 400"),
        (lambda fields: fields.texts("k", most=2, limit=1), ["ab"], "k must hold strings of at most 1"),
    ],
)
def test_a_wrong_value_is_refused_naming_its_key(ask: Callable[[Fields], object], value: JsonValue, words: str) -> None:
    """Each getter says which key is wrong and what it may be."""
    with pytest.raises(MalformedError, match=words):
        ask(Fields({"k": value}))


def test_right_values_come_back_typed() -> None:
    """Each getter returns what it promises."""
    fields = Fields(
        {"t": "x", "i": 5, "n": 2, "m": "1970-01-01T00:00:07Z", "b": True, "o": {"z": 1}, "l": ["a", "b"], "new": [1]}
    )
    assert fields.text("t") == "x"
    assert fields.integer("i", 5, 5) == 5
    number = fields.number("n", 0, 5)
    assert (number, type(number)) == (2.0, float)
    assert fields.moment("m") == 7
    assert fields.boolean("b") is True
    child = fields.child("o")
    assert child is not None
    assert child.rest == {"z": 1}
    assert fields.texts("l", most=2) == ("a", "b")
    assert fields.rest == {"new": [1]}


def test_bounds_are_part_of_what_is_allowed() -> None:
    """The lowest, the highest and the longest value pass."""
    fields = Fields({"low": 0, "high": 5, "text": "abc", "list": ["ab", "cd"]})
    assert [fields.integer(key, 0, 5) for key in ("low", "high")] == [0, 5]
    assert [fields.number(key, 0, 5) for key in ("low", "high")] == [0, 5]
    assert fields.text("text", limit=3) == "abc"
    assert fields.texts("list", most=2, limit=2) == ("ab", "cd")


def test_people_can_read_the_bytes() -> None:
    """Plain git shows one key a line and characters as they are; a ring line has no spaces to spare."""
    value: JsonObject = {"name": "\u00e9", "list": [1]}
    assert render_object(value) == '{\n "name": "\u00e9",\n "list": [\n  1\n ]\n}\n'.encode()
    assert render_object(value, indent=None) == '{"name":"\u00e9","list":[1]}\n'.encode()


def test_absent_and_null_values_have_their_defaults() -> None:
    """Null counts as absent, so that a writer may leave a key empty."""
    for fields in (Fields({}), Fields(dict.fromkeys("tinmbol"))):
        assert fields.text("t") == ""
        assert fields.integer("i", 1, 5, default=3) == 3
        assert fields.number("n", 1, 5, default=0.0) == 0.0
        assert fields.moment("m") is None
        assert fields.boolean("b") is False
        assert fields.child("o") is None
        assert fields.texts("l", most=2) == ()
        assert fields.rest == {}


@settings(deadline=None)
@given(value=json_objects(), asked=st.sets(texts(3), max_size=3))
def test_the_rest_is_what_nobody_asked_for(value: JsonObject, asked: set[str]) -> None:
    """Keys that no getter read are kept as they are."""
    fields = Fields(value)
    for key in asked:
        assume(not isinstance(value.get(key), dict))
        try:
            fields.child(key)
        except MalformedError:
            continue
    assert fields.rest == {key: item for key, item in value.items() if key not in asked}


def test_keys_stay_in_the_order_given() -> None:
    """A person reads the most telling keys first."""
    assert list(json.loads(render_object({"z": 1, "a": 2}))) == ["z", "a"]
