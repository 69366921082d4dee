"""The crash harness itself: a small round is clean and strikes where it says, and its judge sees what is wrong."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from scripts.torturelib import plan as plans
from scripts.torturelib.judge import Round, judge
from scripts.torturelib.plan import Fault, Job, Kill, Plan, make_plan
from scripts.torturelib.rounds import Score, play

KILLS = [
    Kill("receive-pack", 1, "before"),
    Kill("receive-pack", 1, "after"),
    Kill("ls-refs", 1, "mid-reply"),
    Kill("move-branch"),
    Kill("journal-written"),
    Kill("receive-pack", 1, "meanwhile"),
]


def small_plan() -> Plan:
    """Six clones: each is killed at a step of its own and pushes again; one wraps a command, one connection breaks."""
    clones: list[tuple[Job, ...]] = [
        (
            Job(f"c{number}first", "push", kill=kill),
            Job(f"c{number}second", "push", faults=(Fault("receive-pack", 1, "drop-after"),) if number == 0 else ()),
        )
        for number, kill in enumerate(KILLS)
    ]
    clones[5] = (*clones[5], Job("c5run", "run", "deploy/a", ("--ttl", "5s"), hold_s=0.2))
    return Plan(1, 0, "http", tuple(clones), (0.1,))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Score, Round]:
    """Play one small round."""
    return play(small_plan(), tmp_path_factory.mktemp("torture") / "round")


@pytest.fixture
def copied(played: tuple[Score, Round], tmp_path: Path) -> Round:
    """Return the round with a repository of its own, so that something can be done to it."""
    _, round_ = played
    shutil.copytree(round_.world.bare, tmp_path / "repo.git")
    shutil.copytree(round_.world.folder / "jobs", tmp_path / "jobs")
    shutil.copytree(round_.world.folder / "clones", tmp_path / "clones", symlinks=True)
    world = replace(round_.world, folder=tmp_path, bare=tmp_path / "repo.git")
    return replace(round_, world=world)


def test_a_small_round_is_clean_and_every_kill_hits(played: tuple[Score, Round]) -> None:
    """Six real processes die where the plan says, the next ones tidy up, and nothing that was promised is broken."""
    score, _ = played
    assert score.violations == []
    assert score.kills == Counter(kill.step for kill in KILLS)
    assert score.faults == {"drop-after": 1}
    assert score.codes["push -9"] == len(KILLS)
    assert score.codes["push 0"] == 2 * len(KILLS)
    assert score.codes["run 0"] == 1


def test_a_copied_round_is_judged_alike(copied: Round) -> None:
    """The verdict comes from what lies on the disk."""
    assert judge(copied) == []


def commit(round_: Round, message: str, parent: str) -> str:
    """Make a commit of the branch's files with another message."""
    return round_.world.git("commit-tree", "-m", message, "-p", parent, "main^{tree}")


def move(round_: Round, ref: str, to: str) -> None:
    """Move a ref as a server would: from the value that is expected."""
    round_.world.git("update-ref", ref, to, round_.world.git("rev-parse", ref))


def lose_a_commit(round_: Round) -> None:
    """Take the last landed commit out of the branch."""
    move(round_, "refs/heads/main", "main~1")


def land_twice(round_: Round) -> None:
    """Put a change into the branch a second time."""
    subject = round_.world.git("log", "-1", "--format=%s", "main")
    move(round_, "refs/heads/main", commit(round_, subject, "main"))


def land_a_failed_push(round_: Round) -> None:
    """Claim that the last push had failed."""
    newest = max((one for one in round_.done if one.job.kind == "push"), key=lambda one: one.ended_s)
    newest.code = 4


def lose_a_key(round_: Round) -> None:
    """Empty the shared file in a commit on top."""
    world = round_.world
    blob = world.git("hash-object", "-w", "--stdin", stdin=b"{}\n")
    lines = [line for line in world.git("ls-tree", "main").splitlines() if not line.endswith("\tdata.json")]
    tree = world.git("mktree", stdin="\n".join([*lines, f"100644 blob {blob}\tdata.json", ""]).encode())
    name = world.git("log", "-1", "--format=%s", "main")
    move(round_, "refs/heads/main", world.git("commit-tree", "-m", f"{name}x", "-p", "main", tree))


def hold_at_the_same_time(round_: Round) -> None:
    """Let a second command have worked under the same lock while the first one did."""
    own = round_.world.job("c5run") / "holds"
    beats = [json.loads(line) for line in own.read_text().splitlines()]
    other = [{**beat, "token": "0" * 24, "at_s": beat["at_s"] + 0.01} for beat in beats]
    one = next(item for item in round_.done if item.job.name == "c5run")
    round_.done.append(replace(one, clone="c00", job=replace(one.job, name="planted")))
    round_.world.job("planted").mkdir()
    (round_.world.job("planted") / "holds").write_text("".join(json.dumps(beat) + "\n" for beat in other))


def move_a_lock_by_hand(round_: Round) -> None:
    """Put an old state of the lock back."""
    move(round_, "refs/locks/main", old_state(round_, "refs/locks/main"))


def old_state(round_: Round, ref: str) -> str:
    """Return the first state that a ref had."""
    noted = sorted((round_.world.bare / "moves").iterdir())
    return next(line.split()[1] for path in noted for line in path.read_text().splitlines() if line.endswith(ref))


def soil_a_clone(round_: Round) -> None:
    """Leave a change in a clone."""
    (round_.world.clone("c02") / "data.json").write_text("{}\n")


def write_unseen(round_: Round) -> None:
    """Move a ref past git."""
    (round_.world.bare / "refs/heads/main").write_text(round_.world.git("rev-parse", "main~1") + "\n")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lose_a_commit, "nothing_lost:"),
        (land_twice, "exactly_once: the branch holds"),
        (land_a_failed_push, "exactly_once:"),
        (lose_a_key, "its key is not in data.json"),
        (hold_at_the_same_time, "exclusive_leases:"),
        (hold_at_the_same_time, "fencing:"),
        (move_a_lock_by_hand, "transitions:"),
        (soil_a_clone, "clone c02 is not clean"),
        (write_unseen, "record:"),
    ],
)
def test_the_judge_sees_what_is_wrong(copied: Round, harm: Callable[[Round], None], words: str) -> None:
    """A planted violation is found and named."""
    copied.done = [replace(one) for one in copied.done]
    harm(copied)
    assert [line for line in judge(copied) if words in line] != []


def test_a_seed_is_a_plan_and_its_rounds_strike_everywhere() -> None:
    """The same seed draws the same plan; over some rounds every named step of every transport comes up."""
    assert make_plan(3, 1, "http") == make_plan(3, 1, "http")
    assert make_plan(3, 1, "http") != make_plan(4, 1, "http")
    for transport in plans.TRANSPORTS:
        jobs = [job for number in range(8) for clone in make_plan(3, number, transport).clones for job in clone]
        struck = {job.kill.step for job in jobs if job.kill is not None}
        named = {kill.step for kill in plans.places(transport)} | {*plans.LEASE_STEPS, plans.COMMAND}
        assert named - struck == set()
        assert len({job.name for job in jobs}) == len(jobs)


def test_what_is_struck_is_followed_by_another_command() -> None:
    """No clone's work ends with a blow: a next job comes, as it would in CI."""
    for number in range(5):
        for clone in make_plan(Random(number).randrange(1000), number, "http").clones:
            assert clone[-1].kill is None
