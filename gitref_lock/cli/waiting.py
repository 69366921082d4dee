"""What a waiting run shows: one live line on a terminal, a plain line now and then in a log."""

from __future__ import annotations

from gitref_lock.cli.output import Output
from gitref_lock.cli.words import duration
from gitref_lock.core.lean import dataclass
from gitref_lock.core.text import instant
from gitref_lock.ports import Clock
from gitref_lock.runtime.waiting import WaitReport

EVERY_S = 60.0


@dataclass(slots=True)
class WaitDisplay:
    """A listener for waits. In a log it speaks when holder or place changed, else once a minute."""

    out: Output
    clock: Clock
    spoken_s: float | None = None
    said: tuple[object, ...] = ()
    warned: str = ""

    def __call__(self, report: WaitReport) -> None:
        """Show one look."""
        if report.why and not self.warned:
            self.warned = report.why
            self.out.warn(f"{report.lock}: {report.why}")
        if self.out.is_live:
            self.out.live(self.sentence(report))
            return
        now_s = self.clock.monotonic()
        what = (report.lock, report.holder, report.generation, report.place)
        if what != self.said or self.spoken_s is None or now_s - self.spoken_s >= EVERY_S:
            self.said, self.spoken_s = what, now_s
            self.out.say(self.sentence(report))

    def sentence(self, report: WaitReport) -> str:
        """Say whom the wait is for, since when, at which place, how long it may take, and when the next look is."""
        holder = report.holder
        if holder is None:
            parts = [f"waiting for {report.lock}: it is free or cannot be read, and others are served first"]
        else:
            workflow = f" ({holder.workflow})" if holder.workflow else ""
            parts = [f"waiting for {report.lock}: held by {holder.label}{workflow}"]
            if holder.run_url:
                parts.append(holder.run_url)
            if report.held_for_s is not None:
                since = instant(self.clock.wall() - report.held_for_s)
                parts.append(f"since {since} ({duration(report.held_for_s)})")
        parts.append(f"place {report.place} of {max(report.waiting, report.place)}")
        if report.expected_s is None:
            parts.append("no earlier hold is known to judge the wait by")
        else:
            holds = f"{report.samples} earlier hold{'' if report.samples == 1 else 's'}"
            parts.append(f"about {duration(report.expected_s)} more, judging by {holds}")
        parts.append(f"next look in {report.next_look_s:.1f} s")
        return ", ".join(parts)
