"""``json``: documents merge by key. Disjoint edits are both kept; the file keeps its layout.

The text of theirs is the ground; only what ours adds, changes or removes is written into it. The result is read back
before it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from gitref_lock.landing.strategies.base import Merged, StrategyFailed, settled
from gitref_lock.landing.strategies.json_text import (
    MAX_GAP,
    Document,
    children_of,
    is_multiplied,
    span_of,
    start_of,
    write_anew,
    write_key,
)
from gitref_lock.landing.strategies.structure import (
    Keep,
    ListPlan,
    MapPlan,
    Options,
    Plan,
    Put,
    StructureMerge,
    Take,
    note_lost_layout,
)
from gitref_lock.landing.strategies.text import clean_lines
from gitref_lock.landing.strategies.values import CannotMergeError, Kind, Node, Values


@dataclass(frozen=True, slots=True)
class Json:
    """Three-way merge by key (docs/merge.md)."""

    options: Options = field(default_factory=Options)
    name: str = "json"
    is_declarative: bool = True

    def merge(
        self,
        path: bytes,  # noqa: ARG002 (the interface)
        base: bytes | None,
        ours: bytes | None,
        theirs: bytes | None,
    ) -> Merged | StrategyFailed:
        """Merge the documents; invalid JSON, a key that stands twice, or a deleted file fails."""
        if (answer := settled(base, ours, theirs)) is not None:
            return answer
        if ours is None or theirs is None:
            return StrategyFailed("deleted on one side, changed on the other")
        try:
            return _merge(base, ours, theirs, self.options)
        except CannotMergeError as error:
            return StrategyFailed(str(error))


def from_options(options: str) -> Json:
    """Return the strategy for ``arrays=...,numbers=...``."""
    return Json(Options.parse("json", options))


def _merge(base: bytes | None, ours: bytes, theirs: bytes, options: Options) -> Merged:
    """Merge three documents and check the result."""
    values = Values()
    our_document, their_document = Document(ours, values), Document(theirs, values)
    base_root = None if base is None else Document(base, values).root
    merge = StructureMerge(values, options)
    plan = merge.merge(base_root, our_document.root, their_document.root)
    if not plan_is_container(plan) and merge.lost:
        raise CannotMergeError("the documents have nothing in common that could be merged by key")
    lines = clean_lines(base, ours, theirs)
    if lines is not None and _value_id(lines, values) == merge.value_id(plan):
        # Lines keep the order and the layout of both sides, too.
        return Merged(lines, is_complete=not merge.lost, detail=tuple(merge.lost))
    writer = _Writer(our_document, their_document)
    span = span_of(their_document.root)
    text = their_document.text[: span.start] + writer.write(plan, 0) + their_document.text[span.end :]
    data = ("\ufeff" if their_document.has_bom else "").encode() + text.encode("utf-8")
    if Document(data, values).root.value_id != merge.value_id(plan):
        raise CannotMergeError("the merged text does not read back as what was merged")
    note_lost_layout(merge, base_root, our_document.root, is_theirs=data == theirs)
    return Merged(data, is_complete=not merge.lost, detail=tuple(merge.lost))


def _value_id(data: bytes, values: Values) -> int | None:
    """Return the value of a document, None when it is none."""
    try:
        return Document(data, values).root.value_id
    except CannotMergeError:
        return None


def plan_is_container(plan: Plan) -> bool:
    """Tell whether a plan unites two containers, instead of choosing a side whole."""
    return isinstance(plan, MapPlan | ListPlan)


class _Writer:
    """Writes a plan into the text of theirs."""

    def __init__(self, ours: Document, theirs: Document) -> None:
        self._theirs = theirs
        self._style = theirs.style
        self._is_our_text_fit = ours.style.suits(theirs.style)

    def write(self, plan: Plan, depth: int) -> str:
        """Return the text of a value."""
        if isinstance(plan, Keep):
            return span_of(plan.node).raw
        if isinstance(plan, Take):
            stays = self._is_our_text_fit or is_multiplied(plan.node, self._style, depth)
            return span_of(plan.node).raw if stays else write_anew(plan.node, self._style, depth)
        if isinstance(plan, Put):
            return plan.text
        return self._container(plan, depth)

    def _container(self, plan: MapPlan | ListPlan, depth: int) -> str:
        """Return the text of a map or list, with the spaces that theirs has between its items."""
        theirs = plan.theirs
        old = children_of(theirs)
        places = {id(node): index for index, node in enumerate(old)}
        parts: list[tuple[int, str]] = []
        if isinstance(plan, MapPlan):
            for key, member in plan.members.items():
                present = theirs.members.get(key)
                text = self._key(present if present is not None else plan.ours.members[key], present) + self.write(
                    member, depth + 1
                )
                parts.append((places.get(id(present), -2), text))
        else:
            for item in plan.items:
                node = _their_node(item)
                parts.append((places.get(id(node), -2), self.write(item, depth + 1)))
        brackets = "{}" if theirs.kind is Kind.MAP else "[]"
        return self._join(theirs, old, parts, brackets, depth)

    def _key(self, node: Node, present: Node | None) -> str:
        """Return key and colon of a member, as theirs or ours has them."""
        if present is None and not self._is_our_text_fit:
            return write_key(node, self._style)
        span = span_of(node)
        return span.document.text[span.key_start : span.start]

    def _join(self, theirs: Node, old: list[Node], parts: list[tuple[int, str]], brackets: str, depth: int) -> str:
        """Join the items; neighbours of theirs keep the very spaces between them."""
        if not parts:
            return brackets
        text, span = self._theirs.text, span_of(theirs)
        if old:
            lead = text[span.start + 1 : start_of(old[0])]
            tail = text[span_of(old[-1]).end : span.end - 1]
        else:
            lead, tail = self._style.gap(depth + 1), self._style.gap(depth)
        gaps = [text[span_of(left).end : start_of(right)] for left, right in pairwise(old)]
        fresh = "," + lead if "\n" in lead and len(lead) <= MAX_GAP else self._style.item_separator
        usual = gaps[-1] if gaps and len(gaps[-1]) <= MAX_GAP else fresh
        made = [brackets[0], lead]
        previous = -2
        for count, (place, part) in enumerate(parts):
            if count:
                made.append(gaps[previous] if place >= 1 and place == previous + 1 else usual)
            made.append(part)
            previous = place
        made.extend((tail, brackets[1]))
        return "".join(made)


def _their_node(item: Plan) -> Node | None:
    """Return the item of theirs that a plan keeps or changes."""
    if isinstance(item, Keep):
        return item.node
    return item.theirs if isinstance(item, MapPlan | ListPlan) else None
