"""Generated merge situations: three versions of a text or of a tree, made to collide in every way git knows.

Everything comes from the seed of the given random generator. Names and words are few on purpose: files meet each
other, lines repeat, and a change on one side touches a change on the other far more often than in real histories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

File = tuple[int, bytes]
"""Mode and content; for a submodule the content is the id of its commit."""

Tree = dict[bytes, File]
"""Every file of a tree by its full path."""

FILE, EXECUTABLE, SYMLINK, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o160000

_NAMES = (b"a", b"b", b"c.txt", b"Makefile", b"d.json", b"README")
_FOLDERS = (b"", b"x/", b"x/y/", b"z/", b"x/y/w/")


@dataclass(frozen=True)
class Situation:
    """Three trees to merge; ``label`` says what the situation is about."""

    base: Tree
    ours: Tree
    theirs: Tree
    label: str = ""


def text_situation(rng: Random) -> tuple[bytes, bytes, bytes]:
    """Return base, ours and theirs of one text: repeated lines, moved blocks, CRLF, files without a last line end."""
    words = [b"%s%d" % (rng.choice((b"", b"x", b"  ")), number) for number in range(rng.choice((3, 8, 30, 1000)))]
    if rng.random() < 0.3:
        words += [b"", b"}", b"\treturn"] * max(1, len(words) // 6)
    length = rng.choice((3, 10, 40, 200))
    lines = [b"line%d" % number for number in range(length)]
    if len(words) < 1000:
        lines = [rng.choice(words) for _ in range(length)]
    end = rng.choice((b"\n", b"\n", b"\n", b"\r\n"))
    ours = _edit_lines(rng, lines, words)
    theirs = _edit_lines(rng, ours if rng.random() < 0.1 else lines, words)
    base, ours_text, theirs_text = (
        end.join(version) + (end if version and rng.random() < 0.8 else b"") for version in (lines, ours, theirs)
    )
    return base, ours_text, theirs_text


def _edit_lines(rng: Random, lines: Sequence[bytes], words: Sequence[bytes]) -> list[bytes]:
    """Return ``lines`` with one to four insertions, deletions, replacements or moves."""
    edited = list(lines)
    for _ in range(rng.randint(1, 4)):
        kind, at, count = rng.random(), rng.randint(0, len(edited)), rng.randint(1, 3)
        if kind < 0.35:
            edited[at:at] = [rng.choice(words) for _ in range(count)]
        elif kind < 0.65:
            del edited[at : at + count]
        elif kind < 0.9:
            edited[at : at + count] = [rng.choice(words) for _ in range(rng.randint(1, 3))]
        else:
            block = edited[at : at + 4]
            del edited[at : at + 4]
            to = rng.randint(0, len(edited))
            edited[to:to] = block
    return edited


def tree_situation(rng: Random) -> Situation:
    """Return three small trees: edits, deletions, renames, moved folders, modes, symlinks, submodules, clashes."""
    base = _base_tree(rng)
    ours = _change_tree(rng, base)
    theirs = _change_tree(rng, ours if rng.random() < 0.05 else base)
    return Situation(base, ours, theirs, "generated")


def _lines(rng: Random, word: bytes) -> bytes:
    return b"\n".join(b"%s line %d" % (word, number) for number in range(rng.choice((1, 3, 6, 12, 30))))


def _base_tree(rng: Random) -> Tree:
    tree: Tree = {}
    for _ in range(rng.randint(2, 9)):
        path, kind = rng.choice(_FOLDERS) + rng.choice(_NAMES), rng.random()
        if kind < 0.78:
            mode = rng.choice((FILE, FILE, FILE, FILE, FILE, EXECUTABLE))
            text = _lines(rng, path if rng.random() < 0.7 else b"same")
            file = (mode, text + rng.choice((b"\n", b"\n", b"")))
        elif kind < 0.85:
            file = (SYMLINK, rng.choice((b"a", b"b", b"x/a")))
        elif kind < 0.92:
            file = (FILE, b"bin\0" + rng.randbytes(40))
        elif kind < 0.96:
            file = (SUBMODULE, b"%040x" % rng.randint(1, 3))
        else:
            file = (FILE, b"")
        put(tree, path, file)
    return tree


def put(tree: Tree, path: bytes, file: File) -> None:
    """Set a file, removing what cannot stand beside it."""
    for other in [other for other in tree if other.startswith(path + b"/") or path.startswith(other + b"/")]:
        del tree[other]
    tree[path] = file


def _edit_text(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 2)):
        at, kind = rng.randint(0, len(lines)), rng.random()
        if kind < 0.5:
            lines[at:at] = [b"new %d" % rng.randrange(5)]
        elif kind < 0.75:
            del lines[at : at + 1]
        else:
            lines[at : at + 1] = [b"changed %d" % rng.randrange(5)]
    return b"\n".join(lines)


def _change_tree(rng: Random, base: Tree) -> Tree:
    """Return ``base`` after one to four changes."""
    tree = dict(base)
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        kind = rng.random()
        path = rng.choice(sorted(tree)) if tree else None
        if kind < 0.7 and path is not None:
            _change_file(rng, tree, path, kind / 0.7)
        elif kind < 0.8:
            place = rng.choice(_FOLDERS) + rng.choice((*_NAMES, b"n0", b"n1", b"n2"))
            put(tree, place, (FILE, _lines(rng, b"added%d" % rng.randrange(2)) + b"\n"))
        elif kind < 0.85:
            folder = rng.choice(_FOLDERS[1:]).rstrip(b"/")
            put(tree, folder, (FILE, b"now a file %d\n" % rng.randrange(2)))
        elif kind < 0.95:
            _move_folder(tree, rng.choice(_FOLDERS[1:]), rng.choice((b"moved/", b"z/", b"x/q/", b"")))
        else:
            folder = rng.choice(_FOLDERS[1:])
            for gone in [path for path in tree if path.startswith(folder)]:
                del tree[gone]
    return tree


def _change_file(rng: Random, tree: Tree, path: bytes, kind: float) -> None:
    """Edit, delete, rename, retype or change the mode of one file; ``kind`` is from 0 to 1."""
    mode, data = tree[path]
    is_text = mode in (FILE, EXECUTABLE)
    if kind < 0.4 and is_text:
        tree[path] = (mode, _edit_text(rng, data))
    elif kind < 0.55:
        del tree[path]
    elif kind < 0.8:
        del tree[path]
        moved = _edit_text(rng, data) if is_text and rng.random() < 0.4 else data
        put(tree, rng.choice(_FOLDERS) + rng.choice((*_NAMES, b"n0", b"n1", b"n2")), (mode, moved))
    elif kind < 0.88 and is_text:
        tree[path] = (FILE if mode == EXECUTABLE else EXECUTABLE, data)
    elif kind < 0.94:
        tree[path] = (SYMLINK, rng.choice((b"a", b"q")))
    else:
        del tree[path]
        put(tree, path + b"/" + rng.choice(_NAMES), (mode, data))


def _move_folder(tree: Tree, old: bytes, new: bytes) -> None:
    for path in [path for path in tree if path.startswith(old)]:
        put(tree, new + path[len(old) :], tree.pop(path))
