"""What servers say when they refuse, in one table, and how their words are made safe to show.

Only words that always mean the same are here. "failed to update ref", "reference already exists", "atomic transaction
failed" and "failed to lock" mean a lost race on one server and a busy lock file on another: they are not in the table,
and a read of the refs decides instead (docs/protocol.md, section 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gitref_lock.core.names import RefName
from gitref_lock.core.refs import RefusalKind
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.wire import Report

_HOOK = "hook"

# Matched against each ref's status: the part of the report that only the server itself writes.
_STATUS = (
    (r"missing necessary objects|missing object|^object [0-9a-f]{40} missing", RefusalKind.MISSING_OBJECTS),
    (r"deny updating a hidden ref|funny refname|refs/heads/ and refs/tags/ only", RefusalKind.NAMESPACE),
    (r"no such ref namespace|invalid ref(?:name)?$|bad ref", RefusalKind.NAMESPACE),
    (r"pre-receive hook declined|(?<!pre-receive )hook declined", _HOOK),
    (r"DENIED by|prohibited by Gerrit|permission|TF401027|not permitted|not allowed to|access denied", "permission"),
    (
        r"protected branch|protected ref|GH006|GH013|rule violations|deletion prohibited|non-fast-forward",
        RefusalKind.POLICY,
    ),
    (r"shallow update not allowed|commit too large|trying to write non-commit|is neither Commit or Tag", "policy"),
    (r"unable to migrate objects to permanent storage|disk full|no space left", RefusalKind.STORAGE),
    (r"quota|exceeds|size limit|too large", RefusalKind.QUOTA),
    (r"name conflict|RefNameConflict", RefusalKind.NAME_COLLISION),
)

# Matched against the progress text of a refusal whose status says nothing. A hook may print anything there, so only
# lines in git's own words count.
_PROGRESS = (
    (r"'[^']+' exists; cannot create '[^']+'", RefusalKind.NAME_COLLISION),
    (r"cannot process '[^']+' and '[^']+' at the same time", RefusalKind.NAME_COLLISION),
    (r"nable to create '[^']*': Permission denied|insufficient permission for adding an object", "permission"),
    (r"(?:nable to create '[^']*'|nable to create temporary file): Read-only file system", RefusalKind.STORAGE),
    (r"^unable to create temporary object directory\b|No space left on device", RefusalKind.STORAGE),
    (r"Disk quota exceeded|exceeds maximum allowed size", RefusalKind.QUOTA),
    (r"trying to write non-commit object", RefusalKind.POLICY),
)

# What servers and proxies send instead of a report when they look at the request and refuse to begin.
_ERRORS = (
    (r"outside refs/heads|only branch updates are permitted", RefusalKind.NAMESPACE),
    (r"access denied or repository not exported|repository not found|no such repository", RefusalKind.NOT_FOUND),
    (r"service not enabled", RefusalKind.PERMISSION),
    (r"access denied|permission to \S+ denied|DENIED by|not authorized|read-only", RefusalKind.PERMISSION),
)

# What a declining hook prints tells who declined.
_HOOK_WORDS = (
    (r"GH006|GH013|protected branch|protected ref", RefusalKind.POLICY),
    (r"DENIED by|not allowed to|permission|access denied", RefusalKind.PERMISSION),
    (r"outside refs/heads|only branch updates|ref namespace", RefusalKind.NAMESPACE),
    (r"quota|storage limit|exceeds (?:the )?(?:maximum|limit)", RefusalKind.QUOTA),
)


def kind_of(report: Report) -> RefusalKind | None:
    """Return why a report that refused everything refused for good, or None when its words do not tell."""
    statuses = [status for status in report.statuses.values() if status is not None]
    for pattern, kind in _STATUS:
        if any(re.search(pattern, status, re.IGNORECASE) for status in statuses):
            if kind == _HOOK:
                return _match(_HOOK_WORDS, report.progress) or RefusalKind.POLICY
            return RefusalKind(kind)
    unpack = "" if report.unpack == "ok" else report.unpack + "\n"
    return _match(_PROGRESS, unpack + report.progress)


def may_be_a_lost_race(kind: RefusalKind, report: Report) -> bool:
    """Tell whether a server may say this when a rival was faster, so that a read of the refs has the first word.

    A base that was rewound and collected shows as missing objects, a branch that moved as no fast-forward, a name that
    a rival has just created as a collision.
    """
    if kind in {RefusalKind.MISSING_OBJECTS, RefusalKind.NAME_COLLISION}:
        return True
    return any("non-fast-forward" in (status or "").lower() for status in report.statuses.values())


def _match(table: Iterable[tuple[str, RefusalKind | str]], text: str) -> RefusalKind | None:
    """Return the kind of the first pattern that ``text`` holds."""
    for pattern, kind in table:
        if re.search(pattern, text, re.IGNORECASE):
            return RefusalKind(kind)
    return None


def kind_of_error(words: str) -> RefusalKind | None:
    """Return why a server that answered with an error instead of a report refused for good, or None.

    Without a match the swap stays an open question: an error may also come from a proxy that gave up waiting.
    """
    return _match(_ERRORS, words)


def blocking_ref(report: Report) -> str | None:
    """Return the ref that git named as standing in the way of a new one, or None."""
    match = re.search(r"'([^']+)' exists; cannot create", report.progress)
    return match[1] if match else None


def words_of(report: Report) -> str:
    """Return what the server said about a refused swap, as one text."""
    parts = [] if report.unpack == "ok" else [f"unpack: {report.unpack}"]
    parts += _grouped(report.statuses)
    if report.progress.strip():
        parts.append(report.progress.strip())
    return "; ".join(parts)


def _grouped(statuses: Mapping[RefName, str | None]) -> list[str]:
    """Return each different status once, with its refs."""
    by_status: dict[str, list[str]] = {}
    for ref, status in statuses.items():
        by_status.setdefault(status or "ok", []).append(ref)
    return [f"{', '.join(refs)}: {status}" for status, refs in by_status.items()]


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")
_MAX_WORDS = 4000


def shown(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a remote's words fit to be shown: without credentials and control characters, of bounded length."""
    return redact(_CONTROL.sub(" ", text).strip()[:_MAX_WORDS], secrets)
