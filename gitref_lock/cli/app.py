"""The entry point: from words to one command, and from whatever ends it to messages and an exit code.

Only the command that is asked for is imported, since start-up is a large part of a short command's time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from gitref_lock.cli import exits
from gitref_lock.cli.command import Run, perform, shared
from gitref_lock.cli.output import ReaderGoneError
from gitref_lock.cli.signals import SignalGate
from gitref_lock.core.lean import dataclass
from gitref_lock.errors import GitrefLockError, Interrupted, NotAcquiredError, UsageError
from gitref_lock.ports import RemoteError

if TYPE_CHECKING:
    from typer import Typer

PROGRAM = "gitref-lock"
COMPLETE_VARIABLE = "_GITREF_LOCK_COMPLETE"
_TRUE = frozenset({"1", "true"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: the module under ``gitref_lock.cli`` and the function in it. Aliases are hidden.

    ``runs_words`` tells that the words behind ``--`` are another program's. ``forgives_settings`` lets the command
    begin in spite of a configuration file with faults, to report them.
    """

    module: str
    function: str
    is_hidden: bool = False
    runs_words: bool = False
    forgives_settings: bool = False


COMMANDS: dict[str, Entry] = {
    "acquire": Entry("acquire", "acquire"),
    "lock": Entry("acquire", "acquire", is_hidden=True),
    "run": Entry("run", "run_command", runs_words=True),
    "exec": Entry("run", "run_command", is_hidden=True, runs_words=True),
    "keep-alive": Entry("keepalive", "keep_alive", is_hidden=True),
    "renew": Entry("lease", "renew"),
    "refresh": Entry("lease", "renew", is_hidden=True),
    "release": Entry("lease", "release"),
    "unlock": Entry("lease", "release", is_hidden=True),
    "break": Entry("operator", "break_lock"),
    "force-unlock": Entry("operator", "break_lock", is_hidden=True),
    "inspect": Entry("inspect", "inspect"),
    "status": Entry("inspect", "inspect", is_hidden=True),
    "list": Entry("inspect", "list_locks", is_hidden=True),
    "history": Entry("history", "history"),
    "log": Entry("history", "history", is_hidden=True),
    "cleanup": Entry("cleanup", "cleanup"),
    "prune": Entry("cleanup", "cleanup", is_hidden=True),
    "push": Entry("push", "push"),
    "hook": Entry("hook", "hook"),
    "doctor": Entry("doctor", "doctor", forgives_settings=True),
    "validate": Entry("doctor", "doctor", is_hidden=True, forgives_settings=True),
    "init": Entry("init", "init"),
}
"""Every command. A new one is a line here and a function of a Run and its own declared options."""


def body_of(name: str) -> Callable[..., None]:
    """Import a command and return the function that does its work."""
    entry = COMMANDS[name]
    body: Callable[..., None] = getattr(import_module(f"gitref_lock.cli.{entry.module}"), entry.function)
    return body


def build(names: Sequence[str]) -> Typer:
    """Return the parser of options that knows these commands."""
    from gitref_lock.cli import parser

    return parser.build(PROGRAM, [(name, body_of(name), COMMANDS[name].is_hidden) for name in names])


def wanted(arguments: Sequence[str], *, completes: bool) -> list[str]:
    """Return the commands that must be known for these words: the one that is called, else all."""
    first = next((word for word in arguments if not word.startswith("-")), None)
    return [first] if first in COMMANDS and not completes and arguments[0] == first else list(COMMANDS)


_EARLY_VALUES = ("-r", "--remote", "-C", "--ref-prefix", "--timeout", "--log-format")
_EARLY_FLAGS = ("-j", "--json", "-q", "--quiet", "-v", "--verbose")


def reordered(words: Sequence[str]) -> list[str]:
    """Return the words with shared options that stand before the command (as in ``git -C DIR``) behind its name."""
    early: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, has_value, _ = rest[0].partition("=")
        if name in _EARLY_FLAGS or (has_value and name in _EARLY_VALUES):
            early.append(rest.pop(0))
        elif name in _EARLY_VALUES and len(rest) > 1:
            early += [rest.pop(0), rest.pop(0)]
        else:
            return list(words)
    return [rest[0], *early, *rest[1:]] if rest else list(words)


def parted(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return our own words, and those behind ``--`` where they are another program's; None without ``--``."""
    if words and words[0] in COMMANDS and COMMANDS[words[0]].runs_words and "--" in words:
        at = words.index("--")
        return list(words[:at]), list(words[at + 1 :])
    return list(words), None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every failure has been told to people by then."""
    run = Run()
    words, run.program = parted(reordered(sys.argv[1:] if arguments is None else arguments))
    SignalGate(run.system.clock).install()
    try:
        try:
            code = _performed(run, words)
        finally:
            run.out.end_live()
            run.close()
    except exits.Leave as end:
        return end.code
    except (Exception, Interrupted, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place: every end gets a code
        return _after_landing(run, error) if run.has_landed else _failed(run, error, words)
    return code if isinstance(code, int) else exits.DONE


def _performed(run: Run, words: Sequence[str]) -> object:
    """Do what the words ask for and return the exit code, if any: plain words at once, all others through typer."""
    completes = COMPLETE_VARIABLE in run.environ
    if words and words[0] in COMMANDS and not completes:
        from gitref_lock.cli import quick

        run.forgives_settings = COMMANDS[words[0]].forgives_settings
        body = body_of(words[0])
        values = quick.values_of(quick.parameters_of(body, shared), words[1:], run.environ)
        if values is not None:
            perform(run, body, values)
            return exits.DONE
    app = build(wanted(words, completes=completes))
    if not words and not completes and run.environ.get("GITREF_LOCK_JSON") not in _TRUE:
        from gitref_lock.cli.parser import help_of

        run.out.help(help_of(app, PROGRAM))
        return exits.USAGE
    try:
        return app(words, prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, standalone_mode=False, obj=run)
    except SystemExit:
        if completes:
            raise
        raise ReaderGoneError from None  # the parser's end where nobody reads its help


def _after_landing(run: Run, error: BaseException) -> int:
    """Tell what went wrong after the change was in the branch: that is no failure of the push."""
    if isinstance(error, ReaderGoneError | OSError):
        _stop_writing()
    with suppress(ReaderGoneError, OSError):  # where nobody reads, the exit code says it
        run.out.warn(f"the change has landed; what came after it ended early: {translated(run, error).message}")
    return exits.DONE


def _stop_writing() -> None:
    """Let nothing more go to a stream that takes nothing: the interpreter flushes both once more at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nothing, stream.fileno())
    os.close(nothing)


def _failed(run: Run, error: BaseException, words: Sequence[str]) -> int:
    """Tell what ended the command, and return the exit code; that nobody reads the words does not change it."""
    if isinstance(error, ReaderGoneError):
        _stop_writing()
        return exits.BROKEN_PIPE
    shown = translated(run, error, [word for word in words[:1] if word in COMMANDS])
    code = exits.exit_code(error if isinstance(error, Interrupted | KeyboardInterrupt) else shown)
    if isinstance(shown, NotAcquiredError) and run.conflict_exit_code is not None:
        code = run.conflict_exit_code
    try:
        _tell(run, error, shown, code, words)
    except (ReaderGoneError, OSError):
        _stop_writing()
    return code


def _tell(run: Run, error: BaseException, shown: GitrefLockError, code: int, words: Sequence[str]) -> None:
    """Write what ended the command, as text or as the JSON document."""
    if not run.out.as_json and ({"--json", "-j"} & set(words) or run.environ.get("GITREF_LOCK_JSON") in _TRUE):
        run.out.as_json = True  # the words were wrong, but JSON was asked for
    fields = {key: value for key, value in shown.fields.items() if key not in {"code", "exit", "message", "hint"}}
    problem = {"code": shown.code, "exit": code, "message": shown.message, "hint": shown.hint, **fields}
    if not run.out.documents:
        run.out.document({"error": problem})
    run.out.error(shown.message, shown.hint)
    for note in getattr(error, "__notes__", ()):
        run.out.warn(note)
    if run.ci.reads_commands and not isinstance(error, Interrupted):
        run.out.annotate("error", f"gitref-lock: {shown.code}", shown.message)
    if shown.code == "unexpected" and run.out.verbosity:
        import traceback

        run.out.detail("".join(traceback.format_exception(error)).rstrip())


def translated(run: Run, error: BaseException, command: Sequence[str] = ()) -> GitrefLockError:
    """Return the error to show for whatever ended the command; ``command`` is its name, as one word or none."""
    from gitref_lock.core.names import InvalidNameError
    from gitref_lock.core.timing import TimingError

    if isinstance(error, RemoteError):
        if run.is_over_time and (error.transient or error.code in {"timeout", "unreachable"}):
            return NotAcquiredError(
                f"the command's time is over: {error.words}", code="timeout", hint="raise --timeout"
            )
        from gitref_lock.runtime.failures import remote_failure

        return remote_failure(error, run.display_url)
    landing = sys.modules.get("gitref_lock.landing.errors")  # not imported, not raised
    if landing is not None and isinstance(error, landing.LandingError):
        from gitref_lock.pushing import translated as of_landing

        return of_landing(error)
    if isinstance(error, GitrefLockError):
        return error
    typer = sys.modules.get("typer")
    if typer is not None and isinstance(error, typer.TyperException):
        text = error.format_message() or str(error)
        return UsageError(text, hint=" ".join((PROGRAM, *command, "--help")))
    if isinstance(error, InvalidNameError | TimingError):
        return UsageError(str(error))
    if isinstance(error, Interrupted):
        return GitrefLockError(f"ended by signal {error.signum}", code="interrupted", fields={"signal": error.signum})
    if isinstance(error, KeyboardInterrupt) or (typer is not None and isinstance(error, typer.Abort)):
        return GitrefLockError("ended from the keyboard", code="interrupted")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return GitrefLockError(f"unexpected: {text}", code="unexpected", hint="run it again with -v for the details")
