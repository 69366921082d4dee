"""From a rule's words to a strategy: ``json``, ``json:arrays=id``, ``driver:NAME``, or a name that a package provides.

Strategies load on first use: a push without conflicts imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from gitref_lock.landing.strategies.base import Runner, Strategy, StrategySpecError, refuse_options

ENTRY_POINTS = "gitref_lock.strategies"
"""The entry point group of other packages' strategies: each loads to a callable from option text to a Strategy."""

_PLAIN = {"text": "Text", "ours": "Ours", "theirs": "Theirs", "union": "Union", "fail": "Fail"}
_WITH_OPTIONS = {"json": "json_keys", "lines": "records", "yaml": "yaml_keys", "toml": "toml_keys"}
_LOCAL = ("regenerate", "driver")
BUILT_IN = (*_PLAIN, *_WITH_OPTIONS, *_LOCAL)
"""The names that every gitref-lock knows."""


def strategy_for(spec: str, runner: Runner | None = None) -> Strategy:
    """Return the strategy that ``spec`` (``NAME`` or ``NAME:OPTIONS``) asks for.

    ``runner`` runs local commands for ``regenerate`` and ``driver``; without one these fail when they are used.
    Raises StrategySpecError for an unknown name, a bad option, or a strategy whose library is not installed.
    """
    name, _, options = spec.partition(":")
    if name in _PLAIN:
        refuse_options(name, options)
        plain: Callable[[], Strategy] = getattr(_module(name), _PLAIN[name])
        return plain()
    if name in _WITH_OPTIONS:
        configured: Callable[[str], Strategy] = _module(_WITH_OPTIONS[name]).from_options
        return configured(options)
    if name in _LOCAL:
        local: Callable[[str, str, Runner | None], Strategy] = _module("commands").from_command
        return local(name, options, runner)
    return _provided(name, options)


def _module(name: str) -> ModuleType:
    """Import one strategy file."""
    return import_module(f"gitref_lock.landing.strategies.{name}")


def _provided(name: str, options: str) -> Strategy:
    """Load another package's strategy."""
    from importlib.metadata import entry_points  # late: it brings readers of mail, archives and tables with it

    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        known = ", ".join((*BUILT_IN, *sorted(found)))
        raise StrategySpecError(f"unknown strategy {name!r} (known: {known})")
    factory: Callable[[str], Strategy] = found[name].load()
    return factory(options)
