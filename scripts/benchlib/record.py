"""The results as values: rows, the file that keeps them, and what counts as a regression."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.benchlib.world import in_memory, run

ROOT = Path(__file__).resolve().parents[2]
DATA_FILE = ROOT / "docs" / "performance.json"
ALLOWED_REGRESSION = 1.25


@dataclass(frozen=True, slots=True)
class Scenario:
    """Where operations are measured: unrelated refs on the server, milliseconds added to requests and connections."""

    refs: int
    request_ms: float
    connection_ms: float

    @property
    def title(self) -> str:
        """Words for people."""
        delay = (
            f"{self.request_ms:g} ms added to each request, {self.connection_ms:g} ms to each new connection"
            if self.request_ms or self.connection_ms
            else "loopback"
        )
        return f"{self.refs:,} refs, {delay}"


@dataclass(frozen=True, slots=True)
class Row:
    """One side of one operation: medians over the turns. ``ratio`` is its time over git's time in the same run."""

    scenario: Scenario
    operation: str
    side: str
    turns: int
    ms: float
    ratio: float
    requests: int
    writes: int
    bytes_up: int
    bytes_down: int
    connections: int

    @property
    def key(self) -> tuple[Scenario, str, str]:
        """What identifies the row from run to run."""
        return self.scenario, self.operation, self.side


def rows_of(data: dict[str, Any]) -> list[Row]:
    """Return the rows of a file's content."""
    return [Row(**{**item, "scenario": Scenario(**item["scenario"])}) for item in data.get("operations", [])]


def regressions(committed: Iterable[Row], fresh: Sequence[Row]) -> list[str]:
    """Return one line a row whose ratio has grown by more than a quarter."""
    known = {row.key: row for row in committed}
    lines = []
    for row in fresh:
        before = known.get(row.key)
        if before is not None and row.ratio > before.ratio * ALLOWED_REGRESSION:
            where = f"{row.scenario.title}: {row.operation} ({row.side})"
            lines.append(f"{where}: {row.ratio:.2f} x git's time, committed {before.ratio:.2f}")
    return lines


def load() -> dict[str, Any]:
    """Return the committed results, empty when there are none."""
    if not DATA_FILE.exists():
        return {}
    data: dict[str, Any] = json.loads(DATA_FILE.read_text(encoding="utf-8"))
    return data


def save(**parts: object) -> dict[str, Any]:
    """Replace parts of the committed results and return all of them."""
    data = {**load(), "machine": machine(), **parts}
    DATA_FILE.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return data


def as_json(rows: Iterable[Row]) -> list[dict[str, object]]:
    """Return rows as the file keeps them."""
    rounded = [asdict(row) | {"ms": round(row.ms, 1), "ratio": round(row.ratio, 3)} for row in rows]
    return [{**item, "scenario": dict(item["scenario"])} for item in rounded]


def machine() -> dict[str, object]:
    """Return what a reader must know to judge absolute numbers."""
    git = run(["git", "--version"], ROOT, os.environ).decode().split()[2]
    files = "in memory" if in_memory() else "on disk"
    return {
        "python": platform.python_version(),
        "git": git,
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "files": files,
    }
