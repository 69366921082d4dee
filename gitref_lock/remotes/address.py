"""One remote address in any form git knows, taken apart: transport, address without credentials, credentials.

Deciding the transport here, once, is what keeps a mistyped proxy or an odd path from being taken for an ssh host.
Source: git-fetch(1), "GIT URLS".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.remotes.gitconfig import RemoteConfigError, expand_path
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.settings import Scheme

_SSH = {"ssh", "git+ssh", "ssh+git"}
_HELPER = re.compile(r"([A-Za-z0-9]+)::")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Address:
    """An address. ``url`` holds no password; for HTTP no user name either. For paths it is an absolute path.

    A scp-like address stays as it is: its path means something else than the path of an ``ssh://`` URL.
    """

    scheme: Scheme
    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_address(text: str, base: Path, environ: Mapping[str, str]) -> Address:
    """Take an address apart; relative paths refer to ``base``. Raises RemoteConfigError, never showing a credential."""
    if not text or _CONTROL.search(text):
        raise _bad(text, "it is empty or holds control characters")
    helper = _HELPER.match(text)
    if helper is not None:
        raise _unsupported(f"{helper[1]}::")
    scheme, separator, rest = text.partition("://")
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return _parse_url(text, scheme.lower(), rest)
    if is_local(text):
        path = Path(base, expand_path(text, environ))
        return Address("path", os.path.abspath(path))  # noqa: PTH100 - a symbolic link is for the server side to follow
    place = text.partition(":")[0] if "[" not in text else text
    if place.startswith("-") or "@-" in place.partition("/")[0]:
        raise _bad(text, "a host must not look like an option")
    return Address("ssh", text)


def is_local(text: str) -> bool:
    """Tell a path from a scp-like address: no colon before the first slash, or no colon at all."""
    colon, slash = text.find(":"), text.find("/")
    return "://" not in text and (colon < 0 or 0 <= slash < colon)


def _parse_url(text: str, scheme: str, rest: str) -> Address:
    if scheme == "file":
        path = _decoded(rest, text)
        if not rest.startswith("/"):
            path = f"//{path}"  # git takes a host for part of the path
        return Address("path", os.path.normpath(path))
    if scheme not in {"http", "https", "git", *_SSH}:
        raise _unsupported(f"{scheme}://")
    end = min((found for stop in "/?#" if (found := rest.find(stop)) >= 0), default=len(rest))
    userinfo, at, place = rest[:end].rpartition("@")
    _check_place(text, place)
    user, colon, password = userinfo.partition(":")
    if scheme in {"http", "https"}:
        return Address(
            "http",
            f"{scheme}://{place}{rest[end:]}",
            _decoded(user, text) if at else None,
            _decoded(password, text) if colon else None,
        )
    if user.startswith("-"):
        raise _bad(text, "a user must not look like an option")
    if len(rest[end:].strip("/")) == 0:
        raise _bad(text, "it names no repository")
    if scheme == "git":
        return Address("git", f"git://{place}{rest[end:]}")
    return Address(
        "ssh", f"ssh://{user}{at if user else ''}{place}{rest[end:]}", _decoded(user, text) if user else None
    )


def _check_place(text: str, place: str) -> None:
    """Refuse a host and port that no transport could use."""
    found = re.fullmatch(r"(\[[^\[\]\s/]+\]|[^\s:\[\]]+)(?::(\d{0,5}))?", place)
    if found is None or (found[2] and not 0 < int(found[2]) < 65536):
        raise _bad(text, "host and port cannot be read")
    if found[1].startswith("-"):
        raise _bad(text, "a host must not look like an option")


def _decoded(part: str, whole: str) -> str:
    """Decode percent escapes; the result must be text without line breaks, which credential programs cannot take."""
    if "%" not in part:
        return part
    from urllib.parse import unquote  # late: most addresses have no escapes

    try:
        plain = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _bad(whole, "its escapes are no UTF-8") from None
    if _CONTROL.search(plain):
        raise _bad(whole, "it holds control characters")
    return plain


def _bad(text: str, words: str) -> RemoteConfigError:
    shown = _CONTROL.sub("?", redact(text))[:200]
    return RemoteConfigError("bad-address", f"the remote's address {shown!r} cannot be used: {words}")


def _unsupported(transport: str) -> RemoteConfigError:
    return RemoteConfigError(
        "unsupported-transport",
        f"remotes over {transport} are not supported",
        "use https, http, ssh, git or a path",
    )
