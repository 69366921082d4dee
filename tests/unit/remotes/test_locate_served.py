"""Every way CI hands over a credential opens a server that demands one, through a real request of the real adapter."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitref_lock.ports import RemoteError
from gitref_lock.remotes import gitconfig, open_store
from gitref_lock.remotes.locate import find_repository, resolve
from gitref_lock.system import real_system
from gitref_lock.testing.gitserver import GitHttpServer

USER, PASSWORD = "ci-user", "s3cr3t/p@ss"
HEADER = "AUTHORIZATION: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Site:
    """A served repository that demands a credential, and a clone-like folder whose remote is that server."""

    def __init__(self, root: Path, server: GitHttpServer) -> None:
        self.root = root
        self.server = server
        self.home = root / "home"
        self.repo = root / "repo"
        self.home.mkdir()
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}
        self.url = f"{server.url}/r.git"
        subprocess.run(["git", "init", "-q", str(self.repo)], env=self.environ, check=True)
        self.configure(f'[remote "origin"]\nurl = {self.url}\n')

    def configure(self, text: str) -> None:
        with (self.repo / ".git/config").open("a", encoding="utf-8") as out:
            out.write(text)

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.home / name
        path.write_text(text, "utf-8")
        path.chmod(mode)
        return path

    def read_refs(self) -> list[str]:
        paths = find_repository(self.repo, self.environ)
        assert paths is not None
        config = gitconfig.load(paths.git_dir, paths.common_dir, paths.work_tree, self.environ)
        store = open_store(resolve(None, None, paths, config, self.environ), real_system())
        try:
            return sorted(store.snapshot(["refs/heads/"]).refs)
        finally:
            store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    served = tmp_path / "served"
    served.mkdir()
    author = ["-c", "user.name=n", "-c", "user.email=e"]
    for words in (
        ["init", "-q", "-b", "main", "--bare", "r.git"],
        ["clone", "-q", "r.git", "seed"],
        ["-C", "seed", *author, "commit", "-q", "--allow-empty", "-m", "m"],
        ["-C", "seed", "push", "-q", "origin", "HEAD:refs/heads/main"],
    ):
        subprocess.run(["git", *words], cwd=served, check=True, capture_output=True)
    with GitHttpServer(served, auth=(USER, PASSWORD)) as server:
        yield Site(tmp_path, server)


def token_in_address(site: Site) -> None:
    secret = "s3cr3t%2Fp%40ss"
    site.configure(f'[remote "origin"]\nurl =\nurl = {site.url.replace("://", f"://{USER}:{secret}@")}\n')


def extra_header(site: Site) -> None:
    site.configure(f'[http "{site.server.url}/"]\nextraheader = {HEADER}\n')


def included_file(site: Site) -> None:
    secret = site.write("credentials.config", f'[http "{site.server.url}/"]\nextraheader = {HEADER}\n')
    site.configure(f'[includeIf "gitdir:{site.repo}/.git"]\npath = {secret}\n')


def environment_settings(site: Site) -> None:
    site.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraheader", "GIT_CONFIG_VALUE_0": HEADER}


def helper(site: Site) -> None:
    site.write("secret", f"username={USER}\npassword={PASSWORD}\n")
    site.configure('[credential]\nhelper = "!cat ~/secret; :"\n')


def askpass(site: Site) -> None:
    body = f"#!/bin/sh\ncase \"$1\" in User*) echo '{USER}' ;; *) echo '{PASSWORD}' ;; esac\n"
    site.environ["GIT_ASKPASS"] = str(site.write("ask", body, 0o700))


def netrc(site: Site) -> None:
    site.write(".netrc", f"machine 127.0.0.1\nlogin {USER}\npassword {PASSWORD}\n")


def stale_netrc_then_helper(site: Site) -> None:
    site.write(".netrc", "machine 127.0.0.1 login old password old\n")
    helper(site)


def other_address(site: Site) -> None:
    site.configure(f'[remote "origin"]\nurl =\nurl = short:r.git\n[url "{site.server.url}/"]\ninsteadOf = short:\n')
    helper(site)


WAYS = [
    token_in_address, extra_header, included_file, environment_settings, helper, askpass, netrc,
    stale_netrc_then_helper, other_address,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_server_that_demands_a_credential_gets_it(site: Site, way: Callable[[Site], None]) -> None:
    """The listing succeeds with what this way of CI provides."""
    way(site)
    assert site.read_refs() == ["refs/heads/main"]


def test_a_wrong_header_is_not_helped_out_by_a_credential(site: Site) -> None:
    """With a refused header nothing else is sent, and the error shows no secret."""
    site.configure(f"[http]\nextraheader = {HEADER.replace('Basic ', 'Basic AAAA')}\n")
    helper(site)
    with pytest.raises(RemoteError) as caught:
        site.read_refs()
    assert caught.value.code == "authentication"
    assert "AAAA" not in str(caught.value)


def test_nothing_to_offer_is_an_authentication_error(site: Site) -> None:
    """Without any credential the server's refusal is reported as one."""
    with pytest.raises(RemoteError) as caught:
        site.read_refs()
    assert caught.value.code == "authentication"


def test_a_proxy_is_used_when_configured(site: Site) -> None:
    """A proxy that is not there makes the remote unreachable: it was really asked for."""
    extra_header(site)
    site.configure("[http]\nproxy = 127.0.0.1:1\n")
    with pytest.raises(RemoteError) as caught:
        site.read_refs()
    assert caught.value.code == "unreachable"
    site.environ["no_proxy"] = "127.0.0.1"
    assert site.read_refs() == ["refs/heads/main"]
