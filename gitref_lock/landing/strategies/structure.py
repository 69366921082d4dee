"""The three-way merge of structured values, for every format that has maps, lists, numbers and other scalars.

A key that one side set is never lost. Where both sides set the same key to different values ours wins, and where one
side deleted what the other set the set value stays; both are named by their JSON pointer. The result is a plan that
refers to the values of both sides instead of copying them, so that each format keeps the text of what it leaves alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation

from gitref_lock.landing.merge.lines import combine
from gitref_lock.landing.strategies.base import StrategySpecError, parse_options
from gitref_lock.landing.strategies.ordering import order_of_keys, relative_order
from gitref_lock.landing.strategies.values import Kind, Node, Values

ORDER = "order"
LAYOUT = "order, layout and comments"
"""What stands for a pointer where no value was lost."""

_NUMBERS = ("last", "sum", "max")
_MAX_DIGITS = 2000
_MAX_EXPONENT = 310
"""All that a double can hold. Sums are written out, so that a few characters more would make thousands of digits."""

_CALCULATOR = Context(prec=3 * _MAX_DIGITS, traps=[InvalidOperation, Inexact])
"""Wide enough for any two numbers that _exact lets through; a rounded counter would be a lost update."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The value of theirs stays as it is."""

    node: Node


@dataclass(frozen=True, slots=True)
class Take:
    """The value of ours comes in."""

    node: Node


@dataclass(frozen=True, slots=True)
class Put:
    """A number that neither side has."""

    text: str


@dataclass(frozen=True, slots=True)
class MapPlan:
    """The map of theirs with these members, in this order."""

    theirs: Node
    ours: Node
    members: dict[Hashable, Plan]


@dataclass(frozen=True, slots=True)
class ListPlan:
    """The list of theirs with these items, in this order; items are not shared between places."""

    theirs: Node
    ours: Node
    items: tuple[Plan, ...]


Plan = Keep | Take | Put | MapPlan | ListPlan


@dataclass(frozen=True, slots=True)
class Options:
    """How lists and numbers merge that both sides changed.

    ``arrays``: '' merges by position and lets ours win where that is impossible; ``append`` keeps the items that either
    side added, also equal ones; ``set`` keeps one of each; anything else is the key that identifies the items.
    ``numbers``: ``last`` lets ours win, ``sum`` adds both differences, ``max`` takes the larger.
    """

    arrays: str = ""
    numbers: str = "last"

    @classmethod
    def parse(cls, name: str, text: str) -> Options:
        """Read the options of strategy ``name``; raise StrategySpecError for a malformed one."""
        given = parse_options(name, text, frozenset({"arrays", "numbers"}))
        numbers = given.get("numbers", "last")
        if numbers not in _NUMBERS:
            raise StrategySpecError(f"strategy {name!r}: numbers is one of {', '.join(_NUMBERS)}, not {numbers!r}")
        if "arrays" in given and not given["arrays"]:
            raise StrategySpecError(f"strategy {name!r}: arrays is append, set, or the key that identifies items")
        return cls(given.get("arrays", ""), numbers)


class StructureMerge:
    """One merge of three documents; ``lost`` gathers the pointers of values that both sides set."""

    def __init__(self, values: Values, options: Options) -> None:
        """Compare nodes made by ``values``."""
        self._values = values
        self._options = options
        self.lost: list[str] = []

    def merge(self, base: Node | None, ours: Node, theirs: Node, pointer: str = "") -> Plan:
        """Return what becomes of a value that both sides have; ``base`` None when it is new on both."""
        if (number := self._merge_numbers(base, ours, theirs)) is not None:
            return Put(number)
        if ours.value_id == theirs.value_id or (base is not None and ours.value_id == base.value_id):
            return Keep(theirs)
        if ours.kind is theirs.kind is Kind.MAP:
            # Also where only ours changed it: member by member, the rest of the map keeps its text and comments.
            base_members = base.members if base is not None else {}
            return MapPlan(theirs, ours, self._merge_members(base_members, ours.members, theirs.members, pointer))
        if base is not None and theirs.value_id == base.value_id:
            return Take(ours)
        if ours.kind is theirs.kind is Kind.LIST:
            items = self._merge_items(base.items if base is not None else [], ours.items, theirs.items, pointer)
            if items is not None:
                return ListPlan(theirs, ours, tuple(items))
        self.lost.append(pointer)
        return Take(ours)

    def value_id(self, plan: Plan) -> int:
        """Return the id of the value that ``plan`` describes, to check what a format made of it."""
        if isinstance(plan, MapPlan):
            return self._values.map_id({key: self.value_id(member) for key, member in plan.members.items()})
        if isinstance(plan, ListPlan):
            return self._values.list_id([self.value_id(item) for item in plan.items])
        return self._values.number(plan.text).value_id if isinstance(plan, Put) else plan.node.value_id

    def _merge_numbers(self, base: Node | None, ours: Node, theirs: Node) -> str | None:
        """Return the sum or the maximum where both sides changed a number and the options ask for it."""
        if self._options.numbers == "last" or not ours.kind is theirs.kind is Kind.NUMBER:
            return None
        if base is not None and base.kind is not Kind.NUMBER:
            return None
        if base is not None and base.value_id in (ours.value_id, theirs.value_id):
            return None
        try:
            if self._options.numbers == "max":
                return max(theirs.text, ours.text, key=_exact)
            start = _exact(base.text if base is not None else "0")
            total = _CALCULATOR.add(_exact(ours.text), _CALCULATOR.subtract(_exact(theirs.text), start))
        except DecimalException:
            return None
        return format(total, "f")

    def _merge_members(
        self,
        base: dict[Hashable, Node],
        ours: dict[Hashable, Node],
        theirs: dict[Hashable, Node],
        pointer: str,
        label: str = "",
    ) -> dict[Hashable, Plan]:
        """Merge maps by key; ``label`` comes before the key in pointers of items."""
        merged: dict[Hashable, Plan] = {}
        for key in (*theirs, *(key for key in ours if key not in theirs)):
            place = f"{pointer}/{label}{_escape(key)}"
            old, our, their = base.get(key), ours.get(key), theirs.get(key)
            if our is not None and their is not None:
                is_identity = key == self._options.arrays and our.value_id == their.value_id
                merged[key] = Keep(their) if is_identity else self.merge(old, our, their, place)
            elif their is not None:
                if old is not None and old.value_id == their.value_id:
                    continue
                merged[key] = Keep(their)
                if old is not None:
                    self.lost.append(place)
            elif our is not None:
                if old is not None and old.value_id == our.value_id:
                    continue
                merged[key] = Take(our)
                if old is not None:
                    self.lost.append(place)
        return {key: merged[key] for key in order_of_keys(list(ours), list(theirs), merged)}

    def _note_order(
        self, pointer: str, base: Sequence[Hashable], ours: Sequence[Hashable], theirs: Sequence[Hashable]
    ) -> None:
        """Name a list whose items we put into another order: these lists are merged in the order of theirs."""
        is_ours_new = relative_order(ours, base) != relative_order(base, ours)
        if is_ours_new and relative_order(ours, theirs) != relative_order(theirs, ours):
            self.lost.append(f"{pointer}: {ORDER}")

    def _merge_items(self, base: list[Node], ours: list[Node], theirs: list[Node], pointer: str) -> list[Plan] | None:
        """Merge lists as the options say, or return None when it cannot be done."""
        mode = self._options.arrays
        if mode in ("append", "set"):
            self._note_order(pointer, *([node.value_id for node in items] for items in (base, ours, theirs)))
            return _merge_bags(base, ours, theirs, is_set=mode == "set")
        if mode:
            keyed = [_by_identity(items, mode) for items in (base, ours, theirs)]
            if keyed[0] is not None and keyed[1] is not None and keyed[2] is not None:
                self._note_order(pointer, list(keyed[0]), list(keyed[1]), list(keyed[2]))
                merged = self._merge_members(keyed[0], keyed[1], keyed[2], pointer, f"{mode}=")
                return list(merged.values())
        return _merge_sequences(base, ours, theirs)


def note_lost_layout(merge: StructureMerge, base: Node | None, ours: Node, *, is_theirs: bool) -> None:
    """Name what is lost when the result is theirs to the letter although ours had changed order, layout or comments."""
    if is_theirs and base is not None and ours.value_id == base.value_id:
        merge.lost.append(LAYOUT)


def _merge_bags(base: list[Node], ours: list[Node], theirs: list[Node], *, is_set: bool) -> list[Plan]:
    """Return theirs without what we removed, then what we added."""
    base_count, our_count, their_count = (Counter(node.value_id for node in items) for items in (base, ours, theirs))
    # What both sides removed is gone already; of a set, an item is removed when none like it is left.
    removed = (base_count - our_count) - (base_count - their_count)
    added = our_count - base_count
    if is_set:
        removed = Counter({value: their_count[value] for value in removed if not our_count[value]})
    merged: list[Plan] = []
    seen: set[int] = set()
    for node in theirs:
        if removed[node.value_id] > 0:
            removed[node.value_id] -= 1
        elif not (is_set and node.value_id in seen):
            seen.add(node.value_id)
            merged.append(Keep(node))
    # What we added are the last ones of their value: the earlier ones were there before.
    fresh: list[Node] = []
    for node in reversed(ours):
        if added[node.value_id] > 0:
            added[node.value_id] -= 1
            fresh.append(node)
    for node in reversed(fresh):
        if not (is_set and node.value_id in seen):
            seen.add(node.value_id)
            merged.append(Take(node))
    return merged


def _merge_sequences(base: list[Node], ours: list[Node], theirs: list[Node]) -> list[Plan] | None:
    """Merge lists by position, as lines of a text; what both sides inserted at one place is kept, theirs first."""
    ids = [[node.value_id for node in items] for items in (base, ours, theirs)]
    merged: list[Plan] = []
    # Items that both sides have are kept as theirs, so that their text stays: both indexes advance together.
    our_at = their_at = 0
    for change in combine(ids[0], ids[1], ids[2]):
        common = _common_items(ours, theirs, our_at, their_at, change.ours_from, change.theirs_from)
        if common is None:
            return None
        merged.extend(common)
        our_part = ours[change.ours_from : change.ours_to]
        their_part = theirs[change.theirs_from : change.theirs_to]
        our_at, their_at = change.ours_to, change.theirs_to
        if change.side == 0 and change.base_from != change.base_to:
            return None
        if change.side in (0, 2):
            merged.extend(Keep(node) for node in their_part)
        if change.side in (0, 1):
            merged.extend(Take(node) for node in our_part)
    rest = _common_items(ours, theirs, our_at, their_at, len(ours), len(theirs))
    return None if rest is None else [*merged, *rest]


def _common_items(
    ours: list[Node], theirs: list[Node], our_from: int, their_from: int, our_to: int, their_to: int
) -> list[Plan] | None:
    """Return the stretch between two changes, which is equal on both sides."""
    our_part, their_part = ours[our_from:our_to], theirs[their_from:their_to]
    if [node.value_id for node in our_part] != [node.value_id for node in their_part]:
        return None
    return [Keep(node) for node in their_part]


def _by_identity(items: list[Node], key: str) -> dict[Hashable, Node] | None:
    """Return the items by the value of their ``key``, or None unless every item is a map with a unique one."""
    found: dict[Hashable, Node] = {}
    for node in items:
        member = node.members.get(key) if node.kind is Kind.MAP else None
        if member is None or member.kind not in (Kind.SCALAR, Kind.NUMBER):
            return None
        found[_Identity(member.value_id, member.text)] = node
    return found if len(found) == len(items) else None


@dataclass(frozen=True, slots=True)
class _Identity:
    """The value that identifies an item; ``shown`` is for pointers only."""

    value_id: int
    shown: str = field(compare=False)

    def __str__(self) -> str:
        return self.shown


def _exact(text: str) -> Decimal:
    """Read a number without rounding; a number of absurd length or size is refused."""
    number = Decimal(text)
    if not number.is_finite() or len(text) > _MAX_DIGITS or abs(number.adjusted()) > _MAX_EXPONENT + len(text):
        raise InvalidOperation
    return number


def _escape(key: Hashable) -> str:
    """Return a key as a part of a JSON pointer (RFC 6901)."""
    return str(key).replace("~", "~0").replace("/", "~1")
