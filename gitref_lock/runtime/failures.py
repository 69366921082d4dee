"""From what a remote said to the error that a user sees: one place, so that one cause has one code and one hint."""

from __future__ import annotations

import re

from gitref_lock.core.refs import Breached, RefusalKind, Refused, Superseded, SwapOutcome, Unknown
from gitref_lock.core.text import JsonObject
from gitref_lock.errors import (
    BreachedError,
    ConfigurationError,
    GitrefLockError,
    NotAcquiredError,
    OutcomeUnknownError,
    PolicyError,
)
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.deadline import Deadline

_REMOTE_HINTS = {
    "authentication": "check the credentials that git uses for this remote; 'git ls-remote' with them must work",
    "permission": "the credentials need write access to the repository (contents: write)",
    "not-found": "check the remote's address; some hosts answer 'not found' when access is missing",
    "unreachable": "check the network and the remote's address",
    "timeout": "the remote did not answer in time; try again, or raise --timeout",
    "tls": "check the certificate settings (http.sslCAInfo, GIT_SSL_CAINFO)",
}

_CONFIGURATION_KINDS = {
    RefusalKind.AUTHENTICATION: "authentication",
    RefusalKind.PERMISSION: "permission",
    RefusalKind.NOT_FOUND: "not-found",
    RefusalKind.NAME_COLLISION: "name-collision",
    RefusalKind.NO_ATOMIC: "no-atomic",
    RefusalKind.STORAGE: "server-storage",
}

_REFUSAL_HINTS = {
    RefusalKind.NAMESPACE: "the host refuses refs outside branches and tags: choose a prefix with --ref-prefix",
    RefusalKind.NAME_COLLISION: "a lock cannot be both a name and the folder of another; choose another name",
    RefusalKind.NO_ATOMIC: "the server cannot apply several refs as one; see 'gitref-lock doctor'",
    RefusalKind.QUOTA: "the host's size or rate limit was reached",
    RefusalKind.STORAGE: "the server cannot store what it receives: its disk is full, read-only or not its user's",
    RefusalKind.CONTENTION: "the server keeps its ref locked: a stale .lock file on the server, or heavy load",
}


_NOT_FOR_CONTENT = frozenset({*_CONFIGURATION_KINDS, RefusalKind.CONTENTION}) - {RefusalKind.NAME_COLLISION}


def refuses_content(outcome: SwapOutcome) -> bool:
    """Tell whether a server refused what was sent, rather than who sent it or when."""
    return isinstance(outcome, Refused) and outcome.kind not in _NOT_FOR_CONTENT


def remote_failure(error: RemoteError, url: str) -> GitrefLockError:
    """Return the error for a remote that could not be read, or not even be asked whether it takes writes, for good."""
    return ConfigurationError(
        f"cannot {'write to' if error.of_write else 'read'} {url}: {error.words}",
        code=error.code,
        hint=_trust_hint(error.words) or _REMOTE_HINTS.get(error.code, ""),
        fields={"remote": url},
    )


def _trust_hint(words: str) -> str:
    """Return what helps where git does not serve a repository because it belongs to another user; '' elsewhere."""
    found = re.search(r"dubious ownership in repository at '([^']+)'", words)
    if found is None:
        return ""
    return (
        "the repository belongs to another user; the user who runs git there must trust it: "
        f"git config --global --add safe.directory '{found[1]}'"
    )


def read_failure(error: RemoteError, deadline: Deadline, what: str) -> RemoteError | NotAcquiredError:
    """Return the error for a read that failed: when the command's own time is over, that is the reason."""
    if not deadline.is_over:
        return error
    return NotAcquiredError(
        f"{what}: the time given to this command is over ({error.words})", code="timeout", hint="raise --timeout"
    )


def swap_failure(outcome: SwapOutcome, what: str, check: str) -> GitrefLockError:
    """Return the error for a swap that was not applied.

    ``what`` says in a few words what was tried, ``check`` is the command that finds out what is true now.
    """
    match outcome:
        case Refused(kind=kind, words=words, statuses=statuses):
            fields: JsonObject = {
                "reason": kind.value,
                "server": words,
                "refs": {str(ref): text for ref, text in statuses.items()},
            }
            blocking = re.match(r"(\S+) is in the way", words) if kind is RefusalKind.NAME_COLLISION else None
            if blocking is not None:
                fields["blocking_ref"] = blocking[1]
            code = _CONFIGURATION_KINDS.get(kind)
            hint = _trust_hint(words) or _REFUSAL_HINTS.get(kind) or _REMOTE_HINTS.get(kind.value, "")
            if code is not None:
                return ConfigurationError(f"{what} was refused: {words}", code=code, hint=hint, fields=fields)
            return PolicyError(f"{what} was refused: {words}", hint=hint, fields=fields)
        case Breached(applied=applied, refused=refused):
            return BreachedError(
                f"{what} was applied in part only: the server moved {', '.join(applied)} but not {', '.join(refused)}",
                hint=check,
                fields={"applied": list(applied), "refused": {str(ref): text for ref, text in refused.items()}},
            )
        case Unknown(nothing_sent=True, cause=cause):
            return ConfigurationError(
                f"{what}: the remote cannot be reached: {cause}", code="unreachable", hint=_REMOTE_HINTS["unreachable"]
            )
        case Unknown(cause=cause):
            return OutcomeUnknownError(f"{what}: the outcome is unknown: {cause}", hint=check)
        case Superseded():
            return OutcomeUnknownError(f"{what} kept losing to other writers", code="superseded", hint=check)
        case _:
            raise AssertionError("an applied swap is no failure")
