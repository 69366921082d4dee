"""``doctor``: is everything there that a fenced push needs, and if not, what is to be done?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gitref_lock.cli.command import Run
from gitref_lock.cli.declare import Option
from gitref_lock.errors import ConfigurationError, GitrefLockError, UsageError

if TYPE_CHECKING:
    from gitref_lock.insight.findings import Examination, Finding

FORMATS = ("text", "json", "sarif", "github")
_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}
_ACQUIRE_TTL_S = 1800.0

Offline = Annotated[
    bool, Option("--offline", envvar="GITREF_LOCK_OFFLINE", help="Only this machine: clone, settings, workflows.")
]
Fix = Annotated[bool, Option("--fix", help="Write the remedy into the settings where that is safe.")]
Format = Annotated[
    str,
    Option("--format", envvar="GITREF_LOCK_FORMAT", metavar="text|json|sarif|github", help="Form of findings."),
]


def doctor(run: Run, offline: Offline = False, fix: Fix = False, output_format: Format = "text") -> None:
    """Check the remote by experiment, and clone, settings and workflow files. Exit 0: a fenced push can work."""
    from gitref_lock.insight.findings import Examination

    if output_format not in FORMATS:
        raise UsageError(f"--format: {output_format[:60]!r} is not allowed; it must be one of {', '.join(FORMATS)}")
    if output_format in {"json", "sarif"}:
        run.out.as_json = True
    found = Examination()
    _examine_here(run, found)
    if not offline:
        _examine_there(run, found)
    if fix:
        _fix(run, found)
    _show(run, found, output_format)
    if found.errors:
        first = next(finding for finding in found.errors)
        raise ConfigurationError(
            f"{len(found.errors)} of {len(found.findings)} checks failed: "
            + ", ".join(dict.fromkeys(finding.code for finding in found.errors)),
            code="doctor",
            hint=first.remedy.partition("\n")[0],
        )


def _examine_here(run: Run, found: Examination) -> None:
    """Settings, clone and workflow files."""
    from gitref_lock import config
    from gitref_lock.insight.doctor import examine_clone
    from gitref_lock.insight.findings import Severity
    from gitref_lock.insight.probes.workflows import Rules, examine_workflows

    fault = _settings_fault(run)
    if fault is not None:
        found.add(fault.code, Severity.ERROR, fault.message, fault.hint)
    elif run.settings.source is not None:
        found.add("settings", Severity.OK, f"{run.settings.source} can be read")
    examine_clone(run.around.folder, run.environ, int(run.system.clock.wall()), found)
    rules = Rules(config.parse_duration, run.settings.ttl_s or _ACQUIRE_TTL_S)
    examine_workflows(run.around.top or run.around.folder, rules, found)


def _settings_fault(run: Run) -> ConfigurationError | None:
    """Return what is wrong with the settings file, what it says of merging included; None when it can be used."""
    from gitref_lock.cli.merging import check_merging

    if run.settings_fault is not None:
        return run.settings_fault
    try:
        check_merging(run.settings)
    except ConfigurationError as error:
        return error
    return None


def _examine_there(run: Run, found: Examination) -> None:
    """The remote."""
    from gitref_lock.insight.doctor import examine_remote
    from gitref_lock.insight.findings import Severity

    try:
        session = run.session
    except GitrefLockError as error:
        found.add(error.code, Severity.ERROR, error.message, error.hint)
        return
    examine_remote(session.spec, session.remote, run.holder(), run.deadline, found)


def _fix(run: Run, found: Examination) -> None:
    """Write a prefix that works into the settings; nothing else is safe to change by itself."""
    from gitref_lock import config
    from gitref_lock.insight.findings import Finding, Severity

    if found.prefix is None or run.settings_fault is not None:
        return
    source = run.settings.source
    path = source or (run.around.top or run.around.folder) / config.FILE
    if path.name != config.FILE:
        return
    _write_prefix(path, found.prefix)
    text = f'ref-prefix = "{found.prefix}" is written to {path}'
    remedy = "commit the file: all runners must agree on the prefix"
    done = Finding("namespace-fixed", Severity.NOTE, text, remedy)
    found.findings = [done if item.code == "namespace-refused" else item for item in found.findings]


def _write_prefix(path: Path, prefix: str) -> None:
    """Set ``ref-prefix`` in a settings file, which may not exist yet; everything else in it stays as it is."""
    line = f'ref-prefix = "{prefix}"\n'
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        changed, count = re.subn(r"(?m)^ref-prefix\s*=.*\n?", line, text, count=1)
        path.write_text(changed if count else line + text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", code="unwritable") from error


def _show(run: Run, found: Examination, output_format: str) -> None:
    """Write the findings in the form that was asked for."""
    out = run.out
    if output_format == "sarif":
        out.document(sarif(found))
    elif output_format == "github":
        for finding in found.findings:
            if finding.severity.value in _LEVELS:
                text = finding.text + (f"\n{finding.remedy}" if finding.remedy else "")
                level, title = _LEVELS[finding.severity.value], f"gitref-lock: {finding.code}"
                out.annotate(level, title, text, finding.path, finding.line)
    else:
        out.document(
            {
                "ok": not found.errors,
                "counts": dict(found.counts()),
                "findings": [finding.to_json() for finding in found.findings],
                "measured": found.measured,
            }
        )
        for finding in found.findings:
            out.data(*_lines(finding))


def _lines(finding: Finding) -> list[str]:
    place = f"{finding.path}:{finding.line}: " if finding.path is not None else ""
    lines = [f"{finding.severity.value:8}{finding.code}: {place}{finding.text}"]
    return lines + [f"        {line}" for line in finding.remedy.split("\n") if line]


def sarif(found: Examination) -> dict[str, object]:
    """Return the findings that matter as a SARIF 2.1.0 log."""
    from gitref_lock import __version__

    matter = [finding for finding in found.findings if finding.severity.value in _LEVELS]
    rules = [{"id": code} for code in dict.fromkeys(finding.code for finding in matter)]
    driver = {"name": "gitref-lock", "version": __version__, "rules": rules}
    results = [_result(finding, str(found.measured.get("remote", "this clone"))) for finding in matter]
    return {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, where: str) -> dict[str, object]:
    text = finding.text + (f"\n{finding.remedy}" if finding.remedy else "")
    location: dict[str, object] = {"logicalLocations": [{"fullyQualifiedName": where}]}
    if finding.path is not None:
        region = {"startLine": finding.line or 1}
        location = {"physicalLocation": {"artifactLocation": {"uri": finding.path}, "region": region}}
    return {
        "ruleId": finding.code,
        "level": finding.severity.value,
        "message": {"text": text},
        "locations": [location],
    }
