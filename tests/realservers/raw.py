"""What a server really says to one push, byte for byte, without any help of the project's own client.

The bytes become test data for the table of server words (tests/data/transcripts), named by server and version.
"""

from __future__ import annotations

import base64
import http.client
import re
import shlex
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gitref_lock.remotes.ssh import SshPlace
from tests.realservers.serving import Served
from tests.support.gitcli import git_env
from tests.support.rawgit import FLUSH, pkt

TIMEOUT_S = 30


@dataclass(frozen=True)
class Said:
    """An answer: for HTTP the status line and body, else the bytes behind the advertisement and what ssh printed."""

    body: bytes
    status: str = ""
    errors: str = ""


def push(served: Served, body: bytes, **environ: str) -> Said:
    """Send the request ``body`` to the repository's receive-pack."""
    scheme = served.url.partition("://")[0]
    if scheme in {"http", "https"}:
        return _over_http(served, body)
    if scheme == "git":
        return _over_git(served, body)
    return _over_ssh(served, body, {**served.client_environ, **environ})


def _over_http(served: Served, body: bytes) -> Said:
    parts = urlsplit(served.url)
    headers = {"Content-Type": "application/x-git-receive-pack-request"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=served.service.environ["GIT_SSL_CAINFO"])
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"{parts.path}/git-receive-pack", body, headers)
        reply = connection.getresponse()
        try:
            said = reply.read()
        except http.client.IncompleteRead as cut:
            said = cut.partial
        return Said(said, f"{reply.status} {reply.reason}")
    finally:
        connection.close()


def _over_git(served: Served, body: bytes) -> Said:
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=TIMEOUT_S) as sock:
        sock.sendall(pkt(f"git-receive-pack {parts.path}\0host={parts.netloc}\0".encode()))
        stream = sock.makefile("rb")
        advertised = _advertisement(stream.read)
        if advertised is not None:
            return Said(advertised)
        sock.sendall(body)
        with stream:
            return Said(stream.read())


def _over_ssh(served: Served, body: bytes, environ: dict[str, str]) -> Said:
    place = SshPlace.parse(served.url)
    words = [*shlex.split(environ["GIT_SSH_COMMAND"]), "-p", place.port, place.host]
    process = subprocess.Popen(
        [*words, f"git-receive-pack '{place.path}'"],
        env={**git_env(), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    advertised = _advertisement(process.stdout.read)
    out, err = process.communicate(body if advertised is None else FLUSH, timeout=TIMEOUT_S)
    return Said(out if advertised is None else advertised, errors=err.decode("utf-8", "replace"))


def _advertisement(read: object) -> bytes | None:
    """Read an advertisement to its end; return what was said instead when there is none."""
    assert callable(read)
    while True:
        head = read(4)
        if len(head) < 4:
            return bytes(head)
        if head == FLUSH:
            return None
        line = read(int(head, 16) - 4)
        if line.startswith(b"ERR "):
            return bytes(head + line)


def keep(folder: Path, case: str, said: Said) -> None:
    """Write an answer down; what ssh printed without this machine's places and names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{case}.body").write_bytes(said.body)
    if said.status:
        (folder / f"{case}.status").write_text(said.status + "\n", encoding="ascii")
    if said.errors:
        text = re.sub(r"/\S*/gitref-lock-server-\w+/\w+", "/srv/git", said.errors)
        text = re.sub(r"repo-\d+-\d+", "repo", re.sub(r"\w+@127", "runner@127", text))
        (folder / f"{case}.stderr").write_text(text, encoding="utf-8")
