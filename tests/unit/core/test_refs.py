"""Edits of refs: only true compare-and-swap edits can be built, and they are sent in one order."""

from __future__ import annotations

import itertools

import pytest

from gitref_lock.core.names import ZERO_OID, Oid, RefName
from gitref_lock.core.refs import Absent, At, RefEdit, Role, Unknown, in_sending_order

A, B = Oid("a" * 40), Oid("b" * 40)
REF = RefName("refs/locks/main")


@pytest.mark.parametrize(
    ("expect", "new"), [(Absent(), A), (At(A), B), (At(A), None)], ids=["create", "update", "delete"]
)
def test_create_update_and_delete_are_edits(expect: Absent | At, new: Oid | None) -> None:
    """Each of the three forms of a compare-and-swap can be built."""
    edit = RefEdit(REF, expect, new, Role.TICKET)
    assert (edit.expect, edit.new) == (expect, new)


def test_a_delete_that_expects_absence_is_refused() -> None:
    """On the wire it is `0..0 -> 0..0`, which servers treat as an unconditional delete."""
    with pytest.raises(ValueError, match="refs/locks/main: deleting a ref that is expected to be absent"):
        RefEdit(REF, Absent(), None, Role.TICKET)


def test_an_edit_that_changes_nothing_is_refused() -> None:
    """Clients drop an edit whose two sides are equal, so that it would fence nothing."""
    with pytest.raises(ValueError, match="refs/locks/main: an edit must change the ref"):
        RefEdit(REF, At(A), A, Role.LOCK)


@pytest.mark.parametrize(("expect", "new"), [(Absent(), ZERO_OID), (At(A), ZERO_OID), (At(ZERO_OID), A)])
def test_the_zero_id_is_no_object(expect: Absent | At, new: Oid) -> None:
    """The wire writes absence as zeros; an edit that smuggles them in would create or delete unasked."""
    with pytest.raises(ValueError, match="refs/locks/main: the zero id is no object"):
        RefEdit(REF, expect, new, Role.LOCK)


def test_edits_are_sent_branch_first_and_tickets_last() -> None:
    """Whatever order they are given in, the branch leads, then tags, rescues, lock and tickets, each by name."""
    edits = [
        RefEdit(RefName("refs/heads/main"), At(A), B, Role.BRANCH),
        RefEdit(RefName("refs/tags/v1"), Absent(), B, Role.TAG),
        RefEdit(RefName("refs/lock-rescue/main/x"), Absent(), B, Role.RESCUE),
        RefEdit(REF, At(A), B, Role.LOCK),
        RefEdit(RefName("refs/lock-queue/main/t-1"), At(A), B, Role.TICKET),
        RefEdit(RefName("refs/lock-queue/main/t-2"), At(A), None, Role.TICKET),
    ]
    for order in itertools.permutations(edits):
        assert in_sending_order(order) == tuple(edits)


def test_the_order_of_sending_is_the_order_of_the_roles() -> None:
    """C git makes edits visible in the order sent: who sees the lock free again sees the branch moved already."""
    assert sorted(Role, key=lambda role: role.value) == [Role.BRANCH, Role.TAG, Role.RESCUE, Role.LOCK, Role.TICKET]


def test_an_unknown_outcome_may_have_been_sent_unless_shown_otherwise() -> None:
    """The careful reading is the default: bytes may have reached the server."""
    outcome = Unknown("connection reset")
    assert not outcome.nothing_sent
    assert outcome.retry_after_s is None
