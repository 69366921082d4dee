"""What the user asks of a push."""

from __future__ import annotations

from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.record import DEFAULT_PRIORITY, Holder
from gitref_lock.core.timing import QueueTiming
from gitref_lock.landing.commit import CommitWish
from gitref_lock.landing.workspace import Selection


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What the user asks of a push. ``branch`` None means the checked-out one; ``rules`` are ``GLOB=STRATEGY`` texts.

    ``ci_branch`` is what the CI's variables name, for a detached HEAD. ``ignores_lock`` lands without
    the lock, at once. ``combined_trailer`` is the key under which another runner that lands the change names itself.
    ``priority`` is the command line's default, so that programs and commands queue alike.
    """

    holder: Holder
    selection: Selection = field(default_factory=Selection)
    wish: CommitWish = field(default_factory=lambda: CommitWish(()))
    branch: str | None = None
    ci_branch: str | None = None
    remote_name: str | None = None
    rules: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tag_message: str | None = None
    wait_s: float | None = None
    priority: int = DEFAULT_PRIORITY
    require_fence: bool = False
    may_degrade: bool = True
    combine: bool = True
    combined_trailer: str = ""
    squash: bool = False
    keep: bool = False
    emergency: str = ""
    ignores_lock: bool = False
    dry_run: bool = False
    queue: QueueTiming = field(default_factory=QueueTiming)
