"""No credential survives, whatever way it is written; what people need to read does."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitref_lock.remotes.redact import redact

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cc", "Z"]), min_size=6)
PLACES = st.sampled_from(
    ["https://{}@h.example/r", "https://u:{}@h.example:8443/r.git", "http://{}:x@h.example", "git://a:{}@[::1]:9/x",
     "ssh://git:{}@h.example/r", "fatal: unable to access 'https://{}@h.example/r/': no", "socks5://p:{}@proxy:1080"]
)  # fmt: skip


@settings(deadline=None)
@given(secret=SECRETS, place=PLACES)
def test_a_secret_in_an_address_never_survives(secret: str, place: str) -> None:
    """An encoded secret is gone wherever an address may carry it."""
    encoded = quote(secret, safe="")
    assert encoded not in redact(place.format(encoded))


@settings(deadline=None)
@given(secret=st.text(st.sampled_from("abcXYZ019/@:?#%+=_-"), min_size=6).filter(lambda s: not s[:1].isdigit()))
def test_a_secret_pasted_without_encoding_never_survives(secret: str) -> None:
    """A password with slashes and @ in it is gone as well, although the address is then no proper one."""
    shown = redact(f"https://user:{secret}@h.example/r")
    assert secret not in shown
    assert "h.example/r" in shown


@settings(deadline=None)
@given(
    secret=SECRETS.filter(lambda s: not set(s) & set("'\"")), name=st.sampled_from(["Authorization", "PRIVATE-TOKEN"])
)
def test_a_secret_in_a_header_never_survives(secret: str, name: str) -> None:
    """The value of a header that authorizes is gone to the end of its line."""
    assert secret not in redact(f"> {name}: basic {secret}\r\nHost: h.example")
    assert redact(f"{name}: {secret}\nHost: h.example").endswith("\nHost: h.example")


TOKEN_BODY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"


@pytest.mark.parametrize(
    "token",
    [*(f"{prefix}{TOKEN_BODY}" for prefix in ("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "glcbt-",
                                              "gldt-", "glrt-", "ATBB", "ATCTT3x", "xoxb-", "npm_")),
     "AKIA" + "ABCDEFGH12345678", "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln"],
)  # fmt: skip
def test_tokens_are_known_by_their_shape(token: str) -> None:
    """A token of a known host is gone even in the middle of a sentence."""
    assert redact(f"the token {token}, they said") == "the token ***, they said"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h.example/r", "https://***@h.example/r"),
        ("https://token@h.example/r", "https://***@h.example/r"),
        ("ssh://git@h.example:22/r", "ssh://git@h.example:22/r"),
        ("ssh://git:pw@h.example/r", "ssh://git:***@h.example/r"),
        ("git@h.example:group/r.git", "git@h.example:group/r.git"),
        ("https://h.example:8443/a@v1", "https://h.example:8443/a@v1"),
        ("https://h.example/r", "https://h.example/r"),
        ("/r?private_token=abc&x=1", "/r?private_token=***&x=1"),
        ('{"password": "abc def", "x": 1}', '{"password": "*** def", "x": 1}'),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ('{"Authorization": "Basic abc="}', '{"Authorization": "***"}'),
        ("curl -H 'AUTHORIZATION: basic eA==' x", "curl -H 'AUTHORIZATION: ***' x"),
        ("sent Bearer abc.def", "sent Bearer ***"),
        ("basic authentication failed", "basic authentication failed"),
        ("the fencing token is 12", "the fencing token is 12"),
        ("exit code: 9, token=12", "exit code: 9, token=12"),
        ("refs/locks/main moved", "refs/locks/main moved"),
    ],
)
def test_what_people_need_stays_readable(text: str, shown: str) -> None:
    """Hosts, paths, user names of ssh and plain words stay."""
    assert redact(text) == shown


def test_known_secrets_are_removed_longest_first() -> None:
    """A secret that contains another is removed whole; one of two characters is left alone."""
    assert redact("x abcdef abc ab", ["abc", "abcdef", "ab"]) == "x *** *** ab"


@pytest.mark.parametrize("unit", ["a-", "a+", "a://b:", "eyJ-", "ssh://a:", "cookie ", "token token", "a.", "//x@"])
@pytest.mark.parametrize("end", ["", "://", "token", "@", "=1"])
def test_hostile_words_take_no_time(unit: str, end: str) -> None:
    """Whatever a server repeats, 64 KiB of it are read once, not once for each place where a pattern may begin."""
    began = time.process_time()
    redact((unit * 65_536)[:65_536] + end)
    assert time.process_time() - began < 5
