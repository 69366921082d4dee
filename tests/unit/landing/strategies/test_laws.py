"""The laws that every strategy obeys, and the ones that give each its name."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.landing.merge.lines import split_lines
from gitref_lock.landing.strategies.base import Merged, StrategyFailed
from gitref_lock.landing.strategies.registry import strategy_for

SPECS = (
    "text",
    "ours",
    "theirs",
    "union",
    "fail",
    "json",
    "json:arrays=append,numbers=sum",
    "json:arrays=set,numbers=max",
    "json:arrays=id",
    "lines",
    "lines:key=id,sort",
    "yaml",
    "toml",
    "regenerate:true",
    "driver:mine",
)

_CONTENT = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.sampled_from([b"{}", b'{"a": 1}', b"[1, 2]", b"a: 1\n", b"a = 1\n", b'{"id": 1}\n', b"x\ny\n"]),
)

_SCALARS = st.one_of(st.integers(-9, 9), st.sampled_from(["x", "y\u00e4", "", "1"]), st.booleans(), st.none())
_JSON: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.sampled_from("abcdef"), _JSON, max_size=5)
_LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\n"]), max_size=8).map(b"".join)


@pytest.mark.parametrize("spec", SPECS)
@given(base=_CONTENT, side=_CONTENT)
@settings(max_examples=40)
def test_a_side_that_changed_nothing_yields(spec: str, base: bytes | None, side: bytes | None) -> None:
    """With ours as the base the answer is theirs, with theirs as the base it is ours, and two equal sides stay."""
    strategy = strategy_for(spec)

    for ours, theirs in ((base, side), (side, base), (side, side)):
        answer = strategy.merge(b"f", base, ours, theirs)
        assert answer == Merged(side, is_complete=True)


@pytest.mark.parametrize("spec", SPECS)
@given(base=_CONTENT, ours=_CONTENT, theirs=_CONTENT)
@settings(max_examples=60)
def test_no_input_makes_a_strategy_raise_or_write_markers(
    spec: str, base: bytes | None, ours: bytes | None, theirs: bytes | None
) -> None:
    """Whatever the bytes, the answer is a result or a refusal with a reason, and never a conflict marker."""
    answer = strategy_for(spec).merge(b"f.csv", base, ours, theirs)

    if isinstance(answer, StrategyFailed):
        assert answer.reason
    else:
        given_markers = any(b"<<<<<<<" in (side or b"") for side in (base, ours, theirs))
        assert given_markers or b"<<<<<<<" not in (answer.content or b"")


@given(base=_LINES, ours=_LINES, theirs=_LINES)
def test_union_keeps_every_added_line(base: bytes, ours: bytes, theirs: bytes) -> None:
    """No line that either side added is missing, as often as the side that has it most often added it."""
    answer = strategy_for("union").merge(b"f", base, ours, theirs)

    assert isinstance(answer, Merged)
    assert answer.content is not None
    made = set(split_lines(answer.content))
    old = set(split_lines(base))
    assert (set(split_lines(ours)) | set(split_lines(theirs))) - old <= made


@given(base=_OBJECTS, ours=_OBJECTS, theirs=_OBJECTS, indent=st.sampled_from([None, 1, 2, 4, "\t"]))
@settings(max_examples=300)
def test_json_of_any_objects_is_the_merge_by_key(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], indent: int | str | None
) -> None:
    """Each key has the value of the side that changed it; if both did, ours wins by name or both are in it."""
    texts = [json.dumps(value, indent=indent, ensure_ascii=False).encode() + b"\n" for value in (base, ours, theirs)]
    answer = strategy_for("json").merge(b"f", texts[0], texts[1], texts[2])

    assert isinstance(answer, Merged)
    made = json.loads(answer.content or b"")
    for key in {*ours, *theirs}:
        our, their, old = (_typed(side.get(key, _ABSENT)) for side in (ours, theirs, base))
        now = _typed(made.get(key, _ABSENT))
        if our in (their, old):
            assert now == their
        elif their == old:
            assert now == our
        elif _typed(_ABSENT) in (our, their):
            assert now == (our if their == _typed(_ABSENT) else their)
            assert f"/{key}" in answer.detail
        else:
            assert now == our or f"/{key}" not in answer.detail
    assert set(made) <= {*ours, *theirs}


_ABSENT = "absent"


def _typed(value: object) -> str:
    """Return a value so that 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


@given(base=_OBJECTS, ours=_OBJECTS, theirs=_OBJECTS)
def test_json_of_disjoint_edits_contains_both(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """Edits under different keys are both in the result, and nothing is reported as lost."""
    with_ours = base | {f"our {key}": value for key, value in ours.items()}
    with_theirs = base | {f"their {key}": value for key, value in theirs.items()}
    texts = [json.dumps(value).encode() for value in (base, with_ours, with_theirs)]
    answer = strategy_for("json").merge(b"f", texts[0], texts[1], texts[2])

    assert isinstance(answer, Merged)
    assert _typed(json.loads(answer.content or b"")) == _typed(with_ours | with_theirs)
    assert answer.is_complete


@pytest.mark.parametrize("seed", range(200))
def test_concurrent_json_histories_lose_no_key(seed: int) -> None:
    """Several writers edit one document in turn on stale copies; each key holds what somebody set last, or is named.

    Every writer lands by a three-way merge on what the others landed since its copy, as a push does.
    """
    rng = random.Random(seed)
    landed: list[dict[str, Any]] = [{"jobs": {}, "n": 0}]
    texts = [json.dumps(landed[0], indent=2).encode() + b"\n"]
    named: set[str] = set()
    written: dict[str, list[Any]] = {}
    for turn in range(rng.randint(3, 12)):
        start = rng.randrange(max(0, len(texts) - 3), len(texts))
        mine = json.loads(texts[start])
        for _ in range(rng.randint(1, 3)):
            key, value = rng.choice("abcdefgh"), f"{turn}-{rng.randrange(100)}"
            mine["jobs"][key] = value
        for key, value in mine["jobs"].items():
            if json.loads(texts[start])["jobs"].get(key) != value:
                written.setdefault(f"/jobs/{key}", []).append(value)
        answer = strategy_for("json").merge(b"f", texts[start], json.dumps(mine, indent=2).encode() + b"\n", texts[-1])
        assert isinstance(answer, Merged)
        assert answer.content is not None
        before, after = json.loads(texts[-1])["jobs"], json.loads(answer.content)["jobs"]
        old = json.loads(texts[start])["jobs"]
        for key in before:
            assert after[key] == before[key] or mine["jobs"][key] == after[key]
            was_set_by_both = before[key] != old.get(key) and mine["jobs"].get(key) not in (old.get(key), before[key])
            assert (f"/jobs/{key}" in answer.detail) == was_set_by_both
        named.update(answer.detail)
        texts.append(answer.content)

    final = json.loads(texts[-1])["jobs"]
    for pointer, values in written.items():
        assert final[pointer.removeprefix("/jobs/")] in values
        if len(set(values)) == 1:
            assert pointer not in named
    assert texts[-1] == json.dumps(json.loads(texts[-1]), indent=2).encode() + b"\n"


@given(
    base=st.lists(st.integers(0, 9), max_size=6),
    ours=st.lists(st.integers(0, 9), max_size=6),
    theirs=st.lists(st.integers(0, 9), max_size=6),
)
def test_lines_keeps_every_added_record(base: list[int], ours: list[int], theirs: list[int]) -> None:
    """Without a key, a record is there as often as the side has it that added it more often, or removed it."""
    texts = [b"".join(b"%d\n" % number for number in side) for side in (base, ours, theirs)]
    answer = strategy_for("lines").merge(b"f.txt", texts[0], texts[1], texts[2])

    assert isinstance(answer, Merged)
    made = Counter(int(line) for line in (answer.content or b"").split())
    old, our, their = Counter(base), Counter(ours), Counter(theirs)
    for number in range(10):
        if our[number] >= old[number] and their[number] >= old[number]:
            assert made[number] == max(our[number], their[number])
        elif our[number] == old[number]:
            assert made[number] == their[number]
        elif their[number] == old[number]:
            assert made[number] == our[number]


@given(
    base=st.dictionaries(st.integers(0, 5), st.integers(0, 3), max_size=5),
    ours=st.dictionaries(st.integers(0, 5), st.integers(0, 3), max_size=5),
    theirs=st.dictionaries(st.integers(0, 5), st.integers(0, 3), max_size=5),
)
def test_keyed_records_have_unique_keys_and_name_what_both_set(
    base: dict[int, int], ours: dict[int, int], theirs: dict[int, int]
) -> None:
    """By key, each record has the value of the side that changed it; ours wins what both did, by name."""
    texts = [b"".join(b'{"id": %d, "v": %d}\n' % pair for pair in side.items()) for side in (base, ours, theirs)]
    answer = strategy_for("lines:key=id,sort").merge(b"f.jsonl", texts[0], texts[1], texts[2])

    assert isinstance(answer, Merged)
    rows = [json.loads(line) for line in (answer.content or b"").splitlines()]
    made = {row["id"]: row["v"] for row in rows}
    if base not in (ours, theirs) and ours != theirs:
        assert [row["id"] for row in rows] == sorted(made)
    for key in range(6):
        old, our, their = base.get(key), ours.get(key), theirs.get(key)
        if our in (their, old):
            assert made.get(key) == their
        elif their == old:
            assert made.get(key) == our
        else:
            assert made[key] == (their if our is None else our)
            assert str(key) in answer.detail
