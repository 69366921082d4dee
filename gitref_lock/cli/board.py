"""``inspect --watch``: a live board on a terminal, one line a change in a log, one JSON document a look with --json."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gitref_lock.cli.command import Run
from gitref_lock.cli.inspect import WATCH_PACE_S, row_of
from gitref_lock.cli.words import duration

if TYPE_CHECKING:
    from rich.table import Table

    from gitref_lock.insight.status import LockStatus

Look = Callable[[], Sequence["LockStatus"]]


def watch_locks(run: Run, look: Look, history: int) -> None:
    """Show the locks until ``--timeout`` or a signal ends it; the end of the time is no failure."""
    if run.out.as_json:
        _each(run, look, lambda found: run.out.record({"locks": [item.to_json(history=history) for item in found]}))
    elif sys.stdout.isatty():
        _board(run, look)
    else:
        told: list[tuple[tuple[str, ...], ...]] = []

        def tell(found: Sequence[LockStatus]) -> None:
            rows = tuple(row_of(item) for item in found)
            if [rows] != told:
                told[:] = [rows]
                for row in rows:
                    run.out.data("  ".join(row))

        _each(run, look, tell)


def _each(run: Run, look: Look, show: Callable[[Sequence[LockStatus]], None]) -> None:
    while True:
        show(look())
        run.session.remember()
        run.system.sleeper.sleep(run.deadline.capped(WATCH_PACE_S) or 0.0)
        if run.deadline.is_over:
            return


def _board(run: Run, look: Look) -> None:
    """Draw a table over itself. Cells are plain text to rich: no markup of a stranger is read."""
    from rich.live import Live

    with Live(auto_refresh=False, screen=False) as live:
        _each(run, look, lambda found: live.update(_drawn(run, found), refresh=True))


def _drawn(run: Run, found: Sequence[LockStatus]) -> Table:
    from rich.table import Table
    from rich.text import Text

    board = Table("lock", "state", "holder", "held for", "waiting", "next", "expected wait")
    for status in found:
        head = status.queue[0].ticket if status.queue else None
        row = row_of(status)
        cells = (
            row[0],
            row[1],
            row[2],
            duration(status.held_for_s) if status.held_for_s is not None else "-",
            row[5],
            head.holder.label if head is not None else "-",
            duration(status.expected_wait_s) if status.expected_wait_s is not None else "unknown",
        )
        board.add_row(*(Text(run.out.clean(cell)) for cell in cells))
    return board
