"""Peak memory of a command.

A process inherits the peak of the one that started it, so each command is started by a small interpreter of its own,
whose size is the least that can be measured.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.benchlib.world import run

_STARTER = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
_UNIT = 1 << 10 if sys.platform == "darwin" else 1
"""Divides ``ru_maxrss`` into KiB: macOS counts bytes, Linux KiB."""


def peak_mib(words: list[str], cwd: Path, environ: Mapping[str, str]) -> float:
    """Run a command and return the peak resident memory of it and its children, whichever is largest, in MiB."""
    said = run([sys.executable, "-I", "-S", "-c", _STARTER, *words], cwd, environ).decode()
    code, peak = said.splitlines()[-1].split()
    if code != "0":
        raise RuntimeError(f"{' '.join(words)} exits {code}: {said}")
    return int(peak) / _UNIT / 1024
