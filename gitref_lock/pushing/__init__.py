"""Push from a clone: stage, commit, land under the lock, then move the clone. The command line is a thin layer over it.

Until the landing is proved nothing visible in the clone changes. A journal, written before the swap is sent, lets the
next command finish or drop the local move after a kill (docs/protocol.md, section 6).
"""

from gitref_lock.pushing.options import PushOptions
from gitref_lock.pushing.push import opened, push, translated
from gitref_lock.pushing.report import PushReport

__all__ = ["PushOptions", "PushReport", "opened", "push", "translated"]
