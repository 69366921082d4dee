"""Writes the generated parts of ``docs/performance.md``; words between the parts are written by people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.benchlib.operations import COLD, GIT, OPERATIONS, WARM
from scripts.benchlib.racing import LOOP
from scripts.benchlib.record import ROOT, Row, Scenario

PAGE = ROOT / "docs" / "performance.md"


def marker(part: str, end: str) -> str:
    """Return the line that begins or ends a generated part."""
    return f"<!-- {part}: generated, {end} -->"


def replaced(page: str, part: str, lines: Sequence[str]) -> str:
    """Return the page with one generated part written anew; raise ValueError when its markers are missing."""
    head, begin, rest = page.partition(marker(part, "begin"))
    _, end, tail = rest.partition(marker(part, "end"))
    if not begin or not end:
        raise ValueError(f"the markers of the part '{part}' are missing")
    return "\n".join([head + begin, "", *lines, "", end + tail])


def write(page: Path = PAGE, **parts: Sequence[str]) -> None:
    """Write these parts of the page."""
    text = page.read_text(encoding="utf-8")
    for part, lines in parts.items():
        text = replaced(text, part, lines)
    page.write_text(text, encoding="utf-8")


def operations_part(rows: Sequence[Row], memory: dict[str, float], machine: dict[str, Any]) -> list[str]:
    """Return the tables of single operations, one a scenario."""
    lines = [machine_line(machine, rows[0].turns if rows else 0)]
    for scenario in dict.fromkeys(row.scenario for row in rows):
        lines += ["", f"### {scenario.title[0].upper()}{scenario.title[1:]}", "", *_table(scenario, rows)]
    if memory:
        lines += ["", "### Peak memory of a process", "", "| command | MiB |", "|---|---|"]
        lines += [f"| {name} | {value:.0f} |" for name, value in memory.items()]
    return lines


def machine_line(machine: dict[str, Any], turns: int) -> str:
    """Return the sentence that says where the numbers come from."""
    return (
        f"Measured with git {machine['git']} and Python {machine['python']} on {machine['cpus']} CPUs "
        f"that client and server share, all files {machine['files']}; medians of {turns} turns."
    )


def _table(scenario: Scenario, rows: Sequence[Row]) -> list[str]:
    found = {row.key: row for row in rows}
    lines = [
        "| operation | git | cold command | warm library | requests: git / cold / warm | KiB: git / cold / warm |",
        "|---|---|---|---|---|---|",
    ]
    for operation in OPERATIONS:
        sides = [found.get((scenario, operation, side)) for side in (GIT, COLD, WARM)]
        if sides[0] is None:
            continue
        times = [f"{sides[0].ms:.0f} ms", *("-" if row is None else f"**{row.ratio:.2f} x**" for row in sides[1:])]
        requests = " / ".join("-" if row is None else str(row.requests) for row in sides)
        size = " / ".join("-" if row is None else f"{(row.bytes_up + row.bytes_down) / 1024:.1f}" for row in sides)
        lines.append(f"| {operation} | {' | '.join(times)} | {requests} | {size} |")
    return lines


def race_part(races: Sequence[dict[str, Any]], machine: dict[str, Any]) -> list[str]:
    """Return the table of races."""
    lines = [
        machine_line(machine, max((int(race["rounds"]) for race in races), default=0)),
        "",
        "| runners | request + | burst | who | landed once | shared keys kept | time | pushes | requests | KiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for race in races:
        for name, side in race["sides"].items():
            is_peer = name == LOOP
            time = f"{side['seconds']:.1f} s" if is_peer else f"**{side['ratio']:.2f} x**"
            cells = (
                race["runners"],
                f"{race['request_ms']:g} ms",
                race["burst"],
                "pull-rebase loop" if is_peer else "`gitref-lock push`",
                side["landed"],
                side["keys"],
                time,
                side["writes"],
                side["requests"],
                round(side["bytes"] / 1024),
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
