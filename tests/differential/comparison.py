"""Our merge beside git's: the same trees, both verdicts, both results.

git runs once per tree situation (``git merge-tree --write-tree``) and once for all texts together, which are files of
one tree. Our side runs with a policy under which every conflict stays a conflict.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter

from dulwich.object_store import BaseObjectStore, MemoryObjectStore, OverlayObjectStore
from dulwich.objects import ObjectID
from dulwich.repo import Repo

from gitref_lock.core.names import Oid
from gitref_lock.landing.merge.lines import Clean, merge_lines
from gitref_lock.landing.merge.policy import Policy, Rule
from gitref_lock.landing.merge.results import TreeMerge
from gitref_lock.landing.merge.trees import merge_trees
from tests.differential.situations import FILE, SUBMODULE, Situation, Tree, text_situation
from tests.support.gitcli import git, git_env, git_result

AS_GIT = Policy((Rule("**", "text"),))
"""Clean where lines merge cleanly, a conflict everywhere else: what git does without a user."""

SAME, BOTH_CONFLICT, STRICTER = "same tree", "both conflict", "conflict where git merges"
UNSAFE, DIFFERENT = "clean where git conflicts", "clean, but another tree"


@dataclass
class Agreement:
    """Counts of verdicts, every situation that is not agreed upon, and the time both sides took in seconds."""

    counts: Counter[str] = field(default_factory=Counter)
    disagreed: dict[str, list[str]] = field(default_factory=dict)
    git_s: float = 0.0
    own_s: float = 0.0

    def note(self, verdict: str, what: str) -> None:
        """Count one situation."""
        self.counts[verdict] += 1
        if verdict not in (SAME, BOTH_CONFLICT):
            self.disagreed.setdefault(verdict, []).append(what)

    @property
    def share(self) -> float:
        """The share of situations with git's own verdict and tree."""
        return (self.counts[SAME] + self.counts[BOTH_CONFLICT]) / max(1, self.counts.total())

    @property
    def errors(self) -> list[str]:
        """Everything that must never happen."""
        return [*self.disagreed.get(UNSAFE, []), *self.disagreed.get(DIFFERENT, [])]


def verdict_of(git_tree: str | None, merge: TreeMerge) -> str:
    """Name the pair of results; None is a conflict of git."""
    if git_tree is None:
        return BOTH_CONFLICT if merge.tree is None else UNSAFE
    if merge.tree is None:
        return STRICTER
    return SAME if merge.tree == git_tree else DIFFERENT


def compare_trees(situations: Sequence[Situation], folder: Path) -> Agreement:
    """Merge every situation both ways; ``folder`` is an empty place for a repository."""
    trees = write_situations(situations, folder)
    agreement = Agreement()
    with closing(Repo(str(folder))) as repo:
        for index, situation in enumerate(situations):
            start = perf_counter()
            git_tree = git_merge(folder, f"ours{index}", f"theirs{index}")
            middle = perf_counter()
            base, ours, theirs = (trees[f"{side}{index}"] for side in ("base", "ours", "theirs"))
            merge = own_merge(repo.object_store, base, ours, theirs)
            agreement.own_s += perf_counter() - middle
            agreement.git_s += middle - start
            agreement.note(verdict_of(git_tree, merge), f"{index} {situation.label}: {situation} -> {merge}")
    return agreement


def compare_texts(rng: Random, count: int, folder: Path) -> Agreement:
    """Merge ``count`` generated texts both ways, all as files of one tree."""
    texts = {b"%06d" % number: text_situation(rng) for number in range(count)}
    base, ours, theirs = ({path: (FILE, versions[side]) for path, versions in texts.items()} for side in range(3))
    write_situations([Situation(base, ours, theirs)], folder)
    agreement = Agreement()
    start = perf_counter()
    options = ("--write-tree", "-z", "--name-only", "--no-messages")
    answer = git_result("merge-tree", *options, "ours0", "theirs0", cwd=folder)
    agreement.git_s = perf_counter() - start
    git_tree, *conflicts = answer.stdout.split(b"\0")
    conflicted = set(conflicts)
    with closing(Repo(str(folder))) as repo:
        results = {entry.path: entry.sha for entry in repo.object_store.iter_tree_contents(ObjectID(git_tree))}
        start = perf_counter()
        for path, versions in texts.items():
            merged = merge_lines(*versions)
            own = merged.data if isinstance(merged, Clean) else None
            git_data = None if path in conflicted else repo.object_store[results[path]].as_raw_string()
            if git_data is None:
                verdict = BOTH_CONFLICT if own is None else UNSAFE
            elif own is None:
                verdict = STRICTER
            else:
                verdict = SAME if own == git_data else DIFFERENT
            agreement.note(verdict, f"{path!r}: {versions}")
        agreement.own_s = perf_counter() - start
    return agreement


def compare_history(git_dir: Path, scratch: Path, limit: int | None = None) -> Agreement:
    """Redo the merges of a repository's history both ways; ``scratch`` is an empty place for git's new objects.

    Merges with several bases, or in which one side changed nothing, show nothing and are left out.
    """
    git("init", "--quiet", "--bare", scratch, cwd=scratch.parent)
    (scratch / "objects" / "info" / "alternates").write_text(f"{git_dir.resolve() / 'objects'}\n")
    listing = git("--git-dir", git_dir, "log", "--all", "--merges", "--format=%H %P", cwd=scratch).splitlines()
    agreement = Agreement()
    with closing(Repo(str(git_dir))) as repo:
        fresh = MemoryObjectStore()
        store = OverlayObjectStore([repo.object_store, fresh], fresh)
        for merge, ours, theirs in _real_merges(listing):
            if limit is not None and agreement.counts.total() >= limit:
                break
            bases = git_result("merge-base", "--all", ours, theirs, cwd=scratch).stdout.split()
            if len(bases) != 1:
                continue
            wanted = [f"{commit}^{{tree}}" for commit in (bases[0].decode(), ours, theirs)]
            trees = [Oid(line) for line in git("rev-parse", *wanted, cwd=scratch).split()]
            if len(set(trees)) != 3:
                continue
            start = perf_counter()
            git_tree = git_merge(scratch, ours, theirs)
            middle = perf_counter()
            own = own_merge(store, trees[0], trees[1], trees[2])
            agreement.own_s += perf_counter() - middle
            agreement.git_s += middle - start
            agreement.note(verdict_of(git_tree, own), f"{merge}: {own.conflicts}")
    return agreement


def _real_merges(listing: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield merge, first and second parent of every merge of two."""
    for line in listing:
        commits = line.split()
        if len(commits) == 3:
            yield commits[0], commits[1], commits[2]


def own_merge(store: BaseObjectStore, base: Oid, ours: Oid, theirs: Oid, policy: Policy = AS_GIT) -> TreeMerge:
    """Merge on our side."""
    return merge_trees(store, base, ours, theirs, policy, store.add_object)


def git_merge(repo: Path, ours: str, theirs: str) -> str | None:
    """Return the tree of git's merge, or None when it conflicts."""
    answer = subprocess.run(
        ["git", "merge-tree", "--write-tree", "--no-messages", ours, theirs],
        cwd=repo,
        env=git_env(),
        capture_output=True,
        check=False,
    )
    assert answer.returncode in (0, 1), answer.stderr.decode()
    return answer.stdout.decode().strip() if answer.returncode == 0 else None


def write_situations(situations: Sequence[Situation], folder: Path) -> Mapping[str, Oid]:
    """Create a bare repository with branches baseN, oursN and theirsN; return the tree of each."""
    folder.mkdir(exist_ok=True)
    git("init", "--quiet", "--bare", folder, cwd=folder)
    stream: list[bytes] = []
    for index, situation in enumerate(situations):
        stream += _commit(f"base{index}", situation.base, None)
        stream += _commit(f"ours{index}", situation.ours, f"base{index}")
        stream += _commit(f"theirs{index}", situation.theirs, f"base{index}")
    git("fast-import", "--quiet", cwd=folder, stdin=b"".join(stream))
    lines = git("for-each-ref", "--format=%(refname:short) %(tree)", cwd=folder).splitlines()
    return {name: Oid(tree) for name, tree in (line.split() for line in lines)}


def _commit(branch: str, tree: Tree, parent: str | None) -> list[bytes]:
    """Return the commands of git-fast-import(1) for one commit."""
    head = f"commit refs/heads/{branch}\ncommitter Test <test@example.invalid> 1700000000 +0000\ndata 0\n"
    made = [head.encode()]
    if parent is not None:
        made.append(f"from refs/heads/{parent}\n".encode())
    made.append(b"deleteall\n")
    for path, (mode, data) in tree.items():
        if mode == SUBMODULE:
            made.append(b"M 160000 " + data + b" " + path + b"\n")
        else:
            made.append(b"M %o inline " % mode + path + b"\ndata %d\n" % len(data) + data + b"\n")
    return made
