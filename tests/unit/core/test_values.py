"""What all values of the protocol have in common: they never change, and their documented bounds are these."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import pytest

import gitref_lock.core
from gitref_lock.core import expiry, history, names, record, text, ticket, timing

VALUES: list[type] = [
    value
    for module in pkgutil.iter_modules(gitref_lock.core.__path__)
    for value in vars(importlib.import_module(f"gitref_lock.core.{module.name}")).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
]


@pytest.mark.parametrize("value", sorted(set(VALUES), key=str))
def test_every_value_is_frozen_and_has_no_room_for_more(value: type) -> None:
    """A state that was read, or is on its way to the server, cannot be altered by accident or by a misspelt field."""
    parameters = getattr(value, "__dataclass_params__")  # noqa: B009  # known to dataclasses, not to type checkers
    assert parameters.frozen
    assert "__slots__" in vars(value)


def test_there_are_values_to_check() -> None:
    """The search above finds the protocol's own types."""
    assert {names.TicketName, record.LockRecord, ticket.Ticket, history.Ring, timing.LeaseTiming} <= set(VALUES)


def test_the_bounds_are_the_documented_ones() -> None:
    """Other programs rely on these numbers (docs/protocol.md, sections 1, 4 and 8)."""
    assert (record.MIN_TTL_S, record.MAX_TTL_S, record.UNREADABLE_TTL_S) == (5, 86_400, 86_400)
    assert (record.WRITE_LIMIT, record.READ_LIMIT, record.SCHEMA) == (1024, 65_536, 1)
    assert (record.MAX_GENERATION, record.MAX_PRIORITY) == (9_007_199_254_740_992, 1000)
    assert (history.MAX_LINES, history.MAX_BYTES) == (64, 16_384)
    assert (ticket.MAX_LAND_LIFE_S, ticket.VERDICT_KEPT_S, ticket.MAX_LOCKS, ticket.SCHEMA) == (600, 60, 32, 1)
    assert timing.MAX_CLOCK_SKEW_S == 10
    assert names.ZERO_OID == "0" * 40
    assert names.RANK_LIMIT == 10_000_000_000_000_000
    assert text.instant(text.MAX_INSTANT) == "9999-12-31T23:59:59Z"
    assert [rule.value for rule in expiry.Rule] == ["A", "B"]
