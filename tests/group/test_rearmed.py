"""A change that waits longer than its ticket lives: the ticket is extended, and old listings are not believed."""

from __future__ import annotations

from collections.abc import Callable

from gitref_lock.core.ticket import MAX_LAND_LIFE_S
from tests.group.memory import QUEUE, Hub, Runner
from tests.support.runners import acquire_at, release


def test_a_listing_from_before_the_post_does_not_end_a_ticket_that_was_extended() -> None:
    """Past the first life of an extended ticket a listing without it is an old one: the change is posted once."""
    hub = Hub.open()
    lease = acquire_at(hub.runner("holder").remote, ttl_s=3600.0)
    old_listings = 0

    def exchange(kind: str, work: Callable[[], object]) -> object:
        nonlocal old_listings
        age_s = victim.remote.system.clock.monotonic() - began_s
        if old_listings == 1 and lease.lost is None and not lease.released:
            release(lease)
        found = work()
        if kind == "ls-refs" and age_s > MAX_LAND_LIFE_S + 30 and not old_listings:
            old_listings += 1
            assert isinstance(found, tuple)
            refs, date = found
            return {name: oid for name, oid in refs.items() if not name.startswith(QUEUE)}, date
        return found

    victim: Runner = hub.runner("victim", exchange)
    began_s = victim.remote.system.clock.monotonic()
    landed = victim.push(victim.line(), wait_s=3600.0)
    assert old_listings == 1
    assert landed.waited_s > MAX_LAND_LIFE_S
    assert len([ref for ref in hub.server.refs if ref.startswith(QUEUE)]) == 1
    assert hub.subjects().count("victim") == 1
