"""The page on the Python API: its names and exit codes are the code's, and its examples run as they are written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import gitref_lock
from gitref_lock.cli.exits import exit_code
from tests.support.gitcli import Repo, clone, git_env

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMES = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
CODES = re.findall(r"^\| `(\w+)` \| ([0-9]+) \|", PAGE, re.MULTILINE)
SAYS = ("fencing token: ", "fast ")


def test_the_page_has_every_public_name() -> None:
    """No name is missing, and none is made up."""
    assert sorted(NAMES) == sorted(gitref_lock.__all__)


def test_the_page_has_the_exit_codes_of_the_errors() -> None:
    """Each error stands beside the code that the command gives to it."""
    assert len(CODES) == sum(name.endswith("Error") for name in gitref_lock.__all__)
    assert [(name, int(code)) for name, code in CODES] == [
        (name, exit_code(getattr(gitref_lock, name)("x"))) for name, _ in CODES
    ]


@pytest.mark.parametrize(("example", "says"), [*zip(EXAMPLES, SAYS, strict=True)], ids=("lock", "push"))
def test_an_example_runs_as_written(bare_repo: Repo, tmp_path: Path, example: str, says: str) -> None:
    """In a fresh clone each example does what the page says, and leaves the lock free."""
    work = clone(str(bare_repo.path), tmp_path / "work")
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=work.path,
        env={**git_env(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(says)
    (lock,) = bare_repo.git("for-each-ref", "--format=%(contents:subject)", "refs/locks/").splitlines()
    assert "free" in lock
