"""What must hold in every run, one property a module: each judges the recorded history and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from gitref_lock.testing.oracles import (
    exactly_once,
    exclusive_leases,
    failed_acquires,
    fair_order,
    fenced_landings,
    generations,
    no_internal_errors,
    nothing_lost,
    tickets,
    transitions,
    waits_end,
)
from gitref_lock.testing.sim_history import History

ORACLES: dict[str, Callable[[History], list[str]]] = {
    module.__name__.rpartition(".")[2]: module.violations
    for module in (
        exactly_once,
        exclusive_leases,
        failed_acquires,
        fair_order,
        fenced_landings,
        generations,
        no_internal_errors,
        nothing_lost,
        tickets,
        transitions,
        waits_end,
    )
}


def judge(history: History) -> list[str]:
    """Return everything that is wrong with a run, each line led by the name of its oracle."""
    return [f"{name}: {line}" for name, oracle in ORACLES.items() for line in oracle(history)]
