"""The programs of real servers: found, else installed from Debian packages, else an error that says what is missing.

A server that is not there must never make a test pass silently. Whoever cannot have one names it in
GITREF_LOCK_SKIP_SERVERS, and its tests then show as skipped with that reason.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SKIP_VARIABLE = "GITREF_LOCK_SKIP_SERVERS"
_SEARCHED = ("/usr/sbin", "/usr/lib/git-core", "/usr/share/gitolite3", "/usr/share/java")


@dataclass(frozen=True)
class Need:
    """What one server needs: files to be found on PATH or where Debian puts them, and the packages that bring them."""

    files: tuple[str, ...]
    packages: tuple[str, ...]


NEEDS: Mapping[str, Need] = {
    "nginx": Need(("nginx", "fcgiwrap", "git-http-backend", "openssl"), ("nginx-light", "fcgiwrap", "openssl")),
    "apache": Need(("apache2", "git-http-backend"), ("apache2-bin",)),
    "lighttpd": Need(("lighttpd", "git-http-backend"), ("lighttpd",)),
    "git-daemon": Need(("git-daemon",), ("git",)),
    "sshd": Need(("sshd", "ssh", "ssh-keygen"), ("openssh-server", "openssh-client")),
    "gitolite": Need(("gitolite", "gitolite-shell", "sshd", "ssh"), ("gitolite3", "openssh-server", "openssh-client")),
    "jgit": Need(
        ("java", "org.eclipse.jgit.jar", "org.eclipse.jgit.pgm.jar"),
        ("default-jre-headless", "libjgit-java", "jgit-cli"),
    ),
    "dulwich": Need((), ()),
}


def find(name: str) -> str | None:
    """Return where a program or file is, or None."""
    found = shutil.which(name)
    return found or next((str(Path(place, name)) for place in _SEARCHED if Path(place, name).exists()), None)


def program(name: str) -> str:
    """Return where a program is that ``require`` has seen to."""
    found = find(name)
    assert found is not None, name
    return found


def skipped() -> frozenset[str]:
    """Return the servers that the environment tells to leave out; an unknown name is an error."""
    names = frozenset(name.strip() for name in os.environ.get(SKIP_VARIABLE, "").split(",") if name.strip())
    unknown = names - set(NEEDS)
    if unknown:
        raise pytest.UsageError(f"{SKIP_VARIABLE} names no server: {', '.join(sorted(unknown))}")
    return names


def require(server: str) -> None:
    """Make sure that a server's programs are there; skip only what the environment names."""
    if server in skipped():
        pytest.skip(f"{server} is left out by {SKIP_VARIABLE}")
    need = NEEDS[server]
    if _missing(need.files):
        _install(server, need)


def _missing(files: Sequence[str]) -> list[str]:
    return [name for name in files if find(name) is None]


def _install(server: str, need: Need) -> None:
    """Install packages when allowed to; one test process at a time."""
    advice = f"install {' '.join(need.packages)}, or leave it out with {SKIP_VARIABLE}={server}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise AssertionError(f"{server} needs {', '.join(_missing(need.files))}: {advice}")
    with Path(tempfile.gettempdir(), "gitref-lock-packages.lock").open("w", encoding="ascii") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if _missing(need.files):
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # starts no service
            for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *need.packages]):
                subprocess.run(["apt-get", *words], env=environ, check=False, capture_output=True, timeout=280)
    if _missing(need.files):
        raise AssertionError(f"{server} still needs {', '.join(_missing(need.files))}: {advice}")
