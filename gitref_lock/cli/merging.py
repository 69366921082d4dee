"""What the settings file says of merging, checked where it is used: ``push`` and ``doctor`` load the strategies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from gitref_lock.errors import ConfigurationError

if TYPE_CHECKING:
    from gitref_lock.config import Settings


def check_merging(settings: Settings) -> None:
    """Raise ConfigurationError that names file and key for a rule or a trailer that no push could use."""
    if not settings.strategies and not settings.combined_trailer:
        return
    from gitref_lock.landing.merge.policy import Policy, parse_rules

    for glob, name in settings.strategies:
        text = f"{glob}={name}"
        _check(settings, f"strategies.{glob}", partial(parse_rules, (text,)))
    trailer = settings.combined_trailer
    if trailer:
        _check(settings, "combined-trailer", partial(Policy, (), trailer))


def _check(settings: Settings, key: str, read: Callable[[], object]) -> None:
    from gitref_lock.config import FILE, TABLE
    from gitref_lock.landing.merge.policy import PolicyError

    source = settings.source
    where = key if source is None or source.name == FILE else f"tool.{TABLE}.{key}"
    try:
        read()
    except PolicyError as error:
        raise ConfigurationError(
            f"{source}: {where}: {error.__cause__ or error}",
            code="bad-config",
            hint="correct the file; 'gitref-lock init' writes a commented example",
            fields={"file": str(source), "key": where},
        ) from None
