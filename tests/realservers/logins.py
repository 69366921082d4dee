"""OpenSSH with and without protocol version 2, and gitolite behind it."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.realservers.packages import program
from tests.realservers.serving import Service, accepts, free_port, git_version, open_folder, running, version_of
from tests.support.gitcli import Repo, git_env

RACERS = 4  # a login takes a third of a second of one core

GITOLITE_RULES = """
repo open/..*
    RW+ = @all
repo branches/..*
    RW+ refs/heads/ = @all
repo readonly/..*
    R = @all
"""


def make_keys(folder: Path) -> None:
    """Make a key for the host and one for the user."""
    for name in ("host_key", "user_key"):
        words = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)


def client(folder: Path) -> dict[str, str]:
    """Return the environment in which ssh logs in with the user's key and looks at nothing else."""
    options = ["-F", "/dev/null", "-i", str(folder / "user_key"), "-l", getpass.getuser()]
    options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    return {"GIT_SSH_COMMAND": shlex.join(["ssh", *options, "-o", "BatchMode=yes"])}


@contextmanager
def daemon(folder: Path, **settings: str) -> Iterator[int]:
    """Run sshd on a free port for the user who runs the tests; yield the port."""
    port = free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd of root insists on its folder
    lines = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": str(folder / "host_key"),
        "AuthorizedKeysFile": str(folder / "authorized_keys"),
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "MaxStartups": "100",
        **settings,
    }
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()), encoding="ascii")
    with running([program("sshd"), "-D", "-e", "-f", config], accepts(port), folder / "log"):
        yield port


@contextmanager
def sshd(*, accepts_protocol: bool = True) -> Iterator[Service]:
    """Start sshd; without AcceptEnv the wish for protocol version 2 does not pass."""
    with open_folder() as folder:
        make_keys(folder)
        root = folder / "served"
        root.mkdir()
        (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
        settings = {"ForceCommand": 'git-shell -c "$SSH_ORIGINAL_COMMAND"'}
        if accepts_protocol:
            settings["AcceptEnv"] = "GIT_PROTOCOL"
        with daemon(folder, **settings) as port:
            product = version_of([program("ssh"), "-V"], r"OpenSSH_([\w.]+)")
            yield Service(
                name="sshd" if accepts_protocol else "sshd-v0",
                version=f"OpenSSH {product} + git {git_version()}" + ("" if accepts_protocol else ", no AcceptEnv"),
                agent="git/",
                where=lambda name: root / name,
                address=lambda name: f"ssh://127.0.0.1:{port}{root}/{name}",
                environ=client(folder),
                racers=RACERS,
                speaks_v2=accepts_protocol,
            )


@contextmanager
def gitolite(area: str = "open") -> Iterator[Service]:
    """Start gitolite in a home of its own. ``area``: ``open``, ``branches`` (no other refs), ``readonly``."""
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        make_keys(folder)
        home = folder / "home"
        home.mkdir()
        environ = git_env(home, {"USER": getpass.getuser(), "LOGNAME": getpass.getuser()})
        shell = program("gitolite-shell")
        public = folder / "runner.pub"
        public.write_bytes((folder / "user_key.pub").read_bytes())

        def run(*words: str) -> str:
            done = subprocess.run(
                [program("gitolite"), *words], env=environ, capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            return done.stdout

        run("setup", "-a", "nobody")
        config = home / ".gitolite" / "conf" / "gitolite.conf"
        config.write_text(GITOLITE_RULES, encoding="ascii")
        run("compile")
        key = (folder / "user_key.pub").read_text(encoding="ascii")
        inner = f"HOME={shlex.quote(str(home))} {shell} runner"
        (folder / "authorized_keys").write_text(f'command="{inner}",no-pty {key}', encoding="ascii")
        port = stack.enter_context(daemon(folder, AcceptEnv="GIT_PROTOCOL"))
        served = home / "repositories" / area

        def prepare(repo: Repo) -> None:
            (repo.path / "gl-creator").write_text("runner\n", encoding="ascii")
            hooks = home / ".gitolite" / "hooks" / "common"
            for hook in hooks.iterdir():
                target = repo.path / "hooks" / hook.name
                target.parent.mkdir(exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to(hook)

        product = version_of(["cat", str(Path(shell).with_name("VERSION"))], r"v?([\d.]+)")
        yield Service(
            name="gitolite" if area == "open" else f"gitolite-{area}",
            version=f"gitolite {product} + git {git_version()}",
            agent="git/",
            where=lambda name: served / name,
            address=lambda name: f"ssh://127.0.0.1:{port}/{area}/{name.removesuffix('.git')}",
            environ=client(folder),
            racers=RACERS,
            prepare=prepare,
        )
