"""Git's wire format as pure functions on bytes: what we ask and what a server's answer says.

Nothing here opens a connection. Every parser has a bound for what it keeps and raises WireError for anything that is
not git's answer, so that a hostile or broken server can neither stall a caller nor fill its memory.
Formats: gitprotocol-common(5), gitprotocol-pack(5), gitprotocol-v2(5), gitprotocol-capabilities(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import ZERO_OID, InvalidNameError, Oid, RefName, oid
from gitref_lock.core.refs import At, RefEdit
from gitref_lock.ports import FetchRequest
from gitref_lock.remotes.pktline import (
    DELIM_PKT,
    FLUSH_PKT,
    Packet,
    ServerSaidError,
    Special,
    WireError,
    collect_bands,
    data_of,
    next_of,
    packets_of,
    pkt,
    text_of,
)

AGENT = "agent=gitref-lock"
MAX_REFS = 2_000_000
MAX_REPORT_BYTES = 8 << 20
MAX_TEXT_BYTES = 256 << 20
"""How long a listing, or what comes before a pack, may be: a name may have 65 KiB, so a count is no bound."""


def _oid(text: str) -> Oid:
    try:
        return oid(text)
    except InvalidNameError as exc:
        raise WireError(str(exc)) from exc


def _bounded(packets: Iterator[Packet]) -> Iterator[Packet]:
    """Yield packets, and raise WireError when they hold more than MAX_TEXT_BYTES."""
    room = MAX_TEXT_BYTES
    for packet in packets:
        room -= len(packet) if isinstance(packet, bytes) else 0
        if room < 0:
            raise WireError(f"more than {MAX_TEXT_BYTES} bytes of text")
        yield packet


# Advertisements.


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What a service says about itself: protocol ``version`` (0 or 2), capabilities and, in version 0, its refs."""

    version: int
    capabilities: Mapping[str, str]
    refs: Mapping[RefName, Oid] = field(default_factory=dict)


def parse_capabilities(words: Iterable[str]) -> dict[str, str]:
    """Return capability names with their values ('' where a capability has none)."""
    return {name: value for name, _, value in (word.partition("=") for word in words) if name}


def parse_advertisement(packets: Iterator[Packet], *, head_only: bool = False) -> Advertisement:
    """Parse an advertisement of version 0, 1 or 2, with or without the ``# service`` head of smart HTTP.

    ``head_only`` stops after the first packet that names capabilities and leaves the refs out; so does an object format
    other than SHA-1, whose ids we cannot hold: the caller sees it among the capabilities.
    """
    packets = _bounded(packets)
    head = next_of(packets)
    if isinstance(head, bytes) and head.startswith(b"# service="):
        if next_of(packets) is not Special.FLUSH:
            raise WireError("no flush packet after the service line")
        head = next_of(packets)
    if head is Special.FLUSH:  # upload-pack of an empty repository
        return Advertisement(0, {})
    first = data_of(head)
    if text_of(first) == "version 2":
        words = []
        while (packet := next_of(packets)) is not Special.FLUSH:
            words.append(text_of(data_of(packet)))
        return Advertisement(2, parse_capabilities(words))
    if text_of(first) == "version 1":
        first = data_of(next_of(packets))
    line, separator, tail = first.partition(b"\0")
    if not separator and len(line) < 42:
        raise WireError(f"not an advertisement: {text_of(line)[:80]!r}")
    capabilities = parse_capabilities(text_of(tail).split())
    if head_only or capabilities.get("object-format", "sha1") != "sha1":
        return Advertisement(0, capabilities)
    refs: dict[RefName, Oid] = {}
    _add_ref(refs, text_of(line))
    while (packet := next_of(packets)) is not Special.FLUSH:
        text = text_of(data_of(packet))
        if not text.startswith("shallow "):
            _add_ref(refs, text)
    return Advertisement(0, capabilities, refs)


def _add_ref(refs: dict[RefName, Oid], line: str) -> None:
    """Add a line ``<oid> <ref>`` of an advertisement; peeled tags, ``.have`` and the empty list's line are no refs."""
    value, _, name = line.partition(" ")
    target = _oid(value)
    if name.endswith("^{}") or name == ".have":
        return
    if len(refs) >= MAX_REFS:
        raise WireError(f"more than {MAX_REFS} refs")
    refs[RefName(name)] = target


# Listing refs.


def ls_refs_request(prefixes: Sequence[str]) -> bytes:
    """Return the version 2 request that lists refs under ``prefixes``."""
    head = [pkt("command=ls-refs\n"), pkt(AGENT), pkt("object-format=sha1"), DELIM_PKT]
    return b"".join([*head, *(pkt(f"ref-prefix {prefix}\n") for prefix in prefixes), FLUSH_PKT])


def parse_ls_refs(packets: Iterator[Packet], prefixes: Sequence[str]) -> dict[RefName, Oid]:
    """Return the listed refs under ``prefixes``; a server may list more than was asked."""
    refs: dict[RefName, Oid] = {}
    packets = _bounded(packets)
    while (packet := next_of(packets)) is not Special.FLUSH:
        value, _, rest = text_of(data_of(packet)).partition(" ")
        if value != "unborn":
            _add_ref(refs, f"{value} {rest.partition(' ')[0]}")
    return under(refs, prefixes)


def under(refs: Mapping[RefName, Oid], prefixes: Sequence[str]) -> dict[RefName, Oid]:
    """Return the refs whose names begin with one of ``prefixes``."""
    starts = tuple(prefixes)
    return {name: value for name, value in refs.items() if name.startswith(starts)}


# Fetching.


def fetch_request_v2(request: FetchRequest, *, thin: bool) -> bytes:
    """Return the version 2 fetch that is answered with a pack at once (it says ``done``)."""
    head = [pkt("command=fetch"), pkt(AGENT), pkt("object-format=sha1"), DELIM_PKT]
    lines = ["thin-pack"] if thin else []
    lines += ["no-progress", "ofs-delta"]
    lines += [f"want {want}" for want in request.wants]
    lines += [f"shallow {commit}" for commit in request.shallow]
    if request.depth is not None:
        lines.append(f"deepen {request.depth}")
    if request.filter_spec is not None:
        lines.append(f"filter {request.filter_spec}")
    lines += [f"have {have}" for have in request.haves]
    lines.append("done")
    return b"".join([*head, *(pkt(line + "\n") for line in lines), FLUSH_PKT])


def fetch_request_v0(request: FetchRequest, offered: Mapping[str, str]) -> bytes:
    """Return the version 0 fetch for a server that offers ``offered``; raise WireError when it cannot serve us.

    ``multi_ack_detailed`` and ``thin-pack`` are asked for because some servers serve no one else; every acknowledgment
    is skipped, and without haves no pack is thin.
    """
    if "side-band-64k" not in offered:
        raise WireError("the server has no side-band-64k")
    if request.filter_spec is not None and "filter" not in offered:
        raise WireError("the server has no object filters")
    if (request.depth is not None or request.shallow) and "shallow" not in offered:
        raise WireError("the server serves no shallow clones")
    wished = ["multi_ack_detailed", "side-band-64k", "thin-pack", "ofs-delta", "no-progress"]
    words = [word for word in wished if word in offered]
    words += ["filter"] if request.filter_spec is not None else []
    caps = " ".join([*words, AGENT])
    lines = [f"want {want}{' ' + caps if index == 0 else ''}" for index, want in enumerate(request.wants)]
    lines += [f"shallow {commit}" for commit in request.shallow]
    if request.depth is not None:
        lines.append(f"deepen {request.depth}")
    if request.filter_spec is not None:
        lines.append(f"filter {request.filter_spec}")
    haves = b"".join(pkt(f"have {have}\n") for have in request.haves)
    return b"".join(pkt(line + "\n") for line in lines) + FLUSH_PKT + haves + pkt("done\n")


def unadvertised(request: FetchRequest, advertisement: Advertisement) -> Oid | None:
    """Return a wanted object that a version 0 server would refuse, since no ref of its advertisement points there.

    Some servers (JGit) then end the connection without a word, which looks like a broken network.
    """
    if {"allow-reachable-sha1-in-want", "allow-any-sha1-in-want"} & advertisement.capabilities.keys():
        return None
    tips = set(advertisement.refs.values())
    return next((want for want in request.wants if want not in tips), None)


@dataclass(frozen=True, slots=True)
class FetchReply:
    """A fetch's answer: shallow boundary changes and the pack."""

    pack: bytes
    shallow: tuple[Oid, ...] = ()
    unshallow: tuple[Oid, ...] = ()


def parse_fetch_v2(packets: Iterator[Packet], *, max_bytes: int) -> FetchReply:
    """Parse a version 2 fetch answer; raise TooLargeError when the pack exceeds ``max_bytes``."""
    boundary: dict[str, list[Oid]] = {"shallow": [], "unshallow": []}
    texts = _bounded(packets)
    while True:
        section = text_of(data_of(next_of(texts)))
        if section == "packfile":
            break
        if section not in {"shallow-info", "acknowledgments", "wanted-refs"}:
            raise WireError(f"unknown section {section[:40]!r}")
        while (packet := next_of(texts)) is not Special.DELIM:
            _boundary_line(text_of(data_of(packet)), boundary)
    pack = collect_bands(packets, max_bytes=max_bytes).data
    return FetchReply(pack, tuple(boundary["shallow"]), tuple(boundary["unshallow"]))


def _boundary_line(line: str, boundary: Mapping[str, list[Oid]]) -> bool:
    """Note a ``shallow`` or ``unshallow`` line; return whether it was one."""
    word, _, value = line.partition(" ")
    if word not in boundary:
        return False
    boundary[word].append(_oid(value))
    return True


def parse_fetch_v0(packets: Iterator[Packet], *, with_shallow: bool, max_bytes: int) -> FetchReply:
    """Parse a version 0 fetch answer; ``with_shallow`` says that a boundary section comes first (a depth was asked)."""
    boundary: dict[str, list[Oid]] = {"shallow": [], "unshallow": []}
    if with_shallow:
        texts = _bounded(packets)
        while (packet := next_of(texts)) is not Special.FLUSH:
            if not _boundary_line(text_of(data_of(packet)), boundary):
                raise WireError("not a shallow line")
    first = data_of(next_of(packets))
    while first.startswith((b"ACK ", b"NAK")):
        first = data_of(next_of(packets))

    def rest() -> Iterator[Packet]:
        yield first
        yield from packets

    pack = collect_bands(rest(), max_bytes=max_bytes).data
    return FetchReply(pack, tuple(boundary["shallow"]), tuple(boundary["unshallow"]))


# Swaps.


def receive_pack_request(edits: Sequence[RefEdit], pack: bytes, *, atomic: bool) -> bytes:
    """Return the receive-pack request: commands in the given order, then ``pack`` unless all edits delete."""
    caps = "report-status side-band-64k" + (" atomic" if atomic else "") + " " + AGENT
    lines = []
    for index, edit in enumerate(edits):
        old = edit.expect.oid if isinstance(edit.expect, At) else ZERO_OID
        lines.append(pkt(f"{old} {edit.new or ZERO_OID} {edit.ref}" + ("\0 " + caps if index == 0 else "")))
    only_deletes = all(edit.new is None for edit in edits)
    return b"".join([*lines, FLUSH_PKT, b"" if only_deletes else pack])


@dataclass(frozen=True, slots=True)
class Report:
    """A complete report: ``unpack`` ('ok' or why not), each ref's status (None: ok, else the server's words)."""

    unpack: str
    statuses: Mapping[RefName, str | None]
    progress: str = ""


def parse_report(packets: Iterator[Packet], edits: Sequence[RefEdit]) -> Report:
    """Parse a receive-pack answer with or without side bands; raise WireError unless it reports on every edit."""
    first = data_of(next_of(packets))

    def whole() -> Iterator[Packet]:
        yield first
        yield from packets

    if first.startswith(b"unpack "):
        return _report_lines(whole(), edits, "")
    bands = collect_bands(whole(), max_bytes=MAX_REPORT_BYTES, keep_error=True)
    try:
        return _report_lines(packets_of(bands.data), edits, bands.progress)
    except ServerSaidError:
        raise
    except WireError as exc:
        words = " ".join(part for part in (bands.error, bands.progress.strip()) if part)
        raise WireError(f"no complete report ({exc})" + (f": {words[-1500:]}" if words else "")) from exc


def _report_lines(packets: Iterator[Packet], edits: Sequence[RefEdit], progress: str) -> Report:
    """Parse the report proper: ``unpack``, then ``ok`` and ``ng`` lines, then a flush."""
    head = text_of(data_of(next_of(packets)))
    if not head.startswith("unpack "):
        raise WireError(f"not a report: {head[:80]!r}")
    statuses: dict[RefName, str | None] = {}
    while (packet := next_of(packets)) is not Special.FLUSH:
        word, _, rest = text_of(data_of(packet)).partition(" ")
        if word == "ok":
            statuses[RefName(rest)] = None
        elif word == "ng":
            name, _, reason = rest.partition(" ")
            statuses[RefName(name)] = reason or "refused without words"
        elif word != "option":
            raise WireError(f"unknown line in the report: {word[:40]!r}")
    missing = [edit.ref for edit in edits if edit.ref not in statuses]
    unpack = head.removeprefix("unpack ")
    if missing and unpack == "ok":
        raise WireError(f"the report says nothing about {missing[0]}")
    # JGit reports a failed unpack under the ref name "n/a"; it applied nothing.
    filled = {edit.ref: statuses.get(edit.ref, f"unpacker error: {unpack}") for edit in edits}
    return Report(unpack, filled, progress)
