"""The swaps that land: branch first, then tags and rescued commits, then the fence, then tickets.

The fence is always an update of an existing lock ref to a fresh state inside the same pack
(docs/protocol.md, sections 2 and 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import Stance
from gitref_lock.core.names import LockName, Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.record import Event, Holder
from gitref_lock.core.refs import Absent, At, RefEdit, Role
from gitref_lock.landing.change import Change, Prepared
from gitref_lock.landing.errors import LandingError
from gitref_lock.ports import RemoteError
from gitref_lock.runtime.remote import Remote
from gitref_lock.runtime.swapper import LandingClaim, LockMove, Plan, lock_edit
from gitref_lock.runtime.writing import Found, killer, move, write

EVENT_FOR = {
    Stance.FREE: Event.LAND,
    Stance.EXPIRED: Event.LAND_EXPIRED,
    Stance.MINE: Event.LAND,
    Stance.MINE_LATE: Event.LAND,
    Stance.OTHER: Event.EMERGENCY,
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a push lands: the branch, its lock, and further refs to create with it."""

    branch: str
    ref: RefName
    lock: LockName


@dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag to create in the landing swap; it points at the landed commit.

    ``tagger`` is ``Name <mail> SECOND ZONE`` as in the tag's header (git-mktag(1)).
    """

    ref: RefName
    message: str
    tagger: str

    def object_for(self, commit: Oid) -> GitObject:
        """Return the tag object that points at ``commit``: the same bytes for the same commit."""
        name = self.ref.removeprefix("refs/tags/")
        text = f"object {commit}\ntype commit\ntag {name}\ntagger {self.tagger}\n\n{self.message.rstrip()}\n"
        return GitObject(ObjectKind.TAG, text.encode("utf-8", "surrogateescape"))


def branch_edit(target: Target, prepared: Prepared) -> RefEdit:
    """Return the edit that moves, or creates, the branch."""
    expect = Absent() if prepared.tip is None else At(prepared.tip)
    return RefEdit(target.ref, expect, prepared.head, Role.BRANCH)


def claim_for(remote: Remote, change: Change, target: Target, prepared: Prepared) -> LandingClaim:
    """Return how the landing of ``prepared`` is proved: its commit reachable from the branch's tip."""

    def contains(tip: Oid) -> bool:
        try:
            return change.contains(remote.store, prepared.head, tip, prepared.tip, timeout_s=remote.call_timeout_s)
        except LandingError as error:
            raise RemoteError("protocol", error.message) from error
        except OSError as error:
            raise RemoteError("local-io", f"this clone cannot be read or written: {error.strerror or error}") from error

    return LandingClaim(target.ref, prepared.tip, prepared.head, contains)


def extras(
    remote: Remote, target: Target, prepared: Prepared, tags: Sequence[Tag], present: Sequence[RefName]
) -> tuple[list[RefEdit], list[GitObject]]:
    """Return the edits and objects for tags and rescued commits; a rescue ref that exists already stays as it is."""
    edits: list[RefEdit] = []
    objects: list[GitObject] = []
    for tag in tags:
        made = tag.object_for(prepared.head)
        edits.append(RefEdit(tag.ref, Absent(), made.oid, Role.TAG))
        objects.append(made)
    for oid in prepared.rescued:
        ref = remote.namespace.rescue_ref(target.lock, oid)
        if ref not in present:
            edits.append(RefEdit(ref, Absent(), oid, Role.RESCUE))
    return edits, objects


def fenced_plan(
    remote: Remote,
    change: Change,
    target: Target,
    prepared: Prepared,
    found: Found,
    holder: Holder,
    *,
    event: Event | None = None,
    landed: int = 1,
    reason: str = "",
    ttl_s: float = 0.0,
    tags: Sequence[Tag] = (),
    present: Sequence[RefName] = (),
    tickets: Sequence[RefEdit] = (),
    ticket_objects: Sequence[GitObject] = (),
) -> tuple[Plan, LockMove]:
    """Return the swap that lands ``prepared`` through the lock as found, and the lock's part of it."""
    what = replace(write(remote, holder, ttl_s=ttl_s), landed=landed, reason=reason)
    fence = move(found, event or EVENT_FOR[found.stance], what)
    more, more_objects = extras(remote, target, prepared, tags, present)
    # What the branch holds already moves no branch; a tag of it is made all the same.
    is_moving = not prepared.is_landed_already
    plan = Plan(
        edits=(*([branch_edit(target, prepared)] if is_moving else []), *more, lock_edit(remote, fence), *tickets),
        objects=(*prepared.objects, *more_objects, *fence.after.objects, *ticket_objects),
        moves=(fence,),
        landing=claim_for(remote, change, target, prepared) if is_moving else None,
        kill=killer(remote, found, holder),
    )
    return plan, fence


def unfenced_plan(remote: Remote, change: Change, target: Target, prepared: Prepared) -> Plan:
    """Return the swap of the branch alone, whose only fence is the branch's own old value."""
    return Plan(
        edits=(branch_edit(target, prepared),),
        objects=prepared.objects,
        landing=claim_for(remote, change, target, prepared),
    )
