"""What all transports share: records out of packs, the order of edits, errors without credentials."""

from __future__ import annotations

import pytest

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind, build_commit, build_tree
from gitref_lock.core.refs import RefusalKind, Refused, Unknown
from gitref_lock.ports import RemoteError
from gitref_lock.remotes.packs import PackedObject
from gitref_lock.remotes.pktline import ServerSaidError, WireError
from gitref_lock.remotes.store import checked_order, interrupted, stored_commit
from gitref_lock.remotes.streams import LinkError
from gitref_lock.testing.contract_kit import create, delete, state

ONE = state("one")


def packed(*objects: GitObject) -> dict[Oid, PackedObject]:
    """Return objects as they come out of a pack."""
    return {item.oid: PackedObject(item.kind, item.data) for item in objects}


def commit_of(tree: Oid) -> GitObject:
    """Return a commit on ``tree``."""
    return build_commit(tree=tree, parents=[], author_name="x", author_email="x", at_s=0, message="x")


class TestRecords:
    """Commits with their root files."""

    def test_a_state_is_read_back_as_it_was_built(self) -> None:
        """Message, parents and files are the ones that were written."""
        child = state("child", parents=[ONE[0].oid, Oid("5" * 40)])
        found = stored_commit(child[0].oid, packed(*child))
        assert found is not None
        assert found.parents == (ONE[0].oid, Oid("5" * 40))
        assert (found.message, dict(found.files)) == ("child\n", {"lock.json": b"child", "history.jsonl": b"line\n"})

    def test_what_is_no_readable_commit_is_none(self) -> None:
        """Other kinds, missing or wrong trees and damaged commits are left out."""
        blob = GitObject(ObjectKind.BLOB, b"blob")
        odd = GitObject(ObjectKind.COMMIT, b"author nobody\n\n")
        on_blob = commit_of(blob.oid)
        for one, objects in (
            (Oid("1" * 40), packed(*ONE)),
            (blob.oid, packed(blob)),
            (odd.oid, packed(odd)),
            (on_blob.oid, packed(on_blob, blob)),
            (ONE[0].oid, packed(ONE[0])),
        ):
            assert stored_commit(one, objects) is None

    def test_folders_links_and_submodules_are_no_files(self) -> None:
        """Only plain files at the root count; hostile modes and names do no harm."""
        blob = GitObject(ObjectKind.BLOB, b"content")
        entries = [(b"40000", b"folder"), (b"120000", b"link"), (b"160000", b"module"), (b"100755", b"\xff run")]
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(blob.oid) for mode, name in entries)
        tree = GitObject(ObjectKind.TREE, data)
        commit = commit_of(tree.oid)
        found = stored_commit(commit.oid, packed(commit, tree, blob))
        assert found is not None
        assert list(found.files.values()) == [b"content"]
        assert next(iter(found.files)).endswith(" run")

    def test_a_cut_tree_ends_the_list(self) -> None:
        """A damaged tree yields what is whole."""
        blob = GitObject(ObjectKind.BLOB, b"content")
        good = build_tree({"a": blob, "b": blob})
        for cut in (1, 19, 24):
            tree = GitObject(ObjectKind.TREE, good.data[:-cut])
            commit = commit_of(tree.oid)
            found = stored_commit(commit.oid, packed(commit, tree, blob))
            assert found is not None
            assert set(found.files) == {"a"}

    def test_a_file_that_was_not_kept_is_oversized(self) -> None:
        """A root file without its content is named."""
        objects = packed(*ONE)
        heavy = next(item for item in ONE if item.data == b"one")
        objects[heavy.oid] = PackedObject(ObjectKind.BLOB, None)
        found = stored_commit(ONE[0].oid, objects)
        assert found is not None
        assert found.oversized == {"lock.json"}
        assert set(found.files) == {"history.jsonl"}


class TestEdits:
    """What may be swapped."""

    def test_edits_are_sent_in_the_order_of_their_roles(self) -> None:
        """Locks go before tickets, whatever order they are given in."""
        lock_edit, ticket = create("b", ONE), delete("a", ONE)
        assert checked_order([ticket, lock_edit]) == (lock_edit, ticket)

    def test_nothing_and_twice_the_same_are_mistakes_of_the_caller(self) -> None:
        """These raise before anything is sent."""
        for edits in ([], [create("a", ONE), delete("a", ONE)]):
            with pytest.raises(ValueError, match="at least one edit and no ref twice"):
                checked_order(edits)


class TestInterrupted:
    """What a broken conversation about a swap means."""

    def test_what_may_have_been_processed_is_unknown(self) -> None:
        """Broken connections, broken answers and unknown errors leave the question open."""
        for exc in (
            LinkError("unreachable", "reset"),
            LinkError("authentication", "odd", transient=False),
            WireError("cut off"),
            ServerSaidError("upstream timed out"),
            RemoteError("protocol", "odd", transient=True),
        ):
            outcome = interrupted(exc)
            assert isinstance(outcome, Unknown)
            assert not outcome.nothing_sent

    def test_no_connection_may_pass(self) -> None:
        """Nothing was sent, and the next try may find a way."""
        outcome = interrupted(LinkError("unreachable", "refused", nothing_sent=True))
        assert isinstance(outcome, Unknown)
        assert outcome.nothing_sent

    @pytest.mark.parametrize(
        ("code", "kind"), [("authentication", RefusalKind.AUTHENTICATION), ("tls", RefusalKind.OTHER)]
    )
    def test_no_connection_for_good_is_refused(self, code: str, kind: RefusalKind) -> None:
        """Nothing was sent, and trying again will not help."""
        outcome = interrupted(LinkError(code, "words", nothing_sent=True, transient=False))
        assert outcome == Refused(kind, "words")

    def test_an_error_that_comes_before_any_work_is_refused(self) -> None:
        """What a proxy or daemon says when it looks at the request and refuses to begin."""
        outcome = interrupted(ServerSaidError("push contains a ref outside refs/heads/*"))
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.NAMESPACE
