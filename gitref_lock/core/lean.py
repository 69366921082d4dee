"""Dataclasses that cost a third at import: a short command defines a hundred classes and uses few of their methods.

The standard decorator compiles up to six methods a class out of text, which is a large part of a cold command's time
(docs/performance.md). Here the standard decorator collects the fields, ``__init__`` alone is compiled, and the other
methods are closures over the fields' names. They behave as the standard ones do; to type checkers this *is* the
standard decorator.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, fields
from dataclasses import dataclass as _standard
from operator import attrgetter
from typing import TYPE_CHECKING, Any

_Fields = tuple[Field[Any], ...]

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - re-exported under its own name
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):  # noqa: ANN001, ANN201 - typed above
        """Make ``cls`` a dataclass; the options mean what they mean in the standard library."""
        if cls is None:
            return lambda cls: _made(cls, frozen=frozen, slots=slots, eq=eq)
        return _made(cls, frozen=frozen, slots=slots, eq=eq)


def _made(cls: Any, *, frozen: bool, slots: bool, eq: bool) -> Any:  # noqa: ANN401 - a class and its like
    if any(hasattr(base, "__dataclass_fields__") for base in cls.__mro__[1:]):
        return _standard(frozen=frozen, slots=slots, eq=eq)(cls)  # rare, and its rules about bases are many
    own = frozenset(vars(cls))
    made: Any = _standard(init=False, repr=False, eq=False, slots=slots)(cls)
    items: _Fields = fields(made)
    methods: dict[str, Any] = {"__repr__": _repr([item.name for item in items if item.repr])}
    if "__init__" not in own:
        methods["__init__"] = _init(made, items, frozen=frozen)
    if eq:
        values = _values([item.name for item in items if item.compare])
        methods["__eq__"] = _eq(values)
        if "__hash__" not in own:
            methods["__hash__"] = _hash(values) if frozen else None
    if frozen:
        methods |= _frozen(made, frozenset(item.name for item in items))
        if slots:
            methods |= _copied([item.name for item in items])
    for name, method in methods.items():
        if name not in own:
            if method is not None:
                method.__qualname__ = f"{cls.__qualname__}.{name}"
            setattr(made, name, method)
    told = made.__dataclass_params__
    told.init = told.repr = True
    told.eq, told.frozen = eq, frozen
    return made


def _init(cls: type, items: _Fields, *, frozen: bool) -> Callable[..., None]:
    """Compile ``__init__`` as the standard decorator would: it is called too often for anything slower."""
    given: list[str] = []
    lines: list[str] = []
    names: dict[str, object] = {"_set": object.__setattr__, "_missing": MISSING}
    for item in items:
        value = item.name
        if item.default is not MISSING:
            names[f"_default_{item.name}"] = item.default
            given.append(f"{item.name}=_default_{item.name}")
            value = value if item.init else f"_default_{item.name}"
        elif item.default_factory is not MISSING:
            names[f"_make_{item.name}"] = item.default_factory
            given.append(f"{item.name}=_missing")
            fresh = f"_make_{item.name}()"
            value = f"{fresh} if {item.name} is _missing else {item.name}" if item.init else fresh
        else:
            given.append(item.name)
            value = value if item.init else ""
        if not item.init:
            given.pop()
        if value:
            lines.append(f"_set(self, {item.name!r}, {value})" if frozen else f"self.{item.name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__(self, {', '.join(given)}):\n {body}", names)  # noqa: S102 - a text made of field names only
    init: Any = names["__init__"]
    init.__annotations__ = {item.name: item.type for item in items if item.init} | {"return": None}
    return init  # type: ignore[no-any-return]  # the function just compiled


def _repr(names: list[str]) -> Callable[[object], str]:
    def __repr__(self: object) -> str:  # noqa: N807 - becomes a method
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({values})"

    return __repr__


def _values(names: list[str]) -> Callable[[object], object]:
    """Return what makes the comparable values of an instance one tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda self: (getattr(self, names[0]),)) if names else lambda _: ()


def _eq(values: Callable[[object], object]) -> Callable[[object, object], bool]:
    def __eq__(self: object, other: object) -> bool:  # noqa: N807 - becomes a method
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(values: Callable[[object], object]) -> Callable[[object], int]:
    def __hash__(self: object) -> int:  # noqa: N807 - becomes a method
        return hash(values(self))

    return __hash__


def _frozen(cls: Any, names: frozenset[str]) -> dict[str, Callable[..., None]]:  # noqa: ANN401 - super() takes no variable type
    """Return the methods that refuse to change fields, and anything of exactly this class."""

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807 - becomes a method
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807 - becomes a method
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


def _copied(names: list[str]) -> dict[str, Callable[..., Any]]:
    """Return the methods with which a frozen instance in slots is copied and pickled."""

    def __getstate__(self: object) -> list[Any]:  # noqa: N807 - becomes a method
        return [getattr(self, name) for name in names]

    def __setstate__(self: object, state: list[Any]) -> None:  # noqa: N807 - becomes a method
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return {"__getstate__": __getstate__, "__setstate__": __setstate__}
