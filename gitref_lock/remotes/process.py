"""The stateful transports: local paths, ssh and ``git://``.

One conversation of upload-pack serves one listing and the fetches after it, never a second listing: git's files
backend keeps the loose refs it has read once, so a process that listed before would show old values. Nor does it serve
anything after a fetch with a depth: upload-pack goes on to treat the boundary it has cut as the end of history.
receive-pack first advertises every ref and then reads the swap; the swap is sent as soon as the advertisement is over,
because the server compares with what it read then. Formats: gitprotocol-pack(5), gitprotocol-v2(5).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gitref_lock.core.clocks import ServerDate
from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.refs import RefEdit, RefusalKind, Refused, Unknown
from gitref_lock.ports import Capabilities, FetchRequest, RemoteError, System
from gitref_lock.remotes.child import ChildStream, child_environment
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.remotes.settle import Attempt
from gitref_lock.remotes.store import GitStore, interrupted, no_atomic
from gitref_lock.remotes.streams import Deadline, LinkError, Reader, SocketStream, Stream, connect
from gitref_lock.remotes.wire import (
    FLUSH_PKT,
    Advertisement,
    FetchReply,
    Packet,
    WireError,
    fetch_request_v0,
    fetch_request_v2,
    ls_refs_request,
    packets_from,
    parse_advertisement,
    parse_fetch_v0,
    parse_fetch_v2,
    parse_ls_refs,
    parse_report,
    pkt,
    under,
)

GIT_PORT = 9418
_CONNECT_TIMEOUT_S = 15.0
_UPLOAD, _RECEIVE = "git-upload-pack", "git-receive-pack"


@dataclass(slots=True)
class _Conversation:
    """An open upload-pack with what it advertised."""

    stream: Stream
    advertisement: Advertisement

    def packets(self, deadline: Deadline) -> Iterator[Packet]:
        """Yield packets until ``deadline``."""
        return packets_from(Reader(self.stream, deadline).exactly)


class StatefulStore(GitStore):
    """A RefStore over connections that are held open during a conversation."""

    is_stateful = True

    def __init__(self, spec: RemoteSpec, system: System) -> None:
        """Nothing is opened before the first call."""
        super().__init__(system, redact(spec.url))
        self._spec = spec
        self._open: _Conversation | None = None

    @abstractmethod
    def _connect(self, service: str, url: str, deadline: Deadline, *, protocol_v2: bool) -> Stream:
        """Start ``service`` for ``url``."""

    def _secrets(self) -> Collection[str]:
        return ()

    def _count(self, kind: str, *, is_write: bool = False) -> None:
        """Count a conversation; here each is one request, whatever the packets it takes."""
        self.traffic.requests += 1
        super()._count(kind, is_write=is_write)

    def close(self) -> None:
        """End the open conversation."""
        conversation, self._open = self._open, None
        if conversation is not None:
            conversation.stream.close()

    def _converse(self, deadline: Deadline) -> _Conversation:
        """Start upload-pack and read what it advertises."""
        stream = self._connect(_UPLOAD, self._spec.url, deadline, protocol_v2=True)
        try:
            advertisement = parse_advertisement(packets_from(Reader(stream, deadline).exactly))
        except BaseException:
            stream.abort()
            raise
        if advertisement.capabilities.get("object-format", "sha1") != "sha1":
            stream.close()
            raise RemoteError("unsupported", "the repository uses SHA-256 object ids")
        return _Conversation(stream, advertisement)

    def _list(self, prefixes: Sequence[str], deadline: Deadline) -> tuple[Mapping[RefName, Oid], ServerDate | None]:
        self.close()
        self._count("ls-refs")
        conversation = self._converse(deadline)
        refs = under(conversation.advertisement.refs, prefixes)
        if conversation.advertisement.version == 2:
            try:
                conversation.stream.send(ls_refs_request(prefixes), deadline)
                refs = parse_ls_refs(conversation.packets(deadline), prefixes)
            except BaseException:
                conversation.stream.abort()
                raise
        self._open = conversation
        return refs, None

    def _fetch(self, request: FetchRequest, deadline: Deadline, *, thin: bool, max_bytes: int) -> FetchReply:
        self._count("fetch")
        conversation, self._open = self._open, None
        if conversation is not None:
            try:
                return self._fetch_in(conversation, request, deadline, thin=thin, max_bytes=max_bytes)
            except LinkError:
                # A kept conversation may have been ended by the other side long ago; a new one tells.
                self.traffic.retries += 1
        return self._fetch_in(self._converse(deadline), request, deadline, thin=thin, max_bytes=max_bytes)

    def _fetch_in(
        self, conversation: _Conversation, request: FetchRequest, deadline: Deadline, *, thin: bool, max_bytes: int
    ) -> FetchReply:
        """Fetch in an open conversation and keep it open where the protocol allows another fetch."""
        is_v2 = conversation.advertisement.version == 2
        try:
            if is_v2:
                conversation.stream.send(fetch_request_v2(request, thin=thin), deadline)
                reply = parse_fetch_v2(conversation.packets(deadline), max_bytes=max_bytes)
            else:
                body = fetch_request_v0(request, conversation.advertisement.capabilities, thin=thin)
                conversation.stream.send(body, deadline)
                reply = parse_fetch_v0(
                    conversation.packets(deadline), with_shallow=request.depth is not None, max_bytes=max_bytes
                )
        except BaseException:
            conversation.stream.abort()
            raise
        if is_v2 and request.depth is None and not request.shallow:
            self._open = conversation
        else:
            conversation.stream.close()
        return reply

    def _receive_pack(self, deadline: Deadline) -> tuple[Stream, Capabilities]:
        """Start receive-pack and read its whole advertisement, keeping only the capabilities."""
        stream = self._connect(_RECEIVE, self._spec.push_url, deadline, protocol_v2=False)
        try:
            found = parse_advertisement(packets_from(Reader(stream, deadline).exactly)).capabilities
        except BaseException:
            stream.abort()
            raise
        self._capabilities = Capabilities("atomic" in found, found.get("agent", ""))
        return stream, self._capabilities

    def _probe(self, deadline: Deadline) -> Capabilities:
        self._count("probe")
        stream, capabilities = self._receive_pack(deadline)
        self._hang_up(stream, deadline)
        return capabilities

    @staticmethod
    def _hang_up(stream: Stream, deadline: Deadline) -> None:
        """End a receive-pack that is to do nothing, in the way that it does not call an error."""
        try:
            stream.send(FLUSH_PKT, deadline)
        except LinkError:
            stream.abort()
        else:
            stream.close()

    def _push(self, edits: Sequence[RefEdit], body: bytes, deadline: Deadline) -> Attempt:
        try:
            stream, capabilities = self._receive_pack(deadline)
        except (RemoteError, WireError) as exc:
            return _refused_at_the_door(exc)
        if len(edits) > 1 and not capabilities.atomic:
            self._hang_up(stream, deadline)
            return no_atomic(capabilities.agent)
        self._count("swap", is_write=True)
        try:
            stream.send(body, deadline)
            report = parse_report(packets_from(Reader(stream, deadline).exactly), edits)
        except (RemoteError, WireError) as exc:
            stream.abort()
            return interrupted(exc)
        stream.close()
        return report


def _refused_at_the_door(exc: RemoteError | WireError) -> Attempt:
    """Judge a swap of which nothing was sent, because receive-pack did not come to advertise anything."""
    if isinstance(exc, RemoteError):
        if exc.code in {"authentication", "permission", "not-found"}:
            return Refused(RefusalKind(exc.code), exc.words)
        return Unknown(str(exc), nothing_sent=True)
    attempt = interrupted(exc)
    return replace(attempt, nothing_sent=True) if isinstance(attempt, Unknown) else attempt


class PathStore(StatefulStore):
    """A repository on this machine, served by real ``git receive-pack`` and ``git upload-pack`` processes."""

    def _connect(self, service: str, url: str, deadline: Deadline, *, protocol_v2: bool) -> Stream:  # noqa: ARG002 - a start takes no time that could be bounded
        path = url
        if url.startswith("file://"):
            from urllib.parse import unquote  # late: only file:// needs it

            path = unquote(url.removeprefix("file://"))
        command = ["git", service.removeprefix("git-"), str(Path(path).absolute())]
        return ChildStream(command, child_environment(self._spec.environment, protocol_v2=protocol_v2), self.traffic)


class GitDaemonStore(StatefulStore):
    """A repository behind ``git://``: unauthenticated, unencrypted, for trusted networks."""

    def _connect(self, service: str, url: str, deadline: Deadline, *, protocol_v2: bool) -> Stream:
        place, slash, path = url.removeprefix("git://").partition("/")
        host, _, port = place.rpartition(":") if re.search(r":\d+$", place) else (place, "", "")
        bare = host.removeprefix("[").removesuffix("]")
        sock = connect(bare, int(port or GIT_PORT), deadline, _CONNECT_TIMEOUT_S)
        self.traffic.connections += 1
        stream = SocketStream(sock, self.traffic)
        extra = "\0version=2\0" if protocol_v2 else ""
        try:
            stream.send(pkt(f"{service} {slash}{path}\0host={place}\0{extra}"), deadline)
        except LinkError:
            stream.close()
            raise
        return stream


@dataclass(frozen=True, slots=True)
class SshPlace:
    """Where an ssh address leads: what ssh connects to, its port ('' for ssh's own), and the path there."""

    host: str
    port: str
    path: str

    @classmethod
    def parse(cls, url: str) -> SshPlace:
        """Parse ``ssh://[user@]host[:port]/path`` or ``[user@]host:path``; raise RemoteError for anything else."""
        scheme, separator, rest = url.partition("://")
        if separator and scheme in {"ssh", "git+ssh", "ssh+git"}:
            from urllib.parse import unquote  # late: the other form does not need it

            place, slash, path = rest.partition("/")
            path = unquote(slash + path)
            path = path[1:] if path.startswith("/~") else path
        else:
            found = (
                None if separator else re.fullmatch(r"((?:[^/@\[\]]+@)?(?:\[[^\]]+\]|[^/:\[\]]+)):(.*)", url, re.DOTALL)
            )
            if found is None:
                raise RemoteError("unsupported", f"not an ssh address: {redact(url)[:200]}")
            place, path = found[1], found[2]
        user, at, machine = place.rpartition("@")
        bracketed = re.fullmatch(r"\[(.*)\](?::(\d+))?", machine)
        if bracketed is not None:
            machine, port = bracketed[1], bracketed[2] or ""
            if machine.count(":") == 1:  # git's form [host:port]:path
                machine, _, port = machine.partition(":")
        else:
            machine, _, port = machine.partition(":")
        host = unquoted_user(user) + at + machine
        # A host or path that looks like an option would be obeyed as one by ssh or by the shell's git.
        if not machine or host.startswith("-") or path.startswith("-") or not path or (port and not port.isdigit()):
            raise RemoteError("unsupported", f"not a usable ssh address: {redact(url)[:200]}")
        return cls(host, port, path)


def unquoted_user(user: str) -> str:
    """Return the user name of an address without a password, which ssh has no use for."""
    return user.partition(":")[0]


class SshStore(StatefulStore):
    """A repository behind the user's own ssh, with its configuration, agent and host keys."""

    def __init__(self, spec: RemoteSpec, system: System) -> None:
        """Nothing is started before the first call."""
        super().__init__(spec, system)
        self._variant: str | None = None

    def _connect(self, service: str, url: str, deadline: Deadline, *, protocol_v2: bool) -> Stream:
        place = SshPlace.parse(url)
        environment = child_environment(self._spec.environment, protocol_v2=protocol_v2)
        variant = self._known_variant(place.host, environment, deadline)
        if place.port and variant == "simple":
            raise RemoteError("unsupported", "the configured ssh command takes no port")
        options: list[str] = []
        if variant == "ssh" and protocol_v2:
            options += ["-o", "SendEnv=GIT_PROTOCOL"]
        if variant == "tortoiseplink":
            options.append("-batch")
        if place.port:
            options += ["-p" if variant == "ssh" else "-P", place.port]
        command = f"{service} {shlex.quote(place.path)}"
        return ChildStream(self._command([*options, place.host, command]), environment, self.traffic)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        """Return the program to start: ssh itself, or the configured command through a shell, as git does."""
        configured = self._spec.ssh_command
        if configured is None:
            return ["ssh", *arguments]
        return ["sh", "-c", f'{configured} "$@"', configured, *arguments]

    def _known_variant(self, host: str, environment: Mapping[str, str], deadline: Deadline) -> str:
        """Return which options the ssh command takes (git-config(1), ``ssh.variant``), found out once."""
        if self._variant is None:
            self._variant = self._find_variant(host, environment, deadline)
        return self._variant

    def _find_variant(self, host: str, environment: Mapping[str, str], deadline: Deadline) -> str:
        named = environment.get("GIT_SSH_VARIANT", "auto")
        if named in {"ssh", "simple", "plink", "putty", "tortoiseplink"}:
            return named
        configured = self._spec.ssh_command
        if configured is None:
            return "ssh"
        try:
            words = shlex.split(configured)
        except ValueError:
            words = []
        name = os.path.basename(words[0]).lower().removesuffix(".exe") if words else ""  # noqa: PTH119 - a command word, not a path of ours
        if name in {"ssh", "plink", "putty", "tortoiseplink"}:
            return name
        # A wrapper under another name: it is OpenSSH-like when it can print its configuration.
        try:
            done = subprocess.run(
                self._command(["-G", host]),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=max(0.1, min(10.0, deadline.left())),
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return "simple"
        return "ssh" if done.returncode == 0 else "simple"
