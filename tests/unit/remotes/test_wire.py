"""The wire format: requests byte for byte, answers of real git (captured in ``transcripts``), and hostile ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.core.names import ZERO_OID, Oid, RefName
from gitref_lock.core.refs import Absent, At, RefEdit, Role
from gitref_lock.ports import FetchRequest
from gitref_lock.remotes import pktline, wire
from gitref_lock.remotes.packs import write_pack
from gitref_lock.testing.contract_kit import create, delete, lock, state, update

TRANSCRIPTS = Path(__file__).parent / "transcripts"
ONE, TWO, THREE, NEVER = state("one"), state("two"), state("three"), state("never")
A, B = Oid("a" * 40), Oid("b" * 40)


def captured(name: str) -> bytes:
    """Return what git answered."""
    return (TRANSCRIPTS / f"git-2.39.5-{name}.bin").read_bytes()


def report(data: bytes, *edits: RefEdit) -> wire.Report:
    """Parse a report on ``edits``."""
    return wire.parse_report(pktline.packets_of(data), edits)


class TestAdvertisements:
    """What services say about themselves."""

    def test_receive_pack_names_its_capabilities_and_refs(self) -> None:
        """The advertisement of smart HTTP holds capabilities with values, and every ref."""
        found = wire.parse_advertisement(pktline.packets_of(captured("advertise-receive")))
        assert found.version == 0
        assert found.capabilities["atomic"] == ""
        assert found.capabilities["agent"] == "git/2.39.5"
        assert set(found.refs) == {"refs/heads/main", lock("a"), lock("b"), lock("c")}

    def test_the_head_alone_is_enough_for_the_capabilities(self) -> None:
        """A cut advertisement still tells its capabilities when only its head is asked for."""
        cut = captured("advertise-receive")[:300]
        found = wire.parse_advertisement(pktline.packets_of(cut), head_only=True)
        assert "atomic" in found.capabilities
        assert found.refs == {}
        with pytest.raises(pktline.WireError, match="cut off"):
            wire.parse_advertisement(pktline.packets_of(cut))

    def test_an_empty_repository_advertises_capabilities_only(self) -> None:
        """The line that stands for "no refs" is not a ref."""
        line = pktline.pkt(f"{ZERO_OID} capabilities^{{}}\0atomic agent=x\n")
        found = wire.parse_advertisement(pktline.packets_of(line + pktline.FLUSH_PKT))
        assert (found.refs, set(found.capabilities)) == ({}, {"atomic", "agent"})

    def test_an_empty_repository_may_advertise_nothing_at_all(self) -> None:
        """upload-pack then sends a flush only, after the service line of HTTP or without it."""
        for data in (b"0000", b"001e# service=git-upload-pack\n00000000"):
            found = wire.parse_advertisement(pktline.packets_of(data))
            assert (found.version, found.refs) == (0, {})

    def test_alternates_peeled_tags_and_shallow_lines_are_no_refs(self) -> None:
        """Only what can be fetched by name counts."""
        lines = [f"{A} refs/tags/v1\0x\n", f"{B} refs/tags/v1^{{}}\n", f"{B} .have\n", f"shallow {B}\n"]
        data = b"".join(map(pktline.pkt, lines)) + pktline.FLUSH_PKT
        assert wire.parse_advertisement(pktline.packets_of(data)).refs == {"refs/tags/v1": A}

    def test_version_two_names_capabilities_only(self) -> None:
        """A version 2 advertisement is recognised, with or without the service line before it."""
        data = captured("advertise-upload-v2")
        for prefix in (b"", b"001e# service=git-upload-pack\n0000"):
            found = wire.parse_advertisement(pktline.packets_of(prefix + data))
            assert (found.version, found.refs) == (2, {})
            assert found.capabilities["fetch"] == "shallow wait-for-done"

    def test_another_hash_is_seen_among_the_capabilities(self) -> None:
        """The ids of a SHA-256 repository are not even parsed."""
        line = pktline.pkt("0" * 64 + " capabilities^{}\0atomic object-format=sha256\n")
        found = wire.parse_advertisement(pktline.packets_of(line + pktline.FLUSH_PKT))
        assert (found.capabilities["object-format"], found.refs) == ("sha256", {})

    def test_version_one_is_version_zero_with_a_line_more(self) -> None:
        """A server that answers in version 1 is understood."""
        data = pktline.pkt("version 1\n") + pktline.pkt(f"{A} refs/heads/main\0atomic\n") + pktline.FLUSH_PKT
        assert wire.parse_advertisement(pktline.packets_of(data)).refs == {"refs/heads/main": A}

    @pytest.mark.parametrize(
        "data", [b"", b"0001", pktline.pkt("<html>"), pktline.pkt("ERR go away"), pktline.pkt("z" * 40 + " refs/x\0")]
    )
    def test_what_is_no_advertisement_is_an_error(self, data: bytes) -> None:
        """A login page, an error packet or nothing is no advertisement."""
        with pytest.raises(pktline.WireError):
            wire.parse_advertisement(pktline.packets_of(data))


class TestListing:
    """Version 2 listings."""

    def test_the_request_names_its_prefixes(self) -> None:
        """The request asks for exactly the prefixes."""
        packets = list(pktline.packets_of(wire.ls_refs_request(["refs/locks/a", "refs/heads/"])))
        assert packets[0] == b"command=ls-refs\n"
        assert packets[-3:] == [b"ref-prefix refs/locks/a\n", b"ref-prefix refs/heads/\n", pktline.Special.FLUSH]

    def test_a_listing_keeps_what_was_asked(self) -> None:
        """Servers treat prefixes loosely; the caller does not see it."""
        packets = pktline.packets_of(captured("ls-refs"))
        assert wire.parse_ls_refs(packets, ["refs/locks/a", "refs/locks/c"]) == {
            lock("a"): ONE[0].oid,
            lock("c"): ONE[0].oid,
        }

    def test_attributes_and_unborn_heads_are_skipped(self) -> None:
        """A symref's target and an unborn HEAD do not disturb."""
        lines = [f"{A} refs/x/y symref-target:refs/x/z peeled:{B}\n", "unborn HEAD symref-target:refs/heads/main\n"]
        data = b"".join(map(pktline.pkt, lines)) + pktline.FLUSH_PKT
        assert wire.parse_ls_refs(pktline.packets_of(data), ["refs/"]) == {"refs/x/y": A}

    def test_a_cut_listing_is_an_error(self) -> None:
        """A listing without its end may lack refs and is not believed."""
        with pytest.raises(pktline.WireError, match="cut off"):
            wire.parse_ls_refs(pktline.packets_of(captured("ls-refs")[:-4]), ["refs/"])


class TestFetch:
    """Fetches in both versions."""

    def test_the_version_two_request_says_all(self) -> None:
        """Wants, boundary, depth, filter and haves are in the request, and it asks for the pack at once."""
        request = FetchRequest((A,), (B,), depth=3, filter_spec="blob:none", shallow=(B,))
        packets = list(pktline.packets_of(wire.fetch_request_v2(request, thin=True)))
        split = packets.index(pktline.Special.DELIM)
        assert packets[split + 1 :] == [
            *(b"thin-pack\n", b"no-progress\n", b"ofs-delta\n", f"want {A}\n".encode(), f"shallow {B}\n".encode()),
            *(b"deepen 3\n", b"filter blob:none\n", f"have {B}\n".encode(), b"done\n", pktline.Special.FLUSH),
        ]

    def test_the_version_zero_request_offers_what_the_server_has(self) -> None:
        """Capabilities go with the first want, and only those that the server named."""
        offered = {"side-band-64k": "", "ofs-delta": "", "shallow": ""}
        packets = list(pktline.packets_of(wire.fetch_request_v0(FetchRequest((A, B), depth=1), offered)))
        assert packets == [
            *(f"want {A} side-band-64k ofs-delta agent=gitref-lock\n".encode(), f"want {B}\n".encode()),
            *(b"deepen 1\n", pktline.Special.FLUSH, b"done\n"),
        ]

    @pytest.mark.parametrize(
        ("request_", "offered", "missing"),
        [
            (FetchRequest((A,)), {"shallow": ""}, "side-band-64k"),
            (FetchRequest((A,), filter_spec="blob:none"), {"side-band-64k": ""}, "filters"),
            (FetchRequest((A,), depth=1), {"side-band-64k": ""}, "shallow"),
        ],
    )
    def test_what_an_old_server_cannot_do_is_said(
        self, request_: FetchRequest, offered: dict[str, str], missing: str
    ) -> None:
        """A request that the server could only misunderstand is not sent."""
        with pytest.raises(pktline.WireError, match=missing):
            wire.fetch_request_v0(request_, offered)

    def test_both_versions_bring_pack_and_boundary(self) -> None:
        """git's answers yield the pack and the new shallow boundary."""
        new = wire.parse_fetch_v2(pktline.packets_of(captured("fetch-depth-1")), max_bytes=10_000)
        old = wire.parse_fetch_v0(pktline.packets_of(captured("fetch-v0-depth-1")), with_shallow=True, max_bytes=10_000)
        child = state("child", parents=[ONE[0].oid])[0].oid
        assert set(new.shallow) == {ONE[0].oid, child}
        assert old.shallow == (child,)
        assert new.pack.startswith(b"PACK")
        assert old.pack.startswith(b"PACK")

    def test_acknowledgments_are_skipped(self) -> None:
        """Any number of ACK lines may come before the pack."""
        lines: list[str | bytes] = [
            f"ACK {A} common\n",
            f"ACK {A} ready\n",
            "NAK\n",
            f"ACK {A}\n",
            b"\x01PACK",
            b"\x02almost\n",
        ]
        data = b"".join(pktline.pkt(line) for line in lines) + pktline.FLUSH_PKT
        assert wire.parse_fetch_v0(pktline.packets_of(data), with_shallow=False, max_bytes=9).pack == b"PACK"

    def test_a_gone_object_is_what_the_server_said(self) -> None:
        """An unknown want is an error in the server's words."""
        with pytest.raises(pktline.ServerSaidError, match=f"not our ref {'1' * 40}"):
            wire.parse_fetch_v2(pktline.packets_of(captured("fetch-gone")), max_bytes=10)

    def test_a_pack_beyond_the_bound_is_an_error_of_its_own(self) -> None:
        """The caller can tell "too large" from "broken"."""
        with pytest.raises(pktline.TooLargeError):
            wire.parse_fetch_v2(pktline.packets_of(captured("fetch-depth-1")), max_bytes=100)

    @pytest.mark.parametrize("cut", [3, 20, 90, 400])
    def test_a_cut_answer_is_an_error(self, cut: int) -> None:
        """No part of an answer passes for the whole."""
        with pytest.raises(pktline.WireError):
            wire.parse_fetch_v2(pktline.packets_of(captured("fetch-depth-1")[:-cut]), max_bytes=10_000)

    def test_an_error_band_ends_the_answer(self) -> None:
        """What comes on band 3 is raised in the server's words."""
        data = pktline.pkt("packfile\n") + pktline.pkt(b"\x03out of memory\n")
        with pytest.raises(pktline.ServerSaidError, match="out of memory"):
            wire.parse_fetch_v2(pktline.packets_of(data), max_bytes=10)


class TestReceivePackRequest:
    """The swap's request."""

    def test_commands_stand_in_the_given_order_with_their_pack(self) -> None:
        """The first command carries the capabilities; the pack follows the flush."""
        pack = write_pack(TWO)
        edits = [update("a", ONE, TWO), create("b", TWO)]
        body = wire.receive_pack_request(edits, pack, atomic=True)
        head = f"{ONE[0].oid} {TWO[0].oid} refs/locks/a\0 report-status side-band-64k atomic agent=gitref-lock"
        second = f"{ZERO_OID} {TWO[0].oid} refs/locks/b"
        assert body == pktline.pkt(head) + pktline.pkt(second) + pktline.FLUSH_PKT + pack

    def test_only_deletes_go_without_a_pack(self) -> None:
        """git expects no pack after deletions alone, and one, even if empty, after anything else."""
        empty = write_pack([])
        assert wire.receive_pack_request([delete("a", ONE)], empty, atomic=False).endswith(b"0000")
        mixed = [delete("a", ONE), update("b", ONE, TWO)]
        assert wire.receive_pack_request(mixed, empty, atomic=True).endswith(empty)


class TestReports:
    """What receive-pack reports, as captured from git."""

    def test_an_applied_swap_is_ok_for_each_ref(self) -> None:
        """Every edit has a status without words."""
        assert report(captured("applied"), create("a", ONE)).statuses == {lock("a"): None}
        both = report(captured("applied-atomic"), create("b", ONE), create("c", ONE))
        assert both == wire.Report("ok", {lock("b"): None, lock("c"): None})

    def test_a_refusal_carries_status_and_progress(self) -> None:
        """The status says little, the progress says why."""
        found = report(captured("stale-update"), update("a", TWO, THREE))
        assert found.statuses == {lock("a"): "failed to update ref"}
        assert f"is at {ONE[0].oid} but expected {TWO[0].oid}" in found.progress

    def test_a_partly_applied_swap_shows_both_sides(self) -> None:
        """C git's hole: one command refused for missing objects, the other applied."""
        found = report(captured("missing-objects-breach"), update("b", ONE, TWO), create("m", NEVER))
        assert found.statuses == {lock("b"): None, lock("m"): "missing necessary objects"}

    def test_a_failed_unpack_refuses_everything(self) -> None:
        """The reason of a failed unpack is kept beside the statuses."""
        found = report(captured("no-pack"), create("nopack", ONE))
        assert found.unpack == "eof before pack header was fully read"
        assert found.statuses == {lock("nopack"): "unpacker error"}

    def test_a_failed_unpack_may_name_no_ref(self) -> None:
        """JGit reports a failed unpack under a name that was never sent; nothing was applied."""
        data = pktline.pkt("unpack error Packfile is truncated.\n") + pktline.pkt("ng n/a (unpacker error)\n") + b"0000"
        found = report(data, create("a", ONE))
        assert found.statuses == {lock("a"): "unpacker error: error Packfile is truncated."}

    def test_a_report_without_side_bands_is_understood(self) -> None:
        """A server without side-band-64k sends the report bare."""
        data = pktline.pkt("unpack ok\n") + pktline.pkt("ok refs/locks/a\n") + b"0000"
        assert report(data, create("a", ONE)).statuses == {lock("a"): None}

    def test_option_lines_are_skipped(self) -> None:
        """A server may add option lines of the newer report."""
        inner = (
            pktline.pkt("unpack ok\n")
            + pktline.pkt("ok refs/locks/a\n")
            + pktline.pkt("option refname refs/x\n")
            + b"0000"
        )
        assert report(pktline.pkt(b"\x01" + inner) + b"0000", create("a", ONE)).statuses == {lock("a"): None}

    def test_silence_about_an_edit_is_no_report(self) -> None:
        """A report that leaves an edit out is incomplete."""
        with pytest.raises(pktline.WireError, match="says nothing about refs/locks/z"):
            report(captured("applied"), create("a", ONE), create("z", ONE))

    @pytest.mark.parametrize("name", ["applied", "stale-update", "stale-update-atomic", "update-hook-atomic"])
    def test_no_part_of_a_report_passes_for_a_report(self, name: str) -> None:
        """Wherever an answer is cut, it is no report."""
        data = captured(name)
        edits = [RefEdit(RefName(ref), Absent(), A, Role.LOCK) for ref in ("refs/locks/a",)]
        for end in range(len(data)):
            with pytest.raises(pktline.WireError):
                report(data[:end], *edits)

    def test_an_error_band_without_a_report_keeps_the_words(self) -> None:
        """JGit answers a bad name on band 3 and reports nothing; the words are not lost."""
        data = pktline.pkt(b"\x03error: invalid protocol: wanted 'old new ref'\n") + b"0000"
        with pytest.raises(pktline.WireError, match=r"no complete report.*wanted 'old new ref'"):
            report(data, create("a", ONE))

    def test_progress_is_bounded(self) -> None:
        """A hook that prints without end does not fill our memory."""
        noise = pktline.pkt(b"\x02" + b"x" * 60_000) * 5
        found = report(noise + captured("applied"), create("a", ONE))
        assert len(found.progress) == pktline.MAX_PROGRESS_CHARS

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_report_or_a_wire_error(self, data: bytes) -> None:
        """No answer makes the parser raise anything but WireError."""
        edit = RefEdit(lock("a"), At(A), B, Role.LOCK)
        for body in (data, pktline.pkt(b"\x01" + data) + b"0000"):
            try:
                found = report(body, edit)
            except pktline.WireError:
                continue
            assert lock("a") in found.statuses


@pytest.mark.parametrize("what", ["advertisement", "version 2", "listing", "sections", "boundary"])
def test_no_text_is_read_without_end(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long names, capabilities or boundaries without end: what is kept of an answer is bounded in bytes."""
    monkeypatch.setattr(wire, "MAX_TEXT_BYTES", 100_000)
    oid = "1" * 40
    heads = {
        "advertisement": [f"{oid} refs/heads/x\0atomic\n"],
        "version 2": ["version 2\n"],
        "sections": ["shallow-info\n"],
    }
    lines = {"version 2": "x" * 60_000, "sections": f"shallow {oid}\n", "boundary": f"shallow {oid}\n"}
    line = lines.get(what, f"{oid} refs/heads/{'x' * 60_000}\n")

    def endless() -> Iterator[pktline.Packet]:
        yield from (head.encode() for head in heads.get(what, []))
        while True:
            yield line.encode()

    parsers: dict[str, Callable[[], object]] = {
        "listing": lambda: wire.parse_ls_refs(endless(), ["refs/"]),
        "sections": lambda: wire.parse_fetch_v2(endless(), max_bytes=1000),
        "boundary": lambda: wire.parse_fetch_v0(endless(), with_shallow=True, max_bytes=1000),
    }
    parse = parsers.get(what, lambda: wire.parse_advertisement(endless()))
    with pytest.raises(pktline.WireError, match="more than 100000 bytes"):
        parse()
