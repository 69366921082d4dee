"""Tickets by somebody who means harm: each is set aside or ignored, and everybody else lands in the same swap."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from gitref_lock.core.names import Nonce, Oid, RefName, TicketName, lock_name
from gitref_lock.core.objects import GitObject, ObjectKind, build_commit, build_state_commit, build_tree
from gitref_lock.core.ticket import READ_LIMIT, Ticket, VerdictKind
from gitref_lock.errors import PolicyError
from gitref_lock.landing.change import Change
from gitref_lock.landing.object_store import StoreSink
from gitref_lock.ports import RemoteError
from gitref_lock.remotes.packs import weigh_pack
from gitref_lock.runtime import combine, ticket_fetch
from gitref_lock.runtime.landing_turn import MAX_BATCH
from tests.group.memory import FIRST, LOCK, MAIN, POLICY_JSON, QUEUE, Hub, Runner, land_ticket

SET_ASIDE = VerdictKind.SET_ASIDE


def scene() -> tuple[Hub, Runner, Change]:
    """Return a remote, a stranger and the change that the stranger's tickets carry."""
    hub = Hub.open()
    stranger = hub.runner("stranger")
    change = stranger.line()
    for oid in stranger.store:
        kind, data = stranger.store.get_raw(oid)
        hub.server.put([GitObject({1: ObjectKind.COMMIT, 2: ObjectKind.TREE, 3: ObjectKind.BLOB}[kind], data)])
    return hub, stranger, change


def lands_all(hub: Hub, *names: str) -> None:
    """Let two more runners come, one waiting and one landing; assert that both are landed by one swap."""
    waiter, combiner = hub.runner("waiter"), hub.runner("combiner")
    posted = waiter.post(waiter.line())
    combiner.push(combiner.line())
    assert hub.verdict(posted.ref).kind is VerdictKind.LANDED
    subjects = hub.subjects()
    for name in ("waiter", "combiner", *names):
        assert subjects.count(name) == 1, subjects
    lines = [json.loads(line)["id"] for line in hub.file("log.jsonl").splitlines()]
    assert sorted(lines) == sorted({"seed", "waiter", "combiner", *(name for name in names if name != "first")})


def raw_ticket(hub: Hub, data: bytes, nonce: Nonce, parent: Oid | None = None) -> RefName:
    """Write these bytes as a ticket ahead of all others."""
    made = build_state_commit(
        {"ticket.json": data}, author_name="x", at_s=1, message="x", parents=[] if parent is None else [parent]
    )
    hub.server.put(made)
    ref = RefName(QUEUE + TicketName(1_000, nonce).leaf)
    hub.server.set_ref(ref, made[0].oid)
    return ref


NONCE = Nonce("ab" * 12)


def shaped(ticket: Ticket, **values: object) -> bytes:
    """Return ticket.json with some values replaced, whatever they are."""
    return json.dumps({**ticket.to_json(), **values}).encode()


UNREADABLE: dict[str, Callable[[Ticket], bytes]] = {
    "not JSON": lambda ticket: b"\x00\xff{",
    "huge": lambda ticket: b'{"a": "' + b"x" * READ_LIMIT + b'"}',
    "deep": lambda ticket: b"[" * 50_000,
    "a wrong nonce": lambda ticket: shaped(ticket, nonce="cd" * 12),
    "an unknown schema": lambda ticket: shaped(ticket, schema=99),
    "no locks": lambda ticket: shaped(ticket, locks=[]),
    "a lock that is no name": lambda ticket: shaped(ticket, locks=["../../x"]),
    "a base that is no id": lambda ticket: shaped(ticket, base="HEAD"),
    "a billion commits": lambda ticket: shaped(ticket, changes=10**9),
    "a policy that is a list": lambda ticket: shaped(ticket, policy=[1]),
    "an expiry that is no instant": lambda ticket: shaped(ticket, expires_at="soon"),
    "infinity": lambda ticket: shaped(ticket, enqueued_ms=10**30),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_ticket_that_cannot_be_read_ends_after_its_claim_window(what: str) -> None:
    """It delays whoever comes first by its claim window, gets a verdict in that swap, and delays nobody after that."""
    hub, stranger, change = scene()
    ticket = land_ticket(hub, stranger, change, nonce=NONCE)
    ref = raw_ticket(hub, UNREADABLE[what](ticket), NONCE, change.head)
    lands_all(hub)
    assert hub.verdict(ref).kind is SET_ASIDE
    next_one = hub.runner("next")
    assert next_one.push(next_one.line()).how.value == "fast"


def root(hub: Hub) -> Oid:
    """Store a commit of no history."""
    made = build_state_commit({"x": b"x"}, author_name="x", at_s=1, message="root")
    hub.server.put(made)
    return made[0].oid


def merge(hub: Hub, change: Change) -> Oid:
    """Store a merge of the change and something else."""
    made = build_state_commit(FIRST, author_name="x", at_s=1, message="merge", parents=[change.head, root(hub)])
    hub.server.put(made)
    return made[0].oid


CHAINS: dict[str, tuple[dict[str, object], str]] = {
    "no change at all": ({}, "none"),
    "two parents": ({}, "two"),
    "a base that is nowhere": ({"base": "ee" * 20}, "head"),
    "a base that is no ancestor": ({"base": "unrelated"}, "head"),
    "too few commits": ({"changes": 0}, "head"),
    "the base itself": ({}, "base"),
    "a merge": ({"changes": 5}, "merge"),
    "a root commit": ({"changes": 1000}, "root"),
    "another lock": ({"locks": (lock_name("other"),)}, "head"),
    "two locks": ({"locks": (LOCK, lock_name("other"))}, "head"),
    "no base": ({"base": ""}, "head"),
}


@pytest.mark.parametrize("what", CHAINS)
def test_commits_that_do_not_lead_to_the_named_base_are_set_aside(what: str) -> None:
    """Whatever the ticket says of its commits is checked on the commits; the others land in the same swap."""
    hub, stranger, change = scene()
    fields, parent = CHAINS[what]
    if fields.get("base") == "unrelated":
        fields = {"base": root(hub)}
    carried = {"none": None, "head": change.head, "base": hub.base, "merge": None, "root": None, "two": None}[parent]
    if parent == "merge":
        carried = merge(hub, change)
    elif parent == "root":
        carried = root(hub)
    ticket = land_ticket(hub, stranger, change, **fields)
    ref = hub.put_ticket(ticket, change=carried)
    if parent == "two":
        made = build_state_commit(
            {"ticket.json": ticket.encode()}, author_name="x", at_s=1, message="x", parents=[change.head, root(hub)]
        )
        hub.server.put(made)
        hub.server.set_ref(ref, made[0].oid)
    lands_all(hub)
    assert hub.verdict(ref).kind is SET_ASIDE


def test_more_commits_than_there_are_is_a_harmless_lie() -> None:
    """A ticket that claims a thousand commits and carries one is landed as what it carries."""
    hub, stranger, change = scene()
    ref = hub.put_ticket(land_ticket(hub, stranger, change, changes=1000), change=change.head)
    lands_all(hub, "stranger")
    assert hub.verdict(ref).kind is VerdictKind.LANDED


POLICIES: dict[str, object] = {
    "a local command": {"rules": [["log.jsonl", "regenerate:touch owned"]]},
    "a driver": {"rules": [["log.jsonl", "driver:evil"]]},
    "no rules": {},
    "rules that are text": {"rules": "x"},
    "a rule of three": {"rules": [["a", "b", "c"]]},
    "too many rules": {"rules": [["a", "ours"]] * 1001},
    "an unknown strategy": {"rules": [["*", "nonsense"]]},
    "an open bracket": {"rules": [["[a", "ours"]]},
}


@pytest.mark.parametrize("what", POLICIES)
def test_a_policy_that_cannot_travel_is_set_aside(what: str) -> None:
    """A policy that names a command, or that cannot be read, is never carried out; the others land."""
    hub, stranger, change = scene()
    ref = hub.put_ticket(land_ticket(hub, stranger, change, policy=POLICIES[what]), change=change.head)
    lands_all(hub)
    assert hub.verdict(ref).kind is SET_ASIDE


def test_globs_that_would_match_for_ever_take_no_time() -> None:
    """A glob of five hundred stars against every path is matched without going back and forth."""
    hub, stranger, change = scene()
    rules = [["**/" * 150 + "*a" * 200 + "b", "ours"]] * 60 + POLICY_JSON["rules"]  # type: ignore[operator]  # a list
    ref = hub.put_ticket(land_ticket(hub, stranger, change, policy={"rules": rules}), change=change.head)
    lands_all(hub, "stranger")
    assert hub.verdict(ref).kind is VerdictKind.LANDED


def carried(hub: Hub, stranger: Runner, *objects: GitObject) -> RefName:
    """Post a commit that a stranger made of these objects (commit first)."""
    hub.server.put(objects)
    return hub.put_ticket(land_ticket(hub, stranger, stranger.line(), changes=1), change=objects[0].oid)


def tree_of(*rows: tuple[str, str, GitObject]) -> GitObject:
    """Return a tree of exactly these rows, however wrong."""
    data = b"".join(
        mode.encode() + b" " + name.encode("utf-8", "surrogateescape") + b"\0" + bytes.fromhex(item.oid)
        for mode, name, item in rows
    )
    return GitObject(ObjectKind.TREE, data)


def commit_on(base: Oid, tree: GitObject, message: str = "hostile") -> GitObject:
    """Return a commit of a tree on a base."""
    return build_commit(
        tree=tree.oid,
        parents=[base],
        author_name="x",
        author_email="x@example.invalid",
        at_s=1_700_000_000,
        message=message,
    )


BLOB = GitObject(ObjectKind.BLOB, b"[core]\n\tfsmonitor = touch owned\n")
INNER = build_tree({"config": BLOB})
LONG_LINE = GitObject(ObjectKind.BLOB, b"*.txt " + b"a" * 3000 + b"\n")
NONE = GitObject(ObjectKind.BLOB, b"never stored")

TREES: dict[str, tuple[tuple[str, str, GitObject], ...]] = {
    ".git": (("40000", ".git", INNER),),
    ".GIT": (("40000", ".GIT", INNER),),
    "git~1": (("40000", "git~1", INNER),),
    ".git with a dot": (("40000", ".git.", INNER),),
    ".git with a stream": (("100644", ".git::$INDEX_ALLOCATION", BLOB),),
    ".git with an invisible letter": (("40000", ".g\u200cit", INNER),),
    ".git behind a backslash": (("100644", "a\\.git\\config", BLOB),),
    "dot": (("40000", ".", INNER),),
    "dot dot": (("40000", "..", INNER),),
    "a slash": (("100644", "a/b", BLOB),),
    "an absolute name": (("100644", "/etc/passwd", BLOB),),
    "no name": (("100644", "", BLOB),),
    "a name twice": (("100644", "a", BLOB), ("100644", "a", BLOB)),
    "a file and a folder of one name": (("100644", "a", BLOB), ("100644", "a.b", BLOB), ("40000", "a", INNER)),
    "names out of order": (("100644", "b", BLOB), ("100644", "a", BLOB)),
    "a strange mode": (("100600", "a", BLOB),),
    "a mode with a zero": (("040000", "a", INNER),),
    "a folder that is a file": (("40000", "a", BLOB),),
    "a file that is a folder": (("100644", "a", INNER),),
    "a submodule's configuration": (("100644", ".gitmodules", BLOB),),
    "a linked .gitmodules": (("120000", ".gitmodules", BLOB),),
    "a long attribute line": (("100644", ".gitattributes", LONG_LINE),),
}


@pytest.mark.parametrize("what", TREES)
@pytest.mark.parametrize("depth", [0, 2])
def test_a_tree_that_would_harm_a_clone_is_never_landed(what: str, depth: int) -> None:
    """Trees that git fsck --strict refuses are set aside, at the root and below; the rest of the batch lands."""
    hub, stranger, _ = scene()
    tree = tree_of(*TREES[what])
    trees = [tree]
    for _ in range(depth):
        trees.insert(0, tree_of(("40000", "sub", trees[0])))
    commit = commit_on(hub.base, trees[0])
    ref = carried(hub, stranger, commit, *trees, BLOB, INNER, LONG_LINE)
    lands_all(hub)
    assert hub.verdict(ref).kind is SET_ASIDE
    assert "hostile" not in hub.subjects()
    assert tree.oid not in reachable(hub)


def reachable(hub: Hub) -> set[Oid]:
    """Return every object that the branch reaches."""
    return hub.server._closure([hub.server.refs[MAIN]], ())


HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "a NUL in the message": lambda data: data + b"a\0b",
    "no mail": lambda data: data.replace(b" <x@example.invalid>", b"", 1),
    "an open mail": lambda data: data.replace(b"<x@example.invalid>", b"<x@example.invalid", 1),
    "no name": lambda data: data.replace(b"author x <", b"author <", 1),
    "a date with a zero": lambda data: data.replace(b" 1700000000 ", b" 01700000000 ", 1),
    "a date beyond time": lambda data: data.replace(b" 1700000000 ", b" 99999999999999999999 ", 1),
    "a zone of three digits": lambda data: data.replace(b" +0000\n", b" +000\n", 1),
    "a line without a value": lambda data: data.replace(b"\n\n", b"\nword\n\n", 1),
    "a committer of two lines": lambda data: data.replace(b"\n\n", b"\n <y@example.invalid> 1 +0000\n\n", 1),
    "two authors": lambda data: data.replace(b"committer", b"author y <y> 1 +0000\ncommitter", 1),
    "no author": lambda data: b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"author")),
    "no end": lambda data: data.split(b"\n\n")[0],
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_commit_that_git_would_not_write_is_never_landed(what: str) -> None:
    """Malformed headers and NUL bytes are set aside before any library parses them."""
    hub, stranger, _ = scene()
    tree = build_tree({"a": BLOB})
    commit = GitObject(ObjectKind.COMMIT, HEADERS[what](commit_on(hub.base, tree).data))
    ref = carried(hub, stranger, commit, tree, BLOB)
    lands_all(hub)
    assert hub.verdict(ref).kind is SET_ASIDE


def test_folders_without_end_are_set_aside() -> None:
    """A tree five thousand folders deep breaks nothing that recurses."""
    hub, stranger, _ = scene()
    trees = [build_tree({"a": BLOB})]
    for _ in range(5000):
        trees.append(tree_of(("40000", "d", trees[-1])))
    ref = carried(hub, stranger, commit_on(hub.base, trees[-1]), *trees, BLOB)
    lands_all(hub)
    assert hub.verdict(ref).kind is SET_ASIDE


def test_a_json_file_without_end_is_set_aside_or_kept_as_it_is() -> None:
    """Content nested a hundred thousand deep, under a rule that parses it, breaks no batch."""
    hub, stranger, _ = scene()
    rules = {"rules": [["log.jsonl", "json"], ["*.txt", "json"]]}
    bomb = GitObject(ObjectKind.BLOB, b"[" * 100_000 + b"]" * 100_000)
    blobs = {"log.jsonl": bomb, "note.txt": bomb}
    tree = build_tree(blobs)
    hub.server.put([tree, bomb, commit_on(hub.base, tree)])
    ref = hub.put_ticket(
        land_ticket(hub, stranger, stranger.line(), changes=1, policy=rules), change=commit_on(hub.base, tree).oid
    )
    other = hub.runner("other")
    other.post(other.line())
    combiner = hub.runner("combiner")
    combiner.push(combiner.line())
    assert {"other", "combiner"} <= set(hub.subjects())
    assert hub.verdict(ref).kind in {SET_ASIDE, VerdictKind.LANDED, VerdictKind.CONFLICT}


@pytest.mark.timeout(60)
def test_a_file_of_many_keys_takes_time_in_proportion() -> None:
    """Sixty thousand keys that two strangers set apart are merged in seconds; minutes would outlive the tip."""
    hub = Hub.open()
    rules = {"rules": [["keys.json", "json"]]}
    posted = []
    for name, step in (("one", 1), ("two", 2)):
        runner = hub.runner(name)
        data = json.dumps({f"{name}{index}" if index % 2 else str(index): step for index in range(60_000)})
        posted.append(runner.post(runner.change({"keys.json": data.encode()}), policy=rules))
    combiner = hub.runner("combiner")
    combiner.push(combiner.line())
    assert {hub.verdict(ticket.ref).kind for ticket in posted} == {VerdictKind.LANDED}
    assert len(json.loads(hub.file("keys.json"))) == 90_000


@pytest.mark.timeout(60)
def test_much_yaml_is_left_to_its_author() -> None:
    """A format that takes seconds for a hundred kilobytes is merged for others only in small amounts, files in sum."""
    hub = Hub.open()
    rules = {"rules": [["*.yaml", "yaml"]]}

    def document(value: str, keys: int) -> bytes:
        return "".join(f"key{index}:\n  value: {value}\n" for index in range(keys)).encode()

    posted = []
    for name, files, keys in (("few", 1, 20), ("some", 1, 20), ("many", 30, 100), ("more", 30, 100)):
        runner = hub.runner(name)
        stem = "small" if keys == 20 else "large"
        content = {f"{stem}{number}.yaml": document(name, keys) for number in range(files)}
        posted.append(runner.post(runner.change(content), policy=rules))
    combiner = hub.runner("combiner")
    combiner.push(combiner.line())
    kinds = [hub.verdict(ticket.ref).kind for ticket in posted]
    assert kinds == [VerdictKind.LANDED, VerdictKind.LANDED, VerdictKind.LANDED, SET_ASIDE]
    assert "too much yaml" in hub.verdict(posted[-1].ref).why


def test_a_large_change_is_left_to_its_author(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred megabytes that compress to nothing are weighed before they are unpacked, and set aside."""
    hub, stranger, _ = scene()
    blob = GitObject(ObjectKind.BLOB, bytes(100 << 20))
    tree = build_tree({"big": blob})
    ref = carried(hub, stranger, commit_on(hub.base, tree), tree, blob)
    waiter, combiner = hub.runner("waiter"), hub.runner("combiner")
    seen: list[int] = []
    original = StoreSink.add_pack_bytes

    def noting(self: StoreSink, pack: bytes, *, promisor: bool) -> None:
        seen.append(weigh_pack(pack, max_total_bytes=1 << 30))
        original(self, pack, promisor=promisor)

    monkeypatch.setattr(StoreSink, "add_pack_bytes", noting)
    posted = waiter.post(waiter.line())
    combiner.push(combiner.line())
    assert hub.verdict(ref).kind is SET_ASIDE
    assert "too large" in hub.verdict(ref).why
    assert hub.verdict(posted.ref).kind is VerdictKind.LANDED
    assert max(seen) < ticket_fetch.MAX_INFLATED_BYTES


def test_a_batch_has_room_for_so_many_bytes_and_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room waits for the next batch, and what stands behind it does not pass it."""
    monkeypatch.setattr(combine, "MAX_BATCH_BYTES", 120_000)
    hub = Hub.open()
    sizes = {"a": 50_000, "b": 50_000, "c": 50_000, "d": 10, "e": 200_000}
    posted = {}
    for name, size in sizes.items():
        runner = hub.runner(name)
        posted[name] = runner.post(runner.change({f"{name}.bin": name.encode() * size}))
    combiner = hub.runner("combiner")
    combiner.push(combiner.line())
    assert hub.subjects()[:3] == ["combiner", "b", "a"]
    assert all(hub.ticket(posted[name].ref).verdict is None for name in "cde")
    second = hub.runner("second")
    second.push(second.line())
    assert hub.subjects()[:3] == ["second", "d", "c"]
    assert hub.verdict(posted["e"].ref).kind is SET_ASIDE


def test_thousands_of_tickets_delay_nobody_for_long() -> None:
    """Three thousand tickets of a stranger: the next runner lands within two minutes, with 127 of them."""
    hub, stranger, change = scene()
    for index in range(3000):
        nonce = Nonce(f"{index:024x}")
        hub.put_ticket(land_ticket(hub, stranger, change, nonce=nonce), change=change.head)
    combiner = hub.runner("combiner")
    started_s = combiner.remote.system.clock.monotonic()
    landed = combiner.push(combiner.line())
    assert combiner.remote.system.clock.monotonic() - started_s < 120
    assert landed.how.value == "queued"
    assert hub.subjects().count("combiner") == 1
    ended = [ref for ref in hub.server.refs if ref.startswith(QUEUE) and hub.ticket(ref).verdict is not None]
    assert len(ended) == MAX_BATCH


def test_one_change_under_two_names_is_landed_once() -> None:
    """A ticket that is copied to another name, before or after it was landed, is set aside there."""
    hub = Hub.open()
    waiter = hub.runner("waiter")
    posted = waiter.post(waiter.line())
    copy = RefName(QUEUE + replace(posted.name, rank_ms=posted.name.rank_ms + 1).leaf)
    hub.server.set_ref(copy, posted.tip)
    combiner = hub.runner("combiner")
    combiner.push(combiner.line())
    assert hub.verdict(posted.ref).kind is VerdictKind.LANDED
    assert hub.verdict(copy).kind is SET_ASIDE
    again = RefName(QUEUE + replace(posted.name, rank_ms=posted.name.rank_ms + 2).leaf)
    hub.server.set_ref(again, posted.tip)
    second = hub.runner("second")
    second.push(second.line())
    assert hub.verdict(again).kind is SET_ASIDE
    assert hub.subjects().count("waiter") == 1


def test_a_copy_of_my_own_ticket_is_not_landed_beside_it() -> None:
    """A stranger puts my ticket under an earlier name: when I land the queue, mine is landed and the copy set aside."""
    hub = Hub.open()
    blocker, mine = hub.runner("blocker"), hub.runner("mine")
    blocker.post(blocker.line())
    copies: list[RefName] = []

    def copy(kind: str, work: Callable[[], object]) -> object:
        found = work()
        if kind == "swap" and not copies:
            own = next(
                ref for ref in hub.server.refs if ref.startswith(QUEUE) and hub.ticket(ref).holder.name == "mine"
            )
            name = own.removeprefix(QUEUE)
            copies.append(RefName(f"{QUEUE}t-{1000:016d}-{name[-24:]}"))
            hub.server.set_ref(copies[0], hub.server.refs[own])
        return found

    mine.remote.store.exchange = copy  # type: ignore[attr-defined]  # a watched store
    mine.push(mine.line())
    assert copies
    assert hub.subjects().count("mine") == 1
    assert hub.verdict(copies[0]).kind is SET_ASIDE


def test_an_expiry_of_years_is_cut_in_the_verdict() -> None:
    """A ticket may claim to live for years; its verdict is swept after ten minutes like any other."""
    hub, stranger, change = scene()
    now_at = int(stranger.remote.system.clock.wall())
    ref = hub.put_ticket(land_ticket(hub, stranger, change, expires_at=now_at + 10**9), change=change.head)
    lands_all(hub, "stranger")
    assert hub.ticket(ref).expires_at < now_at + 3600


def test_a_fetch_that_fails_sets_nobody_aside() -> None:
    """When the waiting changes cannot be fetched now, the head lands its own and leaves theirs waiting."""
    hub = Hub.open()
    waiter = hub.runner("waiter")
    posted = waiter.post(waiter.line())
    combiner = hub.runner("combiner")

    def broken(self: ticket_fetch.TicketFetch, entries: object) -> None:
        raise RemoteError("unreachable", "reset", transient=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ticket_fetch.TicketFetch, "_ask", broken)
        combiner.push(combiner.line())
    assert hub.ticket(posted.ref).verdict is None
    assert hub.subjects()[0] == "combiner"
    later = hub.runner("later")
    later.push(later.line())
    assert hub.verdict(posted.ref).kind is VerdictKind.LANDED


def test_a_server_that_refuses_one_commit_refuses_only_its_author() -> None:
    """A hook that refuses somebody's commit does not fail whoever combined it; its author gets the error."""
    hub = Hub.open()
    bad, good = hub.runner("bad"), hub.runner("good")
    refused = bad.line()
    bad_ticket = bad.post(refused)

    def hook(commands: object) -> str | None:
        tips = [cmd.new for cmd in commands if cmd.ref == MAIN]  # type: ignore[attr-defined]  # commands
        return "no commits of bad here" if tips and b"bad" in messages(hub, tips[0]) else None

    hub.server.pre_receive_hook = hook
    landed = good.push(good.line())
    assert landed.how.value == "queued"
    assert hub.subjects()[0] == "good"
    pusher = bad.pusher(refused)
    pusher.queue.ticket = bad_ticket
    with pytest.raises(PolicyError, match="no commits of bad"):
        pusher.run()
    assert hub.verdict(bad_ticket.ref).kind is VerdictKind.WITHDRAWN
    assert "bad" not in hub.subjects()


def messages(hub: Hub, tip: Oid) -> bytes:
    """Return the messages of the new commits down to the present branch."""
    found, at = b"", tip
    while at != hub.server.refs[MAIN]:
        head, _, message = hub.server.objects[at].data.partition(b"\n\n")
        found += message
        at = Oid(head.split(b"parent ")[1][:40].decode())
    return found


def test_the_owner_of_a_change_that_was_set_aside_lands_it() -> None:
    """What others may not land, its author lands from the same queue, or gets the error."""
    hub = Hub.open()
    owner, combiner = hub.runner("owner"), hub.runner("combiner")
    change = owner.change({".gitmodules": b'[submodule "x"]\n\tpath = x\n\turl = ../x\n'})
    posted = owner.post(change)
    combiner.push(combiner.line())
    assert hub.verdict(posted.ref).kind is SET_ASIDE
    pusher = owner.pusher(change)
    pusher.queue.ticket = posted
    landed = pusher.run()
    assert landed.how.value == "fast"
    assert hub.subjects()[0] == "owner"
