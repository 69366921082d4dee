"""The page on settings has what the code has: every key, every variable with its option, and what ``run`` exports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from gitref_lock.cli.app import COMMANDS, body_of
from gitref_lock.cli.command import shared
from gitref_lock.cli.declare import Declared
from gitref_lock.config import FILE, load
from gitref_lock.errors import ConfigurationError
from tests.support.gitcli import Repo, clone, git_env

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
KEY_ROW = re.compile(
    r"^\| `([^`]+)` \| (?:`(-[^`]+)`|-) \| (?:`(GITREF_LOCK_\w+)`|-) \| [^|]+ \| [^|]+ \|$", re.MULTILINE
)
VARIABLE_ROW = re.compile(r"^\| `(GITREF_LOCK_\w+)` \| `(-[^`]+)` \| [^|]+ \|$", re.MULTILINE)
EXPORT_ROW = re.compile(r"^\| `(GITREF_LOCK_\w+)` \| [^|]+ \|$", re.MULTILINE)


def allowed(folder: Path, table: str) -> set[str]:
    """Return the keys that a table of the file may have, as the error for another key says."""
    (folder / FILE).write_text(f"{table}\nno-such-key = 1\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="unknown key") as caught:
        load(folder, None)
    found = caught.value.fields["allowed"]
    assert isinstance(found, list)
    return set(found)


def keys_of_the_code(folder: Path) -> set[str]:
    """Return every key, with the names that the page has for those that are globs."""
    keys = allowed(folder, "") - {"retry", "priorities", "strategies", "workflows"}
    keys |= {f"retry.{key}" for key in allowed(folder, "[retry]")}
    keys |= {f"workflows.GLOB.{key}" for key in allowed(folder, "[workflows.x]")}
    assert allowed(folder, "[workflows.x.retry]") == allowed(folder, "[retry]")
    return keys | {"priorities.GLOB", "priorities.default", "strategies.GLOB"}


def options() -> dict[str, set[str]]:
    """Return the names of the options that each environment variable stands for."""
    bodies = [body_of(name) for name, entry in COMMANDS.items() if not entry.is_hidden]
    found: dict[str, set[str]] = {}
    for function in (shared, *bodies):
        for hint in get_type_hints(function, include_extras=True).values():
            for declared in get_args(hint)[1:]:
                if isinstance(declared, Declared) and declared.envvar is not None:
                    names = {name for both in declared.names for name in both.split("/")}
                    found.setdefault(declared.envvar, set()).update(names)
    return found


def test_the_page_has_the_keys_of_the_configuration(tmp_path: Path) -> None:
    """No key is missing, and none is made up."""
    rows = KEY_ROW.findall(PAGE)
    assert sorted(key for key, _, _ in rows) == sorted(keys_of_the_code(tmp_path))


def test_the_page_has_every_variable_with_its_option() -> None:
    """Each variable that an option reads stands in one row, beside that option."""
    rows = [(variable, option) for _, option, variable in KEY_ROW.findall(PAGE) if variable]
    rows += VARIABLE_ROW.findall(PAGE)
    known = options()
    assert sorted(variable for variable, _ in rows) == sorted(known)
    assert [(variable, option) for variable, option in rows if option not in known[variable]] == []


def test_the_whole_file_is_whole_and_valid(tmp_path: Path) -> None:
    """The example holds every key and is read without a fault; its retry pattern is the default."""
    (block,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / FILE).write_text(block, encoding="utf-8")
    found = load(tmp_path, None)
    assert (found.retry.base_s, found.retry.factor, found.retry.cap_s, found.retry.jitter) == (0.25, 2, 8, 0.75)
    (rule,) = tomllib.loads(block)["workflows"].values()
    assert set(tomllib.loads(block)) == allowed(tmp_path, "")
    assert set(rule) == allowed(tmp_path, "[workflows.x]")


def run(*words: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    return subprocess.run(
        [sys.executable, "-m", "gitref_lock", *words],
        cwd=folder,
        env={**env, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_page_has_what_a_command_is_given(bare_repo: Repo, tmp_path: Path) -> None:
    """A run inside of a run hands on every variable of the table; with two locks four of them are two words."""
    inner = [sys.executable, "-m", "gitref_lock", "run", "-r", str(bare_repo.path), "-l", "b", "-l", "c", "--", "env"]
    done = run("run", "-r", str(bare_repo.path), "a", "--", *inner, folder=tmp_path, env=git_env(tmp_path))
    assert done.returncode == 0, done.stderr
    pairs = [line.partition("=") for line in done.stdout.splitlines() if line.startswith("GITREF_LOCK_")]
    given = {name: value for name, _, value in pairs}
    documented = EXPORT_ROW.findall(PAGE)
    assert sorted(documented) == sorted(given)
    assert [name for name, value in given.items() if len(value.split()) == 2] == [
        name for name in given if name in documented[:4]
    ]


def test_without_a_name_nothing_is_pushed(bare_repo: Repo, tmp_path: Path) -> None:
    """Outside CI exit code 3 and no write; in CI the actor's name."""
    work = clone(str(bare_repo.path), tmp_path / "work")
    (work.path / "new.txt").write_text("new\n")
    env = {name: value for name, value in git_env(tmp_path).items() if not name.startswith(("GIT_AUTHOR", "GIT_COMM"))}
    before = bare_repo.git("for-each-ref")
    done = run("push", "-A", "-m", "x", "--json", folder=work.path, env=env)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (3, "no-identity")
    assert bare_repo.git("for-each-ref") == before
    done = run("push", "-A", "-m", "x", folder=work.path, env={**env, "GITHUB_ACTOR": "ann"})
    assert done.returncode == 0, done.stderr
    assert bare_repo.git("log", "-1", "--format=%an <%ae>", "main") == "ann <ann@users.noreply.github.com>"
