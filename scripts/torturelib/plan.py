"""Who does what in a round, what goes wrong for whom, and who is killed where: all of it drawn from a seed.

The same seed, round and transport give the same plan on every machine. How the processes then interleave is up to the
machine: a plan can be run again, a schedule cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

LOCKS = ("main", "deploy/a", "deploy/b")
TRANSPORTS = ("http", "ssh")

_WHENS = ("before", "meanwhile", "after", "mid-reply")
_HTTP = (("ls-refs", 2), ("advertise-receive", 1), ("receive-pack", 3), ("fetch", 2))
_SSH = (("git-upload-pack", 2), ("git-receive-pack", 3))
LOCAL_STEPS = (
    "write-journal",
    "journal-written",
    "take-index",
    "prepare-files",
    "prepare-index",
    "move-branch",
    "place-files",
    "file-placed",
    "refresh-index",
    "commit-index",
    "move-tracking",
    "clean-up",
    "discard-journal",
)
"""Steps of a push in its own clone: the journal, then those of the local move, as the product calls them."""
LEASE_STEPS = ("write-lease", "lease-written", "forget-lease")
"""What ``acquire``, ``renew`` and ``release`` do to the lease file."""
CLOCK = "random moment"
COMMAND = "while its command works"

HTTP_FAULTS = (
    "drop-before",
    "drop-after",
    "reset",
    "truncate",
    "503",
    "503-after",
    "429",
    "stall",
    "stall-before",
    "late-copy",
    "twice",
)
SSH_FAULTS = ("drop-before", "drop-after", "stall")


@dataclass(frozen=True, slots=True)
class Kill:
    """One blow. ``place`` is a request, a step, ``CLOCK`` or ``COMMAND``.

    ``at_s`` counts from the start of the process, or from that of the command that it wraps.

    ``sign`` is KILL, TERM or STOP; what is stopped goes on after ``stop_s``.
    """

    place: str
    nth: int = 1
    when: str = ""
    sign: str = "KILL"
    at_s: float = 0.0
    stop_s: float = 0.0

    @property
    def step(self) -> str:
        """Name the step as the summary lists it."""
        return " ".join((self.place, str(self.nth), self.when)) if self.when else self.place


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of the nth request of a kind that a job sends."""

    place: str
    nth: int
    name: str


@dataclass(frozen=True, slots=True)
class Job:
    """One process. ``commits`` are local commits made with plain git before a push; ``hold_s`` is how long a wrapped
    command works; ``prelude`` is what plain git does in the clone first.
    """

    name: str
    kind: str
    lock: str = "main"
    options: tuple[str, ...] = ()
    commits: int = 0
    own_paths: bool = False
    prelude: tuple[str, ...] = ()
    pause_s: float = 0.0
    hold_s: float = 0.0
    is_stubborn: bool = False
    kill: Kill | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """One round: the jobs of each clone in order; ``people`` are the pause before each push of somebody without us."""

    seed: int
    number: int
    transport: str
    clones: tuple[tuple[Job, ...], ...]
    people: tuple[float, ...]

    @property
    def replay(self) -> str:
        """Return the command that runs this plan again."""
        return f"scripts/torture --seed {self.seed} --round {self.number} --transport {self.transport}"


def places(transport: str) -> list[Kill]:
    """Return every place where a push can be struck, the random moments among them."""
    requests = _HTTP if transport == "http" else _SSH
    whens = _WHENS if transport == "http" else _WHENS[:3]
    found = [Kill(kind, nth, when) for kind, most in requests for nth in range(1, most + 1) for when in whens]
    found += [Kill(step) for step in LOCAL_STEPS]
    return [*found, *[Kill(CLOCK)] * 8]


def make_plan(seed: int, number: int, transport: str, *, clones: int = 16, jobs: int = 4) -> Plan:
    """Draw one round. Over the rounds of one seed every place comes up."""
    deck = places(transport)
    Random(f"{seed} {transport}").shuffle(deck)
    drawer = _Drawer(Random(f"{seed} {number} {transport}"), transport, deck, number * clones * 2)
    drawn = tuple(
        tuple(drawer.jobs_of(f"r{number}c{clone:02d}", jobs, wants_locks=clone % 4 == 1)) for clone in range(clones)
    )
    people = tuple(drawer.random.uniform(0.5, 6) for _ in range(drawer.random.randrange(4)))
    return Plan(seed, number, transport, drawn, people)


class _Drawer:
    """Draws jobs; ``deck`` deals the places of kills in turn, so that none is left out for long."""

    def __init__(self, random: Random, transport: str, deck: list[Kill], at: int) -> None:
        self.random = random
        self._transport = transport
        self._deck = deck
        self._at = at

    def jobs_of(self, clone: str, count: int, *, wants_locks: bool) -> list[Job]:
        """Draw what one clone does: after a blow comes what a next CI job would do. Some clones deploy most of all."""
        weights = (10, 60, 20, 10, 0) if wants_locks else (60, 14, 14, 6, 6)
        jobs: list[Job] = []
        while len(jobs) < count:
            kind = self.random.choices(("push", "run", "lease", "break", "inspect"), weights)[0]
            draw = {"push": self._push, "run": self._run, "lease": self._lease}.get(kind)
            made = draw() if draw is not None else self._look(kind)
            if any(job.kill is not None for job in made):
                made.append(self._follow_up(may_die=True))
            if made[-1].kill is not None:
                made.append(self._follow_up(may_die=False))
            jobs += made
        return [replace(job, name=f"{clone}j{index}", faults=self._faults()) for index, job in enumerate(jobs)]

    def _push(self) -> list[Job]:
        random = self.random
        options = random.choice(((), (), ("--priority", "20"), ("--no-combine",), ("--priority", "-5")))
        job = Job(
            "",
            "push",
            options=options,
            commits=random.choice((0, 0, 0, 1, 2)),
            own_paths=random.random() < 0.3,
            pause_s=random.uniform(0, 0.5),
            kill=self._dealt() if random.random() < 0.85 else None,
        )
        return [job]

    def _dealt(self) -> Kill:
        """Take the next place of the deck."""
        self._at += 1
        return self._armed(self._deck[self._at % len(self._deck)])

    def _follow_up(self, *, may_die: bool) -> Job:
        """Draw what comes after a blow; it may be struck as well."""
        prelude = self.random.choice(((), (), ("fetch", "-q", "origin"), ("status", "--short")))
        kill = self._dealt() if may_die and self.random.random() < 0.4 else None
        return Job("", "push", prelude=prelude, kill=kill)

    def _run(self) -> list[Job]:
        random = self.random
        kill = self._at_work() if random.random() < 0.6 else self._of_lock()
        job = Job(
            "",
            "run",
            lock=random.choices(LOCKS, (10, 70, 20))[0],
            options=("--ttl", random.choice(("5s", "5s", "7s")), "--wait", "30s"),
            hold_s=random.choice((0.2, 0.5, 1.5) if kill is None else (3.0, 10.0)),
            is_stubborn=random.random() < 0.3,
            kill=kill,
        )
        return [job]

    def _at_work(self) -> Kill:
        """Draw a blow for the holder while its command works: a death, or a sleep that outlasts the lease."""
        sign = self.random.choice(("KILL", "STOP"))
        stop_s = self.random.uniform(6, 10) if sign == "STOP" else 0.0
        return Kill(COMMAND, sign=sign, at_s=self.random.uniform(0.1, 2), stop_s=stop_s)

    def _lease(self) -> list[Job]:
        lock = self.random.choice(LOCKS)
        options = ("--ttl", self.random.choice(("5s", "8s", "12s")), "--wait", "20s")
        between = self.random.choice((["renew"], [], ["push"] if lock == "main" else ["renew"]))
        kinds = ["acquire", *between, "release"]
        struck = self.random.randrange(len(kinds) + 1)
        return [
            Job(
                "",
                kind,
                lock=lock,
                options=options if kind == "acquire" else (),
                pause_s=self.random.uniform(0, 1),
                kill=self._of_lock(LEASE_STEPS) if index == struck and kind != "push" else None,
            )
            for index, kind in enumerate(kinds)
        ]

    def _look(self, kind: str) -> list[Job]:
        options = ("--force", "--reason", "torture") if kind == "break" else ()
        return [Job("", kind, lock=self.random.choice(LOCKS[1:]), options=options)]

    def _of_lock(self, steps: tuple[str, ...] = ()) -> Kill | None:
        """Draw a blow for a command that only moves locks: one request, a step of its own, or any moment."""
        if self.random.random() < 0.3 and not steps:
            return None
        requests = [kill for kill in self._deck if kill.when and kill.nth < 3 and kill.place != "fetch"]
        return self._armed(self.random.choice([*requests, *map(Kill, steps * 6), *[Kill(CLOCK)] * 6]))

    def _armed(self, kill: Kill) -> Kill:
        """Choose the signal. A process that strikes itself at a step is always killed."""
        if not kill.when and kill.place != CLOCK:
            return kill
        sign = self.random.choices(("KILL", "TERM", "STOP"), (70, 15, 15))[0]
        at_s = self.random.uniform(0.05, 2.5) if kill.place == CLOCK else 0.0
        return replace(kill, sign=sign, at_s=at_s, stop_s=self.random.uniform(5.5, 9) if sign == "STOP" else 0.0)

    def _faults(self) -> tuple[Fault, ...]:
        if self.random.random() < 0.55:
            return ()
        requests = _HTTP if self._transport == "http" else _SSH
        names = HTTP_FAULTS if self._transport == "http" else SSH_FAULTS
        chosen = [self.random.choice(requests) for _ in range(self.random.choice((1, 1, 2)))]
        return tuple(
            Fault(place, self.random.randint(1, most), self.random.choice(names))
            for place, most in dict(chosen).items()
        )
