"""What a GitHub, Gitea or Forgejo job can use in later steps: outputs and a summary table.

Formats: GitHub's "Workflow commands", environment files; a value of several lines is written in heredoc form under a
delimiter that the value cannot hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gitref_lock.cli.output import Output


def set_outputs(out: Output, environ: Mapping[str, str], values: Mapping[str, object], delimiter: str) -> None:
    """Append the scalar values to ``$GITHUB_OUTPUT``; a holder counts by its name. ``delimiter`` is a fresh nonce."""
    path = environ.get("GITHUB_OUTPUT")
    if not path:
        return
    lines = []
    for key, value in values.items():
        text = _scalar(value)
        if text is None:
            continue
        text = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
        lines.append(f"{key}<<{delimiter}\n{text}\n{delimiter}\n" if "\n" in text else f"{key}={text}\n")
    _append(out, path, "".join(lines))


def add_summary(out: Output, environ: Mapping[str, str], title: str, rows: Mapping[str, object]) -> None:
    """Append a table of the scalar values to ``$GITHUB_STEP_SUMMARY``."""
    path = environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    table = [f"### {_cell(out, title)}", "", "| | |", "|---|---|"]
    for key, value in rows.items():
        text = _scalar(value)
        if text:
            table.append(f"| {_cell(out, key.replace('_', ' '))} | {_cell(out, text)} |")
    _append(out, path, "\n".join(table) + "\n\n")


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, Mapping) and isinstance(value.get("id"), str):
        return str(value.get("name") or value["id"])
    return None


def _cell(out: Output, text: str) -> str:
    """Return text for a Markdown table: no markup, link or HTML of a stranger takes effect."""
    clean = out.clean(text)
    return "".join(f"&#{ord(char)};" if char in "|<>&`*_[]()!\\#@~" else char for char in clean)


def _append(out: Output, path: str, text: str) -> None:
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        out.warn(f"{path} cannot be written: {error.strerror}")
