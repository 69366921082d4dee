"""``run`` keeps the promises that users of flock(1), ``etcdctl lock`` and ``consul lock`` rely on."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.scheduling.jobs import HOLD, Jobs, eventually, is_running, waiting
from tests.support.gitcli import Repo
from tests.support.runners import history_at


def test_the_exit_code_is_the_commands_own(jobs: Jobs) -> None:
    """Any code of the command comes through, and the lock is free afterwards."""
    started = [jobs.run(f"lock{code}") for code in (0, 1, 42, 255)]
    for job, code in zip(started, (0, 1, 42, 255), strict=True):
        job.held()
        job.let_go(code)
    assert [job.end()[0] for job in started] == [0, 1, 42, 255]


def test_a_command_that_dies_by_a_signal_is_128_and_its_number(jobs: Jobs) -> None:
    """A command killed by a signal yields what a shell would say of it."""
    assert jobs.done("run", "main", "--", "sh", "-c", "kill -KILL $$")[0] == 137
    assert jobs.done("run", "main", "-c", "kill -TERM $$")[0] == 143


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/", 126)])
def test_a_command_that_cannot_be_started(jobs: Jobs, bare_repo: Repo, command: str, code: int) -> None:
    """A missing command is 127, one that cannot be executed 126, and the lock is released."""
    found, _, said = jobs.done("run", "main", "--", command)
    assert found == code
    assert command in said
    assert history_at(bare_repo)[-1]["event"] == "release"


def test_wrong_words_are_usage_errors(jobs: Jobs) -> None:
    """Without a command, or with two, nothing is acquired."""
    assert jobs.done("run", "main")[0] == 2
    assert jobs.done("run", "main", "-c", "true", "--", "true")[0] == 2
    assert jobs.done("run", "main", "--ttl", "1s", "--", "true")[0] == 2
    assert jobs.done("run", "main", "--ttl", "10s", "--kill-after", "20s", "--", "true")[0] == 2


def test_standard_streams_belong_to_the_command(jobs: Jobs) -> None:
    """Bytes go in and out untouched, and gitref-lock itself says nothing when all is well."""
    job = jobs.start("run", "main", "--", "sh", "-c", "cat; echo error >&2")
    out, err = job.process.communicate(b"\x00\xff bytes\n", timeout=60)
    assert (out, err) == (b"\x00\xff bytes\n", b"error\n")


def test_json_leaves_standard_output_to_the_command(jobs: Jobs) -> None:
    """Even with --json the command's output is all there is, except for an error before it starts."""
    assert jobs.done("run", "main", "--json", "--", "echo", "mine")[:2] == (0, "mine\n")
    holder = jobs.run("main")
    holder.held()
    code, out, _ = jobs.done("run", "main", "--json", "-n", "--", "echo", "mine")
    assert code == 4
    assert '"lock-timeout"' in out
    assert "mine" not in out
    holder.let_go()


def test_the_environment_tells_the_lease(jobs: Jobs, bare_repo: Repo) -> None:
    """The command learns name, ref, state, generation, end and token of its lease."""
    code, out, _ = jobs.done(
        "run", "deploy/prod", "--", "sh", "-c", "env; git ls-remote $URL", environ={"URL": jobs.url}
    )
    assert code == 0
    env = dict(line.split("=", 1) for line in out.splitlines() if line.startswith("GITREF_LOCK_"))
    line = history_at(bare_repo, "deploy/prod")[0]
    assert env["GITREF_LOCK_HELD"] == "1"
    assert env["GITREF_LOCK_NAME"] == "deploy/prod"
    assert env["GITREF_LOCK_REF"] == "refs/locks/deploy/prod"
    assert f"{env['GITREF_LOCK_OID']}\trefs/locks/deploy/prod" in out
    assert env["GITREF_LOCK_GENERATION"] == str(line["generation"])
    assert env["GITREF_LOCK_LEASE"] == line["nonce"]
    assert env["GITREF_LOCK_EXPIRES_AT"].endswith("Z")


def test_several_locks_are_listed_in_order(jobs: Jobs, bare_repo: Repo) -> None:
    """With several -l all names, refs and generations are given in one order, under one token."""
    code, out, _ = jobs.done("run", "-l", "b", "-l", "a", "-c", "env")
    assert code == 0
    env = dict(line.split("=", 1) for line in out.splitlines() if line.startswith("GITREF_LOCK_"))
    assert env["GITREF_LOCK_NAME"] == "b a"
    assert env["GITREF_LOCK_REF"] == "refs/locks/b refs/locks/a"
    assert len(env["GITREF_LOCK_GENERATION"].split()) == 2
    assert {history_at(bare_repo, name)[0]["nonce"] for name in "ab"} == {env["GITREF_LOCK_LEASE"]}
    assert {history_at(bare_repo, name)[-1]["event"] for name in "ab"} == {"release"}


def test_a_script_without_an_interpreter_line_is_the_shells(jobs: Jobs) -> None:
    """What a shell would run, run runs."""
    script = jobs.folder / "script"
    script.write_text("exit 9\n")
    script.chmod(0o755)
    assert jobs.done("run", "main", "--", str(script))[0] == 9


def test_inherited_descriptors_pass_and_ours_do_not(jobs: Jobs) -> None:
    """A descriptor that we were given reaches the command; none of our connections does."""
    reader, writer = os.pipe()
    script = f"echo through >/proc/self/fd/{writer}; ls -l /proc/$$/fd"
    job = jobs.run("main", command=("sh", "-c", script), pass_fds=(writer,))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"through\n"
    out, _ = job.process.communicate(timeout=60)
    assert f" {writer} -> pipe:" in out.decode()
    assert "socket:" not in out.decode()


def test_nonblock_fails_at_once_and_the_code_can_be_chosen(jobs: Jobs) -> None:
    """-n is exit 4 while somebody holds, or the code given with -E, and starts nothing."""
    holder = jobs.run("main")
    holder.held()
    before = time.monotonic()
    code, out, said = jobs.done("run", "main", "-n", "--", "echo", "ran")
    assert (code, out) == (4, "")
    assert "tester" in said
    assert time.monotonic() - before < 10
    assert jobs.done("run", "main", "-n", "-E", "75", "--", "echo", "ran")[0] == 75
    holder.let_go()
    assert holder.end()[0] == 0
    assert jobs.done("run", "main", "-n", "--", "echo", "ran")[:2] == (0, "ran\n")


def test_a_timeout_is_kept_within_bounds(jobs: Jobs, bare_repo: Repo) -> None:
    """--wait 2s gives up after two seconds, not earlier and not much later, and takes its ticket back."""
    holder = jobs.run("main")
    holder.held()
    before = time.monotonic()
    code, _, _ = jobs.done("run", "main", "--wait", "2s", "--", "true")
    took = time.monotonic() - before
    assert code == 4
    assert 2.0 <= took < 8.0
    assert waiting(bare_repo, 0) == []
    holder.let_go()


def test_a_waiter_begins_when_the_holder_ends(jobs: Jobs, bare_repo: Repo) -> None:
    """Two runs of one lock never overlap, and the second one follows."""
    first = jobs.run("main")
    first.held()
    second = jobs.run("main")
    waiting(bare_repo, 1)
    assert second.buffer == b""
    first.let_go()
    second.held()
    assert first.end()[0] == 0
    second.let_go()
    assert second.end()[0] == 0
    assert [line["event"] for line in history_at(bare_repo)] == ["acquire", "release"] * 2


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def test_signals_are_the_commands(jobs: Jobs, bare_repo: Repo) -> None:
    """Each signal reaches the command, whose own answer is the exit code; then the lock is released."""
    started = []
    for number in SIGNALS:
        script = f"trap 'exit {10 + number}' {number.name[3:]}; echo $$; while :; do sleep 0.05; done"
        started.append((number, jobs.run(number.name, command=("sh", "-c", script))))
    for number, job in started:
        job.held()
        job.send(number)
    for number, job in started:
        assert job.end()[0] == 10 + number
        assert history_at(bare_repo, number.name)[-1]["event"] == "release"


def test_a_signal_that_kills_the_command(jobs: Jobs, bare_repo: Repo) -> None:
    """A command without a handler dies of the forwarded signal: 128+n."""
    job = jobs.run("main")
    job.held()
    job.send(signal.SIGTERM)
    assert job.end()[0] == 143
    assert history_at(bare_repo)[-1]["event"] == "release"


def test_a_signal_before_the_lock_ends_the_wait(jobs: Jobs, bare_repo: Repo) -> None:
    """A waiter ends with 128+n at once, its ticket is gone, and the command never ran."""
    holder = jobs.run("main")
    holder.held()
    started = [(number, jobs.run("main")) for number in SIGNALS]
    waiting(bare_repo, len(SIGNALS))
    before = time.monotonic()
    for number, waiter in started:
        waiter.send(number)
    for number, waiter in started:
        assert waiter.end()[0] == 128 + number
        assert waiter.line() == ""
    assert time.monotonic() - before < 10
    assert waiting(bare_repo, 0) == []
    holder.let_go()


def test_the_command_leads_a_group_of_its_own(jobs: Jobs) -> None:
    """A signal to the command's group does not reach gitref-lock, and forwarded ones reach the whole group."""
    job = jobs.run("main", command=("sh", "-c", "sleep 600 & echo $$; echo $!; wait"))
    group, child = job.held(), int(job.line())
    assert os.getpgid(group) == group == os.getpgid(child)
    assert os.getpgid(job.process.pid) != group
    job.send(signal.SIGTERM)
    assert job.end()[0] == 143
    eventually(lambda: not is_running(child))


def test_orphans_of_the_command_are_reaped(jobs: Jobs) -> None:
    """A grandchild whose parent has ended leaves no zombie while the command runs on."""
    job = jobs.run("main", command=("sh", "-c", "sh -c 'sleep 0.2 & echo $!'; echo $$; read line"))
    orphan, _ = int(job.line()), job.held()
    eventually(lambda: not Path(f"/proc/{orphan}").exists())
    job.let_go()
    assert job.end()[0] == 0


def test_a_nested_run_leaves_the_outer_lease_alone(jobs: Jobs, bare_repo: Repo) -> None:
    """A run on the lock that an enclosing run holds runs its command at once; one release in all."""
    inner = f"{sys.executable} -m gitref_lock run main -r {jobs.url}"
    nested = f"{inner} -- sh -c '{inner} -- sh -c \"exit 5\"'"
    assert jobs.done("run", "main", "-c", nested)[0] == 5
    assert [line["event"] for line in history_at(bare_repo)] == ["acquire", "release"]


def test_a_nested_run_sees_through_another_lock(jobs: Jobs, bare_repo: Repo) -> None:
    """Outer a, inner b, innermost a: nobody waits for himself."""
    line = f"{sys.executable} -m gitref_lock run {{}} -w 5s -r {jobs.url} -- "
    nested = line.format("b") + line.format("a") + "sh -c 'exit 6'"
    assert jobs.done("run", "a", "-c", nested)[0] == 6
    assert [line["event"] for line in history_at(bare_repo, "a")] == ["acquire", "release"]


def test_a_nested_run_for_more_than_the_outer_holds_is_refused(jobs: Jobs) -> None:
    """To wait for more while holding some is how deadlocks are made."""
    nested = f"{sys.executable} -m gitref_lock run -l a -l b -r {jobs.url} -- true"
    assert jobs.done("run", "a", "-c", nested)[0] == 2


def test_a_marker_without_a_lease_behind_it_does_not_count(jobs: Jobs, bare_repo: Repo) -> None:
    """The environment of a lease that is over holds nothing: the lock is acquired."""
    environ = {"GITREF_LOCK_HELD": "1", "GITREF_LOCK_NAME": "main", "GITREF_LOCK_LEASE": "0" * 24}
    assert jobs.done("run", "main", "--", "true", environ=environ)[0] == 0
    assert [line["event"] for line in history_at(bare_repo)] == ["acquire", "release"]


def test_the_hold_command_of_these_tests(jobs: Jobs) -> None:
    """The command that these tests hold locks with ends with the code it is told."""
    job = jobs.run("main", command=HOLD)
    assert job.held() > 0
    job.let_go(7)
    assert job.end()[0] == 7
