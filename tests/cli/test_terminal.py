"""On a terminal: questions, the live line of a wait, the board; and signals, which end a command once."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys

import pytest

from gitref_lock.cli.output import Output
from gitref_lock.cli.signals import GRACE_S, SignalGate
from gitref_lock.cli.waiting import EVERY_S, WaitDisplay
from gitref_lock.core.names import LockName
from gitref_lock.core.record import Holder
from gitref_lock.errors import Interrupted
from gitref_lock.runtime.waiting import WaitReport
from gitref_lock.testing.clock import JumpingClock
from tests.cli.conftest import Cli
from tests.support.gitcli import Repo


class Terminal:
    """A command whose three streams are a terminal."""

    def __init__(self, cli: Cli, *words: str) -> None:
        """Start it."""
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gitref_lock", *words],
            cwd=cli.cwd,
            env={**cli.environ, "TERM": "xterm", "COLUMNS": "200"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, text: str | None) -> str:
        """Read until ``text`` was shown (None: to the end)."""
        while text is None or text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], 30)
            assert ready, self.shown
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""  # Linux: the other side of the terminal is closed
            if not data:
                assert text is None, self.shown
                break
            self.shown += data.decode("utf-8", "replace")
        return self.shown

    def close(self) -> int:
        """Wait for the end and return the exit code."""
        self.read_until(None)
        code = self.process.wait(timeout=30)
        os.close(self.master)
        return code


@pytest.fixture
def held(cli: Cli) -> Cli:
    """Return a runner that holds main."""
    cli("acquire", "main")
    return cli


@pytest.mark.parametrize(("answer", "code", "is_broken"), [("yes\n", 0, True), ("y\n", 4, False), ("\x04", 4, False)])
def test_break_asks(held: Cli, other: Cli, bare_repo: Repo, answer: str, code: int, is_broken: bool) -> None:
    """Only a full yes breaks the lock; the question says whose it is."""
    tip = bare_repo.ref("refs/locks/main")
    terminal = Terminal(other, "break", "main")
    terminal.read_until("main is held by tester")
    terminal.read_until("Only 'yes' does: ")
    os.write(terminal.master, answer.encode())
    assert terminal.close() == code
    assert (bare_repo.ref("refs/locks/main") != tip) is is_broken


def test_a_wait_shows_one_live_line(held: Cli, other: Cli) -> None:
    """The line is written over itself, and wiped before the result."""
    terminal = Terminal(other, "acquire", "main", "--wait", "2s")
    shown = terminal.read_until("waiting for main: held by tester")
    assert "\r\x1b[2K" in shown
    assert terminal.close() == 4
    assert "was not acquired" in terminal.shown.rpartition("\x1b[2K")[2]


def test_the_board(held: Cli) -> None:
    """``--watch`` on a terminal draws a table and ends with --timeout."""
    terminal = Terminal(held, "inspect", "main", "--watch", "--timeout", "2s")
    assert terminal.close() == 0
    assert "held for" in terminal.shown
    assert "tester" in terminal.shown


def test_no_color(held: Cli, other: Cli) -> None:
    """An error is coloured on a terminal unless NO_COLOR says otherwise."""
    terminal = Terminal(other, "acquire", "main", "-n")
    terminal.close()
    assert "\x1b[31;1merror:" in terminal.shown
    terminal = Terminal(other.under(NO_COLOR="1"), "acquire", "main", "-n")
    terminal.close()
    assert "error: main was not acquired" in terminal.shown
    assert "\x1b[31" not in terminal.shown


def test_the_first_signal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first raises; later ones are ignored while cleaning up, and end the process once that took too long."""
    clock, ended = JumpingClock(), []
    gate = SignalGate(clock)
    with pytest.raises(Interrupted) as caught:
        gate._arrived(signal.SIGINT, None)
    assert caught.value.signum == signal.SIGINT
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append((pid, number)))
    monkeypatch.setattr(signal, "signal", lambda number, action: ended.append((number, action)))
    clock.slept_s += GRACE_S - 1
    gate._arrived(signal.SIGTERM, None)
    assert ended == []
    clock.slept_s += 1.5
    gate._arrived(signal.SIGTERM, None)
    assert ended == [(signal.SIGTERM, signal.SIG_DFL), (os.getpid(), signal.SIGTERM)]


def _report(**change: object) -> WaitReport:
    values: dict[str, object] = {
        "lock": LockName("main"),
        "holder": Holder(id="ann", name="Ann", workflow="nightly", run_url="https://ci.example/1"),
        "generation": 5,
        "held_for_s": 61.0,
        "place": 2,
        "waiting": 3,
        "expected_s": 3700.0,
        "samples": 4,
        "next_look_s": 1.25,
    }
    return WaitReport(**{**values, **change})  # type: ignore[arg-type]  # fields by name


def test_what_a_wait_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Holder, workflow, run, since, place, expected wait and how it is known, next look."""
    clock = JumpingClock()
    WaitDisplay(Output(clock), clock)(_report())
    shown = capsys.readouterr().err
    for part in (
        "waiting for main: held by Ann (nightly)",
        "https://ci.example/1",
        "(1 min 1 s)",
        "place 2 of 3",
        "about 1 h 1 min more, judging by 4 earlier holds",
        "next look in 1.2 s",
    ):
        assert part in shown
    WaitDisplay(Output(clock), clock)(_report(holder=None, expected_s=None, held_for_s=None))
    assert "no earlier hold is known" in capsys.readouterr().err


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """A line when holder or place changed, else one a minute; a warning once."""
    clock = JumpingClock()
    display = WaitDisplay(Output(clock), clock)
    for report, passes_s, lines in (
        (_report(), 1.0, 1),
        (_report(), 1.0, 0),
        (_report(place=1), 1.0, 1),
        (_report(place=1), EVERY_S, 0),
        (_report(place=1), 1.0, 1),
        (_report(place=1, why="this wait ends too early"), 1.0, 1),
        (_report(place=1, why="this wait ends too early"), 1.0, 0),
    ):
        display(report)
        assert len(capsys.readouterr().err.splitlines()) == lines, report
        clock.slept_s += passes_s
