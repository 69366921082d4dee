"""The date of the next index: by it git knows whose content it must compare, whatever the status of the file says.

Git compares whole seconds, and file systems count in ticks: a file can change again within the second in which its
status was taken, with nothing to show for it. So git reads each file anew that is not older than the index itself
("racy git", gitformat-index(5)). An index that replaces another one here is not dated later than that one, nor than
the second in which this push began to look at files: whatever was written since is compared by its content.
"""

from __future__ import annotations

import os
from pathlib import Path

from gitref_lock.landing.index_file import IndexFile

_SECOND_NS = 10**9
OLDEST_S = 1
"""The earliest date: git takes 0 for no date at all, and trusts every status then."""


def file_system_second(folder: Path) -> int:
    """Return the second in which the file system would date a file now. It touches ``folder``."""
    os.utime(folder)
    return folder.stat().st_mtime_ns // _SECOND_NS


def date_ns(replaced: IndexFile, began_s: int) -> int:
    """Return the date of an index that takes the place of ``replaced`` when looking began in the second ``began_s``."""
    began_ns = max(OLDEST_S, began_s) * _SECOND_NS
    return min(began_ns, replaced.mtime_ns) if replaced.mtime_ns >= OLDEST_S * _SECOND_NS else began_ns
