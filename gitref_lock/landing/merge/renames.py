"""Renames, found as git's merge finds them, so that an edit follows a file that the other side moved.

First equal contents; then equal file names, when both are unique or the directory's other files show where it went;
then the best of the rest. Contents are alike when at least half of the larger one is found in the other
(gitdiffcore(7), "diffcore-rename"). Only files that matter to the merge are compared: those that the other side touched
too, and those that tell whether a directory moved. The number of comparisons is bounded; beyond it the caller is told,
and treats what is left as undecided instead of as not renamed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field

from dulwich.objects import ObjectID

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.merge.changes import parent_of
from gitref_lock.landing.merge.lines import is_binary, split_lines
from gitref_lock.landing.merge.objects import Entry, Objects

_SCALE = 60000
_ALIKE = 30000
_ALIKE_BY_NAME = 45000
_MAX_COMPARISONS = 40_000
_SPAN = 64
_EMPTY_BLOB = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@dataclass(slots=True)
class Renames:
    """``pairs`` maps old path to new path.

    ``undecided`` are old paths of which nothing is known, since there were too many candidates or since git's own
    versions disagree: before 2.44 a last line without line end did not count.
    """

    pairs: dict[bytes, bytes] = field(default_factory=dict)
    undecided: set[bytes] = field(default_factory=set)

    def moved_dirs(self, removed_dirs: Collection[bytes]) -> set[bytes]:
        """Return those of ``removed_dirs`` whose files went to another directory."""
        return {old_dir for old_dir, _new_dir in _moves(self.pairs) if old_dir in removed_dirs}


def find_renames(
    objects: Objects, deleted: Mapping[bytes, Entry], added: Mapping[bytes, Entry], relevant: Collection[bytes]
) -> Renames:
    """Pair the ``deleted`` files that are ``relevant`` with the ``added`` files they became on the same side.

    Pairs of equal content are returned for all deleted files. Reads blobs only when a relevant one stays unpaired.
    """
    found = Renames()
    if not relevant:
        return found
    sources = {path: deleted[path] for path in sorted(deleted) if deleted[path].oid != _EMPTY_BLOB}
    targets = {path: added[path] for path in sorted(added) if added[path].oid != _EMPTY_BLOB}
    _pair_equal(sources, targets, found.pairs)
    taken = set(found.pairs.values())
    sources = {path: entry for path, entry in sources.items() if path not in found.pairs}
    targets = {path: entry for path, entry in targets.items() if path not in taken}
    wanted = [path for path in sources if path in relevant and sources[path].is_file]
    candidates = [path for path in targets if targets[path].is_file]
    if not wanted or not candidates:
        return found
    if len(wanted) * len(candidates) > _MAX_COMPARISONS:
        found.undecided.update(wanted)
        return found
    contents = _Contents(
        objects, [*(sources[path].oid for path in wanted), *(targets[path].oid for path in candidates)]
    )
    _pair_by_name(sources, targets, wanted, found.pairs, contents)
    _pair_best(sources, targets, wanted, found.pairs, contents)
    for source in wanted:
        target = found.pairs.get(source)
        if target is not None and not contents.are_surely_alike(sources[source].oid, targets[target].oid):
            del found.pairs[source]
            found.undecided.add(source)
    return found


def _pair_equal(sources: Mapping[bytes, Entry], targets: Mapping[bytes, Entry], pairs: dict[bytes, bytes]) -> None:
    """Pair equal contents, a target with a source of its own file name before any other."""
    by_content: dict[tuple[ObjectID, int], deque[bytes]] = {}
    by_name: dict[tuple[ObjectID, int, bytes], deque[bytes]] = {}
    for path, entry in sources.items():
        by_content.setdefault(_content(entry), deque()).append(path)
        by_name.setdefault((*_content(entry), _name(path)), deque()).append(path)
    for target, entry in targets.items():
        for free in (by_name.get((*_content(entry), _name(target))), by_content.get(_content(entry))):
            while free and free[0] in pairs:
                free.popleft()
            if free:
                pairs[free.popleft()] = target
                break


def _content(entry: Entry) -> tuple[ObjectID, int]:
    """Return what two entries of equal content share; whether a file is executable does not count."""
    return entry.oid, 0 if entry.is_file else entry.mode


def _pair_by_name(
    sources: Mapping[bytes, Entry],
    targets: Mapping[bytes, Entry],
    wanted: Collection[bytes],
    pairs: dict[bytes, bytes],
    contents: _Contents,
) -> None:
    """Pair a source with the target of the same file name, when no other source or target bears it.

    When several do, the directory to which most of its neighbours of equal content went decides.
    """
    source_names = Counter(_name(path) for path in sources)
    by_name: dict[bytes, list[bytes]] = {}
    for path in targets:
        by_name.setdefault(_name(path), []).append(path)
    guesses = _main_moves(pairs)
    taken: set[bytes] = set()
    for source in wanted:
        named_alike = by_name.get(_name(source), [])
        if source_names[_name(source)] == 1 and len(named_alike) == 1:
            target = named_alike[0]
        else:
            guess = guesses.get(parent_of(source))
            if guess is None:
                continue
            target = guess + b"/" + _name(source) if guess else _name(source)
        if target not in named_alike or target in taken or not targets[target].is_file:
            continue
        if contents.likeness(sources[source].oid, targets[target].oid) >= _ALIKE_BY_NAME:
            pairs[source] = target
            taken.add(target)


def _pair_best(
    sources: Mapping[bytes, Entry],
    targets: Mapping[bytes, Entry],
    wanted: Collection[bytes],
    pairs: dict[bytes, bytes],
    contents: _Contents,
) -> None:
    """Pair what is left, the most alike first, equal file names before others."""
    taken = set(pairs.values())
    scores: list[tuple[int, bool, bytes, bytes]] = []
    for target, entry in targets.items():
        if target in taken or not entry.is_file:
            continue
        for source in wanted:
            if source in pairs:
                continue
            score = contents.likeness(sources[source].oid, entry.oid)
            if score >= _ALIKE:
                scores.append((score, _name(source) == _name(target), source, target))
    scores.sort(key=lambda row: (-row[0], not row[1]))
    for _score, _named_alike, source, target in scores:
        if source not in pairs and target not in taken:
            pairs[source] = target
            taken.add(target)


class _Contents:
    """Likeness of blobs, each read and cut into spans once."""

    def __init__(self, objects: Objects, oids: Collection[ObjectID]) -> None:
        """Ask for all blobs in one request, in case they are absent."""
        objects.prefetch(oids)
        self._objects = objects
        self._known: dict[ObjectID, tuple[int, Counter[bytes]]] = {}

    def likeness(self, source: ObjectID, target: ObjectID) -> int:
        """Return how much of the larger blob is found in the other, from 0 to 60,000."""
        source_size, source_spans = self._spans(source)
        target_size, target_spans = self._spans(target)
        larger, smaller = max(source_size, target_size), min(source_size, target_size)
        if not larger or larger * (_SCALE - _ALIKE) < (larger - smaller) * _SCALE:
            return 0
        return (source_spans & target_spans).total() * _SCALE // larger

    def are_surely_alike(self, source: ObjectID, target: ObjectID) -> bool:
        """Tell whether they are alike even when a last line without line end does not count."""
        source_size, source_spans = self._spans(source)
        target_size, target_spans = self._spans(target)
        common = source_spans & target_spans
        loose = sum(count for span, count in common.items() if len(span) < _SPAN and not span.endswith(b"\n"))
        return (common.total() - loose) * _SCALE // max(source_size, target_size) >= _ALIKE

    def _spans(self, oid: ObjectID) -> tuple[int, Counter[bytes]]:
        """Return a blob's size and how many of its bytes lie in each distinct span: a line, or 64 bytes of one."""
        if oid not in self._known:
            data = self._objects.blob(oid)
            spans: Counter[bytes] = Counter()
            text = data if is_binary(data) else data.replace(b"\r\n", b"\n")
            for line in split_lines(text):
                for start in range(0, len(line), _SPAN):
                    span = line[start : start + _SPAN]
                    spans[span] += len(span)
            self._known[oid] = len(data), spans
        return self._known[oid]


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _moves(pairs: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield old and new directory for each rename, and for the directories above while these end in the same name."""
    for old, new in pairs.items():
        old_dir, new_dir = parent_of(old), parent_of(new)
        while old_dir != new_dir:
            yield old_dir, new_dir
            if not old_dir or not new_dir or _name(old_dir) != _name(new_dir):
                break
            old_dir, new_dir = parent_of(old_dir), parent_of(new_dir)


def _main_moves(pairs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return, for each directory, the one to which most of its files went."""
    counts = Counter(_moves(pairs))
    best: dict[bytes, bytes] = {}
    for (old_dir, new_dir), count in counts.items():
        if old_dir not in best or count > counts[old_dir, best[old_dir]]:
            best[old_dir] = new_dir
    return best
