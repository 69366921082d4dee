"""What the remote branch shows of a posted change: a verdict is a claim, the branch is the proof.

Every reading here asks the remote (docs/protocol.md, section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from gitref_lock.core.names import Oid
from gitref_lock.landing.change import Prepared
from gitref_lock.landing.errors import LandingError
from gitref_lock.runtime.errand import Errand
from gitref_lock.runtime.retry import reading

_READINGS = 4
_LAG_S = 6.0


def holds_commits(errand: Errand, prepared: Prepared, commits: Sequence[Oid], listed: Oid | None) -> bool:
    """Tell whether the branch holds ``commits``, which a verdict names, and they are copies of ours.

    ``listed`` is the branch as the verdict's own listing had it, or None. When that shows nothing, the branch is read
    anew, and again: a replica may lag behind the one that showed the verdict.
    """
    is_there = listed is not None and _contains(errand, commits[-1], listed, prepared.tip)
    for reading_again in range(_READINGS):
        if is_there:
            break
        if reading_again:
            errand.remote.system.sleeper.sleep(_LAG_S / (_READINGS - 1))
        tip = _tip(errand)
        is_there = tip is not None and _contains(errand, commits[-1], tip, prepared.tip)
    if not is_there:
        return False
    errand.fetch([commits[-1]])
    return errand.change.are_copies(prepared, commits)


def holds_change(errand: Errand) -> Oid | None:
    """Return the branch's tip when it holds the whole change already, else None."""
    tip = _tip(errand)
    if tip is None:
        return None
    errand.fetch([tip])
    with suppress(LandingError):
        return tip if errand.change.beyond(tip).prepare(tip).is_landed_already else None
    return None


def copies_in_branch(errand: Errand, prepared: Prepared) -> tuple[Oid, ...]:
    """Return the commits of the branch that are copies of ours, () when there are none."""
    tip = _tip(errand)
    if tip is None:
        return ()
    return reading(
        errand.remote.system,
        lambda: errand.change.find_copies(errand.remote.store, prepared, tip, timeout_s=_call_s(errand)),
        errand.deadline,
    )


def _tip(errand: Errand) -> Oid | None:
    ref = errand.request.target.ref
    return errand.remote.list([ref], errand.deadline).refs.get(ref)


def _contains(errand: Errand, commit: Oid, tip: Oid, base: Oid | None) -> bool:
    return reading(
        errand.remote.system,
        lambda: errand.change.contains(errand.remote.store, commit, tip, base, timeout_s=_call_s(errand)),
        errand.deadline,
    )


def _call_s(errand: Errand) -> float | None:
    """Return how long one call may take, so that no proof lasts longer than what it is for."""
    return errand.deadline.capped(errand.remote.call_timeout_s)
