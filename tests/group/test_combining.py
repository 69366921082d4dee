"""Landing for others: order, bounds, whose name stands on what, and what is never landed for anybody."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitref_lock.core.names import Oid
from gitref_lock.core.refs import Applied
from gitref_lock.core.ticket import TICKET_FILE, Verdict, VerdictKind, decode_ticket
from gitref_lock.errors import NotAcquiredError
from gitref_lock.landing.change import Change
from gitref_lock.landing.merge.results import conflict_json
from gitref_lock.landing.replay import ReplayConflictError
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.land_ticket import LandTicket
from gitref_lock.runtime.landing_turn import MAX_BATCH
from gitref_lock.runtime.waiting import Place
from gitref_lock.testing.faults import FaultPlan
from gitref_lock.testing.gitserver import GitHttpServer
from gitref_lock.testing.gitserver_http import RequestKind
from tests.group.memory import LOCK, MAIN, QUEUE, Hub, Runner
from tests.support.gitcli import Repo, clone
from tests.support.race import finish, make_racers, start_push
from tests.support.runners import acquire_at, holder, push_from, release, remote_at, subjects_at


def clock_s(runner: Runner) -> float:
    """Return a runner's clock, which jumps over every wait."""
    return runner.remote.system.clock.monotonic()


def attend(runner: Runner, change: Change, posted: LandTicket) -> str:
    """Let a waiter look after its posted change until the end; return how it landed."""
    pusher = runner.pusher(change)
    pusher.queue.ticket = posted
    pusher.errand.place.name = posted.name
    return pusher.run().how.value


# Order and bounds.


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(priorities=st.lists(st.integers(-5, 5), min_size=1, max_size=12))
def test_a_batch_lands_in_the_order_of_the_queue(priorities: list[int]) -> None:
    """Whatever the priorities, the commits of one swap stand on the branch in rank order, each of them once."""
    hub = Hub.open()
    posted = {}
    for index, priority in enumerate(priorities):
        runner = hub.runner(f"r{index}", priority=priority)
        posted[f"r{index}"] = runner.post(runner.line())
    before = hub.server.pushes
    last = hub.runner("last")
    last.push(last.line())
    ranks = {name: (ticket.name.rank_ms, ticket.name.nonce) for name, ticket in posted.items()}
    landed = [name for name in reversed(hub.subjects()) if name in ranks]
    assert landed == sorted(ranks, key=lambda name: ranks[name])
    assert all(hub.verdict(ticket.ref).commits for ticket in posted.values())
    assert hub.server.pushes == before + 2  # the last one's ticket, and the swap


def test_a_batch_holds_128_and_the_next_one_the_rest() -> None:
    """Of two hundred waiting changes one swap lands 128 in order, and nobody waits for more than one batch."""
    hub = Hub.open()
    for index in range(200):
        runner = hub.runner(f"r{index:03d}")
        runner.post(runner.line())
    first, second = hub.runner("first-lander"), hub.runner("second-lander")
    first.push(first.line())
    subjects = hub.subjects()
    assert subjects[0] == "first-lander"
    assert subjects[MAX_BATCH - 1] == "r000"
    second.push(second.line())
    landed = [name for name in reversed(hub.subjects()) if name.startswith("r")]
    assert landed == [f"r{index:03d}" for index in range(200)]


# Conflicts.


def test_a_conflict_is_reported_as_the_waiter_s_own_push_would() -> None:
    """The waiter replays once more and raises its own conflict, all of it; the rest of the batch has landed."""
    hub = Hub.open()
    clash, other, combiner = hub.runner("clash"), hub.runner("other"), hub.runner("combiner")
    change = clash.change({"note.txt": b"mine\n"})
    posted = clash.post(change)
    rival = hub.runner("rival")
    rival_ticket = rival.post(rival.change({"note.txt": b"theirs\n"}), priority=5)
    other_ticket = other.post(other.line())
    combiner.push(combiner.line())
    assert hub.verdict(rival_ticket.ref).kind is VerdictKind.LANDED
    assert hub.verdict(other_ticket.ref).kind is VerdictKind.LANDED
    assert hub.verdict(posted.ref).kind is VerdictKind.CONFLICT
    with pytest.raises(ReplayConflictError) as told:
        attend(clash, change, posted)
    with pytest.raises(ReplayConflictError) as own:
        change.prepare(hub.server.refs[MAIN])
    assert told.value.args == own.value.args
    assert told.value.hint == own.value.hint
    assert told.value.conflicts == own.value.conflicts
    assert hub.verdict(posted.ref).conflicts == tuple(conflict_json(item) for item in own.value.conflicts)
    assert "clash" not in hub.subjects()


def test_an_untrue_conflict_is_not_believed() -> None:
    """A ticket that somebody moved to a conflict which there is none: its owner lands the change."""
    hub = Hub.open()
    victim = hub.runner("victim")
    change = victim.line()
    posted = victim.post(change)
    verdict = Verdict(VerdictKind.CONFLICT, by="liar", why="no", conflicts=({"path": "a"},))
    made = posted.verdict_objects(verdict)
    hub.server.put(made)
    hub.server.set_ref(posted.ref, made[0].oid)
    assert attend(victim, change, posted) == "fast"
    assert hub.subjects().count("victim") == 1


# Who is not landed by others, and who goes first.


def test_a_change_that_is_not_combinable_lands_from_the_head_in_its_order() -> None:
    """It keeps its place without objects; who comes later waits for its claim window, and never lands it."""
    hub = Hub.open()
    alone, later = hub.runner("alone"), hub.runner("later")
    change = alone.line()
    objects = len(hub.server.objects)
    posted = alone.post(change, is_combinable=False)
    assert len(hub.server.objects) == objects + 3  # the ticket's commit, tree and file
    later_ticket = later.post(later.line())
    assert attend(alone, change, posted) == "queued"
    assert hub.subjects()[0] == "alone"
    assert hub.ticket(later_ticket.ref).verdict is None


def test_a_dead_head_that_nobody_can_land_is_passed_after_its_window() -> None:
    """Its claim window of six seconds over, the next place lands past it; its owner may still come back."""
    hub = Hub.open()
    dead, later = hub.runner("dead"), hub.runner("later")
    change = dead.line()
    posted = dead.post(change, is_combinable=False)
    began_s = clock_s(later)
    later.push(later.line())
    assert 6.0 <= clock_s(later) - began_s < 20.0
    assert "dead" not in hub.subjects()
    assert attend(dead, change, posted) == "queued"
    assert hub.subjects().count("dead") == 1


@pytest.mark.parametrize("is_combinable", [True, False])
def test_a_change_whose_time_is_over_is_withdrawn_and_delays_nobody(is_combinable: bool) -> None:
    """Whoever lands after a dead owner's ten minutes ends its ticket in the same swap; the owner lands it anew."""
    now_s = 1_700_000_000.0
    hub = Hub.open(clock=lambda: now_s)
    dead = hub.runner("dead")
    change = dead.line()
    posted = dead.post(change, is_combinable=is_combinable)
    now_s += 700.0
    later = hub.runner("later")
    began_s = clock_s(later)
    later.push(later.line())
    assert clock_s(later) - began_s < 6.0
    assert hub.verdict(posted.ref).kind is VerdictKind.WITHDRAWN
    assert "dead" not in hub.subjects()
    assert attend(dead, change, posted) == "fast"
    assert hub.subjects().count("dead") == 1


def test_an_acquirer_at_the_head_has_its_window_before_landers() -> None:
    """A lander behind an acquire ticket waits its claim window; past a silent one it lands and removes the ticket."""
    hub = Hub.open()
    waiter, lander = hub.runner("waiter"), hub.runner("lander")
    place = Place(waiter.remote, (LOCK,), holder("waiter"), 0, waiter.pusher(waiter.line()).errand.request.queue)
    until = Deadline.after(waiter.remote.system, 60.0)
    picture = waiter.remote.look([LOCK], until)
    assert isinstance(place.write(picture, until, wait_s=60.0), Applied)
    began_s = clock_s(lander)
    lander.push(lander.line())
    assert 6.0 <= clock_s(lander) - began_s < 20.0
    assert [ref for ref in hub.server.refs if ref.startswith(QUEUE) and hub.ticket(ref).verdict is None] == []
    following = hub.runner("following")
    assert following.push(following.line()).how.value == "fast"


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"combine": False}, ()),
        ({"tags": ("v1",)}, ()),
        ({}, ("commit.gpgSign", "true")),
        ({}, ("merge.special.driver", "true")),
    ],
    ids=["--no-combine", "a tag", "a signature", "a merge driver"],
)
def test_what_needs_its_own_machine_is_posted_without_its_objects(
    repo_url: str, bare_repo: Repo, tmp_path: Path, options: dict[str, object], config: tuple[str, ...]
) -> None:
    """Such a change is posted as not combinable: the ticket holds its place and has no parent."""
    push_from(make_racers(tmp_path, repo_url, ["first"])["first"], repo_url, "first")
    lease = acquire_at(remote_at(repo_url), ttl_s=300.0)
    work = clone(repo_url, tmp_path / "work")
    (work.path / "work.txt").write_text("work\n")
    if config:
        work.git("config", *config)
    if config and config[0] == "commit.gpgSign":
        script = tmp_path / "sign"
        script.write_text('#!/bin/sh\necho "[GNUPG:] SIG_CREATED " >&2\necho -----BEGIN PGP SIGNATURE-----\n')
        script.chmod(0o755)
        work.git("config", "gpg.program", str(script))
    with pytest.raises(NotAcquiredError):
        push_from(work, repo_url, "work", **{"wait_s": 1.0, **options})  # type: ignore[arg-type]  # options as given
    [ref] = bare_repo.refs("refs/lock-queue/")
    ticket = decode_ticket(bare_repo.git("show", f"{ref}:{TICKET_FILE}").encode())
    assert not ticket.is_combinable
    assert ticket.policy == {}
    assert "work" not in subjects_at(bare_repo)
    release(lease)


# Whose name, and whose clone.


def test_authors_stay_and_the_committer_is_who_landed() -> None:
    """Author, date and message of a combined change are its author's; the committer is the combiner."""
    hub = Hub.open()
    first, waiter, combiner = hub.runner("zero"), hub.runner("waiter"), hub.runner("combiner")
    first.post(first.line())
    posted = waiter.post(waiter.line())
    combiner.push(combiner.line())
    verdict = hub.verdict(posted.ref)
    assert verdict.by == "combiner"
    [commit] = verdict.commits
    lines = hub.server.objects[commit].data.split(b"\n")
    assert b"author waiter <gitref-lock@localhost> 1700000000 +0000" in lines
    assert b"committer combiner <combiner@example.invalid> 1700000100 +0000" in lines
    assert hub.server.objects[commit].data.endswith(b"\n\nwaiter\n")


def test_who_lands_for_others_names_itself_only_where_that_was_asked(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """The change that asks for a trailer gets it from another runner; its own clone finds it nevertheless."""
    names = ["head", "asks", "silent"]
    lease = acquire_at(remote_at(repo_url), ttl_s=600.0)
    racers = make_racers(tmp_path, repo_url, names)
    posted = threading.Semaphore(0)
    plan = FaultPlan()
    for nth in range(1, len(names) + 1):
        plan.after(RequestKind.RECEIVE_PACK, nth, lambda _: posted.release())
    git_server.set_faults(plan)
    running = {}
    for name in names:
        words = ("--combined-trailer", "Landed-by") if name == "asks" else ()
        running[name] = start_push(racers[name].path, name, "--priority", "1" if name == "head" else "0", *words)
        assert posted.acquire(timeout=60)
    release(lease)
    ended = {name: finish(name, process) for name, process in running.items()}
    assert {name: run.code for name, run in ended.items()} == dict.fromkeys(names, 0)
    assert sorted(subjects_at(bare_repo)[:3]) == sorted(names)
    bodies = {name: bare_repo.git("log", "-1", f"--grep=^{name}$", "--format=%b%an", "main") for name in names}
    hows = {name: ended[name].said["landed"] for name in names}
    assert hows["asks"] == "combined"
    committer = bare_repo.git("log", "-1", "--grep=^asks$", "--format=%cn <%ce>", "main")
    assert bodies["asks"] == f"Landed-by: {committer}\nTest Author"
    assert bodies["silent"] == bodies["head"] == "Test Author"
    assert racers["asks"].git("status", "--porcelain") == ""


def test_clones_move_after_a_combined_landing_as_after_their_own(
    git_server: GitHttpServer, bare_repo: Repo, repo_url: str, tmp_path: Path
) -> None:
    """Of three processes one lands the queue, one is landed, one clashes; each clone is where its exit code says."""
    names = ["head", "waiter", "clash"]
    lease = acquire_at(remote_at(repo_url), ttl_s=600.0)
    racers = make_racers(tmp_path, repo_url, names)
    for name in ("head", "clash"):
        (racers[name].path / "README.md").write_text(f"by {name}\n")
    posted = threading.Semaphore(0)
    plan = FaultPlan()
    for nth in range(1, len(names) + 1):
        plan.after(RequestKind.RECEIVE_PACK, nth, lambda _: posted.release())
    git_server.set_faults(plan)
    running = {}
    for name in names:
        priority = "1" if name == "head" else "0"
        words = ("--strategy", "README.md=fail", "--priority", priority)
        running[name] = start_push(racers[name].path, name, *words)
        assert posted.acquire(timeout=60)
    clash_head = racers["clash"].git("rev-parse", "HEAD")
    release(lease)
    ended = {name: finish(name, process) for name, process in running.items()}
    assert {name: run.code for name, run in ended.items()} == {"head": 0, "waiter": 0, "clash": 7}
    hows = {str(ended[name].said["landed"]) for name in ("head", "waiter")}
    assert hows <= {"queued", "combined"}
    assert subjects_at(bare_repo)[:2] == ["waiter", "head"]
    for name in ("head", "waiter"):
        repo = racers[name]
        assert repo.git("status", "--porcelain") == ""
        assert repo.git("rev-parse", "HEAD") == ended[name].said["commit_hash"]
        assert repo.git("log", "-1", "--format=%s") == name
        assert repo.git("rev-parse", "refs/remotes/origin/main") == repo.git("rev-parse", "HEAD")
        repo.git("fsck", "--strict", "--no-dangling")
    assert racers["clash"].git("rev-parse", "HEAD") == clash_head
    assert (racers["clash"].path / "README.md").read_text() == "by clash\n"
    conflicts = ended["clash"].said["error"]
    assert "README.md" in str(conflicts)
    authors = bare_repo.git("log", "-2", "--format=%an", "main").splitlines()
    assert authors == ["Test Author", "Test Author"]
    assert Oid(bare_repo.git("rev-parse", "main")) == ended["waiter"].said["commit_hash"]
