"""From work tree bytes to blob bytes and back: line ends here, everything else by an installed git.

Only conversions that are a pure function of content, attributes and configuration are done in-process. Filters, ident
and other encodings raise NeedsGitError with the reason; the caller hands the step to git or refuses it.
The rules are those of gitattributes(5), "text", "eol" and core.autocrlf in git-config(1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gitref_lock.landing.attributes import Attributes, Value
from gitref_lock.landing.checkout import Checkout, text
from gitref_lock.landing.errors import NeedsGitError, StagingError
from gitref_lock.remotes.gitconfig_values import parse_bool

if TYPE_CHECKING:
    from dulwich.line_ending import CRLFAction

_AUTO = ("AUTO_INPUT", "AUTO_CRLF")
_TO_CRLF = ("TEXT_CRLF", "AUTO_CRLF")
_LFS_POINTER = b"version https://git-lfs"
_ODD_CONTROLS = bytes(byte for byte in range(1, 32) if byte not in b"\b\t\n\f\r\x1b") + b"\x7f"


class _Counts(NamedTuple):
    nul: int
    lone_cr: int
    lone_lf: int
    crlf: int
    odd: int
    printable: int


def _count(data: bytes) -> _Counts:
    crlf = data.count(b"\r\n")
    nul = data.count(b"\0")
    line_ends = data.count(b"\r") + data.count(b"\n")
    odd = len(data) - len(data.translate(None, _ODD_CONTROLS))
    if data.endswith(b"\x1a"):
        odd -= 1  # a final Ctrl-Z was DOS's end of file
    plain = len(data) - line_ends - nul - odd
    return _Counts(nul, data.count(b"\r") - crlf, data.count(b"\n") - crlf, crlf, odd + nul, plain)


def _looks_binary(counts: _Counts) -> bool:
    """Git's guess for text=auto: a lone CR, a NUL, or more than one odd control in 128 printable bytes."""
    return counts.lone_cr > 0 or counts.nul > 0 or (counts.printable >> 7) < counts.odd


class Converter:
    """Conversion for one checkout."""

    def __init__(self, checkout: Checkout, attributes: Attributes) -> None:
        """Read the settings that matter."""
        self._checkout = checkout
        self._attributes = attributes
        auto = (checkout.setting("core", "autocrlf") or "false").lower()
        is_input = auto == "input"
        self._autocrlf = b"input" if is_input else b"true" if parse_bool(auto, "core.autocrlf") else b"false"
        self._eol = (checkout.setting("core", "eol") or "native").lower()
        safe = (checkout.setting("core", "safecrlf") or "warn").lower()
        self._is_safecrlf_strict = safe != "warn" and parse_bool(safe, "core.safecrlf")

    def _leaves_line_ends(self, attributes: Mapping[bytes, Value]) -> bool:
        """Tell whether neither attributes nor configuration say a word about line ends, as is so almost everywhere."""
        return self._autocrlf == b"false" and not attributes.keys() & {b"text", b"crlf", b"eol"}

    def _action(self, attributes: Mapping[bytes, Value]) -> CRLFAction:
        from dulwich.line_ending import resolve_crlf_action  # late: it brings filters, patches and mail with it

        return resolve_crlf_action(attributes, self._eol, self._autocrlf)

    def _require_plain(self, path: bytes, attributes: Mapping[bytes, Value], data: bytes) -> None:
        encoding = attributes.get(b"working-tree-encoding")
        if encoding is not None and encoding is not False:
            raise NeedsGitError(f"{text(path)} has a working-tree-encoding")
        if attributes.get(b"ident") is True and b"$Id" in data:
            raise NeedsGitError(f"{text(path)} has the ident attribute")
        driver = attributes.get(b"filter")
        if isinstance(driver, bytes) and driver:
            name = text(driver)
            if any(self._checkout.setting("filter", key, name) for key in ("clean", "process", "smudge", "required")):
                raise NeedsGitError(f"{text(path)} goes through the filter {name}")
            if driver == b"lfs" and not data.startswith(_LFS_POINTER):
                raise StagingError(
                    "lfs-missing",
                    f"{text(path)} is tracked by Git LFS, which is not set up here",
                    "install git-lfs and run 'git lfs install', or remove the filter=lfs attribute",
                )

    def to_git(self, path: bytes, data: bytes, in_index: bytes | None) -> bytes:
        """Return the blob content for a regular file's ``data``.

        ``in_index`` is the id of the blob that the index holds for the path now, None for a new one: with text=auto git
        leaves CRLF alone where it is committed already.
        """
        attributes = self._attributes.of(path)
        self._require_plain(path, attributes, data)
        if not data or self._leaves_line_ends(attributes):
            return data
        action = self._action(attributes).name
        if action == "BINARY":
            return data
        if self._is_safecrlf_strict:
            raise NeedsGitError("core.safecrlf is true")
        if b"\r\n" not in data:
            return data
        if action in _AUTO:
            if _looks_binary(_count(data)):
                return data
            present = self._checkout.known_blob(in_index) if in_index is not None else b""
            if b"\r" in present:
                counts = _count(present)
                if counts.crlf and not _looks_binary(counts):
                    return data
        return data.replace(b"\r\n", b"\n")

    def to_work_tree(self, path: bytes, data: bytes) -> bytes:
        """Return what a checkout writes for the blob ``data`` of a regular file."""
        attributes = self._attributes.of(path)
        try:
            self._require_plain(path, attributes, data)
        except StagingError:
            return data  # without git-lfs a checkout leaves whatever the repository holds
        if b"\n" not in data or self._leaves_line_ends(attributes):
            return data
        action = self._action(attributes).name
        if action not in _TO_CRLF:
            return data
        counts = _count(data)
        if counts.lone_lf == 0:
            return data
        if action == "AUTO_CRLF" and (counts.crlf or _looks_binary(counts)):
            return data
        return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
