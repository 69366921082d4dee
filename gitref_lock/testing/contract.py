"""The RefStore contract as tests: what the runtime relies on, to be shown by every adapter against its own server.

Subclass RefStoreContract in a test module and give it a fixture ``host`` that returns a ContractHost with an empty
repository behind it. The suite knows neither transport nor server; what differs between them is named in the host.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitref_lock.core.names import Oid
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.refs import (
    Absent,
    Applied,
    RefEdit,
    RefusalKind,
    Refused,
    Role,
    Superseded,
    Unknown,
)
from gitref_lock.ports import FetchRequest, ObjectsGoneError
from gitref_lock.testing.contract_kit import (
    ContractHost,
    applied,
    create,
    delete,
    lock,
    only_winner,
    present,
    race_of,
    state,
    update,
)
from gitref_lock.testing.memory import MemorySink


class RefStoreContract:
    """Every test has a fresh, empty repository."""

    def test_an_empty_repository_lists_nothing(self, host: ContractHost) -> None:
        """A repository without refs has an empty listing, not an error."""
        assert present(host.open_store()) == {}

    def test_a_create_wins_once(self, host: ContractHost) -> None:
        """A second create is superseded and shows whose state is there."""
        store, first, second = host.open_store(), state("first"), state("second")
        applied(store, [create("a", first)], first)
        assert store.swap([create("a", second)], second) == Superseded({lock("a"): first[0].oid})
        assert present(store) == {lock("a"): first[0].oid}

    def test_an_update_needs_its_expectation(self, host: ContractHost) -> None:
        """An update from the present state is applied, the same from an older state is superseded."""
        store, one, two, three = host.open_store(), state("one"), state("two"), state("three")
        applied(store, [create("a", one)], one)
        applied(store, [update("a", one, two)], two)
        assert store.swap([update("a", one, three)], three) == Superseded({lock("a"): two[0].oid})
        assert present(store) == {lock("a"): two[0].oid}

    def test_an_update_of_an_absent_ref_is_superseded(self, host: ContractHost) -> None:
        """An update of a ref that is gone changes nothing and says that it is absent."""
        store, one, two = host.open_store(), state("one"), state("two")
        applied(store, [create("kept", one)], one)
        assert store.swap([update("gone", one, two)], two) == Superseded({lock("gone"): None})
        assert present(store) == {lock("kept"): one[0].oid}

    def test_a_delete_needs_its_expectation(self, host: ContractHost) -> None:
        """A delete at an older state is superseded, at the present state it is applied."""
        store, one, two = host.open_store(), state("one"), state("two")
        applied(store, [create("a", one), create("keeps-one", one)], one)
        applied(store, [update("a", one, two)], two)
        assert store.swap([delete("a", one)], []) == Superseded({lock("a"): two[0].oid})
        applied(store, [delete("a", two)], [])
        assert present(store) == {lock("keeps-one"): one[0].oid}

    def test_several_edits_are_all_or_none(self, host: ContractHost) -> None:
        """One stale expectation keeps every ref of the swap where it is, wherever it stands in the request."""
        store, one, two, three = host.open_store(), state("one"), state("two"), state("three")
        applied(store, [create("a", one), create("b", one)], one)
        applied(store, [update("a", one, two)], two)
        for stale, fresh in (("a", "b"), ("b", "a")):
            before = present(store)
            old = one if before[lock(fresh)] == one[0].oid else two
            wrong = two if before[lock(stale)] == one[0].oid else one
            outcome = store.swap([update(stale, wrong, three), update(fresh, old, three)], three)
            assert outcome == Superseded(before)
            assert present(store) == before
        applied(store, [update("a", two, three), update("b", one, three), create("c", two)], [*two, *three])
        assert present(store) == {lock("a"): three[0].oid, lock("b"): three[0].oid, lock("c"): two[0].oid}

    def test_a_swap_without_trust_is_read_back(self, host: ContractHost) -> None:
        """An ok that is read back counts as applied, a deletion included."""
        store, one, two = host.open_store(), state("one"), state("two")
        assert store.swap([create("a", one), create("b", one)], one, trust_report=False) == Applied()
        both = [update("a", one, two), delete("b", one)]
        assert store.swap(both, two, trust_report=False) == Applied()
        assert present(store) == {lock("a"): two[0].oid}

    def test_missing_objects_are_never_applied(self, host: ContractHost) -> None:
        """A ref cannot come to point at an object that the server does not have, nor at one without its parents."""
        store, sent, orphan = host.open_store(), state("sent"), state("orphan", parents=[Oid("1" * 40)])
        unsent = state("never sent")
        for objects, pack in ((unsent, sent), (orphan, orphan)):
            outcome = store.swap([create("a", objects)], pack)
            assert isinstance(outcome, Refused | Unknown), outcome
            assert not isinstance(outcome, Refused) or outcome.kind is RefusalKind.MISSING_OBJECTS
            assert present(store) == {}

    def test_a_name_within_a_name_is_a_collision(self, host: ContractHost) -> None:
        """A ref that would be a folder of another, or lie within one, is refused with the ref that is in the way."""
        store, one = host.open_store(), state("one")
        applied(store, [create("a", one), create("deep/er", one)], one)
        for name, blocker in (("a/b", "a"), ("deep", "deep/er")):
            outcome = store.swap([create(name, one)], one)
            assert isinstance(outcome, Refused), outcome
            assert outcome.kind is RefusalKind.NAME_COLLISION
            assert outcome.words.startswith(f"{lock(blocker)} is in the way")
        assert set(present(store)) == {lock("a"), lock("deep/er")}

    def test_the_same_swap_again_is_superseded_by_itself(self, host: ContractHost) -> None:
        """A repeated swap is applied once; the second answer shows the swap's own value."""
        store, one, two = host.open_store(), state("one"), state("two")
        applied(store, [create("a", one)], one)
        edits = [update("a", one, two)]
        assert store.swap(edits, two) == Applied()
        assert host.open_store().swap(edits, two) == Superseded({lock("a"): two[0].oid})

    def test_a_listing_holds_its_prefixes_only(self, host: ContractHost) -> None:
        """A listing holds every ref under a prefix, exact names included, and no other."""
        store, one = host.open_store(), state("one")
        names = ["a", "ab", "b", "c/d", "c/e", "z"]
        applied(store, [create(name, one) for name in names], one)
        listed = store.snapshot(["refs/locks/a", "refs/locks/c/"]).refs
        assert set(listed) == {lock("a"), lock("ab"), lock("c/d"), lock("c/e")}
        assert store.snapshot([]).refs == {}
        assert store.snapshot(["refs/nothing/"]).refs == {}

    def test_a_listing_shows_what_other_stores_did(self, host: ContractHost) -> None:
        """A store that has listed before sees a change that another store has made since."""
        reader, writer, one, two = host.open_store(), host.open_store(), state("one"), state("two")
        assert present(reader) == {}
        applied(writer, [create("a", one)], one)
        assert present(reader) == {lock("a"): one[0].oid}
        applied(writer, [update("a", one, two)], two)
        assert present(reader) == {lock("a"): two[0].oid}
        applied(writer, [delete("a", two)], [])
        assert present(reader) == {}

    def test_several_states_are_read_in_one_request(self, host: ContractHost) -> None:
        """One request brings commits with message, parents and root files, whoever wrote them."""
        store, one, two = host.open_store(), state("one"), state("two")
        child = state("child", parents=[one[0].oid])
        applied(store, [create("a", one), create("b", two), create("c", child)], [*one, *two, *child])
        other = host.open_store()
        other.snapshot(["refs/locks/"])
        before = other.traffic.requests
        found = other.read([one[0].oid, two[0].oid, child[0].oid])
        assert other.traffic.requests == before + 1
        assert {commit.message for commit in found.values()} == {"one\n", "two\n", "child\n"}
        assert found[child[0].oid].parents == (one[0].oid,)
        assert dict(found[two[0].oid].files) == {"lock.json": b"two", "history.jsonl": b"line\n"}
        assert found[two[0].oid].oversized == frozenset()

    def test_reading_nothing_asks_nothing(self, host: ContractHost) -> None:
        """Reading no commits costs no request."""
        store = host.open_store()
        assert store.read([]) == {}
        assert store.traffic.requests == 0

    def test_an_oversized_file_is_flagged(self, host: ContractHost) -> None:
        """A file over the limit is not kept but named; the rest of the commit is there."""
        store, heavy = host.open_store(), state("heavy", size=5000)
        applied(store, [create("a", heavy)], heavy)
        found = store.read([heavy[0].oid], max_file_bytes=1000)[heavy[0].oid]
        assert found.oversized == {"lock.json"}
        assert dict(found.files) == {"history.jsonl": b"line\n"}
        assert store.read([heavy[0].oid])[heavy[0].oid].oversized == frozenset()

    def test_a_very_heavy_commit_does_not_hide_others(self, host: ContractHost) -> None:
        """Someone's commit with megabytes in its tree does not keep the other states from being read."""
        store, heavy, light = host.open_store(), state("heavy", size=4 << 20), state("light")
        applied(store, [create("a", heavy), create("b", light)], [*heavy, *light])
        found = host.open_store().read([heavy[0].oid, light[0].oid])
        assert dict(found[light[0].oid].files)["lock.json"] == b"light"
        assert heavy[0].oid not in found or found[heavy[0].oid].oversized == {"lock.json"}

    def test_an_object_that_is_no_commit_is_left_out(self, host: ContractHost) -> None:
        """A lock ref that someone pointed at a blob does not keep other states from being read."""
        store, one = host.open_store(), state("one")
        blob = GitObject(ObjectKind.BLOB, b"not a commit")
        edits = [create("a", one), RefEdit(lock("b"), Absent(), blob.oid, Role.LOCK)]
        applied(store, edits, [*one, blob])
        assert set(host.open_store().read([one[0].oid, blob.oid])) == {one[0].oid}

    def test_an_object_that_is_gone_is_an_error_of_its_own(self, host: ContractHost) -> None:
        """Reading a state that was replaced and collected meanwhile says so, and that listing again helps."""
        store, one, two = host.open_store(), state("one"), state("two")
        applied(store, [create("a", one), create("b", two)], [*one, *two])
        host.delete_ref(lock("a"))
        host.collect_garbage()
        error: ObjectsGoneError | None = None
        try:
            host.open_store().read([one[0].oid, two[0].oid])
        except ObjectsGoneError as raised:
            error = raised
        assert error is not None
        assert error.transient
        assert set(host.open_store().read([two[0].oid])) == {two[0].oid}

    def test_a_fetch_brings_what_is_not_there_yet(self, host: ContractHost) -> None:
        """A fetch with haves brings the new objects only, and everything that they need."""
        store, base = host.open_store(), state("base", size=20_000)
        tip = state("tip", parents=[base[0].oid])
        applied(store, [create("a", base)], base)
        sink = MemorySink()
        reader = host.open_store()
        reader.fetch(FetchRequest((base[0].oid,)), sink)
        assert {item.oid for item in base} <= set(sink.objects)
        applied(store, [update("a", base, tip)], tip)
        before, cost = set(sink.objects), reader.traffic.bytes_received
        result = reader.fetch(FetchRequest((tip[0].oid,), haves=(base[0].oid,)), sink)
        assert {item.oid for item in tip} <= set(sink.objects)
        assert result.new_shallow == result.new_unshallow == ()
        assert set(sink.objects) - before <= {item.oid for item in tip}
        assert reader.traffic.bytes_received - cost < 15_000

    def test_a_shallow_fetch_tells_its_boundary(self, host: ContractHost) -> None:
        """A fetch with a depth stops there and names the boundary; a deeper one moves it."""
        store, old = host.open_store(), state("old")
        mid = state("mid", parents=[old[0].oid])
        tip = state("tip", parents=[mid[0].oid])
        applied(store, [create("a", tip)], [*old, *mid, *tip])
        sink, reader = MemorySink(), host.open_store()
        first = reader.fetch(FetchRequest((tip[0].oid,), depth=1), sink)
        assert (first.new_shallow, first.new_unshallow) == ((tip[0].oid,), ())
        assert sink.has(tip[0].oid)
        assert not sink.has(mid[0].oid)
        deeper = FetchRequest((tip[0].oid,), haves=(tip[0].oid,), depth=2, shallow=(tip[0].oid,))
        second = reader.fetch(deeper, sink)
        assert (second.new_shallow, second.new_unshallow) == ((mid[0].oid,), (tip[0].oid,))
        assert sink.has(mid[0].oid)
        assert not sink.has(old[0].oid)

    def test_a_probe_tells_atomic_and_agent(self, host: ContractHost) -> None:
        """A probe says whether swaps of several refs are possible and what the server calls itself."""
        found = host.open_store().probe()
        assert found.atomic
        assert found.agent.startswith(host.agent)

    def test_the_server_tells_its_time_where_it_can(self, host: ContractHost) -> None:
        """A server-clocked store dates each listing between its sending and its arrival; any other never does."""
        store = host.open_store()
        date = store.snapshot(["refs/locks/"]).server_date
        assert (date is not None) == store.is_server_clocked
        if date is not None:
            assert date.sent_s <= date.received_s
            assert date.date_s > 0

    def test_traffic_is_counted(self, host: ContractHost) -> None:
        """Each verb is one request, counted by kind, and only swaps are writes."""
        store, one = host.open_store(), state("one")
        applied(store, [create("a", one)], one)
        store.close()
        before = store.traffic.requests
        store.snapshot(["refs/locks/"])
        store.read([one[0].oid])
        assert store.traffic.requests == before + 2
        assert store.traffic.writes == store.traffic.by_kind["swap"] == 1
        assert store.traffic.reads == store.traffic.requests - 1

    def test_a_race_has_one_winner(self, host: ContractHost) -> None:
        """Of many creates at once exactly one is applied; every other one sees that winner."""
        states = [state(f"racer {index}") for index in range(host.racers)]
        outcomes = race_of(host, lambda index: ([create("raced", states[index])], states[index]))
        winner = only_winner(outcomes)
        assert present(host.open_store()) == {lock("raced"): states[winner][0].oid}
        losers = [outcome for index, outcome in enumerate(outcomes) if index != winner]
        assert losers == [Superseded({lock("raced"): states[winner][0].oid})] * (host.racers - 1)

    def test_a_race_over_two_refs_has_one_winner(self, host: ContractHost) -> None:
        """Of many swaps of two refs at once exactly one is applied, and both refs are its."""
        store, start = host.open_store(), state("start")
        applied(store, [create("a", start), create("b", start)], start)
        states = [state(f"racer {index}") for index in range(host.racers)]

        def swap_of(index: int) -> tuple[list[RefEdit], Sequence[GitObject]]:
            return [update("a", start, states[index]), update("b", start, states[index])], states[index]

        outcomes = race_of(host, swap_of)
        won = states[only_winner(outcomes)][0].oid
        assert present(store) == {lock("a"): won, lock("b"): won}
        assert all(isinstance(outcome, Applied | Superseded) for outcome in outcomes), outcomes
