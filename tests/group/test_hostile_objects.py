"""Hostile tickets on a real server that checks nothing: what lands is what a careful clone accepts."""

from __future__ import annotations

from pathlib import Path

from gitref_lock.core.names import Nonce, Oid, RefName, TicketName
from gitref_lock.core.objects import GitObject, ObjectKind, build_tree
from gitref_lock.core.ticket import TICKET_FILE, Kind, Ticket, VerdictKind, build_ticket, decode_ticket
from gitref_lock.testing.gitserver import GitHttpServer
from tests.group.memory import LOCK
from tests.group.test_hostile_tickets import BLOB, HEADERS, INNER, LONG_LINE, TREES, commit_on, tree_of
from tests.support.gitcli import Repo, clone, git
from tests.support.runners import holder, push_from

QUEUE = "refs/lock-queue/main/"


def runners(folder: Path, url: str) -> Repo:
    """Let a first push make the lock; return the clone of the next runner, ready to push."""
    clones = [clone(url, folder / name) for name in ("first", "honest")]
    for repo in clones:
        (repo.path / f"{repo.path.name}.txt").write_text("mine\n")
    push_from(clones[0], url, "first")
    return clones[1]


def good_commit(bare: Repo, base: Oid) -> Oid:
    """Store a commit that adds a file."""
    files = {"README.md": b"first\n", "first.txt": b"mine\n", "good.txt": b"good\n"}
    return bare.commit(files, parents=(base,), message="good")


def put_ticket(bare: Repo, index: int, base: Oid, change: Oid) -> RefName:
    """Write a ticket for a commit straight into the server, ahead of everybody."""
    nonce = Nonce(f"{index:024x}")
    ticket = Ticket(
        Kind.LAND,
        (LOCK,),
        nonce,
        holder(f"stranger{index}"),
        0,
        1_000 + index,
        4_000_000_000,
        branch="main",
        base=base,
        changes=1,
        policy={"rules": []},
    )
    made = build_ticket(ticket, at_s=1_700_000_000, change=change)
    bare.store(*made)
    ref = RefName(QUEUE + TicketName(1_000 + index, nonce).leaf)
    bare.set_ref(ref, made[0].oid)
    return ref


def verdict_at(bare: Repo, ref: RefName) -> VerdictKind | None:
    """Return how a ticket ended."""
    ticket = decode_ticket(bare.git("show", f"{ref}:{TICKET_FILE}").encode())
    return ticket.verdict.kind if ticket.verdict is not None else None


def hostile_commits(bare: Repo, base: Oid) -> dict[str, Oid]:
    """Store one commit for each way to harm a clone; return them by what is wrong."""
    bare.store(BLOB, INNER, LONG_LINE)
    found = {}
    for what, rows in TREES.items():
        tree = tree_of(*rows)
        top = tree_of(("40000", "sub", tree))
        commit = commit_on(base, top, "hostile")
        bare.store(tree, top, commit)
        found[what] = commit.oid
    plain = build_tree({"a": BLOB})
    bare.store(plain)
    for what, spoil in {**HEADERS, "a date that is a word": _dated_now}.items():
        commit = GitObject(ObjectKind.COMMIT, spoil(commit_on(base, plain, "hostile").data))
        bare.store(commit)
        found[what] = commit.oid
    return found


def _dated_now(data: bytes) -> bytes:
    """Spoil a date so that the library that parses commits raises."""
    return data.replace(b" 1700000000 ", b" now ", 1)


def test_what_lands_passes_a_strict_clone(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """Beside every hostile commit at once a real push lands, all of those are set aside, and fsck finds nothing."""
    honest = runners(tmp_path, repo_url)
    base = bare_repo.ref("refs/heads/main")
    assert base is not None
    hostile = hostile_commits(bare_repo, base)
    good = good_commit(bare_repo, base)
    refs = {what: put_ticket(bare_repo, index, base, oid) for index, (what, oid) in enumerate(hostile.items())}
    good_ref = put_ticket(bare_repo, 999, base, good)
    report = push_from(honest, repo_url, "honest", timeout_s=600.0)
    assert report.landed is not None
    assert {what: verdict_at(bare_repo, ref) for what, ref in refs.items()} == dict.fromkeys(
        refs, VerdictKind.SET_ASIDE
    )
    assert verdict_at(bare_repo, good_ref) is VerdictKind.LANDED
    checked = tmp_path / "checked"
    git("-c", "transfer.fsckObjects=true", "clone", "-q", "--single-branch", repo_url, checked, cwd=tmp_path)
    Repo(checked).fsck()
    subjects = Repo(checked).git("log", "--format=%s").splitlines()
    assert subjects[:2] == ["honest", "good"]
    assert "hostile" not in subjects
    assert not (honest.path / "owned").exists()


def test_a_hundred_megabytes_of_a_stranger_are_not_held_in_memory(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """A ticket with a file of a hundred megabytes is broken off while it arrives, and set aside; others are landed."""
    honest = runners(tmp_path, repo_url)
    base = bare_repo.ref("refs/heads/main")
    assert base is not None
    work = clone(repo_url, tmp_path / "work")
    (work.path / "big.bin").write_bytes(bytes(100 << 20))
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "big")
    work.git("push", "-q", "origin", "HEAD:refs/big/one")
    big = bare_repo.ref("refs/big/one")
    assert big is not None
    good = good_commit(bare_repo, base)
    big_ref, good_ref = put_ticket(bare_repo, 1, base, big), put_ticket(bare_repo, 2, base, good)
    push_from(honest, repo_url, "honest", timeout_s=600.0)
    assert verdict_at(bare_repo, big_ref) is VerdictKind.SET_ASIDE
    assert verdict_at(bare_repo, good_ref) is VerdictKind.LANDED
    sizes = [path.stat().st_size for path in (honest.path / ".git").rglob("*") if path.is_file()]
    assert sum(sizes) < 1 << 20
