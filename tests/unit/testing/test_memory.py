"""The memory server: git's verdicts, checked case by case against git itself, and the door for simulators."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from gitref_lock.core.names import ZERO_OID, Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.refs import (
    Absent,
    Applied,
    Breached,
    RefEdit,
    RefusalKind,
    Refused,
    Role,
    Superseded,
    Unknown,
)
from gitref_lock.ports import FetchRequest, ObjectsGoneError, Traffic
from gitref_lock.remotes.child import ChildStream, child_environment
from gitref_lock.remotes.packs import write_pack
from gitref_lock.remotes.pktline import FLUSH_PKT, packets_from, pkt
from gitref_lock.remotes.streams import Deadline, LinkError, Reader
from gitref_lock.remotes.wire import Report, parse_advertisement, parse_report
from gitref_lock.remotes.words import kind_of
from gitref_lock.system import SystemClock, real_system
from gitref_lock.testing.contract_kit import create, delete, lock, present, state, update
from gitref_lock.testing.memory import Command, MemoryRefStore, MemoryServer, MemorySink
from tests.support.gitcli import Repo, make_bare

T = TypeVar("T")
ONE, TWO, THREE = state("one"), state("two"), state("three")
MAIN = RefName("refs/heads/main")


def store_on(server: MemoryServer) -> MemoryRefStore:
    """Return a store with the real clock."""
    return MemoryRefStore(server, real_system())


def pushed_to_git(repo: Repo, commands: Sequence[Command], objects: Sequence[GitObject], *, atomic: bool) -> Report:
    """Push by hand through git receive-pack."""
    child = ChildStream(["git", "receive-pack", str(repo.path)], child_environment({}, protocol_v2=False), Traffic())
    deadline = Deadline.after(SystemClock(), 30)
    parse_advertisement(packets_from(Reader(child, deadline).exactly))
    caps = "\0 report-status side-band-64k" + (" atomic" if atomic else "")
    lines = [f"{cmd.old} {cmd.new} {cmd.ref}{'' if index else caps}" for index, cmd in enumerate(commands)]
    only_deletes = all(cmd.new == ZERO_OID for cmd in commands)
    body = b"".join(map(pkt, lines)) + FLUSH_PKT + (b"" if only_deletes else write_pack(objects))
    child.send(body, deadline)
    edits = [RefEdit(cmd.ref, Absent(), ONE[0].oid, Role.LOCK) for cmd in commands]
    report = parse_report(packets_from(Reader(child, deadline).exactly), edits)
    child.close()
    return report


class Twin:
    """A memory server and a real repository that get the same pushes."""

    def __init__(self, folder: Path) -> None:
        """Begin empty on both sides."""
        self.repo = make_bare(folder / "twin.git", any_sha1=False, with_commit=False)
        self.server = MemoryServer()

    def push(self, commands: Sequence[Command], objects: Sequence[GitObject] = (), *, atomic: bool = True) -> Report:
        """Push to both; fail unless they agree on each ref, on the kind of refusal, and on the refs afterwards."""
        ours = self.server.push(commands, objects, atomic=atomic)
        gits = pushed_to_git(self.repo, commands, objects, atomic=atomic)
        assert {ref: status is None for ref, status in ours.statuses.items()} == {
            ref: status is None for ref, status in gits.statuses.items()
        }, (commands, atomic, ours, gits)
        assert self.server.refs == self.repo.refs(), (commands, atomic, ours, gits)
        assert kind_of(ours) == kind_of(gits), (commands, atomic, ours, gits)
        return gits


class TestLikeGit:
    """Every verdict is git's own."""

    @pytest.fixture
    def twin(self, tmp_path: Path) -> Twin:
        """Return a pair with one lock at state one."""
        twin = Twin(tmp_path)
        twin.push([Command(ZERO_OID, ONE[0].oid, lock("a"))], ONE)
        return twin

    def test_a_delete_of_an_unknown_object_is_unconditional(self, twin: Twin) -> None:
        """The trap: a robbed holder's delete removes its successor's lock."""
        assert twin.push([Command(THREE[0].oid, ZERO_OID, lock("a"))]).statuses == {lock("a"): None}
        assert twin.server.refs == {}

    def test_nothing_to_nothing_deletes(self, twin: Twin) -> None:
        """The trap: "verify absent" removes what is there."""
        twin.push([Command(ZERO_OID, ZERO_OID, lock("a"))])
        assert twin.server.refs == {}

    def test_missing_objects_breach_an_atomic_push(self, twin: Twin) -> None:
        """The trap: the branch moves although the lock was refused, and the other way round."""
        twin.push([Command(ONE[0].oid, TWO[0].oid, lock("a")), Command(ZERO_OID, THREE[0].oid, lock("b"))], TWO)
        assert twin.server.refs == {lock("a"): TWO[0].oid}

    def test_a_hidden_ref_breaches_an_atomic_push(self, twin: Twin) -> None:
        """The trap once more, by configuration."""
        twin.repo.config("receive.hideRefs", "refs/locks")
        twin.server.hidden_prefixes = ("refs/locks/",)
        twin.push([Command(ZERO_OID, TWO[0].oid, MAIN), Command(ONE[0].oid, TWO[0].oid, lock("a"))], TWO)
        assert twin.server.refs == {lock("a"): ONE[0].oid, MAIN: TWO[0].oid}

    def test_a_collected_parent_is_a_missing_object(self, twin: Twin) -> None:
        """What a new commit stands on must still be there after a garbage collection."""
        child = state("child", parents=[ONE[0].oid])
        twin.push([Command(ONE[0].oid, TWO[0].oid, lock("a"))], TWO)
        twin.server.gc()
        twin.repo.collect_garbage()
        report = twin.push([Command(TWO[0].oid, child[0].oid, lock("a"))], child)
        assert report.statuses == {lock("a"): "missing necessary objects"}

    def test_objects_of_a_hopeless_push_are_dropped(self, twin: Twin) -> None:
        """When every command fails before any ref is looked at nothing is stored; else everything is."""
        hopeless = Command(ZERO_OID, state("unsent")[0].oid, lock("b"))
        twin.push([hopeless], TWO)
        assert TWO[0].oid not in twin.server.objects
        assert not twin.repo.has(TWO[0].oid)
        twin.push([hopeless, Command(ZERO_OID, THREE[0].oid, lock("bad..name"))], THREE, atomic=False)
        assert THREE[0].oid in twin.server.objects
        assert twin.repo.has(THREE[0].oid)

    def test_hooks_refuse_as_git_s_do(self, twin: Twin) -> None:
        """An update hook refuses one ref and thereby an atomic push, pre-receive refuses all."""
        hooks = twin.repo.path / "hooks"
        hooks.mkdir(exist_ok=True)
        update_hook = hooks / "update"
        update_hook.write_text('#!/bin/sh\ncase "$1" in */b) exit 1;; esac\n')
        update_hook.chmod(0o755)
        twin.server.update_hook = lambda cmd: "hook declined" if cmd.ref.endswith("/b") else None
        both = [Command(ONE[0].oid, TWO[0].oid, lock("a")), Command(ZERO_OID, TWO[0].oid, lock("b"))]
        for atomic in (True, False):
            twin.push(both, TWO, atomic=atomic)
        update_hook.unlink()
        twin.server.update_hook = None
        pre_receive = hooks / "pre-receive"
        pre_receive.write_text("#!/bin/sh\necho closed; exit 1\n")
        pre_receive.chmod(0o755)
        twin.server.pre_receive_hook = lambda _: "closed"
        twin.push([Command(ZERO_OID, THREE[0].oid, lock("c"))], THREE)
        assert THREE[0].oid not in twin.server.objects
        assert not twin.repo.has(THREE[0].oid)

    def test_a_branch_takes_commits_only(self, twin: Twin) -> None:
        """A blob may be a lock's value, never a branch's."""
        blob = GitObject(ObjectKind.BLOB, b"blob")
        twin.push([Command(ZERO_OID, blob.oid, lock("blob"))], [blob])
        twin.push([Command(ZERO_OID, blob.oid, MAIN)], [blob], atomic=False)
        assert set(twin.server.refs) == {lock("a"), lock("blob")}

    @pytest.mark.parametrize("seed", range(3))
    def test_random_pushes_agree(self, seed: int, tmp_path: Path) -> None:
        """Any mixture of creates, updates, deletes, stale and unknown values, collisions and bad names."""
        chance = random.Random(seed)
        twin = Twin(tmp_path)
        orphan, unsent = state("orphan", parents=[Oid("1" * 40)]), state("unsent")
        states = [ONE, TWO, THREE, state("child", parents=[ONE[0].oid])]
        names = [lock(name) for name in ("a", "b", "c", "a/x", "d/e", "d", "bad..name")]
        for _ in range(25):
            commands: list[Command] = []
            objects: list[GitObject] = list(chance.choice(states))
            for ref in chance.sample(names, chance.choice((1, 1, 2, 3))):
                now = twin.server.refs.get(ref, ZERO_OID)
                old = now if chance.random() < 0.7 else chance.choice([ZERO_OID, ONE[0].oid, TWO[0].oid, Oid("2" * 40)])
                new = chance.choice([*(each[0].oid for each in states), ZERO_OID, orphan[0].oid, unsent[0].oid])
                objects += next((each for each in states if each[0].oid == new), ())
                commands.append(Command(old, new, ref))
            if chance.random() < 0.2:
                objects += orphan
            twin.push(commands, objects, atomic=chance.random() < 0.6)


class TestServer:
    """What is not git's."""

    def test_a_strict_server_has_no_holes(self) -> None:
        """Without holes a failed command stops the others, and an unknown expectation refuses a delete."""
        server = MemoryServer(holes=False)
        store = store_on(server)
        assert store.swap([create("a", ONE)], ONE) == Applied()
        outcome = store.swap([update("a", ONE, TWO), create("b", THREE)], TWO)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.MISSING_OBJECTS
        assert store.swap([delete("a", THREE)], []) == Superseded({lock("a"): ONE[0].oid})
        assert server.refs == {lock("a"): ONE[0].oid}

    def test_a_breach_is_reported(self) -> None:
        """With holes the same swap is half applied, and says so."""
        server = MemoryServer()
        store = store_on(server)
        assert store.swap([create("a", ONE)], ONE) == Applied()
        outcome = store.swap([update("a", ONE, TWO), create("b", THREE)], TWO)
        assert outcome == Breached((lock("a"),), {lock("b"): "missing necessary objects"})

    def test_without_atomic_swaps_of_two_are_refused_once_known(self) -> None:
        """After a probe nothing is sent."""
        server = MemoryServer(atomic=False, agent="old/1")
        store = store_on(server)
        assert not store.probe().atomic
        outcome = store.swap([create("a", ONE), create("b", ONE)], ONE)
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.NO_ATOMIC
        assert server.pushes == 0

    def test_a_busy_server_is_waited_for(self) -> None:
        """Lock files in the way pass."""
        server = MemoryServer()
        server.busy_pushes = 2
        assert store_on(server).swap([create("a", ONE)], ONE) == Applied()
        assert server.pushes == 3

    def test_a_busy_server_refuses_what_lacks_its_objects(self) -> None:
        """A swap of which nothing is left to apply meets no lock file."""
        server = MemoryServer()
        server.busy_pushes = 2
        outcome = store_on(server).swap([create("a", ONE), create("b", THREE)], ())
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.MISSING_OBJECTS
        assert server.refs == {}

    def test_the_clock_is_truncated(self) -> None:
        """Dates are whole seconds of the given clock."""
        server = MemoryServer(clock=lambda: 1234.9)
        store = store_on(server)
        date = store.snapshot(["refs/"]).server_date
        assert store.is_server_clocked
        assert date is not None
        assert date.date_s == 1234

    def test_collected_objects_are_gone(self) -> None:
        """What no ref reaches can be dropped, and reading it says so."""
        server = MemoryServer()
        server.put([*ONE, *TWO])
        server.set_ref(lock("a"), ONE[0].oid)
        assert server.gc() == len({item.oid for item in TWO} - {item.oid for item in ONE})
        with pytest.raises(ObjectsGoneError):
            store_on(server).read([TWO[0].oid])

    def test_a_partial_fetch_leaves_blobs_out(self) -> None:
        """With blob:none only blobs that are asked for come, marked as promised."""
        server = MemoryServer()
        server.put(ONE)
        sink = MemorySink()
        store_on(server).fetch(FetchRequest((ONE[0].oid,), filter_spec="blob:none"), sink)
        assert set(sink.objects) == {ONE[0].oid, ONE[1].oid}
        assert sink.has_promised


class _Hurt(MemoryRefStore):
    """Loses requests or replies, or delivers twice, as told."""

    plan = "fine"

    def _exchange(self, kind: str, work: Callable[[], T]) -> T:
        if kind != "swap" or self.plan == "fine":
            return work()
        if self.plan == "lost request":
            raise LinkError("unreachable", "lost")
        if self.plan == "no connection":
            raise LinkError("unreachable", "no route", nothing_sent=True)
        answer = work()
        if self.plan == "lost reply":
            raise LinkError("timeout", "lost")
        assert self.plan == "twice"
        return work() if answer is not None else answer


@pytest.mark.parametrize(
    ("plan", "moved", "nothing_sent"),
    [("lost request", False, False), ("lost reply", True, False), ("no connection", False, True)],
)
def test_what_the_network_does_is_an_open_question(plan: str, moved: bool, nothing_sent: bool) -> None:
    """A lost request and a lost reply look alike; a connection that was never made does not."""
    server = MemoryServer()
    store = _Hurt(server, real_system())
    store.plan = plan
    outcome = store.swap([create("a", ONE)], ONE)
    assert isinstance(outcome, Unknown)
    assert outcome.nothing_sent is nothing_sent
    assert (lock("a") in present(store)) is moved


def test_a_request_that_is_delivered_twice_is_refused_by_its_own_first_copy() -> None:
    """The second copy's answer shows our own value."""
    store = _Hurt(MemoryServer(), real_system())
    store.plan = "twice"
    assert store.swap([create("a", ONE)], ONE) == Superseded({lock("a"): ONE[0].oid})
