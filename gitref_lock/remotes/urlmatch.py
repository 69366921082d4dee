"""Which settings scoped to a URL apply to an address, and which of them is the most specific.

A token must reach exactly the server it is configured for, so the comparison is git's own: normalised text, host names
label by label with ``*`` for a whole label, paths by whole segments. Source: git-config(1), ``http.<url>.*``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


class UrlParts(NamedTuple):
    """A normalised address: lower-case scheme and host, no default port, dot segments resolved."""

    scheme: str
    user: str | None
    host: str
    port: str
    path: str


class Specificity(NamedTuple):
    """How narrowly a setting is scoped; compares as git compares: host, then path, then user."""

    host_length: int = 0
    path_length: int = 0
    has_user: bool = False


def normalise(url: str) -> UrlParts | None:
    """Split and normalise an address; None for what is no URL with a host (a path, an scp-like address)."""
    scheme, sep, rest = url.partition("://")
    if not sep or not _SCHEME.fullmatch(scheme):
        return None
    authority, path = _split_at(rest, "/?#")
    userinfo, at, hostport = authority.rpartition("@")
    host, port = _split_port(hostport)
    scheme = scheme.lower()
    port = port.lstrip("0") if port else ""
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        return None
    if port == _DEFAULT_PORTS.get(scheme):
        port = ""
    path, _ = _split_at(path, "?#")
    resolved = _resolve_dots(_escapes(path) or "/")
    if resolved is None or (not host and scheme != "file"):
        return None
    return UrlParts(scheme, _escapes(userinfo.partition(":")[0]) if at else None, host.lower(), port, resolved)


def match_url(url: UrlParts, pattern: str) -> Specificity | None:
    """Compare an address with a configured one; None when the setting does not apply."""
    wanted = normalise(pattern)
    if wanted is None or wanted.scheme != url.scheme or wanted.port != url.port:
        return None
    if wanted.user is not None and wanted.user != url.user:
        return None
    if not _same_host(url.host, wanted.host):
        return None
    length = _path_prefix(url.path, wanted.path)
    if not length:
        return None
    return Specificity(len(wanted.host), length, wanted.user is not None)


def _split_at(text: str, stops: str) -> tuple[str, str]:
    """Split before the first of several characters."""
    at = min((found for stop in stops if (found := text.find(stop)) >= 0), default=len(text))
    return text[:at], text[at:]


def _split_port(hostport: str) -> tuple[str, str]:
    """Split host and port; brackets of an IPv6 address stay with the host."""
    close = hostport.rfind("]")
    host, colon, port = hostport[close + 1 :].rpartition(":")
    return (hostport[: close + 1] + host, port) if colon else (hostport, "")


def _escapes(text: str) -> str:
    """Write percent escapes one way: unreserved characters plain, the others with upper-case digits."""

    def one(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if char in _UNRESERVED else f"%{found[1].upper()}"

    return re.sub("%([0-9A-Fa-f]{2})", one, text)


def _resolve_dots(path: str) -> str | None:
    """Resolve ``.`` and ``..``; None when the path would leave the root, which git calls an invalid URL."""
    out: list[str] = []
    segments = path.split("/")[1:]
    for index, segment in enumerate(segments):
        is_last = index == len(segments) - 1
        if segment in {".", ".."}:
            if segment == "..":
                if not out:
                    return None
                out.pop()
            if is_last:
                out.append("")
        else:
            out.append(segment)
    return "/" + "/".join(out)


def _same_host(host: str, pattern: str) -> bool:
    """Compare label by label; a pattern's ``*`` stands for one whole label."""
    labels, wanted = host.split("."), pattern.split(".")
    return len(labels) == len(wanted) and all(w in {"*", label} for label, w in zip(labels, wanted, strict=True))


def _path_prefix(path: str, prefix: str) -> int:
    """Return the length of a prefix of whole segments, its slash counted; 0 when it is none."""
    if prefix in {"", "/"}:
        return 1
    prefix = prefix.removesuffix("/")
    return len(prefix) + 1 if path == prefix or path.startswith(f"{prefix}/") else 0
