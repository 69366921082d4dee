"""Files of the clone and of its owner: git's configuration, ours, the journal, leases, workflows, attributes.

A clone is somebody else's work: its configuration, attributes and workflow files come with a checkout or from a script
before us, and a file of our own may be left torn by a full disk.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from gitref_lock.config import load, parse_duration
from gitref_lock.core.clocks import ClockReading
from gitref_lock.core.names import InvalidNameError, LockName
from gitref_lock.core.text import MalformedError
from gitref_lock.core.timing import TimingError
from gitref_lock.errors import ConfigurationError
from gitref_lock.insight.probes.workflows import Rules, judge
from gitref_lock.landing.attributes import parse_rules
from gitref_lock.landing.journal import Journal, decode, encode
from gitref_lock.landing.patterns import last_match, pattern_lines
from gitref_lock.ports import RemoteError
from gitref_lock.remotes.address import parse_address
from gitref_lock.remotes.gitconfig_parse import RawEntry, RemoteConfigError, parse_environment, parse_text
from gitref_lock.remotes.gitconfig_values import Entry, GitConfig, parse_bool, parse_int
from gitref_lock.remotes.http_address import Address
from gitref_lock.remotes.urlmatch import normalise
from gitref_lock.runtime.leasefile import OBSERVATIONS, Memory, StoredLease
from gitref_lock.system import SystemClock
from tests.fuzz.promise import chosen, hold, parts_of

_SECRET = "hunter2hunter2"  # made up


@lru_cache(maxsize=1)
def folder() -> Path:
    """Return a scratch folder that goes with this process."""
    path = Path(tempfile.mkdtemp(prefix="gitref-lock-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def gitconfig(data: bytes) -> None:
    """Any file or variable is configuration or a RemoteConfigError that names the place; values read or are refused.

    The first byte: ``=`` the rest is a file; ``p`` it is ``GIT_CONFIG_PARAMETERS``, after a count on the first line.
    """
    form, rest = chosen(data[:1], b"=p"), data[1:]
    try:
        found = list(_environment(rest) if form == "p" else parse_text(rest, "config"))
    except RemoteConfigError as error:
        hold(error.message and len(error.message) < 8 * len(rest) + 400, "an error is in proportion")
        return
    for entry in found:
        hold(entry.key and entry.section == entry.section.lower() and entry.key == entry.key.lower(), "names are lower")
        hold("\n" not in (entry.subsection or ""), "a subsection stays in its line")
    _read_values(GitConfig([Entry("local", *entry) for entry in found]), found[:50])


def _environment(data: bytes) -> list[RawEntry]:
    head, _, parameters = data.partition(b"\n")
    environ = {"GIT_CONFIG_COUNT": _text(head), "GIT_CONFIG_PARAMETERS": _text(parameters)}
    environ |= {"GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": _text(parameters)}
    return list(parse_environment(environ))


def _read_values(config: GitConfig, found: list[RawEntry]) -> None:
    for entry in found:
        hold(config.get_all(entry.section, entry.subsection, entry.key), "what is configured is found")
        value = entry.value or ""
        config.get_all_for_url(entry.section, "https://host.example:8443/r.git", entry.key)
        config.get_every_for_url(entry.section, value, entry.key)
        normalise(value)
        for read in (parse_bool, parse_int):
            try:
                read(value, "x.y")
            except RemoteConfigError:
                continue
        for text in (value, f"https://u:{_SECRET}@host.example/{value}"):
            try:
                parse_address(text, Path("/srv"), {"HOME": "/srv"})
            except RemoteConfigError as error:
                hold(_SECRET not in error.message, "an error shows no credential")
        try:
            Address.parse(value)
        except RemoteError:
            continue


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def config(data: bytes) -> None:
    """Any ``.gitref-lock.toml`` or ``pyproject.toml`` is settings or a ConfigurationError.

    The first byte: ``=`` the first of them, ``p`` the second.
    """
    form, rest = chosen(data[:1], b"=p"), data[1:]
    top = folder()
    own, other = top / ".gitref-lock.toml", top / "pyproject.toml"
    (other if form == "p" else own).write_bytes(rest)
    (own if form == "p" else other).unlink(missing_ok=True)
    try:
        settings = load(top, top)
    except ConfigurationError as error:
        hold(error.message and error.code == "bad-config", "an error says what is wrong")
        return
    hold(settings.ttl_s is None or 5 <= settings.ttl_s <= 86_400, "a ttl is in its range")
    for workflow in ("deploy", "Build & Test", ""):
        hold(-1000 <= settings.priority_for(workflow) <= 1000, "a priority is in its range")
    hold(settings.retry.cap_s >= 0, "pauses are no less than nothing")


def journal(data: bytes) -> None:
    """Any ``journal.json`` is a journal or a ValueError; a journal is written so that it is read the same."""
    try:
        found = decode(data)
    except ValueError as error:
        hold(str(error), "an error says why")
        return
    _check_journal(found)
    again = decode(encode(found))
    hold(again == found, "what is written is read")


def _check_journal(found: Journal) -> None:
    landing, move = found.landing, found.move
    for name in (landing.branch, landing.lock_ref, landing.tracking_ref, move.head_ref):
        hold(name is None or isinstance(name, str), "a ref is a text")
    hold(all(isinstance(item.path, bytes) for item in move.paths), "a path is bytes")


class _Clock(SystemClock):
    """The machine's clock on a boot of a fixed name."""

    def boot_id(self) -> str:
        """Return the name."""
        return "boot"


def lease(data: bytes) -> None:
    """Any lease file is a lease or one of the errors that count as none; observations never stretch.

    The second part is ``observations.json``.
    """
    text, seen = parts_of(data, 2)
    memory = Memory(folder())
    (folder() / OBSERVATIONS).write_bytes(seen)
    for name, observation in memory.observations("r", _Clock()).items():
        hold(name and observation.seen_for_s(SystemClock().monotonic()) >= 0, "nothing was seen in the future")
    memory.observe("r", memory.observations("r", _Clock()), _Clock())
    hold(memory.read("r", LockName("main")) is None, "no lease file, no lease")
    try:
        found = StoredLease.decode(text)
    except (MalformedError, InvalidNameError, TimingError):
        return
    again = StoredLease.decode(found.encode())
    facts = (found.remote, found.lock, found.token, found.writer, found.timing, found.sent, found.boot_id)
    kept = (again.remote, again.lock, again.token, again.writer, again.timing, again.sent, again.boot_id)
    hold(facts == kept, "what is written is read")
    hold(StoredLease.decode(again.encode()) == again, "once shortened, a lease stays as it is")
    now = ClockReading(1e6, 1e6, 1e9)
    hold(found.sent_by(now, "other boot").monotonic_s <= 1e6, "a lease was not sent in the future")
    found.clock_by(now, found.boot_id)


def workflows(data: bytes) -> None:
    """Any workflow file is judged: findings with a line, never an error."""
    for finding in judge(data.decode("utf-8", "replace"), Rules(parse_duration, 60.0)):
        hold(finding.text and (finding.line or 0) >= 1, "a finding has words and a line")


def attributes(data: bytes) -> None:
    """Any ``.gitattributes`` and ``.gitignore`` is rules; what they match is decided in time.

    The first part is the file, the second a path.
    """
    text, path = parts_of(data, 2)
    for rule in parse_rules(text, b"", macros_allowed=True):
        if rule.pattern is not None:
            rule.pattern.matches(path[:4096], is_folder=False)
    patterns = pattern_lines(text, b"d/")
    last_match(patterns, b"d/" + path[:4096], is_folder=False)
