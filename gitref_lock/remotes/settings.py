"""What must be known about a remote before anything is sent to it: address, headers, proxy, TLS, credentials.

``locate`` reads these from git's configuration and the environment; the adapters only use them. The type is the border
between the two, so that an adapter never reads a configuration and ``locate`` never opens a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Literal

from gitref_lock.core.lean import dataclass

Scheme = Literal["http", "ssh", "git", "path"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a password or token; never printed."""

    username: str
    password: str = field(repr=False)


CredentialSource = Callable[[str], Credential | None]
"""Given a URL without credentials, return the next credential to try, or None when there is no other."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How to speak HTTP(S) to one origin. ``headers`` go to that origin only, never to another after a redirect.

    ``proxy_url`` None means a direct connection. ``ca_file`` and ``ca_path`` replace the system's certificates.
    Times are in seconds.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    proxy_url: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    ca_path: str | None = None
    verify_tls: bool = True
    client_cert: str | None = None
    client_key: str | None = None
    credential: Credential | None = None
    next_credential: CredentialSource | None = field(default=None, repr=False)
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """One remote, resolved. ``url`` is for reads, ``push_url`` for swaps; neither carries credentials.

    ``name`` is the configured remote's name, None for a bare URL or path. ``environment`` is what child processes
    (ssh, git) get on top of ours. ``ssh_command`` is run by a shell, as git does.
    """

    name: str | None
    scheme: Scheme
    url: str
    push_url: str
    http: HttpSettings = field(default_factory=HttpSettings)
    push_http: HttpSettings | None = None
    ssh_command: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    promisor_filter: str | None = None
