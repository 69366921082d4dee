"""Commits beside the real git: byte for byte the object that `git commit` writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitref_lock.landing.commit import CommitWish, build_commit, draft
from gitref_lock.landing.errors import IdentityError, LandingError
from gitref_lock.landing.message import add_trailers, clean, join, subject
from gitref_lock.landing.stage import stage
from tests.support.clones import NOW_S, open_checkout, write
from tests.support.gitcli import git, git_result


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in UTC, as the test's own git does."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _clone(path: Path) -> Path:
    path.mkdir(parents=True)
    git("init", "-q", cwd=path)
    write(path, "a", "1\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "base", cwd=path)
    write(path, "a", "2\n")
    return path


def _ours(path: Path, wish: CommitWish, env: dict[str, str] | None = None) -> str:
    with open_checkout(path, env) as checkout:
        staged = stage(checkout)
        assert staged.base is not None
        commit = build_commit(checkout, staged.tree, [staged.base], draft(checkout, wish, NOW_S))
        return str(commit.id.decode())


@pytest.mark.parametrize(
    ("messages", "flags"),
    [
        (["plain"], []),
        (["subject", "second paragraph", "third"], []),
        (["  leading and trailing  \n\n\n\nbody\t\n\n"], []),
        (["\n\nsubject\n# a comment stays with -m\n"], []),
        (["ünïcödé 中文 \U0001f600"], []),
        (["subject"], ["--signoff"]),
        (["subject", "body"], ["--signoff"]),
        (["subject", "Fixes: 1\nReviewed-by: A <a@b>"], ["--signoff"]),
        (["subject\n\nSigned-off-by: Test Committer <committer@example.invalid>"], ["--signoff"]),
        (["subject"], ["--trailer", "Change: 1", "--trailer", "Run: 2"]),
        (["Subject: looks like a trailer"], ["--signoff"]),
        (["subject"], ["--author", "Somebody Else <else@example.invalid>"]),
    ],
)
def test_the_commit_is_the_one_git_makes(tmp_path: Path, messages: list[str], flags: list[str]) -> None:
    """Message clean-up, trailers, identities and header give the same object id as git."""
    path, reference = _clone(tmp_path / "ours"), _clone(tmp_path / "reference")
    arguments = [word for message in messages for word in ("-m", message)]
    git("commit", "-q", "-a", *arguments, *flags, cwd=reference)
    trailers = [flags[at + 1] for at, flag in enumerate(flags) if flag == "--trailer"]
    wish = CommitWish(
        messages,
        author=flags[1] if "--author" in flags else None,
        is_signed_off="--signoff" in flags,
        trailers=trailers,
    )
    assert _ours(path, wish) == git("rev-parse", "HEAD", cwd=reference)


@pytest.mark.parametrize(
    "env",
    [
        {"GIT_AUTHOR_DATE": "1700000000 +0530", "GIT_COMMITTER_DATE": "1600000000 -0845"},
        {"GIT_AUTHOR_DATE": "2024-02-29T12:34:56+02:00", "GIT_COMMITTER_DATE": "2024-02-29 12:34:56"},
        {"GIT_AUTHOR_DATE": "Thu, 29 Feb 2024 12:34:56 -0700", "GIT_COMMITTER_DATE": "@1700000000 +0000"},
        {"GIT_AUTHOR_NAME": " Odd. <name>, ", "GIT_AUTHOR_EMAIL": "<odd@example.invalid>"},
        {"GIT_AUTHOR_NAME": "Ünïcödé", "GIT_COMMITTER_EMAIL": "x@example.invalid"},
    ],
)
def test_identity_from_the_environment_is_gits(tmp_path: Path, env: dict[str, str]) -> None:
    """Names are cleaned and dates read as git does, with the same offsets."""
    path, reference = _clone(tmp_path / "ours"), _clone(tmp_path / "reference")
    git("commit", "-q", "-a", "-m", "x", cwd=reference, env=env)
    assert _ours(path, CommitWish(["x"]), env) == git("rev-parse", "HEAD", cwd=reference)


@pytest.mark.parametrize(
    "settings",
    [
        {"commit.cleanup": "verbatim"},
        {"commit.cleanup": "strip"},
        {"commit.cleanup": "whitespace"},
        {"commit.cleanup": "scissors"},
        {"i18n.commitEncoding": "ISO-8859-1"},
        {"i18n.commitEncoding": "UTF-8"},
    ],
)
def test_settings_of_the_commit_are_honoured(tmp_path: Path, settings: dict[str, str]) -> None:
    """commit.cleanup and i18n.commitEncoding give git's object."""
    path, reference = _clone(tmp_path / "ours"), _clone(tmp_path / "reference")
    message = "sübject  \n\n\n# hash\nbody\n"
    for root in (path, reference):
        for key, value in settings.items():
            git("config", key, value, cwd=root)
    given = message.encode("latin-1" if "ISO" in "".join(settings.values()) else "utf-8")
    done = git_result("commit", "-q", "-a", "-F", "-", cwd=reference, stdin=given)
    assert done.returncode == 0, done.stderr
    assert _ours(path, CommitWish([message.removesuffix("\n")])) in {
        git("rev-parse", "HEAD", cwd=reference),
        _without_final_newline(reference, settings),
    }


def _without_final_newline(reference: Path, settings: dict[str, str]) -> str:
    """Return the commit for ``verbatim``, where -F keeps the newline that a joined -m does not have."""
    if settings.get("commit.cleanup") != "verbatim":
        return ""
    git("commit", "-q", "--amend", "-F", "-", cwd=reference, stdin="sübject  \n\n\n# hash\nbody".encode())
    return git("rev-parse", "HEAD", cwd=reference)


def test_an_empty_message_is_refused(tmp_path: Path) -> None:
    """A message of blanks is an error before anything is pushed, unless it is allowed."""
    path = _clone(tmp_path / "ours")
    with open_checkout(path) as checkout:
        with pytest.raises(LandingError) as caught:
            draft(checkout, CommitWish([" \n\n"]), NOW_S)
        assert caught.value.code == "empty-message"
        assert draft(checkout, CommitWish([""], allows_empty_message=True), NOW_S).message == ""


def test_a_message_that_the_encoding_cannot_hold_is_refused(tmp_path: Path) -> None:
    """A character outside i18n.commitEncoding, or an unknown encoding, is a clear error."""
    path = _clone(tmp_path / "ours")
    for encoding in ("ISO-8859-1", "no-such-encoding"):
        git("config", "i18n.commitEncoding", encoding, cwd=path)
        with pytest.raises(LandingError, match="cannot hold the message"):
            _ours(path, CommitWish(["中"]))


def test_bad_trailers_authors_and_dates_are_refused(tmp_path: Path) -> None:
    """What git could not store is refused with the form that is expected."""
    path = _clone(tmp_path / "ours")
    with pytest.raises(LandingError, match="not a trailer") as caught:
        add_trailers("x\n", ["no trailer"])
    assert caught.value.code == "bad-trailer"
    with pytest.raises(IdentityError) as author:
        _ours(path, CommitWish(["x"], author="no email"))
    assert author.value.code == "bad-author"
    with pytest.raises(IdentityError) as date:
        _ours(path, CommitWish(["x"]), {"GIT_AUTHOR_DATE": "someday"})
    assert date.value.code == "bad-date"


def test_message_helpers() -> None:
    """Paragraphs are joined, blank runs folded, the subject is the first paragraph on one line."""
    assert join(["a\n", "b"]) == "a\n\nb"
    assert clean("a \n\n\n\nb\n\n") == "a\n\nb\n"
    assert clean("") == ""
    assert subject("one\ntwo\n\nbody") == "one two"
