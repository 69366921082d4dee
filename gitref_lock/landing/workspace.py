"""From a clone on disk to a change that can land: what is ours, with which policy, and in whose name.

Everything here reads the clone and adds objects to it; refs, index and files stay as they are
(docs/protocol.md, section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID, ShaFile

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import InvalidNameError, Oid, oid
from gitref_lock.landing import edited
from gitref_lock.landing.attributes import Attributes, Value
from gitref_lock.landing.change import Change
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.commit import CommitWish, after_hooks, build_commit, draft
from gitref_lock.landing.errors import LandingError, NeedsGitError
from gitref_lock.landing.graph import OurCommits, commit_of, find_ours, parents_of
from gitref_lock.landing.hooks import Hooks
from gitref_lock.landing.identity import signature
from gitref_lock.landing.index_file import UnreadableIndexError, empty_index
from gitref_lock.landing.merge.policy import Policy
from gitref_lock.landing.replay import Committer, Replayer
from gitref_lock.landing.signing import sign_commit, wants_signature
from gitref_lock.landing.stage import stage
from gitref_lock.landing.staged import Staged
from gitref_lock.landing.worktree import WorkTree
from gitref_lock.remotes import children

_CI_COMMITS = (
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "BUILDKITE_COMMIT",
    "CIRCLE_SHA1",
    "GIT_COMMIT",
    "BUILD_SOURCEVERSION",
    "BITBUCKET_COMMIT",
)
"""Variables by which a CI tells the commit that it checked out: that commit and what is below it are never ours."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to stage: pathspecs, everything, or (neither) what is staged, else all changes of tracked files."""

    paths: tuple[bytes, ...] = ()
    takes_all: bool = False
    allows_empty: bool = False
    runs_hooks: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is to land. ``commit`` is the new commit (None: nothing was staged), ``ours`` all commits to land.

    ``hook_words`` is what the commit hooks printed. ``would_commit`` is True when a dry run has left a commit out.
    """

    head: Oid | None
    staged: Staged
    commit: Oid | None
    ours: OurCommits
    hook_words: tuple[str, ...] = ()
    would_commit: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to land."""
        return not self.ours.commits and not self.would_commit


def take_snapshot(
    checkout: Checkout, selection: Selection, wish: CommitWish, now_s: int, *, dry_run: bool = False
) -> Snapshot:
    """Stage, run the commit hooks, and build the new commit; raise LandingError for what stands in the way.

    A dry run stages and looks for what stands in the way; it runs no hook and signs and makes no commit.
    """
    checkout.require_settled()
    if _has_unmerged(checkout):
        raise LandingError("unmerged", "the index holds unmerged paths", "resolve them, or end the merge")
    head = checkout.head()
    if not dry_run:
        edited.forget_given_up(checkout, head)
    staged = stage(checkout, selection.paths, take_all=selection.takes_all)
    hooks = Hooks(checkout)
    makes_commit = not staged.is_empty or selection.allows_empty
    if dry_run:
        if makes_commit:
            draft(checkout, wish, now_s)
        return Snapshot(head, staged, None, find_our_commits(checkout, head), would_commit=makes_commit)
    if makes_commit:
        if selection.runs_hooks:
            staged = hooks.pre_commit(staged)
        wanted = draft(checkout, wish, now_s)
        message = hooks.message(wanted.message, staged, is_verified=selection.runs_hooks)
        message = after_hooks(checkout, wish, message) if message != wanted.message else message
        base = edited.stand_in(checkout, head, staged.changes) if head is not None else None
        parents = [parent for parent in (base or head,) if parent is not None]
        built = build_commit(checkout, staged.tree, parents, replace(wanted, message=message))
        commit = Oid(built.id.decode("ascii"))
        ours = _with_new(checkout, commit, base or head)
        return Snapshot(head, staged, commit, _without(ours, base), tuple(hooks.said))
    return Snapshot(head, staged, None, find_our_commits(checkout, head), tuple(hooks.said))


def _with_new(checkout: Checkout, commit: Oid, parent: Oid | None) -> OurCommits:
    """Return the commits to land when ``commit`` has just been made on ``parent``: nothing can have it as ancestor."""
    if parent is None or not known_remote_commits(checkout):
        return OurCommits((commit,), parent, has_merge=False)
    earlier = find_our_commits(checkout, parent)
    return replace(earlier, commits=(*earlier.commits, commit))


def _without(ours: OurCommits, stand_in: Oid | None) -> OurCommits:
    """Return ``ours`` without the commit that only says what an edit stands on."""
    if stand_in is None or stand_in not in ours.commits:
        return ours
    commits = tuple(oid for oid in ours.commits if oid != stand_in)
    return replace(ours, commits=commits, base=stand_in if ours.commits[0] == stand_in else ours.base)


def _has_unmerged(checkout: Checkout) -> bool:
    """Tell whether the index holds conflicts; an index that only git can read is asked through git when staging."""
    try:
        return bool(checkout.unmerged_paths())
    except UnreadableIndexError:
        return False


def find_our_commits(checkout: Checkout, head: Oid | None) -> OurCommits:
    """Return the commits to land: reachable from ``head``, but from no commit that the remote is known to have had.

    Where nothing is known of the remote only the newest commit is ours: everything else may be somebody's purged work.
    """
    if head is None:
        return OurCommits((), None, has_merge=False)
    known = known_remote_commits(checkout)
    if known:
        return find_ours(checkout.store, head, known, checkout.shallow())
    return find_ours(checkout.store, head, parents_of(checkout.commit_object(head)), checkout.shallow())


def known_remote_commits(checkout: Checkout) -> tuple[Oid, ...]:
    """Return the commits of the remote that this clone knows: tracking refs, and the one that the CI checked out.

    What the branch was rewound from counts too: it was taken off on purpose.
    """
    found = dict.fromkeys((*checkout.all_tracking_tips().values(), *_rewound_from(checkout)))
    for variable in _CI_COMMITS:
        try:
            named = oid(checkout.environ.get(variable, ""))
        except InvalidNameError:
            continue
        if commit_of(checkout.store, named) is not None:
            found[named] = None
    return tuple(found)


def _rewound_from(checkout: Checkout) -> tuple[Oid, ...]:
    """Return the tips from which fetches saw the checked-out branch rewound, as the tracking ref's reflog tells."""
    branch = checkout.head_branch()
    ref = checkout.tracking_ref(*(checkout.upstream(branch) or ("origin", branch))) if branch is not None else None
    if ref is None:
        return ()
    try:
        lines = (checkout.common_dir / "logs" / ref).read_bytes().splitlines()
    except OSError:
        return ()
    forced = [line.split(b" ", 1)[0].decode("ascii", "replace") for line in lines if line.endswith(b": forced-update")]
    return tuple(Oid(old) for old in forced if commit_of(checkout.store, Oid(old)) is not None)


def change_of(
    checkout: Checkout,
    snapshot: Snapshot,
    policy: Policy,
    now_s: int,
    *,
    squash_message: str | None = None,
    promisor_filter: str | None = None,
    fetch_missing: Callable[[Sequence[Oid]], None] | None = None,
) -> Change:
    """Return the change that a push of this snapshot lands."""
    who = signature(checkout, "committer", now_s)

    def add(thing: ShaFile) -> None:
        checkout.add_object(thing)

    replayer = Replayer(
        store=checkout.store,
        policy=replace(policy, attributes=merge_attribute(checkout)),
        committer=Committer(who.person, who.at_s, who.offset_s),
        add=add,
        sign=(lambda commit: sign_commit(checkout, commit)) if wants_signature(checkout) else None,
        fetch_missing=fetch_missing,
    )
    return Change(
        store=disk_store(checkout),
        ours=snapshot.ours,
        replayer=replayer,
        haves=have_hints(checkout, snapshot),
        shallow=checkout.shallow(),
        promisor_filter=promisor_filter,
        squash_message=squash_message.encode("utf-8", "surrogateescape") if squash_message is not None else None,
    )


def disk_store(checkout: Checkout) -> DiskObjectStore:
    """Return the clone's object store as what it always is here: files on a disk."""
    assert isinstance(checkout.store, DiskObjectStore)
    return checkout.store


def have_hints(checkout: Checkout, snapshot: Snapshot) -> tuple[Oid, ...]:
    """Return commits to offer when fetching: the base of ours and a few tracking tips, newest knowledge first."""
    tips = [snapshot.ours.base] if snapshot.ours.base is not None else []
    tips += list(checkout.all_tracking_tips().values())[:16]
    return tuple(dict.fromkeys(tip for tip in tips if ObjectID(tip.encode("ascii")) in checkout.store))


def merge_attribute(checkout: Checkout) -> Callable[[bytes], str | None]:
    """Return the ``merge`` attribute of a path as the policy understands it (gitattributes(5)).

    The rules are read when a conflict first asks for them: most pushes have none.
    """
    rules: list[Attributes] = []

    def value_of(path: bytes) -> Value:
        try:
            if not rules:
                rules.append(Attributes(checkout, checkout.read_index(), WorkTree(checkout.work_tree)))
            return rules[0].of(path).get(b"merge")
        except (UnreadableIndexError, NeedsGitError) as reason:
            # without git the files of the work tree tell: those that only such an index has are rare
            told = _git_value(checkout, path)
            if told is None and isinstance(reason, NeedsGitError):
                raise LandingError("needs-git", f"{reason}; only an installed git can fetch it") from reason
            if told is None:
                return Attributes(checkout, empty_index(), WorkTree(checkout.work_tree)).of(path).get(b"merge")
            return told[0]

    def of(path: bytes) -> str | None:
        value = value_of(path)
        if isinstance(value, bool):
            return "set" if value else "unset"
        name = value.decode("utf-8", "replace") if value is not None else checkout.setting("merge", "default")
        if name is None:
            return None
        if name in {"union", "binary", "text"}:
            return name
        return f"driver:{name}" if checkout.setting("merge", "driver", name) else None

    return of


def _git_value(checkout: Checkout, path: bytes) -> tuple[Value] | None:
    """Return the ``merge`` attribute of a path as git tells it, None when git cannot be asked."""
    words = [b"git", b"check-attr", b"-z", b"merge", b"--", path]
    try:
        done = children.run(words, folder=checkout.work_tree, environ=checkout.environ)
    except OSError:
        return None
    if done.returncode:
        return None
    word = done.stdout.split(b"\0")[2]
    plain: dict[bytes, Value] = {b"unspecified": None, b"set": True, b"unset": False}
    return (plain.get(word, word),)
