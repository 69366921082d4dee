"""The HTTP client's manners: redirects, credentials, proxies, TLS, dead connections, and what is never sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gitref_lock.core.refs import Applied, RefusalKind, Refused, SwapOutcome, Unknown
from gitref_lock.ports import RemoteError
from gitref_lock.remotes.http import HttpStore
from gitref_lock.remotes.http_address import Address, Origin
from gitref_lock.remotes.pktline import FLUSH_PKT, pkt
from gitref_lock.remotes.settings import Credential, HttpSettings, RemoteSpec
from gitref_lock.system import real_system
from gitref_lock.testing.contract_kit import create, lock, present, state
from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo
from tests.support.scripted import ProxyServer, ScriptedServer, http_reply
from tests.support.tls import make_certificate

ONE = state("one")
EMPTY_LISTING = http_reply(200, FLUSH_PKT, Content_Type="application/x-git-upload-pack-result")
REPORT = pkt(b"\x01" + pkt("unpack ok\n") + pkt(f"ok {lock('a')}\n") + FLUSH_PKT) + FLUSH_PKT
APPLIED = http_reply(200, REPORT, Content_Type="application/x-git-receive-pack-result")
HEAD = (
    pkt("# service=git-receive-pack\n")
    + FLUSH_PKT
    + pkt("0" * 40 + " capabilities^{}\0atomic agent=git/x\n")
    + FLUSH_PKT
)
RECEIVE_HEAD = http_reply(200, HEAD, Content_Type="application/x-git-receive-pack-advertisement")
UPLOAD_HEAD = http_reply(
    200, pkt("version 2\n") + FLUSH_PKT, Content_Type="application/x-git-upload-pack-advertisement"
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack that is unwound after the test."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def scripted(stack: ExitStack) -> Callable[..., ScriptedServer]:
    """Return a function that starts a scripted server."""

    def start(*replies: bytes) -> ScriptedServer:
        server = ScriptedServer(replies)
        stack.callback(server.close)
        return server

    return start


@pytest.fixture
def open_http(stack: ExitStack) -> Callable[..., HttpStore]:
    """Return a function that opens a store with these settings."""

    def opened(url: str, http: HttpSettings | None = None) -> HttpStore:
        store = HttpStore(RemoteSpec(None, "http", url, url, http=http or HttpSettings()), real_system())
        stack.callback(store.close)
        return store

    return opened


Scripted = Callable[..., ScriptedServer]
Opened = Callable[..., HttpStore]


def swapped(store: HttpStore) -> SwapOutcome:
    """Create lock a."""
    return store.swap([create("a", ONE)], ONE, timeout_s=20)


class TestRedirects:
    """Reads follow redirects; a swap goes where the advertisement led."""

    def test_a_swap_is_sent_to_where_discovery_leads_and_this_is_remembered(
        self, scripted: Scripted, open_http: Opened
    ) -> None:
        """The body is not resent on the redirect's word alone."""
        server = scripted(
            http_reply(302, Location="/elsewhere/git-receive-pack"),
            http_reply(301, Location="/moved.git/info/refs?service=git-receive-pack"),
            *(RECEIVE_HEAD, APPLIED, APPLIED),
        )
        store = open_http(server.url)
        assert swapped(store) == Applied()
        assert swapped(store) == Applied()
        assert [seen.line.removesuffix(" HTTP/1.1") for seen in server.seen] == [
            "POST /repo.git/git-receive-pack",
            "GET /repo.git/info/refs?service=git-receive-pack",
            "GET /moved.git/info/refs?service=git-receive-pack",
            "POST /moved.git/git-receive-pack",
            "POST /moved.git/git-receive-pack",
        ]
        assert server.seen[0].body == server.seen[3].body

    def test_credentials_and_headers_stay_at_their_origin(self, scripted: Scripted, open_http: Opened) -> None:
        """Another host learns nothing that was meant for the first."""
        other = scripted(UPLOAD_HEAD, EMPTY_LISTING)
        first = scripted(
            http_reply(307, Location="/x"),
            http_reply(307, Location=f"{other.url}/info/refs?service=git-upload-pack"),
        )
        settings = HttpSettings(headers=(("X-Token", "t0ken"),), credential=Credential("me", "s3cret"))
        assert present(open_http(first.url, settings)) == {}
        assert all(seen.headers["x-token"] == "t0ken" for seen in first.seen)
        assert all(seen.headers["authorization"].startswith("Basic ") for seen in first.seen)
        assert len(other.seen) == 2
        assert not any({"x-token", "authorization"} & set(seen.headers) for seen in other.seen)

    def test_a_redirect_to_a_login_page_is_no_repository(self, scripted: Scripted, open_http: Opened) -> None:
        """A redirect that drops the service's path is an error, and a swap is then refused."""
        server = scripted(*[http_reply(302, Location="/login?next=repo.git")] * 4)
        store = open_http(server.url)
        with pytest.raises(RemoteError, match="no repository") as caught:
            present(store)
        assert caught.value.code == "not-found"
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.NOT_FOUND

    def test_redirects_are_bounded(self, scripted: Scripted, open_http: Opened) -> None:
        """A server that redirects to itself does not keep us."""
        server = scripted(*[http_reply(302, Location="/repo.git/info/refs?service=git-upload-pack")] * 30)
        with pytest.raises(RemoteError, match="more than 10 redirects"):
            present(open_http(server.url))

    def test_https_does_not_become_http(self, server_root: Path, tmp_path: Path, open_http: Opened) -> None:
        """A redirect that gives up encryption is not followed."""
        context, certificate = make_certificate(tmp_path)
        with GitHttpServer(server_root, tls=context) as server:
            client = open_http(server.repo_url("x"), HttpSettings(ca_file=str(certificate)))
            with pytest.raises(RemoteError, match="from https to http"):
                client._reads._redirected("http://127.0.0.1/x/info/refs?service=s", "/info/refs?service=s")


class TestCredentials:
    """Answers to 401."""

    def test_the_next_credential_is_asked_for_and_kept(self, scripted: Scripted, open_http: Opened) -> None:
        """A 401 comes before any work, so the same body may go again, with a credential; later requests carry it."""
        asked: list[str] = []

        def source(url: str) -> Credential:
            asked.append(url)
            return Credential("me", f"pass{len(asked)}")

        server = scripted(http_reply(401), http_reply(401), APPLIED, APPLIED)
        store = open_http(server.url, HttpSettings(next_credential=source))
        assert swapped(store) == Applied()
        assert swapped(store) == Applied()
        assert asked == [server.url, server.url]
        assert [seen.headers.get("authorization", "") for seen in server.seen] == [
            *("", "Basic bWU6cGFzczE=", "Basic bWU6cGFzczI=", "Basic bWU6cGFzczI="),
        ]
        assert len({seen.body for seen in server.seen}) == 1

    def test_without_a_credential_a_401_is_a_refusal(self, scripted: Scripted, open_http: Opened) -> None:
        """A swap is refused, a read raises, both as authentication."""
        server = scripted(*[http_reply(401)] * 4)
        store = open_http(server.url, HttpSettings(next_credential=lambda _: None))
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.AUTHENTICATION
        with pytest.raises(RemoteError) as caught:
            present(store)
        assert caught.value.code == "authentication"

    def test_a_source_that_never_ends_is_given_up(self, scripted: Scripted, open_http: Opened) -> None:
        """Credentials are tried a few times only."""
        server = scripted(*[http_reply(401)] * 20)
        outcome = swapped(open_http(server.url, HttpSettings(next_credential=lambda _: Credential("a", "b"))))
        assert isinstance(outcome, Refused)
        assert len(server.seen) <= 4

    def test_a_configured_authorization_is_not_doubled(self, scripted: Scripted, open_http: Opened) -> None:
        """A header from the configuration goes alone."""
        server = scripted(EMPTY_LISTING)
        headers = (("AUTHORIZATION", "bearer abc"),)
        present(open_http(server.url, HttpSettings(headers=headers, credential=Credential("a", "b"))))
        assert server.seen[0].headers["authorization"] == "bearer abc"

    def test_a_server_cannot_make_us_print_a_credential(self, scripted: Scripted, open_http: Opened) -> None:
        """A reply that echoes what we sent is shown without it."""
        body = b"no: https://me:s3cretword@host, bWU6czNjcmV0d29yZA==, t0kent0ken"
        reply = http_reply(403, body, Content_Type="text/plain")
        server = scripted(*[reply] * 6)
        settings = HttpSettings(headers=(("X-Token", "t0kent0ken"),), credential=Credential("me", "s3cretword"))
        store = open_http(server.url, settings)
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        with pytest.raises(RemoteError) as caught:
            present(store)
        for text in (outcome.words, str(caught.value), caught.value.words, repr(settings)):
            assert not any(secret in text for secret in ("s3cretword", "bWU6czNjcmV0d29yZA", "t0kent0ken")), text


class TestConnections:
    """One connection, kept; and what happens when it dies."""

    def test_requests_share_one_connection(self, scripted: Scripted, open_http: Opened) -> None:
        """Ten listings need one connection."""
        server = scripted(*[EMPTY_LISTING] * 10)
        store = open_http(server.url)
        for _ in range(10):
            present(store)
        assert (server.connections, store.traffic.connections, store.traffic.requests) == (1, 1, 10)

    def test_a_read_on_a_connection_that_dies_is_sent_again(self, scripted: Scripted, open_http: Opened) -> None:
        """The server hangs up on the second request of a connection; a read may simply be repeated."""
        server = scripted(EMPTY_LISTING, b"", EMPTY_LISTING)
        store = open_http(server.url)
        present(store)
        present(store)
        assert (store.traffic.requests, store.traffic.retries, store.traffic.connections) == (3, 1, 2)

    def test_a_swap_on_a_connection_that_dies_is_unknown(self, scripted: Scripted, open_http: Opened) -> None:
        """The server may have acted before it hung up: the swap is not sent again by itself."""
        server = scripted(EMPTY_LISTING, b"", APPLIED)
        store = open_http(server.url)
        present(store)
        outcome = swapped(store)
        assert isinstance(outcome, Unknown)
        assert not outcome.nothing_sent
        assert sum(seen.line.startswith("POST /repo.git/git-receive-pack") for seen in server.seen) == 1

    def test_a_swap_does_not_use_a_connection_that_is_closed(self, scripted: Scripted, open_http: Opened) -> None:
        """A kept connection that the server has ended meanwhile is noticed before anything is sent."""
        server = scripted(EMPTY_LISTING, APPLIED)
        store = open_http(server.url)
        present(store)
        kept = store._reads._kept
        assert kept is not None
        server.hang_up_all()
        assert kept.sock.recv(1, 2) == b""  # the end has arrived (2: peek)
        assert swapped(store) == Applied()
        assert store.traffic.connections == 2

    def test_a_server_that_closes_is_not_kept(self, scripted: Scripted, open_http: Opened) -> None:
        """Connection: close is obeyed without a failed try."""
        server = scripted(EMPTY_LISTING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), APPLIED)
        store = open_http(server.url)
        present(store)
        assert swapped(store) == Applied()
        assert (store.traffic.connections, store.traffic.retries) == (2, 0)

    def test_without_a_connection_nothing_was_sent(self, open_http: Opened, scripted: Scripted) -> None:
        """A refused connection leaves no question open; an unknown host neither."""
        server = scripted()
        server.close()
        for url in (server.url, "http://nothing.invalid/repo.git"):
            outcome = swapped(open_http(url))
            assert isinstance(outcome, Unknown)
            assert outcome.nothing_sent
            with pytest.raises(RemoteError) as caught:
                present(open_http(url))
            assert (caught.value.code, caught.value.transient) == ("unreachable", True)


class TestProxies:
    """Plain and tunnelled."""

    def test_plain_http_goes_through_a_proxy_with_its_credentials(
        self, git_server: GitHttpServer, bare_repo: Repo, stack: ExitStack, open_http: Opened
    ) -> None:
        """The proxy gets absolute addresses and its own credentials, the server does not see these."""
        proxy = ProxyServer(auth=("us er", "p@ss"))
        stack.callback(proxy.close)
        settings = HttpSettings(proxy_url=f"http://us%20er:p%40ss@127.0.0.1:{proxy.port}")
        store = open_http(git_server.repo_url("repo.git"), settings)
        assert swapped(store) == Applied()
        assert proxy.lines == [f"POST {git_server.repo_url('repo.git')}/git-receive-pack HTTP/1.1"]
        assert bare_repo.ref(lock("a")) == ONE[0].oid

    def test_https_goes_through_a_tunnel(
        self, server_root: Path, bare_repo: Repo, tmp_path: Path, stack: ExitStack, open_http: Opened
    ) -> None:
        """The proxy sees the host and nothing else."""
        context, certificate = make_certificate(tmp_path)
        server = stack.enter_context(GitHttpServer(server_root, tls=context))
        proxy = ProxyServer(auth=("me", "pw"))
        stack.callback(proxy.close)
        settings = HttpSettings(proxy_url=f"me:pw@127.0.0.1:{proxy.port}", ca_file=str(certificate))
        store = open_http(server.repo_url("repo.git"), settings)
        assert swapped(store) == Applied()
        assert set(present(store)) == {lock("a")}
        assert proxy.lines == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
        assert bare_repo.ref(lock("a")) == ONE[0].oid

    def test_a_plain_proxy_that_refuses_is_an_authentication_error(
        self, git_server: GitHttpServer, bare_repo: Repo, stack: ExitStack, open_http: Opened
    ) -> None:
        """A 407 for the request itself came before any work."""
        proxy = ProxyServer(auth=("me", "right"))
        stack.callback(proxy.close)
        settings = HttpSettings(proxy_url=f"http://127.0.0.1:{proxy.port}")
        store = open_http(git_server.repo_url("repo.git"), settings)
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.AUTHENTICATION
        with pytest.raises(RemoteError, match="407") as caught:
            present(store)
        assert caught.value.code == "authentication"

    def test_a_proxy_that_refuses_is_named_without_its_password(
        self, server_root: Path, tmp_path: Path, stack: ExitStack, open_http: Opened
    ) -> None:
        """A 407 is an authentication error and nothing was sent."""
        context, certificate = make_certificate(tmp_path)
        server = stack.enter_context(GitHttpServer(server_root, tls=context))
        proxy = ProxyServer(auth=("me", "right"))
        stack.callback(proxy.close)
        settings = HttpSettings(proxy_url=f"http://me:wr0ngpass@127.0.0.1:{proxy.port}", ca_file=str(certificate))
        store = open_http(server.repo_url("repo.git"), settings)
        with pytest.raises(RemoteError, match="407") as caught:
            present(store)
        assert caught.value.code == "authentication"
        assert "wr0ngpass" not in str(caught.value)
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.AUTHENTICATION

    def test_a_proxy_over_tls_is_refused_in_words(self, open_http: Opened) -> None:
        """What is not supported says so at once."""
        with pytest.raises(RemoteError, match="over TLS is not supported"):
            open_http("http://127.0.0.1/x", HttpSettings(proxy_url="https://127.0.0.1:1"))


class TestTls:
    """Certificates."""

    def test_a_trusted_certificate_is_accepted(
        self, server_root: Path, bare_repo: Repo, tmp_path: Path, stack: ExitStack, open_http: Opened
    ) -> None:
        """A store speaks TLS with a configured authority, on one kept connection, and without checks when told so."""
        context, certificate = make_certificate(tmp_path)
        server = stack.enter_context(GitHttpServer(server_root, tls=context))
        url = server.repo_url("repo.git")
        store = open_http(url, HttpSettings(ca_file=str(certificate)))
        assert swapped(store) == Applied()
        assert set(present(store)) == {lock("a")}
        assert store.traffic.connections == 1
        assert set(present(open_http(url, HttpSettings(verify_tls=False)))) == {lock("a")}
        assert bare_repo.ref(lock("a")) == ONE[0].oid

    def test_an_unknown_certificate_is_an_error_of_its_own(
        self, server_root: Path, tmp_path: Path, stack: ExitStack, open_http: Opened
    ) -> None:
        """Nothing is sent to a server that cannot prove who it is, and trying again is of no use."""
        context, _ = make_certificate(tmp_path)
        server = stack.enter_context(GitHttpServer(server_root, tls=context))
        store = open_http(server.repo_url("repo.git"))
        with pytest.raises(RemoteError, match=r"certificate of 127\.0\.0\.1") as caught:
            present(store)
        assert (caught.value.code, caught.value.transient) == ("tls", False)
        outcome = swapped(store)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.OTHER

    def test_unreadable_certificates_are_named(self, open_http: Opened, scripted: Scripted, tmp_path: Path) -> None:
        """A configured file that does not exist is the user's to fix."""
        url = scripted().url.replace("http:", "https:")
        store = open_http(url, HttpSettings(ca_file=str(tmp_path / "missing.pem")))
        with pytest.raises(RemoteError, match="configured certificates cannot be used"):
            present(store)


class TestAddresses:
    """URLs."""

    @pytest.mark.parametrize(
        ("url", "origin", "target"),
        [
            ("http://Host/a b?x#frag", Origin("http", "host", 80), "/a%20b?x"),
            ("https://u:p@host:444/ä%20", Origin("https", "host", 444), "/%C3%A4%20"),
            ("HTTPS://[::1]:5/x", Origin("https", "::1", 5), "/x"),
            ("http://host?q=/", Origin("http", "host", 80), "/?q=/"),
        ],
    )
    def test_an_address_is_taken_apart(self, url: str, origin: Origin, target: str) -> None:
        """Hosts are lower case, paths are encoded once, fragments are dropped."""
        found = Address.parse(url)
        assert (found.origin, found.target) == (origin, target)

    @pytest.mark.parametrize(
        "url",
        ["ftp://x/", "x", "http:///x", "http://h:0/", "http://h:99999/", "http://h:a/", f"http://h:{'1' * 5000}/"],
        ids=lambda url: url[:16],
    )
    def test_what_is_no_address_is_refused(self, url: str) -> None:
        """Other schemes and impossible ports raise."""
        with pytest.raises(RemoteError):
            Address.parse(url)

    def test_the_host_header_names_a_port_only_when_it_matters(self) -> None:
        """IPv6 addresses stand in brackets."""
        assert replace(Origin("http", "h", 80)).authority == "h"
        assert Origin("https", "h", 80).authority == "h:80"
        assert Origin("https", "::1", 443).authority == "[::1]"
