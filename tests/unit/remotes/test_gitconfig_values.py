"""Values and URL-scoped settings, compared with ``git config --type=bool`` and ``git config --get-urlmatch``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitref_lock.remotes import gitconfig
from gitref_lock.remotes.gitconfig import GitConfig, RemoteConfigError
from gitref_lock.remotes.gitconfig_parse import parse_environment


def read(home: Path, text: str) -> GitConfig:
    """Read one user file and nothing else."""
    (home / ".gitconfig").write_text(text, encoding="utf-8")
    return gitconfig.load(None, None, None, {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"})


def ask_git(home: Path, *words: str) -> str | None:
    """Ask git about the same file; None when it finds nothing or refuses."""
    environ = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(["git", "config", *words], cwd=home, env=environ, capture_output=True, text=True, check=False)
    return done.stdout.removesuffix("\n") if done.returncode == 0 else None


@pytest.mark.parametrize(
    "word",
    ["= true", "= YES", "= on", "= 1", "= 2k", "= -1", "= 0x10", "", "= false", "= No", "= off", "= 0", "=", "= 0k",
     "= maybe", "= 1x", "= k", "= tru"],
)  # fmt: skip
def test_booleans_read_as_git_reads_them(tmp_path: Path, word: str) -> None:
    """Words, numbers with units, a bare key and an empty value have git's meaning; other words are refused."""
    config = read(tmp_path, f"[a]\nb {word}\n")
    told = ask_git(tmp_path, "--type=bool", "a.b")
    if told is None:
        with pytest.raises(RemoteConfigError):
            config.get_bool("a", None, "b")
    else:
        assert config.get_bool("a", None, "b") is (told == "true")


def test_the_last_value_wins_and_all_are_kept(tmp_path: Path) -> None:
    """Single settings take the last value, lists take all; section and key have no case, subsections have."""
    config = read(tmp_path, '[A "S"]\nk = 1\nK = 2\n[a "s"]\nk = 3\n[a]\nk\n')
    assert config.get("a", "S", "K") == "2"
    assert config.get_all("A", "S", "k") == ["1", "2"]
    assert config.get("a", "s", "k") == "3"
    assert config.get("a", None, "k") == ""
    assert config.get("a", None, "absent") is None
    assert config.subsections("a") == ["S", "s"]
    assert config.get_bool("a", None, "absent", default=True) is True


URL_SETTINGS = [
    "https://h.example",
    "https://h.example/",
    "https://h.example:443/",
    "https://h.example:8443/",
    "HTTPS://H.Example/a",
    "https://h.example/a/",
    "https://h.example/a/b",
    "https://h.example/a/../b",
    "https://h.example/%61",
    "https://h.example/A%2fb",
    "https://u@h.example/",
    "https://u:p@h.example/",
    "https://v@h.example/a",
    "https://*.example/",
    "https://*/",
    "https://*.*/a",
    "https://h.*/",
    "http://h.example/",
    "https://x.h.example/",
    "https://h.example/..",
    "https://[::1]:80/",
    "h.example",
    "https://",
    "/a/path",
]
ADDRESSES = [
    "https://h.example",
    "https://h.example/a",
    "https://h.example/a/b.git",
    "https://h.example/ab",
    "https://h.example:0443/a",
    "https://h.example:8443/a",
    "https://u@h.example/a/b",
    "https://u:p@h.example/",
    "https://v@h.example/a/b",
    "https://x.h.example/a",
    "https://H.EXAMPLE/b",
    "https://h.example/A%2Fb/c",
    "https://h.example/a/./c/../b/x?q=/a#f",
    "http://h.example/a",
    "http://h.example:80/",
    "https://[::1]:80/x",
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scopes=st.lists(st.one_of(st.none(), st.sampled_from(URL_SETTINGS)), min_size=1, max_size=6),
    address=st.sampled_from(ADDRESSES),
)
def test_the_most_specific_setting_wins_as_in_git(tmp_path: Path, scopes: list[str | None], address: str) -> None:
    """Whatever settings stand in whatever order, the one git picks for an address is picked."""
    text = "".join(
        f"[http{'' if scope is None else f' {chr(34)}{scope}{chr(34)}'}]\nproxy = p{number}\n"
        for number, scope in enumerate(scopes)
    )
    config = read(tmp_path, text)
    assert config.get_for_url("http", address, "proxy") == ask_git(tmp_path, "--get-urlmatch", "http.proxy", address)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("scope", URL_SETTINGS)
def test_each_setting_matches_the_addresses_git_matches(tmp_path: Path, scope: str, address: str) -> None:
    """Ports, cases, escapes, dots, users and wildcards are compared as git compares them."""
    config = read(tmp_path, f'[http "{scope}"]\nproxy = p\n')
    assert config.get_for_url("http", address, "proxy") == ask_git(tmp_path, "--get-urlmatch", "http.proxy", address)


def test_lists_for_an_address_are_collected_and_emptied(tmp_path: Path) -> None:
    """Headers of all levels add up, an empty one forgets the earlier, a broad one after a narrow one is passed over."""
    config = read(
        tmp_path,
        '[http]\nextraHeader = A: 1\n[http "https://h.example/"]\nextraHeader = B: 2\n'
        '[http]\nextraHeader = C: 3\n[http "https://other.example/"]\nextraHeader = D: 4\n',
    )
    assert config.get_all_for_url("http", "https://h.example/r", "extraheader") == ["A: 1", "B: 2"]
    assert config.get_all_for_url("http", "https://third.example/r", "extraheader") == ["A: 1", "C: 3"]
    emptied = read(
        tmp_path, '[http]\nextraHeader = A: 1\n[http "https://h.example/"]\nextraHeader =\nextraHeader = B: 2\n'
    )
    assert emptied.get_all_for_url("http", "https://h.example/r", "extraheader") == ["B: 2"]


def test_helpers_of_every_matching_level_count(tmp_path: Path) -> None:
    """Credential helpers add up whatever their order, and an empty one forgets those before."""
    text = '[credential "https://h.example"]\nhelper = one\n[credential]\nhelper = two\n'
    assert read(tmp_path, text).get_every_for_url("credential", "https://h.example/r", "helper") == ["one", "two"]
    emptied = read(tmp_path, text + "helper =\nhelper = three\n")
    assert emptied.get_every_for_url("credential", "https://h.example/r", "helper") == ["three"]


def test_a_scoped_check_of_certificates_is_not_undone_by_a_general_setting(tmp_path: Path) -> None:
    """Verification that is on for a server stays on although a later general setting turns it off."""
    config = read(tmp_path, '[http "https://h.example"]\nsslVerify = true\n[http]\nsslVerify = false\n')
    assert config.get_bool_for_url("http", "https://h.example/r", "sslverify", default=True) is True
    assert config.get_bool_for_url("http", "https://x.example/r", "sslverify", default=True) is False


def test_numbers_of_thousands_of_digits_are_mistakes(tmp_path: Path) -> None:
    """Python refuses to read them, which must not look like a bug of ours."""
    digits = "1" * 5000
    config = read(tmp_path, f'[core]\n bare = {digits}\n[http "https://host:{digits}/"]\n sslVerify = no\n')
    with pytest.raises(RemoteConfigError, match="neither a boolean"):
        config.get_bool("core", None, "bare")
    assert config.get_bool_for_url("http", "https://host/r.git", "sslVerify", default=True)
    with pytest.raises(RemoteConfigError, match="no count"):
        list(parse_environment({"GIT_CONFIG_COUNT": digits}))
