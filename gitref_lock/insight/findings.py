"""What an examination found: each finding with a code for scripts, a severity, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from gitref_lock.core.lean import dataclass


class Severity(StrEnum):
    """How much a finding matters. An error means that something ``push`` needs is missing or unsafe."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. ``remedy`` is '' where there is nothing to do.

    ``path`` and ``line`` (from 1) say where, for findings in files; ``path`` is relative to the work tree.
    """

    code: str
    severity: Severity
    text: str
    remedy: str = ""
    path: str | None = None
    line: int | None = None

    def to_json(self) -> dict[str, object]:
        """Return the finding under the keys that scripts know."""
        value: dict[str, object] = {"code": self.code, "severity": self.severity.value, "text": self.text}
        if self.remedy:
            value["remedy"] = self.remedy
        if self.path is not None:
            value["path"], value["line"] = self.path, self.line
        return value


@dataclass(slots=True)
class Examination:
    """All findings in the order in which they were made, and what was measured (JSON values).

    ``prefix`` is the lock prefix that works where the configured one does not, None where nothing needs to change.
    """

    findings: list[Finding] = field(default_factory=list)
    measured: dict[str, object] = field(default_factory=dict)
    prefix: str | None = None

    def add(
        self,
        code: str,
        severity: Severity,
        text: str,
        remedy: str = "",
    ) -> None:
        """Note one finding without a place."""
        self.findings.append(Finding(code, severity, text, remedy))

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stand in the way of a safe ``push``."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)

    def counts(self) -> Mapping[str, int]:
        """Return how many findings there are of each severity."""
        return {level.value: sum(f.severity is level for f in self.findings) for level in Severity}
