"""``lines``: JSON Lines, CSV and plain lists of records."""

from __future__ import annotations

import pytest

from gitref_lock.landing.strategies.base import Merged, StrategyFailed
from gitref_lock.landing.strategies.registry import strategy_for


def merge(spec: str, path: str, base: str | None, ours: str, theirs: str) -> Merged | StrategyFailed:
    """Merge three files."""
    old = None if base is None else base.encode()
    return strategy_for(spec).merge(path.encode(), old, ours.encode(), theirs.encode())


def content(answer: Merged | StrategyFailed) -> str:
    """Return the merged text."""
    assert isinstance(answer, Merged), answer
    assert answer.content is not None
    return answer.content.decode()


def test_both_appended_records_are_kept_theirs_first() -> None:
    """The log of two runners holds the lines of both."""
    answer = merge("lines", "log.jsonl", '{"a":1}\n', '{"a":1}\n{"b":1}\n', '{"a":1}\n{"c":1}\n')

    assert answer == Merged(b'{"a":1}\n{"c":1}\n{"b":1}\n', is_complete=True)


def test_the_same_appended_record_is_kept_once() -> None:
    """A record that both sides added is one record, as it would be for lines."""
    assert content(merge("lines", "f", "a\n", "a\nb\nb\n", "a\nb\nc\n")) == "a\nb\nc\nb\n"


def test_removed_records_go() -> None:
    """What ours removed is removed from theirs, once for each removal."""
    assert content(merge("lines", "f", "a\nb\nb\n", "a\nb\n", "a\nb\nb\nc\n")) == "a\nb\nc\n"


def test_a_keyed_record_is_updated_in_its_place() -> None:
    """By key, an update of ours replaces the record where theirs has it."""
    answer = merge(
        "lines:key=id", "f.jsonl", '{"id":1,"v":0}\n', '{"id":1,"v":1}\n', '{"id":1,"v":0}\n{"id":2,"v":0}\n'
    )

    assert answer == Merged(b'{"id":1,"v":1}\n{"id":2,"v":0}\n', is_complete=True)


def test_a_keyed_record_set_by_both_is_ours_and_named() -> None:
    """Two versions of one record do not become two records."""
    answer = merge("lines:key=id", "f.jsonl", '{"id":"x","v":0}\n', '{"id":"x","v":1}\n', '{"id":"x","v":2}\n')

    assert answer == Merged(b'{"id":"x","v":1}\n', detail=("x",))


def test_number_and_text_are_different_keys() -> None:
    """The number 1 and the text "1" identify two records."""
    answer = merge("lines:key=id", "f.jsonl", "", '{"id":1}\n', '{"id":"1"}\n')

    assert content(answer) == '{"id":"1"}\n{"id":1}\n'


@pytest.mark.parametrize(
    ("spec", "result"),
    [
        ("lines:sort", "10\n9\na\nb\n"),
        ("lines:key=n,sort", None),
    ],
)
def test_plain_lines_sort_as_text(spec: str, result: str | None) -> None:
    """Without a key the lines themselves are sorted; a key needs JSON."""
    answer = merge(spec, "f", "b\n", "b\n9\na\n", "b\n10\n")

    if result is None:
        assert isinstance(answer, StrategyFailed)
    else:
        assert content(answer) == result


def test_keys_that_are_numbers_sort_by_size() -> None:
    """2 comes before 10."""
    answer = merge("lines:key=n,sort", "f.jsonl", "", '{"n":10}\n{"n":"b"}\n', '{"n":2}\n{"n":"nan"}\n')

    assert content(answer) == '{"n":2}\n{"n":10}\n{"n":"b"}\n{"n":"nan"}\n'


def test_a_csv_file_keeps_one_header() -> None:
    """The first row stays first, also when the file is new on both sides or sorted."""
    answer = merge("lines:key=id,sort", "t.csv", None, "id,v\n2,b\n", 'id,v\n10,"x\ny"\n1,a\n')

    assert content(answer) == 'id,v\n1,a\n2,b\n10,"x\ny"\n'


def test_csv_rows_are_known_by_a_column() -> None:
    """A quoted key is the same key."""
    answer = merge("lines:key=id", "t.csv", "v,id\n1,a\n", 'v,id\n2,"a"\n', "v,id\n1,a\n3,b\n")

    assert content(answer) == 'v,id\n2,"a"\n3,b\n'


@pytest.mark.parametrize(
    ("spec", "path", "ours", "reason"),
    [
        ("lines", "t.csv", "id,w\n1,a\n", "the columns of the CSV file differ"),
        ("lines", "t.csv", 'id,v\n1,"a\n', "a quote in the CSV file is never closed"),
        ("lines:key=no", "t.csv", "id,v\n1,a\n2,b\n", "the CSV file has not exactly one column 'no'"),
        ("lines:key=v", "t.csv", "id,v\n1\n", "a CSV row has no column 'v'"),
        ("lines:key=id", "t.csv", "id,v\n1,a\n1,b\n", "two records have the key 1"),
        ("lines:key=id", "f.jsonl", '{"v":1}\n', "a record has no field 'id' that could identify it"),
        ("lines:key=id", "f.jsonl", '{"id":[]}\n', "a record has no field 'id' that could identify it"),
        ("lines:key=id", "f.jsonl", "[1]\n", "a record has no field 'id' that could identify it"),
        ("lines:key=id", "f.jsonl", "{\n", "a line is not valid JSON"),
        ("lines", "f", "a\0b\n", "both sides changed a binary file"),
    ],
)
def test_what_is_no_record_fails(spec: str, path: str, ours: str, reason: str) -> None:
    """A file that does not hold what the rule says is not merged by it."""
    theirs = "id,v\n3,c\n" if path.endswith(".csv") else '{"id":3}\n'
    base = "id,v\n" if path.endswith(".csv") else ""

    assert merge(spec, path, base, ours, theirs) == StrategyFailed(reason)


@pytest.mark.parametrize(
    ("ours", "theirs", "result"),
    [
        ("a\r\nb\r\n", "a\r\nc\r\n", "a\r\nc\r\nb\r\n"),
        ("a\nb", "a\nc", "a\nc\nb"),
        ("a\nb", "a\nc\n", "a\nc\nb\n"),
        ("a\nb\n", "", "b\n"),
        ("", "a\nb\n", "b\n"),
    ],
)
def test_line_ends_are_those_of_theirs(ours: str, theirs: str, result: str) -> None:
    """CRLF stays CRLF, and a last line end is there when theirs has one; an emptied file takes those of ours."""
    assert content(merge("lines", "f", "a" + ("\r\n" if "\r" in ours else "\n"), ours, theirs)) == result


def test_a_quote_that_stays_open_for_long_is_read_once() -> None:
    """A hundred thousand lines in one field of a CSV file take a moment, open or closed."""
    rows = 'id,name\n1,"' + "\n" * 100_000
    assert merge("lines", "a.csv", "id,name\n", rows, "id,name\n2,b\n") == StrategyFailed(
        "a quote in the CSV file is never closed"
    )
    made = content(merge("lines", "a.csv", "id,name\n", rows + '"\n', "id,name\n2,b\n"))
    assert made == "id,name\n2,b\n" + rows.removeprefix("id,name\n") + '"\n'


@pytest.mark.parametrize("path", ["f", "f.csv"])
def test_what_both_sides_removed_once_is_removed_once(path: str) -> None:
    """A record that stood twice, and that both sides thinned out, stays once."""
    head = "id\n" if path == "f.csv" else ""
    merged = content(merge("lines", path, head + "r\nr\na\n", head + "r\na\nx\n", head + "r\na\ny\n"))
    assert merged == head + "r\na\ny\nx\n"


def test_each_record_keeps_its_own_line_end() -> None:
    """One CRLF among other line ends, also inside of quotes, does not end every record with CRLF."""
    assert content(merge("lines", "f", "1\n2\n", "1\n2\n3\n", "1\r\n2\n4\n")) == "1\r\n2\n4\n3\n"
    quoted = 'id,text\n1,"a\r\nb"\n'
    assert content(merge("lines", "f.csv", quoted, quoted + "2,c\n", quoted + "3,d\n")) == quoted + "3,d\n2,c\n"
    assert content(merge("lines", "f", "a\n", "a\nb\n", "a\r\r\na\nc")) == "a\r\r\na\nc\nb"


def test_an_order_of_ours_that_is_lost_is_named() -> None:
    """Records in another order are a change, and it is not dropped in silence."""
    answer = merge("lines", "f", "1\n2\n3\n", "2\n1\n3\n", "1\n2\n3\n4\n")
    assert isinstance(answer, Merged)
    assert (answer.content, answer.is_complete, answer.detail) == (b"1\n2\n3\n4\n", False, ("order",))
