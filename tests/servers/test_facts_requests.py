"""What one bare request can do without any advertisement, and how a server says that it cannot."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gitref_lock.core.names import ZERO_OID
from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from tests.support.gitcli import Repo, git, make_bare
from tests.support.rawgit import FLUSH, Command, RawHttp, lines_of, lock_state, pkt, push_body, read_answer

LOCK = "refs/locks/main"
MINE, *_ = MINE_OBJECTS = lock_state("mine")
NEXT, *_ = NEXT_OBJECTS = lock_state("next")
CREATE = Command(LOCK, ZERO_OID, MINE.oid)


def test_one_post_without_an_advertisement_pushes(git_server: GitHttpServer, repo_url: str, bare_repo: Repo) -> None:
    """A push is one request: receive-pack needs no info/refs first."""
    with RawHttp(repo_url) as remote:
        assert remote.push([CREATE], MINE_OBJECTS).is_ok(LOCK)
    assert bare_repo.ref(LOCK) == MINE.oid
    assert git_server.counts.snapshot().by_kind == {RequestKind.RECEIVE_PACK: 1}


def test_one_post_without_an_advertisement_lists_by_prefix(git_server: GitHttpServer, repo_url: str) -> None:
    """A listing of protocol version 2 is one request, and a prefix is only a prefix."""
    longer = LOCK + "-other"
    with RawHttp(repo_url) as remote:
        remote.push([CREATE, Command(longer, ZERO_OID, MINE.oid)], MINE_OBJECTS)
        before = git_server.counts.snapshot()
        assert remote.ls_refs(LOCK) == {LOCK: MINE.oid, longer: MINE.oid}
        assert remote.ls_refs("refs/nothing/") == {}
    assert git_server.counts.snapshot().diff(before).by_kind == {RequestKind.LS_REFS: 2}


def test_one_post_fetches_a_commit_by_id(git_server: GitHttpServer, repo_url: str) -> None:
    """A lock commit is fetched in one request; an unknown id is named in the error."""
    head = pkt(b"command=fetch") + pkt(b"object-format=sha1") + b"0001"
    with RawHttp(repo_url) as remote:
        remote.push([CREATE], MINE_OBJECTS)
        bodies = [
            head + pkt(f"want {oid}\n".encode()) + pkt(b"deepen 1\n") + pkt(b"no-progress\n") + pkt(b"done\n") + FLUSH
            for oid in (MINE.oid, NEXT.oid)
        ]
        known, unknown = (remote.post("git-upload-pack", body, {"Git-Protocol": "version=2"}) for body in bodies)
    assert b"packfile\n" in lines_of(known.body)
    assert lines_of(unknown.body) == [f"ERR upload-pack: not our ref {NEXT.oid}".encode()]
    assert git_server.counts.snapshot().by_kind[RequestKind.FETCH] == 2


def test_an_update_to_a_stored_object_needs_an_empty_pack(repo_url: str, bare_repo: Repo) -> None:
    """Without any pack such an update fails to unpack; with a pack of no objects it succeeds."""
    with RawHttp(repo_url) as remote:
        remote.push([CREATE], MINE_OBJECTS)
        body = push_body([Command("refs/locks/two", ZERO_OID, MINE.oid)])
        without = read_answer(remote.post("git-receive-pack", body[:-32]).body)
        with_empty = read_answer(remote.post("git-receive-pack", body).body)
    assert without.unpack == "eof before pack header was fully read"
    assert without.statuses == {"refs/locks/two": "unpacker error"}
    assert with_empty.is_ok("refs/locks/two")


def test_a_gzip_body_is_understood(repo_url: str, bare_repo: Repo) -> None:
    """A push may be compressed as a whole."""
    with RawHttp(repo_url) as remote:
        body = gzip.compress(push_body([CREATE], MINE_OBJECTS))
        reply = remote.post("git-receive-pack", body, {"Content-Encoding": "gzip"})
    assert read_answer(reply.body).is_ok(LOCK)
    assert bare_repo.ref(LOCK) == MINE.oid


def test_a_wrong_content_type_is_415_and_changes_nothing(repo_url: str, bare_repo: Repo) -> None:
    """The exact content type is demanded."""
    with RawHttp(repo_url) as remote:
        reply = remote.request("POST", "git-receive-pack", push_body([CREATE], MINE_OBJECTS), {"Content-Type": "x/y"})
    assert reply.status == 415
    assert bare_repo.ref(LOCK) is None


def test_a_missing_repository_is_404(git_server: GitHttpServer) -> None:
    """A repository that does not exist answers 404 to a push."""
    with RawHttp(git_server.repo_url("absent.git")) as remote:
        assert remote.post("git-receive-pack", push_body([CREATE], MINE_OBJECTS)).status == 404


def test_a_repository_closed_to_pushes_is_403(repo_url: str, bare_repo: Repo) -> None:
    """A repository that accepts no pushes answers 403 and still serves listings."""
    bare_repo.config("http.receivepack", "false")
    with RawHttp(repo_url) as remote:
        assert remote.post("git-receive-pack", push_body([CREATE], MINE_OBJECTS)).status == 403
        assert "refs/heads/main" in remote.ls_refs("refs/heads/")


def test_a_wrong_object_format_is_an_empty_200(git_server: GitHttpServer, server_root: Path) -> None:
    """A SHA-256 repository answers a SHA-1 push with 200 and nothing: empty is not success."""
    git("init", "--quiet", "--bare", "--object-format=sha256", server_root / "wide.git", cwd=server_root)
    with RawHttp(git_server.repo_url("wide.git")) as remote:
        reply = remote.post("git-receive-pack", push_body([CREATE], MINE_OBJECTS))
    assert reply.status == 200
    assert reply.body == b""


def test_without_capabilities_there_is_no_report(repo_url: str, bare_repo: Repo) -> None:
    """A push that asks for no report gets none, though it is applied."""
    with RawHttp(repo_url) as remote:
        reply = remote.post("git-receive-pack", push_body([CREATE], MINE_OBJECTS, capabilities=""))
    assert reply.status == 200
    assert reply.body == b""
    assert bare_repo.ref(LOCK) == MINE.oid


@pytest.mark.parametrize("any_sha1", [False, True])
def test_version_2_serves_objects_that_no_ref_reaches(
    git_server: GitHttpServer, server_root: Path, any_sha1: bool
) -> None:
    """Protocol version 2 serves a superseded lock commit by id, whether or not the repository allows any id."""
    repo = make_bare(server_root / "other.git", any_sha1=any_sha1)
    lost = repo.commit({"lock.json": b"superseded"}, message="superseded")
    body = (
        pkt(b"command=fetch") + pkt(b"object-format=sha1") + b"0001" + pkt(f"want {lost}\n".encode()) + pkt(b"done\n")
    )
    with RawHttp(git_server.repo_url("other.git")) as remote:
        reply = remote.post("git-upload-pack", body + FLUSH, {"Git-Protocol": "version=2"})
    assert b"packfile\n" in lines_of(reply.body)
