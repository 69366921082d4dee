"""Runs the jobs of one clone, one process after the other, and keeps what each was told and when, in true time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scripts.torturelib import holding, victim
from scripts.torturelib.http_side import HEADER, Director, Target, Timers
from scripts.torturelib.plan import CLOCK, COMMAND, Job
from scripts.torturelib.world import World, add_key

LIMIT_S = 180.0
_STALL_S = 2.0
_LOOK_EVERY_S = 0.02


@dataclass(slots=True)
class Done:
    """One process that has ended. ``code`` is negative for a signal; ``printed_s`` is when it wrote its result.

    ``subjects`` are the messages of the local commits that were made for it.
    """

    job: Job
    clone: str
    began_s: float
    ended_s: float
    code: int
    said: dict[str, object]
    errors: str
    printed_s: float
    is_hit: bool = False
    is_late: bool = False
    subjects: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class Runner:
    """One clone and what it does. ``oddities`` are what the harness itself found out of order on the way."""

    world: World
    name: str
    director: Director
    timers: Timers
    done: list[Done] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)

    def run(self, jobs: tuple[Job, ...]) -> None:
        """Run the jobs in order."""
        for job in jobs:
            time.sleep(job.pause_s)
            self.one(job)

    def one(self, job: Job) -> Done:
        """Run one job to its end."""
        folder = self.world.job(job.name)
        folder.mkdir()
        subjects = self._prepare(job) if job.kind == "push" else ()
        (folder / "orders.json").write_text(json.dumps(_orders(job)), encoding="utf-8")
        target = Target(job)
        self.director.expect(target)
        began_s = time.time()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                self._words(job, folder),
                cwd=self.world.clone(self.name),
                env=self._environ(job, folder),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        target.process = process
        target.ready.set()
        is_late = self._await(process, target, folder / "holds")
        done = Done(
            job,
            self.name,
            began_s,
            time.time(),
            process.returncode,
            _said(folder / "out") if job.kind != "run" else {},
            (folder / "err").read_text(encoding="utf-8", errors="replace"),
            (folder / "out").stat().st_mtime,
            target.is_hit or (folder / "hit").exists(),
            is_late,
            subjects,
            tuple(path.name.removeprefix("fault-") for path in folder.glob("fault-*")),
        )
        self.done.append(done)
        return done

    def _prepare(self, job: Job) -> tuple[str, ...]:
        """Change files and make local commits, as a job's own steps do."""
        clone = self.world.clone(self.name)
        if job.prelude:
            self.world.result(*job.prelude, cwd=clone)
        made = []
        try:
            for number in range(job.commits):
                subject = f"{job.name}-{number}"
                add_key(clone, subject)
                words = ("commit", "-q", "-m", subject, "--", "data.json", f"{subject}.txt")
                added = self.world.result("add", "-N", f"{subject}.txt", cwd=clone)
                if added.returncode == 0 and self.world.result(*words, cwd=clone, who=self.name).returncode == 0:
                    made.append(subject)
            add_key(clone, job.name)
        except ValueError as error:
            self.oddities.append(f"{job.name}: data.json of {self.name} is torn: {error}")
        return tuple(made)

    def _words(self, job: Job, folder: Path) -> list[str]:
        words = [sys.executable, "-m", victim.__name__, job.kind]
        if job.kind == "push":
            chosen = ["data.json", f"{job.name}.txt"] if job.own_paths else []
            how = [] if job.own_paths else ["-A"]
            return [
                *words,
                *how,
                "-m",
                job.name,
                "--holder",
                job.name,
                "--wait",
                "60s",
                "--json",
                *job.options,
                *chosen,
            ]
        if job.kind == "run":
            kind = "stubborn" if job.is_stubborn else "obedient"
            command = [sys.executable, "-S", holding.__file__, str(folder / "holds"), str(job.hold_s), kind]
            return [*words, job.lock, "--holder", job.name, *job.options, "--", *command]
        holder = ["--holder", job.name] if job.kind == "acquire" else []
        return [*words, job.lock, *holder, "--json", *job.options]

    def _environ(self, job: Job, folder: Path) -> dict[str, str]:
        environ = {
            **self.world.environ(self.name),
            victim.JOB: str(folder),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"{HEADER}: {job.name}",
        }
        if job.kill is not None and not job.kill.when and job.kill.place not in {CLOCK, COMMAND}:
            environ[victim.STEP] = job.kill.place
        return environ

    def _await(self, process: subprocess.Popen[bytes], target: Target, holds: Path) -> bool:
        """Wait for the end, with a blow at its moment; tell whether the process had to be ended at last."""
        kill = target.job.kill
        while kill is not None and kill.place == COMMAND and not holds.exists() and process.poll() is None:
            time.sleep(_LOOK_EVERY_S)
        if kill is not None and kill.place in {CLOCK, COMMAND}:
            try:
                process.wait(kill.at_s)
            except subprocess.TimeoutExpired:
                target.strike(kill, self.timers)
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        return False


def _orders(job: Job) -> list[dict[str, object]]:
    """Return what the ssh of this process is told: its blow first."""
    orders: list[dict[str, object]] = []
    if job.kill is not None and job.kill.when:
        orders.append(asdict(job.kill))
    orders += [{"place": item.place, "nth": item.nth, "when": item.name, "stop_s": _STALL_S} for item in job.faults]
    return orders


def _said(path: Path) -> dict[str, object]:
    """Return the JSON document that a process printed; nothing when it was killed before or while it did."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
