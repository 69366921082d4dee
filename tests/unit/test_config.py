"""Settings: every key is checked, and an error names file, key and what is allowed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.config import (
    FILE,
    RetryPattern,
    SettingError,
    Settings,
    load,
    matches,
    parse_duration,
    slug,
)
from gitref_lock.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("0", 0),
        ("500ms", 0.5),
        ("1.5m", 90),
        (" 2H ", 7200),
        ("30d", 2_592_000),
        (5, 5),
        (0.25, 0.25),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    """Numbers are seconds; units may be combined."""
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", "s", "-5", "5x", "1m 5s", "1h-5m", "5 m", "nan", "inf", "400d", True, None, [], -1, float("nan"), "\u0665"],
)
def test_what_is_no_duration(value: object) -> None:
    """Anything else is refused with what is allowed."""
    with pytest.raises(SettingError, match="a duration such as"):
        parse_duration(value)


@given(st.text(max_size=20))
def test_no_text_breaks_the_reader_of_durations(text: str) -> None:
    """Any text is a duration or a SettingError."""
    with contextlib.suppress(SettingError):
        assert parse_duration(text) >= 0


def _file(folder: Path, text: str, name: str = FILE) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    """Nothing configured is nothing wished."""
    assert load(tmp_path, None) == Settings()


def test_every_key(tmp_path: Path) -> None:
    """One file with everything in it."""
    path = _file(
        tmp_path,
        """
        remote = "upstream"
        ref-prefix = "refs/heads/locks"
        ttl = "10m"
        wait = 90
        timeout = "1h"
        kill-after = "2s"
        priority = 5
        workflow = "w"
        holder = "h"
        conflict-exit-code = 75
        cancel-older = true
        combined-trailer = "Landed-by"
        on-timeout = "proceed-unlocked"
        log-format = "json"
        [retry]
        base = "100ms"
        factor = 3
        cap = "4s"
        jitter = 0.5
        budget = "5m"
        [priorities]
        "deploy-*" = 100
        default = 30
        [strategies]
        "data/**" = "json"
        "*" = "theirs"
        [workflows."deploy-*"]
        ttl = "1h"
        wait = "2h"
        priority = 90
        on-timeout = "fail"
        retry = { base = 1 }
        """,
    )
    found = load(tmp_path, None)
    assert found.source == path
    assert (found.remote, found.ref_prefix, found.ttl_s, found.wait_s) == ("upstream", "refs/heads/locks", 600, 90)
    assert (found.timeout_s, found.kill_after_s, found.priority, found.workflow) == (3600, 2, 5, "w")
    assert (found.holder, found.conflict_exit_code, found.cancel_older) == ("h", 75, True)
    assert found.combined_trailer == "Landed-by"
    assert (found.on_timeout, found.log_format) == ("proceed-unlocked", "json")
    assert found.retry == RetryPattern(0.1, 3, 4, 0.5, 300)
    assert found.priorities == (("deploy-*", 100),)
    assert found.default_priority == 30
    assert found.strategies == (("data/**", "json"), ("*", "theirs"))
    (rule,) = found.workflows
    assert (rule.pattern, rule.ttl_s, rule.wait_s, rule.priority, rule.on_timeout) == (
        "deploy-*",
        3600,
        7200,
        90,
        "fail",
    )
    assert rule.retry == RetryPattern(base_s=1)


@pytest.mark.parametrize(
    ("text", "key", "fragment"),
    [
        ("ttl = true", "ttl", "from 5s to 24h"),
        ("ttl = '3s'", "ttl", "from 5s to 24h"),
        ("tll = 5", "tll", "unknown key"),
        ("wait = []", "wait", "a duration"),
        ("priority = 1001", "priority", "-1000 to 1000"),
        ("priority = true", "priority", "an integer"),
        ("conflict-exit-code = 256", "conflict-exit-code", "0 to 255"),
        ("cancel-older = 1", "cancel-older", "true or false"),
        ("log-format = 'xml'", "log-format", "text or json"),
        ("on-timeout = 'x'", "on-timeout", "fail or proceed-unlocked"),
        ("remote = ''", "remote", "not empty"),
        ("ref-prefix = 'refs/tags'", "ref-prefix", "a prefix"),
        ("retry = 5", "retry", "a table"),
        ("[retry]\nfactor = 0.5", "retry.factor", "from 1 to 100"),
        ("[retry]\nspeed = 1", "retry.speed", "unknown key"),
        ("[priorities]\nx = 'high'", "priorities.x", "an integer"),
        ("[strategies]\nx = 5", "strategies.x", "a text"),
        ("[workflows]\nx = 5", "workflows.x", "a table"),
        ("[workflows.x]\nremote = 'y'", "workflows.x.remote", "unknown key"),
        ("[workflows.x.retry]\njitter = 2", "workflows.x.retry.jitter", "from 0 to 1"),
    ],
)
def test_faults_name_file_key_and_what_is_allowed(tmp_path: Path, text: str, key: str, fragment: str) -> None:
    """The same in both kinds of file; in pyproject.toml the key has its table in front."""
    path = _file(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, None)
    assert (caught.value.fields["file"], caught.value.fields["key"]) == (str(path), key)
    assert str(path) in caught.value.message
    assert fragment in caught.value.message


def test_faults_in_pyproject(tmp_path: Path) -> None:
    """The key is named with the table that it stands in."""
    _file(tmp_path, "[tool.gitref-lock]\nttl = 1\n", "pyproject.toml")
    with pytest.raises(ConfigurationError, match=r"tool\.gitref-lock\.ttl: must be"):
        load(tmp_path, None)


@pytest.mark.parametrize("text", ["ttl = ", "\x00", "[tool]\ngitref-lock = 5\n"])
def test_broken_files(tmp_path: Path, text: str) -> None:
    """A file that is no TOML, or holds no table where one belongs, is an error and not the defaults."""
    _file(tmp_path, f"# gitref-lock\n{text}", "pyproject.toml")
    with pytest.raises(ConfigurationError):
        load(tmp_path, None)


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """A folder of that name is not silently no file."""
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigurationError):
        load(tmp_path, None)


def test_the_nearest_file_up_to_the_top_counts(tmp_path: Path) -> None:
    """From the folder up to the work tree's top, never above it; in one folder the own file comes first."""
    top = tmp_path / "top"
    deep = top / "a" / "b"
    deep.mkdir(parents=True)
    _file(tmp_path, "ttl = 11")
    assert load(deep, top) == Settings()
    _file(top, "[tool.gitref-lock]\nttl = 12\n", "pyproject.toml")
    assert load(deep, top).ttl_s == 12
    _file(top, "ttl = 13")
    assert load(deep, top).ttl_s == 13
    _file(top / "a", "[tool.other]\nname = 'gitref-lock'\n", "pyproject.toml")
    assert load(deep, top).ttl_s == 13
    _file(deep, "ttl = 14")
    assert load(deep, top).ttl_s == 14
    assert load(deep.parent, None) == Settings()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Deploy Site!", "deploy-site"), ("cv-enhancement", "cv-enhancement"), ("  A__b ", "a-b"), ("", "")],
)
def test_slugs(name: str, wanted: str) -> None:
    """Lower case, every other run of characters one dash."""
    assert slug(name) == wanted


def test_patterns_match_as_written_and_as_slug() -> None:
    """A glob is case sensitive on the name as written, and may be written in slug form."""
    assert matches("Deploy*", "Deploy Site")
    assert matches("deploy-*", "Deploy Site")
    assert not matches("DEPLOY-*", "Deploy Site")
    assert not matches("site", "Deploy Site")


def test_priorities(tmp_path: Path) -> None:
    """A workflow's rule, then the table's first match, then the general one, then the table's default, then 20."""
    assert Settings().priority_for("any") == 20
    text = "[priorities]\n'a*' = 7\n'ab' = 8\ndefault = 9\n[workflows.abc]\npriority = 6\n"
    _file(tmp_path, text)
    found = load(tmp_path, None)
    assert [found.priority_for(name) for name in ("abc", "ab", "b")] == [6, 7, 9]
    _file(tmp_path, "priority = 5\n" + text)
    assert load(tmp_path, None).priority_for("b") == 5


def test_flags_stand_in_front() -> None:
    """Only what was given replaces what the file says."""
    found = Settings(remote="a", ttl_s=60).with_flags(remote=None, ttl_s=90.0)
    assert (found.remote, found.ttl_s) == ("a", 90)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tool = 1 # gitref-lock\n", "pyproject.toml"),
        ("tool = [1] # gitref-lock\n", "pyproject.toml"),
        ("ttl = " + "9" * 5000 + "\n", FILE),
        ("wait = " + "9" * 400 + "\n", FILE),
        ("x = " + "[" * 5000, FILE),
    ],
    ids=["tool is a number", "tool is a list", "thousands of digits", "more than a float", "nesting"],
)
def test_odd_values_are_faults_of_the_file(tmp_path: Path, text: str, name: str) -> None:
    """A file that the reader of TOML, or Python's numbers, cannot take is named; one without our table is not ours."""
    _file(tmp_path, text, name)
    if name == FILE:
        with pytest.raises(ConfigurationError, match=FILE):
            load(tmp_path, tmp_path)
    else:
        assert load(tmp_path, tmp_path).source is None
