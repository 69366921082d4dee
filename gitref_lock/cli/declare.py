"""Options and arguments declared as data, so that the parser of options need not be imported to know them.

typer parses, completes and explains them all; ``quick`` reads the plain cases of a command that does its work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gitref_lock.core.lean import dataclass

if TYPE_CHECKING:
    from typer.models import ArgumentInfo, OptionInfo


@dataclass(frozen=True, slots=True)
class Declared:
    """One option (it has names) or argument (it has none). The words mean what they mean to ``typer.Option``."""

    names: tuple[str, ...]
    envvar: str | None = None
    metavar: str | None = None
    help: str = ""
    hidden: bool = False
    count: bool = False
    min: int | None = None
    show_default: bool = True

    def to_typer(self) -> OptionInfo | ArgumentInfo:
        """Return the declaration as typer's own."""
        import typer

        words: dict[str, Any] = {"envvar": self.envvar, "metavar": self.metavar, "help": self.help}
        words |= {"hidden": self.hidden, "min": self.min, "show_default": self.show_default}
        info: OptionInfo | ArgumentInfo
        info = typer.Option(*self.names, count=self.count, **words) if self.names else typer.Argument(**words)
        return info


def Option(*names: str, **words: Any) -> Declared:  # noqa: N802, ANN401 - reads as typer's own; checked by Declared
    """Declare an option; flags with an opposite are ``--name/--no-name``."""
    return Declared(names, **words)


def Argument(**words: Any) -> Declared:  # noqa: N802, ANN401 - as above
    """Declare an argument."""
    return Declared((), **words)


_OPPOSITES = (
    ("nonblock", "wait"),
    ("take_all", "paths"),
    ("every", "names"),
    ("local", "names"),
    ("local", "prune"),
    ("local", "older_than"),
    ("quiet", "verbose"),
    ("as_json", "output_format"),
)
"""Parameters of which one undoes the other."""

_NEEDS = (("older_than", "prune"),)
"""Parameters that say nothing without another one."""


def settled(values: dict[str, Any], told: set[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's values with a variable undone by its opposite on the command line, as by its own option.

    ``told`` are the parameters that the command line sets. Opposites that both come from it, or both from variables,
    stay for the command to refuse.
    """
    for pair in _OPPOSITES:
        for strong, weak in (pair, pair[::-1]):
            if strong in told and weak not in told and weak in values:
                values[weak] = defaults[weak]
    for name, needed in _NEEDS:
        if name in values and name not in told and not values[needed]:
            values[name] = defaults[name]
    return values
