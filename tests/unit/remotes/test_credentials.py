"""Credentials come from where CI keeps them, in git's order, each place once, no other server ever asked about."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from gitref_lock.remotes import credentials, gitconfig
from gitref_lock.remotes.credentials import CredentialChain
from gitref_lock.remotes.settings import Credential

URL = "https://h.example/a/r.git"


class Account:
    """A user's home with helpers, askpass program and netrc as a test wants them."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C",
        }

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(mode)
        return path

    def program(self, name: str, body: str) -> Path:
        return self.write(name, f"#!/bin/sh\n{body}\n", 0o755)

    def without_git(self) -> None:
        """Leave a PATH with the shell's own tools and no git."""
        tools = self.home / "tools"
        tools.mkdir()
        for tool in ("sh", "cat", "echo", "sleep"):
            (tools / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        self.environ["PATH"] = str(tools)

    def chain(self, username: str | None = None) -> CredentialChain:
        config = gitconfig.load(None, None, None, self.environ)
        return credentials.source(config, self.environ, self.home, username=username)

    def all(self, url: str = URL, username: str | None = None) -> list[Credential]:
        chain = self.chain(username)
        return list(iter(lambda: chain(url), None))


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


HELPER = '[credential]\nhelper = "!f() { cat > ~/asked; echo username=hu; echo password=hp; }; f"\n'


def with_git(account: Account) -> None:
    """Git is installed: it asks."""


def without_git(account: Account) -> None:
    account.without_git()


BOTH = pytest.mark.parametrize("machine", [with_git, without_git], ids=["with git", "without git"])


def test_a_helper_is_asked_once_with_the_whole_address(account: Account) -> None:
    """Any helper works, through git; it learns protocol, host with port, path and user, and is not asked again."""
    account.write(".gitconfig", HELPER + "[credential]\nuseHttpPath = true\n")
    chain = account.chain("me")
    assert chain("https://h.example:8443/a/r.git") == Credential("hu", "hp")
    assert (account.home / "asked").read_text("utf-8").splitlines()[:4] == [
        "protocol=https", "host=h.example:8443", "path=a/r.git", "username=me",
    ]  # fmt: skip
    assert chain("https://h.example:8443/a/r.git") is None


@BOTH
def test_a_stored_credential_is_found(account: Account, machine: Callable[[Account], None]) -> None:
    """The plain store file works with git and without, for its server, scheme, port and user only."""
    machine(account)
    account.write(".gitconfig", "[credential]\nhelper = store\n")
    account.write(
        ".git-credentials",
        "http://no:scheme@h.example\nhttps://no:port@h.example:8443\nhttps://u%40x:p%2Fq@h.example\nhttps://no:h@x.example\n",
    )
    assert account.all() == [Credential("u@x", "p/q")]
    assert account.all(username="u@x") == [Credential("u@x", "p/q")]
    assert account.all(username="other") == []


@BOTH
@pytest.mark.parametrize("helper", ["store --file ~/own", "store --file={home}/own"])
def test_a_store_file_may_lie_elsewhere(account: Account, machine: Callable[[Account], None], helper: str) -> None:
    """Both ways to name the file are understood."""
    machine(account)
    account.write(".gitconfig", f"[credential]\nhelper = {helper.format(home=account.home)}\n")
    account.write("own", "https://u:p@h.example\n")
    assert account.all() == [Credential("u", "p")]


@BOTH
@pytest.mark.parametrize("uses_path", [False, True])
def test_the_path_counts_when_it_is_asked_to(
    account: Account, machine: Callable[[Account], None], uses_path: bool
) -> None:
    """With useHttpPath a stored line for another repository does not match, otherwise it does."""
    machine(account)
    account.write(".gitconfig", f"[credential]\nhelper = store\nuseHttpPath = {str(uses_path).lower()}\n")
    account.write(".git-credentials", "https://u:p@h.example/other\n")
    assert account.all() == ([] if uses_path else [Credential("u", "p")])


@BOTH
@pytest.mark.parametrize("way", ["GIT_ASKPASS", "core.askPass", "SSH_ASKPASS"])
def test_an_askpass_program_answers(account: Account, machine: Callable[[Account], None], way: str) -> None:
    """The program gets git's own questions, with the user in the second."""
    machine(account)
    program = account.program("ask", 'echo "$1" >> ~/asked\ncase "$1" in User*) echo au ;; *) echo ap ;; esac')
    if way == "core.askPass":
        account.write(".gitconfig", f"[core]\naskPass = {program}\n")
    else:
        account.environ[way] = str(program)
    assert account.all("https://h.example:8443/r") == [Credential("au", "ap")]
    assert (account.home / "asked").read_text("utf-8") == (
        "Username for 'https://h.example:8443': \nPassword for 'https://au@h.example:8443': \n"
    )


@BOTH
def test_a_known_user_is_not_asked_for(account: Account, machine: Callable[[Account], None]) -> None:
    """A user of the address or of the configuration leaves only the password to ask for."""
    machine(account)
    account.environ["GIT_ASKPASS"] = str(account.program("ask", 'echo "$1" >> ~/asked; echo secret'))
    assert account.all(username="me") == [Credential("me", "secret")]
    account.write(".gitconfig", '[credential "https://h.example"]\nusername = you\n')
    assert account.all() == [Credential("you", "secret")]
    assert (account.home / "asked").read_text("utf-8") == (
        "Password for 'https://me@h.example': \nPassword for 'https://you@h.example': \n"
    )


def test_netrc_comes_first_then_helpers(account: Account) -> None:
    """The order is git's: what curl finds in netrc is tried before any helper is started."""
    account.write(".netrc", "machine h.example login nu password np\n")
    account.write(".gitconfig", HELPER)
    assert account.all() == [Credential("nu", "np"), Credential("hu", "hp")]
    assert account.all("https://other.example/r") == [Credential("hu", "hp")]
    assert account.all(username="else") == [Credential("hu", "hp")]


class Unwilling:
    """A server that answers 401 to everything and remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[str | None] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            visitor, _ = self._listener.accept()
            with visitor:
                head = visitor.recv(65536).decode()
                if head == "end":
                    return
                lines = [line for line in head.split("\r\n") if line.lower().startswith("authorization:")]
                self.sent.append(lines[0].partition(": ")[2] if lines else None)
                visitor.sendall(
                    b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="r"\r\n'
                    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                )

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"end")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def unwilling() -> Iterator[Unwilling]:
    server = Unwilling()
    yield server
    server.close()


def test_git_itself_tries_the_same_credentials_in_the_same_order(account: Account, unwilling: Unwilling) -> None:
    """A server that refuses everything sees from git: nothing, netrc's, the helper's; so would it from us."""
    from gitref_lock.remotes.http_client import basic

    account.write(".netrc", "machine 127.0.0.1 login nu password np\n")
    account.write(".gitconfig", HELPER)
    url = f"http://127.0.0.1:{unwilling.port}/r"
    environ = {**account.environ, "GIT_TERMINAL_PROMPT": "0"}
    subprocess.run(["git", "ls-remote", url], cwd=account.home, env=environ, capture_output=True, check=False)
    assert unwilling.sent == [None, *(basic(credential) for credential in account.all(url))]


@pytest.mark.parametrize("text", ["machine h.example login u\n", "nonsense\n", "machine h.example login 'x\n", ""])
def test_a_netrc_without_an_answer_is_passed_over(account: Account, text: str) -> None:
    """A broken or silent file is no error: curl ignores it as well."""
    account.write(".netrc", text)
    assert account.all() == []


@BOTH
@pytest.mark.parametrize("body", ["exit 1", "echo; exit 0", "kill -9 $$"])
def test_programs_that_fail_leave_no_credential(
    account: Account, machine: Callable[[Account], None], body: str
) -> None:
    """A helper or program that fails, says nothing or dies is the end of the chain, not an error."""
    machine(account)
    account.environ["GIT_ASKPASS"] = str(account.program("ask", f'case "$1" in User*) {body} ;; *) exit 1 ;; esac'))
    assert account.all() == []


def test_a_program_that_is_missing_leaves_no_credential(account: Account) -> None:
    """An askpass program that is not there is passed over."""
    account.without_git()
    account.environ["GIT_ASKPASS"] = "/nowhere/ask"
    assert account.all() == []


@BOTH
def test_a_helper_that_hangs_is_ended(
    account: Account, machine: Callable[[Account], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time the helper and whatever it started are killed, and the command goes on without it."""
    machine(account)
    monkeypatch.setattr(credentials, "HELPER_TIMEOUT_S", 0.5)
    account.environ["GIT_ASKPASS"] = str(account.program("ask", "echo $$ > ~/pid; sleep 600"))
    assert account.all() == []
    pid = int((account.home / "pid").read_text("utf-8"))
    ends_at = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < ends_at, "the askpass program outlived its time"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Tell whether a process still runs; a zombie that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def test_the_terminal_is_never_asked(account: Account) -> None:
    """Without any source the answer is none, at once, even on a terminal."""
    controller, terminal = os.openpty()
    try:
        chain = account.chain()
        assert chain(URL) is None
    finally:
        os.close(controller)
        os.close(terminal)


def test_each_server_has_its_own_chain(account: Account) -> None:
    """Asking about a second server, after a redirect say, starts anew for it and gives it nothing of the first."""
    account.write(".netrc", "machine h.example login nu password np\n")
    chain = account.chain()
    assert chain(URL) == Credential("nu", "np")
    assert chain("https://evil.example/r") is None
    assert chain("https://h.example:444/r") == Credential("nu", "np")
    assert chain(URL) is None
    assert chain("/a/path") is None


def test_the_same_credential_is_tried_once(account: Account) -> None:
    """Two places that know the same credential count as one."""
    account.write(".netrc", "machine h.example login hu password hp\n")
    account.write(".gitconfig", HELPER)
    assert account.all() == [Credential("hu", "hp")]


def test_a_line_break_cannot_smuggle_a_field(account: Account) -> None:
    """A user or path with an encoded line break is not handed to helpers."""
    account.write(".gitconfig", HELPER)
    assert account.all(username="u\nhost=evil") == []
    assert account.all("https://h.example/%0ahost=evil") == []
    assert not (account.home / "asked").exists()


def test_what_worked_and_what_was_refused_is_told_to_helpers(account: Account) -> None:
    """approve stores, reject forgets; without git both do nothing."""
    account.write(".gitconfig", "[credential]\nhelper = store\n")
    chain = account.chain()
    chain.approve(URL, Credential("u", "p"))
    assert account.all() == [Credential("u", "p")]
    chain.reject(URL, Credential("u", "p"))
    assert account.all() == []
    account.without_git()
    account.chain().approve(URL, Credential("u", "p"))
    assert (account.home / ".git-credentials").read_text("utf-8") == ""


def test_a_relative_git_dir_still_names_the_repository(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Helpers configured in a repository that GIT_DIR names relative to here are found from the work tree too."""
    environ: Mapping[str, str] = account.environ
    subprocess.run(["git", "init", "-q", "--bare", "r.git"], cwd=tmp_path, env=environ, check=True)
    with (tmp_path / "r.git/config").open("a", encoding="utf-8") as out:
        out.write(HELPER)
    monkeypatch.chdir(tmp_path)
    account.environ["GIT_DIR"] = "r.git"
    assert account.all() == [Credential("hu", "hp")]
