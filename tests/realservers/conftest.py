"""One running server of each kind for a whole test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.realservers import daemons, logins, web
from tests.realservers.packages import require
from tests.realservers.serving import Service

STARTS: dict[str, Callable[[], AbstractContextManager[Service]]] = {
    "nginx": web.nginx,
    "apache": web.apache,
    "lighttpd": web.lighttpd,
    "git-daemon": daemons.git_daemon,
    "sshd": logins.sshd,
    "sshd-v0": lambda: logins.sshd(accepts_protocol=False),
    "gitolite": logins.gitolite,
    "gitolite-branches": lambda: logins.gitolite("branches"),
    "gitolite-readonly": lambda: logins.gitolite("readonly"),
    "jgit": daemons.jgit,
    "dulwich": daemons.dulwich,
}

SAFE = ("nginx", "apache", "lighttpd", "git-daemon", "sshd", "sshd-v0", "gitolite", "jgit")
"""Servers whose swaps are to be relied on, each with the whole of what the runtime needs."""


@pytest.fixture(scope="session")
def running_servers() -> Iterator[Callable[[str], Service]]:
    """Return a function that starts a server once; all are ended with the test process."""
    with ExitStack() as stack:
        started: dict[str, Service] = {}

        def get(name: str) -> Service:
            require(name.removesuffix("-v0").partition("-branches")[0].partition("-readonly")[0])
            if name not in started:
                started[name] = stack.enter_context(STARTS[name]())
            return started[name]

        yield get


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack that is unwound after the test."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture(params=SAFE)
def service(request: pytest.FixtureRequest, running_servers: Callable[[str], Service]) -> Service:
    """Return each server that is safe to use, one after the other."""
    return running_servers(request.param)
