"""The cheap dataclasses behave as the standard ones: every case is run with both."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field, fields, replace
from typing import Any, ClassVar

import pytest

from gitref_lock.core import lean

Decorator = Callable[..., Any]
BOTH = pytest.mark.parametrize("made_by", [dataclasses.dataclass, lean.dataclass], ids=["standard", "lean"])


@lean.dataclass(frozen=True, slots=True)
class Sent:
    """Frozen and in slots, at module level so that it can be pickled."""

    number: int
    words: tuple[str, ...] = ("a",)


def frozen(made_by: Decorator, **options: bool) -> Any:
    """Return a frozen class with every kind of field."""

    class Value:
        """Holds values."""

        kind: ClassVar[str] = "value"
        number: int
        secret: str = field(default="s", repr=False)
        items: list[int] = field(default_factory=list)
        note: str = field(default="", compare=False)
        fixed: int = field(init=False, default=4)
        fresh: list[int] = field(init=False, default_factory=list)
        derived: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "derived", self.number * 2)

    return made_by(frozen=True, **options)(Value)


@BOTH
@pytest.mark.parametrize("slots", [False, True])
def test_instances_are_built_compared_shown_and_replaced(made_by: Decorator, slots: bool) -> None:
    """Defaults, factories, fields without init, post-init, equality without uncompared fields, repr, replace."""
    value = frozen(made_by, slots=slots)
    one = value(1)
    assert (one.secret, one.items, one.fixed, one.fresh, one.derived) == ("s", [], 4, [], 2)
    assert one.items is not value(1).items
    assert repr(one).endswith("Value(number=1, items=[], note='', fixed=4, fresh=[], derived=2)")
    assert one == value(1, note="other")
    assert one != value(2)
    assert one != "something else"
    assert replace(one, number=3) == value(3)
    assert value.__match_args__ == ("number", "secret", "items", "note")
    assert next(item.name for item in fields(value)) == "number"
    assert hasattr(value, "__slots__") is slots
    parameters = value.__dataclass_params__
    assert (parameters.init, parameters.repr, parameters.eq, parameters.frozen) == (True, True, True, True)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'number'"):
        value()


@BOTH
@pytest.mark.parametrize("slots", [False, True])
def test_frozen_fields_can_be_neither_set_nor_deleted(made_by: Decorator, slots: bool) -> None:
    """Nor can anything else be set on an instance of exactly this class, where slots do not prevent it already."""
    value = frozen(made_by, slots=slots)
    one = value(1)
    for name in ("number",) if slots else ("number", "unknown"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(one, name, 2)
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(one, name)


@BOTH
def test_a_plain_subclass_has_attributes_of_its_own(made_by: Decorator) -> None:
    """The fields stay frozen in it."""
    child = type("Child", (frozen(made_by),), {})(1)
    child.own = 1
    del child.own
    with pytest.raises(FrozenInstanceError):
        child.number = 2


@BOTH
def test_hashes_follow_equality(made_by: Decorator) -> None:
    """A frozen value is hashed by its compared fields, a mutable one not at all, one without equality by identity."""

    class Plain:
        """One field."""

        number: int

    class Pair:
        """Two fields."""

        number: int
        word: str = ""

    class Empty:
        """None."""

    class Mutable:
        """One field, not frozen."""

        number: int

    class Identity:
        """One field that is not compared."""

        number: int

    for one in (Plain, Pair):
        value = made_by(frozen=True)(one)
        assert hash(value(1)) == hash(value(1))
        assert {value(1), value(1), value(2)} == {value(1), value(2)}
    assert hash(made_by(frozen=True)(Empty)()) == hash(())
    assert made_by(Mutable).__hash__ is None
    mutable = Mutable(1)  # type: ignore[call-arg]  # its constructor was made at run time
    mutable.number = 5
    assert mutable == Mutable(5)  # type: ignore[call-arg]  # as above
    identity = made_by(eq=False)(Identity)
    assert hash(identity(1)) is not None
    assert identity(1) != identity(1)


@BOTH
def test_methods_of_the_class_itself_are_kept(made_by: Decorator) -> None:
    """What a class defines is not replaced."""

    class Own:
        """Has everything already."""

        number: int = 0

        def __init__(self) -> None:
            self.number = 7

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 11

    value = made_by(Own)
    assert (value().number, repr(value()), value() == 3, hash(value())) == (7, "own", True, 11)


@BOTH
def test_a_class_that_inherits_fields_is_made_by_the_standard(made_by: Decorator) -> None:
    """Fields of the base come first; a mutable child of a frozen base is refused."""

    @made_by(frozen=True)
    class Base:
        """One field."""

        first: int

    class Child(Base):
        """One more."""

        second: int = 2

    assert repr(made_by(frozen=True)(Child)(1)).endswith("Child(first=1, second=2)")
    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):
        made_by(type("Mutable", (Base,), {}))


def test_frozen_values_are_copied_and_pickled() -> None:
    """A frozen instance in slots survives copying and pickling as an equal one."""
    value = Sent(1, ("b", "c"))
    copies = [copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))]
    assert copies == [value, value, value]
    assert hash(copies[2]) == hash(value)
