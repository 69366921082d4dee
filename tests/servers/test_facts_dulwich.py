"""What is lost by dulwich's local transport, its client's short cut and its server: none is a compare-and-swap.

They are why paths and ``file://`` remotes run ``git receive-pack``, why requests are built by hand, and why an ok from
an unknown server is read back (docs/protocol.md, section 2).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from dulwich.client import HttpGitClient, LocalGitClient
from dulwich.objects import ObjectID
from dulwich.pack import UnpackedObject
from dulwich.refs import Ref
from dulwich.repo import Repo as DulwichRepo
from dulwich.server import BackendRepo, DictBackend
from dulwich.web import make_wsgi_chain

from gitref_lock.core.names import ZERO_OID, Oid
from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from tests.support.gitcli import Repo, clone
from tests.support.rawgit import Command, RawHttp, lock_state

BRANCH = "refs/heads/main"
LOCK = "refs/locks/main"
MINE, *_ = MINE_OBJECTS = lock_state("mine")
RIVAL, *_ = RIVAL_OBJECTS = lock_state("rival")
RENEWED, *_ = RENEWED_OBJECTS = lock_state("mine, renewed")


def dulwich_refs(values: dict[str, Oid]) -> dict[Ref, ObjectID]:
    """Return refs as dulwich wants them."""
    return {Ref(name.encode()): ObjectID(value.encode()) for name, value in values.items()}


def make_holder(remote: Repo, path: Path) -> tuple[Repo, Oid, Oid, Oid]:
    """Take the lock on ``remote``; return a clone, the lock commit held, a renewed one, and a change of the branch."""
    holder = clone(str(remote.path), path)
    held = holder.commit({"lock.json": b"mine"}, message="mine")
    holder.git("push", "--quiet", "origin", f"{held}:{LOCK}")
    renewed = holder.commit({"lock.json": b"renewed"}, message="renewed")
    return holder, held, renewed, holder.commit({"a": b"1\n"}, parents=("HEAD",))


def test_naive_atomic_push_to_a_path_moves_the_branch_though_the_lock_was_refused(
    bare_repo: Repo, tmp_path: Path
) -> None:
    """LocalGitClient sets refs one by one: a rival between its read and its write costs the lock, not the branch."""
    holder, held, renewed, change = make_holder(bare_repo, tmp_path / "holder")
    rival = bare_repo.commit({"lock.json": b"rival"}, message="rival")
    with DulwichRepo(str(holder.path)) as local:

        def pack_data_while_a_rival_takes_over(
            have: AbstractSet[ObjectID],
            want: AbstractSet[ObjectID],
            *,
            ofs_delta: bool = True,
            progress: Callable[[bytes], None] | None = None,
        ) -> tuple[int, Iterator[UnpackedObject]]:
            bare_repo.set_ref(LOCK, rival, expect=held)
            return local.generate_pack_data(set(have), set(want), ofs_delta=ofs_delta)

        result = LocalGitClient().send_pack(
            str(bare_repo.path),
            lambda _: dulwich_refs({BRANCH: change, LOCK: renewed}),
            pack_data_while_a_rival_takes_over,
            atomic=True,
        )
    assert result.ref_status is not None
    assert list(result.ref_status) == [LOCK.encode()]
    assert bare_repo.ref(LOCK) == rival
    assert bare_repo.ref(BRANCH) == change


def test_naive_verify_by_dulwichs_client_never_leaves_the_client(
    git_server: GitHttpServer, repo_url: str, bare_repo: Repo, tmp_path: Path
) -> None:
    """The stock client drops a command that changes nothing; with only such commands it sends no push at all."""
    holder, held, _, _ = make_holder(bare_repo, tmp_path / "holder")
    before = git_server.counts.snapshot()
    with DulwichRepo(str(holder.path)) as local:
        client = HttpGitClient(git_server.url)

        def pack_data(
            have: AbstractSet[ObjectID],
            want: AbstractSet[ObjectID],
            *,
            ofs_delta: bool = True,
            progress: Callable[[bytes], None] | None = None,
        ) -> tuple[int, Iterator[UnpackedObject]]:
            return local.generate_pack_data(set(have), set(want), ofs_delta=ofs_delta)

        result = client.send_pack("/repo.git", lambda _: dulwich_refs({LOCK: held}), pack_data)
        client.close()
    assert not result.ref_status
    assert RequestKind.RECEIVE_PACK not in git_server.counts.snapshot().diff(before).by_kind


class QuietHandler(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


@pytest.fixture
def dulwich_remote(bare_repo: Repo) -> Iterator[RawHttp]:
    """Return a raw connection to dulwich's own server over ``bare_repo``; we hold the lock there."""
    with DulwichRepo(str(bare_repo.path)) as served:
        repositories: dict[str, BackendRepo] = {"/repo.git": served}
        application = make_wsgi_chain(DictBackend(repositories))
        with make_server("127.0.0.1", 0, application, handler_class=QuietHandler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                with RawHttp(f"http://127.0.0.1:{server.server_port}/repo.git") as connection:
                    connection.push([Command(LOCK, ZERO_OID, MINE.oid)], MINE_OBJECTS)
                    yield connection
            finally:
                server.shutdown()
                thread.join()


def test_dulwichs_server_reports_ok_for_a_swap_that_it_refused(dulwich_remote: RawHttp, bare_repo: Repo) -> None:
    """A create over an existing lock is reported ok although the ref did not move: two holders believe."""
    answer = dulwich_remote.push([Command(LOCK, ZERO_OID, RIVAL.oid)], RIVAL_OBJECTS)
    assert answer.is_ok(LOCK)
    assert bare_repo.ref(LOCK) == MINE.oid


def test_dulwichs_server_moves_the_branch_of_an_atomic_push_whose_lock_is_stale(
    dulwich_remote: RawHttp, bare_repo: Repo
) -> None:
    """A fence after a theft is no fence there: the branch moves, and both commands are reported ok."""
    tip = bare_repo.ref(BRANCH)
    assert tip is not None
    change = bare_repo.commit({"a": b"1\n"}, parents=(tip,))
    assert dulwich_remote.push([Command(LOCK, MINE.oid, RIVAL.oid)], RIVAL_OBJECTS).is_ok(LOCK)
    commands = [Command(BRANCH, tip, change), Command(LOCK, MINE.oid, RENEWED.oid)]
    answer = dulwich_remote.push(commands, RENEWED_OBJECTS, atomic=True)
    assert answer.is_ok(BRANCH)
    assert answer.is_ok(LOCK)
    assert bare_repo.ref(LOCK) == RIVAL.oid
    assert bare_repo.ref(BRANCH) == change
