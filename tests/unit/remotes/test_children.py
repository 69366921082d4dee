"""A program that is run ends with what waits for it, and ends so that git can tidy up."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from gitref_lock.errors import Interrupted
from gitref_lock.ports import Traffic
from gitref_lock.remotes import children
from gitref_lock.remotes.child import ChildStream, child_environment
from tests.support.gitcli import git, git_env
from tests.support.struck import happens, interrupted_when, interrupts, is_gone, struck_at_start, written


@pytest.fixture(params=[False, True], ids=["no terminal", "terminal"])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the test as where there is a terminal, and as where there is none."""
    has_terminal = bool(request.param)
    monkeypatch.setattr(children, "_is_at_terminal", lambda: has_terminal)
    return has_terminal


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test as where there is no terminal."""
    monkeypatch.setattr(children, "_is_at_terminal", lambda: False)


def test_input_output_and_exit_code() -> None:
    """What goes in comes out, of any size, standard error apart or with the rest."""
    data = os.urandom(1 << 20)
    done = children.run(["sh", "-c", "cat; echo err >&2; exit 3"], environ=os.environ, stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (3, data, b"err\n")
    both = children.run(["sh", "-c", "echo a; echo b >&2; cat"], environ={"PATH": os.defpath}, merges_stderr=True)
    assert (both.returncode, both.stdout, both.stderr) == (0, b"a\nb\n", b"")


def test_a_program_that_opens_its_output_anew_leaves_no_holes() -> None:
    """After something was written to ``/dev/stderr`` by name the text has no zero bytes in it."""
    script = "echo a lot of words; echo b > /dev/stderr; echo c"
    done = children.run(["sh", "-c", script], environ=os.environ, merges_stderr=True)
    assert done.stdout.endswith(b"b\nc\n")
    assert b"\0" not in done.stdout


def test_what_is_missing_cannot_be_started() -> None:
    """A program that does not exist is an OSError."""
    with pytest.raises(FileNotFoundError):
        children.run(["no-such-program-anywhere"], environ=os.environ)


def test_a_git_that_is_interrupted_takes_its_lock_away(tmp_path: Path, terminal: bool) -> None:
    """Git is asked to end, and removes ``index.lock`` as it does so."""
    git("init", "-q", tmp_path / "r", cwd=tmp_path)
    root = tmp_path / "r"
    (root / "a").write_text("a\n", encoding="utf-8")
    (root / ".gitattributes").write_text("a filter=slow\n", encoding="utf-8")
    pid, lock = tmp_path / "pid", root / ".git" / "index.lock"
    git("config", "filter.slow.clean", f"echo $$ > '{pid}'; exec sleep 60", cwd=root)
    with interrupted_when(lambda: written(pid) and lock.exists()):
        children.run(["git", "add", "a"], folder=root, environ=git_env())
    assert not lock.exists()
    filter_pid = int(pid.read_text(encoding="utf-8"))
    if terminal:
        os.kill(filter_pid, signal.SIGKILL)
    else:
        assert is_gone(filter_pid)


@pytest.mark.usefixtures("alone")
def test_what_does_not_end_when_asked_is_killed_with_its_group(tmp_path: Path) -> None:
    """A program that ignores SIGTERM, and one it has started, are gone after a time limit."""
    pid = tmp_path / "pid"
    script = f"trap '' TERM; sleep 60 & echo $$ $! > '{pid}'; wait; wait; sleep 60"
    with pytest.raises(subprocess.TimeoutExpired):
        children.run(["sh", "-c", script], environ=os.environ, limit_s=1.0)
    for number in pid.read_text(encoding="utf-8").split():
        assert happens(partial(is_gone, int(number)))


def test_a_background_process_is_not_waited_for(tmp_path: Path) -> None:
    """The program's own end counts: what it leaves behind may keep the output open and lives on."""
    done = children.run(["sh", "-c", "sleep 60 & echo $!"], environ=os.environ)
    assert not is_gone(int(done.stdout))
    os.kill(int(done.stdout), signal.SIGKILL)


def test_a_signal_during_the_start_ends_the_program(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """No child is left without somebody who can end it."""
    started = struck_at_start(monkeypatch)
    with interrupts(), pytest.raises(Interrupted):
        children.run(["sleep", "60"], environ=os.environ)
    assert [process.returncode for process in started] == [-signal.SIGTERM]


def test_a_signal_during_the_start_of_a_stream_ends_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for a child that speaks git."""
    started = struck_at_start(monkeypatch)
    with interrupts(), pytest.raises(Interrupted):
        ChildStream(["sleep", "60"], child_environment({}, protocol_v2=False), Traffic())
    assert [process.returncode for process in started] == [-signal.SIGTERM]


@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_a_group_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, error: type[OSError]) -> None:
    """What the system says of a group without living members does not replace what is under way."""

    def gone(_group: int, _sign: int) -> None:
        raise error

    process = subprocess.Popen(["true"], process_group=0)
    process.wait()
    monkeypatch.setattr(os, "killpg", gone)
    children.end(process, in_group=True)


_ASKS = """
import os, sys
os.login_tty(int(sys.argv[1]))
from gitref_lock.remotes import children
done = children.run(["sh", "-c", "read answer < /dev/tty; echo $answer"], environ=os.environ)
open(sys.argv[2], "wb").write(done.stdout)
"""


def test_at_a_terminal_a_program_can_ask(tmp_path: Path) -> None:
    """A hook or gpg that reads from the terminal gets the answer and is not stopped."""
    ours, theirs = pty.openpty()
    answer = tmp_path / "answer"
    with subprocess.Popen([sys.executable, "-c", _ASKS, str(theirs), str(answer)], pass_fds=[theirs]) as process:
        os.close(theirs)
        os.write(ours, b"yes\n")
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
    os.close(ours)
    assert answer.read_bytes() == b"yes\n"
