"""The tutorial as its readers meet it: each line typed into a shell, in order, against a real repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GIVES_UP = "--wait 5s"
"""The one line that the page says fails: the lock is held, and the wait ends."""


def lines() -> list[str]:
    """Return the page's command lines; the package is here already."""
    typed = [line for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")) for line in block.splitlines()]
    return [line for line in typed if not line.startswith("pip ")]


@pytest.mark.slow
def test_the_tutorial_runs_as_written(tmp_path: Path) -> None:
    """Every line succeeds but the one whose wait ends (exit code 4), and the merged file holds both runners' keys."""
    program = tmp_path / "bin" / "gitref-lock"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m gitref_lock "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    results = tmp_path / "results"
    script = tmp_path / "tutorial.sh"
    script.write_text("".join(f"{line}\nprintf '%s\\n' \"$?\" >>{results}\n" for line in lines()), encoding="utf-8")
    environ = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "LANG": "C.UTF-8",
    }
    done = subprocess.run(
        ["sh", str(script)],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    codes = [int(code) for code in results.read_text(encoding="utf-8").split()]
    outcomes = dict(enumerate(zip(lines(), codes, strict=True)))
    told = f"{done.stdout}\n{done.stderr}"
    assert [item for item in outcomes.values() if item[1] != (4 if GIVES_UP in item[0] else 0)] == [], told
    landed = subprocess.run(
        ["git", "--git-dir", str(tmp_path / "lock-tutorial" / "remote.git"), "show", "main:stats.json"],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )
    assert json.loads(landed.stdout) == {"visits": 1, "ann": True, "bob": True}
