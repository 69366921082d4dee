"""A fault at every request of poster, combiner and leaver: each ticket ends as exactly one of landed and withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from gitref_lock.core.ticket import VerdictKind
from gitref_lock.testing.oracles import judge
from gitref_lock.testing.sim_network import Fate
from tests.group.crowd import ROLES, ends, play, times_in_branch, told

READ_FAULTS = {
    "lost": Fate(lost=True),
    "reply lost": Fate(reply_lost=True, is_quiet=True),
    "crash before": Fate(crash="before"),
    "crash after": Fate(crash="after"),
}
LISTING_FAULTS = {**READ_FAULTS, "torn": Fate(torn_s=0.3), "stale": Fate(lag_s=1.5)}
WRITE_FAULTS = {
    "refused connection": Fate(refused=True),
    "lost": Fate(lost=True),
    "lost quietly": Fate(lost=True, is_quiet=True),
    "reply lost": Fate(reply_lost=True),
    "reply lost quietly": Fate(reply_lost=True, is_quiet=True),
    "duplicate": Fate(again_s=0.2),
    "late duplicate": Fate(again_s=8.0),
    "proxy": Fate(again_s=0.2, is_second_heard=True),
    "late": Fate(late_s=0.5),
    "later": Fate(late_s=20.0, is_quiet=True),
    "ghost": Fate(late_s=400.0),
    "crash before": Fate(crash="before"),
    "crash when sent": Fate(crash="sent"),
    "crash after": Fate(crash="after"),
}
LEAVES_S = (3.0, 3.62, 3.75)
"""Before the queue is landed; while it is prepared; while the swap that lands it is on its way."""


def plans(leaves_s: float, *, only_writes: bool = False) -> Iterator[tuple[str, int, str, Fate]]:
    """Yield runner, request and fault for every request that a run without faults makes."""
    _, counts, kind_of = play({}, leaves_s=leaves_s)
    for runner in ROLES:
        for number in range(1, counts[runner] + 1):
            if only_writes and kind_of[runner, number] != "swap":
                continue
            faults = {"swap": WRITE_FAULTS, "ls-refs": LISTING_FAULTS}.get(kind_of[runner, number], READ_FAULTS)
            for name, fate in faults.items():
                yield runner, number, name, fate


def check(plan: dict[tuple[str, int], Fate], leaves_s: float) -> Counter[str]:
    """Play one plan and assert all that is promised; return what was told, by role."""
    world, _, _ = play(plan, leaves_s=leaves_s)
    said = f"{plan} leaves_s={leaves_s}\n" + "\n".join(world.history.trace)
    assert judge(world.history) == [], said
    for ref, verdicts in ends(world).items():
        assert len(verdicts) == 1, (ref, verdicts, said)
        assert verdicts[0] in {VerdictKind.LANDED, VerdictKind.WITHDRAWN}, (ref, verdicts, said)
    results = told(world)
    for runner in ROLES:
        times = times_in_branch(world, runner)
        assert times <= 1, (runner, said)
        if results[runner] == "landed":
            assert times == 1, (runner, said)
        elif results[runner] not in {"unknown", "crashed"}:
            assert times == 0, (runner, results, said)
    patient = {results[runner] for runner in ("r1", "r2")}
    assert patient <= {"landed", "crashed"}, (results, said)
    assert results["r4"] == "landed", (results, said)
    left = [ref for ref in world.server.refs if ref.startswith("refs/lock-queue/")]
    assert len(left) <= 1, (left, said)
    return Counter(f"{ROLES[runner]} {results[runner]}" for runner in ROLES)


@pytest.mark.parametrize("leaves_s", LEAVES_S)
def test_every_ticket_ends_exactly_once_whatever_one_fault_does(leaves_s: float) -> None:
    """Whatever happens to one request of anybody: nothing lands twice, no exit code lies, no ticket stays."""
    seen: Counter[str] = Counter()
    count = 0
    for runner, number, _name, fate in plans(leaves_s):
        seen += check({(runner, number): fate}, leaves_s)
        count += 1
    print(f"{count} plans: {dict(seen)}")  # noqa: T201 - how much was tried is shown with -s
    assert count > 240, "a request that is not made any more has no fault"
    assert {"head landed", "waiter landed", "leaver lock-timeout", "head crashed", "leaver crashed"} <= seen.keys()


def test_two_faults_at_once_change_nothing() -> None:
    """A fault at a write of one runner together with one at a write of another: a sample of all such pairs."""
    pairs = 0
    for leaves_s in LEAVES_S[1:]:
        writes = list(plans(leaves_s, only_writes=True))
        for index, first in enumerate(writes):
            for second in writes[index % 7 :: 7]:
                if first[0] < second[0]:
                    check({first[:2]: first[3], second[:2]: second[3]}, leaves_s)
                    pairs += 1
    assert pairs > 200
