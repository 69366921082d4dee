"""Make the development environment in ``.venv`` ready: quick and offline when nothing changed.

Run by make with any Python 3.11 or later before each target that needs tools. A stamp inside ``.venv`` holds a digest
of everything the environment was built from; while it matches, nothing is touched. An environment that does not run, or
that was made for another folder or Python, is built anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - this very script tells people with an older Python what to do
    sys.exit(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}; try: make PYTHON=python3.12")

import tomllib

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "gitref-lock.stamp"
CONSTRAINTS = ROOT / "constraints-dev.txt"
PYPROJECT = ROOT / "pyproject.toml"
PROBE = "import sys, pip, encodings; print(sys.prefix, sys.version_info >= (3, 11))"


def requirements() -> list[str]:
    """Return what the package, its extras, its build and its developers need, from pyproject.toml.

    pip learned ``--group`` late, and a list of its own would drift from pyproject.toml.
    """
    data = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    project = data["project"]
    extras = [need for needs in project["optional-dependencies"].values() for need in needs]
    return [*project["dependencies"], *extras, *data["build-system"]["requires"], *data["dependency-groups"]["dev"]]


def digest() -> str:
    """Return a digest of all that the environment depends on, this folder's place included."""
    sources = [PYPROJECT.read_bytes(), CONSTRAINTS.read_bytes(), Path(__file__).read_bytes(), os.fsencode(ROOT)]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def stamped() -> str:
    """Return the digest of the last complete set-up, '' when there was none."""
    try:
        return STAMP.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def is_sound() -> bool:
    """Tell whether ``.venv`` runs, has pip, and was made for this folder (scripts hold absolute paths)."""
    try:
        command = f"-m venv {VENV}"
        made_here = any(
            line.startswith("command") and line.rstrip().endswith(command)
            for line in (VENV / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
        )
        answer = subprocess.run([PYTHON, "-I", "-c", PROBE], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired):
        return False
    return made_here and answer.returncode == 0 and answer.stdout.split() == [str(VENV), "True"]


def run(*command: str | Path) -> None:
    """Run one step; end with its exit code and a hint when it fails."""
    done = subprocess.run(list(command), check=False, cwd=ROOT, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(
            f"setting up .venv failed at: {' '.join(map(str, command[:6]))} ...\n"
            "The first set-up needs the package index (and on Debian the package python3-venv); later ones do not."
        )


def build() -> None:
    """Create or complete the environment, then stamp it."""
    if VENV.is_dir():
        STAMP.unlink(missing_ok=True)
    if not is_sound():
        print("setting up .venv", flush=True)
        if VENV.is_symlink() or VENV.is_file():
            VENV.unlink()
        elif VENV.exists():
            shutil.rmtree(VENV)
        run(sys.executable, "-m", "venv", VENV)
    pip = (PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
    run(*pip, "install", "-c", CONSTRAINTS, *requirements())
    run(*pip, "install", "--no-deps", "--no-build-isolation", "-e", ROOT)
    STAMP.write_text(digest(), encoding="ascii")


def main() -> None:
    """Hold the folder's lock, so that two makes at once build one environment, and build what is missing."""
    folder = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    if stamped() == digest() and is_sound():
        return
    if not os.access(VENV if VENV.is_dir() else ROOT, os.W_OK):
        sys.exit(f"{VENV} must be set up, but this user may not write there; work in a clone of your own")
    build()


if __name__ == "__main__":
    main()
