"""The documentation says what is true: links lead somewhere, commands exist, and every test that is named is there.

What cannot be checked here (whether a sentence is right) is kept small by naming tests for promises.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gitref_lock.cli import exits

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PROGRAM = "gitref-lock"

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(rf"(?<![\w./-]){PROGRAM} +(?=[a-z])([^#\n`]+)")
TEST = re.compile(r"\btests/[\w/]+\.py::[\w:]+")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
SPAN_OPTION = re.compile(r"--[a-z][a-z-]+")
MAKE = re.compile(r"`make ([a-z-]+)|^ *make ([a-z-]+)", re.MULTILINE)
SECTION = re.compile(r"docs/protocol\.md, sections? ([0-9]+)(?: (and|to) ([0-9]+))?")

OTHERS_OPTIONS = frozenset({"--mirror", "--verify", "--rebase", "--unshallow", "--hard", "--strict", "--list"})
"""Options of git that pages mention on their own."""


def relative(path: Path) -> str:
    """Name a page in a message."""
    return str(path.relative_to(ROOT))


def text_of(page: Path) -> str:
    """Return a page's text."""
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """Return a page's text without its blocks of code."""
    return FENCE.sub("", text_of(page))


def slugs_of(page: Path) -> set[str]:
    """Return the anchors that a forge gives to a page's headings."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose_of(page)))
    return {word.strip().replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_relative_link_resolves(page: Path) -> None:
    """A link within the project leads to a file that exists, and to a heading that it has."""
    broken = []
    for link in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in slugs_of(target)):
            broken.append(link)
    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    """A page that the index does not name, itself or by its folder, cannot be found."""
    index = DOCS / "README.md"
    named = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(index))}
    lost = [relative(page) for page in PAGES if DOCS in page.parents and not named & {page, *page.parents, index}]
    lost = [name for name in lost if name != relative(index)]
    assert lost == []


def commands_of(page: Path) -> Iterator[str]:
    """Yield every use of the program in a page's blocks and code spans, from the command's name on."""
    text = text_of(page)
    for source in [*(block for _, block in FENCE.findall(text)), *CODE_SPAN.findall(FENCE.sub("", text))]:
        for found in COMMAND.finditer(source):
            yield found[1].strip()


@cache
def help_of(command: str) -> str | None:
    """Return a command's help, None when there is no such command; the empty name asks for the program's own."""
    words = [sys.executable, "-m", "gitref_lock", *command.split(), "--help"]
    environ = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, env=environ, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else None


@cache
def options_of(command: str) -> frozenset[str]:
    """Return the options that a command's help lists."""
    return frozenset(OPTION.findall(help_of(command) or ""))


def fault_of(line: str) -> str | None:
    """Return what is wrong with a use of the program, None when all its words exist."""
    words = shlex.split(line.split("'", 1)[0] if line.count("'") % 2 else line)
    own = words[: words.index("--")] if "--" in words else words
    if help_of(own[0]) is None:
        return f"no command {own[0]}"
    unknown = [word for word in own[1:] if OPTION.match(word) and word.partition("=")[0] not in options_of(own[0])]
    return f"{own[0]} has no {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_command_line_parses(page: Path) -> None:
    """Each command and each of its options, wherever a page uses them, is in that command's help."""
    assert [(line, fault) for line in commands_of(page) if (fault := fault_of(line)) is not None] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=relative)
def test_every_option_that_is_named_alone_exists(page: Path) -> None:
    """An option in running text is an option of some command."""
    spans = [span for span in CODE_SPAN.findall(prose_of(page)) if span.startswith("--")]
    named = {option for span in spans for option in SPAN_OPTION.findall(span)} - OTHERS_OPTIONS
    if not named:
        return
    commands = re.findall(r"^ {2,}([a-z][a-z-]*) {2,}", help_of("") or "", re.MULTILINE)
    assert commands, "the program's help lists no commands"
    known = {option for command in commands for option in options_of(command)}
    assert named - known == set()


def test_the_checks_see_what_is_wrong() -> None:
    """An unknown command, and an unknown option of a known one, are found."""
    assert fault_of("acquire main --ttl 5m -- ls --all") is None
    assert fault_of("aquire main") == "no command aquire"
    assert fault_of("acquire main --time-to-live=5m") == "acquire has no --time-to-live=5m"


def test_every_test_that_is_named_exists() -> None:
    """A promise that names its test names one that pytest collects."""
    named = {(relative(page), name) for page in PAGES for name in TEST.findall(text_of(page))}
    assert named, "no page names a test"
    files = sorted({name.partition("::")[0] for _, name in named})
    missing = [file for file in files if not (ROOT / file).exists()]
    assert missing == []
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    collected = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert sorted(item for item in named if item[1] not in collected) == [], done.stdout[-2000:]


def test_the_transitions_are_drawn_from_the_code() -> None:
    """The table and the diagram in the protocol are those of the machine."""
    words = [sys.executable, str(ROOT / "scripts" / "draw-machine"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_section_that_the_code_cites_exists() -> None:
    """A comment that gives a section of the protocol as its reason can be followed."""
    headings = {int(number) for number in re.findall(r"^## ([0-9]+)\. ", text_of(DOCS / "protocol.md"), re.MULTILINE)}
    cited: set[int] = set()
    for path in [*(ROOT / "gitref_lock").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for first, word, last in SECTION.findall(text_of(path)):
            numbers = {int(first), *([int(last)] if last else [])}
            cited |= set(range(min(numbers), max(numbers) + 1)) if word == "to" else numbers
    assert cited
    assert cited - headings == set()


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    """The README's table has a line for every code that the command line gives by itself, and no other."""
    lines = re.findall(r"^\| ([0-9]+) \| [^|]+ \|$", text_of(ROOT / "README.md"), re.MULTILINE)
    own = [value for value in vars(exits).values() if isinstance(value, int) and value < 128]
    assert [int(line) for line in lines] == sorted(own)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_make_target_exists(page: Path) -> None:
    """What a page asks people to make can be made."""
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {first or second for first, second in MAKE.findall(text_of(page))}
    assert named - targets == set()
