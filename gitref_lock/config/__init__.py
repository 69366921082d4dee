"""One typed settings object from ``.gitref-lock.toml`` or ``[tool.gitref-lock]`` of ``pyproject.toml``.

A mistyped key that is silently ignored is a lock that silently does something else, so every key, type and range is
checked on reading, and the error names file, key and what is allowed. Flags and environment variables come before the
file, defaults behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, TypeVar

from gitref_lock.config.values import (
    SettingError,
    number,
    one_of,
    parse_duration,
    parse_exit_code,
    parse_prefix,
    parse_priority,
    parse_switch,
    parse_text,
    parse_ttl,
)
from gitref_lock.core.lean import dataclass
from gitref_lock.core.record import DEFAULT_PRIORITY
from gitref_lock.errors import ConfigurationError

FILE = ".gitref-lock.toml"
PYPROJECT = "pyproject.toml"
TABLE = "gitref-lock"
ON_TIMEOUT = ("fail", "proceed-unlocked")
LOG_FORMATS = ("text", "json")

_NOT_SLUG = re.compile(r"[^a-z0-9]+")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPattern:
    """How a landing tries again: pauses from ``base_s``, times ``factor``, up to ``cap_s``, for ``budget_s`` at most.

    ``jitter`` is the part of a pause that is random, 0 to 1.
    """

    base_s: float = 0.25
    factor: float = 2.0
    cap_s: float = 8.0
    jitter: float = 0.75
    budget_s: float | None = None


@dataclass(frozen=True, slots=True)
class WorkflowRule:
    """What one kind of workflow wants; None leaves the general setting. ``pattern`` is a glob on its name."""

    pattern: str
    ttl_s: float | None = None
    wait_s: float | None = None
    priority: int | None = None
    on_timeout: str | None = None
    retry: RetryPattern | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration file says. Durations in seconds; None leaves the command's own default.

    ``priorities`` and ``strategies`` are (glob, value) in the file's order, the first match wins; ``source`` is the
    file, None when there is none.
    """

    source: Path | None = None
    remote: str | None = None
    ref_prefix: str | None = None
    ttl_s: float | None = None
    wait_s: float | None = None
    timeout_s: float | None = None
    kill_after_s: float | None = None
    priority: int | None = None
    workflow: str | None = None
    holder: str | None = None
    conflict_exit_code: int | None = None
    cancel_older: bool | None = None
    combined_trailer: str | None = None
    on_timeout: str = "fail"
    log_format: str | None = None
    retry: RetryPattern = field(default_factory=RetryPattern)
    priorities: tuple[tuple[str, int], ...] = ()
    default_priority: int = DEFAULT_PRIORITY
    workflows: tuple[WorkflowRule, ...] = ()
    strategies: tuple[tuple[str, str], ...] = ()

    def rule_for(self, workflow: str) -> WorkflowRule:
        """Return the first rule whose pattern matches the workflow's name; one without wishes when none does."""
        return next((rule for rule in self.workflows if matches(rule.pattern, workflow)), WorkflowRule(""))

    def priority_for(self, workflow: str) -> int:
        """Return a workflow's priority: its rule's, the priorities table's, the general one, else the default."""
        rule = self.rule_for(workflow)
        if rule.priority is not None:
            return rule.priority
        found = next((number for pattern, number in self.priorities if matches(pattern, workflow)), None)
        if found is not None:
            return found
        return self.priority if self.priority is not None else self.default_priority

    def with_flags(self, **values: Any) -> Settings:  # noqa: ANN401 - one value of any setting's type each
        """Return the settings with every value that is not None put in front of the file's."""
        return replace(self, **{key: value for key, value in values.items() if value is not None})


def slug(name: str) -> str:
    """Return a workflow's name in slug form: lower case, every other run of characters one ``-``."""
    return _NOT_SLUG.sub("-", name.lower()).strip("-")


def matches(pattern: str, workflow: str) -> bool:
    """Tell whether a glob matches a workflow's name as written or in slug form."""
    from fnmatch import fnmatchcase  # late: most repositories have no rules

    return fnmatchcase(workflow, pattern) or fnmatchcase(slug(workflow), pattern)


_SCALARS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "remote": ("remote", parse_text),
    "ref-prefix": ("ref_prefix", parse_prefix),
    "ttl": ("ttl_s", parse_ttl),
    "wait": ("wait_s", parse_duration),
    "timeout": ("timeout_s", parse_duration),
    "kill-after": ("kill_after_s", parse_duration),
    "priority": ("priority", parse_priority),
    "workflow": ("workflow", parse_text),
    "holder": ("holder", parse_text),
    "conflict-exit-code": ("conflict_exit_code", parse_exit_code),
    "cancel-older": ("cancel_older", parse_switch),
    "combined-trailer": ("combined_trailer", parse_text),
    "on-timeout": ("on_timeout", one_of(*ON_TIMEOUT)),
    "log-format": ("log_format", one_of(*LOG_FORMATS)),
}
_RETRY: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "base": ("base_s", parse_duration),
    "factor": ("factor", number(1, 100)),
    "cap": ("cap_s", parse_duration),
    "jitter": ("jitter", number(0, 1)),
    "budget": ("budget_s", parse_duration),
}
_WORKFLOW: Mapping[str, tuple[str, Callable[[object], object]]] = {
    key: _SCALARS[key] for key in ("ttl", "wait", "priority", "on-timeout")
}
_TABLES = ("priorities", "retry", "strategies", "workflows")


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the file and where it stands, for errors."""

    path: Path
    name: str
    values: Mapping[str, object]

    def key(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def fault(self, key: str, allowed: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path}: {self.key(key)}: must be {allowed}",
            code="bad-config",
            hint="correct the file; 'gitref-lock init' writes a commented example",
            fields={"file": str(self.path), "key": self.key(key), "allowed": allowed},
        )

    def read(self, key: str, reader: Callable[[object], T]) -> T:
        try:
            return reader(self.values[key])
        except SettingError as error:
            raise self.fault(key, str(error)) from None

    def child(self, key: str) -> _Table:
        value = self.values[key]
        if not isinstance(value, dict):
            raise self.fault(key, "a table")
        return _Table(self.path, self.key(key), value)

    def scalars(self, known: Mapping[str, tuple[str, Callable[[object], object]]]) -> dict[str, Any]:
        return {name: self.read(key, reader) for key, (name, reader) in known.items() if key in self.values}

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        for key in self.values:
            if key not in known:
                raise ConfigurationError(
                    f"{self.path}: {self.key(key)}: unknown key; allowed are {', '.join(sorted(known))}",
                    code="bad-config",
                    fields={"file": str(self.path), "key": self.key(key), "allowed": sorted(known)},
                )


def load(start: Path, top: Path | None) -> Settings:
    """Return the settings of the nearest file from ``start`` up to ``top``; outside a repository of ``start`` alone.

    In one folder ``.gitref-lock.toml`` comes before ``pyproject.toml``, of which only a ``[tool.gitref-lock]`` table
    counts. Raises ConfigurationError for a file that cannot be read or holds anything that is not allowed.
    """
    start = start.absolute()
    folders = [start]
    if top is not None and start.is_relative_to(top):
        folders += [folder for folder in start.parents if folder.is_relative_to(top)]
    for folder in folders:
        for name in (FILE, PYPROJECT):
            values = _table_of(folder / name)
            if values is not None:
                return _settings(_Table(folder / name, "" if name == FILE else f"tool.{TABLE}", values))
    return Settings()


def _table_of(path: Path) -> Mapping[str, object] | None:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", code="bad-config") from error
    if path.name == PYPROJECT and TABLE.encode() not in data:
        return None
    import tomllib  # late: most runs have no file

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # its own errors, and Python's for numbers of thousands of digits
        raise ConfigurationError(f"{path}: not TOML: {error}", code="bad-config", fields={"file": str(path)}) from None
    if path.name == FILE:
        return document
    tools = document.get("tool")
    table = tools.get(TABLE) if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigurationError(f"{path}: tool.{TABLE}: must be a table", code="bad-config")
    return table


def _settings(table: _Table) -> Settings:
    table.refuse_unknown((*_SCALARS, *_TABLES))
    values = table.scalars(_SCALARS)
    if "retry" in table.values:
        values["retry"] = _retry(table.child("retry"))
    if "priorities" in table.values:
        child = table.child("priorities")
        pairs = [(key, child.read(key, parse_priority)) for key in child.values]
        values["priorities"] = tuple(pair for pair in pairs if pair[0] != "default")
        values["default_priority"] = dict(pairs).get("default", DEFAULT_PRIORITY)
    if "strategies" in table.values:
        child = table.child("strategies")
        values["strategies"] = tuple((key, child.read(key, parse_text)) for key in child.values)
    if "workflows" in table.values:
        child = table.child("workflows")
        values["workflows"] = tuple(_workflow(key, child.child(key)) for key in child.values)
    return Settings(source=table.path, **values)


def _workflow(pattern: str, table: _Table) -> WorkflowRule:
    table.refuse_unknown((*_WORKFLOW, "retry"))
    retry = _retry(table.child("retry")) if "retry" in table.values else None
    return WorkflowRule(pattern, retry=retry, **table.scalars(_WORKFLOW))


def _retry(table: _Table) -> RetryPattern:
    table.refuse_unknown(tuple(_RETRY))
    return RetryPattern(**table.scalars(_RETRY))


__all__ = [
    "DEFAULT_PRIORITY",
    "FILE",
    "LOG_FORMATS",
    "ON_TIMEOUT",
    "PYPROJECT",
    "RetryPattern",
    "SettingError",
    "Settings",
    "WorkflowRule",
    "load",
    "matches",
    "one_of",
    "parse_duration",
    "parse_exit_code",
    "parse_prefix",
    "parse_priority",
    "parse_text",
    "parse_ttl",
    "slug",
]
