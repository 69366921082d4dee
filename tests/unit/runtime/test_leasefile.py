"""What a clone remembers: lease files that only their own job uses, and observations that no clock can stretch."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.core.clocks import ClockReading, ServerClock, ServerDate
from gitref_lock.core.expiry import Observation
from gitref_lock.core.machine import Stance, Write, step
from gitref_lock.core.names import LockName, Nonce, Oid
from gitref_lock.core.record import ClockSource, Event, Holder
from gitref_lock.core.text import MalformedError
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.runtime.leasefile import OBSERVATIONS, Memory, StoredLease, Writer, state_folder

MAIN = LockName("main")
TOKEN = Nonce("ab" * 12)
REMOTE = "https://host.example/r.git refs/locks"
WRITER = Writer({"CI_JOB_ID": "7"}, "", "/w")


class FakeClock:
    """Clocks that stand still until they are set."""

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1_700_000_000.0, boot: str = "boot") -> None:
        """Keep the instants."""
        self.monotonic_s, self.wall_s, self.boot = monotonic_s, wall_s, boot

    def monotonic(self) -> float:
        """Return the steady clock."""
        return self.monotonic_s

    def boottime(self) -> float:
        """Return the same."""
        return self.monotonic_s

    def wall(self) -> float:
        """Return Unix time."""
        return self.wall_s

    def boot_id(self) -> str:
        """Return the boot's word."""
        return self.boot


def lease(*, lock: LockName = MAIN, token: Nonce = TOKEN, boot_id: str = "boot") -> StoredLease:
    """Return a stored lease of a lock just acquired."""
    write = Write(token, 1_700_000_000, ClockSource.SERVER, Holder(id="ci/1"), expires_at=1_700_000_061, ttl_s=60.0)
    return StoredLease(
        remote=REMOTE,
        lock=lock,
        token=token,
        writer=WRITER,
        timing=LeaseTiming.for_ttl(60.0),
        state=step(lock, None, Stance.ABSENT, Event.ACQUIRE, write).state,
        boot_id=boot_id,
        sent=ClockReading(1000.0, 1100.0, 1_700_000_000.0),
        clock=ServerClock((ServerDate(1_700_000_000, 999.0, 999.5),)),
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """State, ring, timing, clocks and writer survive, byte for byte where bytes count."""
    memory = Memory(tmp_path / "deep" / "folder")
    assert memory.write([lease()]) is None
    assert memory.read(REMOTE, MAIN) == lease()
    assert memory.read("another remote", MAIN) is None
    assert memory.read(REMOTE, LockName("other")) is None


def test_files_are_private_and_whole(tmp_path: Path) -> None:
    """Mode 0600 in a folder of mode 0700, replaced in one step: no scratch file stays."""
    folder = tmp_path / "state"
    memory = Memory(folder)
    memory.write([lease()])
    memory.write([lease(token=Nonce("cd" * 12))])
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert json.loads(path.read_bytes())["token"] == "cd" * 12


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The caller learns why, and may go on without the file."""
    (tmp_path / "file").write_text("", "utf-8")
    assert isinstance(Memory(tmp_path / "file" / "x").write([lease()]), OSError)
    assert Memory(None).write([lease()]) is None
    assert Memory(None).read(REMOTE, MAIN) is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"token": "x"},
        {"lock": "a b"},
        {"tip": "x"},
        {"record": "{}"},
        {"record": None},
        {"ttl_s": "60"},
        {"ttl_s": 1e300},
        {"margin_s": 0.1},
        {"monotonic_s": -1},
        {"date": {"date_s": "x"}},
        {"job": []},
    ],
    ids=str,
)
def test_a_damaged_file_counts_as_none(tmp_path: Path, change: dict[str, object]) -> None:
    """Whatever is wrong with it, a lease file that cannot be trusted proves nothing."""
    memory = Memory(tmp_path)
    memory.write([lease()])
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change), "utf-8")
    assert memory.read(REMOTE, MAIN) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_lease_or_malformed(data: bytes) -> None:
    """No content ends a command with a crash."""
    with pytest.raises(MalformedError):
        StoredLease.decode(data)


def test_forgetting_needs_the_same_token(tmp_path: Path) -> None:
    """A file that a newer lease has replaced stays."""
    memory = Memory(tmp_path)
    memory.write([lease()])
    memory.forget(REMOTE, MAIN, Nonce("cd" * 12))
    assert memory.read(REMOTE, MAIN) is not None
    memory.forget(REMOTE, MAIN, TOKEN)
    assert memory.read(REMOTE, MAIN) is None
    memory.forget(REMOTE, MAIN, TOKEN)


@pytest.mark.parametrize(
    ("other", "may_adopt", "may_end"),
    [
        (WRITER, True, True),
        (replace(WRITER, folder="/elsewhere"), False, True),
        (replace(WRITER, session="another"), False, True),
        (replace(WRITER, job={"CI_JOB_ID": "8"}), False, False),
        (replace(WRITER, job={}), False, False),
    ],
)
def test_whose_lease_it_is(other: Writer, may_adopt: bool, may_end: bool) -> None:
    """To hold on without asking all must agree; to end a lease the CI job is enough."""
    assert (WRITER.may_adopt(other), WRITER.may_end(other)) == (may_adopt, may_end)


def test_the_deadline_goes_on_over_processes_and_restarts() -> None:
    """On the same boot the steady clocks count; after a restart the wall clock is all there is."""
    stored = lease()
    now = ClockReading(1030.0, 1130.0, 1_700_000_030.0)
    assert stored.sent_by(now, "boot") == stored.sent
    after = stored.sent_by(ClockReading(5.0, 5.0, 1_700_000_050.0), "another boot")
    assert (after.monotonic_s, after.boottime_s, after.wall_s) == (-45.0, -45.0, 1_700_000_000.0)


@pytest.mark.parametrize(
    ("now", "boot", "is_known"),
    [
        (ClockReading(1030.0, 1130.0, 0.0), "boot", True),
        (ClockReading(1030.0, 1130.0, 0.0), "another boot", False),
        (ClockReading(1030.0, 1230.0, 0.0), "boot", False),
        (ClockReading(900.0, 1000.0, 0.0), "boot", False),
    ],
    ids=["same boot", "restarted", "suspended", "clock went back"],
)
def test_the_servers_clock_is_carried_only_where_time_surely_passed(
    now: ClockReading, boot: str, is_known: bool
) -> None:
    """A Date read before a suspend or restart would make the server look earlier than it is."""
    assert lease().clock_by(now, boot).is_known is is_known


def test_observations_last(tmp_path: Path) -> None:
    """The next process goes on from when the tip was first seen."""
    memory, clock, tip = Memory(tmp_path), FakeClock(), Oid("a" * 40)
    memory.observe(REMOTE, {MAIN: Observation(tip, 990.0, 5.0)}, clock)
    clock.monotonic_s += 20
    clock.wall_s += 20
    (found,) = memory.observations(REMOTE, clock).values()
    assert found.tip == tip
    assert found.seen_for_s(clock.monotonic()) == pytest.approx(35.0)
    assert memory.observations("another remote", clock) == {}


@pytest.mark.parametrize(("wall_passed", "expected"), [(20.0, 35.0), (3.0, 18.0), (-500.0, 0.0), (9000.0, 35.0)])
def test_the_least_that_any_clock_shows_counts(tmp_path: Path, wall_passed: float, expected: float) -> None:
    """An observer believes in the least time: a clock that was set forward ends no lease early."""
    memory, clock = Memory(tmp_path), FakeClock()
    memory.observe(REMOTE, {MAIN: Observation(Oid("a" * 40), 990.0, 5.0)}, clock)
    clock.monotonic_s += 20
    clock.wall_s += wall_passed
    (found,) = memory.observations(REMOTE, clock).values()
    assert found.seen_for_s(clock.monotonic()) == pytest.approx(expected)


def test_observations_of_another_boot_do_not_count(tmp_path: Path) -> None:
    """The steady clock began anew, so nothing is known; a machine without a boot's word keeps nothing."""
    memory = Memory(tmp_path)
    memory.observe(REMOTE, {MAIN: Observation(Oid("a" * 40), 990.0)}, FakeClock())
    assert memory.observations(REMOTE, FakeClock(boot="another")) == {}
    memory.observe(REMOTE, {MAIN: Observation(Oid("b" * 40), 990.0)}, FakeClock(boot=""))
    assert memory.observations(REMOTE, FakeClock(boot="")) == {}


def test_observations_of_others_are_kept(tmp_path: Path) -> None:
    """Each command adds what it saw; other locks and remotes stay."""
    memory, clock = Memory(tmp_path), FakeClock()
    memory.observe(REMOTE, {MAIN: Observation(Oid("a" * 40), 990.0)}, clock)
    memory.observe(REMOTE, {LockName("b"): Observation(Oid("b" * 40), 990.0)}, clock)
    memory.observe("other", {MAIN: Observation(Oid("c" * 40), 990.0)}, clock)
    assert set(memory.observations(REMOTE, clock)) == {"main", "b"}
    assert set(memory.observations("other", clock)) == {"main"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"boot_id": "boot", "remotes": 5}', '{"boot_id": "boot", "remotes": {"%s": {"a b": {}, "m": 5}}}'],
)
def test_damaged_observations_count_as_none(tmp_path: Path, text: str) -> None:
    """The file is a help, never a hindrance."""
    (tmp_path / OBSERVATIONS).write_text(text.replace("%s", REMOTE), "utf-8")
    assert Memory(tmp_path).observations(REMOTE, FakeClock()) == {}


def test_where_a_clone_or_job_remembers(tmp_path: Path) -> None:
    """Git directory, CI's temp, state directory, home; without any of them nowhere."""
    home = {"HOME": "/h"}
    assert state_folder(tmp_path, home, "/t") == tmp_path / "gitref-lock"
    assert state_folder(None, home, "/t") == Path("/t/gitref-lock")
    assert state_folder(None, {**home, "XDG_STATE_HOME": "/s"}, "") == Path("/s/gitref-lock")
    assert state_folder(None, home, "") == Path("/h/.local/state/gitref-lock")
    assert state_folder(None, {}, "") is None
