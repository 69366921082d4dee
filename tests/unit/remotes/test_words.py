"""Server words to refusal kinds: captured from git, and as other servers are known to say them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.refs import Absent, RefEdit, RefusalKind, Role
from gitref_lock.remotes import pktline, wire
from gitref_lock.remotes.words import blocking_ref, kind_of, kind_of_error, shown, words_of

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def captured(name: str, *refs: str) -> wire.Report:
    """Return the report of real git on ``refs``."""
    edits = [RefEdit(RefName(f"refs/locks/{ref}"), Absent(), Oid("a" * 40), Role.LOCK) for ref in refs]
    data = (TRANSCRIPTS / f"git-2.39.5-{name}.bin").read_bytes()
    return wire.parse_report(pktline.packets_of(data), edits)


def said(status: str, progress: str = "", *, unpack: str = "ok") -> wire.Report:
    """Return a report as another server gave it."""
    return wire.Report(unpack, {RefName("refs/locks/a"): status}, progress)


@pytest.mark.parametrize(
    ("name", "refs", "kind"),
    [
        ("missing-objects", ["m"], RefusalKind.MISSING_OBJECTS),
        ("hidden", ["hidden"], RefusalKind.NAMESPACE),
        ("funny-refname", ["a..b"], RefusalKind.NAMESPACE),
        ("update-hook", ["h1"], RefusalKind.POLICY),
        ("update-hook-atomic", ["a", "h1"], RefusalKind.POLICY),
        ("pre-receive-hook", ["h1", "a"], RefusalKind.POLICY),
        ("collision", ["a/b"], RefusalKind.NAME_COLLISION),
        ("max-size", ["big"], RefusalKind.QUOTA),
    ],
)
def test_git_s_permanent_refusals_have_a_kind(name: str, refs: Sequence[str], kind: RefusalKind) -> None:
    """What git says when trying again is of no use."""
    assert kind_of(captured(name, *refs)) is kind


@pytest.mark.parametrize(
    ("name", "refs"),
    [
        ("stale-create", ["a"]),
        ("stale-update", ["a"]),
        ("stale-update-atomic", ["a", "b"]),
        ("absent-update", ["x"]),
        ("delete-stale", ["a"]),
        ("lock-file", ["a"]),
        ("lock-file-atomic", ["a", "b"]),
        ("no-pack", ["nopack"]),
    ],
)
def test_git_s_races_and_busy_files_have_none(name: str, refs: Sequence[str]) -> None:
    """What may be a lost race or a busy lock file is left to a read of the refs."""
    assert kind_of(captured(name, *refs)) is None


@pytest.mark.parametrize(
    ("status", "progress", "kind"),
    [
        ("object " + "a" * 40 + " missing", "", RefusalKind.MISSING_OBJECTS),
        ("missing object(s)", "", RefusalKind.MISSING_OBJECTS),
        ("hook declined", "FATAL: W refs/locks/main strict alice DENIED by fallthru", RefusalKind.PERMISSION),
        ("pre-receive hook declined", "GitLab: You are not allowed to push code", RefusalKind.PERMISSION),
        ("protected branch hook declined", "error: GH006: Protected branch update failed", RefusalKind.POLICY),
        ("push declined due to repository rule violations", "error: GH013: Repository rule violations", "policy"),
        ("prohibited by Gerrit: not permitted: create", "", RefusalKind.PERMISSION),
        ("TF401027: You need the Git 'CreateBranch' permission", "", RefusalKind.PERMISSION),
        ("shallow update not allowed", "", RefusalKind.POLICY),
        ("RefNameConflict", "", RefusalKind.NAME_COLLISION),
        ("failed to update ref", "error: Unable to create '/r/refs/locks/a.lock': Permission denied", "permission"),
        ("failed to update ref", "error: unable to create '/r/a.lock': Read-only file system", "storage"),
        ("unpacker error", "fatal: write error: No space left on device", RefusalKind.STORAGE),
        ("unpacker error", "fatal: write error: Disk quota exceeded", RefusalKind.QUOTA),
        ("unable to migrate objects to permanent storage", "", RefusalKind.STORAGE),
    ],
)
def test_other_servers_refusals_have_a_kind(status: str, progress: str, kind: RefusalKind | str) -> None:
    """Words of hosts and servers, as their users report them."""
    assert kind_of(said(status, progress)) is RefusalKind(kind)


def test_a_server_without_a_place_for_new_objects_has_a_kind() -> None:
    """When not even the folder for them can be made, git says so in the line about the pack."""
    report = said("unpacker error", unpack="unable to create temporary object directory")
    assert kind_of(report) is RefusalKind.STORAGE


@pytest.mark.parametrize(
    "status",
    [
        *("failed to update ref", "reference already exists", "atomic transaction failed", "failed to lock"),
        *("invalid old id sent", "already exists", "no such ref", "transaction aborted", "lock error: busy"),
        *("incorrect old value provided", "failed to update refs", "never heard of"),
    ],
)
def test_ambiguous_and_unknown_words_have_none(status: str) -> None:
    """The same words mean a lost race on one server and a busy one on another."""
    assert kind_of(said(status)) is None


def test_a_hook_cannot_talk_a_lost_race_into_a_refusal() -> None:
    """Progress text that a hook prints counts only where a hook declined."""
    chatter = "quota: 95 % used, permission granted, protected branch policy checked"
    assert kind_of(said("failed to update ref", chatter)) is None


def test_errors_instead_of_a_report() -> None:
    """Only errors that can come before any work have a kind."""
    assert kind_of_error("push contains a ref outside refs/heads/*; only branch updates are permitted.") is (
        RefusalKind.NAMESPACE
    )
    assert kind_of_error("access denied or repository not exported: /x") is RefusalKind.NOT_FOUND
    assert kind_of_error("upstream timed out") is None


def test_words_name_each_status_once() -> None:
    """Refs that share a status share its words; the progress follows."""
    text = words_of(captured("stale-update-atomic", "a", "b"))
    assert text.startswith("refs/locks/a, refs/locks/b: atomic transaction failed; error: cannot lock ref")
    assert words_of(captured("no-pack", "nopack")).startswith("unpack: eof before pack header was fully read; ")


def test_the_blocking_ref_is_named() -> None:
    """A collision tells which ref stands in the way."""
    assert blocking_ref(captured("collision", "a/b")) == "refs/locks/a"
    assert blocking_ref(captured("stale-create", "a")) is None


def test_shown_words_hold_neither_credentials_nor_controls() -> None:
    """Terminal escapes and secrets do not reach people's screens."""
    text = shown("\x1b[31mfatal: https://u:pw@host/x said s3cret\x07\n", ["s3cret"])
    assert "pw" not in text
    assert "s3cret" not in text
    assert text.isprintable()
    assert len(shown("x" * 100_000)) <= 4000
