"""When the status of a file proves its content: git compares whole seconds, and file systems count in ticks.

A file can change again within the second, or even the tick, in which its status was taken, with nothing to show for it.
So a status is recorded only when that second is over by the file system's own clock.
"""

from __future__ import annotations

import os
from pathlib import Path

from gitref_lock.landing.index_file import UNKNOWN_STAT, StatData

_LOW = 0xFFFFFFFF


def file_system_now_ns(folder: Path) -> int:
    """Return the file system's idea of this instant, as it would date a file now. It touches ``folder``."""
    os.utime(folder)
    return folder.stat().st_mtime_ns


def is_settled(st: os.stat_result, now_ns: int) -> bool:
    """Tell whether a change of the file after ``now_ns`` would show in its modification time, in whole seconds."""
    return st.st_mtime_ns // 10**9 < now_ns // 10**9


def settled_stat(stat: StatData, now_ns: int) -> StatData:
    """Return what an index of git's says of a file, as far as it proves the content to an index written later.

    ``now_ns`` must be from before git read the file.
    """
    return stat if stat.mtime_s < now_ns // 10**9 & _LOW else UNKNOWN_STAT
