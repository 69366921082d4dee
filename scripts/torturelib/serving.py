"""The two servers of a torture: the embedded HTTP server in front of real git, and a real sshd, both on 127.0.0.1."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitref_lock.testing.gitserver import GitHttpServer
from scripts.torturelib import sshwrap
from scripts.torturelib.http_side import Director
from scripts.torturelib.world import MARK, World

_START_S = 30.0
_QUICK = "KexAlgorithms=curve25519-sha256"
"""Half of a login's time goes into the default key exchange, which is not what is tested."""
_SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


class NoServerError(RuntimeError):
    """A program that is needed is not there, or did not start."""


@contextmanager
def http(folder: Path, director: Director) -> Iterator[World]:
    """Serve the folder's repository over HTTP, as the director has it."""
    served = folder / "served"
    served.mkdir(parents=True)
    with GitHttpServer(served, faults=director) as server:
        yield World(folder, served / "repo.git", server.repo_url("repo.git"))


@contextmanager
def ssh(folder: Path) -> Iterator[World]:
    """Serve it over ssh; clients come through ``sshwrap``, which strikes them and breaks their connections."""
    keys, bare = folder / "ssh", folder / "served" / "repo.git"
    keys.mkdir(parents=True)
    bare.parent.mkdir()
    for name in ("host", "user"):
        words = [_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)]
        subprocess.run(words, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    client = [_program("ssh"), "-F", os.devnull, "-i", str(keys / "user"), "-l", getpass.getuser()]
    for option in (
        "StrictHostKeyChecking=no",
        f"UserKnownHostsFile={os.devnull}",
        "LogLevel=ERROR",
        "BatchMode=yes",
        _QUICK,
    ):
        client += ["-o", option]
    extra = {
        "GIT_SSH_COMMAND": f"{sys.executable} -S {sshwrap.__file__}",
        "GIT_SSH_VARIANT": "ssh",
        "TORTURE_SSH": json.dumps(client),
    }
    with _sshd(folder, keys, port):
        yield World(folder, bare, f"ssh://127.0.0.1:{port}{bare}", extra)


@contextmanager
def _sshd(folder: Path, keys: Path, port: int) -> Iterator[None]:
    """Run sshd for the user who runs this; what it starts carries the mark of the round."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd of root insists on its folder
    lines = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": str(keys / "host"),
        "AuthorizedKeysFile": str(keys / "user.pub"),
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "MaxStartups": "200",
        "AcceptEnv": "GIT_PROTOCOL",
        "SetEnv": f"{MARK}={folder}",
        "ForceCommand": 'git-shell -c "$SSH_ORIGINAL_COMMAND"',
    }
    config = keys / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()), encoding="ascii")
    with (keys / "log").open("ab") as log:
        process = subprocess.Popen(
            [_program("sshd"), "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await(process, port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once somebody listens."""
    until = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise NoServerError("sshd did not start; its words are in the folder's ssh/log") from error
            time.sleep(0.02)
        else:
            return


def _program(name: str) -> str:
    """Return where a program is."""
    found = shutil.which(name, path=_SEARCHED)
    if found is None:
        raise NoServerError(f"{name} is missing: install openssh-server and openssh-client")
    return found
