"""Merge situations by name: each one is a trap that some merge is known to fall into."""

from __future__ import annotations

from tests.differential.situations import EXECUTABLE, FILE, SUBMODULE, SYMLINK, Situation, Tree

_TEN = b"".join(b"line %d\n" % number for number in range(10))
_FIRST = _TEN.replace(b"line 0\n", b"first\n")
_LAST = _TEN.replace(b"line 9\n", b"last\n")
_BIN = b"a\0b\n" + _TEN
_LINK_A, _LINK_B, _LINK_C = (SYMLINK, b"a"), (SYMLINK, b"b"), (SYMLINK, b"c")
_SUB_1, _SUB_2, _SUB_3 = ((SUBMODULE, b"%040x" % number) for number in (1, 2, 3))


def _one(base: bytes | None, ours: bytes | None, theirs: bytes | None) -> tuple[Tree, Tree, Tree]:
    """Return three trees with one file ``f`` (None: absent) beside one that never changes."""
    rest: Tree = {b"rest": (FILE, b"rest\n")}
    base_tree, our_tree, their_tree = (
        rest | ({} if data is None else {b"f": (FILE, data)}) for data in (base, ours, theirs)
    )
    return base_tree, our_tree, their_tree


def _text(data: bytes, mode: int = FILE) -> tuple[int, bytes]:
    return mode, data


NAMED = (
    Situation(*_one(_TEN, _FIRST, _LAST), "edits far apart"),
    Situation(*_one(_TEN, _FIRST, _FIRST), "the same edit on both sides"),
    Situation(*_one(b"1\n2\n3\n", b"A\n2\n3\n", b"1\nB\n3\n"), "adjacent lines"),
    Situation(*_one(b"1\n2\n3\n", b"A\n2\n3\n", b"1\n2\nB\n"), "one line between the edits"),
    Situation(*_one(b"1\n", b"1\na\n", b"1\nb\n"), "both append"),
    Situation(*_one(b"1\n", b"1\na\n", b"1\na\nb\n"), "one appends more"),
    Situation(*_one(b"1\n2", b"1\n2\n", b"0\n1\n2"), "the last line end is added"),
    Situation(*_one(b"1\n2\n3\n", b"1\n2\n3", b"0\n2\n3\n"), "the last line end is removed"),
    Situation(
        *_one(_TEN.replace(b"\n", b"\r\n"), _FIRST.replace(b"\n", b"\r\n"), _LAST.replace(b"\n", b"\r\n")), "CRLF"
    ),
    Situation(*_one(_TEN, _TEN.replace(b"\n", b"\r\n"), _LAST), "one side changes all line ends"),
    Situation(*_one(_TEN.replace(b"\n", b"\r"), _FIRST.replace(b"\n", b"\r"), _LAST.replace(b"\n", b"\r")), "CR only"),
    Situation(*_one(_BIN, _BIN + b"x\n", b"y\n" + _BIN), "binary, edits far apart"),
    Situation(
        *_one(
            b"x" * 8000 + b"\n\0\n" + _TEN, b"x" * 8000 + b"\n\0\n" + _FIRST, b"y\n" + b"x" * 8000 + b"\n\0\n" + _TEN
        ),
        "NUL after 8000 bytes",
    ),
    Situation(*_one(_TEN, _FIRST, b"<<<<<<< ours\n=======\n>>>>>>> theirs\n" + _TEN[7:]), "markers as content"),
    Situation(*_one(_TEN + b"z\n", b"<<<<<<< ours\n" + _TEN + b"z\n", _TEN + b"zz\n"), "a marker as content, clean"),
    Situation(*_one(None, b"1\n", b"2\n"), "both add, differently"),
    Situation(*_one(None, b"1\n", b"1\n"), "both add the same"),
    Situation(*_one(None, b"", b"1\n"), "both add, one empty"),
    Situation(*_one(_TEN, None, _LAST), "delete against modify"),
    Situation(*_one(_TEN, _FIRST, None), "modify against delete"),
    Situation(*_one(_TEN, None, None), "both delete"),
    Situation(*_one(_TEN, b"", _LAST), "emptied against modify"),
    Situation({b"f": _text(_TEN)}, {b"f": _text(_TEN, EXECUTABLE)}, {b"f": _text(_LAST)}, "mode against content"),
    Situation({b"f": _text(_TEN)}, {b"f": _text(_TEN, EXECUTABLE)}, {b"g": _text(b"g")}, "mode against delete"),
    Situation({}, {b"f": _text(_TEN)}, {b"f": _text(_TEN, EXECUTABLE)}, "both add the same with different modes"),
    Situation({b"f": _text(_TEN)}, {b"f": _LINK_A}, {b"f": _text(_TEN), b"g": _LINK_A}, "file to symlink, untouched"),
    Situation({b"f": _text(_TEN)}, {b"f": _LINK_A}, {b"f": _text(_LAST)}, "file to symlink, edited"),
    Situation({b"f": _LINK_A}, {b"f": _LINK_B}, {b"f": _LINK_C}, "symlinks apart"),
    Situation({b"f": _LINK_A}, {b"f": _LINK_B}, {b"f": _LINK_B, b"g": _LINK_A}, "symlinks alike"),
    Situation({b"f": _SUB_1}, {b"f": _SUB_2}, {b"f": _SUB_3}, "submodules apart"),
    Situation({b"f": _SUB_1}, {b"f": _SUB_2}, {b"f": _SUB_1, b"g": _text(b"g")}, "submodule moved on one side"),
    Situation({b"f": _text(_TEN)}, {b"f/g": _text(b"new\n")}, {b"f": _text(_TEN), b"h": _text(b"h")}, "file to folder"),
    Situation({b"f": _text(_TEN)}, {b"f/g": _text(b"new\n")}, {b"f": _text(_LAST)}, "file to folder, edited"),
    Situation(
        {b"d/a": _text(_TEN)}, {b"d": _text(b"new\n")}, {b"d/a": _text(_TEN), b"e": _text(b"e")}, "folder to file"
    ),
    Situation(
        {b"d/a": _text(_TEN)},
        {b"d": _text(b"new\n")},
        {b"d/a": _text(_TEN), b"d/b": _text(b"b")},
        "folder to file, used",
    ),
    Situation(
        {b"r": _text(b"r")},
        {b"r": _text(b"r"), b"x": _text(b"1")},
        {b"r": _text(b"r"), b"x/y": _text(b"2")},
        "file against folder",
    ),
    Situation(
        {b"d/a": _text(_TEN), b"d/b": _text(b"b"), b"r": _text(b"")},
        {b"d/a": _text(_TEN), b"r": _text(b"")},
        {b"d/b": _text(b"b"), b"r": _text(b"")},
        "each deletes half a folder",
    ),
    Situation(
        {b"d/a": _text(_TEN), b"r": _text(b"")},
        {b"r": _text(b"")},
        {b"d/a": _text(_TEN), b"d/n": _text(b"n"), b"r": _text(b"")},
        "folder deleted, file added in it",
    ),
    Situation({b"a": _text(_TEN)}, {b"b": _text(_TEN)}, {b"a": _text(_LAST)}, "rename against modify"),
    Situation({b"a": _text(_TEN)}, {b"a": _text(_FIRST)}, {b"b": _text(_LAST)}, "modify against rename with edit"),
    Situation({b"a": _text(_TEN)}, {b"b": _text(_FIRST)}, {b"b": _text(_LAST)}, "both rename alike and edit"),
    Situation({b"a": _text(_TEN)}, {b"b": _text(_TEN)}, {b"c": _text(_TEN)}, "both rename apart"),
    Situation({b"a": _text(_TEN)}, {b"b": _text(_TEN)}, {}, "rename against delete"),
    Situation(
        {b"a": _text(_TEN)},
        {b"b": _text(_TEN)},
        {b"a": _text(_LAST), b"b": _text(b"other\n")},
        "rename onto an added file",
    ),
    Situation(
        {b"a": _text(_TEN), b"b": _text(_BIN)},
        {b"c": _text(_TEN), b"b": _text(_BIN)},
        {b"a": _text(_LAST), b"c": _text(_BIN)},
        "two renames to one name",
    ),
    Situation({b"a": _text(_TEN)}, {b"d/a": _text(_TEN)}, {b"a": _text(_TEN, EXECUTABLE)}, "rename against mode"),
    Situation({b"a": _text(_TEN)}, {b"b": _text(_TEN)}, {b"a": _LINK_A}, "rename against another kind"),
    Situation(
        {b"d/a": _text(_TEN), b"d/b": _text(_BIN)},
        {b"e/a": _text(_TEN), b"e/b": _text(_BIN)},
        {b"d/a": _text(_TEN), b"d/b": _text(_BIN), b"d/c": _text(b"c")},
        "folder renamed, file added in it",
    ),
    Situation(
        {b"d/a": _text(_TEN), b"d/b": _text(_BIN)},
        {b"e/a": _text(_TEN), b"e/b": _text(_BIN)},
        {b"d/a": _text(_LAST), b"d/b": _text(_BIN)},
        "folder renamed, file edited in it",
    ),
    Situation(
        {b"a.b": _text(b"1"), b"a/c": _text(b"2")},
        {b"a.b": _text(b"1"), b"a/c": _text(b"3")},
        {b"a.b": _text(b"4"), b"a/c": _text(b"2")},
        "names that sort differently as folders",
    ),
    Situation(
        {b"\xff\xfe": _text(_TEN)}, {b"\xff\xfe": _text(_FIRST)}, {b"\xff\xfe": _text(_LAST)}, "a name that is no UTF-8"
    ),
)
