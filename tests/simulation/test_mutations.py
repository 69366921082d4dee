"""A safeguard whose removal nothing notices is either dead or untested: each is switched off, and must be missed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from gitref_lock.testing.sim import check
from tests.simulation.mutations import MUTATIONS, Mutation

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE", "default") == "nightly"
BOUND = 120
CONTROLS = 120 if IS_LONG else 8


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_safeguard_that_is_switched_off_is_missed(mutation: Mutation) -> None:
    """Without it a broken promise is found within a bounded number of seeds; with it the same runs are clean."""
    caught = mutation.catch(BOUND)
    assert caught is not None
    for seed in range(max(caught[0], CONTROLS)):
        _, found = check(replace(mutation.setting, seed=seed))
        assert not [line for line in found if line.partition(":")[0] in mutation.oracles], seed
