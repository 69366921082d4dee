"""The RefStore contract over ssh: through a stand-in that runs the command here, and through a real sshd."""

from __future__ import annotations

import getpass
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitref_lock.ports import RefStore
from gitref_lock.remotes import open_store
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.system import real_system
from gitref_lock.testing.contract import RefStoreContract
from gitref_lock.testing.contract_kit import ContractHost
from tests.support.gitcli import Repo, git_env, make_bare
from tests.support.needs import needed

STAND_IN = """#!/bin/sh
# Like ssh: options, host, command. Runs the command here. -G prints a configuration, as OpenSSH does.
[ "$1" = -G ] && { echo "host $2"; exit 0; }
OLD
for last; do :; done
exec sh -c "$last"
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Return an empty bare repository."""
    return make_bare(tmp_path / "with space" / "repo.git", any_sha1=False, with_commit=False)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack that is unwound after the test."""
    with ExitStack() as opened:
        yield opened


def host_for(url: str, ssh_command: str, repo: Repo, stack: ExitStack, racers: int) -> ContractHost:
    """Return a host whose stores are closed with ``stack``."""

    def opened() -> RefStore:
        store = open_store(RemoteSpec(None, "ssh", url, url, ssh_command=ssh_command), real_system())
        stack.callback(store.close)
        return store

    return ContractHost(opened, repo.collect_garbage, repo.delete_ref, agent="git/", racers=racers)


class TestStandInContract(RefStoreContract):
    """What an ssh command of the user's own must be given, with protocol version 2 and where that does not pass."""

    @pytest.fixture(params=["", "unset GIT_PROTOCOL"], ids=["version 2", "version 0"])
    def host(self, request: pytest.FixtureRequest, tmp_path: Path, repo: Repo, stack: ExitStack) -> ContractHost:
        """Return a host behind the stand-in, by an address in the short form."""
        script = tmp_path / "my ssh"
        script.write_text(STAND_IN.replace("OLD", request.param), encoding="ascii")
        script.chmod(0o755)
        return host_for(f"someone@somewhere:{repo.path}", shlex.quote(str(script)), repo, stack, racers=8)


@pytest.mark.servers
@pytest.mark.slow
class TestSshdContract(RefStoreContract):
    """OpenSSH on both sides, as the user who runs the tests."""

    @pytest.fixture(scope="class")
    @staticmethod
    def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
        """Start sshd; return its port and the ssh command that logs in there."""
        folder = tmp_path_factory.mktemp("sshd")
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        settings = {
            "ListenAddress": f"127.0.0.1:{port}",
            "HostKey": folder / "host_key",
            "AuthorizedKeysFile": folder / "user_key.pub",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "AcceptEnv": "GIT_PROTOCOL",
            "MaxStartups": "100",
            "ForceCommand": 'sh -c "$SSH_ORIGINAL_COMMAND"',
        }
        config = folder / "config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="ascii")
        program = needed("sshd", "openssh-server")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd of root insists on its folder
        daemon = subprocess.Popen([program, "-D", "-e", "-f", config], env=git_env(), stderr=subprocess.PIPE, text=True)
        assert daemon.stderr is not None
        assert "Server listening" in daemon.stderr.readline()
        drain = threading.Thread(target=daemon.stderr.read)  # a full pipe would stop sshd
        drain.start()
        options = ["-F", "/dev/null", "-i", str(folder / "user_key"), "-l", getpass.getuser()]
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        yield port, shlex.join(["ssh", *options])
        daemon.terminate()
        daemon.wait(10)
        drain.join(10)
        daemon.stderr.close()

    @pytest.fixture
    def host(self, sshd: tuple[int, str], repo: Repo, stack: ExitStack) -> ContractHost:
        """Return a host behind sshd, by an address in the long form."""
        port, command = sshd
        path = str(repo.path).replace(" ", "%20")
        return host_for(f"ssh://127.0.0.1:{port}{path}", command, repo, stack, racers=4)
