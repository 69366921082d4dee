"""A copy of a commit is known by author, date and message, whatever line its committer added to name itself."""

from __future__ import annotations

import pytest
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Commit, ObjectID

from gitref_lock.core.names import Oid
from gitref_lock.landing.likeness import is_like, likenesses
from gitref_lock.landing.message import add_trailers

AUTHOR, COMBINER = b"Author <author@example.invalid>", b"Combiner <combiner@example.invalid>"


def commit(message: bytes, committer: bytes = AUTHOR, author: bytes = AUTHOR) -> Commit:
    """Return a commit of the empty tree."""
    made = Commit()
    made.tree = ObjectID(b"4b825dc642cb6eb9a060e54bf8d69288fbee4904")
    made.author, made.committer = author, committer
    made.author_time = made.commit_time = 1_700_000_000
    made.author_timezone = made.commit_timezone = 0
    made.message = message
    return made


def marked(message: bytes) -> bytes:
    """Return the message of a copy that its combiner names itself in."""
    return add_trailers(message.decode(), [f"Landed-by: {COMBINER.decode()}"]).encode()


@pytest.mark.parametrize(
    "message",
    [
        b"subject",
        b"subject\n",
        b"subject\n\nbody\n",
        b"subject\n\nbody\n\nSigned-off-by: Author <author@example.invalid>\n",
        b"subject\n\nLanded-by: somebody else\n",
        b"Landed-by: Combiner <combiner@example.invalid>",
    ],
)
def test_a_copy_is_known_with_and_without_its_combiner_s_name(message: bytes) -> None:
    """Both forms are copies of ours, also when ours ends in a trailer of its own."""
    store, ours = MemoryObjectStore(), commit(message)
    store.add_object(ours)
    wanted = likenesses(store, [Oid(ours.id.decode())])
    assert is_like(commit(message, COMBINER), wanted)
    assert is_like(commit(marked(message), COMBINER), wanted)


@pytest.mark.parametrize(
    "other",
    [
        commit(b"another subject\n", COMBINER),
        commit(b"subject\n\nbody\n", COMBINER, author=b"Other <other@example.invalid>"),
        commit(b"subject\n\nbody\n\nLanded-by: Nobody <nobody@example.invalid>\n", COMBINER),
        commit(b"subject\n\nbody\n\nmore\n", COMBINER),
    ],
)
def test_what_says_more_or_is_another_s_is_no_copy(other: Commit) -> None:
    """Only the committer's own name may have been added, and the author is the author."""
    store, ours = MemoryObjectStore(), commit(b"subject\n\nbody\n")
    store.add_object(ours)
    assert not is_like(other, likenesses(store, [Oid(ours.id.decode())]))
