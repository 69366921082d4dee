"""Proxies, certificates and times: the proxy that git uses is watched, the rest follows its manual."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gitref_lock.remotes import gitconfig
from gitref_lock.remotes.address import parse_address
from gitref_lock.remotes.gitconfig import RemoteConfigError
from gitref_lock.remotes.http_settings import Surroundings, bypasses_proxy, http_settings, proxy_for
from gitref_lock.remotes.settings import HttpSettings


def around(
    home: Path, text: str = "", environ: Mapping[str, str] | None = None, proxy: str | None = None
) -> Surroundings:
    """One user file, one environment."""
    (home / ".gitconfig").write_text(text, "utf-8")
    full = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", **(environ or {})}
    return Surroundings(gitconfig.load(None, None, None, full), full, home, proxy)


def settings_for(url: str, where: Surroundings) -> HttpSettings:
    return http_settings(parse_address(url, where.top, where.environ), url, where)


class WatchedProxy:
    """A proxy that refuses everything and counts who came."""

    def __init__(self) -> None:
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            visitor, _ = self._listener.accept()
            with visitor:
                first = visitor.recv(4096)
                if first == b"end":
                    return
                self.visits += 1
                visitor.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"end")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[WatchedProxy]:
    watched = WatchedProxy()
    yield watched
    watched.close()


PROXY_CASES: list[tuple[str, str, dict[str, str], str | None]] = [
    ("http", "", {}, None),
    ("http", "", {"http_proxy": "P"}, None),
    ("http", "", {"http_proxy": "http://P/"}, None),
    ("http", "", {"HTTP_PROXY": "P"}, None),
    ("http", "", {"https_proxy": "P"}, None),
    ("https", "", {"http_proxy": "P"}, None),
    ("https", "", {"https_proxy": "P"}, None),
    ("https", "", {"HTTPS_PROXY": "http://P"}, None),
    ("https", "", {"HTTPS_PROXY": "P", "https_proxy": ""}, None),
    ("http", "", {"all_proxy": "P"}, None),
    ("http", "", {"ALL_PROXY": "P"}, None),
    ("http", "", {"ALL_PROXY": "P", "http_proxy": ""}, None),
    ("http", "[http]\nproxy = P\n", {}, None),
    ("https", "[http]\nproxy = P\n", {}, None),
    ("http", "[http]\nproxy =\n", {"http_proxy": "P"}, None),
    ("http", '[http "http://h.invalid"]\nproxy = P\n', {}, None),
    ("http", '[http "http://other.invalid"]\nproxy = P\n', {}, None),
    ("http", '[http]\nproxy = P\n[http "http://h.invalid"]\nproxy =\n', {}, None),
    ("http", "[http]\nproxy = P\n", {}, ""),
    ("http", "", {}, "P"),
    ("http", "", {"http_proxy": "P", "no_proxy": "h.invalid"}, None),
    ("http", "", {"http_proxy": "P", "NO_PROXY": "h.invalid"}, None),
    ("http", "", {"http_proxy": "P", "NO_PROXY": "h.invalid", "no_proxy": ""}, None),
    ("http", "[http]\nproxy = P\n", {"no_proxy": "h.invalid"}, None),
    ("http", "", {"http_proxy": "P", "no_proxy": ".invalid"}, None),
    ("http", "", {"http_proxy": "P", "no_proxy": "invalid"}, None),
    ("http", "", {"http_proxy": "P", "no_proxy": "nvalid"}, None),
    ("http", "", {"http_proxy": "P", "no_proxy": "*"}, None),
    ("http", "", {"http_proxy": "P", "no_proxy": "*.invalid"}, None),
    ("http", "", {"http_proxy": "P", "no_proxy": "a, H.INVALID ,b"}, None),
    ("http", "", {"http_proxy": "P", "no_proxy": "a h.invalid"}, None),
]


@pytest.mark.parametrize(("scheme", "text", "variables", "own"), PROXY_CASES)
def test_the_proxy_is_the_one_git_goes_to(
    tmp_path: Path, proxy: WatchedProxy, scheme: str, text: str, variables: dict[str, str], own: str | None
) -> None:
    """Settings, variables and exceptions send us to the proxy exactly when git is seen there."""
    place = f"127.0.0.1:{proxy.port}"
    filled = {name: value.replace("P", place) for name, value in variables.items()}
    text = text.replace("P", place)
    own = own and own.replace("P", place)
    remote = "" if own is None else f'[remote "o"]\nproxy = {own}\n'
    url = f"{scheme}://h.invalid/r"
    where = around(tmp_path, f'{text}{remote}[remote "o"]\nurl = {url}\n', filled, own)
    environ = {**where.environ, "PATH": os.environ["PATH"], "GIT_TERMINAL_PROMPT": "0"}
    subprocess.run(["git", "ls-remote", "o"], cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert proxy_for(url, where) == (f"http://{place}" if proxy.visits else None)


@pytest.mark.parametrize(
    ("proxy_text", "expected"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example", "http://proxy.example:1080"),
        ("http://u:p%40x@proxy.example:3128/", "http://u:p%40x@proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("http://[::1]", "http://[::1]:1080"),
        ("[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_a_proxys_address_is_completed(tmp_path: Path, proxy_text: str, expected: str) -> None:
    """Scheme and port have curl's defaults; user info stays as encoded."""
    assert proxy_for("https://h.example/r", around(tmp_path, f"[http]\nproxy = {proxy_text}\n")) == expected


@pytest.mark.parametrize("proxy_text", ["socks5://p:1", "ftp://p", "http://", "http://p:x"])
def test_a_proxy_that_cannot_be_used_is_an_error(tmp_path: Path, proxy_text: str) -> None:
    """A bad proxy is reported, never taken for something else."""
    with pytest.raises(RemoteConfigError) as caught:
        proxy_for("https://h.example/r", around(tmp_path, f"[http]\nproxy = {proxy_text}\n"))
    assert caught.value.code == "unsupported-proxy"


@pytest.mark.parametrize(
    ("host", "exceptions", "is_direct"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "11.0.0.0/8", False),
        ("10.1.2.3", "1.2.3", False),
        ("10.1.2.3", "10.0.0.0/x", False),
        ("[::1]", "::1", True),
        ("[::1]", "[::1]", True),
        ("[fd00::1]", "fd00::/8", True),
        ("h.example.", "h.example", True),
        ("h.example", "h.example.", True),
        ("h.example", ",, ", False),
    ],
)
def test_addresses_and_networks_bypass_the_proxy(host: str, exceptions: str, is_direct: bool) -> None:
    """Addresses match as addresses, networks by their prefix."""
    assert bypasses_proxy(host, exceptions) is is_direct


def test_certificates_come_from_variables_before_settings(tmp_path: Path) -> None:
    """GIT_SSL_* win over http.ssl*, paths are expanded, verification goes off only by its own switches."""
    text = "[http]\nsslCAInfo = ~/ca.pem\nsslCAPath = certs\nsslCert = /c\nsslKey = /k\n"
    plain = settings_for("https://h.example/r", around(tmp_path, text))
    assert (plain.ca_file, plain.ca_path) == (str(tmp_path / "ca.pem"), str(tmp_path / "certs"))
    assert (plain.client_cert, plain.client_key, plain.verify_tls) == ("/c", "/k", True)
    by_variable = settings_for(
        "https://h.example/r",
        around(
            tmp_path, text, {"GIT_SSL_CAINFO": "/v", "GIT_SSL_CAPATH": "/w", "GIT_SSL_CERT": "/x", "GIT_SSL_KEY": "/y"}
        ),
    )
    assert (by_variable.ca_file, by_variable.ca_path) == ("/v", "/w")
    assert (by_variable.client_cert, by_variable.client_key) == ("/x", "/y")
    assert settings_for("https://h.example/r", around(tmp_path, "", {"CURL_CA_BUNDLE": "/b"})).ca_file == "/b"
    assert settings_for("https://h.example/r", around(tmp_path, "", {"GIT_SSL_NO_VERIFY": ""})).verify_tls is False
    assert settings_for("https://h.example/r", around(tmp_path, "[http]\nsslVerify = false\n")).verify_tls is False


@pytest.mark.parametrize(
    ("text", "environ", "expected_s"),
    [
        ("", {}, HttpSettings().read_timeout_s),
        ("[http]\ntimeout = 7\n", {}, 7.0),
        ("[http]\nlowSpeedLimit = 1\nlowSpeedTime = 9\n", {}, 9.0),
        ("[http]\nlowSpeedTime = 9\n", {}, HttpSettings().read_timeout_s),
        ("", {"GIT_HTTP_LOW_SPEED_LIMIT": "1k", "GIT_HTTP_LOW_SPEED_TIME": "5"}, 5.0),
        ('[http "https://h.example"]\ntimeout = 2.5\n', {}, 2.5),
    ],
)
def test_silence_is_borne_as_long_as_git_would(
    tmp_path: Path, text: str, environ: dict[str, str], expected_s: float
) -> None:
    """Git's low-speed limit, or a timeout of its own, bounds a silent server."""
    assert settings_for("https://h.example/r", around(tmp_path, text, environ)).read_timeout_s == expected_s


def test_headers_follow_curl(tmp_path: Path) -> None:
    """Space around name and value goes; a line without a value sends nothing."""
    text = "[http]\nextraHeader = A:1\nextraHeader = B : 2 : 3\nextraHeader = C:\nextraHeader = D\n"
    assert settings_for("https://h.example/r", around(tmp_path, text)).headers == (("A", "1"), ("B", "2 : 3"))
