"""Paths, ssh and git://: addresses, environments, refusals at the door, and children that misbehave."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from gitref_lock.core.refs import Applied, RefusalKind, Refused, SwapOutcome, Unknown
from gitref_lock.ports import FetchRequest, RefStore, RemoteError, Traffic
from gitref_lock.remotes import open_store
from gitref_lock.remotes.child import ChildStream, child_environment
from gitref_lock.remotes.process import PathStore
from gitref_lock.remotes.settings import RemoteSpec, Scheme
from gitref_lock.remotes.ssh import SshPlace
from gitref_lock.remotes.streams import Deadline, LinkError, Reader
from gitref_lock.system import SystemClock, real_system
from gitref_lock.testing.contract_kit import create, lock, present, state, update
from gitref_lock.testing.memory import MemorySink
from tests.support.gitcli import Repo, git

ONE, TWO = state("one"), state("two")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack that is unwound after the test."""
    with ExitStack() as opened:
        yield opened


Opened = Callable[..., RefStore]


@pytest.fixture
def opened(stack: ExitStack) -> Opened:
    """Return a function that opens a store."""

    def open_one(scheme: Scheme, url: str, ssh_command: str | None = None, **environment: str) -> RefStore:
        spec = RemoteSpec(None, scheme, url, url, ssh_command=ssh_command, environment=environment)
        store = open_store(spec, real_system())
        stack.callback(store.close)
        return store

    return open_one


def swapped(store: RefStore, *, timeout_s: float = 20) -> SwapOutcome:
    """Create lock a."""
    return store.swap([create("a", ONE)], ONE, timeout_s=timeout_s)


def script(path: Path, text: str) -> str:
    """Write an executable shell script; return it as a shell word."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return shlex.quote(str(path))


class TestPath:
    """A repository on this machine."""

    def test_a_swap_is_read_back_whatever_the_caller_says(self, opened: Opened, bare_repo: Repo) -> None:
        """Stateful transports can grant a swap twice; an ok is confirmed by a listing."""
        store = opened("path", str(bare_repo.path))
        assert store.swap([create("a", ONE)], ONE, trust_report=True) == Applied()
        assert store.traffic.by_kind == {"swap": 1, "ls-refs": 1}

    def test_a_listing_and_a_read_share_a_process(self, opened: Opened, bare_repo: Repo) -> None:
        """One conversation serves a listing and a fetch after it; a second listing needs a new one."""
        store = opened("path", str(bare_repo.path))
        refs = store.snapshot(["refs/heads/"]).refs
        store.read(list(refs.values()))
        assert store.traffic.connections == 1
        store.snapshot(["refs/heads/"])
        assert store.traffic.connections == 2

    def test_a_fetch_after_a_shallow_read_is_whole(self, opened: Opened, bare_repo: Repo) -> None:
        """upload-pack remembers the boundary it has cut; the next fetch must not suffer from it."""
        child = state("child", parents=[ONE[0].oid])
        store = opened("path", str(bare_repo.path))
        assert store.swap([create("a", child)], [*ONE, *child]) == Applied()
        store.read([child[0].oid])
        sink = MemorySink()
        store.fetch(FetchRequest((child[0].oid,)), sink)
        assert sink.has(ONE[0].oid)

    def test_a_conversation_that_died_is_started_anew(self, opened: Opened, bare_repo: Repo) -> None:
        """A server that has ended an idle conversation costs one retry of a read."""
        store = opened("path", str(bare_repo.path))
        assert isinstance(store, PathStore)
        refs = store.snapshot(["refs/heads/"]).refs
        assert store._open is not None
        assert isinstance(store._open.stream, ChildStream)
        store._open.stream._process.kill()
        assert set(store.read(list(refs.values()))) == set(refs.values())
        assert store.traffic.retries == 1

    def test_a_folder_that_is_no_repository_is_not_found(self, opened: Opened, tmp_path: Path) -> None:
        """Reads raise, a swap is refused, both in git's words."""
        store = opened("path", str(tmp_path))
        with pytest.raises(RemoteError, match="not appear to be a git repository") as caught:
            present(store)
        assert caught.value.code == "not-found"
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.NOT_FOUND

    def test_a_repository_with_longer_ids_is_not_supported(self, opened: Opened, tmp_path: Path) -> None:
        """SHA-256 is said in words by reads; a swap is refused or open, and nothing was sent."""
        git("init", "-q", "--bare", "--object-format=sha256", tmp_path / "long.git", cwd=tmp_path)
        store = opened("path", str(tmp_path / "long.git"))
        with pytest.raises(RemoteError, match="SHA-256") as caught:
            present(store)
        assert caught.value.code == "unsupported"
        with pytest.raises(RemoteError, match="SHA-256"):
            store.probe()
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert "SHA-256" in outcome.words
        assert store.traffic.writes == 0

    def test_an_interrupted_swap_leaves_no_child(
        self, opened: Opened, bare_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signal that raises in the middle ends the child before it goes on."""
        children: list[ChildStream] = []
        send = ChildStream.send

        def interrupted(child: ChildStream, data: bytes, deadline: Deadline) -> None:
            children.append(child)
            send(child, data[:10], deadline)
            raise KeyboardInterrupt

        monkeypatch.setattr(ChildStream, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            swapped(opened("path", str(bare_repo.path)))
        assert [child._process.poll() is not None for child in children] == [True]
        assert bare_repo.ref(lock("a")) is None

    def test_a_hook_s_environment_does_not_leak(
        self, opened: Opened, bare_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Run inside a hook of another repository, the right repository is served."""
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_QUARANTINE_PATH"):
            monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
        monkeypatch.setenv("GIT_NAMESPACE", "other")
        monkeypatch.setenv("GIT_PROTOCOL", "version=1")
        assert swapped(opened("path", str(bare_repo.path))) == Applied()
        monkeypatch.undo()
        assert bare_repo.ref(lock("a")) == ONE[0].oid

    def test_a_server_without_atomic_gets_no_swap_of_two(self, opened: Opened, bare_repo: Repo) -> None:
        """A known advertisement without atomic refuses before anything is sent; single edits still work."""
        bare_repo.config("receive.advertiseAtomic", "false")
        store = opened("path", str(bare_repo.path))
        outcome = store.swap([create("a", ONE), create("b", ONE)], ONE)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.NO_ATOMIC
        assert store.traffic.writes == 0
        assert not store.probe().atomic
        assert swapped(store) == Applied()
        assert set(present(store)) == {lock("a")}

    def test_a_hook_that_hangs_ends_with_the_time(self, opened: Opened, bare_repo: Repo) -> None:
        """The child's whole group is ended, and the question stays open; git has left no lock file behind."""
        hook = bare_repo.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        script(hook, "sleep 60")
        clock = SystemClock()
        before = clock.monotonic()
        outcome = swapped(opened("path", str(bare_repo.path)), timeout_s=1)
        assert clock.monotonic() - before < 8
        assert isinstance(outcome, Unknown)
        assert outcome.cause.startswith("timeout")
        assert not outcome.nothing_sent
        assert not list((bare_repo.path / "refs").rglob("*.lock"))

    def test_without_git_a_swap_is_refused(
        self, opened: Opened, bare_repo: Repo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A missing program is named, and trying again is of no use."""
        monkeypatch.setenv("PATH", "/nonexistent")
        store = opened("path", str(bare_repo.path))
        with pytest.raises(RemoteError, match="git cannot be started") as caught:
            present(store)
        assert caught.value.code == "unsupported"
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.OTHER

    def test_an_update_hook_s_words_are_handed_on(self, opened: Opened, bare_repo: Repo) -> None:
        """What a hook prints tells people why."""
        hook = bare_repo.path / "hooks" / "update"
        hook.parent.mkdir(exist_ok=True)
        script(hook, 'echo "ask the release team" >&2; exit 1')
        outcome = opened("path", str(bare_repo.path)).swap([create("a", ONE), create("b", ONE)], ONE)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.POLICY
        assert "ask the release team" in outcome.words
        assert outcome.statuses[lock("a")] == "hook declined"


class TestSsh:
    """What the user's ssh is given, and what its failures mean."""

    RECORD = 'printf "%s\\n" "$@" > "$RECORD"; exit 1'

    @pytest.mark.parametrize(
        ("variant", "url", "expected"),
        [
            ("ssh", "me@h:a b", ["-o", "SendEnv=GIT_PROTOCOL", "me@h", "git-upload-pack 'a b'"]),
            ("ssh", "ssh://h:22/x'y", ["-o", "SendEnv=GIT_PROTOCOL", "-p", "22", "h", "git-upload-pack '/x'\\''y'"]),
            ("simple", "h:x", ["h", "git-upload-pack 'x'"]),
            ("plink", "ssh://me@h:22/~/x", ["-P", "22", "me@h", "git-upload-pack '~/x'"]),
            ("tortoiseplink", "h:x", ["-batch", "h", "git-upload-pack 'x'"]),
        ],
    )
    def test_each_kind_of_ssh_gets_its_options(
        self, variant: str, url: str, expected: list[str], opened: Opened, tmp_path: Path
    ) -> None:
        """Options, host and quoted command, as git gives them."""
        record = tmp_path / "record"
        command = script(tmp_path / "wrapper", self.RECORD) + " extra"
        store = opened("ssh", url, command, GIT_SSH_VARIANT=variant, RECORD=str(record))
        with pytest.raises(RemoteError):
            present(store)
        assert record.read_text().splitlines() == ["extra", *expected]

    @pytest.mark.parametrize(("answer", "options"), [("0", ["-o", "SendEnv=GIT_PROTOCOL"]), ("1", [])])
    def test_a_wrapper_of_unknown_name_is_asked_what_it_is(
        self, answer: str, options: list[str], opened: Opened, tmp_path: Path
    ) -> None:
        """What answers to -G takes ssh's options, anything else takes none."""
        record = tmp_path / "record"
        command = script(tmp_path / "wrapper", f'[ "$1" = -G ] && exit {answer}\n{self.RECORD}')
        with pytest.raises(RemoteError):
            present(opened("ssh", "h:x", command, RECORD=str(record)))
        assert record.read_text().splitlines() == [*options, "h", "git-upload-pack 'x'"]

    @pytest.mark.parametrize(
        ("words", "code", "kind"),
        [
            ("git@h: Permission denied (publickey).", "authentication", RefusalKind.AUTHENTICATION),
            ("Host key verification failed.", "authentication", RefusalKind.AUTHENTICATION),
            ("ERROR: Repository not found.", "not-found", RefusalKind.NOT_FOUND),
            ("FATAL: W any repo alice DENIED by fallthru", "permission", RefusalKind.PERMISSION),
            ("ssh: Could not resolve hostname h: Name or service not known", "unreachable", None),
            ("ssh: connect to host h port 22: Connection timed out", "timeout", None),
        ],
    )
    def test_failures_before_anything_was_sent_are_told_apart(
        self, words: str, code: str, kind: RefusalKind | None, opened: Opened, tmp_path: Path
    ) -> None:
        """What ssh says on standard error decides; what may pass is an open question of which nothing was sent."""
        command = script(tmp_path / "ssh", f"echo {shlex.quote(words)} >&2; exit 255")
        store = opened("ssh", "h:x", command)
        with pytest.raises(RemoteError) as caught:
            present(store)
        assert caught.value.code == code
        assert words in caught.value.words
        outcome = swapped(store)
        if kind is None:
            assert isinstance(outcome, Unknown)
            assert outcome.nothing_sent
        else:
            assert isinstance(outcome, Refused)
            assert outcome.kind is kind

    def test_a_connection_that_hangs_ends_in_time(self, opened: Opened, tmp_path: Path) -> None:
        """An ssh that never answers does not hold us."""
        store = opened("ssh", "h:x", script(tmp_path / "ssh", "sleep 60"))
        with pytest.raises(RemoteError, match="did not answer in time") as caught:
            store.snapshot(["refs/"], timeout_s=0.3)
        assert caught.value.code == "timeout"

    def test_a_chatty_login_script_is_no_git(self, opened: Opened, tmp_path: Path) -> None:
        """Text that a login script prints before git is an error, not a hang."""
        store = opened("ssh", "h:x", script(tmp_path / "ssh", "echo Welcome to this machine; sleep 60"))
        with pytest.raises(RemoteError, match="not a packet") as caught:
            store.snapshot(["refs/"], timeout_s=20)
        assert caught.value.code == "protocol"

    @pytest.mark.parametrize(
        ("url", "place"),
        [
            ("host:path/x", SshPlace("host", "", "path/x")),
            ("me@host:/abs", SshPlace("me@host", "", "/abs")),
            ("[host:77]:x", SshPlace("host", "77", "x")),
            ("me@[::1]:x", SshPlace("me@::1", "", "x")),
            ("ssh://me@[::1]:77/x", SshPlace("me@::1", "77", "/x")),
            ("ssh://me:secret@host/x%20y", SshPlace("me@host", "", "/x y")),
            ("git+ssh://host/~me/x", SshPlace("host", "", "~me/x")),
        ],
    )
    def test_addresses_are_taken_apart(self, url: str, place: SshPlace) -> None:
        """Both forms, ports, IPv6, home folders; a password is of no use to ssh."""
        assert SshPlace.parse(url) == place

    @pytest.mark.parametrize(
        "url",
        [
            "ssh://-oProxyCommand=x/y",
            "-oProxyCommand=x:y",
            "host:-x",
            "ssh:///x",
            "host",
            "ssh://h:x/y",
            "ftp://h/x",
            "h:",
        ],
    )
    def test_addresses_that_are_none_or_dangerous_are_refused(self, url: str) -> None:
        """A host or path that would be an option never reaches a command line."""
        with pytest.raises(RemoteError, match="ssh address"):
            SshPlace.parse(url)


class TestGitDaemonAddress:
    """git:// without a server."""

    def test_nobody_there_is_unreachable_and_nothing_was_sent(self, opened: Opened) -> None:
        """A refused connection leaves no question open."""
        store = opened("git", "git://127.0.0.1:1/x")
        with pytest.raises(RemoteError) as caught:
            present(store)
        assert caught.value.code == "unreachable"
        outcome = swapped(store)
        assert isinstance(outcome, Unknown)
        assert outcome.nothing_sent


class TestChildStream:
    """Children as streams."""

    def stream(self, text: str) -> ChildStream:
        """Start a shell."""
        return ChildStream(["sh", "-c", text], child_environment({}, protocol_v2=False), Traffic())

    def test_both_directions_are_served_at_once(self) -> None:
        """A child that writes while it is written to cannot block us, whatever fits into a pipe."""
        child = self.stream("cat")
        deadline = Deadline.after(SystemClock(), 30)
        data = os.urandom(1 << 20)
        child.send(data, deadline)
        assert Reader(child, deadline).exactly(len(data)) == data
        child.close()

    def test_a_child_that_ends_is_an_error_with_its_words(self) -> None:
        """What it said on standard error is part of the error, while sending and while reading."""
        for action in ("send", "receive"):
            child = self.stream("exec <&-; echo went away >&2; exit 3")
            deadline = Deadline.after(SystemClock(), 30)
            act = partial(child.send, bytes(1 << 20)) if action == "send" else partial(_read_one, child)
            with pytest.raises(LinkError, match="went away"):
                act(deadline)
            child.close()

    def test_a_flood_on_standard_error_is_bounded(self) -> None:
        """The words are cut, the child is not blocked."""
        child = self.stream("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo done")
        deadline = Deadline.after(SystemClock(), 30)
        assert Reader(child, deadline).exactly(5) == b"done\n"
        assert len(child._stderr) <= 16384
        child.close()

    def test_a_child_that_ignores_signals_is_killed(self) -> None:
        """Closing ends even a child that does not want to."""
        child = self.stream("trap '' TERM; echo up; while :; do sleep 1; done")
        assert Reader(child, Deadline.after(SystemClock(), 30)).exactly(3) == b"up\n"
        child.abort()
        assert child._process.returncode == -9


def _read_one(child: ChildStream, deadline: Deadline) -> bytes:
    """Read one byte."""
    return Reader(child, deadline).exactly(1)


def test_a_stale_swap_of_two_over_a_path_moves_nothing(opened: Opened, bare_repo: Repo) -> None:
    """Over a local path, where other clients set refs one by one, a stale lock keeps the branch where it is."""
    store = opened("path", str(bare_repo.path))
    assert swapped(store) == Applied()
    assert store.swap([update("a", TWO, ONE), create("b", ONE)], ONE) != Applied()
    assert bare_repo.ref(lock("b")) is None
