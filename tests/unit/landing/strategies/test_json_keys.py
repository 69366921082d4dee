"""``json``: merge by key, with the layout of the file kept."""

from __future__ import annotations

import pytest

from gitref_lock.landing.strategies.base import Merged, StrategyFailed
from gitref_lock.landing.strategies.registry import strategy_for


def merge(base: str | None, ours: str, theirs: str, options: str = "") -> tuple[str, tuple[str, ...]]:
    """Merge three documents, which must succeed; return the text and what was lost."""
    spec = f"json:{options}" if options else "json"
    answer = strategy_for(spec).merge(
        b"f.json", None if base is None else base.encode(), ours.encode(), theirs.encode()
    )
    assert isinstance(answer, Merged), answer
    assert answer.content is not None
    assert answer.is_complete == (not answer.detail)
    return answer.content.decode(), answer.detail


def failure(base: str | bytes, ours: str | bytes, theirs: str | bytes, options: str = "") -> str:
    """Merge three documents, which must fail; return the reason."""
    versions = [text.encode() if isinstance(text, str) else text for text in (base, ours, theirs)]
    spec = f"json:{options}" if options else "json"
    answer = strategy_for(spec).merge(b"f.json", versions[0], versions[1], versions[2])
    assert isinstance(answer, StrategyFailed), answer
    return answer.reason


LAYOUTS = {
    "two spaces": (
        '{\n  "a": 1,\n  "z": {\n    "k": 1\n  }\n}\n',
        '{\n  "a": 2,\n  "b": [\n    1\n  ],\n  "z": {\n    "k": 1\n  }\n}\n',
        '{\n  "a": 1,\n  "z": {\n    "k": 1,\n    "l": 2\n  }\n}\n',
        '{\n  "a": 2,\n  "b": [\n    1\n  ],\n  "z": {\n    "k": 1,\n    "l": 2\n  }\n}\n',
    ),
    "tabs, no final newline": (
        '{\n\t"a": 1\n}',
        '{\n\t"a": 1,\n\t"b": 2\n}',
        '{\n\t"a": 3\n}',
        '{\n\t"a": 3,\n\t"b": 2\n}',
    ),
    "compact": ('{"a":1}', '{"a":1,"b":2}', '{"a":3}', '{"a":3,"b":2}'),
    "one line with spaces": ('{"a": 1}', '{"a": 1, "b": 2}', '{"a": 3}', '{"a": 3, "b": 2}'),
    "CRLF": (
        '{\r\n  "a": 1\r\n}\r\n',
        '{\r\n  "a": 1,\r\n  "b": 2\r\n}\r\n',
        '{\r\n  "a": 3\r\n}\r\n',
        '{\r\n  "a": 3,\r\n  "b": 2\r\n}\r\n',
    ),
    "hand-made": (
        '{ "a" : 1,\n   "list": [1,2,  3] }\n',
        '{ "a" : 9,\n   "list": [1,2,  3] }\n',
        '{ "a" : 1,\n   "list": [1,2,  3],\n   "c":   {} }\n',
        '{ "a" : 9,\n   "list": [1,2,  3],\n   "c":   {} }\n',
    ),
    "byte order mark": ('\ufeff{"a": 1}', '\ufeff{"a": 1, "b": 2}', '\ufeff{"a": 3}', '\ufeff{"a": 3, "b": 2}'),
    "first member of an empty object": (
        '{\n  "o": {}\n}\n',
        '{\n  "o": {\n    "k": 1\n  }\n}\n',
        '{\n  "o": {},\n  "p": 1\n}\n',
        '{\n  "o": {\n    "k": 1\n  },\n  "p": 1\n}\n',
    ),
    "both fill an empty object": (
        '{\n  "o": {}\n}\n',
        '{\n  "o": {\n    "k": 1\n  }\n}\n',
        '{\n  "o": {\n    "l": 1\n  }\n}\n',
        '{\n  "o": {\n    "l": 1,\n    "k": 1\n  }\n}\n',
    ),
    "last member removed": (
        '{\n  "a": 1,\n  "b": 2\n}\n',
        '{\n  "a": 1\n}\n',
        '{\n  "a": 3,\n  "b": 2\n}\n',
        '{\n  "a": 3\n}\n',
    ),
    "all members removed": (
        '{\n  "a": {\n    "x": 1\n  },\n  "b": 1\n}\n',
        '{\n  "a": {},\n  "b": 1\n}\n',
        '{\n  "a": {\n    "x": 1\n  },\n  "b": 2\n}\n',
        '{\n  "a": {},\n  "b": 2\n}\n',
    ),
}


@pytest.mark.parametrize(("base", "ours", "theirs", "result"), LAYOUTS.values(), ids=LAYOUTS)
def test_layout_is_kept(base: str, ours: str, theirs: str, result: str) -> None:
    """Nothing changes but the text of what was added, changed or removed."""
    assert merge(base, ours, theirs) == (result, ())


def test_our_other_layout_is_adapted() -> None:
    """Where ours was written anew in another layout, what comes in is laid out as theirs is."""
    base = '{\n    "a": 1\n}\n'
    ours = '{"a":1,"b":{"c":[1.50,true],"d":{}}}'

    made, lost = merge(base, ours, '{\n    "a": 2\n}\n')

    wanted = (
        '{\n    "a": 2,\n    "b": {\n        "c": [\n            1.50,\n            true\n        ],\n'
        '        "d": {}\n    }\n}\n'
    )
    assert made == wanted
    assert lost == ()


def test_numbers_keep_their_digits() -> None:
    """Big integers, long fractions and exponents come through as written."""
    number = "123456789012345678901234567890"
    made, _lost = merge('{"a": 1}', f'{{"a": {number}}}', '{"a": 1, "b": 1.10, "c": 1E400, "d": -0}')

    assert made == f'{{"a": {number}, "b": 1.10, "c": 1E400, "d": -0}}'


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        (r'{"a": "\u00e4"}', r'{"a": "\u00e4", "b": "ö"}', r'{"a": "\u00fc"}', r'{"a": "\u00fc", "b": "\u00f6"}'),
        ('{"a": "ä"}', r'{"a": "ä", "b": "\u00f6"}', '{"a": "ü"}', r'{"a": "ü", "b": "\u00f6"}'),
        ('{"a": "ä"}', r'{"a": "\u00e4", "b": "\u00f6"}', '{"a": "ü"}', '{"a": "ü", "b": "ö"}'),
        ('{"a": 1}', '{"a": 1, "ä": "ö"}', '{"a": 2}', '{"a": 2, "ä": "ö"}'),
        ('{"a": "ä"}', r'{"a": "ä", "b": "\ud800"}', '{"a": "ü"}', r'{"a": "ü", "b": "\ud800"}'),
        (r'{"a\/b": 1}', r'{"a\/b": 1, "c": "\/"}', r'{"a\/b": 2}', r'{"a\/b": 2, "c": "\/"}'),
    ],
)
def test_the_file_decides_how_other_characters_are_written(base: str, ours: str, theirs: str, result: str) -> None:
    """A file in ASCII stays so, one in UTF-8 too, and escapes that mean the same are left alone."""
    assert merge(base, ours, theirs)[0] == result


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        ('{"a":1,"c":1}', '{"a":1,"b":1,"c":1}', '{"a":1,"c":1,"d":1}', '{"a":1,"b":1,"c":1,"d":1}'),
        ('{"z":1,"c":1}', '{"z":1,"y":1,"c":1}', '{"z":1,"c":1,"d":1}', '{"z":1,"y":1,"c":1,"d":1}'),
        ('{"z":1,"c":1}', '{"z":1,"c":1,"y":1}', '{"z":1,"c":1,"d":1}', '{"z":1,"c":1,"d":1,"y":1}'),
        ('{"z":1,"c":1}', '{"n":0,"z":1,"c":1}', '{"z":1,"c":2}', '{"n":0,"z":1,"c":2}'),
    ],
)
def test_new_keys_find_their_place(base: str, ours: str, theirs: str, result: str) -> None:
    """Sorted files stay sorted; elsewhere a new key stands where it stood in ours, or at the end."""
    assert merge(base, ours, theirs) == (result, ())


def test_one_key_set_by_both_is_ours_and_named() -> None:
    """The pointer of each key that both sides set is reported, with its escapes."""
    made, lost = merge('{"a/b": {"~": 1}, "c": 1}', '{"a/b": {"~": 2}, "c": 2}', '{"a/b": {"~": 3}, "c": 1}')

    assert made == '{"a/b": {"~": 2}, "c": 2}'
    assert lost == ("/a~1b/~0",)


def test_a_set_key_outlives_its_deletion() -> None:
    """Where one side deleted what the other set, the value stays and the key is named."""
    assert merge('{"a": 1, "b": 1}', '{"b": 1}', '{"a": 2, "b": 1}') == ('{"a": 2, "b": 1}', ("/a",))
    assert merge('{"a": 1, "b": 1}', '{"a": 2, "b": 1}', '{"b": 1}') == ('{"a": 2, "b": 1}', ("/a",))


@pytest.mark.parametrize(
    ("options", "base", "ours", "theirs", "result", "lost"),
    [
        ("", "[1, 2]", "[1, 2, 3]", "[0, 1, 2]", "[0, 1, 2, 3]", ()),
        ("", "[1]", "[1, 2]", "[1, 3]", "[1, 3, 2]", ()),
        ("", "[1, 5]", "[2, 5]", "[3, 5]", "[2, 5]", ("/l",)),
        ("arrays=append", "[1, 5]", "[2, 5]", "[3, 5]", "[3, 5, 2]", ()),
        ("arrays=append", "[1]", "[1, 2]", "[1, 2, 3]", "[1, 2, 3, 2]", ()),
        ("arrays=append", "[1, 2]", "[2]", "[1, 2, 3]", "[2, 3]", ()),
        ("arrays=set", "[1]", "[1, 2]", "[1, 2, 3]", "[1, 2, 3]", ()),
        ("arrays=set", "[1, 2]", "[2]", "[1, 2, 3]", "[2, 3]", ()),
        (
            "arrays=id",
            '[{"id": 1, "v": 1}]',
            '[{"id": 1, "v": 2}]',
            '[{"id": 0}, {"id": 1, "v": 1, "w": 1}]',
            '[{"id": 0}, {"id": 1, "v": 2, "w": 1}]',
            (),
        ),
        (
            "arrays=id",
            '[{"id": 1}, {"id": 2}]',
            '[{"id": 2}, {"id": 3}]',
            '[{"id": 1}, {"id": 2, "v": 1}]',
            '[{"id": 2, "v": 1}, {"id": 3}]',
            (),
        ),
        (
            "arrays=id",
            '[{"id": "a", "v": 1}]',
            '[{"id": "a", "v": 2}]',
            '[{"id": "a", "v": 3}]',
            '[{"id": "a", "v": 2}]',
            ("/l/id=a/v",),
        ),
        ("arrays=id", "[1]", "[1, 2]", "[0, 1]", "[0, 1, 2]", ()),
        ("arrays=append", '["r", "r"]', '["r"]', '["r", "y"]', '["r", "y"]', ()),
        ("arrays=append", '["r", "r", "a"]', '["r", "a", "x"]', '["r", "a", "y"]', '["r", "a", "y", "x"]', ()),
        ("arrays=set", '["r", "r"]', '["r", "x"]', '["r", "y"]', '["r", "y", "x"]', ()),
        ("arrays=set", '["r", "r", "a"]', '["a", "x"]', '["r", "r", "a", "y"]', '["a", "y", "x"]', ()),
        ("arrays=append", "[1, 2]", "[2, 1]", "[1, 2, 3]", "[1, 2, 3]", ("/l: order",)),
        (
            "arrays=id",
            '[{"id": 1}, {"id": 2}]',
            '[{"id": 2}, {"id": 1}]',
            '[{"id": 1, "v": 3}, {"id": 2}]',
            '[{"id": 1, "v": 3}, {"id": 2}]',
            ("/l: order",),
        ),
        ("arrays=id,numbers=sum", "[]", '[{"id": 7, "n": 1}]', '[{"id": 7, "n": 2}]', '[{"id": 7, "n": 3}]', ()),
    ],
)
def test_arrays(options: str, base: str, ours: str, theirs: str, result: str, lost: tuple[str, ...]) -> None:
    """Arrays merge by position, by appending, as sets, or by the key that identifies their items."""
    versions = [f'{{"l": {items}}}' for items in (base, ours, theirs)]

    assert merge(versions[0], versions[1], versions[2], options) == (f'{{"l": {result}}}', lost)


@pytest.mark.parametrize(
    ("options", "base", "ours", "theirs", "result", "lost"),
    [
        ("", "1", "2", "3", "2", ("/n",)),
        ("numbers=last", "1", "2", "3", "2", ("/n",)),
        ("numbers=sum", "10", "12", "13", "15", ()),
        ("numbers=sum", "10", "11", "11", "12", ()),
        ("numbers=sum", "10", "10", "11", "11", ()),
        ("numbers=sum", "0", "0.1", "0.2", "0.3", ()),
        ("numbers=sum", "1.50", "2.25", "1.00", "1.75", ()),
        ("numbers=sum", "0", "1e2", "1", "101", ()),
        ("numbers=sum", "1" + "0" * 40, "1" + "0" * 39 + "1", "1" + "0" * 39 + "2", "1" + "0" * 39 + "3", ()),
        ("numbers=sum", "1", "1e999999", "2", "1e999999", ("/n",)),
        ("numbers=max", "1", "2", "3", "3", ()),
        ("numbers=max", "9", "2", "1.5", "2", ()),
        ("numbers=sum", '"x"', "2", "3", "2", ("/n",)),
    ],
)
def test_numbers(options: str, base: str, ours: str, theirs: str, result: str, lost: tuple[str, ...]) -> None:
    """Counters add up exactly, maxima win, and otherwise ours is the last."""
    versions = [f'{{"n": {number}, "o": {index}}}' for index, number in enumerate((base, ours, theirs))]
    versions[1] = versions[1].replace('"o": 1', '"o": 0')

    assert merge(versions[0], versions[1], versions[2], options) == (f'{{"n": {result}, "o": 2}}', lost)


def test_two_new_documents_merge_without_a_base() -> None:
    """When both sides add the file their keys are united."""
    assert merge(None, '{"a": 1, "c": 1}', '{"b": 2, "c": 1}') == ('{"a": 1, "b": 2, "c": 1}', ())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "not valid JSON at line 1"),
        ('{"a": 1,}', "not valid JSON at line 1"),
        ('{\n"a" 1}', "not valid JSON at line 2"),
        ('{"a": 1} x', "not valid JSON at line 1"),
        ('{"a": 01}', "not valid JSON at line 1"),
        ('{"a": NaN}', "not valid JSON at line 1"),
        ('{"a": "\t"}', "not valid JSON at line 1"),
        ('{"a": "x', "not valid JSON at line 1"),
        ("{'a': 1}", "not valid JSON at line 1"),
        ("[1, 2", "not valid JSON at line 1"),
        ('{"a": 1 // x\n}', "not valid JSON at line 1"),
        ('{"a": 1, "a": 2}', "key 'a' stands twice in one object"),
        ("[" * 200 + "]" * 200, "nested deeper than 100"),
        ("[" * 100_000, "nested deeper than 100"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
    ],
)
def test_what_is_not_json_fails(bad: str | bytes, reason: str) -> None:
    """A document that is not valid JSON, or says two things, is never merged by key."""
    good = '{"a": 1}'

    assert failure(good, bad, '{"a": 2}') == reason
    assert failure(good, '{"a": 2}', bad) == reason
    assert failure(bad, good, '{"a": 2}') == reason


def test_documents_without_common_ground_fail() -> None:
    """Two scalars, or a list against a map, have no keys to merge by."""
    assert "nothing in common" in failure("1", "2", "3")
    assert "nothing in common" in failure("{}", "[1]", '{"a": 1}')


def test_a_deleted_file_fails() -> None:
    """A whole file that one side deleted is no matter of keys."""
    answer = strategy_for("json").merge(b"f.json", b"{}", None, b'{"a": 1}')

    assert answer == StrategyFailed("deleted on one side, changed on the other")


@pytest.mark.parametrize(
    "theirs",
    [
        "{\n" + " " * 30_000 + '"y": {}}',
        '{"y": 1,' + " " * 30_000 + '"v": 2}',
        '{"y"' + " " * 30_000 + ": 1}",
        '{"y": [1,' + "\n" * 30_000 + "2]}",
        "{" + "\n" * 30_000 + '"y": {}}',
    ],
    ids=["indent", "gap", "colon", "gap in a list", "lead"],
)
def test_blanks_are_not_multiplied(theirs: str) -> None:
    """Wide gaps in a stranger's document are not repeated for each value of ours: kilobytes would become gigabytes."""
    values = ",".join("7" * 9 for _ in range(3000))
    keys = ",".join(f'"k{number}":1' for number in range(2000))
    for ours in ('{"x":[' * 90 + values + "]}" * 90, "{" + keys + "}", '{"y":[1,2,' + values + "]}"):
        for base in ("{}", '{"y": [1, 2]}'):
            answer = strategy_for("json:arrays=append").merge(b"f.json", base.encode(), ours.encode(), theirs.encode())
            if isinstance(answer, Merged):
                assert len(answer.content or b"") < 40 * (len(ours) + len(theirs))


def test_a_sum_has_no_more_digits_than_numbers_have() -> None:
    """Sums are written out; an exponent beyond all floats is no counter, and ours wins it by name."""
    assert merge('{"n": 0}', '{"n": 1e300}', '{"n": 2e300}', "numbers=sum") == ('{"n": 3' + "0" * 300 + "}", ())
    assert merge('{"n": 0}', '{"n": 1e2000}', '{"n": 2e2000}', "numbers=sum") == ('{"n": 1e2000}', ("/n",))


@pytest.mark.parametrize(
    "ours",
    ['{\n "c": 3,\n "a": 1,\n "b": 2\n}\n', '{\n "a": 1,\n "b":   2,\n "c": 3\n}\n'],
    ids=["order", "blanks"],
)
def test_an_order_or_layout_of_ours_is_kept_where_lines_keep_it(ours: str) -> None:
    """What is no value is a change as well: lines that merge cleanly to the planned values carry it."""
    base = '{\n "a": 1,\n "b": 2,\n "c": 3\n}\n'
    far = "".join(f' "k{number}": {number},\n' for number in range(8))
    assert merge(
        base.replace("{\n", "{\n" + far),
        ours.replace("{\n", "{\n" + far),
        base.replace("{\n", "{\n" + far.replace('"k0": 0', '"k0": 9')),
    ) == (ours.replace("{\n", "{\n" + far.replace('"k0": 0', '"k0": 9')), ())


def test_a_layout_of_ours_that_is_lost_is_named() -> None:
    """Where lines cannot carry a new layout, the report says that nothing of it came in."""
    answer = strategy_for("json").merge(b"f.json", b'{"a": 1, "b": 2}', b'{"a":1,"b":2}', b'{"a": 1, "b": 3}')
    assert isinstance(answer, Merged)
    assert (answer.content, answer.is_complete) == (b'{"a": 1, "b": 3}', False)
    assert answer.detail == ("order, layout and comments",)
