"""The embedded git server serves stock git, counts what it does, and leaves nothing behind."""

from __future__ import annotations

import base64
import email.utils
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitref_lock.core.names import ZERO_OID
from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from tests.support.gitcli import Repo, clone, git_result
from tests.support.rawgit import Command, RawHttp, lock_state, push_body, read_answer
from tests.support.tls import make_certificate

LOCK = "refs/locks/main"
MINE, *_ = MINE_OBJECTS = lock_state("mine")
CREATE = Command(LOCK, ZERO_OID, MINE.oid)
REPOSITORY_ROOT = Path(__file__).resolve().parents[2]


def test_clone_commit_and_push_with_stock_git(work_clone: Repo, bare_repo: Repo) -> None:
    """Stock git clones, pushes and sees its push on the server's disk."""
    tip = work_clone.commit({"a": b"1\n"}, parents=("HEAD",))
    work_clone.git("push", "--quiet", "origin", f"{tip}:refs/heads/main")
    assert bare_repo.ref("refs/heads/main") == tip
    bare_repo.fsck()


def test_a_push_larger_than_gits_buffer_is_probed_and_chunked(
    git_server: GitHttpServer, work_clone: Repo, bare_repo: Repo
) -> None:
    """Stock git sends a large push as a probe and a chunked body; the probe does not count as a push."""
    noise = b"".join(os.urandom(1024) for _ in range(100))
    tip = work_clone.commit({"noise": noise}, parents=("HEAD",))
    before = git_server.counts.snapshot()
    work_clone.git("-c", "http.postBuffer=65536", "push", "--quiet", "origin", f"{tip}:refs/heads/main")
    spent = git_server.counts.snapshot().diff(before)
    assert spent.by_kind == {RequestKind.ADVERTISE_RECEIVE: 1, RequestKind.PROBE: 1, RequestKind.RECEIVE_PACK: 1}
    assert spent.bytes_in > len(noise)
    assert bare_repo.ref("refs/heads/main") == tip


def test_counts_tell_kinds_bytes_and_connections(git_server: GitHttpServer, work_clone: Repo) -> None:
    """A push by stock git costs one advertisement and one receive-pack request on one connection."""
    tip = work_clone.commit({"a": b"1\n"}, parents=("HEAD",))
    before = git_server.counts.snapshot()
    work_clone.git("push", "--quiet", "origin", f"{tip}:refs/heads/main")
    spent = git_server.counts.snapshot().diff(before)
    assert spent.by_kind == {RequestKind.ADVERTISE_RECEIVE: 1, RequestKind.RECEIVE_PACK: 1}
    assert spent.requests == 2
    assert spent.connections == 1
    assert spent.bytes_in > 500
    assert spent.bytes_out > 300


def test_counted_bytes_are_the_bytes_on_the_wire(git_server: GitHttpServer, bare_repo: Repo) -> None:
    """Bytes in and out are exactly what a bare socket sends and receives, heads included."""
    body = b"0014command=ls-refs\n0000"
    head = (
        "POST /repo.git/git-upload-pack HTTP/1.1\r\nHost: h\r\nGit-Protocol: version=2\r\nConnection: close\r\n"
        f"Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", git_server.port), timeout=30) as peer:
        peer.sendall(head.encode() + body)
        received = b"".join(iter(lambda: peer.recv(65536), b""))
    counts = git_server.counts.snapshot()
    assert (counts.bytes_in, counts.bytes_out) == (len(head) + len(body), len(received))
    assert counts.by_kind == {RequestKind.LS_REFS: 1}


def test_one_connection_serves_many_requests(git_server: GitHttpServer, repo_url: str) -> None:
    """Connections are kept open between requests."""
    with RawHttp(repo_url) as remote:
        for _ in range(5):
            remote.ls_refs("refs/heads/")
    counts = git_server.counts.snapshot()
    assert (counts.requests, counts.connections) == (5, 1)


@pytest.mark.parametrize("chunks_replies", [False, True])
def test_replies_come_with_length_or_chunked(git_server: GitHttpServer, repo_url: str, chunks_replies: bool) -> None:
    """Both framings of a reply carry the same listing, and the connection goes on."""
    git_server.chunks_replies = chunks_replies
    with RawHttp(repo_url) as remote:
        reply = remote.request("GET", "info/refs?service=git-upload-pack")
        assert ("transfer-encoding" in reply.headers) == chunks_replies
        assert ("content-length" in reply.headers) != chunks_replies
        assert set(remote.ls_refs("refs/")) == {"refs/heads/main"}
    assert git_server.counts.snapshot().connections == 1


def test_a_chunked_request_body_is_understood(git_server: GitHttpServer, bare_repo: Repo) -> None:
    """A push may arrive in chunks of any size."""
    body = push_body([CREATE], MINE_OBJECTS)
    connection = http.client.HTTPConnection("127.0.0.1", git_server.port, timeout=30)
    connection.request(
        "POST",
        "/repo.git/git-receive-pack",
        iter([body[:7], body[7:50], body[50:]]),
        {"Content-Type": "application/x-git-receive-pack-request"},
        encode_chunked=True,
    )
    assert read_answer(connection.getresponse().read()).is_ok(LOCK)
    connection.close()


@pytest.mark.parametrize(
    "request_head",
    [
        b"nonsense\r\n\r\n",
        b"POST /repo.git/git-upload-pack HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST /repo.git/git-upload-pack HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /repo.git/git-upload-pack HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_a_malformed_request_is_400_and_ends_the_connection(git_server: GitHttpServer, request_head: bytes) -> None:
    """What cannot be read is refused, and the connection is closed."""
    with socket.create_connection(("127.0.0.1", git_server.port), timeout=30) as peer:
        peer.sendall(request_head)
        received = b"".join(iter(lambda: peer.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")


def test_expect_continue_is_answered(git_server: GitHttpServer, bare_repo: Repo) -> None:
    """A client that waits for 100 Continue gets it before it sends its body."""
    body = push_body([CREATE], MINE_OBJECTS)
    head = (
        "POST /repo.git/git-receive-pack HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: close\r\n"
        f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", git_server.port), timeout=30) as peer:
        peer.sendall(head.encode())
        assert peer.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(body)
        received = b"".join(iter(lambda: peer.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert bare_repo.ref(LOCK) == MINE.oid


def test_credentials_are_demanded(server_root: Path, bare_repo: Repo, tmp_path: Path) -> None:
    """Without the right credentials every request is a 401 with a challenge; with them stock git works."""
    with GitHttpServer(server_root, auth=("runner", "s3cret")) as server:
        with RawHttp(server.repo_url("repo.git")) as remote:
            refused = remote.post("git-receive-pack", push_body([CREATE], MINE_OBJECTS))
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith("Basic ")
            assert bare_repo.ref(LOCK) is None
            token = base64.b64encode(b"runner:s3cret").decode()
            accepted = remote.post(
                "git-receive-pack", push_body([CREATE], MINE_OBJECTS), {"Authorization": f"Basic {token}"}
            )
            assert read_answer(accepted.body).is_ok(LOCK)
            listed = remote.post(
                "git-receive-pack", push_body([CREATE], MINE_OBJECTS), {"Authorization": f"basic {token}"}
            )
            assert listed.status == 200, "the scheme is read in any case, as some CI checkouts write it"
        clone(f"http://runner:s3cret@127.0.0.1:{server.port}/repo.git", tmp_path / "known")
        wrong = f"http://runner:wrong@127.0.0.1:{server.port}/repo.git"
        assert git_result("ls-remote", wrong, cwd=tmp_path).returncode != 0


def test_https_with_a_certificate_of_its_own(server_root: Path, bare_repo: Repo, tmp_path: Path) -> None:
    """Stock git clones over TLS when it trusts the certificate, and refuses when it does not."""
    context, certificate = make_certificate(tmp_path)
    with GitHttpServer(server_root, tls=context) as server:
        url = server.repo_url("repo.git")
        trusting = clone(url, tmp_path / "trusting", "-c", f"http.sslCAInfo={certificate}")
        assert trusting.ref("HEAD") == bare_repo.ref("refs/heads/main")
        assert git_result("ls-remote", url, cwd=tmp_path).returncode != 0


def test_close_ends_a_tls_connection_that_never_shook_hands(server_root: Path, tmp_path: Path) -> None:
    """A client that connects to an HTTPS server and stays silent does not delay close."""
    context, _ = make_certificate(tmp_path)
    server = GitHttpServer(server_root, tls=context)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as idle:
        server.close()
        readable, _, _ = select.select([idle], [], [], 10)
        assert readable


@pytest.mark.parametrize("offset_s", [0, -3600, 90])
def test_the_date_header_follows_the_offset(git_server: GitHttpServer, repo_url: str, offset_s: float) -> None:
    """The Date header is this machine's second, truncated, plus the offset."""
    git_server.date_offset_s = offset_s
    with RawHttp(repo_url) as remote:
        sent = time.time()
        reply = remote.request("GET", "info/refs?service=git-upload-pack")
        received = time.time()
    date_s = email.utils.parsedate_to_datetime(reply.headers["date"]).timestamp()
    assert int(sent + offset_s) <= date_s <= received + offset_s


def test_latency_is_added_to_each_request_and_connection(server_root: Path, bare_repo: Repo) -> None:
    """Every request takes at least the latency, and a new connection its own on top."""
    with (
        GitHttpServer(server_root, latency_s=0.05, connect_latency_s=0.1) as server,
        RawHttp(server.repo_url("repo.git")) as remote,
    ):
        start = time.monotonic()
        remote.ls_refs("refs/heads/")
        first_s = time.monotonic() - start
        remote.ls_refs("refs/heads/")
        second_s = time.monotonic() - start - first_s
    assert first_s >= 0.15
    assert second_s >= 0.05


def test_latency_of_one_request_does_not_hold_up_another(server_root: Path, bare_repo: Repo) -> None:
    """Eight slow requests at once take far less time than one after the other."""
    with GitHttpServer(server_root, latency_s=0.5) as server, ThreadPoolExecutor(8) as pool:

        def list_refs(_: int) -> dict[str, str]:
            with RawHttp(server.repo_url("repo.git")) as remote:
                return remote.ls_refs("refs/heads/")

        start = time.monotonic()
        listings = list(pool.map(list_refs, range(8)))
        elapsed_s = time.monotonic() - start
    assert all(set(listing) == {"refs/heads/main"} for listing in listings)
    assert elapsed_s < 8 * 0.5


def test_sixteen_racers_have_one_winner(repo_url: str, bare_repo: Repo) -> None:
    """Sixteen creates of one lock at the same instant: one ok, and the ref is the winner's."""
    barrier = threading.Barrier(16)

    def race(number: int) -> str | None:
        mine = lock_state(f"racer {number}")
        with RawHttp(repo_url) as remote:
            barrier.wait(30)
            is_winner = remote.push([Command(LOCK, ZERO_OID, mine[0].oid)], mine).is_ok(LOCK)
        return mine[0].oid if is_winner else None

    with ThreadPoolExecutor(16) as pool:
        winners = [winner for winner in pool.map(race, range(16)) if winner is not None]
    assert winners == [bare_repo.ref(LOCK)]


def running_git_processes() -> set[int]:
    """Return the ids of running git backends that are children of this process."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], check=True, capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    return {int(pid) for pid, parent, name in rows if int(parent) == os.getpid() and name.startswith("git")}


def test_close_kills_git_with_its_children_and_joins_threads(
    server_root: Path, bare_repo: Repo, tmp_path: Path
) -> None:
    """A push that hangs in a hook does not outlive the server, nor does the hook or any thread."""
    pipe = tmp_path / "hook-pid"
    os.mkfifo(pipe)
    hook = bare_repo.path / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho $$ >'{pipe}'\nexec sleep 600\n", encoding="ascii")
    hook.chmod(0o755)
    with ThreadPoolExecutor(1) as pool:
        server = GitHttpServer(server_root)
        remote = RawHttp(server.repo_url("repo.git"))
        pending = pool.submit(remote.post, "git-receive-pack", push_body([CREATE], MINE_OBJECTS))
        hook_pid = int(pipe.read_text(encoding="ascii"))
        assert running_git_processes()
        server.close()
        server.close()
        assert isinstance(pending.exception(30), http.client.RemoteDisconnected)
    assert not running_git_processes()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("git-server")]
    assert_ends(hook_pid)
    assert bare_repo.ref(LOCK) is None


def assert_ends(pid: int) -> None:
    """Wait until a process that is not our child is gone or a zombie; fail after ten seconds."""
    state = Path(f"/proc/{pid}/stat")
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        try:
            if state.read_text(encoding="ascii").rpartition(")")[2].split()[0] in "ZX":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"process {pid} is still running")


@contextmanager
def server_process(root: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the server as a module; yield the process and its first line."""
    command = [sys.executable, "-m", "gitref_lock.testing.gitserver", str(root), *flags]
    with subprocess.Popen(command, cwd=REPOSITORY_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_as_a_module_it_prints_its_url_and_ends_on_sigterm(server_root: Path, bare_repo: Repo, tmp_path: Path) -> None:
    """The first line is the URL; SIGTERM ends the process with code 0."""
    with server_process(server_root, "--latency-ms", "1") as (process, url):
        clone(f"{url}/repo.git", tmp_path / "clone")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_as_a_module_it_ends_with_its_parent(server_root: Path, bare_repo: Repo) -> None:
    """With ``--with-parent`` the server is gone soon after the process that started it."""
    script = (
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'gitref_lock.testing.gitserver', sys.argv[1], '--with-parent']\n"
        "server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)\n"
        "print(server.pid, server.stdout.readline().strip(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(server_root)],
        cwd=REPOSITORY_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        with RawHttp(f"{url}/repo.git") as remote:
            assert remote.ls_refs("refs/heads/")
        parent.kill()
    assert_ends(int(pid))


def test_git_complaints_are_kept(git_server: GitHttpServer) -> None:
    """What git writes to its standard error can be read by a test that wonders."""
    with RawHttp(git_server.repo_url("absent.git")) as remote:
        assert remote.request("GET", "info/refs?service=git-upload-pack").status == 404
    assert any("absent.git" in line for line in git_server.backend.complaints)


def test_a_closed_server_refuses_connections(server_root: Path) -> None:
    """After close the port is free."""
    server = GitHttpServer(server_root)
    server.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", server.port), timeout=5):
        pass


def test_an_idle_connection_does_not_delay_close(server_root: Path) -> None:
    """Close ends connections on which nothing was asked."""
    server = GitHttpServer(server_root)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as idle:
        idle.sendall(b"POST /half HTTP/1.1\r\n")
        server.close()
        readable, _, _ = select.select([idle], [], [], 10)
        assert readable
