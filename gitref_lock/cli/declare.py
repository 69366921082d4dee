"""Options and arguments declared as data, so that the parser of options need not be imported to know them.

typer parses, completes and explains them all; ``quick`` reads the plain cases of a command that does its work.
"""

from __future__ import annotations

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
