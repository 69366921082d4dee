"""Signed commits, judged by the real git: `git verify-commit`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich.objects import Commit

from gitref_lock.core.names import Oid
from gitref_lock.landing.commit import CommitWish, build_commit, draft
from gitref_lock.landing.errors import SigningError
from gitref_lock.landing.signing import sign_commit, wants_signature
from gitref_lock.landing.stage import stage
from tests.support.clones import NOW_S, open_checkout, write
from tests.support.gitcli import git, git_result
from tests.support.needs import needed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a repository with one commit, one edit, and commit.gpgSign on."""
    root = tmp_path / "repo"
    git("init", "-q", root, cwd=tmp_path)
    write(root, "a", "1\n")
    git("add", ".", cwd=root)
    git("commit", "-q", "-m", "base", cwd=root)
    git("config", "commit.gpgSign", "true", cwd=root)
    write(root, "a", "2\n")
    return root


def committed(path: Path, env: dict[str, str] | None = None) -> Commit:
    """Stage the edit and build the commit."""
    with open_checkout(path, env) as checkout:
        staged = stage(checkout)
        assert staged.base is not None
        assert wants_signature(checkout)
        return build_commit(checkout, staged.tree, [staged.base], draft(checkout, CommitWish(["signed"]), NOW_S))


def is_verified(path: Path, commit: Commit, env: dict[str, str] | None = None) -> bool:
    """Ask git."""
    return git_result("verify-commit", commit.id.decode(), cwd=path, env=env).returncode == 0


def ssh_key(path: Path) -> Path:
    """Make a key pair and let the repository trust it."""
    key = path.parent / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    allowed = path.parent / "allowed"
    allowed.write_text("* " + key.with_suffix(".pub").read_text())
    git("config", "gpg.format", "ssh", cwd=path)
    git("config", "gpg.ssh.allowedSignersFile", str(allowed), cwd=path)
    return key


def test_ssh_key_file(path: Path) -> None:
    """A private key's path, or its public half, signs; git verifies."""
    key = ssh_key(path)
    for name in (key, key.with_suffix(".pub")):
        git("config", "user.signingKey", str(name), cwd=path)
        assert is_verified(path, committed(path))


def test_a_replayed_commit_is_signed_anew(path: Path) -> None:
    """A commit with another parent gets its own valid signature instead of the old one."""
    git("config", "user.signingKey", str(ssh_key(path)), cwd=path)
    commit = committed(path)
    with open_checkout(path) as checkout:
        moved = Commit.from_string(commit.as_raw_string())
        moved.message = b"replayed\n"
        sign_commit(checkout, moved)
        checkout.add_object(moved)
        assert moved.gpgsig != commit.gpgsig
    assert is_verified(path, moved)


def test_without_the_setting_an_old_signature_is_dropped(path: Path) -> None:
    """A signature that no longer fits never stays on a commit."""
    git("config", "user.signingKey", str(ssh_key(path)), cwd=path)
    commit = committed(path)
    git("config", "commit.gpgSign", "false", cwd=path)
    with open_checkout(path) as checkout:
        sign_commit(checkout, commit)
        assert not wants_signature(checkout)
    assert commit.gpgsig is None


@pytest.fixture
def agent(path: Path) -> Iterator[dict[str, str]]:
    """Return the environment of an ssh-agent that holds the key."""
    key = ssh_key(path)
    socket = path.parent / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        environment = {"SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", key], env=environment | {"PATH": "/usr/bin:/bin"}, check=True)
        key.unlink()
        yield environment
        process.terminate()


def test_ssh_key_in_an_agent(path: Path, agent: dict[str, str]) -> None:
    """A literal public key, or one that gpg.ssh.defaultKeyCommand prints, signs through the agent."""
    public = (path.parent / "key.pub").read_text().strip()
    git("config", "user.signingKey", f"key::{public}", cwd=path)
    assert is_verified(path, committed(path, agent), agent)
    git("config", "--unset", "user.signingKey", cwd=path)
    git("config", "gpg.ssh.defaultKeyCommand", f"echo 'key::{public}'", cwd=path)
    assert is_verified(path, committed(path, agent), agent)


def test_openpgp(path: Path) -> None:
    """A gpg key signs, found by the committer's address; git verifies."""
    home = path.parent / "gnupg"
    home.mkdir(mode=0o700)
    env = {"GNUPGHOME": str(home)}
    gpg = needed("gpg", "gnupg")
    name = "Test Committer <committer@example.invalid>"
    command = [gpg, "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", name]
    subprocess.run(command, env=env | {"PATH": "/usr/bin:/bin"}, check=True, capture_output=True)
    try:
        commit = committed(path, env)
        assert commit.gpgsig is not None
        assert commit.gpgsig.startswith(b"-----BEGIN PGP SIGNATURE-----")
        assert is_verified(path, commit, env)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=env | {"PATH": "/usr/bin:/bin"}, check=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gpg.format": "ssh"}, "user.signingKey is not set"),
        ({"gpg.format": "ssh", "user.signingKey": "/nowhere/key"}, "could not sign"),
        ({"gpg.format": "ssh", "gpg.ssh.defaultKeyCommand": "exit 3"}, "could not sign"),
        ({"gpg.program": "/nowhere/gpg"}, "cannot be run"),
        ({"gpg.program": "false"}, "could not sign"),
        ({"gpg.format": "carrier-pigeon"}, "unknown"),
    ],
)
def test_a_signature_that_fails_stops_the_push(path: Path, settings: dict[str, str], words: str) -> None:
    """When signing is asked for and fails there is no commit without a signature, but an error with the reason."""
    for key, value in settings.items():
        git("config", key, value, cwd=path)
    with pytest.raises(SigningError, match=words) as caught:
        committed(path)
    assert caught.value.code == "signing-failed"
    assert Oid(git("rev-parse", "HEAD", cwd=path))
