"""The HTTP store against real git: what one operation costs, and every way in which a request can go wrong."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from dulwich.repo import Repo as DulwichRepo
from dulwich.server import BackendRepo, DictBackend
from dulwich.web import make_wsgi_chain

from gitref_lock.core.names import Oid, RefName
from gitref_lock.core.refs import Applied, RefusalKind, Refused, Superseded, SwapOutcome, Unknown
from gitref_lock.ports import Capabilities, FetchRequest, RemoteError, System
from gitref_lock.remotes.http import HttpStore
from gitref_lock.remotes.http1 import http_date
from gitref_lock.remotes.settings import HttpSettings, RemoteSpec
from gitref_lock.system import SystemClock, SystemEntropy, real_system
from gitref_lock.testing.contract_kit import create, delete, lock, present, state, update
from gitref_lock.testing.faults import (
    DropAfter,
    DropBefore,
    EmptyOk,
    Fault,
    FaultPlan,
    ResetMidReply,
    Stall,
    Status,
    Trickle,
    Truncate,
    WithHeaders,
)
from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from gitref_lock.testing.memory import MemorySink
from tests.support.gitcli import Repo, git
from tests.support.scripted import ProxyServer

ONE, TWO, THREE = state("one"), state("two"), state("three")
PUSH, LIST, FETCH = RequestKind.RECEIVE_PACK, RequestKind.LS_REFS, RequestKind.FETCH


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack that is unwound after the test."""
    with ExitStack() as opened:
        yield opened


@dataclass
class Naps:
    """A sleeper that only notes how long it was asked to sleep."""

    taken: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Note it."""
        self.taken.append(seconds)


Opened = Callable[..., HttpStore]


@pytest.fixture
def open_http(stack: ExitStack, repo_url: str) -> Opened:
    """Return a function that opens a store on the served repository."""

    def opened(system: System | None = None, http: HttpSettings | None = None, url: str = repo_url) -> HttpStore:
        store = HttpStore(RemoteSpec(None, "http", url, url, http=http or HttpSettings()), system or real_system())
        stack.callback(store.close)
        return store

    return opened


def swapped(store: HttpStore, *, timeout_s: float = 20) -> SwapOutcome:
    """Create lock a."""
    return store.swap([create("a", ONE)], ONE, timeout_s=timeout_s)


class TestCost:
    """Requests and bytes, counted on both sides."""

    def test_each_verb_is_one_request_on_one_connection(
        self, git_server: GitHttpServer, open_http: Opened, bare_repo: Repo
    ) -> None:
        """A listing, a read and each swap cost one POST; client and server agree on every byte."""
        store = open_http()
        assert present(store) == {}
        assert swapped(store) == Applied()
        both = [update("a", ONE, TWO), create("b", TWO)]
        assert store.swap(both, TWO) == Applied()
        assert set(store.read([TWO[0].oid])) == {TWO[0].oid}
        counts = git_server.counts.snapshot()
        assert dict(counts.by_kind) == {LIST: 1, PUSH: 2, FETCH: 1}
        assert counts.connections == store.traffic.connections == 1
        assert (store.traffic.bytes_sent, store.traffic.bytes_received) == (counts.bytes_in, counts.bytes_out)
        assert store.traffic.by_kind == {"ls-refs": 1, "swap": 2, "fetch": 1}
        assert bare_repo.ref(lock("b")) == TWO[0].oid

    def test_unrelated_refs_cost_nothing(self, git_server: GitHttpServer, open_http: Opened, bare_repo: Repo) -> None:
        """The bytes of a whole cycle stay the same when the repository gets two thousand branches."""

        def cycle() -> int:
            store = open_http()
            before = git_server.counts.snapshot()
            present(store)
            assert swapped(store) == Applied()
            store.read([ONE[0].oid])
            assert store.swap([delete("a", ONE)], []) == Applied()
            store.probe()
            spent = git_server.counts.snapshot().diff(before)
            probe = spent.by_kind[RequestKind.ADVERTISE_RECEIVE]
            assert (spent.requests, probe) == (5, 1)
            return store.traffic.bytes_received

        few = cycle()
        tip = bare_repo.ref("refs/heads/main")
        lines = "".join(f"create refs/heads/branch-{index:05d} {tip}\n" for index in range(2000))
        bare_repo.git("update-ref", "--stdin", stdin=lines.encode())
        bare_repo.git("pack-refs", "--all")
        assert cycle() - few < 100_000 < 2000 * 60

    def test_a_probe_reads_the_first_packet_only(self, open_http: Opened, bare_repo: Repo) -> None:
        """A long advertisement is not downloaded to learn its first line."""
        tip = bare_repo.ref("refs/heads/main")
        lines = "".join(f"{tip} refs/heads/{index:05d}-{'x' * 150}\n" for index in range(5000))
        (bare_repo.path / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{lines}")
        store = open_http()
        assert store.probe().atomic
        assert store.traffic.bytes_received < 300_000

    def test_a_store_needs_no_program_and_few_modules(self, repo_url: str, bare_repo: Repo) -> None:
        """Over HTTP no child process can be started and nothing is imported that lock commands do not use."""
        script = (
            "import sys\n"
            "from gitref_lock.remotes import open_store\n"
            "from gitref_lock.remotes.settings import RemoteSpec\n"
            "from gitref_lock.system import real_system\n"
            f"store = open_store(RemoteSpec(None, 'http', {repo_url!r}, {repo_url!r}), real_system())\n"
            "print(*store.snapshot(['refs/heads/']).refs)\n"
            "store.close()\n"
            "heavy = {'dulwich', 'http.client', 'email', 'ssl', 'subprocess', 'asyncio', 'tenacity'}\n"
            "print(*sorted(heavy & set(sys.modules)))\n"
        )
        command = [sys.executable, "-S", "-c", script]
        environment = {"PATH": "/nonexistent", "PYTHONPATH": str(Path(__file__).parents[3])}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.splitlines() == ["refs/heads/main", ""]


class TestSwapFaults:
    """A swap whose request or reply is hurt."""

    @pytest.mark.parametrize("fault", [DropAfter(), Truncate(), ResetMidReply(), Status(502, after_work=True)])
    def test_a_lost_reply_leaves_the_question_open(
        self, fault: Fault, git_server: GitHttpServer, open_http: Opened, bare_repo: Repo
    ) -> None:
        """The work was done; the outcome is Unknown, and nothing was sent again."""
        git_server.set_faults(FaultPlan().on(PUSH, 1, fault))
        outcome = swapped(open_http())
        assert isinstance(outcome, Unknown)
        assert not outcome.nothing_sent
        assert bare_repo.ref(lock("a")) == ONE[0].oid
        assert git_server.counts.snapshot().by_kind[PUSH] == 1

    @pytest.mark.parametrize("fault", [DropBefore(), Status(500), Status(503), Status(504), Status(408)])
    def test_a_lost_request_looks_the_same(
        self, fault: Fault, git_server: GitHttpServer, open_http: Opened, bare_repo: Repo
    ) -> None:
        """Whether the server did the work cannot be told from here."""
        git_server.set_faults(FaultPlan().on(PUSH, 1, fault))
        assert isinstance(swapped(open_http()), Unknown)
        assert bare_repo.ref(lock("a")) is None
        assert git_server.counts.snapshot().by_kind[PUSH] == 1

    @pytest.mark.parametrize("code", [429, 503])
    def test_the_server_s_wish_is_handed_on(self, code: int, git_server: GitHttpServer, open_http: Opened) -> None:
        """A swap is not repeated here; how long to wait is part of the outcome."""
        git_server.set_faults(FaultPlan().on(PUSH, 1, Status(code, retry_after="17")))
        outcome = swapped(open_http())
        assert isinstance(outcome, Unknown)
        assert outcome.retry_after_s == 17

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (401, RefusalKind.AUTHENTICATION),
            (403, RefusalKind.PERMISSION),
            (413, RefusalKind.QUOTA),
            (400, RefusalKind.OTHER),
        ],
    )
    def test_a_status_before_any_work_is_a_refusal(
        self, code: int, kind: RefusalKind, git_server: GitHttpServer, open_http: Opened
    ) -> None:
        """Each has its kind and the server's plain words."""
        fault = Status(code, body=b"because\nof  reasons", headers={"Content-Type": "text/plain"})
        git_server.set_faults(FaultPlan().on(PUSH, 1, fault))
        outcome = swapped(open_http())
        assert isinstance(outcome, Refused)
        assert outcome.kind is kind
        assert outcome.words.startswith(f"HTTP {code}")
        assert outcome.words.endswith("because of reasons")

    def test_a_page_is_not_shown_as_words(self, git_server: GitHttpServer, open_http: Opened) -> None:
        """HTML tells people nothing here."""
        fault = Status(403, body=b"<html>sorry</html>", headers={"Content-Type": "text/html"})
        git_server.set_faults(FaultPlan().on(PUSH, 1, fault))
        outcome = swapped(open_http())
        assert isinstance(outcome, Refused)
        assert "html" not in outcome.words

    def test_a_missing_repository_is_not_found(self, open_http: Opened, git_server: GitHttpServer) -> None:
        """The 404 is confirmed by one discovery, then refused."""
        outcome = swapped(open_http(url=git_server.repo_url("missing.git")))
        assert isinstance(outcome, Refused)
        assert outcome.kind is RefusalKind.NOT_FOUND
        assert git_server.counts.snapshot().requests == 2

    def test_an_empty_reply_is_explained_or_unknown(
        self, git_server: GitHttpServer, open_http: Opened, server_root: Path
    ) -> None:
        """Nothing after 200: the hash format explains it, else the question stays open."""
        git_server.set_faults(FaultPlan().on(PUSH, 1, EmptyOk()))
        outcome = swapped(open_http())
        assert isinstance(outcome, Unknown)
        git("init", "-q", "--bare", "--object-format=sha256", server_root / "long.git", cwd=server_root)
        Repo(server_root / "long.git").config("http.receivepack", "true")
        store = open_http(url=git_server.repo_url("long.git"))
        refused = swapped(store)
        assert isinstance(refused, Refused)
        assert "SHA-256" in refused.words
        with pytest.raises(RemoteError, match="SHA-256") as caught:
            present(store)
        assert caught.value.code == "unsupported"

    def test_another_type_is_no_report(self, git_server: GitHttpServer, open_http: Opened) -> None:
        """A page with status 200, as captive portals send it, proves nothing."""
        fault = Status(200, body=b"<html>welcome</html>", headers={"Content-Type": "text/html"})
        git_server.set_faults(FaultPlan().on(PUSH, 1, fault).always(LIST, fault))
        store = open_http()
        assert isinstance(swapped(store), Unknown)
        with pytest.raises(RemoteError, match="not a smart git server"):
            present(store)

    def test_a_stalled_reply_ends_in_time(self, git_server: GitHttpServer, open_http: Opened) -> None:
        """The call's time holds, and the outcome is Unknown."""
        stall = Stall()
        git_server.set_faults(FaultPlan().on(PUSH, 1, stall))
        clock = SystemClock()
        before = clock.monotonic()
        outcome = swapped(open_http(), timeout_s=0.5)
        assert 0.4 < clock.monotonic() - before < 5
        assert isinstance(outcome, Unknown)
        assert outcome.cause.startswith("timeout")

    def test_a_trickling_reply_ends_in_time(self, git_server: GitHttpServer, open_http: Opened) -> None:
        """A byte now and then does not keep a call alive beyond its time."""
        git_server.set_faults(FaultPlan().on(PUSH, 1, Trickle(pause_s=0.1)))
        outcome = swapped(open_http(), timeout_s=0.5)
        assert isinstance(outcome, Unknown)
        assert outcome.cause.startswith("timeout")

    def test_a_silent_server_is_left_after_the_read_timeout(self, git_server: GitHttpServer, open_http: Opened) -> None:
        """A single wait is bounded too."""
        git_server.set_faults(FaultPlan().on(LIST, 1, Stall()))
        store = open_http(http=HttpSettings(read_timeout_s=0.3))
        with pytest.raises(RemoteError, match="did not answer in time") as caught:
            store.snapshot(["refs/"], timeout_s=60)
        assert (caught.value.code, caught.value.transient) == ("timeout", True)

    def test_a_lost_reply_then_the_same_swap_shows_itself(self, git_server: GitHttpServer, open_http: Opened) -> None:
        """After an Unknown the caller's resend of the same bytes is superseded by its own first copy."""
        git_server.set_faults(FaultPlan().on(PUSH, 1, DropAfter()))
        store = open_http()
        assert isinstance(swapped(store), Unknown)
        assert swapped(store) == Superseded({lock("a"): ONE[0].oid})

    def test_contention_is_waited_out(self, git_server: GitHttpServer, open_http: Opened, bare_repo: Repo) -> None:
        """A lock file that someone holds refuses the first copy; the same bytes pass once it is gone."""
        held = bare_repo.path / "refs" / "locks" / "a.lock"
        held.parent.mkdir(parents=True)
        held.touch()
        git_server.set_faults(FaultPlan().before(PUSH, 2, lambda _: held.unlink()))
        store = open_http()
        assert swapped(store) == Applied()
        assert git_server.counts.snapshot().by_kind[PUSH] == 2
        assert store.traffic.retries == 1


class TestReadFaults:
    """Reads may be repeated, within reason."""

    @pytest.mark.parametrize("code", [429, 503])
    def test_an_overloaded_server_is_waited_for(self, code: int, git_server: GitHttpServer, open_http: Opened) -> None:
        """Retry-After is honoured, then the answer is used."""
        git_server.set_faults(FaultPlan().on(LIST, (1, 2), Status(code, retry_after="7")))
        naps = Naps()
        store = open_http(System(SystemClock(), SystemEntropy(), naps))
        assert present(store) == {}
        assert [int(nap) for nap in naps.taken] == [7, 7]
        assert store.traffic.retries == 2

    @pytest.mark.parametrize("wish", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", ""])
    def test_a_wish_that_cannot_be_met_is_handed_on(
        self, wish: str, git_server: GitHttpServer, open_http: Opened
    ) -> None:
        """A long wait, or none named, is the caller's to decide."""
        git_server.set_faults(FaultPlan().always(LIST, Status(503, retry_after=wish)))
        naps = Naps()
        with pytest.raises(RemoteError, match="503") as caught:
            present(open_http(System(SystemClock(), SystemEntropy(), naps)))
        assert naps.taken == []
        assert (caught.value.code, caught.value.transient) == ("server-error", True)
        assert (caught.value.retry_after_s is not None) == (wish[:1].isalnum() and wish != "soon")

    @pytest.mark.parametrize(
        ("fault", "code", "transient"),
        [
            (Truncate(), "unreachable", True),
            (DropBefore(), "unreachable", True),
            (EmptyOk(), "protocol", True),
            (Status(500), "server-error", True),
            (Status(403), "permission", False),
            (Status(401), "authentication", False),
            (Status(404), "not-found", False),
        ],
    )
    def test_a_failed_read_has_a_code(
        self, fault: Fault, code: str, transient: bool, git_server: GitHttpServer, open_http: Opened
    ) -> None:
        """Each failure says what it is and whether trying again may help."""
        git_server.set_faults(FaultPlan().always(LIST, fault).always(RequestKind.OTHER, fault))
        with pytest.raises(RemoteError) as caught:
            present(open_http())
        assert (caught.value.code, caught.value.transient) == (code, transient)


class TestServerDates:
    """The server's clock."""

    def test_a_listing_carries_the_server_s_time(self, git_server: GitHttpServer, open_http: Opened) -> None:
        """The Date of the reply, between this clock's readings around it."""
        git_server.date_offset_s = 1000
        clock = SystemClock()
        before = clock.monotonic()
        date = open_http().snapshot(["refs/locks/"]).server_date
        assert date is not None
        assert before <= date.sent_s <= date.received_s <= clock.monotonic()
        assert 990 < date.date_s - clock.wall() < 1001

    @pytest.mark.parametrize("headers", [{"Age": "3"}, {"Date": "yesterday"}])
    def test_a_doubtful_date_is_no_date(
        self, headers: dict[str, str], git_server: GitHttpServer, open_http: Opened
    ) -> None:
        """A cached or unreadable Date is not used."""
        git_server.set_faults(FaultPlan().always(LIST, WithHeaders(headers)))
        assert open_http().snapshot(["refs/locks/"]).server_date is None

    @pytest.mark.parametrize("date_s", [0, 951782399, 951782400, 1709164800, 1795514797, 4102444799])
    def test_dates_are_unix_seconds(self, date_s: int) -> None:
        """Leap days and century borders included."""
        text = formatdate(date_s, usegmt=True)
        assert http_date(text) == date_s

    @pytest.mark.parametrize("text", ["", "0", "Sun Nov  6 08:49:37 1994", "Mon, 01 Foo 2024 00:00:00 GMT"])
    def test_what_is_no_date_is_none(self, text: str) -> None:
        """Only the one form that servers must send is read."""
        assert http_date(text) is None


class _QuietHandler(WSGIRequestHandler):
    """Writes no log, and no traceback for the request of version 2 that dulwich cannot read."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def get_stderr(self) -> io.StringIO:
        """Return a place for tracebacks."""
        return io.StringIO()


class TestOldServers:
    """Servers, or proxies in between, that know no protocol version 2."""

    @pytest.fixture
    def old(self, stack: ExitStack, open_http: Opened) -> HttpStore:
        """Return a store whose Git-Protocol header never arrives."""
        proxy = ProxyServer(strips=frozenset({"git-protocol"}))
        stack.callback(proxy.close)
        return open_http(http=HttpSettings(proxy_url=f"http://127.0.0.1:{proxy.port}"))

    def test_everything_works_over_version_zero(self, old: HttpStore, bare_repo: Repo) -> None:
        """Listing, reading, fetching and swapping fall back, and discovery is not repeated for fetches."""
        assert present(old) == {}
        assert swapped(old) == Applied()
        main = bare_repo.ref("refs/heads/main")
        assert main is not None
        assert present(old) == {lock("a"): ONE[0].oid}
        assert dict(old.read([ONE[0].oid])[ONE[0].oid].files)["lock.json"] == b"one"
        sink = MemorySink()
        result = old.fetch(FetchRequest((main,), depth=1), sink)
        assert (result.new_shallow, sink.has(main)) == ((main,), True)
        assert dict(old.snapshot(["refs/heads/"]).refs) == {RefName("refs/heads/main"): main}
        assert old.snapshot(["refs/heads/"]).server_date is None

    def test_a_server_that_reports_ok_for_what_it_refused_is_found_out(
        self, bare_repo: Repo, open_http: Opened, stack: ExitStack
    ) -> None:
        """dulwich's server knows no version 2 and lies about stale swaps; read back, a lie is an open question."""
        served: dict[str, BackendRepo] = {"/repo.git": stack.enter_context(DulwichRepo(str(bare_repo.path)))}
        application = make_wsgi_chain(DictBackend(served))
        server = make_server("127.0.0.1", 0, application, handler_class=_QuietHandler)
        stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        store = open_http(url=f"http://127.0.0.1:{server.server_port}/repo.git")
        assert store.probe() == Capabilities(atomic=True, agent="")
        assert store.swap([create("a", ONE)], ONE, trust_report=False) == Applied()
        assert dict(store.read([ONE[0].oid])[ONE[0].oid].files)["lock.json"] == b"one"
        outcome = store.swap([create("a", TWO)], TWO, trust_report=False)
        assert isinstance(outcome, Unknown)
        assert "refs/locks/a does not show it" in outcome.cause
        assert bare_repo.ref(lock("a")) == ONE[0].oid

    def test_a_gone_object_is_an_error(self, old: HttpStore) -> None:
        """An unknown object cannot be read."""
        present(old)
        with pytest.raises(RemoteError):
            old.read([Oid("1" * 40)])
