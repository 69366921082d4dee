"""Carrying a merge plan out on a document that its library keeps alive with comments and layout (YAML, TOML).

The library's object of theirs is edited in place; values of ours are put into it. What each library does differently is
in its own strategy file. The written result is read back and must hold exactly the planned values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping, MutableSequence
from dataclasses import dataclass

from gitref_lock.landing.strategies.base import Merged, StrategyFailed, settled
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
from gitref_lock.landing.strategies.values import CannotMergeError, Node, Values


@dataclass(frozen=True, slots=True)
class Format:
    """What a library can do.

    ``read`` parses a document into nodes whose ``origin`` is the library's object. ``number`` makes the library's
    number of its text. ``insert`` puts a new member into a map at an index. ``write`` returns the text of the edited
    document of theirs, given the bytes it was read from. Each raises CannotMergeError, or
    one of ``errors``, which are the library's own.
    """

    read: Callable[[bytes, Values], Node]
    number: Callable[[str], object]
    insert: Callable[[MutableMapping[Hashable, object], int, Hashable, object], None]
    write: Callable[[object, bytes], bytes]
    errors: tuple[type[Exception], ...]


_LIBRARY_BREAKS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, AssertionError)
"""What a library lets out for a document that its authors did not think of."""


def merge_documents(
    form: Format, options: Options, base: bytes | None, ours: bytes | None, theirs: bytes | None
) -> Merged | StrategyFailed:
    """Merge three documents by key."""
    if (answer := settled(base, ours, theirs)) is not None:
        return answer
    if ours is None or theirs is None:
        return StrategyFailed("deleted on one side, changed on the other")
    errors: tuple[type[Exception], ...] = (*form.errors, *_LIBRARY_BREAKS)
    try:
        return _merge(form, options, base, ours, theirs)
    except CannotMergeError as error:
        return StrategyFailed(str(error))
    except errors as error:
        return StrategyFailed(f"the library for this format cannot merge it ({type(error).__name__})")


def _merge(form: Format, options: Options, base: bytes | None, ours: bytes, theirs: bytes) -> Merged:
    values = Values()
    our_root, their_root = form.read(ours, values), form.read(theirs, values)
    merge = StructureMerge(values, options)
    base_root = None if base is None else form.read(base, values)
    plan = merge.merge(base_root, our_root, their_root)
    planned = merge.value_id(plan)
    lines = clean_lines(base, ours, theirs)
    if lines is not None and _value_id(form, lines, values) == planned:
        # Lines keep the comments, the order and the layout of both sides, too.
        return Merged(lines, is_complete=not merge.lost, detail=tuple(merge.lost))
    if isinstance(plan, Keep):
        note_lost_layout(merge, base_root, our_root, is_theirs=True)
        return Merged(theirs, is_complete=not merge.lost, detail=tuple(merge.lost))
    if not isinstance(plan, MapPlan | ListPlan):
        raise CannotMergeError("the documents have nothing in common that could be merged by key")
    _carry_out(form, plan)
    data = form.write(their_root.origin, theirs)
    if form.read(data, values).value_id != planned:
        raise CannotMergeError("the merged text does not read back as what was merged")
    note_lost_layout(merge, base_root, our_root, is_theirs=data == theirs)
    return Merged(data, is_complete=not merge.lost, detail=tuple(merge.lost))


def _value_id(form: Format, data: bytes, values: Values) -> int | None:
    """Return the value of a document, None when it is none."""
    errors: tuple[type[Exception], ...] = (CannotMergeError, *form.errors, *_LIBRARY_BREAKS)
    try:
        return form.read(data, values).value_id
    except errors:
        return None


def _carry_out(form: Format, plan: MapPlan | ListPlan) -> None:
    """Edit the container of theirs so that it is what ``plan`` says."""
    if isinstance(plan, MapPlan):
        assert isinstance(plan.theirs.origin, MutableMapping)
        _edit_map(form, plan, plan.theirs.origin)
    else:
        assert isinstance(plan.theirs.origin, MutableSequence)
        _edit_list(form, plan, plan.theirs.origin)


def _edit_map(form: Format, plan: MapPlan, container: MutableMapping[Hashable, object]) -> None:
    for key in [key for key in plan.theirs.members if key not in plan.members]:
        del container[key]
    for index, (key, member) in enumerate(plan.members.items()):
        if isinstance(member, MapPlan | ListPlan):
            _carry_out(form, member)
        elif not isinstance(member, Keep):
            if key in container:
                container[key] = _new_value(form, member)
            else:
                form.insert(container, index, key, _new_value(form, member))


def _edit_list(form: Format, plan: ListPlan, container: MutableSequence[object]) -> None:
    """Delete and insert one by one, so that the library moves the comments along; kept items stay in their order."""
    staying = {id(_kept(item)) for item in plan.items}
    for place, node in reversed(list(enumerate(plan.theirs.items))):
        if id(node) not in staying:
            del container[place]
    for index, item in enumerate(plan.items):
        if isinstance(item, MapPlan | ListPlan):
            _carry_out(form, item)
        elif not isinstance(item, Keep):
            container.insert(index, _new_value(form, item))


def _kept(item: Plan) -> Node | None:
    """Return the item of theirs that a plan keeps or edits."""
    if isinstance(item, Keep):
        return item.node
    return item.theirs if isinstance(item, MapPlan | ListPlan) else None


def _new_value(form: Format, plan: Take | Put) -> object:
    return form.number(plan.text) if isinstance(plan, Put) else plan.node.origin
