"""The push protocol by hand: request bodies built byte by byte, reports read without any client's help.

Tests of servers use this instead of the project's own client, so that a mistake in that client cannot hide a server's
behaviour, and instead of the git command line, which never sends some of these requests.
Formats: gitprotocol-pack(5), gitprotocol-http(5), gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import http.client
import struct
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

from gitref_lock.core.objects import GitObject, build_state_commit
from tests.support.gitcli import git_env

CAPABILITIES = "report-status side-band-64k"
FLUSH = b"0000"
_PACK_TYPE = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}


@dataclass(frozen=True)
class Command:
    """One line of a push: move ``ref`` from ``old`` to ``new``; forty zeros mean absent."""

    ref: str
    old: str
    new: str


@dataclass(frozen=True)
class Answer:
    """A server's answer: the report's ``unpack`` word, one word per ref ('ok' or a reason), and its remarks."""

    unpack: str = ""
    statuses: Mapping[str, str] = field(default_factory=dict)
    remarks: str = ""

    def is_ok(self, ref: str) -> bool:
        """Tell whether the server reported this ref as done."""
        return self.statuses.get(ref) == "ok"


def lock_state(word: str, *, at_s: int = 1_700_000_000) -> tuple[GitObject, ...]:
    """Return a parentless commit with its tree and blob (commit first); ``word`` makes it unlike any other."""
    return build_state_commit({"lock.json": word.encode()}, author_name="tester", at_s=at_s, message=word)


def pkt(line: bytes) -> bytes:
    """Return one pkt-line."""
    return b"%04x" % (len(line) + 4) + line


def pack(objects: Sequence[GitObject]) -> bytes:
    """Return a pack of whole objects; with none, the 32 bytes of an empty pack."""
    parts = [struct.pack(">4sII", b"PACK", 2, len(objects))]
    for item in objects:
        size = len(item.data)
        first = _PACK_TYPE[item.kind.value] << 4 | size & 15
        size >>= 4
        while size:
            parts.append(bytes([first | 0x80]))
            first = size & 0x7F
            size >>= 7
        parts += [bytes([first]), zlib.compress(item.data)]
    content = b"".join(parts)
    return content + hashlib.sha1(content, usedforsecurity=False).digest()


def push_body(
    commands: Sequence[Command],
    objects: Sequence[GitObject] = (),
    *,
    atomic: bool = False,
    capabilities: str = CAPABILITIES,
) -> bytes:
    """Return the body of a receive-pack request. A pack follows unless every command deletes."""
    words = f"{capabilities} atomic" if atomic else capabilities
    lines = [f"{command.old} {command.new} {command.ref}".encode() for command in commands]
    lines[0] += b"\0 " + words.encode()
    is_delete_only = all(command.new == "0" * 40 for command in commands)
    return b"".join(map(pkt, lines)) + FLUSH + (b"" if is_delete_only else pack(objects))


def lines_of(data: bytes) -> list[bytes | None]:
    """Return the pkt-lines in ``data``; None stands for a flush, delimiter or response-end packet."""
    lines: list[bytes | None] = []
    start = 0
    while start < len(data):
        size = int(data[start : start + 4], 16)
        lines.append(data[start + 4 : start + size] if size >= 4 else None)
        start += max(size, 4)
    return lines


def read_answer(data: bytes) -> Answer:
    """Return what a side-band answer to a push says."""
    bands: dict[int, bytes] = {1: b"", 2: b"", 3: b""}
    for line in lines_of(data):
        if line:
            bands[line[0]] += line[1:]
    unpack = ""
    statuses: dict[str, str] = {}
    for line in lines_of(bands[1]):
        word, _, rest = (line or b"").decode().rstrip("\n").partition(" ")
        if word == "unpack":
            unpack = rest
        elif word == "ok":
            statuses[rest] = "ok"
        elif word == "ng":
            ref, _, reason = rest.partition(" ")
            statuses[ref] = reason
    return Answer(unpack, statuses, (bands[2] + bands[3]).decode("utf-8", "replace"))


@dataclass(frozen=True)
class HttpReply:
    """A reply as it came: header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RawHttp:
    """Requests to one repository over one kept-open connection; a context manager."""

    def __init__(self, url: str) -> None:
        """Connect at the first request."""
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self, method: str, tail: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """Send one request and read its whole reply.

        A broken connection raises what http.client raises; the next request then makes a new one.
        """
        try:
            self._connection.request(method, f"{self._path}/{tail}", body, dict(headers or {}))
            reply = self._connection.getresponse()
            return HttpReply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise

    def post(self, service: str, body: bytes, headers: Mapping[str, str] | None = None) -> HttpReply:
        """Post ``body`` to ``service`` (``git-receive-pack`` or ``git-upload-pack``) without any advertisement."""
        return self.request(
            "POST", service, body, {"Content-Type": f"application/x-{service}-request"} | dict(headers or {})
        )

    def push(self, commands: Sequence[Command], objects: Sequence[GitObject] = (), *, atomic: bool = False) -> Answer:
        """Push in one request."""
        reply = self.post("git-receive-pack", push_body(commands, objects, atomic=atomic))
        if reply.status != http.HTTPStatus.OK:
            raise AssertionError(f"HTTP {reply.status}: {reply.body!r}")
        return read_answer(reply.body)

    def ls_refs(self, *prefixes: str) -> dict[str, str]:
        """List refs by prefix in one request of protocol version 2."""
        arguments = b"".join(pkt(f"ref-prefix {prefix}\n".encode()) for prefix in prefixes)
        body = pkt(b"command=ls-refs\n") + pkt(b"object-format=sha1") + b"0001" + arguments + FLUSH
        reply = self.post("git-upload-pack", body, {"Git-Protocol": "version=2"})
        if reply.status != http.HTTPStatus.OK:
            raise AssertionError(f"HTTP {reply.status}: {reply.body!r}")
        pairs = [line.decode().split()[:2] for line in lines_of(reply.body) if line]
        return {ref: oid for oid, ref in pairs}


class ReceivePackProcess:
    """``git receive-pack`` as local, ssh and git:// remotes run it: it advertises, then waits; a context manager.

    ``advertised`` maps each ref to its value at the time of the advertisement.
    """

    def __init__(self, path: Path) -> None:
        """Start the process and read its advertisement."""
        self._process = subprocess.Popen(
            ["git", "receive-pack", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=git_env(),
        )
        self.advertised: dict[str, str] = {}
        while line := self._read_line():
            oid, _, ref = line.partition(b"\0")[0].decode().strip().partition(" ")
            self.advertised[ref] = oid

    def __enter__(self) -> Self:
        """Return the waiting process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def push(self, commands: Sequence[Command], objects: Sequence[GitObject] = (), *, atomic: bool = False) -> Answer:
        """Send the commands and return the answer; the process ends."""
        output, _ = self._process.communicate(push_body(commands, objects, atomic=atomic), timeout=60)
        return read_answer(output)

    def _read_line(self) -> bytes | None:
        """Return one pkt-line of the advertisement, None at its end."""
        stream: IO[bytes] | None = self._process.stdout
        if stream is None:
            raise AssertionError("no pipe")
        size = int(stream.read(4), 16)
        return stream.read(size - 4) if size else None
