"""A safeguard whose removal nothing notices is either dead or untested: each is switched off, and must be missed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from gitref_lock.testing.sim import check
from tests.simulation.mutations import MUTATIONS, Mutation

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE", "default") == "nightly"
BOUND = 500 if IS_LONG else 120
CHOSEN = [mutation for mutation in MUTATIONS if IS_LONG or not mutation.is_slow]
CONTROLS = 120 if IS_LONG else 8


@pytest.mark.parametrize("mutation", CHOSEN, ids=lambda mutation: mutation.name)
def test_a_safeguard_that_is_switched_off_is_missed(mutation: Mutation) -> None:
    """Without the safeguard the simulator finds a broken promise within a bounded number of seeds."""
    assert mutation.catch(BOUND) is not None


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_with_the_safeguard_the_same_runs_are_clean(mutation: Mutation) -> None:
    """What is found without the safeguard is not found with it: the runs alone do not break the promise."""
    for seed in range(CONTROLS):
        _, found = check(replace(mutation.setting, seed=seed))
        assert not [line for line in found if line.partition(":")[0] in mutation.oracles], seed
