"""Each form of address, taken apart as git takes it apart."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.remotes.address import Address, parse_address
from gitref_lock.remotes.gitconfig import RemoteConfigError

BASE = Path("/base/dir")
HOME = {"HOME": "/h"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h.example/a/b.git", Address("http", "https://h.example/a/b.git")),
        ("HTTPS://h.example/a", Address("http", "https://h.example/a")),
        ("http://[::1]:8080/r", Address("http", "http://[::1]:8080/r")),
        ("https://u@h.example/r", Address("http", "https://h.example/r", "u")),
        ("https://u:p@h.example:8443/r", Address("http", "https://h.example:8443/r", "u", "p")),
        ("https://u:@h.example/r", Address("http", "https://h.example/r", "u", "")),
        ("https://:t@h.example/r", Address("http", "https://h.example/r", "", "t")),
        ("https://u%40x:p%2Fq@h.example/r", Address("http", "https://h.example/r", "u@x", "p/q")),
        ("https://u:p@ss@h.example/r@v", Address("http", "https://h.example/r@v", "u", "p@ss")),
        ("https://h.example", Address("http", "https://h.example")),
        ("ssh://git@h.example:22/a", Address("ssh", "ssh://git@h.example:22/a", "git")),
        ("ssh://git:secret@h.example/a", Address("ssh", "ssh://git@h.example/a", "git")),
        ("ssh://h.example/~u/a", Address("ssh", "ssh://h.example/~u/a")),
        ("git+ssh://h.example/a", Address("ssh", "ssh://h.example/a")),
        ("ssh+git://[::1]:22/a", Address("ssh", "ssh://[::1]:22/a")),
        ("git@h.example:a/b.git", Address("ssh", "git@h.example:a/b.git")),
        ("alias:a", Address("ssh", "alias:a")),
        ("[::1]:a", Address("ssh", "[::1]:a")),
        ("git@[h.example:22]:a", Address("ssh", "git@[h.example:22]:a")),
        ("git://h.example:9/a", Address("git", "git://h.example:9/a")),
        ("git://u:p@h.example/a", Address("git", "git://h.example/a")),
        ("file:///a/b.git", Address("path", "/a/b.git")),
        ("file:///a/b%20c", Address("path", "/a/b c")),
        ("/a/b:c", Address("path", "/a/b:c")),
        ("./a:b", Address("path", "/base/dir/a:b")),
        ("../r.git", Address("path", "/base/r.git")),
        ("r", Address("path", "/base/dir/r")),
        (".", Address("path", "/base/dir")),
        ("~/r", Address("path", "/h/r")),
    ],
)
def test_every_form_is_taken_apart(text: str, expected: Address) -> None:
    """Transport, address without password, user and password."""
    assert parse_address(text, BASE, HOME) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-address"),
        ("https:///r", "bad-address"),
        ("https://h.example:99999/r", "bad-address"),
        ("https://h.example:x/r", "bad-address"),
        ("https://h example/r", "bad-address"),
        ("https://h.example/r\nHost: x", "bad-address"),
        ("https://u%0a:p@h.example/r", "bad-address"),
        ("https://%ff:p@h.example/r", "bad-address"),
        ("ssh://-oProxyCommand=x/r", "bad-address"),
        ("ssh://-l@h.example/r", "bad-address"),
        ("-oProxyCommand=x:r", "bad-address"),
        ("git@-oProxyCommand=x:r", "bad-address"),
        ("ssh://h.example", "bad-address"),
        ("git://h.example/", "bad-address"),
        ("ftp://h.example/r", "unsupported-transport"),
        ("ext::sh -c x", "unsupported-transport"),
        ("codecommit::eu-west-1://r", "unsupported-transport"),
    ],
)
def test_what_cannot_be_used_is_a_typed_error(text: str, code: str) -> None:
    """Bad hosts, ports and escapes, option look-alikes and foreign transports are refused before anything starts."""
    with pytest.raises(RemoteConfigError) as caught:
        parse_address(text, BASE, HOME)
    assert caught.value.code == code


@settings(deadline=None)
@given(
    user=st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), max_size=8),
    password=st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=["Cc"]), min_size=4),
)
def test_credentials_leave_the_address_whole(user: str, password: str) -> None:
    """What was encoded into an address comes out as it was, and neither the address nor an error holds it."""
    encoded = quote(password, safe="")
    user = "".join(char for char in user if char.isprintable())
    address = parse_address(f"https://{quote(user, safe='')}:{encoded}@h.example/r", BASE, HOME)
    assert (address.username, address.password) == (user, password)
    assert address.url == "https://h.example/r"
    assert "password" not in repr(address)
    with pytest.raises(RemoteConfigError) as caught:
        parse_address(f"https://u:{encoded}@h.example:0/r", BASE, HOME)
    assert encoded not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["git@h.example:a/b.git", "alias:a", "ssh://git@h.example:2222/a", "git+ssh://h.example/a"]
)
def test_git_uses_ssh_for_the_same_addresses(tmp_path: Path, text: str) -> None:
    """Git starts ssh for what is taken for ssh here, with the same host."""
    fake = tmp_path / "fake-ssh"
    fake.write_text('#!/bin/sh\necho "$@" >> "$0.log"\nexit 1\n', "utf-8")
    fake.chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_SSH": str(fake), "GIT_SSH_VARIANT": "ssh"}
    subprocess.run(["git", "ls-remote", text], env=environ, cwd=tmp_path, capture_output=True, check=False)
    address = parse_address(text, tmp_path, environ)
    assert address.scheme == "ssh"
    host = address.url.removeprefix("ssh://").partition("/")[0].partition(":")[0]
    assert host in (tmp_path / "fake-ssh.log").read_text("utf-8").split()
