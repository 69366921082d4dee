"""What the repository's own workflow files do to locks: missing rights, lost credentials, locks that nobody frees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from gitref_lock.core.lean import dataclass
from gitref_lock.insight.findings import Examination, Finding, Severity
from gitref_lock.insight.probes.yaml_lines import Node, parse

FOLDER = Path(".github/workflows")
_MAX_BYTES = 1 << 20
_USE = re.compile(r"(?<![\w./-])gitref-lock[ \t]+(?:-\S+[ \t]+)*([a-z][a-z-]*)([^\n;|&]*)")
_WRITES = frozenset({"acquire", "lock", "run", "exec", "push", "renew", "release", "unlock", "break", "cleanup"})
_TTL = re.compile(r"--ttl[= ]+['\"]?([^\s'\"]+)")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rules need to know. ``read_duration`` raises ValueError; ``default_ttl_s`` goes without ``--ttl``."""

    read_duration: Callable[[str], float]
    default_ttl_s: float


@dataclass(frozen=True, slots=True)
class _Use:
    """One use of the program: command, its words, and the step."""

    command: str
    words: str
    step: Node


def examine_workflows(top: Path, rules: Rules, found: Examination) -> None:
    """Look at every workflow file below ``top``."""
    folder = top / FOLDER
    if not folder.is_dir():
        return
    files = [path for path in sorted(folder.iterdir()) if path.suffix in {".yml", ".yaml"} and path.is_file()]
    before = len(found.findings)
    for path in files:
        name = str(path.relative_to(top))
        try:
            text = path.read_bytes()[:_MAX_BYTES].decode("utf-8", "replace")
        except OSError as error:
            found.findings.append(
                Finding("workflow-unreadable", Severity.WARNING, f"cannot be read: {error.strerror}", path=name, line=1)
            )
            continue
        found.findings += [
            Finding(item.code, item.severity, item.text, item.remedy, name, item.line) for item in judge(text, rules)
        ]
    if files and len(found.findings) == before:
        found.add("workflows", Severity.OK, f"{len(files)} workflow files use locks as they should, or not at all")


def judge(text: str, rules: Rules) -> Iterator[Finding]:
    """Yield what is wrong in one workflow file; ``path`` is not set."""
    root = parse(text)
    jobs = root.get("jobs")
    for name, job in jobs.items() if jobs is not None else ():
        uses = list(_uses(job))
        if any(use.command in _WRITES for use in uses):
            yield from _permissions(root, name, job)
            yield from _credentials(root, name, job)
        yield from _releases(name, uses)
        yield from _ttls(name, job, uses, rules)


def _uses(job: Node) -> Iterator[_Use]:
    for step in job.get("steps") or ():
        script = step.get("run")
        for match in _USE.finditer(script.text if script is not None else ""):
            yield _Use(match[1], match[2], step)


def _permissions(root: Node, name: str, job: Node) -> Iterator[Finding]:
    """Without ``contents: write`` the token cannot move any ref."""
    given = job.get("permissions") or root.get("permissions")
    remedy = "permissions:\n  contents: write"
    if given is None:
        text = (
            f"job {name!r} uses locks and names no permissions: the token's rights depend on the repository's setting"
        )
        yield Finding("workflow-permissions-unset", Severity.NOTE, text, remedy, line=job.line)
        return
    contents = given.get("contents")
    if given.text == "write-all" or (contents is not None and contents.text == "write"):
        return
    text = f"job {name!r} uses locks, but its token may not write contents"
    yield Finding("workflow-permissions", Severity.ERROR, text, remedy, line=given.line)


def _credentials(root: Node, name: str, job: Node) -> Iterator[Finding]:
    """A checkout that throws its token away leaves git, and so the locks, without one."""
    if any(node.get("env", "GITREF_LOCK_REMOTE") is not None for node in (root, job, *(job.get("steps") or ()))):
        return
    for step in job.get("steps") or ():
        uses, setting = step.get("uses"), step.get("with", "persist-credentials")
        if uses is None or setting is None or not uses.text.startswith("actions/checkout@"):
            continue
        if setting.text.lower() in {"false", "no", "off"}:
            text = f"job {name!r} uses locks, but its checkout keeps no credentials"
            remedy = "remove persist-credentials: false, or set GITREF_LOCK_REMOTE to an address with a token"
            yield Finding("workflow-credentials", Severity.ERROR, text, remedy, line=setting.line)


def _releases(name: str, uses: list[_Use]) -> Iterator[Finding]:
    """A lock whose release is skipped when a step fails stays held until its lease ends."""
    acquired = [use for use in uses if use.command in {"acquire", "lock"}]
    if not acquired or any(use.command in {"release", "unlock"} and _runs_always(use) for use in uses):
        return
    text = f"job {name!r} acquires a lock, and no step frees it when another step fails or the job is cancelled"
    remedy = "- if: always()\n  run: gitref-lock release --if-held"
    yield Finding("workflow-release", Severity.WARNING, text, remedy, line=acquired[0].step.line)


def _runs_always(use: _Use) -> bool:
    condition, script = use.step.get("if"), use.step.get("run")
    words = condition.text if condition is not None else ""
    is_trap = script is not None and re.search(r"\btrap\b", script.text) is not None
    return "always()" in words or ("failure()" in words and "cancelled()" in words) or is_trap


def _ttls(name: str, job: Node, uses: list[_Use], rules: Rules) -> Iterator[Finding]:
    """A lease that is shorter than the job may be over while the job still believes in it."""
    limit = job.get("timeout-minutes")
    try:
        limit_s = float(limit.text) * 60 if limit is not None else None
    except ValueError:
        return
    for use in uses:
        if limit_s is None or use.command not in {"acquire", "lock"} or "--keep-alive" in use.words:
            continue
        given = _TTL.search(use.words)
        try:
            ttl_s = rules.read_duration(given[1]) if given is not None else rules.default_ttl_s
        except ValueError:
            continue
        if ttl_s < limit_s:
            text = f"job {name!r} may run for {limit_s / 60:g} min, longer than its lease of {ttl_s / 60:g} min"
            remedy = "a longer --ttl, a shorter timeout-minutes, --keep-alive, or 'gitref-lock run' around the work"
            yield Finding("workflow-ttl", Severity.WARNING, text, remedy, line=use.step.line)
