"""``doctor``: does this remote, this clone and this repository's configuration have what a fenced push needs?

What can be tried is tried, on a lock of its own that is gone afterwards; what cannot be tried is only noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gitref_lock.core.record import Holder
from gitref_lock.insight.findings import Examination, Severity
from gitref_lock.insight.probes import place, swaps
from gitref_lock.insight.probes.trial import CALL_TIMEOUT_S, Trial
from gitref_lock.ports import Capabilities, RemoteError
from gitref_lock.remotes import open_store
from gitref_lock.remotes.settings import RemoteSpec
from gitref_lock.remotes.store import GitStore
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import remote_failure
from gitref_lock.runtime.remote import Remote

CLEANING_S = 20.0


def examine_remote(spec: RemoteSpec, remote: Remote, holder: Holder, deadline: Deadline, found: Examination) -> None:
    """Try everything on the remote that ``push`` needs; add findings and measurements to ``found``."""
    system = remote.system
    trial = Trial(remote, lambda: open_store(spec, system), holder, deadline, system.entropy.nonce())
    found.measured["remote"] = remote.store.display_url
    left: list[str] = []
    try:
        _examine(trial, found)
    except RemoteError as error:
        failure = remote_failure(error, remote.store.display_url)
        found.add(f"remote-{failure.code}", Severity.ERROR, failure.message, failure.hint)
    finally:
        if trial.tried:
            # Also on the way out of an interrupted examination; the time of the command may be over by then.
            left += trial.clean_up(Deadline.after(system, CLEANING_S))
    if left:
        remedy = "; ".join(f"git push REMOTE :{ref}" for ref in left)
        found.add("left-behind", Severity.WARNING, f"could not be removed: {', '.join(left)}", remedy)


def _examine(trial: Trial, found: Examination) -> None:
    """Read, then write: each step rests on the one before."""
    remote = trial.remote
    started_s = remote.system.clock.monotonic()
    trial.present(*trial.refs(remote.namespace))
    took_s = remote.system.clock.monotonic() - started_s
    found.measured["first_read_ms"] = round(took_s * 1000, 1)
    found.add("readable", Severity.OK, f"the remote can be read ({took_s * 1000:.0f} ms)")
    store = remote.store
    place.check_protocol(remote, store.protocol_version if isinstance(store, GitStore) else None, found)
    capabilities = _probe(trial, found)
    if capabilities is None:
        return
    trial.learn(capabilities)
    found.measured["atomic_offered"] = capabilities.atomic
    place.check_trust(remote, capabilities.agent, found)
    place.check_clock(remote, found)
    place.check_host(store.display_url, capabilities.agent, found)
    works = swaps.find_prefix(trial, found)
    if works is None:
        return
    namespace, tip = works
    swaps.check_stale(trial, namespace, tip, found)
    tip = trial.present(trial.refs(namespace)[0])[trial.refs(namespace)[0]] or tip
    tip = swaps.check_atomic(trial, namespace, tip, found)
    tip = trial.present(trial.refs(namespace)[0])[trial.refs(namespace)[0]] or tip
    swaps.check_race(trial, namespace, tip, found)
    swaps.check_deletion(trial, namespace, found)


def _probe(trial: Trial, found: Examination) -> Capabilities | None:
    """Ask what receive-pack can do; a refusal shows that the remote can be read and not written."""
    store = trial.remote.store
    try:
        return store.probe(timeout_s=trial.deadline.capped(CALL_TIMEOUT_S))
    except RemoteError as error:
        if error.code not in {"permission", "authentication", "not-found"}:
            raise
        failure = remote_failure(error, store.display_url)
        text = f"the remote can be read, but not written: {error.words}"
        found.add("not-writable", Severity.ERROR, text, failure.hint)
        return None


def examine_clone(folder: Path, environ: Mapping[str, str], now_s: int, found: Examination) -> None:
    """Check that a commit can be made here: a usable clone, and somebody to be its author."""
    from gitref_lock.landing.checkout import Checkout
    from gitref_lock.landing.errors import LandingError
    from gitref_lock.landing.identity import signature

    try:
        with Checkout.open(folder, environ) as checkout:
            people = {signature(checkout, role, now_s).person.decode("utf-8", "replace") for role in _ROLES}
    except LandingError as error:
        severity = Severity.NOTE if error.code == "not-a-repository" else Severity.ERROR
        found.add(error.code, severity, error.message, error.hint)
        return
    found.add("identity", Severity.OK, f"commits are made by {' and '.join(sorted(people))}")


_ROLES = ("author", "committer")
