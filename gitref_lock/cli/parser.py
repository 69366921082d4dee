"""The parser of options: what typer makes of the commands' declarations, for everything that ``quick`` leaves to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated, Any, get_args, get_type_hints

import typer
import typer.main

from gitref_lock.cli.command import perform, shared
from gitref_lock.cli.declare import settled

Body = Callable[..., None]

_WITHOUT_USE = {"hook": frozenset({"remote", "as_json", "timeout", "quiet"})}
"""Shared options that mean nothing to a command: still taken, but not in its help."""


def build(program: str, bodies: Iterable[tuple[str, Body, bool]]) -> typer.Typer:
    """Return the application with these commands: name, body, and whether it is hidden."""
    app = typer.Typer(
        name=program,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        help="Locks and fenced pushes for CI runners, through the git remote they already share.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_top)
    for name, body, is_hidden in bodies:
        app.command(name, hidden=is_hidden)(command(body))
    return app


def help_of(app: typer.Typer, program: str) -> str:
    """Return the help of the whole program."""
    group = typer.main.get_command(app)
    with group.make_context(program, ["--help"], resilient_parsing=True) as ctx:
        return group.get_help(ctx)


def _show_version(ctx: typer.Context, is_wanted: bool) -> None:
    if is_wanted:
        from gitref_lock import __version__

        ctx.obj.out.data(f"gitref-lock {__version__}")
        raise typer.Exit


def _top(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_show_version, help="Show the version."),
) -> None:
    """Locks and fenced pushes for CI runners, through the git remote they already share."""


def command(body: Body) -> Body:
    """Return ``body`` (a function of a Run and its own options) as a command that also takes the shared options."""

    defaults: dict[str, Any] = {}

    def wrapper(ctx: typer.Context, **values: Any) -> None:  # noqa: ANN401 - one value of any option's type each
        sources = {name: ctx.get_parameter_source(name) for name in values}
        told = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
        perform(ctx.obj, body, settled(values, told, defaults))

    hints = {"ctx": typer.Context, **_hints(body), **_hints(shared, _WITHOUT_USE.get(body.__name__, frozenset()))}
    parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    for function in (body, shared):
        for name, parameter in inspect.signature(function).parameters.items():
            if name != "run":
                defaults[name] = parameter.default
                kind = inspect.Parameter.KEYWORD_ONLY
                parameters.append(parameter.replace(kind=kind, annotation=hints[name]))
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    wrapper.__annotations__ = hints
    wrapper.__name__, wrapper.__doc__ = body.__name__, body.__doc__
    return wrapper


def _hints(function: Body, hidden: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the parameters' types with their declarations as typer's own; ``hidden`` ones are not in the help."""
    found = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        if name not in {"run", "return"}:
            annotated, declared = get_args(hint)[:2]
            shown = replace(declared, hidden=True) if name in hidden else declared
            found[name] = Annotated[annotated, shown.to_typer()]
    return found
