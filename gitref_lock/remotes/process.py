"""The stateful transports: local paths, ssh and ``git://``.

One conversation of upload-pack serves one listing and the fetches after it, never a second listing: git's files
backend keeps the loose refs it has read once, so a process that listed before would show old values. Nor does it serve
anything after a fetch with a depth: upload-pack goes on to treat the boundary it has cut as the end of history.
receive-pack first advertises every ref and then reads the swap; the swap is sent as soon as the advertisement is over,
because the server compares with what it read then. Formats: gitprotocol-pack(5), gitprotocol-v2(5).
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gitref_lock.core.clocks import ServerDate
from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.refs import RefEdit, Unknown
from gitref_lock.ports import Capabilities, FetchRequest, ObjectsGoneError, RemoteError, System
from gitref_lock.remotes.child import ChildStream, child_environment
from gitref_lock.remotes.pktline import FLUSH_PKT, Packet, WireError, packets_from, pkt
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.remotes.settle import Attempt
from gitref_lock.remotes.store import LONG_IDS, GitStore, for_good, interrupted, no_atomic
from gitref_lock.remotes.streams import Deadline, LinkError, Reader, SocketStream, Stream, connect
from gitref_lock.remotes.wire import (
    Advertisement,
    FetchReply,
    fetch_request_v0,
    fetch_request_v2,
    ls_refs_request,
    parse_advertisement,
    parse_fetch_v0,
    parse_fetch_v2,
    parse_ls_refs,
    parse_report,
    unadvertised,
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
            raise RemoteError("unsupported", LONG_IDS)
        self._protocol_version = advertisement.version
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
                gone = unadvertised(request, conversation.advertisement)
                if gone is not None:
                    raise ObjectsGoneError(f"the server does not advertise {gone}")
                body = fetch_request_v0(request, conversation.advertisement.capabilities)
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
        if found.get("object-format", "sha1") != "sha1":
            stream.abort()
            raise RemoteError("unsupported", LONG_IDS)
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
        except BaseException as exc:
            stream.abort()
            if isinstance(exc, RemoteError | WireError):
                return interrupted(exc)
            raise
        stream.close()
        return report


def _refused_at_the_door(exc: RemoteError | WireError) -> Attempt:
    """Judge a swap of which nothing was sent, because receive-pack did not come to advertise anything."""
    if isinstance(exc, RemoteError):
        return Unknown(str(exc), nothing_sent=True) if exc.transient else for_good(exc)
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
