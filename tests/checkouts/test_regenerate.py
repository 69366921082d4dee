"""`regenerate:CMD`: a generated file that both sides changed is made anew where everything else is merged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitref_lock.errors import ConflictError, Interrupted
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commands import LocalCommands
from gitref_lock.landing.merge.policy import Policy, PolicyError
from gitref_lock.landing.strategies.base import Merged, RunRequest, StrategyFailed
from tests.support.ci import advance, assert_sound, content, land, picture, strategies, write
from tests.support.gitcli import Repo, clone, git_env
from tests.support.race import command_env
from tests.support.runners import tip_at
from tests.support.struck import interrupts, struck_at_start

LIST = "ls src | sort > index.txt"


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that temporary files go to."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def folder(bare: Repo, url: str, tmp_path: Path) -> Repo:
    """Return a clone that added a module and listed it, as the remote did with another one."""
    advance(bare, {"index.txt": "app.py\n", ".gitattributes": "*.crlf text eol=crlf\n"}, "generated")
    made = clone(url, tmp_path / "c")
    advance(bare, {"src/theirs.py": "theirs\n", "index.txt": "app.py\ntheirs.py\n"}, "theirs")
    write(made, {"src/mine.py": "mine\n", "index.txt": "app.py\nmine.py\n"})
    return made


def test_the_command_sees_both_sides(bare: Repo, url: str, folder: Repo, temp: Path) -> None:
    """The file is made from the merged tree, reported, written here too; nothing temporary stays."""
    report = land(folder, url, rules=(f"index.txt=regenerate:{LIST}",))
    assert content(bare, "index.txt") == b"app.py\nmine.py\ntheirs.py\n"
    assert (folder.path / "index.txt").read_bytes() == content(bare, "index.txt")
    assert strategies(report) == ["regenerate"]
    assert list(temp.iterdir()) == []
    assert folder.git("status", "--porcelain") == ""
    assert_sound(folder)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo broken; exit 3", "exited with 3: broken"),
        ("printf '<<<<<<< ours\\n' > index.txt", "left conflict markers"),
        ("rm index.txt && mkdir index.txt", "no plain file"),
    ],
)
def test_a_command_that_fails_is_a_conflict(
    bare: Repo, url: str, folder: Repo, temp: Path, command: str, words: str
) -> None:
    """A failing command ends the push with its words; nothing changed anywhere."""
    before, tip = picture(folder), tip_at(bare)
    with pytest.raises(ConflictError) as caught:
        land(folder, url, rules=(f"index.txt=regenerate:{command}",))
    assert words in str(caught.value.fields)
    assert (picture(folder), tip_at(bare), list(temp.iterdir())) == (before, tip, [])


def test_a_command_may_delete_the_file(bare: Repo, url: str, folder: Repo) -> None:
    """A command that removes the file deletes it."""
    land(folder, url, rules=("index.txt=regenerate:rm index.txt",))
    assert "index.txt" not in bare.git("ls-tree", "--name-only", "main").splitlines()
    assert not (folder.path / "index.txt").exists()


def test_git_inside_the_command_does_not_find_the_clone(bare: Repo, url: str, folder: Repo) -> None:
    """A command that runs git cannot reach the real repository by accident."""
    command = "git rev-parse --git-dir > index.txt 2>/dev/null || echo none > index.txt"
    env = {"GIT_CEILING_DIRECTORIES": tempfile.gettempdir()}
    land(folder, url, rules=(f"index.txt=regenerate:{command}",), env=env)
    assert content(bare, "index.txt") == b"none\n"


def test_a_rule_of_the_configuration_file_in_a_partial_clone(bare: Repo, url: str, tmp_path: Path) -> None:
    """From `.gitref-lock.toml`, in a blobless sparse clone: what the command needs to see is fetched."""
    advance(bare, {"index.txt": "app.py\n", "src/other.txt": "only there\n"}, "generated")
    folder = clone(url, tmp_path / "partial", "--filter=blob:none", "--sparse")
    advance(bare, {"index.txt": "theirs\n"}, "theirs")
    write(
        folder,
        {
            "index.txt": "mine\n",
            ".gitref-lock.toml": '[strategies]\n"index.txt" = "regenerate:cat src/other.txt > index.txt"\n',
        },
    )
    words = [sys.executable, "-m", "gitref_lock", "push", "index.txt", "-m", "mine"]
    done = subprocess.run(
        words, cwd=folder.path, env=command_env(), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert content(bare, "index.txt") == b"only there\n"
    assert not (folder.path / "src").exists()
    assert_sound(folder)


def test_a_signal_ends_the_command_too(bare: Repo, url: str, folder: Repo, tmp_path: Path, temp: Path) -> None:
    """Interrupted while a command runs: the command is killed, nothing changed, nothing temporary stays."""
    before, tip = picture(folder), tip_at(bare)
    rule = f"index.txt=regenerate:echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 60"
    words = [sys.executable, "-m", "gitref_lock", "push", "-A", "-m", "mine", "--strategy", rule]
    process = subprocess.Popen(
        words,
        cwd=folder.path,
        env=command_env(TMPDIR=str(temp)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pid = tmp_path / "pid"
    while not pid.exists():
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert_dies(int(pid.read_text()))
    assert (picture(folder), tip_at(bare), list(temp.iterdir())) == (before, tip, [])


def test_a_signal_while_the_command_is_being_started_ends_it_too(
    commands: LocalCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the command's first instruction and the first that its starter can do about it, no signal breaks in."""
    started = struck_at_start(monkeypatch)
    with interrupts(), pytest.raises(Interrupted):
        commands(request_for(commands, "exec sleep 60"))
    assert [process.returncode for process in started] == [-signal.SIGTERM]


def test_such_a_rule_never_travels(bare: Repo, url: str, folder: Repo) -> None:
    """A rule with a command is refused in a policy that comes from a ticket, and a push with one is not combined."""
    with pytest.raises(PolicyError, match="must not name a command"):
        Policy.from_json({"rules": [["*", "regenerate:touch x"]]})
    with pytest.raises(PolicyError, match="must not name a command"):
        Policy.from_json({"rules": [["*", "driver:mine"]]})


@pytest.fixture
def commands(folder: Repo) -> Iterator[LocalCommands]:
    """Return a runner over the clone with half a second for each command."""
    with Checkout.open(folder.path, git_env()) as checkout, LocalCommands(checkout, limit_s=0.5) as made:
        yield made


def request_for(commands: LocalCommands, command: str, path: bytes = b"index.txt") -> RunRequest:
    """Ask for a file in the tree of HEAD."""
    tree = commands.checkout.tree_of(commands.checkout.head())
    return RunRequest("regenerate", command, path, b"base", b"ours", b"theirs", tree)


def assert_dies(pid: int) -> None:
    """Check that a process that was sent SIGKILL is gone, or waits to be reaped: the kernel takes a moment."""
    deadline_s = time.monotonic() + 20.0
    while time.monotonic() < deadline_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if state.rpartition(")")[2].split()[0] in {"Z", "X"}:
            return
        os.sched_yield()
    raise AssertionError(f"process {pid} lives on")


def test_a_command_without_end_is_killed_with_its_children(commands: LocalCommands, tmp_path: Path) -> None:
    """The limit ends the command and what it started."""
    answer = commands(request_for(commands, f"sleep 60 & echo $! > {tmp_path}/pid; wait"))
    assert isinstance(answer, StrategyFailed)
    assert "did not end within 0.5 s" in answer.reason
    pid = int((tmp_path / "pid").read_text())
    assert_dies(pid)


def test_the_tree_is_written_as_a_checkout_writes_it(commands: LocalCommands, folder: Repo, bare: Repo) -> None:
    """Line ends, bits and links are those of a work tree, and what comes back is stored as staging stores it."""
    folder.git("stash", "-q", "-u")
    write(folder, {"x.crlf": b"a\r\nb\r\n", "run.sh": "#!/bin/sh\n", ".gitignore": "x\n"})
    (folder.path / "run.sh").chmod(0o755)
    (folder.path / "link").symlink_to("run.sh")
    folder.git("add", "-A")
    folder.git("commit", "-qm", "kinds")
    check = 'test -x run.sh && test -L link && printf "c\\r\\n" >> x.crlf'
    answer = commands(request_for(commands, check, b"x.crlf"))
    assert answer == Merged(b"a\nb\nc\n")


def test_one_command_runs_once_for_several_files(commands: LocalCommands, tmp_path: Path) -> None:
    """Files that one command makes together come from one run."""
    command = f"echo run >> {tmp_path}/runs; echo new > index.txt; echo new > README.md"
    assert commands(request_for(commands, command)) == Merged(b"new\n")
    assert commands(request_for(commands, command, b"README.md")) == Merged(b"new\n")
    assert (tmp_path / "runs").read_text() == "run\n"


def test_the_versions_are_at_hand(commands: LocalCommands) -> None:
    """Base, ours and theirs are files that the environment names."""
    command = 'cat "$GITREF_LOCK_BASE" "$GITREF_LOCK_OURS" "$GITREF_LOCK_THEIRS" > "$GITREF_LOCK_PATH"'
    assert commands(request_for(commands, command)) == Merged(b"baseourstheirs")


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT"])
def test_a_tree_that_leads_out_of_the_folder_is_refused(
    temp: Path, commands: LocalCommands, folder: Repo, name: bytes
) -> None:
    """A name that leaves the folder or makes a git directory is never written."""
    from dulwich.objects import Blob, Tree

    blob = Blob.from_string(b"x")
    tree = Tree()
    tree.add(name, 0o100644, blob.id)
    commands.checkout.add_object(blob)
    oid = commands.checkout.add_object(tree)
    answer = commands(RunRequest("regenerate", "true", b"x", b"", b"1", b"2", oid))
    assert isinstance(answer, StrategyFailed)
    assert "the tree holds the name" in answer.reason
    assert list(temp.iterdir()) == []
