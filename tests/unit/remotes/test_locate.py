"""Remotes are found and addressed as git does it; what git says is asked of git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitref_lock.remotes import gitconfig
from gitref_lock.remotes.gitconfig import GitConfig, RemoteConfigError
from gitref_lock.remotes.locate import fetch_url, push_url, resolve, rewrite
from gitref_lock.remotes.repository import RepositoryPaths, find_repository
from gitref_lock.remotes.settings import Credential, RemoteSpec


class Clone:
    """A repository with a configuration and an environment of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "home").mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C",
        }
        self.git("init", "-q", "-b", "main", str(root / "repo"), cwd=root)

    def git(self, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=cwd or self.root / "repo",
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.removesuffix("\n")

    def configure(self, text: str) -> None:
        with (self.root / "repo/.git/config").open("a", encoding="utf-8") as out:
            out.write(text)

    @property
    def paths(self) -> RepositoryPaths:
        found = find_repository(self.root / "repo", self.environ)
        assert found is not None
        return found

    @property
    def config(self) -> GitConfig:
        paths = self.paths
        return gitconfig.load(paths.git_dir, paths.common_dir, paths.work_tree, self.environ)

    def resolve(
        self, remote: str | None = None, branch: str | None = None, changes: Mapping[str, str] | None = None
    ) -> RemoteSpec:
        environ = {**self.environ, **(changes or {})}
        return resolve(remote, branch, self.paths, self.config, environ, base=self.root / "repo")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


REWRITES = [
    '[url "ssh://git@h.example/"]\ninsteadOf = https://h.example/\n',
    '[url "https://mirror.example/"]\ninsteadOf = https://h.example/\n[url "https://o.example/"]\ninsteadOf = https://h.example/a/\n',
    '[url "ssh://git@h.example/"]\npushInsteadOf = https://h.example/\n',
    '[url "https://m.example/"]\ninsteadOf = https://h.example/\n[url "ssh://p.example/"]\npushInsteadOf = https://h.example/\n',
    '[url "https://x.example/"]\ninsteadOf = gh:\n[url "ssh://y.example/"]\ninsteadOf = gh:a/\n',
    '[remote "o"]\npushurl = https://h.example/pushed\n[url "ssh://p.example/"]\npushInsteadOf = https://h.example/\n',
    '[remote "o"]\npushurl = gh:pushed\n[url "https://x.example/"]\ninsteadOf = gh:\n',
    '[remote "o"]\npushurl = https://one.example/\npushurl = https://two.example/\n',
    '[url "https://x.example/"]\ninsteadOf = https://h.example/a/b\ninsteadOf = https://h.example/a/\n',
    '[url "https://nothing.example/"]\ninsteadOf = ""\n',
    "",
]


@pytest.mark.parametrize("rewrites", REWRITES)
@pytest.mark.parametrize("url", ["https://h.example/a/b", "https://h.example/c", "gh:a/b", "git@h.example:a/b"])
def test_fetch_and_push_urls_are_gits(clone: Clone, rewrites: str, url: str) -> None:
    """insteadOf, pushInsteadOf and pushurl give the addresses that git itself reports."""
    clone.configure(f'[remote "o"]\nurl = {url}\n{rewrites}')
    assert fetch_url("o", clone.config) == clone.git("remote", "get-url", "o")
    assert push_url("o", clone.config) == clone.git("remote", "get-url", "--push", "o")


@pytest.mark.parametrize("rewrites", REWRITES[:5])
def test_an_address_given_outright_is_rewritten_too(clone: Clone, rewrites: str) -> None:
    """A URL that is no configured remote obeys insteadOf, as ``git ls-remote --get-url`` shows."""
    clone.configure(rewrites)
    for url in ("https://h.example/a/b", "gh:a/b"):
        assert rewrite(url, clone.config, "insteadof") == clone.git("ls-remote", "--get-url", url)


def test_reads_and_swaps_meet_at_the_push_url(clone: Clone) -> None:
    """A mirror that serves fetches is not read: it could show a lock that was taken long ago as free."""
    clone.configure('[remote "origin"]\nurl = https://mirror.example/r\npushurl = ssh://git@h.example/r\n')
    spec = clone.resolve()
    assert (spec.scheme, spec.url, spec.push_url) == ("ssh", "ssh://git@h.example/r", "ssh://git@h.example/r")
    assert fetch_url("origin", clone.config) == "https://mirror.example/r"


@pytest.mark.parametrize(
    ("text", "branch", "name"),
    [
        ('[remote "origin"]\nurl = /o\n[remote "up"]\nurl = /u\n', None, "origin"),
        ('[remote "origin"]\nurl = /o\n[remote "up"]\nurl = /u\n[branch "main"]\nremote = up\n', None, "up"),
        ('[remote "origin"]\nurl = /o\n[remote "up"]\nurl = /u\n[branch "main"]\nremote = up\n', "other", "origin"),
        ('[remote "origin"]\nurl = /o\n[remote "up"]\nurl = /u\n[branch "x"]\nremote = up\n', "x", "up"),
        ('[remote "origin"]\nurl = /o\n[branch "main"]\nremote = .\n', None, "origin"),
        ('[remote "only"]\nurl = /u\n', None, "only"),
        ('[remote "origin"]\nurl = /o\n[remote "p"]\nurl = /p\n[branch "main"]\npushRemote = p\n', None, "origin"),
        ('[remote "origin"]\nurl = /o\n[remote]\npushDefault = p\n[remote "p"]\nurl = /p\n', None, "origin"),
    ],
)
def test_the_default_is_the_upstream_remote_then_origin(clone: Clone, text: str, branch: str | None, name: str) -> None:
    """Settings for personal copies do not move the place where runners meet."""
    clone.configure(text)
    assert clone.resolve(None, branch).name == name


def test_relative_addresses_refer_to_the_right_folder(clone: Clone) -> None:
    """A configured path counts from the top of the work tree; a given one from here, then from the top."""
    clone.configure('[remote "origin"]\nurl = ../r.git\n')
    (clone.root / "repo/sub/near").mkdir(parents=True)
    (clone.root / "far").mkdir()
    sub = clone.root / "repo/sub"
    assert clone.resolve().url == str(clone.root / "r.git")
    near = resolve("near", None, clone.paths, clone.config, clone.environ, base=sub)
    far = resolve("../far", None, clone.paths, clone.config, clone.environ, base=sub)
    assert (near.url, near.scheme, near.name) == (str(sub / "near"), "path", None)
    assert far.url == str(clone.root / "far")


@pytest.mark.parametrize(
    ("text", "remote", "code", "words"),
    [
        ("", None, "no-remote", "no remote called origin"),
        ('[remote "a"]\nurl = /a\n[remote "b"]\nurl = /b\n', None, "no-remote", "a, b"),
        ('[remote "a"]\nurl = /a\n', "b", "unknown-remote", "configured: a"),
        ("", "u:p/nowhere:x", "", ""),
        ('[remote "a"]\nvcs = hg\nurl = x\n', "a", "unsupported-transport", "remote helper"),
        ('[remote "a"]\nurl = ftp://h.example/r\n', "a", "unsupported-transport", "ftp"),
        ('[remote "a"]\nurl = https://h.example/r\n[http]\nproxy = socks5h://p\n', "a", "unsupported-proxy", "socks5h"),
        ('[remote "a"]\nurl = https://h.example/r\n[http]\nextraHeader = B\\nad: x\n', "a", "bad-header", "no header"),
        ('[remote "a"]\nurl = https://h.example/r\n[http]\nsslVerify = maybe\n', "a", "bad-config", "maybe"),
    ],
)
def test_what_cannot_be_resolved_says_why(clone: Clone, text: str, remote: str | None, code: str, words: str) -> None:
    """No remote, a wrong name, a helper, an unknown transport, a wrong setting: a typed error with the way out."""
    clone.configure(text)
    if not code:
        assert clone.resolve(remote).scheme == "ssh"
        return
    with pytest.raises(RemoteConfigError) as caught:
        clone.resolve(remote)
    assert caught.value.code == code
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_outside_any_repository_a_url_is_enough(clone: Clone) -> None:
    """A URL needs no clone; nothing at all is an error that says what to give."""
    config = gitconfig.load(None, None, None, clone.environ)
    assert resolve("https://h.example/r", None, None, config, clone.environ).url == "https://h.example/r"
    with pytest.raises(RemoteConfigError, match="no git repository") as caught:
        resolve(None, None, None, config, clone.environ)
    assert caught.value.code == "no-remote"


def test_a_token_in_the_address_becomes_a_credential(clone: Clone) -> None:
    """The address is free of it, the settings have it, and nothing that is printed shows it."""
    clone.configure('[remote "origin"]\nurl = https://ci-token:s3cr3t%2Fx@h.example/r\n')
    spec = clone.resolve()
    assert spec.url == "https://h.example/r"
    assert spec.http.credential == Credential("ci-token", "s3cr3t/x")
    assert spec.http.next_credential is not None
    assert "s3cr3t" not in repr(spec)


def test_a_configured_authorization_header_wins(clone: Clone) -> None:
    """With an Authorization header no credential is sent beside it, and none is asked for."""
    clone.configure(
        '[remote "origin"]\nurl = https://u:p@h.example/r\n'
        '[http "https://h.example/"]\nextraheader = AUTHORIZATION:basic eA==\nextraheader = X-A: b \n'
    )
    http = clone.resolve().http
    assert http.headers == (("AUTHORIZATION", "basic eA=="), ("X-A", "b"))
    assert http.credential is None
    assert http.next_credential is None


def test_ssh_is_started_as_git_would(clone: Clone) -> None:
    """GIT_SSH_COMMAND, then core.sshCommand, then GIT_SSH, which is one word and no shell command."""
    clone.configure('[remote "origin"]\nurl = git@h.example:r\n[ssh]\nvariant = simple\n')
    assert clone.resolve().ssh_command is None
    assert clone.resolve().environment == {"GIT_SSH_VARIANT": "simple"}
    assert clone.resolve(changes={"GIT_SSH_VARIANT": "plink"}).environment == {}
    assert clone.resolve(changes={"GIT_SSH": "/my ssh"}).ssh_command == "'/my ssh'"
    clone.configure('[core]\nsshCommand = "ssh -i $TEMP/key"\n')
    assert clone.resolve(changes={"GIT_SSH": "/my ssh"}).ssh_command == "ssh -i $TEMP/key"
    assert clone.resolve(changes={"GIT_SSH_COMMAND": "ssh -v"}).ssh_command == "ssh -v"


def test_the_filter_of_a_partial_clone_is_kept(clone: Clone) -> None:
    """Only a promisor remote has a filter, whichever way the clone marks it."""
    clone.configure('[remote "origin"]\nurl = /r\npartialclonefilter = blob:none\n')
    assert clone.resolve().promisor_filter is None
    clone.configure('[remote "origin"]\npromisor = true\n')
    assert clone.resolve().promisor_filter == "blob:none"
    clone.configure('[remote "origin"]\npromisor = false\n[extensions]\npartialClone = origin\n')
    assert clone.resolve().promisor_filter == "blob:none"
