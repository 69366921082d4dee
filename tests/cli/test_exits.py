"""Every error has its exit code: a new error class without one fails here, not in somebody's pipeline."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import signal
from collections.abc import Iterator

import pytest

import gitref_lock
from gitref_lock.cli import exits
from gitref_lock.cli.app import translated
from gitref_lock.cli.command import Run
from gitref_lock.core.names import InvalidNameError
from gitref_lock.core.timing import TimingError
from gitref_lock.errors import (
    BreachedError,
    ConfigurationError,
    ConflictError,
    GitrefLockError,
    HeldByAnotherError,
    Interrupted,
    LeaseLostError,
    NotAcquiredError,
    NotHeldError,
    OutcomeUnknownError,
    PolicyError,
    UsageError,
)
from gitref_lock.landing import errors as landing
from gitref_lock.ports import ObjectsGoneError, RemoteError

CODES = {
    GitrefLockError: 1,
    UsageError: 2,
    ConfigurationError: 3,
    NotAcquiredError: 4,
    HeldByAnotherError: 5,
    LeaseLostError: 6,
    NotHeldError: 6,
    ConflictError: 7,
    PolicyError: 8,
    OutcomeUnknownError: 9,
    BreachedError: 9,
    landing.NotARepositoryError: 3,
    landing.UnsafeRepositoryError: 3,
    landing.UnsupportedRepositoryError: 3,
    landing.CheckoutBusyError: 3,
    landing.UnfinishedOperationError: 3,
    landing.StagingError: 3,
    landing.IdentityError: 3,
    landing.SigningError: 3,
    landing.PathspecError: 2,
    landing.HookError: 8,
    InvalidNameError: 2,
    TimingError: 2,
}


def _error_classes() -> Iterator[type[GitrefLockError]]:
    for module in pkgutil.walk_packages(gitref_lock.__path__, "gitref_lock."):
        if module.name.startswith("gitref_lock.testing") or module.name.endswith("__main__"):
            continue
        for _, item in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(item, GitrefLockError):
                yield item


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda item: getattr(item, "__name__", str(item)))
def test_documented_codes(kind: type[Exception], code: int) -> None:
    """The codes are a contract with scripts."""
    error = kind("code", "text") if issubclass(kind, landing.LandingError) else kind("text")
    assert exits.exit_code(error) == code


def test_every_error_of_the_package_has_a_documented_kind() -> None:
    """As it leaves the command, each error is of a kind that has a code of its own."""
    run = Run(environ={})
    lost = set()
    for item in _error_classes():
        error = item.__new__(item)
        GitrefLockError.__init__(error, "text", code="word")
        if item is not GitrefLockError and exits.exit_code(translated(run, error)) == exits.UNEXPECTED:
            lost.add(item.__name__)
    assert lost == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(number: int) -> None:
    """A signal gives 128 plus its number, as shells have it."""
    assert exits.exit_code(Interrupted(number)) == 128 + number
    assert exits.exit_code(KeyboardInterrupt()) == 130


def test_a_failed_read_is_a_configuration_error_with_its_own_word() -> None:
    """What the remote said decides the code word; nothing was written, so the exit code is 3."""
    run = Run(environ={})
    for error in (RemoteError("authentication", "no"), ObjectsGoneError("gone")):
        shown = translated(run, error)
        assert isinstance(shown, ConfigurationError)
        assert shown.code == error.code
        assert exits.exit_code(error) == 3


def test_what_nobody_foresaw_is_1_with_a_short_message() -> None:
    """No traceback, and the hint says how to get one."""
    shown = translated(Run(environ={}), ZeroDivisionError("division by zero"))
    assert (shown.message, shown.code) == ("unexpected: ZeroDivisionError: division by zero", "unexpected")
    assert "-v" in shown.hint
    assert exits.exit_code(ZeroDivisionError()) == 1
