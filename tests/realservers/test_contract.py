"""The RefStore contract on servers that none of us wrote, each behind the transport that people reach it by.

OpenSSH with protocol version 2 runs the same suite in tests/contract.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.core.refs import Applied, RefusalKind, Refused
from gitref_lock.testing.contract import RefStoreContract
from gitref_lock.testing.contract_kit import ContractHost, create, state
from tests.realservers.conftest import SAFE
from tests.realservers.serving import Service

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("service", [name for name in SAFE if name != "sshd"], indirect=True)
class TestRealServerContract(RefStoreContract):
    """All of it on every safe server, except where a server is known to differ."""

    @pytest.fixture
    def host(self, service: Service, stack: ExitStack) -> ContractHost:
        """Return a host with an empty repository behind a real server."""
        served = service.make_repo(with_commit=False)
        return ContractHost(
            open_store=lambda: served.open_store(stack),
            collect_garbage=served.repo.collect_garbage,
            delete_ref=served.repo.delete_ref,
            agent=service.agent,
            racers=service.racers,
        )

    def test_missing_objects_are_never_applied(self, host: ContractHost) -> None:
        """A missing tip is refused everywhere; below the tip JGit believes the pusher, so whole closures are sent."""
        if not host.agent.startswith("JGit/"):
            super().test_missing_objects_are_never_applied(host)
            return
        store, orphan = host.open_store(), state("orphan", parents=[Oid("1" * 40)])
        outcome = store.swap([create("a", state("never sent"))], state("sent"))
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.MISSING_OBJECTS
        assert store.swap([create("a", orphan)], orphan) == Applied()
