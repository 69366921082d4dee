"""HTTP(S) addresses taken apart: the origin, which is the border that credentials do not cross, and the target."""

from __future__ import annotations

from gitref_lock.core.lean import dataclass
from gitref_lock.ports import RemoteError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PLAIN = frozenset(b"!#$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: the border that credentials do not cross."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The ``Host`` header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _DEFAULT_PORTS.get(self.scheme) == self.port else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL: its origin, its path with query, and the user info it carried."""

    origin: Origin
    target: str
    userinfo: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse an absolute HTTP(S) URL; raise RemoteError for anything else."""
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in _DEFAULT_PORTS:
            raise RemoteError("unsupported", f"not an http or https address: {scheme[:20]!r}")
        rest = rest.partition("#")[0]
        border = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
        authority, path = rest[:border], rest[border:]
        userinfo, _, place = authority.rpartition("@")
        host, port = _host_and_port(place, _DEFAULT_PORTS[scheme])
        raw = (path if path.startswith("/") else f"/{path}").encode("utf-8", "surrogateescape")
        target = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)
        return cls(Origin(scheme, host.lower(), port), target, userinfo)


def _host_and_port(place: str, default: int) -> tuple[str, int]:
    """Split ``host:port`` or ``[address]:port``."""
    if place.startswith("["):
        host, _, tail = place[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    is_number = port.isascii() and port.isdigit() and len(port) <= 5  # Python reads no number of thousands of digits
    if not host or (port and not (is_number and 0 < int(port) < 65536)):
        raise RemoteError("unsupported", f"not a host and port: {place[:80]!r}")
    return host, int(port) if port else default
