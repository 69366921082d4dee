"""Ctrl-C in a program that pushes: what was posted is withdrawn, and what has landed is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gitref_lock.core.ticket import VerdictKind
from tests.group.memory import MAIN, QUEUE, Hub
from tests.support.runners import acquire_at, release

Work = Callable[[], object]

MOMENTS = {
    "before the post is sent": [("swap", 1, False)],
    "after the post was applied": [("swap", 1, True)],
    "while waiting": [("ls-refs", 3, False)],
    "while waiting, and again while withdrawing": [("ls-refs", 3, False), ("swap", 2, True)],
}
"""Which requests of the push are interrupted: the kind, which of them, and whether the server had done its work."""


def interrupting(moments: list[tuple[str, int, bool]]) -> Callable[[str, Work], object]:
    """Return an exchange during which Python raises KeyboardInterrupt."""
    counts: dict[str, int] = {}

    def exchange(kind: str, work: Work) -> object:
        counts[kind] = counts.get(kind, 0) + 1
        if (kind, counts[kind], False) in moments:
            raise KeyboardInterrupt
        found = work()
        if (kind, counts[kind], True) in moments:
            raise KeyboardInterrupt
        return found

    return exchange


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_push_leaves_nothing_to_be_landed(moment: str) -> None:
    """Whenever it comes in the wait, KeyboardInterrupt is raised and the change can land no more."""
    hub = Hub.open()
    lease = acquire_at(hub.runner("holder").remote, ttl_s=600.0)
    victim = hub.runner("victim", interrupting(MOMENTS[moment]))
    with pytest.raises(KeyboardInterrupt):
        victim.push(victim.line())
    release(lease)
    other = hub.runner("other")
    other.push(other.line())
    assert hub.subjects()[0] == "other"
    assert "victim" not in hub.subjects()
    ends = [hub.verdict(ref).kind for ref in hub.server.refs if ref.startswith(QUEUE)]
    assert set(ends) <= {VerdictKind.WITHDRAWN}


def test_a_push_that_has_landed_returns_though_it_was_interrupted() -> None:
    """What came too late undoes nothing: the push that is in the branch says so."""
    hub = Hub.open()
    victim = hub.runner("victim", interrupting([("swap", 1, True)]))
    landed = victim.push(victim.line())
    assert landed.head == hub.server.refs[MAIN]


def test_an_interrupted_acquire_leaves_no_ticket() -> None:
    """A wait for a lock ends as cleanly."""
    hub = Hub.open()
    acquire_at(hub.runner("holder").remote, ttl_s=600.0)
    victim = hub.runner("victim", interrupting([("ls-refs", 3, False)]))
    with pytest.raises(KeyboardInterrupt):
        acquire_at(victim.remote, wait_s=60.0)
    assert not [ref for ref in hub.server.refs if ref.startswith(QUEUE)]
