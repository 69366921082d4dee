"""The house rules that keep the protocol pure and the command line quick, checked on the source itself.

Reading the syntax tree instead of importing finds late imports too, which are imports all the same.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gitref_lock"

ROOMS = (
    "errors",
    "core",
    "ports",
    "remotes",
    "landing",
    "runtime",
    "insight",
    "config",
    "ci",
    "system",
    "pushing",
    "library",
    "cli",
    "testing",
)
"""In reading order: a room may import itself and the rooms before it."""

FACADES = {"__init__", "__main__"}
"""The public names and the entry point stand in front of the house and may look into every room but ``testing``."""

ONLY_IN = {
    "dulwich": {"remotes", "landing", "testing"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli"},
    "tenacity": {"runtime"},
    "hypothesis": {"testing"},
    "greenlet": {"testing"},
    "ruamel": {"landing"},
    "tomlkit": {"landing"},
    "time": {"system", "testing"},
    "random": {"system", "testing"},
    "secrets": {"system", "testing"},
}
"""Which rooms may import a module that decides start-up time, purity or replaceability."""

CLOCK_CALLS = {
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
    ("date", "today"),
    ("os", "urandom"),
    ("os", "getrandom"),
    ("uuid", "uuid1"),
    ("uuid", "uuid4"),
    ("asyncio", "sleep"),
}
"""Calls that read a clock, draw randomness or wait without importing one of the modules above."""

PURE_MODULES = {
    "__future__",
    "abc",
    "base64",
    "binascii",
    "bisect",
    "calendar",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "difflib",
    "enum",
    "fnmatch",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "keyword",
    "math",
    "numbers",
    "operator",
    "re",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "unicodedata",
    "zlib",
}
"""What ``core`` may import beside itself: nothing here can reach a file, a socket, a clock or a thread."""

IMPURE_BUILTINS = {"open", "input", "print", "exec", "eval", "breakpoint", "__import__"}

COMPILES_METHODS = {"lean.py"}
"""Where ``core`` may call ``exec``, as the standard library's dataclasses do: on text made of field names only."""

MODULE_LINES = 330
FUNCTION_LINES = 70

REGISTRY_HOSTS = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("deb", "debian", "org"),
    ("proxy", "golang", "org"),
    ("crates", "io"),
    ("conda", "anaconda", "org"),
)
"""In pieces, so that this file does not hold what it forbids."""

MACHINE_PATH = re.compile(r"(?<![\w./~}$-])/(?:root|work|Users|home/(?!runner/|git/|me/|user/))/?(?=\w)")

SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """Return the room a source file lies in; for a top-level module its name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything a file imports, at any depth.

    ``from a import b`` yields ``a.b``: whether ``b`` is a module does not matter to rules about the first names.
    """
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                yield node.lineno, f"{prefix}.{name.name}"


def parse(path: Path) -> ast.Module:
    """Parse one source file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def where(path: Path, line: int, words: str) -> str:
    """Word one finding so that an editor can jump to it."""
    return f"{path.relative_to(ROOT)}:{line}: {words}"


def arrow_findings(path: Path) -> list[str]:
    """Return imports of the package's own rooms that point down the list, or into no room at all."""
    room = room_of(path)
    findings = []
    for line, name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "gitref_lock" or len(parts) < 2:
            continue
        target = parts[1]
        if target.startswith("__") or target not in ROOMS:
            if target == "__version__" or (path.stem in FACADES and target.startswith("__")):
                continue
            findings.append(where(path, line, f"{target} is no room of the house"))
        elif room in FACADES:
            if target == "testing":
                findings.append(where(path, line, "the public face must not need what is for tests"))
        elif room not in ROOMS:
            findings.append(where(path, line, f"{room} is no room of the house"))
        elif ROOMS.index(target) > ROOMS.index(room):
            findings.append(where(path, line, f"{room} must not know of {target}"))
    return findings


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_up_the_list_of_rooms(path: Path) -> None:
    """A file imports its own room and the rooms before it, never one after it."""
    assert arrow_findings(path) == []


def test_every_module_lies_in_a_room() -> None:
    """A new file at the top of the package is a decision about the house, not an accident."""
    strangers = {room_of(path) for path in SOURCES} - set(ROOMS) - FACADES
    assert strangers == set()


def test_weighty_modules_are_imported_only_where_they_belong() -> None:
    """Libraries that cost start-up time and modules that know the time stay in the rooms made for them."""
    findings = [
        where(path, line, f"{name.split('.')[0]} is not for {room_of(path)}")
        for path in SOURCES
        for line, name in imports_of(path)
        if room_of(path) not in ONLY_IN.get(name.split(".")[0], {room_of(path)})
    ]
    assert findings == []


def test_only_the_system_module_reads_clocks_and_randomness() -> None:
    """What could make a simulated run differ from its replay is called in one file, and in servers for tests."""
    findings = []
    for path in SOURCES:
        if room_of(path) in {"system", "testing"}:
            continue
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in CLOCK_CALLS:
                findings.append(where(path, node.lineno, f"{owner}.{node.attr}"))
    assert findings == []


def test_core_is_pure() -> None:
    """The protocol imports nothing that can reach outside and calls no builtin that does."""
    findings = []
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        for line, name in imports_of(path):
            first, second = [*name.split("."), ""][:2]
            is_own = first == "gitref_lock" and second in {"core", "errors"}
            if not is_own and first not in PURE_MODULES:
                findings.append(where(path, line, f"imports {name}"))
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_BUILTINS:
                if node.func.id != "exec" or path.name not in COMPILES_METHODS:
                    findings.append(where(path, node.lineno, f"calls {node.func.id}"))
            elif isinstance(node, ast.Global):
                findings.append(where(path, node.lineno, "keeps global state"))
    assert findings == []


def test_modules_and_functions_stay_within_their_budget() -> None:
    """A module that needs more than its lines has become two things; so has a function."""
    findings = []
    for path in SOURCES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES:
            findings.append(where(path, 1, f"{lines} lines in a module (at most {MODULE_LINES})"))
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    findings.append(where(path, node.lineno, f"{node.name} has {length} lines ({FUNCTION_LINES})"))
    assert findings == []


def project_texts() -> Iterator[tuple[Path, str]]:
    """Yield every text file that belongs to the project, build results and caches left out."""
    folders = ("gitref_lock", "tests", "docs", "scripts", ".ci", ".github")
    top = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".coverage")]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted(top + files):
        if "__pycache__" in path.parts:
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_text_names_a_registry_host_or_a_path_of_one_machine() -> None:
    """The project can be built anywhere: it names no package host and no folder of somebody's machine."""
    hosts = [".".join(pieces) for pieces in REGISTRY_HOSTS]
    findings = []
    for path, text in project_texts():
        for number, line in enumerate(text.splitlines(), 1):
            findings += [where(path, number, f"names {host}") for host in hosts if host in line]
            if MACHINE_PATH.search(line) or (len(ROOT.parts) > 2 and f"{ROOT}/" in line):
                findings.append(where(path, number, "names a path of one machine"))
    assert findings == []


@pytest.mark.parametrize(
    ("line", "is_forbidden"),
    [
        ("cd " + "/" + "root/project", True),
        ("'" + "/" + "home/ann/x'", True),
        ("/" + "home/runner/work/repo", False),
        ("https://host/" + "root/x", False),
        ("$HOME/" + "work/x", False),
        ("tmp_path / 'work'", False),
    ],
)
def test_the_machine_path_rule_itself(line: str, is_forbidden: bool) -> None:
    """The pattern finds absolute homes and leaves addresses and documented CI paths alone."""
    assert bool(MACHINE_PATH.search(line)) is is_forbidden


def test_the_import_reader_sees_late_and_relative_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import inside a function, and one with dots, count like any other."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    source = tmp_path / "gitref_lock" / "core" / "x.py"
    source.parent.mkdir(parents=True)
    source.write_text("def f():\n    from ..cli import app\n    import os.path\n    from . import names\n", "utf-8")
    assert sorted(imports_of(source)) == [(2, "gitref_lock.cli.app"), (3, "os.path"), (4, "gitref_lock.core.names")]
