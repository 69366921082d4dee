"""ssh: the user's own program with its configuration, agent and host keys, started as git starts it (git-config(1)).

A host or path that looks like an option never reaches a command line.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitref_lock.ports import RemoteError, System
from gitref_lock.remotes.child import ChildStream, child_environment
from gitref_lock.remotes.process import StatefulStore
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.remotes.streams import Deadline, Stream


@dataclass(frozen=True, slots=True)
class SshPlace:
    """Where an ssh address leads: what ssh connects to, its port ('' for ssh's own), and the path there."""

    host: str
    port: str
    path: str

    @classmethod
    def parse(cls, url: str) -> SshPlace:
        """Parse ``ssh://[user@]host[:port]/path`` or ``[user@]host:path``; raise RemoteError for anything else."""
        scheme, separator, rest = url.partition("://")
        if separator and scheme in {"ssh", "git+ssh", "ssh+git"}:
            from urllib.parse import unquote  # late: the other form does not need it

            place, slash, path = rest.partition("/")
            path = unquote(slash + path)
            path = path[1:] if path.startswith("/~") else path
        else:
            found = (
                None if separator else re.fullmatch(r"((?:[^/@\[\]]+@)?(?:\[[^\]]+\]|[^/:\[\]]+)):(.*)", url, re.DOTALL)
            )
            if found is None:
                raise RemoteError("unsupported", f"not an ssh address: {redact(url)[:200]}")
            place, path = found[1], found[2]
        user, at, machine = place.rpartition("@")
        bracketed = re.fullmatch(r"\[(.*)\](?::(\d+))?", machine)
        if bracketed is not None:
            machine, port = bracketed[1], bracketed[2] or ""
            if machine.count(":") == 1:  # git's form [host:port]:path
                machine, _, port = machine.partition(":")
        else:
            machine, _, port = machine.partition(":")
        host = unquoted_user(user) + at + machine
        # A host or path that looks like an option would be obeyed as one by ssh or by the shell's git.
        if not machine or host.startswith("-") or path.startswith("-") or not path or (port and not port.isdigit()):
            raise RemoteError("unsupported", f"not a usable ssh address: {redact(url)[:200]}")
        return cls(host, port, path)


def unquoted_user(user: str) -> str:
    """Return the user name of an address without a password, which ssh has no use for."""
    return user.partition(":")[0]


def quoted(path: str) -> str:
    """Return ``path`` in single quotes, always: git-shell takes a path in no other form, however plain it is."""
    return "'" + path.replace("'", "'\\''").replace("!", "'\\!'") + "'"


class SshStore(StatefulStore):
    """A repository behind the user's own ssh, with its configuration, agent and host keys."""

    def __init__(self, spec: RemoteSpec, system: System) -> None:
        """Nothing is started before the first call."""
        super().__init__(spec, system)
        self._variant: str | None = None

    def _connect(self, service: str, url: str, deadline: Deadline, *, protocol_v2: bool) -> Stream:
        place = SshPlace.parse(url)
        environment = child_environment(self._spec.environment, protocol_v2=protocol_v2)
        variant = self._known_variant(place.host, environment, deadline)
        if place.port and variant == "simple":
            raise RemoteError("unsupported", "the configured ssh command takes no port")
        options: list[str] = []
        if variant == "ssh" and protocol_v2:
            options += ["-o", "SendEnv=GIT_PROTOCOL"]
        if variant == "tortoiseplink":
            options.append("-batch")
        if place.port:
            options += ["-p" if variant == "ssh" else "-P", place.port]
        command = f"{service} {quoted(place.path)}"
        return ChildStream(self._command([*options, place.host, command]), environment, self.traffic)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        """Return the program to start: ssh itself, or the configured command through a shell, as git does."""
        configured = self._spec.ssh_command
        if configured is None:
            return ["ssh", *arguments]
        return ["sh", "-c", f'{configured} "$@"', configured, *arguments]

    def _known_variant(self, host: str, environment: Mapping[str, str], deadline: Deadline) -> str:
        """Return which options the ssh command takes (git-config(1), ``ssh.variant``), found out once."""
        if self._variant is None:
            self._variant = self._find_variant(host, environment, deadline)
        return self._variant

    def _find_variant(self, host: str, environment: Mapping[str, str], deadline: Deadline) -> str:
        named = environment.get("GIT_SSH_VARIANT", "auto")
        if named in {"ssh", "simple", "plink", "putty", "tortoiseplink"}:
            return named
        configured = self._spec.ssh_command
        if configured is None:
            return "ssh"
        try:
            words = shlex.split(configured)
        except ValueError:
            words = []
        name = os.path.basename(words[0]).lower().removesuffix(".exe") if words else ""  # noqa: PTH119 - a command word, not a path of ours
        if name in {"ssh", "plink", "putty", "tortoiseplink"}:
            return name
        # A wrapper under another name: it is OpenSSH-like when it can print its configuration.
        from subprocess import TimeoutExpired  # late: only for such a wrapper

        from gitref_lock.remotes import children

        limit_s = max(0.1, min(10.0, deadline.left()))
        try:
            done = children.run(self._command(["-G", host]), environ=environment, has_terminal=False, limit_s=limit_s)
        except (OSError, TimeoutExpired):
            return "simple"
        return "ssh" if done.returncode == 0 else "simple"
