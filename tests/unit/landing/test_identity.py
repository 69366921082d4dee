"""Whose name a commit carries, by strength of the source."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.errors import IdentityError
from gitref_lock.landing.identity import Actor, ci_actor, local_offset_s, parse_author, parse_date, signature
from tests.support.gitcli import git, git_env

NOW_S = 1_700_000_000
NO_IDENTITY = [f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL", "DATE")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an empty repository without any configured identity."""
    git("init", "-q", tmp_path / "repo", cwd=tmp_path)
    return tmp_path / "repo"


def anonymous(path: Path, **extra: str) -> Checkout:
    """Open the repository with nobody's identity in the environment."""
    environment = {key: value for key, value in git_env(extra=extra).items() if key not in NO_IDENTITY or key in extra}
    return Checkout.open(path, environment)


def test_nobody_is_an_error_that_says_how_to_set_it(path: Path) -> None:
    """Without any source the error names the missing part and the commands that set it."""
    with anonymous(path) as checkout, pytest.raises(IdentityError) as caught:
        signature(checkout, "author", NOW_S)
    assert caught.value.code == "no-identity"
    assert caught.value.message == "no name for the commit's author is configured"
    assert "git config user.name" in caught.value.hint
    assert "GIT_AUTHOR_EMAIL" in caught.value.hint
    git("config", "user.name", "Only Name", cwd=path)
    with anonymous(path) as checkout, pytest.raises(IdentityError, match="no email"):
        signature(checkout, "committer", NOW_S)


def test_the_strongest_source_wins(path: Path) -> None:
    """Option, environment, role's setting, user's setting, EMAIL, CI actor: in this order, each field by itself."""
    ci = {"GITHUB_ACTOR": "octo", "GITHUB_ACTOR_ID": "7"}
    with anonymous(path, **ci) as checkout:
        who = signature(checkout, "author", NOW_S)
        assert (who.name, who.email) == ("octo", "7+octo@users.noreply.github.com")
    with anonymous(path, **ci, EMAIL="mail@example.invalid") as checkout:
        assert signature(checkout, "author", NOW_S).email == "mail@example.invalid"
    git("config", "user.name", "User", cwd=path)
    git("config", "user.email", "user@example.invalid", cwd=path)
    with anonymous(path, **ci) as checkout:
        assert signature(checkout, "author", NOW_S).person == b"User <user@example.invalid>"
    git("config", "author.name", "Author", cwd=path)
    with anonymous(path, **ci) as checkout:
        assert signature(checkout, "author", NOW_S).person == b"Author <user@example.invalid>"
        assert signature(checkout, "committer", NOW_S).person == b"User <user@example.invalid>"
    with anonymous(path, **ci, GIT_AUTHOR_NAME="Env") as checkout:
        assert signature(checkout, "author", NOW_S).person == b"Env <user@example.invalid>"
        chosen = signature(checkout, "author", NOW_S, "Opt <opt@example.invalid>")
        assert chosen.person == b"Opt <opt@example.invalid>"


@pytest.mark.parametrize(
    ("environment", "actor"),
    [
        ({}, Actor("", "")),
        ({"GITHUB_ACTOR": "a"}, Actor("a", "a@users.noreply.github.com")),
        (
            {"GITHUB_ACTOR": "a", "GITHUB_ACTOR_ID": "7", "GITHUB_SERVER_URL": "https://git.example.invalid:3000"},
            Actor("a", "a@noreply.git.example.invalid"),
        ),
        ({"GITLAB_USER_NAME": "N", "GITLAB_USER_EMAIL": "n@x"}, Actor("N", "n@x")),
        ({"GITLAB_USER_LOGIN": "l", "GITLAB_USER_EMAIL": "n@x"}, Actor("l", "n@x")),
        ({"BUILDKITE_BUILD_CREATOR": "B", "BUILDKITE_BUILD_CREATOR_EMAIL": "b@x"}, Actor("B", "b@x")),
        ({"BUILD_REQUESTEDFOR": "Z", "BUILD_REQUESTEDFOREMAIL": "z@x"}, Actor("Z", "z@x")),
        ({"BUILD_USER": "J", "BUILD_USER_EMAIL": "j@x"}, Actor("J", "j@x")),
        ({"BUILD_USER": "J"}, Actor("", "")),
    ],
)
def test_ci_actors(environment: dict[str, str], actor: Actor) -> None:
    """Each CI's own variables name the person, and half an identity is none."""
    assert ci_actor(environment) == actor


def test_dates_carry_their_own_zone_or_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date with a zone keeps it; without one, and for now, the machine's zone at that instant counts."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert local_offset_s(1_720_000_000) == 7200
        assert local_offset_s(1_700_000_000) == 3600
        assert parse_date("2024-07-03T10:00:00") == (1_719_993_600, 7200)
        assert parse_date("1700000000 -0130") == (1_700_000_000, -5400)
        assert parse_date("@1700000000") == (1_700_000_000, 0)
        assert parse_date("Wed, 03 Jul 2024 10:00:00 +0530") == (1_719_981_000, 19800)
    finally:
        monkeypatch.undo()
        time.tzset()
    with pytest.raises(IdentityError):
        parse_date("yesterday noon")


@pytest.mark.parametrize("text", ["", "Name", "<a@b>", "Name <>", "Name a@b", "A <b> <c>"])
def test_half_an_author_is_refused(text: str) -> None:
    """--author needs a name and an email in angle brackets."""
    with pytest.raises(IdentityError):
        parse_author(text)


@pytest.mark.parametrize(
    "date",
    [
        "1700000000 +9999",
        "1700000000 +2400",
        "1700000000 -0060",
        "1960-01-01T00:00:00Z",
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59-23:59:59.999999x",
        "Thu, 01 Jan 1960 00:00:00 +0000",
        "Thu, 01 Jan 2004 00:00:00 +9999",
        "99999999999999999999 +0000",
        "@9223372036854775807",
        "9" * 5000 + " +0000",
        "",
    ],
)
def test_a_date_that_no_commit_can_hold_is_refused(date: str) -> None:
    """A zone of more than a day, a time before 1970 and one that overflows are bad dates, not broken commits."""
    with pytest.raises(IdentityError) as caught:
        parse_date(date)
    assert caught.value.code == "bad-date"


@pytest.mark.parametrize("date", ["@0 +0000", "1700000000 +2359", "1700000000 -2359"])
def test_dates_at_the_edge_are_gits(path: Path, date: str) -> None:
    """The earliest second and the widest zones make the header that git makes."""
    who = {f"GIT_{role}_{part}": "x" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=path, env={**who, "GIT_AUTHOR_DATE": date})
    at_s, offset_s = parse_date(date)
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    sign = "-" if offset_s < 0 else "+"
    assert git("log", "-1", "--format=%ad", "--date=raw", cwd=path) == f"{at_s} {sign}{hours:02d}{minutes:02d}"
