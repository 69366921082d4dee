"""``yaml`` and ``toml``: merge by key, comments and layout kept by their libraries."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from gitref_lock.landing.strategies.base import Merged, StrategyFailed
from gitref_lock.landing.strategies.registry import strategy_for

_YAML = """\
# settings of the fleet
name: 'fleet'  # quoted

jobs:
  - build   # first
  - test

limits:
  cpu: 2
  memory: 1.50
"""

_TOML = """\
# settings of the fleet
name = 'fleet'  # quoted
jobs = [
    "build", # first
    "test",
]

[limits]
cpu = 2
memory = 1.50
"""


def merge(spec: str, base: str | None, ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
    """Merge three documents, which must succeed."""
    old = None if base is None else base.encode()
    answer = strategy_for(spec).merge(b"f", old, ours.encode(), theirs.encode())
    assert isinstance(answer, Merged), answer
    assert answer.content is not None
    return answer.content.decode(), answer.detail


def test_yaml_edits_of_both_sides_are_kept_with_their_comments() -> None:
    """Values, comments, quotes and blank lines of theirs stay; ours brings in what it changed, with its comment."""
    ours = _YAML.replace("cpu: 2", "cpu: 4").replace("  - test\n", "  - test\n  - deploy\n")
    theirs = _YAML.replace("memory: 1.50", "memory: 3.50\n  disk: 10  # GB")

    made, lost = merge("yaml", _YAML, ours, theirs)

    assert made == theirs.replace("cpu: 2", "cpu: 4").replace("  - test\n", "  - test\n  - deploy\n")
    assert lost == ()


def test_toml_edits_of_both_sides_are_kept_with_their_comments() -> None:
    """Values, comments, quotes and blank lines of theirs stay; ours brings in what it changed."""
    ours = _TOML.replace("cpu = 2", "cpu = 4")
    theirs = _TOML.replace("memory = 1.50", "memory = 3.50\ndisk = 10  # GB")

    made, lost = merge("toml", _TOML, ours, theirs)

    assert made == theirs.replace("cpu = 2", "cpu = 4")
    assert lost == ()


@pytest.mark.parametrize(("spec", "text", "sign"), [("yaml", _YAML, ": "), ("toml", _TOML, " = ")])
def test_one_key_set_by_both_is_ours_and_named(spec: str, text: str, sign: str) -> None:
    """The pointer of each key that both sides set is reported."""
    ours, theirs = text.replace(f"cpu{sign}2", f"cpu{sign}3"), text.replace(f"cpu{sign}2", f"cpu{sign}4")

    assert merge(spec, text, ours, theirs.replace("fleet", "navy")) == (ours.replace("fleet", "navy"), ("/limits/cpu",))


@pytest.mark.parametrize(("spec", "text", "sign"), [("yaml", _YAML, ": "), ("toml", _TOML, " = ")])
def test_counters_add_up(spec: str, text: str, sign: str) -> None:
    """The options of json hold here too."""
    ours, theirs = text.replace(f"cpu{sign}2", f"cpu{sign}3"), text.replace(f"cpu{sign}2", f"cpu{sign}12")

    made, lost = merge(f"{spec}:numbers=sum", text, ours, theirs.replace("fleet", "navy"))

    assert made == text.replace(f"cpu{sign}2", f"cpu{sign}13").replace("fleet", "navy")
    assert lost == ()


def test_yaml_keys_are_removed_and_inserted_in_place() -> None:
    """A removed key goes with its line, a new one stands where it stood in ours."""
    base = "a: 1\nb: 2\nd: 4\n"

    assert merge("yaml", base, "a: 1\nc: 3\nd: 4\n", "a: 0\nb: 2\nd: 4\n")[0] == "a: 0\nc: 3\nd: 4\n"


def test_toml_tables_are_added_and_removed() -> None:
    """A new table and a new array of tables come in whole, a removed one goes."""
    base = "a = 1\n\n[old]\nx = 1\n\n[kept]\ny = 1\n"
    ours = "a = 1\n\n[kept]\ny = 1\n\n[new]\nz = 1979-05-27\n\n[[many]]\nn = 1\n"

    made, lost = merge("toml", base, ours, base.replace("y = 1", "y = 2"))

    assert made == "a = 1\n\n[kept]\ny = 2\n\n[new]\nz = 1979-05-27\n\n[[many]]\nn = 1\n"
    assert lost == ()


def test_yaml_lists_that_both_changed_keep_their_comments() -> None:
    """Items of both sides are in the list, in place, and the comments of kept items stay with them."""
    base = "l:\n  - a  # first\n  - b  # second\n  - c  # third\n"
    ours = "l:\n  - b  # second\n  - c  # third\n"
    theirs = "l:\n  - a  # first\n  - b  # second\n  - c  # third\n  - d  # fourth\n"

    made = "l:\n  - b  # second\n  - c  # third\n  - d  # fourth\n"
    assert merge("yaml", base, ours, theirs) == (made, ())
    assert merge("yaml", base, theirs, ours)[0].split("#")[0] == made.split("#", maxsplit=1)[0]


def test_yaml_items_merge_by_their_key() -> None:
    """With a key for arrays each item is merged on its own."""
    base = "l:\n  - id: 1\n    v: a\n  - id: 2\n    v: b  # keep\n"
    ours, theirs = base.replace("v: a", "v: x") + "  - id: 3\n", base.replace("v: b", "v: y")

    assert merge("yaml:arrays=id", base, ours, theirs) == (theirs.replace("v: a", "v: x") + "  - id: 3\n", ())


def test_toml_arrays_that_both_changed_hold_both() -> None:
    """Items are removed and added one by one, in arrays and in arrays of tables."""
    base = "a = [1, 2, 3]\n\n[[t]]\nid = 1\nv = 1\n"
    ours = "a = [2, 3]\n\n[[t]]\nid = 1\nv = 2\n"
    theirs = "a = [1, 2, 3, 4]\n\n[[t]]\nid = 1\nv = 1\n\n[[t]]\nid = 2\nv = 1\n"

    made, lost = merge("toml:arrays=id", base, ours, theirs)

    assert made == "a = [2, 3, 4]\n\n[[t]]\nid = 1\nv = 2\n\n[[t]]\nid = 2\nv = 1\n"
    assert lost == ()


@pytest.mark.parametrize(
    "layout",
    [
        "a: 1\nl:\n- x\n- y\n",
        "a: 1\nl:\n    - x\n    - y\n",
        "---\na: 1\nl:\n  - x\n",
        "a: 1\r\nl:\r\n  - x\r\n",
        "a: 1\nl: [x, y]",
        "a: 1\nm:\n    n: 1\n    o:\n        p: 1\n",
    ],
)
def test_yaml_layouts_are_kept(layout: str) -> None:
    """Indents, dashes, line ends and the document's opening come out as they were."""
    theirs = layout.replace("a: 1", "a: 1\r\nz: 1" if "\r" in layout else "a: 1\nz: 1")

    assert merge("yaml", layout, layout.replace("a: 1", "a: 2"), theirs)[0] == theirs.replace("a: 1", "a: 2")


@pytest.mark.parametrize(
    ("spec", "bad", "reason"),
    [
        ("yaml", "a: &x 1\nb: *x\n", "it has anchors, aliases or tags"),
        ("yaml", "a: !thing 1\n", "it has anchors, aliases or tags"),
        ("yaml", "a: 1\n---\nb: 1\n", "not one valid YAML document"),
        ("yaml", "a: [1\n", "not one valid YAML document"),
        ("yaml", "a: 1\na: 2\n", "not one valid YAML document"),
        ("yaml", "a:   1\nb: {x:   1}\n", "its layout could not be kept"),
        ("yaml", "a: 1\r\nb: 2\n", "its line ends are mixed"),
        ("yaml", "- 1\n", "the documents have nothing in common"),
        ("toml", "a = \n", "not valid TOML"),
        ("toml", "a = 1\na = 2\n", "not valid TOML"),
    ],
)
def test_what_cannot_be_kept_fails(spec: str, bad: str, reason: str) -> None:
    """What the library cannot read or reproduce is refused, never written anew."""
    sign = ": " if spec == "yaml" else " = "
    answer = strategy_for(spec).merge(b"f", None, f"k{sign}1\n".encode(), bad.encode())

    assert isinstance(answer, StrategyFailed)
    assert answer.reason.startswith(reason)


@pytest.mark.parametrize(
    ("spec", "library", "package"), [("yaml", "ruamel.yaml", "ruamel.yaml"), ("toml", "tomlkit", "tomlkit")]
)
def test_a_missing_library_is_named_and_imported_late(spec: str, library: str, package: str) -> None:
    """Without the extra the rule is refused with what to install; without the rule nobody imports the library."""
    program = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"
        "from gitref_lock.landing.strategies.base import StrategySpecError\n"
        "from gitref_lock.landing.strategies.registry import strategy_for\n"
        "strategy_for('json')\n"
        f"assert sys.modules[{library!r}] is None\n"
        "try:\n"
        f"    strategy_for({spec!r})\n"
        "except StrategySpecError as error:\n"
        "    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout == f"strategy '{spec}' needs {package}: install gitref-lock[formats]\n"


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        ("yaml", "t: 2001-99-99\n"),
        ("yaml", "a: " + "[" * 400 + "]" * 400 + "\n"),
        ("yaml", "a: " + "9" * 5000 + "\n"),
        ("toml", "a = " + "[" * 3000 + "]" * 3000 + "\n"),
        ("toml", "a = " + "9" * 5000 + "\n"),
        ("toml", "a = 2001-99-99\n"),
    ],
    ids=["date", "nesting", "digits", "toml nesting", "toml digits", "toml date"],
)
def test_what_the_library_cannot_take_fails(spec: str, ours: str) -> None:
    """Whatever a library raises for a document, the merge is a refusal with a reason."""
    answer = strategy_for(spec).merge(b"f", b"", ours.encode(), b"z: 1\n" if spec == "yaml" else b"z = 1\n")
    assert isinstance(answer, StrategyFailed)
    assert answer.reason


@pytest.mark.parametrize(
    ("spec", "ours", "reason"),
    [
        ("yaml", "[" * 65_536, "brackets"),
        ("yaml", "a: " + "[" * 50 + "x," * 20_000 + "]" * 50, "brackets"),
        ("yaml", "{" * 65_536, "brackets"),
        ("toml", "".join(f"a.b.c.k{number}=1\n" for number in range(4000)), "dotted"),
        ("toml", "x = {" + ",".join(f"a.b.k{number}=1" for number in range(4000)) + "}", "dotted"),
        ("toml", ".=" * 30_000, "dotted"),
        ("toml", "." * 65_536, ""),
    ],
    ids=["open lists", "deep list", "open maps", "dotted", "dotted inline", "no keys", "dots"],
)
def test_what_costs_the_library_minutes_is_refused(spec: str, ours: str, reason: str) -> None:
    """A stranger's file of 64 KiB takes a moment, whatever the library would make of it."""
    base, theirs = ("a: 1\n", "a: 2\n") if spec == "yaml" else ("a = 1\n", "a = 2\n")
    began = time.process_time()
    answer = strategy_for(spec).merge(b"f", base.encode(), ours.encode(), theirs.encode())
    assert isinstance(answer, StrategyFailed)
    assert reason in answer.reason
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("spec", "text", "ours"),
    [
        ("yaml", _YAML, ("  cpu: 2", "  # of the smallest\n  cpu: 2")),
        ("yaml", _YAML, ("memory: 1.50", "memory: 1.500")),
        ("yaml", _YAML, ("'fleet'", '"fleet"')),
        ("toml", _TOML, ("memory = 1.50", "# GB\nmemory = 1.50")),
        ("toml", _TOML, ("'fleet'", '"fleet"')),
    ],
)
def test_a_change_of_comments_or_spelling_is_kept(spec: str, text: str, ours: tuple[str, str]) -> None:
    """What is no value is a change as well, and is carried where lines carry it; theirs changes something else."""
    theirs = text.replace("build", "compile")
    assert merge(spec, text, text.replace(*ours), theirs) == (theirs.replace(*ours), ())


def test_a_comment_that_no_line_can_carry_is_named() -> None:
    """Where lines conflict, the report says that nothing of ours came in."""
    made, lost = merge("yaml", "a: 1\nb: 2\n", "# of ours\na: 1\nb: 2\n", "# of theirs\na: 1\nb: 3\n")
    assert (made, lost) == ("# of theirs\na: 1\nb: 3\n", ("order, layout and comments",))
