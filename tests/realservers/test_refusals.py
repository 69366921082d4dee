"""What real servers say when they refuse, and what it is taken for: outcome, kind and exit code.

With GITREF_LOCK_RECORD=1 the servers' words are written to tests/data/transcripts, where the unit tests of the table
of words read them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitref_lock.cli import exits
from gitref_lock.core.refs import Refused, Superseded, Unknown, in_sending_order
from gitref_lock.ports import RemoteError
from gitref_lock.remotes.packs import write_pack
from gitref_lock.remotes.wire import receive_pack_request
from gitref_lock.runtime.deadline import Deadline
from gitref_lock.runtime.failures import remote_failure, swap_failure
from gitref_lock.runtime.retry import reading
from gitref_lock.system import real_system
from tests.realservers import raw
from tests.realservers.cases import CASES
from tests.realservers.serving import Served, Service

pytestmark = pytest.mark.servers
DATA = Path(__file__).resolve().parents[1] / "data" / "transcripts"


def folder_of(service: Service) -> Path:
    """Return where a server's words are kept: product and version."""
    return DATA / re.sub(r"[^\w.]+", "-", f"{service.name} {service.version.partition(' ')[2]}").lower().strip("-")


@pytest.mark.parametrize(
    ("server", "name"), [(server, name) for server, cases in CASES.items() for name in cases], ids=str
)
def test_a_refusal_has_its_kind_and_exit_code(
    server: str, name: str, running_servers: Callable[[str], Service], stack: ExitStack
) -> None:
    """A real server's refusal becomes the outcome and the exit code that fit its reason; nothing is moved."""
    case, service = CASES[server][name], running_servers(server)
    served = service.make_repo(with_commit=False)
    case.prepare(served.repo)
    service.prepare(served.repo)  # what the case stored is ours; the server may run as another user
    before = served.repo.refs()
    asked = case.request_for(served)
    if os.environ.get("GITREF_LOCK_RECORD") == "1":
        body = receive_pack_request(in_sending_order(case.edits), write_pack(case.objects), atomic=len(case.edits) > 1)
        raw.keep(folder_of(service), name, raw.push(asked, body))
    outcome = asked.open_store(stack).swap(case.edits, case.objects)
    assert served.repo.refs() == before
    if case.kind is None:
        assert isinstance(outcome, Superseded), outcome
        return
    if case.may_hang_up and isinstance(outcome, Unknown):
        return
    assert isinstance(outcome, Refused), outcome
    assert outcome.kind is case.kind, outcome
    assert exits.exit_code(swap_failure(outcome, "the swap", "")) == case.exit_code


def test_a_wrong_password_is_an_authentication_failure(
    running_servers: Callable[[str], Service], stack: ExitStack
) -> None:
    """Reads and swaps with a wrong password end as such, with exit code 3, and never show the password."""
    service = running_servers("nginx")
    served = service.make_repo()
    wrong = Served(service, served.repo, re.sub(r"//[^@]*@", "//runner:wrong-secret@", served.url))
    store = wrong.open_store(stack)
    with pytest.raises(RemoteError) as caught:
        store.snapshot(["refs/locks/"])
    assert caught.value.code == "authentication"
    assert exits.exit_code(remote_failure(caught.value, store.display_url)) == exits.CONFIGURATION
    case = CASES["nginx"]["stale-create"]
    outcome = store.swap(case.edits, case.objects)
    assert isinstance(outcome, Refused)
    assert outcome.kind.value == "authentication"
    assert "wrong-secret" not in f"{caught.value}{outcome}{store.display_url}"


def test_an_unknown_authority_is_a_tls_failure(running_servers: Callable[[str], Service], stack: ExitStack) -> None:
    """A server whose certificate nobody vouches for is not talked to, and the error says why."""
    service = running_servers("nginx")
    served = service.make_repo()
    from dataclasses import replace

    stranger = Served(replace(service, environ={}), served.repo, served.url)
    with pytest.raises(RemoteError) as caught:
        stranger.open_store(stack).snapshot(["refs/locks/"])
    assert caught.value.code == "tls"
    assert not caught.value.transient


def test_a_key_that_is_not_known_is_an_authentication_failure(
    running_servers: Callable[[str], Service], stack: ExitStack, tmp_path: Path
) -> None:
    """OpenSSH's refusal of a login is an authentication failure, not a broken network."""
    from dataclasses import replace

    from tests.realservers.logins import client, make_keys

    service = running_servers("sshd")
    served = service.make_repo()
    make_keys(tmp_path)
    stranger = Served(replace(service, environ=client(tmp_path)), served.repo, served.url)
    with pytest.raises(RemoteError) as caught:
        stranger.open_store(stack).snapshot(["refs/locks/"])
    assert caught.value.code == "authentication"
    if os.environ.get("GITREF_LOCK_RECORD") == "1":
        raw.keep(folder_of(service), "unknown-key", raw.push(stranger, b""))


@pytest.mark.parametrize(
    ("server", "code"),
    [
        ("nginx", "not-found"),
        ("apache", "not-found"),
        ("lighttpd", "not-found"),
        ("git-daemon", "not-found"),
        ("sshd", "not-found"),
        ("gitolite", "permission"),  # it does not tell strangers what there is
    ],
)
def test_a_missing_repository_is_not_found(
    server: str, code: str, running_servers: Callable[[str], Service], stack: ExitStack
) -> None:
    """Reading a repository that is not there says so, whatever the server's way of saying it, and is not retried.

    A busy Apache closes some of these connections without a word; that is read again, as every command does.
    """
    store = missing(running_servers(server)).open_store(stack)
    system = real_system()
    with pytest.raises(RemoteError) as caught:
        reading(system, lambda: store.snapshot(["refs/locks/"]), Deadline.after(system, 60.0))
    assert (caught.value.code, caught.value.transient) == (code, False), caught.value


def test_a_missing_repository_on_jgit_looks_unreachable(
    running_servers: Callable[[str], Service], stack: ExitStack
) -> None:
    """JGit's daemon hangs up without a word: no reason can be given, and nothing is claimed to be sent."""
    store = missing(running_servers("jgit")).open_store(stack)
    with pytest.raises(RemoteError) as caught:
        store.snapshot(["refs/locks/"])
    assert (caught.value.code, caught.value.transient) == ("unreachable", True)
    case = CASES["jgit"]["stale-create"]
    outcome = store.swap(case.edits, case.objects)
    assert isinstance(outcome, Unknown)
    assert outcome.nothing_sent


def missing(service: Service) -> Served:
    """Return a repository that the server does not have."""
    return Served(service, service.make_repo().repo, service.address("nothing-here.git"))
