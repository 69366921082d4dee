"""What a push uploads: a small edit of a large file costs little, and a server without thin packs gets full ones."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.sending import git_object, objects_for
from gitref_lock.landing.workspace import disk_store
from gitref_lock.remotes.packs import PackedObject, read_pack, write_pack
from gitref_lock.testing.gitserver import GitHttpServer
from tests.support.gitcli import Repo, clone, git_env
from tests.support.runners import push_from

KEYS = 20_000


def large(extra: int) -> str:
    """Return a JSON file of about 600 KB whose key ``extra`` comes last."""
    return json.dumps({f"key-{number:06d}": f"{number * 7919:018d}" for number in [*range(KEYS), extra]}, indent=1)


@pytest.fixture
def data_clone(repo_url: str, tmp_path: Path) -> Repo:
    """Return a clone whose branch holds a large file and many small ones."""
    repo = clone(repo_url, tmp_path / "data")
    (repo.path / "data.json").write_text(large(KEYS))
    for number in range(300):
        (repo.path / f"file-{number:03d}.txt").write_text(f"{number}\n")
    assert push_from(repo, repo_url, "large").landed is not None
    return repo


def change(repo: Repo, number: int) -> None:
    """Change one key of the large file."""
    (repo.path / "data.json").write_text(large(number))


def test_a_small_edit_of_a_large_file_uploads_little(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, data_clone: Repo
) -> None:
    """Folder and file go as deltas from what the remote has: some kilobytes, and git finds nothing wrong with it."""
    change(data_clone, KEYS + 1)
    before = git_server.counts.snapshot()
    assert push_from(data_clone, repo_url, "edit").landed is not None
    sent = git_server.counts.snapshot().diff(before).bytes_in
    assert sent < 12_000
    bare_repo.git("fsck", "--strict", "--no-dangling")
    assert bare_repo.git("show", "main:data.json") == large(KEYS + 1)


def test_a_combined_change_uploads_little_too(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, data_clone: Repo, tmp_path: Path
) -> None:
    """A change that is replayed on a moved tip is measured from that tip."""
    other = clone(repo_url, tmp_path / "other")
    (other.path / "theirs.txt").write_text("theirs\n")
    assert push_from(other, repo_url, "theirs").landed is not None
    change(data_clone, KEYS + 1)
    before = git_server.counts.snapshot()
    assert push_from(data_clone, repo_url, "edit").landed is not None
    assert git_server.counts.snapshot().diff(before).bytes_in < 12_000
    bare_repo.git("fsck", "--strict", "--no-dangling")


def test_a_file_that_goes_back_and_forth_is_sent_so_that_git_can_unpack_it(
    bare_repo: Repo, repo_url: str, data_clone: Repo
) -> None:
    """Several commits in one push, the last equal to what was before: no two deltas need each other."""
    for number in (KEYS + 1, KEYS, KEYS + 2, KEYS + 1):
        change(data_clone, number)
        data_clone.git("commit", "-q", "-a", "-m", f"to {number}")
    assert push_from(data_clone, repo_url, "none").landed is not None
    bare_repo.git("fsck", "--strict", "--no-dangling")
    assert bare_repo.git("show", "main:data.json") == large(KEYS + 1)


def test_a_server_that_refuses_thin_packs_gets_a_full_one(
    bare_repo: Repo, data_clone: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says that nothing was unpacked, so the same change is sent whole, and lands."""
    real = shutil.which("git")
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = receive-pack ]; then shift; echo x >> {tmp_path}/calls\n'
        f'exec {real} -c receive.unpackLimit=1 receive-pack --reject-thin-pack-for-testing "$@"; fi\n'
        f'exec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{git_env()['PATH']}")
    change(data_clone, KEYS + 1)
    assert push_from(data_clone, str(bare_repo.path), "edit").landed is not None
    assert bare_repo.git("show", "main:data.json") == large(KEYS + 1)
    assert (tmp_path / "calls").read_text().count("x") > 1
    bare_repo.git("fsck", "--strict", "--no-dangling")


def test_a_thin_pack_means_the_same_objects_as_a_full_one(data_clone: Repo) -> None:
    """With the bases at hand both packs hold equal objects; without them the thin one lacks what is a delta."""
    base = Oid(data_clone.git("rev-parse", "HEAD"))
    change(data_clone, KEYS + 1)
    data_clone.git("commit", "-q", "-a", "-m", "edit")
    with Checkout.open(data_clone.path, git_env()) as checkout:
        store = disk_store(checkout)
        objects = objects_for(store, [Oid(data_clone.git("rev-parse", "HEAD"))], [base])
        deltas = {item.delta.base for item in objects if item.delta is not None}
        assert len(deltas) == 2
        read = partial(read_pack, max_blob_bytes=1 << 24, max_total_bytes=1 << 26)
        full, thin = write_pack(objects), write_pack(objects, thin=True)
        assert len(thin) < len(full) // 20
        known = {base: git_object(store, base) for base in deltas}
        bases = {oid: PackedObject(item.kind, item.data) for oid, item in known.items()}
        assert read(thin, base_of=bases.get) == read(full)
        assert not {item.oid for item in objects if item.delta is not None} & set(read(thin))
