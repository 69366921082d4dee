"""Every wait ends: within its own limit, plus what the calls under way may take, plus the time the process slept.

After the network is healed everything comes to its end (docs/protocol.md, section 5).
"""

from __future__ import annotations

from gitref_lock.testing.sim_history import AcquireResult, History, PushResult

CALLS_S = 240.0
"""What the calls under way at the end of a wait may take: patient reads, a swap in doubt, and its kill."""


def violations(history: History) -> list[str]:
    """Return every wait that took too long, and every process that never came to its end."""
    found = list(history.unfinished)
    results: list[PushResult | AcquireResult] = [*history.pushes, *history.acquires]
    for result in results:
        if result.result in {"crashed", "running"}:
            continue
        slept_s = sum(
            max(0.0, min(until_s, result.ended_s) - max(from_s, result.began_s))
            for from_s, until_s in history.paused.get(result.runner, ())
        )
        took_s = result.ended_s - result.began_s
        if took_s > result.allowed_s + CALLS_S + slept_s:
            found.append(
                f"{result.runner} was to wait at most {result.allowed_s:.0f} s from {result.began_s:.3f} s on, and "
                f"took {took_s:.0f} s ({result.result})"
            )
    return found
