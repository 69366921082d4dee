"""The RefStore contract on servers that none of us wrote, each behind the transport that people reach it by."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from gitref_lock.testing.contract import RefStoreContract
from gitref_lock.testing.contract_kit import ContractHost
from tests.realservers.serving import Service

pytestmark = pytest.mark.servers


class TestRealServerContract(RefStoreContract):
    """All of it on every safe server."""

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
