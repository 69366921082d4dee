"""What the remote does with swaps, found out by experiment and not by what it says about itself.

A server may advertise all that is needed and still refuse a namespace, apply a part, or grant one swap twice.
"""

from __future__ import annotations

from gitref_lock.core.names import Namespace, Oid
from gitref_lock.core.refs import (
    Applied,
    At,
    Breached,
    RefEdit,
    RefusalKind,
    Refused,
    Role,
    Superseded,
    SwapOutcome,
    Unknown,
)
from gitref_lock.insight.findings import Examination, Severity
from gitref_lock.insight.probes.trial import Trial, create, is_applied, update
from gitref_lock.runtime.failures import swap_failure

BRANCH_PREFIX = "refs/heads/gitref-locks"
_RACERS = 6
_ROUNDS = 2
_FINAL = frozenset(
    {
        RefusalKind.AUTHENTICATION,
        RefusalKind.NOT_FOUND,
        RefusalKind.QUOTA,
        RefusalKind.STORAGE,
        RefusalKind.CONTENTION,
        RefusalKind.OTHER,
    }
)
_UNSAFE = "use another server for locks; see docs/reference/servers.md"


def words_of(outcome: SwapOutcome) -> str:
    """Return why a swap was not applied, in the server's words where it has any."""
    match outcome:
        case Refused(words=words):
            return words
        case Unknown(cause=cause):
            return cause
        case Superseded():
            return "the ref does not hold what was written a moment ago"
        case Breached(applied=applied):
            return f"only {', '.join(applied)} moved"
        case _:
            return "applied"


def find_prefix(trial: Trial, found: Examination) -> tuple[Namespace, Oid] | None:
    """Find where a lock can be created and then moved to an unrelated commit; return that and the lock's state."""
    wanted = trial.remote.namespace
    refusals: list[tuple[Namespace, Refused]] = []
    for prefix in dict.fromkeys([wanted.locks, Namespace().locks, BRANCH_PREFIX]):
        namespace = Namespace(prefix)
        outcome, tip = _try(trial, namespace)
        if tip is not None:
            _judge_prefix(found, wanted, namespace, refusals)
            found.measured["ref_prefix"] = prefix
            return namespace, tip
        if not isinstance(outcome, Refused) or outcome.kind in _FINAL:
            failure = swap_failure(outcome, f"writing under {prefix}", "look at the server's own log")
            code = "not-writable" if isinstance(outcome, Refused) else "swap-failed"
            found.add(code, Severity.ERROR, failure.message, failure.hint)
            return None
        refusals.append((namespace, outcome))
    _judge_refusals(found, refusals)
    return None


def _judge_refusals(found: Examination, refusals: list[tuple[Namespace, Refused]]) -> None:
    """No prefix works: say whether that is for want of write access, or because of rules about names."""
    tried = ", ".join(namespace.locks for namespace, _ in refusals)
    words = refusals[0][1].words
    if all(refused.kind is RefusalKind.PERMISSION for _, refused in refusals):
        remedy = "give the credentials write access (GitHub Actions: permissions: contents: write)"
        found.add("not-writable", Severity.ERROR, f"the remote refuses every write: {words}", remedy)
        return
    remedy = "allow one of them on the host, or name a prefix that it accepts with --ref-prefix"
    found.add("no-namespace", Severity.ERROR, f"the remote refuses refs under {tried}: {words}", remedy)


def _try(trial: Trial, namespace: Namespace) -> tuple[SwapOutcome, Oid | None]:
    """Create the lock and move it; return the outcome that stopped, or the state the lock is at."""
    trial.tried.append(namespace)
    trial.remote.namespace = namespace  # states among the branches ask CI systems not to run
    ref = trial.refs(namespace)[0]
    first, objects = trial.state()
    outcome = trial.swap([create(ref, first)], objects)
    if not is_applied(outcome):
        return outcome, None
    second, objects = trial.state()
    # No common history: a host that takes fast-forwards only cannot hold a lock there.
    outcome = trial.swap([update(ref, first, second)], objects)
    return (outcome, second) if is_applied(outcome) else (outcome, None)


def _judge_prefix(
    found: Examination, wanted: Namespace, works: Namespace, refusals: list[tuple[Namespace, Refused]]
) -> None:
    if works.locks == wanted.locks:
        found.add("namespace", Severity.OK, f"locks can be created and moved under {works.locks}")
        return
    found.prefix = works.locks
    text = f"the remote refuses {refusals[0][0].locks}: {refusals[0][1].words}; {works.locks} works"
    found.add(
        "namespace-refused", Severity.ERROR, text, f'set ref-prefix = "{works.locks}" (doctor --fix writes it down)'
    )


def check_stale(trial: Trial, namespace: Namespace, tip: Oid, found: Examination) -> None:
    """A swap from a state that the lock is not at must change nothing, and must not be called applied."""
    ref = trial.refs(namespace)[0]
    other, _ = trial.state()
    new, objects = trial.state()
    outcome = trial.swap([update(ref, other, new)], objects)
    seen = trial.present(ref)[ref]
    is_kept = seen == tip and not is_applied(outcome)
    found.measured["stale_swap_refused"] = is_kept
    if not is_kept:
        said = "and called it applied" if is_applied(outcome) else "nevertheless"
        what = "moved the lock" if seen != tip else "left the lock alone"
        found.add("unsafe-swaps", Severity.ERROR, f"given an outdated expectation, the server {what} {said}", _UNSAFE)


def check_atomic(trial: Trial, namespace: Namespace, tip: Oid, found: Examination) -> Oid:
    """Check what the fence rests on: several refs move together or not at all. Return the lock's state."""
    if not trial.server.atomic:
        found.measured["atomic_kept"] = False
        text = "the server does not offer atomic pushes, so it cannot check the lock while a branch lands"
        remedy = "push lands without a fence there (--require-fence refuses); choose a server with atomic pushes"
        found.add("no-atomic", Severity.ERROR, text, remedy)
        return tip
    lock, ticket, rescue = trial.refs(namespace)
    new, objects = trial.state()
    edits = [update(lock, tip, new), create(ticket, new, Role.TICKET), create(rescue, new, Role.RESCUE)]
    outcome = trial.swap(edits, objects)
    if not is_applied(outcome):
        _explain(trial, namespace, outcome, found)
        return tip
    found.add("queue", Severity.OK, f"tickets and rescued commits are accepted under {namespace.queue}")
    kept = all(_is_all_or_nothing(trial, namespace, new, role) for role in (Role.BRANCH, Role.TICKET))
    found.measured["atomic_kept"] = kept
    if kept:
        found.add("atomic", Severity.OK, "a swap of two refs with one outdated expectation moves neither")
    else:
        text = "a swap of two refs with one outdated expectation was applied in part: the fence does not hold"
        found.add("atomic-broken", Severity.ERROR, text, _UNSAFE)
    return new


def _is_all_or_nothing(trial: Trial, namespace: Namespace, tip: Oid, role: Role) -> bool:
    """Send the ticket's good edit before (as a branch) or behind the lock's outdated one; tell whether none moved."""
    lock, ticket, _ = trial.refs(namespace)
    other, _objects = trial.state()
    new, objects = trial.state()
    outcome = trial.swap([update(lock, other, new), update(ticket, tip, new, role)], objects)
    return set(trial.present(lock, ticket).values()) == {tip} and not isinstance(outcome, Applied | Breached)


def _explain(trial: Trial, namespace: Namespace, outcome: SwapOutcome, found: Examination) -> None:
    """Find out which ref of a swap was refused, by asking for each alone."""
    _, ticket, rescue = trial.refs(namespace)
    new, objects = trial.state()
    for what, ref, role in (("tickets", ticket, Role.TICKET), ("rescued commits", rescue, Role.RESCUE)):
        alone = trial.swap([create(ref, new, role)], objects)
        if not is_applied(alone):
            prefix = ref.partition(f"/{trial.name}/")[0]
            text = f"the remote refuses {what} under {prefix}/: {words_of(alone)}"
            remedy = f"allow {namespace.locks}/, {namespace.queue}/ and {namespace.rescue}/ on the host"
            found.add("queue-refused", Severity.ERROR, text, remedy)
            return
    text = f"a swap of three refs was not applied: {words_of(outcome)}"
    found.add("atomic-refused", Severity.ERROR, text, "ask the host's operator why")


def check_race(trial: Trial, namespace: Namespace, tip: Oid, found: Examination) -> Oid:
    """Let several stores move the lock at once; exactly one may be told that it did. Return the lock's state."""
    ref = trial.refs(namespace)[0]
    verdict: bool | None = True
    # Over ssh and the like each rival needs a login or process of its own for each thing it asks.
    for _ in range(_ROUNDS if trial.remote.store.is_server_clocked else 1):
        states = [trial.state() for _ in range(_RACERS)]
        outcomes = trial.race([(update(ref, tip, new), objects) for new, objects in states])
        winners = [new for (new, _), outcome in zip(states, outcomes, strict=True) if is_applied(outcome)]
        seen = trial.present(ref)[ref]
        if len(winners) > 1 or (winners and winners[0] != seen):
            verdict = False
            text = f"{len(winners)} of {_RACERS} rivals were told that they moved the lock" + (
                "" if seen in winners else ", and the lock shows none of them"
            )
            found.add("unsafe-swaps", Severity.ERROR, text, _UNSAFE)
        elif not winners:
            verdict = None
            text = f"no rival moved the lock: {words_of(outcomes[0])}"
            found.add("race-undecided", Severity.WARNING, text, "run doctor again when the server is less busy")
        tip = seen or tip
        if verdict is not True:
            break
    found.measured["race_exclusive"] = verdict
    if verdict:
        found.add("exclusive", Severity.OK, f"of {_RACERS} rivals exactly one moves the lock")
    return tip


def check_deletion(trial: Trial, namespace: Namespace, found: Examination) -> None:
    """Delete what was written, each ref at the value just read."""
    refs = trial.refs(namespace)
    found.measured["deletes"] = True
    for ref, value in trial.present(*refs).items():
        if value is None:
            continue
        outcome = trial.swap([RefEdit(ref, At(value), None, Role.TICKET)])
        if not is_applied(outcome):
            found.measured["deletes"] = False
            text = f"the remote does not delete {ref}: {words_of(outcome)}"
            remedy = "waiting leaves tickets behind there; allow deletions under the lock prefixes"
            found.add("deletion-refused", Severity.WARNING, text, remedy)
            return
    found.add("deletion", Severity.OK, "tickets can be deleted")
