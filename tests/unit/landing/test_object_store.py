"""Objects are stored although a killed process left its half-written files behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich.objects import Blob

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.object_store import StoreSink
from tests.support.clones import open_checkout
from tests.support.gitcli import Repo, clone, git_result


@pytest.fixture
def source(bare_repo: Repo) -> Repo:
    """Return a bare repository with a second commit."""
    made = bare_repo.commit({"README.md": b"second\n", "x.txt": b"x\n" * 50}, parents=("main",), message="second")
    bare_repo.set_ref("refs/heads/next", made)
    return bare_repo


@pytest.fixture
def checkout(source: Repo, tmp_path: Path) -> Checkout:
    """Return an open clone that lacks the second commit."""
    return open_checkout(clone(str(source.path), tmp_path / "c", "--single-branch", "--branch=main").path)


def pack_of(source: Repo) -> bytes:
    """Return the pack of what the clone lacks."""
    done = git_result("pack-objects", "--revs", "--stdout", "-q", cwd=source.path, stdin=b"next\n^main\n")
    assert done.returncode == 0
    return done.stdout


def test_a_loose_object_is_stored_beside_a_stale_lock(checkout: Checkout) -> None:
    """A lock of the library's kind is no obstacle, and the object is one that git reads."""
    blob = Blob.from_string(b"content\n")
    name = blob.id.decode()
    folder = checkout.common_dir / "objects" / name[:2]
    folder.mkdir(exist_ok=True)
    (folder / f"{name[2:]}.lock").touch()
    with checkout:
        checkout.add_object(blob)
        checkout.add_object(blob)
    path = folder / name[2:]
    assert path.stat().st_mode & 0o777 == 0o444
    assert git_result("cat-file", "blob", name, cwd=checkout.work_tree).stdout == b"content\n"
    assert not list(folder.glob("tmp_obj_*"))


def test_a_failed_write_leaves_nothing(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses, the scratch file goes."""
    blob = Blob.from_string(b"content\n")

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with checkout, monkeypatch.context() as patched:
        patched.setattr("gitref_lock.landing.object_store.os.fchmod", refuse)
        with pytest.raises(OSError, match="No space"):
            checkout.add_object(blob)
    assert not list((checkout.common_dir / "objects").rglob("tmp_obj_*"))


def test_a_pack_is_stored_although_its_index_is_locked(source: Repo, checkout: Checkout) -> None:
    """A pack whose index a killed process had begun is stored again, whole."""
    pack = pack_of(source)
    with checkout:
        StoreSink(checkout._repo.object_store).add_pack_bytes(pack, promisor=False)
    [index] = (checkout.common_dir / "objects/pack").glob("pack-*.idx")
    index.chmod(0o644)
    index.unlink()
    index.with_name(index.name + ".lock").touch()
    with open_checkout(checkout.work_tree) as again:
        StoreSink(again._repo.object_store).add_pack_bytes(pack, promisor=False)
    assert index.exists()
    assert not index.with_name(index.name + ".lock").exists()
    assert Repo(checkout.work_tree).has(source.resolve("next"))
    Repo(checkout.work_tree).fsck()


def test_the_mode_follows_core_shared_repository(source: Repo, tmp_path: Path) -> None:
    """In a repository shared by a group, objects and their folders are the group's too."""
    folder = clone(str(source.path), tmp_path / "c")
    folder.config("core.sharedRepository", "group")
    blob = Blob.from_string(b"shared\n")
    with open_checkout(folder.path) as checkout:
        checkout.add_object(blob)
    name = blob.id.decode()
    path = folder.path / ".git/objects" / name[:2]
    assert path.stat().st_mode & 0o070 == 0o070
    assert (path / name[2:]).stat().st_mode & 0o040
