"""Fetching posted changes: one request for all, and one bad ticket harms no other."""

from __future__ import annotations

import pytest

from gitref_lock.core.queue import Entry
from gitref_lock.ports import ObjectsGoneError, RemoteError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.ticket_fetch import MAX_REQUESTS, NOT_SERVED, TOO_LARGE, TicketFetch
from tests.group.memory import LOCK, MAIN, Hub

Patch = pytest.MonkeyPatch


def waiting(count: int) -> tuple[TicketFetch, list[Entry], Hub]:
    """Return a fetch over a queue of so many posted changes."""
    hub = Hub.open()
    for index in range(count):
        runner = hub.runner(f"r{index}")
        runner.post(runner.line())
    lander = hub.runner("lander")
    deadline = Deadline(lander.remote.system.clock)
    picture = lander.remote.look([LOCK], deadline)
    return TicketFetch(lander.remote, lander.line(), hub.server.refs[MAIN], deadline), list(picture.queues[LOCK]), hub


def asked(patch: Patch, spoil: dict[str, RemoteError]) -> list[int]:
    """Let requests that want one of these tips fail; return how many tickets each request asked for."""
    sizes: list[int] = []
    original = TicketFetch._ask

    def ask(self: TicketFetch, entries: list[Entry]) -> None:
        sizes.append(len(entries))
        self._requests += 1
        for entry in entries:
            if entry.tip in spoil:
                raise spoil[entry.tip]
        self._requests -= 1
        original(self, entries)

    patch.setattr(TicketFetch, "_ask", ask)
    return sizes


def test_all_come_in_one_request(monkeypatch: Patch) -> None:
    """Nothing is fetched twice, and what is here is not asked for."""
    fetch, entries, _ = waiting(8)
    sizes = asked(monkeypatch, {})
    fetch.bring(entries)
    fetch.bring(entries)
    assert sizes == [8]
    assert all(fetch.has(entry) for entry in entries)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RemoteError("too-large", "more"), TOO_LARGE),
        (RemoteError("protocol", "fatal"), NOT_SERVED),
        (RemoteError("not-found", "no"), NOT_SERVED),
        (ObjectsGoneError("not our ref"), None),
    ],
)
def test_the_culprit_is_found_by_halving(monkeypatch: Patch, error: RemoteError, why: str | None) -> None:
    """Seven of eight come, in few requests; the eighth has a reason unless its ticket has just moved."""
    fetch, entries, _ = waiting(8)
    bad = entries[5]
    sizes = asked(monkeypatch, {bad.tip: error})
    fetch.bring(entries)
    assert [fetch.has(entry) for entry in entries] == [entry is not bad for entry in entries]
    assert fetch.refused.get(bad.tip) == why
    assert len(sizes) == 7


def test_a_network_that_fails_blames_nobody(monkeypatch: Patch) -> None:
    """What may pass is not tried in halves, and leaves no reason."""
    fetch, entries, _ = waiting(4)
    sizes = asked(monkeypatch, {entries[0].tip: RemoteError("timeout", "no reply", transient=True)})
    fetch.bring(entries)
    assert sizes == [4]
    assert fetch.refused == {}
    assert not any(fetch.has(entry) for entry in entries)


def test_requests_are_bounded(monkeypatch: Patch) -> None:
    """A queue in which every ticket is bad costs a bounded number of requests."""
    fetch, entries, _ = waiting(60)
    sizes = asked(monkeypatch, {entry.tip: RemoteError("too-large", "more") for entry in entries})
    fetch.bring(entries)
    assert len(sizes) == MAX_REQUESTS
