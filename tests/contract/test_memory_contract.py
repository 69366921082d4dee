"""The RefStore contract on the memory server, whose verdicts the simulations rest on."""

from __future__ import annotations

import pytest

from gitref_lock.system import real_system
from gitref_lock.testing.contract import RefStoreContract
from gitref_lock.testing.contract_kit import ContractHost
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer


class TestMemoryContract(RefStoreContract):
    """With the holes of C git, strict, and with a clock."""

    @pytest.fixture(params=["c-git", "strict", "clocked"])
    def host(self, request: pytest.FixtureRequest) -> ContractHost:
        """Return a host on a fresh memory server."""
        clock = {"clocked": lambda: 1_700_000_000.9}.get(request.param)
        server = MemoryServer(holes=request.param != "strict", clock=clock)
        return ContractHost(
            open_store=lambda: MemoryRefStore(server, real_system()),
            collect_garbage=server.gc,
            delete_ref=lambda ref: server.set_ref(ref, None),
            agent="git/",
        )
