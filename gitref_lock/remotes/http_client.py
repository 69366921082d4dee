"""One HTTP(S) origin at a time: connections that are kept, proxies, TLS, credentials and redirects.

Promises: a request body is sent once and never again by itself (only ``GET`` and requests that the caller declares to
be reads are repeated on a fresh connection); credentials and configured headers go to the configured origin only;
no credential appears in an error.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitref_lock.ports import RemoteError, System, Traffic
from gitref_lock.remotes.http1 import Reply, read_reply, request_bytes
from gitref_lock.remotes.http_address import Address, Origin
from gitref_lock.remotes.settings import Credential, HttpSettings
from gitref_lock.remotes.streams import Deadline, LinkError, SocketStream, connect

if TYPE_CHECKING:
    import ssl

MAX_REDIRECTS = 10
MAX_CREDENTIALS = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def basic(credential: Credential) -> str:
    """Return the value of an ``Authorization`` header."""
    pair = f"{credential.username}:{credential.password}".encode()
    return "Basic " + b64encode(pair).decode("ascii")


class HttpClient:
    """Requests below one repository's URL. Redirects found by ``discover`` move ``base_url`` for all later requests."""

    def __init__(self, base_url: str, settings: HttpSettings, system: System, traffic: Traffic) -> None:
        """Nothing is opened before the first request."""
        self.base_url = base_url.rstrip("/")
        self._settings = settings
        self._system = system
        self._traffic = traffic
        self._home = Address.parse(base_url).origin
        self._credential = settings.credential
        self._credential_origin = self._home
        self._kept: SocketStream | None = None
        self._kept_origin: Origin | None = None
        self._tls_context: ssl.SSLContext | None = None
        self._proxy = None if settings.proxy_url is None else _proxy_address(settings.proxy_url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must not appear in a message."""
        found = [value for _, value in self._settings.headers]
        for credential in (self._credential, self._settings.credential):
            if credential is not None:
                found += [credential.password, basic(credential).removeprefix("Basic ")]
        return tuple(found)

    def post(
        self, service: str, body: bytes, deadline: Deadline, *, is_read: bool, protocol_v2: bool, max_bytes: int
    ) -> Reply:
        """Send one request to ``service``; a 401 is answered with the next credential, any other reply is returned.

        A read whose kept connection turns out dead is sent again on a new one; a swap is not.
        """
        headers = [
            ("Content-Type", f"application/x-{service}-request"),
            ("Accept", f"application/x-{service}-result"),
            ("Content-Length", str(len(body))),
        ]
        headers += [("Git-Protocol", "version=2")] if protocol_v2 else []
        url = f"{self.base_url}/{service}"
        return self._with_credentials("POST", url, headers, body, deadline, repeat=is_read, max_bytes=max_bytes)

    def discover(
        self, service: str, deadline: Deadline, *, protocol_v2: bool, max_bytes: int, enough: int | None
    ) -> Reply:
        """Fetch the service's advertisement, following redirects and remembering where they led."""
        tail = f"/info/refs?service={service}"
        headers = [("Git-Protocol", "version=2")] if protocol_v2 else []
        for _ in range(MAX_REDIRECTS):
            reply = self._with_credentials(
                "GET", self.base_url + tail, headers, b"", deadline, repeat=True, max_bytes=max_bytes, enough=enough
            )
            if reply.status not in _REDIRECTS or "location" not in reply.headers:
                return reply
            self.base_url = self._redirected(reply.headers["location"], tail)
        raise RemoteError("protocol", f"more than {MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """Close the kept connection."""
        if self._kept is not None:
            self._kept.close()
        self._kept = self._kept_origin = None

    def _redirected(self, location: str, tail: str) -> str:
        """Return the repository's URL behind a redirect of its advertisement."""
        here = Address.parse(self.base_url).origin
        if location.startswith("//"):
            location = f"{here.scheme}:{location}"
        elif location.startswith("/"):
            location = f"{here.scheme}://{here.authority}{location}"
        target = Address.parse(location)
        if here.scheme == "https" and target.origin.scheme != "https":
            raise RemoteError("tls", "the server redirects from https to http; this is not followed")
        if target.userinfo or not target.target.endswith(tail):
            raise RemoteError("not-found", f"the server redirects to {target.origin.authority}, which is no repository")
        return f"{target.origin.scheme}://{target.origin.authority}{target.target.removesuffix(tail)}"

    def _with_credentials(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        deadline: Deadline,
        *,
        repeat: bool,
        max_bytes: int,
        enough: int | None = None,
    ) -> Reply:
        """Send, and on 401 send again with the next credential while there is one."""
        address = Address.parse(url)
        tries = 0
        while True:
            tries += 1
            reply = self._once(
                method, address, headers, body, deadline, repeat=repeat, max_bytes=max_bytes, enough=enough
            )
            if reply.status != 401 or self._settings.next_credential is None or tries >= MAX_CREDENTIALS:
                return reply
            credential = self._settings.next_credential(self.base_url)
            if credential is None:
                return reply
            self._credential, self._credential_origin = credential, address.origin
            self._traffic.retries += 1

    def _once(
        self,
        method: str,
        address: Address,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        deadline: Deadline,
        *,
        repeat: bool,
        max_bytes: int,
        enough: int | None,
    ) -> Reply:
        """Send one request and read its reply, on the kept connection when it is still good."""
        through_proxy = self._proxy is not None and address.origin.scheme == "http"
        target = f"http://{address.origin.authority}{address.target}" if through_proxy else address.target
        lines = [("Host", address.origin.authority), ("User-Agent", "git/gitref-lock"), ("Accept-Encoding", "gzip")]
        lines += [*headers, *self._private_headers(address.origin)]
        if through_proxy and self._proxy is not None:
            lines += _proxy_headers(self._proxy)
        data = request_bytes(method, target, lines, body)
        stream, is_reused = self._stream(address.origin, deadline)
        self._traffic.requests += 1
        before = self._traffic.bytes_received
        reply = None
        try:
            stream.send(data, deadline)
            reply = read_reply(stream, deadline, max_bytes=max_bytes, enough=enough)
        except LinkError as exc:
            is_dead = exc.code == "unreachable" and self._traffic.bytes_received == before
            if not (is_reused and repeat and is_dead):
                raise
            self._traffic.retries += 1
            return self._once(
                method, address, headers, body, deadline, repeat=False, max_bytes=max_bytes, enough=enough
            )
        finally:
            # Also when a signal interrupts us: half a conversation must never be taken up again.
            if reply is not None and reply.keep_alive:
                self._kept, self._kept_origin = stream, address.origin
            else:
                stream.close()
        return reply

    def _private_headers(self, origin: Origin) -> list[tuple[str, str]]:
        """Return configured headers and the credential, for the origin that they belong to."""
        lines = list(self._settings.headers) if origin == self._home else []
        named = {name.lower() for name, _ in lines}
        if self._credential is not None and origin == self._credential_origin and "authorization" not in named:
            lines.append(("Authorization", basic(self._credential)))
        return lines

    def _stream(self, origin: Origin, deadline: Deadline) -> tuple[SocketStream, bool]:
        """Return a connection to ``origin`` and whether it was used before."""
        kept, self._kept = self._kept, None
        if kept is not None:
            if self._kept_origin == origin and kept.is_idle():
                return kept, True
            kept.close()
        try:
            return self._open(origin, deadline), False
        except LinkError as exc:
            # Until here only a proxy or the TLS layer has heard of us, never git.
            exc.nothing_sent = True
            raise

    def _open(self, origin: Origin, deadline: Deadline) -> SocketStream:
        """Open a connection, through the proxy where one is set, with TLS where the scheme asks for it."""
        place = self._proxy.origin if self._proxy is not None else origin
        sock = connect(place.host, place.port, deadline, self._settings.connect_timeout_s)
        self._traffic.connections += 1
        stream = SocketStream(sock, self._traffic)
        try:
            if origin.scheme == "https":
                if self._proxy is not None:
                    self._tunnel(stream, origin, self._proxy, deadline)
                return SocketStream(self._tls(sock, origin.host, deadline), self._traffic)
        except BaseException:
            sock.close()
            raise
        return stream

    @staticmethod
    def _tunnel(stream: SocketStream, origin: Origin, proxy: Address, deadline: Deadline) -> None:
        """Ask the proxy for a tunnel to ``origin``."""
        place = f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"
        stream.send(request_bytes("CONNECT", place, [("Host", place), *_proxy_headers(proxy)]), deadline)
        reply = read_reply(stream, deadline, max_bytes=65536, has_body=False)
        if reply.status == 407:
            raise LinkError("authentication", "the proxy asks for other credentials (407)", transient=False)
        if not 200 <= reply.status < 300:
            raise LinkError("unreachable", f"the proxy refuses a tunnel: {reply.status} {reply.reason[:200]}")

    def _tls(self, sock: socket.socket, host: str, deadline: Deadline) -> socket.socket:
        """Return ``sock`` with TLS on it."""
        import ssl  # late: plain HTTP does not pay for it

        if self._tls_context is None:
            self._tls_context = self._make_tls_context()
        sock.settimeout(min(deadline.wait("negotiating TLS"), self._settings.connect_timeout_s))
        try:
            return self._tls_context.wrap_socket(sock, server_hostname=host)
        except ssl.SSLCertVerificationError as exc:
            raise LinkError("tls", f"the certificate of {host}: {exc.verify_message}", transient=False) from exc
        except TimeoutError as exc:
            raise LinkError("timeout", f"{host}: no TLS in time") from exc
        except ssl.SSLError as exc:
            raise LinkError("tls", f"{host}: {exc.reason or exc}", transient=False) from exc
        except OSError as exc:
            raise LinkError("unreachable", f"{host}: the connection broke while negotiating TLS: {exc}") from exc

    def _make_tls_context(self) -> ssl.SSLContext:
        """Return the certificates to trust and to show: those of the settings, else the system's. Costly, so kept."""
        import ssl

        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca_file, capath=settings.ca_path)
            if not settings.verify_tls:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if settings.client_cert is not None:
                context.load_cert_chain(settings.client_cert, settings.client_key)
        except OSError as exc:
            raise LinkError("tls", f"the configured certificates cannot be used: {exc}", transient=False) from exc
        return context


def _proxy_address(url: str) -> Address:
    """Parse a proxy's URL; a missing scheme means http, and only plain HTTP proxies are supported."""
    address = Address.parse(url if "://" in url else f"http://{url}")
    if address.origin.scheme != "http":
        raise RemoteError("unsupported", "a proxy that is itself spoken to over TLS is not supported")
    return address


def _proxy_headers(proxy: Address) -> list[tuple[str, str]]:
    """Return the proxy's credentials as a header, where its URL has some."""
    if not proxy.userinfo:
        return []
    from urllib.parse import unquote  # late: few have a proxy with a password

    user, _, password = proxy.userinfo.partition(":")
    return [("Proxy-Authorization", basic(Credential(unquote(user), unquote(password))))]
