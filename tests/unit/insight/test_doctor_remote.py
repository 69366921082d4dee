"""The examination of a remote on the memory server, where a server can be made to lie in one way at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gitref_lock.core.clocks import ServerClock, ServerDate
from gitref_lock.core.objects import GitObject
from gitref_lock.core.record import Holder
from gitref_lock.core.refs import Applied, RefEdit, SwapOutcome
from gitref_lock.insight.doctor import _examine
from gitref_lock.insight.findings import Examination, Finding, Severity
from gitref_lock.insight.probes.place import check_host, skew_s
from gitref_lock.insight.probes.trial import Trial
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.remote import Remote
from gitref_lock.system import real_system
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer


class LyingStore(MemoryRefStore):
    """A store whose server calls every swap applied, whether it made it or not."""

    def swap(
        self,
        edits: Sequence[RefEdit],
        objects: Sequence[GitObject],
        *,
        trust_report: bool = True,
        timeout_s: float | None = None,
    ) -> SwapOutcome:
        """Swap, and say ok."""
        super().swap(edits, objects, trust_report=trust_report, timeout_s=timeout_s)
        return Applied()


class TornStore(MemoryRefStore):
    """A store whose server applies each edit of a swap by itself."""

    def swap(
        self,
        edits: Sequence[RefEdit],
        objects: Sequence[GitObject],
        *,
        trust_report: bool = True,
        timeout_s: float | None = None,
    ) -> SwapOutcome:
        """Swap one by one; the last answer counts for all."""
        outcomes = [super(TornStore, self).swap([edit], objects, timeout_s=timeout_s) for edit in edits]
        return next((outcome for outcome in outcomes if outcome != Applied()), Applied())


def examined(kind: type[MemoryRefStore]) -> tuple[Examination, MemoryServer]:
    """Examine a memory server through stores of this kind."""
    server, system, found = MemoryServer(), real_system(), Examination()
    remote = Remote(kind(server, system), system)
    deadline = Deadline.after(system, 60.0)
    trial = Trial(remote, lambda: kind(server, system), Holder(id="tester"), deadline, system.entropy.nonce())
    _examine(trial, found)
    assert trial.clean_up(deadline) == []
    return found, server


def test_a_truthful_server_has_no_errors() -> None:
    """Every experiment succeeds, and every ref is gone afterwards."""
    found, server = examined(MemoryRefStore)
    assert found.errors == ()
    assert (found.measured["atomic_kept"], found.measured["race_exclusive"]) == (True, True)
    assert server.refs == {}


def test_a_server_that_calls_everything_applied_is_unsafe() -> None:
    """Told that an outdated swap was applied, doctor looks at the lock and does not believe it."""
    found, _ = examined(LyingStore)
    assert {finding.code for finding in found.errors} == {"unsafe-swaps", "atomic-broken"}
    assert found.measured["stale_swap_refused"] is False


def test_a_server_that_applies_a_part_is_found_out() -> None:
    """It advertises atomic and moves the good half of a swap."""
    found, _ = examined(TornStore)
    assert [finding.code for finding in found.errors] == ["atomic-broken"]


@pytest.mark.parametrize(
    ("url", "agent", "host"),
    [
        ("https://github.com/a/b", "", "github"),
        ("git@github.com:a/b.git", "", "github"),
        ("https://git.example.com/a/b", "github/spokes-receive-pack-1", "github"),
        ("https://dev.azure.com/a/b", "", "azure-devops"),
        ("https://gitlab.com/a/b", "", "gitlab"),
        ("https://notgithub.com.example/a", "", None),
        ("https://example.com/github.com.git", "git/2", None),
    ],
)
def test_a_known_host_brings_its_advice(url: str, agent: str, host: str | None) -> None:
    """Hosts are told by their address, GitHub's servers elsewhere by what they call themselves."""
    found = Examination()
    check_host(url, agent, found)
    assert found.measured.get("host") == host
    assert len(found.findings) == (host is not None)


def test_a_skew_is_known_to_a_second() -> None:
    """The server's Date is a whole second, cut off: the bounds leave room for that and for the time since."""
    clock = ServerClock().with_date(ServerDate(date_s=1000, sent_s=50.0, received_s=50.5))
    assert skew_s(clock, 60.5, 1013.0) == (1013.0 - 1011.5, 1013.0 - 1010.0)
    assert skew_s(ServerClock(), 1.0, 1.0) is None


def test_counts_name_every_severity() -> None:
    """Scripts find each severity, also where nothing has it."""
    found = Examination([Finding("a", Severity.NOTE, "x"), Finding("b", Severity.ERROR, "y", path="p", line=3)])
    assert found.counts() == {"ok": 0, "note": 1, "warning": 0, "error": 1}
    assert found.errors[0].to_json() == {"code": "b", "severity": "error", "text": "y", "path": "p", "line": 3}
