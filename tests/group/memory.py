"""Runners over a memory remote, one after the other in one thread, with every request in the test's hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from dulwich.object_store import MemoryObjectStore
from dulwich.objects import ShaFile

from gitref_lock.core.names import Oid, RefName, TicketName, branch_ref, lock_name
from gitref_lock.core.objects import GitObject, ObjectKind, build_state_commit
from gitref_lock.core.ticket import Kind, Ticket, Verdict, build_ticket, decode_ticket
from gitref_lock.landing.change import Change
from gitref_lock.landing.graph import OurCommits
from gitref_lock.landing.merge.policy import Policy, Rule
from gitref_lock.landing.replay import Committer, Replayer
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.errand import Landed, PushRequest
from gitref_lock.runtime.land_ticket import LandTicket, draft_ticket, post
from gitref_lock.runtime.landing_plan import Target
from gitref_lock.runtime.push import Pusher
from gitref_lock.runtime.remote import Remote
from gitref_lock.testing.clock import jumping_system
from gitref_lock.testing.memory import MemoryRefStore, MemoryServer
from tests.support.runners import holder

_T = TypeVar("_T")
_SEEDS = count(1)
NUMBERS = {ObjectKind.COMMIT: 1, ObjectKind.TREE: 2, ObjectKind.BLOB: 3, ObjectKind.TAG: 4}

MAIN = branch_ref("main")
LOCK = lock_name("main")
QUEUE = "refs/lock-queue/main/"
LINES = Policy((Rule("log.jsonl", "lines"), Rule("*.txt", "fail")))
POLICY_JSON: dict[str, object] = {"rules": [["log.jsonl", "lines"], ["*.txt", "fail"]]}
FIRST = {"log.jsonl": b'{"id": "seed"}\n', "note.txt": b"the one line\n"}

Exchange = Callable[[str, Callable[[], object]], object]
"""Given the kind of a request and the server's work, what the client gets."""


class WatchedStore(MemoryRefStore):
    """A memory store whose requests pass through ``exchange``."""

    exchange: Exchange | None = None

    def _exchange(self, kind: str, work: Callable[[], _T]) -> _T:
        return work() if self.exchange is None else self.exchange(kind, work)  # type: ignore[return-value]  # as given


@dataclass
class Runner:
    """One machine with its clone."""

    name: str
    server: MemoryServer
    base: Oid
    store: MemoryObjectStore = field(default_factory=MemoryObjectStore)
    exchange: Exchange | None = None
    priority: int = 0
    remote: Remote = field(init=False)

    def __post_init__(self) -> None:
        """Connect, with clocks that jump; the server's Date is this machine's time unless the server has none."""
        system = jumping_system(next(_SEEDS))
        watched = WatchedStore(self.server, system)
        watched.exchange = self.exchange
        self.remote = Remote(watched, system)
        self.take(*(self.server.objects[oid] for oid in self.server._closure([self.base], ())))

    def take(self, *items: GitObject) -> None:
        """Put objects into the clone."""
        for item in items:
            self.store.add_object(ShaFile.from_raw_string(NUMBERS[item.kind], item.data))

    def commit(self, files: Mapping[str, bytes], *, base: Oid | None = None, message: str = "") -> Oid:
        """Commit these files on the base."""
        made = build_state_commit(
            files,
            author_name=self.name,
            at_s=1_700_000_000,
            message=message or self.name,
            parents=[base or self.base],
        )
        self.take(*made)
        return made[0].oid

    def change(self, files: Mapping[str, bytes], *, message: str = "") -> Change:
        """Return the change that sets these files."""
        made = self.commit({**FIRST, **files}, message=message)
        committer = Committer(f"{self.name} <{self.name}@example.invalid>".encode(), 1_700_000_100)
        replayer = Replayer(self.store, LINES, committer, self.store.add_object)
        return Change(self.store, OurCommits((made,), self.base, has_merge=False), replayer, (self.base,))

    def line(self) -> Change:
        """Return the change that adds a line with the runner's name."""
        return self.change({"log.jsonl": FIRST["log.jsonl"] + b'{"id": "%b"}\n' % self.name.encode()})

    def pusher(self, change: Change, **options: object) -> Pusher:
        """Return the push of a change."""
        settings: dict[str, object] = {"wait_s": 120.0, "policy": POLICY_JSON, "priority": self.priority, **options}
        request = PushRequest(Target("main", MAIN, LOCK), holder(self.name), **settings)  # type: ignore[arg-type]  # as given
        return Pusher.of(self.remote, change, request, Deadline.after(self.remote.system, 3600.0))

    def push(self, change: Change, **options: object) -> Landed:
        """Push a change."""
        return self.pusher(change, **options).run()

    def post(self, change: Change, **options: object) -> LandTicket:
        """Post a change as a waiter does, and wait no longer."""
        pusher = self.pusher(change, **options)
        errand = pusher.errand
        picture = pusher._look()
        request = errand.request
        tip = picture.refs[MAIN]
        errand.fetch([tip])
        draft = draft_ticket(
            errand.place,
            picture,
            change.prepare(tip),
            branch="main",
            policy=request.policy,
            is_combinable=request.is_combinable,
        )
        posting = post(draft, errand.deadline)
        assert posting.ticket is not None
        return posting.ticket


@dataclass
class Hub:
    """A remote with one commit and its lock."""

    server: MemoryServer
    base: Oid

    @classmethod
    def open(cls, **options: object) -> Hub:
        """Make a remote whose server dates its replies."""
        server = MemoryServer(**{"clock": None, **options})  # type: ignore[arg-type]  # as given
        made = build_state_commit(FIRST, author_name="seed", at_s=1_700_000_000, message="seed")
        server.put(made)
        server.set_ref(MAIN, made[0].oid)
        hub = cls(server, made[0].oid)
        first = hub.runner("first")
        first.push(first.change({"first.md": b"1\n"}))
        return hub

    def runner(self, name: str, exchange: Exchange | None = None, *, priority: int = 0) -> Runner:
        """Return a new runner that stands on the remote's first commit."""
        return Runner(name, self.server, self.base, exchange=exchange, priority=priority)

    def ticket(self, ref: RefName) -> Ticket:
        """Return a ticket as it stands at the server."""
        return self.ticket_at(self.server.refs[ref])

    def ticket_at(self, tip: Oid) -> Ticket:
        """Return the ticket that a commit holds."""
        commit = self.server.objects[tip].data
        tree = self.server.objects[Oid(commit[5:45].decode())].data
        at = tree.index(b"ticket.json\0") + len(b"ticket.json\0")
        return decode_ticket(self.server.objects[Oid(tree[at : at + 20].hex())].data)

    def verdict(self, ref: RefName) -> Verdict:
        """Return how a ticket ended; it must have."""
        verdict = self.ticket(ref).verdict
        assert verdict is not None
        return verdict

    def subjects(self) -> list[str]:
        """Return the messages of the branch's commits, newest first."""
        found = []
        at: Oid | None = self.server.refs[MAIN]
        while at is not None:
            data = self.server.objects[at].data
            head, _, message = data.partition(b"\n\n")
            found.append(message.decode().strip())
            parents = [line[7:] for line in head.split(b"\n") if line.startswith(b"parent ")]
            at = Oid(parents[0].decode()) if parents else None
        return found

    def file(self, name: str) -> bytes:
        """Return a file of the branch's tip."""
        commit = self.server.objects[self.server.refs[MAIN]].data
        tree = self.server.objects[Oid(commit[5:45].decode())].data
        at = tree.index(b" %b\0" % name.encode()) + len(name) + 2
        return self.server.objects[Oid(tree[at : at + 20].hex())].data

    def put_ticket(
        self,
        ticket: Ticket,
        *,
        change: Oid | None,
        objects: tuple[GitObject, ...] = (),
        name: TicketName | None = None,
    ) -> RefName:
        """Write a ticket as a stranger would, whatever it says."""
        made = build_ticket(ticket, at_s=1_700_000_000, change=change)
        self.server.put([*objects, *made])
        name = name or TicketName(ticket.enqueued_ms, ticket.nonce)
        ref = RefName(QUEUE + name.leaf)
        self.server.set_ref(ref, made[0].oid)
        return ref


def land_ticket(hub: Hub, who: Runner, change: Change, **fields: object) -> Ticket:
    """Return the ticket that would offer a change, ahead of everybody."""
    now_at = int(who.remote.system.clock.wall())
    settings: dict[str, object] = {
        "kind": Kind.LAND,
        "locks": (LOCK,),
        "nonce": who.remote.system.entropy.nonce(),
        "holder": holder(who.name),
        "priority": 0,
        "enqueued_ms": (now_at - 60) * 1000 + next(_SEEDS),
        "expires_at": now_at + 500,
        "branch": "main",
        "base": hub.base,
        "changes": len(change.ours.commits),
        "policy": POLICY_JSON,
        **fields,
    }
    return Ticket(**settings)  # type: ignore[arg-type]  # as given
