"""Who writes a commit, and when.

Sources, strongest first: ``--author``, git's environment variables, git's configuration, EMAIL, and the actor that the
CI names. Nothing is guessed from the machine: a commit by ``root@runner-7`` helps nobody. Name and email are cleaned as
git-commit-tree(1) does, because servers that check objects refuse anything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.errors import IdentityError

_CRUD = " .,:;<>\"\\'" + "".join(map(chr, range(33)))
_AUTHOR = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<email>[^<>]*)>\s*")
_RAW_DATE = re.compile(r"@?(?P<seconds>[0-9]{1,20})\s+(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2})")
_AT_DATE = re.compile(r"@(?P<seconds>[0-9]{1,20})")
_LAST_S = 2**63 - 1


class Actor(NamedTuple):
    """A name and an email; either may be empty."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Signature:
    """One side of a commit's header. ``at_s`` is a Unix second, ``offset_s`` the local time's distance from UTC."""

    name: str
    email: str
    at_s: int
    offset_s: int

    @property
    def person(self) -> bytes:
        """``Name <email>`` as it stands in the header."""
        return f"{self.name} <{self.email}>".encode("utf-8", "surrogateescape")


def _clean(value: str) -> str:
    return re.sub(r"[\n<>\x00]", "", value.strip(_CRUD))


def ci_actor(environ: Mapping[str, str]) -> Actor:
    """Return the person that the CI's own variables name; empty fields when they name none."""
    name = environ.get("GITHUB_ACTOR", "")
    if name:
        server = environ.get("GITHUB_SERVER_URL", "").partition("://")[2].partition("/")[0].partition(":")[0]
        if server and server != "github.com":
            return Actor(name, f"{name}@noreply.{server}")
        number = environ.get("GITHUB_ACTOR_ID", "")
        return Actor(
            name, f"{number}+{name}@users.noreply.github.com" if number else f"{name}@users.noreply.github.com"
        )
    for name_key, email_key in (
        ("GITLAB_USER_NAME", "GITLAB_USER_EMAIL"),
        ("GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL"),
        ("BUILDKITE_BUILD_CREATOR", "BUILDKITE_BUILD_CREATOR_EMAIL"),
        ("BUILD_REQUESTEDFOR", "BUILD_REQUESTEDFOREMAIL"),
        ("BUILD_USER", "BUILD_USER_EMAIL"),
    ):
        if environ.get(name_key) and environ.get(email_key):
            return Actor(environ[name_key], environ[email_key])
    return Actor("", "")


def local_offset_s(at_s: int) -> int:
    """Return this machine's distance from UTC at a Unix second."""
    offset = datetime.fromtimestamp(at_s, tz=UTC).astimezone().utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def parse_date(value: str) -> tuple[int, int]:
    """Return Unix second and offset of a date in git's raw form, ISO 8601 or RFC 2822; raise IdentityError.

    What no commit can hold is refused as well: servers that check objects would refuse the whole push.
    """
    try:
        at_s, offset_s = _read_date(value.strip())
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise IdentityError(
            "bad-date", f"not a date: {value!r}", "use '<seconds> <+hhmm>', ISO 8601 or RFC 2822"
        ) from error
    if not 0 <= at_s < _LAST_S:
        raise IdentityError("bad-date", f"a date that git cannot keep: {value!r}", "use one after 1970-01-01")
    return at_s, offset_s


def _read_date(value: str) -> tuple[int, int]:
    """Return Unix second and offset; raise one of many errors for what is no date."""
    raw_match = _RAW_DATE.fullmatch(value)
    if raw_match:
        hours, minutes = int(raw_match["hours"]), int(raw_match["minutes"])
        if hours > 23 or minutes > 59:
            raise ValueError("no such time zone")
        offset = hours * 3600 + minutes * 60
        return int(raw_match["seconds"]), -offset if raw_match["sign"] == "-" else offset
    at_match = _AT_DATE.fullmatch(value)
    if at_match:
        return int(at_match["seconds"]), 0
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        from email.utils import parsedate_to_datetime  # late: hardly anybody writes dates as mails do

        when = parsedate_to_datetime(value)
    aware = when.astimezone() if when.tzinfo is None else when
    offset_of = aware.utcoffset()
    # a header has whole minutes; zones of long ago, and ISO 8601, know seconds
    minutes = int(offset_of.total_seconds() / 60) if offset_of is not None else 0
    return int(aware.timestamp()), minutes * 60


def parse_author(value: str) -> Actor:
    """Return the parts of ``--author "Name <email>"``; raise IdentityError for anything else."""
    match = _AUTHOR.fullmatch(value)
    if match is None or not _clean(match["name"]) or not _clean(match["email"]):
        raise IdentityError("bad-author", f"--author must look like 'Name <email>', not {value!r}")
    return Actor(match["name"], match["email"])


def _configured(checkout: Checkout, role: str, key: str) -> str:
    for section in (role, "user"):
        value = checkout.setting(section, key)
        if value:
            return value
    return ""


def signature(checkout: Checkout, role: str, now_s: int, override: str | None = None) -> Signature:
    """Return the ``author`` or ``committer`` of a commit made at Unix second ``now_s``; raise IdentityError."""
    environ = checkout.environ
    actor = ci_actor(environ)
    upper = role.upper()
    if override is not None:
        name, email = parse_author(override)
    else:
        name = environ.get(f"GIT_{upper}_NAME") or _configured(checkout, role, "name") or actor.name
        email = (
            environ.get(f"GIT_{upper}_EMAIL")
            or _configured(checkout, role, "email")
            or environ.get("EMAIL", "")
            or actor.email
        )
    name, email = _clean(name), _clean(email)
    if not name or not email:
        missing = "name" if not name else "email"
        raise IdentityError(
            "no-identity",
            f"no {missing} for the commit's {role} is configured",
            "git config user.name 'Your Name'; git config user.email 'you@example.com'; "
            f"or set GIT_{upper}_NAME and GIT_{upper}_EMAIL",
        )
    date = environ.get(f"GIT_{upper}_DATE")
    at_s, offset_s = parse_date(date) if date else (now_s, local_offset_s(now_s))
    return Signature(name, email, at_s, offset_s)
