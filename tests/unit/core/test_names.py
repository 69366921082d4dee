"""Names: whatever is accepted here must be acceptable to git, and tickets must sort as text in service order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.core.names import (
    RANK_LIMIT,
    InvalidNameError,
    LockName,
    Namespace,
    Nonce,
    Oid,
    TicketName,
    branch_ref,
    is_nonce,
    lock_name,
    oid,
    ref_name,
)
from gitref_lock.testing.strategies import is_lock_name, lock_names, oids, ticket_names
from tests.support.gitcli import git, git_result, make_bare

NONCE = Nonce("0123456789abcdef01234567")
EDGY = st.text(alphabet="ab./-@{}~^:?*[\\ lock\x00\x7f\u00e9", max_size=10)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bare repository with a commit, in which many ref names can be tried by one git process."""
    return make_bare(tmp_path_factory.mktemp("names") / "repo.git").path


def assert_git_accepts(repo: Path, refs: list[str]) -> None:
    """Fail unless git would create each of ``refs`` (checked in one transaction that is then aborted)."""
    value = git("rev-parse", "refs/heads/main", cwd=repo)
    commands = "".join(f"create {ref}\0{value}\0" for ref in dict.fromkeys(refs))
    result = git_result("update-ref", "-z", "--stdin", cwd=repo, stdin=f"start\0{commands}abort\0".encode())
    assert result.returncode == 0, result.stderr.decode()


def test_an_object_id_is_forty_lower_case_hex_digits() -> None:
    """Forty lower-case hex digits pass unchanged."""
    assert oid("a1" * 20) == "a1" * 20


@pytest.mark.parametrize("text", ["", "a" * 39, "a" * 41, "A" * 40, "g" * 40, "a" * 40 + "\n", "\u0661" * 40])
def test_anything_else_is_no_object_id(text: str) -> None:
    """Other lengths, upper case, other alphabets and a trailing line end are refused."""
    with pytest.raises(InvalidNameError, match="not an object id"):
        oid(text)


@pytest.mark.parametrize(("text", "expected"), [("0" * 24, True), ("F" * 24, False), ("0" * 23, False), ("", False)])
def test_a_nonce_is_24_lower_case_hex_digits(text: str, expected: bool) -> None:
    """Only 24 lower-case hex digits are a nonce."""
    assert is_nonce(text) is expected


@pytest.mark.parametrize(
    "text",
    ["main", "deploy/prod", "a/b/c/d", "t-1", "a@b", "a/@", "x.locked", "\u4e2d\u6587", "a" * 200, 'q"uote', "a%b"],
)
def test_ordinary_lock_names_are_accepted(text: str) -> None:
    """Branch-like names, paths, and other scripts pass unchanged."""
    assert lock_name(text) == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "1 to 200 bytes"),
        ("a" * 201, "1 to 200 bytes"),
        ("\u4e2d" * 67, "1 to 200 bytes"),
        ("a b", "spaces"),
        ("a\tb", "control characters"),
        ("a\x7fb", "control characters"),
        *((f"a{char}b", "must not contain spaces") for char in "~^:?*[\\"),
        ("a..b", "'..'"),
        ("a@{b", "'@{'"),
        ("a//b", "'//'"),
        ("@", "nor be '@'"),
        ("/a", "must not begin"),
        ("-a", "must not begin"),
        ("a/", "nor end"),
        ("a.", "nor end"),
        (".a", "no part may begin"),
        ("a/.b", "no part may begin"),
        ("a.lock", "end with '.lock'"),
        ("a.lock/b", "end with '.lock'"),
        ("\ud800", "valid Unicode"),
        ("t-0000000000000001-x", "look like a ticket"),
        ("a/t-0000000000000001-/b", "look like a ticket"),
    ],
)
def test_a_refused_lock_name_is_told_its_rule(text: str, rule: str) -> None:
    """Each rule has its own words, and the error shows the name."""
    with pytest.raises(InvalidNameError, match=rule) as caught:
        lock_name(text)
    assert repr(text) in str(caught.value)


@settings(deadline=None, max_examples=25)
@given(names=st.lists(lock_names(), min_size=10, max_size=40), edgy=st.lists(EDGY, min_size=20, max_size=60))
def test_git_accepts_every_accepted_lock_name(repo: Path, names: list[LockName], edgy: list[str]) -> None:
    """No lock name that passes here is refused by git, as a lock, as a branch or in a rescue ref."""
    accepted = [*names, *(LockName(text) for text in edgy if is_lock_name(text))]
    space = Namespace()
    for build in (space.lock_ref, branch_ref, lambda name: space.rescue_ref(name, Oid("a" * 40))):
        assert_git_accepts(repo, [build(name) for name in accepted])


@pytest.mark.parametrize("text", ["main", "deploy/prod", "a/@", "a" * 200, "x.locked", 'a"b', "\u00e9"])
def test_check_ref_format_agrees_on_examples(repo: Path, text: str) -> None:
    """The program that git offers for this question says the same."""
    git("check-ref-format", f"refs/locks/{lock_name(text)}", cwd=repo)


@settings(deadline=None, max_examples=10)
@given(pairs=st.lists(st.tuples(lock_names(), ticket_names()), min_size=5, max_size=30))
def test_git_accepts_every_ticket_ref(repo: Path, pairs: list[tuple[LockName, TicketName]]) -> None:
    """A ticket of any accepted lock is a ref that git can create."""
    assert_git_accepts(repo, [Namespace().ticket_ref(name, ticket) for name, ticket in pairs])


def test_a_ref_name_has_three_parts_below_refs() -> None:
    """A full ref name passes unchanged."""
    assert ref_name("refs/heads/main") == "refs/heads/main"


@pytest.mark.parametrize("text", ["refs/main", "heads/main/x", "HEAD", "refs/heads/a..b", ""])
def test_a_short_or_invalid_ref_name_is_refused(text: str) -> None:
    """One-level names and names that git refuses do not become refs."""
    with pytest.raises(InvalidNameError, match="ref name"):
        ref_name(text)


def test_a_branch_becomes_its_ref() -> None:
    """A short branch name gets its prefix."""
    assert branch_ref("feature/x") == "refs/heads/feature/x"


def test_an_invalid_branch_is_refused() -> None:
    """A branch that git would refuse is named in the error."""
    with pytest.raises(InvalidNameError, match="branch name 'a b'"):
        branch_ref("a b")


@pytest.mark.parametrize(("rank", "nonce"), [(-1, NONCE), (RANK_LIMIT, NONCE), (1, Nonce("x" * 24)), (1, Nonce(""))])
def test_a_ticket_name_that_would_not_sort_is_refused(rank: int, nonce: Nonce) -> None:
    """A rank of 17 digits or below zero would sort wrongly as text."""
    with pytest.raises(InvalidNameError, match="not a ticket"):
        TicketName(rank, nonce)


@settings(deadline=None)
@given(first=ticket_names(), second=ticket_names())
def test_ticket_names_sort_as_text_in_service_order(first: TicketName, second: TicketName) -> None:
    """A plain listing, sorted as text, is the queue."""
    by_number = (first.rank_ms, first.nonce) < (second.rank_ms, second.nonce)
    assert (first.leaf < second.leaf) is by_number
    assert len(first.leaf) == len(second.leaf)


@pytest.mark.parametrize(
    ("prefix", "queue", "rescue"),
    [
        ("refs/locks", "refs/lock-queue", "refs/lock-rescue"),
        ("refs/heads/ci/locks", "refs/heads/ci/lock-queue", "refs/heads/ci/lock-rescue"),
        ("refs/mutex", "refs/mutex-queue", "refs/mutex-rescue"),
    ],
)
def test_queue_and_rescue_prefixes_follow_the_lock_prefix(prefix: str, queue: str, rescue: str) -> None:
    """One word, the lock prefix, decides all three places."""
    space = Namespace(prefix)
    assert (space.queue, space.rescue) == (queue, rescue)


@pytest.mark.parametrize("prefix", ["refs", "locks", "refs/locks/", "refs/a b", "", "refs/heads", "refs/tags"])
def test_a_prefix_that_cannot_hold_locks_is_refused(prefix: str) -> None:
    """A prefix must make full ref names, and must not make the lock `main` the branch `main`."""
    with pytest.raises(InvalidNameError):
        Namespace(prefix)


@settings(deadline=None)
@given(name=lock_names())
def test_a_lock_ref_reads_back_as_its_name(name: LockName) -> None:
    """Building and parsing a lock ref are inverse."""
    space = Namespace()
    assert space.parse_lock_ref(space.lock_ref(name)) == name


@pytest.mark.parametrize(
    "ref", ["refs/locks", "refs/locks/", "refs/locksmith/a", "refs/heads/a", "refs/locks/t-0000000000000001-x", ""]
)
def test_other_refs_are_no_locks(ref: str) -> None:
    """Refs beside the prefix and names that no lock can have are ignored."""
    assert Namespace().parse_lock_ref(ref) is None


@settings(deadline=None)
@given(name=lock_names(), ticket=ticket_names())
def test_a_ticket_ref_reads_back_as_lock_and_ticket(name: LockName, ticket: TicketName) -> None:
    """Building and parsing a ticket ref are inverse, and the listing prefix covers it."""
    space = Namespace()
    ref = space.ticket_ref(name, ticket)
    assert space.parse_ticket_ref(ref) == (name, ticket)
    assert ref.startswith(space.queue_prefix(name))


@settings(deadline=None)
@given(
    name=lock_names(), ticket=ticket_names(), extra=st.sampled_from(["/x", "/t-0000000000000001-" + NONCE, "x", "\n"])
)
def test_a_ticket_ref_of_another_depth_is_ignored(name: LockName, ticket: TicketName, extra: str) -> None:
    """Nothing below, beside or longer than a ticket counts as one."""
    space = Namespace()
    ref = space.ticket_ref(name, ticket)
    assert space.parse_ticket_ref(ref + extra) is None
    assert space.parse_ticket_ref(f"{space.queue}/{ticket.leaf}") is None


@pytest.mark.parametrize(
    "ref",
    [
        f"refs/locks/main/t-0000000000000001-{NONCE}",
        f"refs/lock-queue/main/t-1-{NONCE}",
        f"refs/lock-queue/main/t-0000000000000001-{NONCE.upper()}",
        f"refs/lock-queue/a..b/t-0000000000000001-{NONCE}",
        f"refs/lock-queue/main/t-\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661-{NONCE}",
        "refs/lock-queue/main",
    ],
)
def test_refs_that_only_resemble_tickets_are_ignored(ref: str) -> None:
    """Another prefix, another width, upper case, foreign digits or an invalid lock name make no ticket."""
    assert Namespace().parse_ticket_ref(ref) is None


@settings(deadline=None)
@given(first=lock_names(), second=lock_names(), ticket=ticket_names())
def test_tickets_of_different_locks_never_share_a_ref(first: LockName, second: LockName, ticket: TicketName) -> None:
    """A ticket ref belongs to exactly one lock, also when one name is the beginning of another."""
    space = Namespace()
    assert (space.ticket_ref(first, ticket) == space.ticket_ref(second, ticket)) is (first == second)


@settings(deadline=None)
@given(name=lock_names(), commit=oids())
def test_a_rescue_ref_ends_in_the_commit_it_keeps(name: LockName, commit: Oid) -> None:
    """The rescued commit is in the name, so that one listing shows what was rescued for a lock."""
    assert Namespace().rescue_ref(name, commit) == f"refs/lock-rescue/{name}/{commit}"
