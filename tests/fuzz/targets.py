"""Every fuzz target by name, the most exposed first, with the bounds of its inputs and words worth trying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import core_targets, local_targets, merge_targets, object_targets, remote_targets

CORPUS = Path(__file__).parent / "corpus"
KIB = 1024


class Target(NamedTuple):
    """``run`` raises only for a finding. Inputs have at most ``max_bytes``; ``words`` help to find new ones.

    ``slowdown`` is how many times longer loops of ours take while they are watched. ``is_json``: inputs are JSON.
    """

    run: Callable[[bytes], None]
    max_bytes: int = 64 * KIB
    words: tuple[bytes, ...] = ()
    slowdown: int = 1
    is_json: bool = False


_JSON = (b"null", b"true", b"1e400", b"-0", b"\\ud800", b"\\u0000", b"[", b"]", b"{", b"}", b'"":', b",", b"9" * 20)
_RECORD = (b'"schema": 1', b'"lock": "main"', b'"state": "held"', b'"nonce": ', b'"extra": ', b"2026-01-31T12:00:00Z")
_MERGE = (b"\n=====\n", b"(absent)", b"\r\n", b"\n\n")
_WIRE = (
    b"0000",
    b"0001",
    b"0002",
    b"0004",
    b"ffff",
    b"unpack ok\n",
    b"ok ",
    b"ng ",
    b"ERR ",
    b"\x01",
    b"\x02",
    b"\x03",
)
_HTTP = (
    b"HTTP/1.1 200 OK\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: ",
    b"Retry-After: ",
    b"Location: ",
)
_WORDS = (b"://", b"token=", b"Authorization: ", b"' exists; cannot create '", b"ssh://", b"@", b"bearer ", b"ghp_")
_CONFIG = (b"[", b'"]', b"\\\n", b"= ", b"https://", b"[include]", b"-9223372036854775808", b"%2e", b":65535")
_TREE = (b"100644 ", b"40000 ", b"160000 ", b"\0", b"@1", b".git", b".gitmodules", b"git~1", b"tree\n", b"\n=====\n")

TARGETS: dict[str, Target] = {
    "record": Target(core_targets.record, is_json=True, words=_JSON + _RECORD),
    "ticket": Target(
        core_targets.ticket, is_json=True, words=_JSON + _RECORD + (b'"rules": [[', b"**/", b"[!", b"\n=====\n")
    ),
    "wire": Target(remote_targets.wire, words=_WIRE),
    "pack": Target(remote_targets.pack, words=(b"PACK", b"s\x02", b"s\x0c", b"r", b"\x78\x9c")),
    "http": Target(remote_targets.http1, words=(*_HTTP, b"\r\n\r\n", b"0\r\n")),
    "gitconfig": Target(local_targets.gitconfig, words=_CONFIG),
    "merge-json": Target(merge_targets.json_keys, is_json=True, words=_JSON + _MERGE),
    "merge-text": Target(merge_targets.text, slowdown=10, words=(*_MERGE, b"\x00", b"<<<<<<< ")),
    "words": Target(remote_targets.words, words=_WORDS),
    "objects": Target(object_targets.objects, words=_TREE),
    "merge-lines": Target(merge_targets.lines, is_json=True, words=_MERGE + _JSON + (b'"', b'{"id":', b"id,")),
    "history": Target(core_targets.history, is_json=True, words=(*_JSON, b'"event":"renew"', b"\n")),
    "names": Target(
        core_targets.names, 4 * KIB, (b"refs/locks/", b"t-0000000000000000-", b".lock", b"@{", b"\xed\xa0")
    ),
    "merge-toml": Target(merge_targets.toml, 8 * KIB, (*_MERGE, b"[[", b"]]", b" = ", b"'''", b"1979-05-27", b"inf")),
    "merge-yaml": Target(merge_targets.yaml, 2 * KIB, (*_MERGE, b"- ", b": ", b"|\n", b"? ", b"2001-01-01", b"<<: ")),
    "journal": Target(local_targets.journal, is_json=True, words=(*_JSON, b"Infinity", b'"paths":[')),
    "lease": Target(local_targets.lease, is_json=True, words=(*_JSON, b"\n=====\n", b'"boot_id":"boot"')),
    "config": Target(
        local_targets.config, 16 * KIB, (b"[workflows.", b"[tool.gitref-lock]", b" = ", b"ttl", b"90s", b"1e9")
    ),
    "workflows": Target(
        local_targets.workflows, words=(b"jobs:\n", b"- run: |\n", b"gitref-lock acquire", b"[", b"{", b"#")
    ),
    "attributes": Target(
        local_targets.attributes, 4 * KIB, (b"[attr]", b"**/", b"[[:alpha:]]", b"\\", b"!", b"\n=====\n")
    ),
}
