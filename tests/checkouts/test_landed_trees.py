"""What lands, beside git: generated situations as real commits through the code that a push runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Commit, ObjectID, ShaFile
from dulwich.refs import Ref
from dulwich.repo import Repo as Library

from gitref_lock.core.names import Oid, branch_ref, lock_name
from gitref_lock.core.objects import GitObject, build_state_commit
from gitref_lock.landing.change import Change, NothingSurvivesError
from gitref_lock.landing.graph import find_ours
from gitref_lock.landing.merge.policy import Policy, Rule
from gitref_lock.landing.replay import Committer, ReplayConflictError, Replayer
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import Landed, PushRequest
from gitref_lock.runtime.landing_plan import Target
from gitref_lock.runtime.push import Pusher
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.clock import jumping_system
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer
from tests.differential.comparison import git_merge, write_situations
from tests.differential.situations import tree_situation
from tests.support.gitcli import Repo, git_result
from tests.support.runners import holder

SITUATIONS = 300
AS_GIT = Policy((Rule("**", "text"),))
MAIN = branch_ref("main")
_SIDES = (b"ours", b"base", b"theirs")


def own_result(repo: Library, number: int, policy: Policy) -> tuple[str | None, set[str]]:
    """Replay ours on theirs as a push does; return the landed tree (None: refused) and the ids of what is sent."""
    ours, base, theirs = (Oid(repo.refs[Ref(b"refs/heads/%s%d" % (side, number))].decode()) for side in _SIDES)
    store = repo.object_store
    replayer = Replayer(store, policy, Committer(b"Runner <runner@example.invalid>", 1_700_000_100), store.add_object)
    change = Change(store, find_ours(store, ours, [base]), replayer)
    if not change.ours.commits:
        return "", set()
    try:
        prepared = change.prepare(theirs)
    except (ReplayConflictError, NothingSurvivesError):
        return None, set()
    commit = store[ObjectID(prepared.head.encode())]
    assert isinstance(commit, Commit)
    repo.refs[Ref(b"refs/landed/%d" % number)] = commit.id
    return commit.tree.decode(), {item.oid for item in prepared.objects}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_landed_tree_is_git_s_own_where_git_s_merge_is_clean(seed: int, tmp_path: Path) -> None:
    """Of hundreds of pairs of commits, renames included, none lands clean where git conflicts, none another tree.

    What is sent for each is complete: with the remote's own objects git finds the landed branch sound.
    """
    rng = Random(7000 + seed)
    situations = [tree_situation(rng) for _ in range(SITUATIONS)]
    folder = tmp_path / "both.git"
    write_situations(situations, folder)
    counts: Counter[str] = Counter()
    sent: set[str] = set()
    with closing(Library(str(folder))) as repo:
        for number in range(SITUATIONS):
            wanted = git_merge(folder, f"ours{number}", f"theirs{number}")
            tree, objects = own_result(repo, number, AS_GIT)
            sent |= objects
            if tree is None or wanted is None:
                assert tree is None, f"clean where git conflicts: situation {number} of seed {seed}"
                counts["both conflict" if wanted is None else "stricter"] += 1
            else:
                assert tree == wanted, f"another tree: situation {number} of seed {seed}"
                counts["same"] += 1
    assert counts["same"] > SITUATIONS // 3, counts
    assert counts["stricter"] <= SITUATIONS // 50, counts
    assert_complete(Repo(folder), sent, tmp_path)


def assert_complete(both: Repo, sent: set[str], tmp_path: Path) -> None:
    """Give a fresh server the remote's branches and the sent objects only; git must find all landed commits whole."""
    server = Repo(tmp_path / "server.git")
    server.path.mkdir()
    server.git("init", "-q", "--bare")
    server.git("fetch", "-q", both.path, "refs/heads/theirs*:refs/heads/theirs*")
    pack = both.path / "sent"
    both.git("pack-objects", "-q", pack, stdin="".join(f"{oid}\n" for oid in sorted(sent)).encode())
    for name in both.path.glob("sent-*"):
        name.rename(server.path / "objects/pack" / f"pack-{name.name.removeprefix('sent-')}")
    landed = both.refs("refs/landed/")
    assert landed
    server.git("update-ref", "--stdin", stdin="".join(f"create {ref} {oid}\n" for ref, oid in landed.items()).encode())
    server.git("rev-list", "--objects", "--quiet", "--glob=refs/landed/*")


def test_with_the_built_in_policy_no_marker_ever_lands(tmp_path: Path) -> None:
    """Where git would conflict the policy decides or the push is refused: no landed file holds a conflict marker."""
    rng = Random(8000)
    situations = [tree_situation(rng) for _ in range(150)]
    folder = tmp_path / "both.git"
    write_situations(situations, folder)
    with closing(Library(str(folder))) as repo:
        for number in range(len(situations)):
            own_result(repo, number, Policy())
    landed = Repo(folder).refs("refs/landed/")
    assert len(landed) > 100
    done = git_result("grep", "-l", "-e", "^<<<<<<< ", *landed, "--", cwd=folder)
    assert (done.returncode, done.stdout) == (1, b"")


# concurrent JSON histories


def memory_of(made: Sequence[GitObject]) -> MemoryObjectStore:
    """Return a store with these objects."""
    store = MemoryObjectStore()
    for item in made:
        number = {"commit": 1, "tree": 2, "blob": 3}[item.kind.value]
        store.add_object(ShaFile.from_raw_string(number, item.data))
    return store


class JsonRunner:
    """A runner with a store of its own that began at the first commit and edits one document."""

    def __init__(
        self, server: MemoryServer, name: str, first: Sequence[GitObject], document: dict[str, object], seed: int
    ) -> None:
        """Begin at the commit ``first``, whose document is given."""
        system = jumping_system(seed)
        self.name = name
        self.remote = Remote(MemoryRefStore(server, system), system, call_timeout_s=10.0)
        self.edited: dict[str, object] = json.loads(json.dumps(document))
        self._first = first
        self._start = first[0].oid
        self._number = seed

    def push(self) -> Landed:
        """Commit the edited document on the first commit, and land it wherever the branch is now."""
        text = json.dumps(self.edited, indent=2).encode() + b"\n"
        made = build_state_commit(
            {"state.json": text},
            parents=[self._start],
            author_name=self.name,
            at_s=1_700_000_001 + self._number,
            message=self.name,
        )
        store = memory_of([*self._first, *made])
        replayer = Replayer(store, Policy(), Committer(b"R <r@example.invalid>", 1_700_000_100), store.add_object)
        change = Change(store, find_ours(store, made[0].oid, [self._start]), replayer, (self._start,))
        request = PushRequest(Target("main", MAIN, lock_name("main")), holder(self.name), wait_s=60.0)
        return Pusher.of(self.remote, change, request, Deadline.after(self.remote.system, 120.0)).run()


def edit(rng: Random, document: dict[str, object], who: str) -> dict[str, object]:
    """Set two to four keys, some of them in a nested object, to values of one's own; return them by JSON pointer."""
    chosen: dict[str, object] = {}
    for _ in range(rng.randint(2, 4)):
        value = f"{who}-{rng.randint(0, 99)}"
        name = f"k{rng.randint(0, 14)}"
        if rng.random() < 0.4:
            inner = document.setdefault("nested", {})
            assert isinstance(inner, dict)
            inner[name] = value
            chosen[f"/nested/{name}"] = value
        else:
            document[name] = value
            chosen[f"/{name}"] = value
    return chosen


def document_at(server: MemoryServer) -> tuple[dict[str, object], bytes]:
    """Return the branch's document and its bytes."""
    tip = server.listing(["refs/heads/main"])[MAIN]
    read = MemoryRefStore(server, jumping_system(0)).read([tip])
    text = read[tip].files["state.json"]
    loaded = json.loads(text)
    assert isinstance(loaded, dict)
    return loaded, text


def at(document: dict[str, object], pointer: str) -> object:
    """Return what a document holds at a pointer of one or two steps."""
    value: object = document
    for step in pointer.split("/")[1:]:
        assert isinstance(value, dict)
        value = value[step]
    return value


@pytest.mark.parametrize("block", range(8))
def test_no_key_of_concurrent_histories_is_lost(block: int) -> None:
    """In 200 histories of two to five runners that began alike, every key that one of them set is there at the end.

    A key that several set holds the last one's value, and that one's report names it.
    """
    for number in range(25):
        rng = Random(block * 1000 + number)
        base: dict[str, object] = {f"k{index}": "base" for index in range(rng.randint(0, 8))} | {"nested": {"n": 1}}
        first = build_state_commit(
            {"state.json": json.dumps(base, indent=2).encode() + b"\n"},
            author_name="seed",
            at_s=1_700_000_000,
            message="seed",
        )
        server = MemoryServer()
        server.put(first)
        server.set_ref(MAIN, first[0].oid)
        runners = [JsonRunner(server, f"r{who}", first, base, who + 1) for who in range(rng.randint(2, 5))]
        wishes = {runner.name: edit(rng, runner.edited, runner.name) for runner in runners}
        expected: dict[str, object] = {}
        for runner in runners:
            landed = runner.push()
            overwritten = {key for key, value in wishes[runner.name].items() if expected.get(key, value) != value}
            details = [item["detail"] for item in landed.conflicts]
            named = {str(pointer) for detail in details if isinstance(detail, list) for pointer in detail}
            assert overwritten <= named, (block, number, runner.name)
            expected |= wishes[runner.name]
        final, text = document_at(server)
        for pointer, value in expected.items():
            assert at(final, pointer) == value, (block, number, pointer)
        for key in base:
            assert key in final, (block, number, key)
        assert text.endswith(b"\n")
        assert text == json.dumps(final, indent=2).encode() + b"\n"
