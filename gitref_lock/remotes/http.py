"""Smart HTTP(S): every listing, fetch and swap is one POST, without asking for the ref advertisement first.

The advertisement is only fetched when a server does not take the direct way (redirects, a missing repository, no
protocol version 2), once per store. A swap's request is never sent a second time after its bytes may have been
processed. Formats: gitprotocol-http(5).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from gitref_lock.core.clocks import ServerDate
from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.refs import RefEdit, RefusalKind, Refused, Unknown
from gitref_lock.ports import Capabilities, FetchRequest, ObjectsGoneError, RemoteError, System
from gitref_lock.remotes.http1 import BodyTooLargeError, Reply, http_date
from gitref_lock.remotes.http_client import HttpClient
from gitref_lock.remotes.pktline import TooLargeError, WireError, packets_of
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.remotes.settle import Attempt
from gitref_lock.remotes.store import (
    LONG_IDS,
    MAX_FETCH_BYTES,
    MAX_LISTING_BYTES,
    GitStore,
    for_good,
    interrupted,
    no_atomic,
)
from gitref_lock.remotes.streams import Deadline
from gitref_lock.remotes.wire import (
    MAX_REPORT_BYTES,
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

_UPLOAD, _RECEIVE = "git-upload-pack", "git-receive-pack"
_LONGEST_RETRY_AFTER_S = 30.0
_MAX_READ_TRIES = 4
_ENOUGH_OF_AN_ADVERTISEMENT = 4096
_REFUSALS = {
    401: RefusalKind.AUTHENTICATION,
    403: RefusalKind.PERMISSION,
    404: RefusalKind.NOT_FOUND,
    407: RefusalKind.AUTHENTICATION,
    410: RefusalKind.NOT_FOUND,
    413: RefusalKind.QUOTA,
}
_READ_ERRORS = {401: "authentication", 403: "permission", 404: "not-found", 407: "authentication", 410: "not-found"}


class HttpStore(GitStore):
    """A RefStore over smart HTTP."""

    def __init__(self, spec: RemoteSpec, system: System) -> None:
        """Nothing is opened before the first call."""
        super().__init__(system, redact(spec.url))
        push_settings = spec.push_http or spec.http
        self._reads = HttpClient(spec.url, spec.http, system, self.traffic)
        same = spec.push_url == spec.url and push_settings == spec.http
        self._writes = self._reads if same else HttpClient(spec.push_url, push_settings, system, self.traffic)
        self._read_step_s = spec.http.read_timeout_s
        self._old_server: Advertisement | None = None
        self._settled: set[str] = set()

    @property
    def is_server_clocked(self) -> bool:
        """Every HTTP reply carries the server's time."""
        return True

    def close(self) -> None:
        """Close the kept connections."""
        self._reads.close()
        self._writes.close()

    def _secrets(self) -> Collection[str]:
        return (*self._reads.secrets, *self._writes.secrets)

    def _deadline(self, timeout_s: float | None, default_s: float) -> Deadline:
        return replace(super()._deadline(timeout_s, default_s), step_s=self._read_step_s)

    # Reads.

    def _list(self, prefixes: Sequence[str], deadline: Deadline) -> tuple[Mapping[RefName, Oid], ServerDate | None]:
        if self._old_server is None:
            reply, date = self._read_reply("ls-refs", ls_refs_request(prefixes), deadline, MAX_LISTING_BYTES)
            if reply is not None:
                self._protocol_version = 2
                return parse_ls_refs(packets_of(reply.body), prefixes), date
        self._protocol_version = 0
        # No version 2: the whole advertisement, anew for each listing.
        return under(self._old_advertisement(deadline).refs, prefixes), None

    def _fetch(self, request: FetchRequest, deadline: Deadline, *, thin: bool, max_bytes: int) -> FetchReply:
        room = max_bytes + (max_bytes >> 8) + MAX_REPORT_BYTES
        if self._old_server is None:
            reply, _ = self._read_reply("fetch", fetch_request_v2(request, thin=thin), deadline, room)
            if reply is not None:
                return parse_fetch_v2(packets_of(reply.body), max_bytes=max_bytes)
        offered = self._old_server or self._old_advertisement(deadline)
        if unadvertised(request, offered) is not None:  # by an older advertisement
            offered = self._old_advertisement(deadline)
            gone = unadvertised(request, offered)
            if gone is not None:
                raise ObjectsGoneError(f"the server does not advertise {gone}")
        body = fetch_request_v0(request, offered.capabilities)
        sent, _ = self._post_read("fetch", body, deadline, room, protocol_v2=False)
        _raise_for(sent)
        return parse_fetch_v0(packets_of(sent.body), with_shallow=request.depth is not None, max_bytes=max_bytes)

    def _read_reply(
        self, kind: str, body: bytes, deadline: Deadline, max_bytes: int
    ) -> tuple[Reply | None, ServerDate | None]:
        """Send a version 2 read; return None instead of a reply when discovery shows that the server is older."""
        reply, date = self._post_read(kind, body, deadline, max_bytes, protocol_v2=True)
        if _is_answer(reply, _UPLOAD) and not _is_from_old_server(reply):
            return reply, date
        if _UPLOAD in self._settled or not _may_need_discovery(reply):
            _raise_for(reply)
            return reply, date
        advertisement = self._discover_reads(deadline)
        self._settled.add(_UPLOAD)
        if advertisement.version != 2:
            self._old_server = advertisement
            return None, None
        if advertisement.capabilities.get("object-format", "sha1") != "sha1":
            raise RemoteError("unsupported", LONG_IDS)
        reply, date = self._post_read(kind, body, deadline, max_bytes, protocol_v2=True)
        _raise_for(reply)
        return reply, date

    def _post_read(
        self, kind: str, body: bytes, deadline: Deadline, max_bytes: int, *, protocol_v2: bool
    ) -> tuple[Reply, ServerDate | None]:
        """Send a read; a 429 or 503 with ``Retry-After`` is waited out when the time allows."""
        clock = self._system.clock
        tries = 0
        while True:
            tries += 1
            self._count(kind)
            sent_s = clock.monotonic()
            try:
                reply = self._reads.post(
                    _UPLOAD, body, deadline, is_read=True, protocol_v2=protocol_v2, max_bytes=max_bytes
                )
            except BodyTooLargeError as exc:
                raise TooLargeError(exc.words) from exc
            if tries >= _MAX_READ_TRIES or not self._waited(reply, deadline):
                break
        return reply, _server_date(reply, sent_s, clock.monotonic())

    def _waited(self, reply: Reply, deadline: Deadline) -> bool:
        """Wait as long as an overloaded server asks for; return False when it asks for nothing or for too much."""
        pause = _retry_after(reply)
        if reply.status not in {429, 503} or pause is None or pause > _LONGEST_RETRY_AFTER_S:
            return False
        pause += self._system.entropy.uniform(0, 0.2)
        if pause >= deadline.left():
            return False
        self.traffic.retries += 1
        self._system.sleeper.sleep(pause)
        return True

    def _discover_reads(self, deadline: Deadline) -> Advertisement:
        """Fetch the upload-pack advertisement, asking for version 2."""
        tries = 0
        while True:
            tries += 1
            self._count("discovery")
            reply = self._reads.discover(_UPLOAD, deadline, protocol_v2=True, max_bytes=MAX_LISTING_BYTES, enough=None)
            if tries >= _MAX_READ_TRIES or not self._waited(reply, deadline):
                break
        _raise_for(reply, "advertisement", _UPLOAD)
        return parse_advertisement(packets_of(reply.body))

    def _old_advertisement(self, deadline: Deadline) -> Advertisement:
        """Fetch a fresh version 0 advertisement, or use the one that discovery has just brought."""
        self._old_server = self._discover_reads(deadline)
        return self._old_server

    # Writes.

    def _probe(self, deadline: Deadline) -> Capabilities:
        self._count("probe")
        reply = self._writes.discover(
            _RECEIVE, deadline, protocol_v2=False, max_bytes=MAX_FETCH_BYTES, enough=_ENOUGH_OF_AN_ADVERTISEMENT
        )
        _raise_for(reply, "advertisement", _RECEIVE)
        found = parse_advertisement(packets_of(reply.body), head_only=True).capabilities
        if found.get("object-format", "sha1") != "sha1":
            raise RemoteError("unsupported", LONG_IDS)
        return Capabilities("atomic" in found, found.get("agent", ""))

    def _push(self, edits: Sequence[RefEdit], body: bytes, deadline: Deadline) -> Attempt:
        attempt = self._push_once(edits, body, deadline)
        if isinstance(attempt, Reply):
            # Nothing was done yet: the server pointed elsewhere, knows no such path or (empty 200) another hash.
            self._settled.add(_RECEIVE)
            status = attempt.status
            try:
                self._capabilities = self._probe(deadline)
            except (RemoteError, WireError) as exc:
                return self._undiscovered(attempt, exc)
            if len(edits) > 1 and not self._capabilities.atomic:
                return no_atomic(self._capabilities.agent)
            if status < 300:
                return Unknown("the server answered with an empty reply")
            attempt = self._push_once(edits, body, deadline)
        return _refused_by_status(attempt) if isinstance(attempt, Reply) else attempt

    def _push_once(self, edits: Sequence[RefEdit], body: bytes, deadline: Deadline) -> Attempt | Reply:
        """Send the swap; return the bare reply when it is one that discovery may explain and none was made yet."""
        self._count("swap", is_write=True)
        try:
            reply = self._writes.post(
                _RECEIVE, body, deadline, is_read=False, protocol_v2=False, max_bytes=MAX_REPORT_BYTES
            )
            if _RECEIVE not in self._settled and _may_need_discovery(reply, is_write=True):
                return reply
            if not 200 <= reply.status < 300:
                return _refused_by_status(reply)
            if not _is_answer(reply, _RECEIVE):
                return Unknown(f"a reply of type {reply.content_type[:80]!r} instead of a report")
            return parse_report(packets_of(reply.body), edits)
        except (RemoteError, WireError) as exc:
            return interrupted(exc)

    @staticmethod
    def _undiscovered(reply: Reply, exc: RemoteError | WireError) -> Attempt:
        """Judge a swap whose reply asked for a discovery that failed."""
        if reply.status < 300:
            if isinstance(exc, RemoteError) and exc.words == LONG_IDS:
                return Refused(RefusalKind.OTHER, exc.words)
            return Unknown(f"an empty reply, and then: {exc}")
        if reply.status >= 400:
            return _refused_by_status(reply)
        # A redirect: the server has not looked at the swap.
        if isinstance(exc, RemoteError) and not exc.transient:
            return for_good(exc)
        return Unknown(str(exc), nothing_sent=True)


def _is_answer(reply: Reply, service: str) -> bool:
    """Tell whether the reply is a success in the service's own type."""
    return reply.status == 200 and reply.content_type == f"application/x-{service}-result"


def _may_need_discovery(reply: Reply, *, is_write: bool = False) -> bool:
    """Tell whether an advertisement could explain this reply: moved, hidden behind a login, another hash, too old."""
    if reply.status in {301, 302, 303, 307, 308, 404, 415}:
        return True
    if reply.status == 200 and not reply.body:
        return True
    # An old server chokes on version 2 in its own way; for a swap a 5xx is an open question and not repeated.
    return not is_write and (reply.status in {400, 403, 405, 500, 501} or (reply.status == 200))


def _is_from_old_server(reply: Reply) -> bool:
    """Tell whether a server without version 2 took our command for a version 0 request."""
    head = reply.body[:200]
    return not head or (head[4:8] == b"ERR " and b"command=" in head)


def _raise_for(reply: Reply, suffix: str = "result", service: str = _UPLOAD) -> None:
    """Raise RemoteError unless the reply is a success in the service's own type."""
    words = f"HTTP {reply.status} {reply.reason}".rstrip()
    if reply.status != 200:
        text = _text(reply)
        words += f": {text}" if text else ""
        code = _READ_ERRORS.get(reply.status, "server-error" if reply.status in {408, 425, 429} else "protocol")
        code = "server-error" if reply.status >= 500 else code
        raise RemoteError(code, words, transient=code == "server-error", retry_after_s=_retry_after(reply))
    if reply.content_type != f"application/x-{service}-{suffix}":
        raise RemoteError("protocol", f"not a smart git server: the reply's type is {reply.content_type[:80]!r}")
    if not reply.body:
        raise RemoteError("protocol", "the server answered with an empty reply", transient=True)


def _refused_by_status(reply: Reply) -> Refused | Unknown:
    """Judge a swap by an HTTP status other than success."""
    text = _text(reply)
    words = f"HTTP {reply.status} {reply.reason}".rstrip() + (f": {text}" if text else "")
    if reply.status in {408, 425, 429} or reply.status >= 500:
        return Unknown(words, _retry_after(reply))
    return Refused(_REFUSALS.get(reply.status, RefusalKind.OTHER), words)


def _text(reply: Reply) -> str:
    """Return a plain-text body as words; an HTML page tells people nothing here."""
    if reply.content_type != "text/plain":
        return ""
    return " ".join(reply.body[:1000].decode("utf-8", "replace").split())


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds that the server asks to wait; its form with a date is read against the reply's own Date."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value), 86400)) if len(value) < 10 else 86400.0
    until, now = http_date(value), http_date(reply.headers.get("date", ""))
    return None if until is None or now is None else float(max(0, until - now))


def _server_date(reply: Reply, sent_s: float, received_s: float) -> ServerDate | None:
    """Return the server's time from a complete success that no cache can have kept."""
    if not reply.is_complete or not 200 <= reply.status < 300 or "age" in reply.headers:
        return None
    date_s = http_date(reply.headers.get("date", ""))
    return None if date_s is None else ServerDate(date_s, sent_s, received_s)
