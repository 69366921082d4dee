"""How to speak HTTP to one address: headers, proxy, certificates and times, by git's and curl's rules.

Sources: git-config(1), ``http.*`` and ``remote.<name>.proxy``; git(1), "Environment Variables"; curl(1), "ENVIRONMENT".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.remotes import credentials
from gitref_lock.remotes.address import Address
from gitref_lock.remotes.gitconfig import GitConfig, RemoteConfigError, expand_path, parse_int
from gitref_lock.remotes.gitconfig_parse import bad_config
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.settings import Credential, HttpSettings
from gitref_lock.remotes.urlmatch import normalise


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What settings are looked up in. ``top`` is the folder for relative paths; ``remote_proxy`` the remote's own."""

    config: GitConfig
    environ: Mapping[str, str]
    top: Path
    remote_proxy: str | None = None


def http_settings(address: Address, full_url: str, around: Surroundings) -> HttpSettings:
    """Return the settings for an address. ``full_url`` may name a user, which settings can be scoped to.

    A configured Authorization header wins over every credential, and none is sent beside it, as in git.
    """
    config, environ = around.config, around.environ
    headers = _headers(config.get_all_for_url("http", full_url, "extraheader"))
    settings = HttpSettings(
        headers=headers,
        proxy_url=proxy_for(full_url, around),
        ca_file=_file("GIT_SSL_CAINFO", "sslcainfo", full_url, around) or _other_tools_ca(environ),
        ca_path=_file("GIT_SSL_CAPATH", "sslcapath", full_url, around),
        verify_tls="GIT_SSL_NO_VERIFY" not in environ
        and config.get_bool_for_url("http", full_url, "sslverify", default=True),
        client_cert=_file("GIT_SSL_CERT", "sslcert", full_url, around),
        client_key=_file("GIT_SSL_KEY", "sslkey", full_url, around),
    )
    settings = replace(settings, read_timeout_s=_read_timeout_s(full_url, around, settings.read_timeout_s))
    if any(name.lower() == "authorization" for name, _ in headers):
        return settings
    given = None if address.password is None else Credential(address.username or "", address.password)
    more = credentials.source(config, environ, around.top, username=address.username)
    return replace(settings, credential=given, next_credential=more)


def _headers(lines: list[str]) -> tuple[tuple[str, str], ...]:
    """Read ``Name: value`` lines; a line without a value removes or sends nothing, as curl has it."""
    found = []
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not value:
            continue
        if not name or any(ord(char) < 33 or ord(char) > 126 for char in name) or "\n" in value or "\r" in value:
            raise RemoteConfigError("bad-header", f"http.extraHeader {redact(name)[:40]!r} is no header", "Name: value")
        found.append((name, value))
    return tuple(found)


def _file(variable: str, key: str, url: str, around: Surroundings) -> str | None:
    """Return a file setting, the variable before the configuration; relative to where git would run."""
    named = around.environ.get(variable) or around.config.get_for_url("http", url, key)
    return str(around.top / expand_path(named, around.environ)) if named else None


def _other_tools_ca(environ: Mapping[str, str]) -> str | None:
    """Return a CA bundle set for other tools, which on build machines means every tool.

    Git does not look at these; a machine that sets them and not git's own would otherwise fail where curl works.
    """
    return environ.get("CURL_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or None


def _read_timeout_s(url: str, around: Surroundings, default: float) -> float:
    """Return how long silence is borne: ``http.timeout``, or git's low-speed limit, which silence always is below."""
    config, environ = around.config, around.environ

    def setting(variable: str, key: str) -> float:
        text = environ.get(variable) or config.get_for_url("http", url, key) or "0"
        try:
            seconds = float(text)
        except ValueError:
            seconds = float(parse_int(text, f"http.{key}"))
        if not 0 <= seconds < 1e9:
            raise bad_config(f"http.{key}", f"{text!r} is out of range")
        return seconds

    timeout = setting("", "timeout")
    if not timeout and setting("GIT_HTTP_LOW_SPEED_LIMIT", "lowspeedlimit"):
        timeout = setting("GIT_HTTP_LOW_SPEED_TIME", "lowspeedtime")
    return timeout or default


def proxy_for(url: str, around: Surroundings) -> str | None:
    """Return the proxy's URL for an address, None for a direct connection.

    The remote's own proxy, then ``http.proxy``, then the variables for the scheme (for plain http the lower-case one
    only: the other can be set by a web client of a CGI program); an empty value means direct. ``no_proxy`` counts
    for all of them.
    """
    parts = normalise(url)
    if parts is None:
        return None
    proxy = around.remote_proxy
    if proxy is None:
        proxy = around.config.get_for_url("http", url, "proxy")
    if proxy is None:
        names = ("https_proxy", "HTTPS_PROXY") if parts.scheme == "https" else ("http_proxy",)
        proxy = next((around.environ[n] for n in (*names, "all_proxy", "ALL_PROXY") if n in around.environ), None)
    if not proxy:
        return None
    exceptions = around.environ.get("no_proxy", around.environ.get("NO_PROXY", ""))
    if bypasses_proxy(parts.host, exceptions):
        return None
    return _proxy_url(proxy)


def _proxy_url(proxy: str) -> str:
    """Complete a proxy's address by curl's defaults: http, port 1080."""
    scheme, separator, rest = proxy.partition("://")
    if not separator:
        scheme, rest = "http", proxy
    scheme = scheme.lower()
    if scheme not in {"http", "https"}:
        raise RemoteConfigError(
            "unsupported-proxy", f"proxies of kind {scheme[:20]!r} are not supported", "use an http:// proxy"
        )
    parts = normalise(f"{scheme}://{rest}")
    authority = rest.partition("/")[0]
    if parts is None or not parts.host or parts.host.startswith("-"):
        raise RemoteConfigError("unsupported-proxy", f"the proxy {redact(proxy)[:200]!r} is no address")
    has_port = authority.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    default = "443" if scheme == "https" else "1080"
    return f"{scheme}://{authority.removesuffix(':')}{'' if has_port else f':{default}'}"


def bypasses_proxy(host: str, exceptions: str) -> bool:
    """Tell whether ``no_proxy`` names a host: itself or a parent domain, an address, a network, or ``*`` for all."""
    if exceptions.strip() == "*":
        return True
    name = host.removeprefix("[").removesuffix("]").removesuffix(".").lower()
    for word in exceptions.replace(",", " ").split():
        wanted = word.lower().removeprefix(".").removesuffix(".").removeprefix("[").removesuffix("]")
        if not wanted:
            continue
        if _is_ip(name):
            if name == wanted or ("/" in wanted and _in_network(name, wanted)):
                return True
        elif name == wanted or name.endswith(f".{wanted}"):
            return True
    return False


def _is_ip(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _in_network(name: str, network: str) -> bool:
    import ipaddress  # late: only a network in no_proxy needs it

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
