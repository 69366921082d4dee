"""Values of structured documents, alike for every format, so that one merge serves all of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum


class CannotMergeError(Exception):
    """A document cannot be read, or its merge cannot be written; the text says why."""


class Kind(Enum):
    """What a value is."""

    MAP = "map"
    LIST = "list"
    NUMBER = "number"
    SCALAR = "scalar"


@dataclass(eq=False, slots=True)
class Node:
    """One value of a document. Nodes of equal value, made by one Values, have the same ``value_id``.

    ``text`` is a number as written, or a scalar as people read it. ``origin`` is whatever the format needs to find the
    value again.
    """

    kind: Kind
    value_id: int
    members: dict[Hashable, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    text: str = ""
    origin: object = None


class Values:
    """Makes the nodes of one merge, giving equal values equal ids, whatever the order of their keys."""

    def __init__(self) -> None:
        """Begin with no values known."""
        self._ids: dict[Hashable, int] = {}

    def scalar(self, value: Hashable, origin: object = None) -> Node:
        """Return a node for text, truth values, null, and anything else that is only ever compared."""
        key = ("scalar", type(value).__name__, value)
        return Node(Kind.SCALAR, self._id(key), text=str(value), origin=origin)

    def number(self, text: str, origin: object = None) -> Node:
        """Return a node for a number, compared as it is written."""
        return Node(Kind.NUMBER, self._id(("number", text)), text=text, origin=origin)

    def map(self, members: dict[Hashable, Node], origin: object = None) -> Node:
        """Return a node for a map."""
        return Node(
            Kind.MAP, self.map_id({key: node.value_id for key, node in members.items()}), members, origin=origin
        )

    def list(self, items: list[Node], origin: object = None) -> Node:
        """Return a node for a list."""
        return Node(Kind.LIST, self.list_id([node.value_id for node in items]), items=items, origin=origin)

    def map_id(self, members: dict[Hashable, int]) -> int:
        """Return the id of a map whose members have these ids."""
        return self._id(("map", frozenset(members.items())))

    def list_id(self, items: Sequence[int]) -> int:
        """Return the id of a list whose items have these ids."""
        return self._id(("list", tuple(items)))

    def _id(self, key: Hashable) -> int:
        return self._ids.setdefault(key, len(self._ids))
