"""What a client may lose over transports that advertise first and wait: one swap granted twice by C git.

A waiting ``git receive-pack`` keeps the packed-refs file that it read, as long as size, inode and whole-second times
look unchanged. Rewritten twice within a second on a file system that hands a freed inode out again, the file looks
unchanged and holds new values. Hence: send at once after the advertisement, read back after ok, and prefer HTTP, where
git reads the refs after the request has arrived (docs/protocol.md, section 2).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.testing.faults import FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo
from tests.support.rawgit import Command, RawHttp, ReceivePackProcess, lock_state

LOCK = "refs/locks/main"
MINE, *_ = MINE_OBJECTS = lock_state("the swap that should lose")


def look(path: Path) -> tuple[int, int, int, int]:
    """Return what git compares to decide whether a file that it has read is still the same."""
    status = path.stat()
    return status.st_size, status.st_ino, int(status.st_mtime), int(status.st_ctime)


def swap_by_rival(bare_repo: Repo, old: Oid, word: str, rewrites: int) -> Oid:
    """Let a rival swap the lock, then pack all refs ``rewrites`` times; return the rival's lock commit."""
    rival = bare_repo.commit({"lock.json": word.encode()}, message=word)
    bare_repo.set_ref(LOCK, rival, expect=old)
    for _ in range(rewrites):
        bare_repo.git("pack-refs", "--all")
    return rival


def pack_a_lock(bare_repo: Repo, word: str) -> Oid:
    """Put a fresh lock commit into packed-refs and return it."""
    held = bare_repo.commit({"lock.json": word.encode()}, message=word)
    bare_repo.set_ref(LOCK, held)
    bare_repo.git("pack-refs", "--all")
    return held


def repack_into_the_first_inode(packed: Path, spare: Path) -> None:
    """Move the present content of packed-refs into the inode that ``spare`` has kept from its earlier self."""
    spare.write_bytes(packed.read_bytes())
    spare.replace(packed)


@pytest.mark.parametrize("recycles_inode", [False, True])
@pytest.mark.parametrize("rewrites", [0, 1, 2])
def test_a_waiting_receive_pack_grants_a_lost_swap_when_packed_refs_looks_unchanged(
    bare_repo: Repo, tmp_path: Path, rewrites: int, recycles_inode: bool
) -> None:
    """A swap that a rival has won is granted again exactly if packed-refs has changed without looking changed."""
    packed = bare_repo.path / "packed-refs"
    spare = tmp_path / "spare"
    for attempt in range(5):
        held = pack_a_lock(bare_repo, f"held {attempt}")
        before = look(packed)
        spare.unlink(missing_ok=True)
        spare.hardlink_to(packed)
        with ReceivePackProcess(bare_repo.path) as waiting:
            assert waiting.advertised[LOCK] == held
            rival = swap_by_rival(bare_repo, held, f"rival {attempt}", rewrites)
            if recycles_inode:
                repack_into_the_first_inode(packed, spare)
            after = look(packed)
            looks_unchanged = rewrites > 0 and after == before
            answer = waiting.push([Command(LOCK, held, MINE.oid)], MINE_OBJECTS)
        assert answer.is_ok(LOCK) == looks_unchanged
        assert bare_repo.ref(LOCK) == (MINE.oid if looks_unchanged else rival)
        if before[2:] == after[2:]:
            assert looks_unchanged == (recycles_inode and rewrites > 0)
            return
    raise AssertionError("five attempts, each across the end of a second")


@pytest.mark.parametrize("rewrites", [1, 2, 3, 4])
def test_over_http_the_same_interleaving_is_refused(
    git_server: GitHttpServer, repo_url: str, bare_repo: Repo, rewrites: int
) -> None:
    """Over HTTP git reads the refs only after the request has arrived, so the rival's swap is always seen."""
    held = pack_a_lock(bare_repo, "held")
    rival_first = FaultPlan().before("receive-pack", 1, lambda _: swap_by_rival(bare_repo, held, "rival", rewrites))
    git_server.set_faults(rival_first)
    with RawHttp(repo_url) as remote:
        assert remote.request("GET", "info/refs?service=git-receive-pack").status == 200
        answer = remote.push([Command(LOCK, held, MINE.oid)], MINE_OBJECTS)
    assert not answer.is_ok(LOCK)
    assert bare_repo.ref(LOCK) != MINE.oid
