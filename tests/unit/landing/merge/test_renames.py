"""Renames: equal content first, then equal names, then the most alike, and nothing that is not sure."""

from __future__ import annotations

from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Blob, ObjectID

from gitref_lock.landing.merge import renames
from gitref_lock.landing.merge.objects import Entry, Objects
from gitref_lock.landing.merge.renames import Renames, find_renames
from tests.unit.landing.merge.memory import EXECUTABLE, FILE, SYMLINK, Merging


def text(word: str, count: int = 10) -> bytes:
    """Return lines made of ``word``."""
    return b"".join(f"{word} {number}\n".encode() for number in range(count))


def find(deleted: dict[str, bytes], added: dict[str, bytes], mode: int = FILE) -> Renames:
    """Find renames between regular files; every deleted one is relevant."""
    store = MemoryObjectStore()

    def entries(files: dict[str, bytes]) -> dict[bytes, Entry]:
        blobs = {path: Blob.from_string(data) for path, data in files.items()}
        store.add_objects([(blob, None) for blob in blobs.values()])
        return {path.encode(): Entry(mode, blob.id) for path, blob in blobs.items()}

    old, new = entries(deleted), entries(added)
    return find_renames(Objects(store, store.add_object, None), old, new, set(old))


def test_equal_content_prefers_the_equal_name() -> None:
    """Of two files with one content, the one that kept its name is the one that moved."""
    same = text("same")

    assert find({"a/x": same, "a/y": same}, {"b/y": same}).pairs == {b"a/y": b"b/y"}


def test_a_file_is_renamed_once() -> None:
    """Two copies of one deleted file are a rename and a new file."""
    same = text("same")

    assert find({"x": same}, {"y": same, "z": same}).pairs == {b"x": b"y"}


def test_empty_files_are_never_renamed() -> None:
    """Empty files are all equal, which says nothing."""
    assert find({"x": b""}, {"y": b""}).pairs == {}


def test_a_unique_name_beats_a_better_likeness() -> None:
    """A file of the same name that is alike enough is taken before a stranger that is more alike."""
    old = text("line", 20)
    moved, stranger = old.replace(b"line 1\n", b"").replace(b"line 2\n", b""), old.replace(b"line 1\n", b"")

    assert find({"a/x": old}, {"b/x": moved, "b/z": stranger}).pairs == {b"a/x": b"b/x"}


def test_among_equal_names_the_folder_of_the_neighbours_decides() -> None:
    """Of several files of one name, each goes where the unchanged files beside it went."""
    one, two = text("one", 20), text("one", 20).replace(b"one 5\n", b"two 5\n")
    deleted = {"a/Makefile": one, "a/n": text("n"), "b/Makefile": two, "b/m": text("m")}
    added = {"p/Makefile": one + b"+\n", "p/n": text("n"), "q/Makefile": two + b"+\n", "q/m": text("m")}

    assert find(deleted, added).pairs == {
        b"a/Makefile": b"p/Makefile",
        b"a/n": b"p/n",
        b"b/Makefile": b"q/Makefile",
        b"b/m": b"q/m",
    }


def test_the_most_alike_are_paired_first() -> None:
    """Without names to go by, likeness decides, and half of the content must be alike."""
    old = text("line", 20)
    near, far = old + text("x", 2), old + text("x", 12)

    assert find({"a": old}, {"c": far, "d": near}).pairs == {b"a": b"d"}
    assert find({"a": old}, {"c": text("other", 20)}).pairs == {}


def test_line_ends_do_not_hide_a_rename() -> None:
    """A text that became CRLF is still alike; bytes of a binary are compared as they are."""
    old = text("line", 20)

    assert find({"a": old}, {"b": old.replace(b"\n", b"\r\n")}).pairs == {b"a": b"b"}
    assert find({"a": b"\0" + old}, {"b": b"\0" + old.replace(b"\n", b"\r\n")}).pairs == {}


def test_a_pair_that_hangs_on_an_unended_last_line_is_undecided() -> None:
    """Where git's versions disagree nothing is claimed."""
    found = find({"a": b"first\nthe long last line"}, {"b": b"other\nthe long last line"})

    assert found == Renames({}, {b"a"})


def test_symlinks_are_renamed_only_unchanged() -> None:
    """The target of a symlink is no text to compare."""
    target = b"some/long/target/of/a/link"

    assert find({"a": target}, {"b": target}, SYMLINK).pairs == {b"a": b"b"}
    assert find({"a": target}, {"b": target + b"s"}, SYMLINK) == Renames()


def test_missing_kinds_do_not_pair() -> None:
    """A file does not become a symlink of equal content, but its mode may change on the way."""
    store = MemoryObjectStore()
    blob = Blob.from_string(b"same\n")
    store.add_object(blob)
    objects = Objects(store, store.add_object, None)
    old, link = {b"a": Entry(FILE, blob.id)}, {b"b": Entry(SYMLINK, blob.id)}
    program = {b"b": Entry(EXECUTABLE, blob.id)}

    assert find_renames(objects, old, link, {b"a"}) == Renames()
    assert find_renames(objects, old, program, {b"a"}).pairs == {b"a": b"b"}


def test_irrelevant_files_are_not_read() -> None:
    """Without a relevant file nothing is looked for; objects that do not exist prove it."""
    objects = Objects(MemoryObjectStore(), lambda _thing: None, None)
    old, new = ({name: Entry(FILE, ObjectID(oid * 40))} for name, oid in ((b"a", b"1"), (b"b", b"2")))

    assert find_renames(objects, old, new, set()) == Renames()


def test_too_many_candidates_make_a_conflict_not_a_guess() -> None:
    """Beyond the bound an edit of a perhaps renamed file is a conflict, which a side may still decide."""
    count = 210
    base = {f"old/{number}": text(f"{number} a") for number in range(count)}
    ours = {f"new/x{number}": text(f"{number} a") + b"b\n" for number in range(count)}
    theirs = {path: data + b"edit\n" for path, data in base.items()}
    assert count * count > renames._MAX_COMPARISONS

    merging = Merging(base, ours, theirs, "**=text")

    assert merging.conflicts["old/7"] == "cannot tell for sure whether it was renamed"
    assert Merging(base, ours, theirs, "**=ours").files == ours


def test_a_file_deleted_by_both_is_no_conflict_unless_the_rule_is_strict() -> None:
    """An unsure rename of a file that nobody kept loses nothing."""
    last = b"the long last line"
    base, ours, theirs = {"a": b"first\n" + last, "r": b""}, {"b": b"other\n" + last, "r": b""}, {"r": b""}

    assert list(Merging(base, ours, theirs, "**=text").conflicts) == ["a"]
    assert Merging(base, ours, theirs).files == ours
