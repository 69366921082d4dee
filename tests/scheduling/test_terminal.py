"""``run`` on a terminal: the command has the foreground, and a person's keys are the command's."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.scheduling.jobs import Jobs, eventually
from tests.support.gitcli import Repo
from tests.support.runners import history_at

SHELL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: (os.setpgid(0, 0), os.tcsetpgrp(0, os.getpgrp())))
while True:
    pid, status = os.waitpid(job.pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        break
    print("shell: stopped", flush=True)
    if sys.stdin.readline() == "fg\\n":
        os.tcsetpgrp(0, job.pid)
        os.killpg(job.pid, signal.SIGCONT)
print("shell: exit", os.waitstatus_to_exitcode(status), flush=True)
"""
"""What a shell with job control does for one foreground job."""


class Terminal:
    """A person at a terminal, in whose shell ``gitref-lock`` runs."""

    def __init__(self, jobs: Jobs, *words: str) -> None:
        """Start the shell, with the terminal as its own."""
        self.keys, screen = os.openpty()
        self.seen = ""
        self.shell = subprocess.Popen(
            [sys.executable, "-c", SHELL, sys.executable, "-m", "gitref_lock", *words],
            stdin=screen,
            stdout=screen,
            stderr=screen,
            env=jobs.environ,
            cwd=jobs.folder,
            start_new_session=True,
        )
        os.close(screen)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.keys, text.encode())

    def shows(self, text: str, within_s: float = 60.0) -> None:
        """Wait until ``text`` is on the screen, and go on behind it."""
        until = time.monotonic() + within_s
        while text not in self.seen:
            ready, _, _ = select.select([self.keys], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"not shown: {text!r}; shown: {self.seen!r}"
            self.seen += os.read(self.keys, 4096).decode()
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        """Hang up."""
        os.close(self.keys)
        self.shell.kill()
        self.shell.wait(30)


@pytest.fixture
def at_terminal(jobs: Jobs) -> Iterator[list[Terminal]]:
    """Return a list of terminals; they are closed with the test."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def start(opened: list[Terminal], jobs: Jobs, script: str) -> Terminal:
    """Run a shell script under the lock at a terminal."""
    opened.append(Terminal(jobs, "run", "main", "-r", jobs.url, "-c", script))
    return opened[-1]


def test_the_command_reads_the_terminal(at_terminal: list[Terminal], jobs: Jobs) -> None:
    """A command that asks a question gets the answer: it is in the foreground."""
    terminal = start(at_terminal, jobs, 'echo name; read name; echo "hello $name"; exit 3')
    terminal.shows("name")
    terminal.type("Ada\n")
    terminal.shows("hello Ada")
    terminal.shows("shell: exit 3")


def test_ctrl_c_is_the_commands(at_terminal: list[Terminal], jobs: Jobs, bare_repo: Repo) -> None:
    """Ctrl-C reaches the command once; then the lock is released."""
    terminal = start(at_terminal, jobs, "trap 'echo got it; exit 9' INT; echo ready; while :; do sleep 0.05; done")
    terminal.shows("ready")
    terminal.type("\x03")
    terminal.shows("got it")
    terminal.shows("shell: exit 9")
    assert history_at(bare_repo)[-1]["event"] == "release"


def test_ctrl_z_stops_both_and_fg_goes_on(at_terminal: list[Terminal], jobs: Jobs) -> None:
    """Ctrl-Z gives the shell its prompt back; continued, the command has the terminal again."""
    terminal = start(at_terminal, jobs, 'echo ready; read line; echo "read $line"; exit 4')
    terminal.shows("ready")
    terminal.type("\x1a")
    terminal.shows("shell: stopped")
    terminal.type("fg\n")
    eventually(lambda: os.tcgetpgrp(terminal.keys) not in {terminal.shell.pid, 0})
    terminal.type("again\n")
    terminal.shows("read again")
    terminal.shows("shell: exit 4")
