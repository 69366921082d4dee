"""What people and machines get wrong: a clear error with its exit code, and no credential in any of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gitref_lock.testing.faults import FaultPlan, Stall
from gitref_lock.testing.gitserver import GitHttpServer, RequestKind
from tests.cli.conftest import ROOT, Cli
from tests.support.gitcli import Repo, git, make_bare

TRUST = "git config --global --add safe.directory"
SECRET = "s3cr3t-t0ken-value"


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("acquire", "a b"), "must not contain spaces"),
        (("acquire", "../x"), "lock name"),
        (("acquire", "t-0000000000000001-x"), "ticket"),
        (("acquire", "--ttl", "3s"), "5s to 24h"),
        (("acquire", "--ttl", "soon"), "--ttl"),
        (("acquire", "--wait", "-5"), "--wait"),
        (("acquire", "--wait", "5", "-n"), "exclude"),
        (("acquire", "--priority", "5000"), "-1000 to 1000"),
        (("acquire", "--priority", "high"), "--priority"),
        (("acquire", "-E", "300"), "0 to 255"),
        (("acquire", "--ref-prefix", "refs/heads"), "prefix"),
        (("acquire", "--no-such-option"), "no-such-option"),
        (("release", "--lease", "zzz"), "24 hex digits"),
        (("inspect", "--all", "main"), "exclude"),
        (("inspect", "--log-format", "xml"), "text or json"),
        (("inspect", "--timeout", "x"), "--timeout"),
        (("no-such-command",), "no-such-command"),
        (("init", "--ci", "jenkins"), "github or gitlab"),
        (("inspect", "-C", "/nonexistent-folder"), "is no folder"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, tuple) else None,
)
def test_wrong_words(cli: Cli, words: tuple[str, ...], fragment: str) -> None:
    """Exit 2; the message says what is allowed, on stderr and in the JSON document."""
    refused = cli(*words, "--json", code=2)
    assert refused.error["code"] == "usage"
    assert fragment in refused.error["message"]
    assert refused.err.startswith("error: ")
    assert "Traceback" not in refused.err


def test_wrong_environment_and_file(cli: Cli) -> None:
    """A variable is checked like its flag; a file's error names file, key and what is allowed."""
    assert "--ttl" in cli.under(GITREF_LOCK_TTL="never")("acquire", "--json", code=2).error["message"]
    path = cli.cwd / ".gitref-lock.toml"
    path.write_text("ttl = true\n", "utf-8")
    refused = cli("acquire", "--json", code=3).error
    assert (refused["file"], refused["key"]) == (str(path), "ttl")
    path.write_text("tttl = 5\n", "utf-8")
    assert "unknown key" in cli("acquire", "--json", code=3).error["message"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("push", "-m"), "gitref-lock push --help"),
        (("acquire", "--keep-alive-pid", "x"), "gitref-lock acquire --help"),
        (("frob",), "gitref-lock --help"),
    ],
)
def test_a_usage_error_names_the_help_of_its_command(cli: Cli, words: tuple[str, ...], hint: str) -> None:
    """Who mistypes an option is sent to the options of that very command."""
    assert f"hint: {hint}\n" in cli(*words, code=2).err


def test_flag_before_environment_before_file(cli: Cli) -> None:
    """The order in which one setting wins over another."""
    (cli.cwd / ".gitref-lock.toml").write_text("ttl = '1m'\n[priorities]\n'night*' = 3\ndefault = 4\n", "utf-8")
    assert cli("acquire", "a", "--json", "--workflow", "Nightly Build").json["priority"] == 3
    assert cli("acquire", "b", "--json").json["ttl_seconds"] == 60.0
    under = cli.under(GITREF_LOCK_TTL="2m")
    assert under("acquire", "c", "--json").json["ttl_seconds"] == 120.0
    assert under("acquire", "d", "--json", "--ttl", "3m").json["ttl_seconds"] == 180.0


def test_no_repository_and_no_remote(cli: Cli, tmp_path: Path) -> None:
    """Outside a repository a remote has to be named: exit 3 with a word for scripts."""
    away = cli.at(tmp_path)
    assert away("acquire", "main", "--json", code=3).error["code"] == "no-remote"
    assert away("acquire", "main", "-r", "nowhere", "--json", code=3).error["code"] == "unknown-remote"
    (tmp_path / ".git").write_text("gitdir: /nonexistent\n", "utf-8")
    assert away("acquire", "main", "--json", code=3).error["code"] == "not-a-repository"


def test_a_repository_without_commits(cli: Cli, tmp_path: Path, repo_url: str) -> None:
    """The branch that is not born yet names the lock all the same."""
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git("init", "--quiet", cwd=fresh)
    assert cli.at(fresh)("acquire", "-r", repo_url, "--json").json["name"] == "main"


def test_a_detached_head(cli: Cli, work_clone: Repo) -> None:
    """The CI's branch names the lock; without one the name has to be given."""
    work_clone.git("checkout", "--quiet", "--detach")
    assert "name the lock" in cli("acquire", "--json", code=2).error["hint"]
    found = cli.under(GITLAB_CI="true", CI_COMMIT_BRANCH="release/1", CI_JOB_ID="5")
    assert found("acquire", "--json").json["name"] == "release/1"


def test_an_empty_remote(cli: Cli, tmp_path: Path) -> None:
    """A repository without any commit can hold locks."""
    empty = make_bare(tmp_path / "empty.git", with_commit=False)
    cli("acquire", "main", "-r", empty.path)
    cli("release", "main", "-r", empty.path)


def test_a_name_that_is_a_folder_of_another(cli: Cli) -> None:
    """``a`` and ``a/b`` cannot both be refs: exit 3, and the blocking ref is named."""
    cli("acquire", "a/b")
    refused = cli("acquire", "a", "-n", "--json", code=3).error
    assert refused["code"] == "name-collision"
    assert "refs/locks/a" in str(refused)


def test_refused_authentication_shows_no_credential(cli: Cli, server_root: Path, bare_repo: Repo) -> None:
    """Exit 3; neither the address nor a message nor -v shows what was tried."""
    with GitHttpServer(server_root, auth=("user", "right-password")) as guarded:
        address = guarded.repo_url("repo.git").replace("http://", f"http://user:{SECRET}@")
        refused = cli("acquire", "main", "-r", address, "--json", "-v", code=3)
        assert refused.error["code"] == "authentication"
        assert SECRET not in refused.out + refused.err
        good = guarded.repo_url("repo.git").replace("http://", "http://user:right-password@")
        shown = cli("acquire", "main", "-r", good, "-v")
        assert "right-password" not in shown.out + shown.err
        for path in (cli.cwd / ".git" / "gitref-lock").iterdir():
            assert "right-password" not in path.read_text("utf-8")


def test_credentials_of_the_environment_are_never_shown(cli: Cli) -> None:
    """A value of a variable that is called a token does not come out, even where a user writes it into a reason."""
    under = cli.under(DEPLOY_TOKEN=SECRET)
    under("acquire", "main", "--reason", f"uses {SECRET}")
    shown = under("inspect", "main", "--json")
    assert SECRET not in shown.out
    assert "***" in shown.out


def test_an_unreachable_remote(cli: Cli) -> None:
    """The whole command ends with its --timeout: exit 4, nothing sent."""
    refused = cli("inspect", "main", "-r", "http://127.0.0.1:1/x.git", "--timeout", "1s", "--json", code=4).error
    assert refused["code"] == "timeout"


def test_the_timeout_bounds_a_stalled_remote(cli: Cli, git_server: GitHttpServer) -> None:
    """A server that does not answer does not hold the command."""
    git_server.set_faults(FaultPlan().always(RequestKind.LS_REFS, Stall(timeout_s=30)))
    refused = cli("acquire", "main", "--timeout", "1s", "--json", code=4).error
    assert refused["code"] == "timeout"


def test_a_closed_stdout_is_no_crash(cli: Cli) -> None:
    """A reader that has left ends the command quietly, as with every tool in a pipe."""
    process = cli.start("inspect", "main")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    shown = process.stderr.read()
    assert process.wait(timeout=30) in {0, 141}
    assert "Traceback" not in shown


def test_quiet_verbose_and_log_format(cli: Cli) -> None:
    """-q leaves data and errors, -v adds traffic, json logs are one object a line."""
    import json

    assert cli("acquire", "main", "-q").err == ""
    shown = cli("inspect", "main", "-v").err
    assert "requests (" in shown
    assert "bytes sent" in shown
    logged = cli("release", "main", "--log-format", "json", "-v").err.splitlines()
    assert [json.loads(line)["level"] for line in logged] == ["info", "debug"]
    assert cli("release", "main", "-q", code=6).err.startswith("error: ")


def test_init_writes_what_the_tool_can_read(cli: Cli) -> None:
    """The example configuration is valid, also with every comment taken away, and is never replaced unasked."""
    written = cli("init", "--ci", "gitlab", "--json").json["written"]
    assert [Path(path).name for path in written] == [".gitref-lock.toml", "gitref-lock.yml"]
    path = cli.cwd / ".gitref-lock.toml"
    text = path.read_text("utf-8")
    lines = [line.removeprefix("# ") if "=" in line or line.startswith("# [") else "" for line in text.splitlines()]
    path.write_text("\n".join(line for line in lines if not line.startswith(("A ", "Which"))) + "\n", "utf-8")
    assert cli("acquire", "x", "--json", "--workflow", "deploy-site").json["ttl_seconds"] == 3600.0
    assert cli("init", "--json", code=3).error["code"] == "exists"
    cli("init", "--force")


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_the_example_job_takes_the_lock_of_the_documentation(cli: Cli, ci: str) -> None:
    """Beside a job that follows the README, the example uses the same lock, not a name whose folder that is."""
    (example,) = [path for path in cli("init", "--ci", ci).out.split() if path.endswith(".yml")]
    locks = re.findall(r"gitref-lock (?:acquire|release) (\S+)", Path(example).read_text("utf-8"))
    assert locks == ["deploy/prod", "deploy/prod"]
    assert "gitref-lock acquire deploy/prod" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "text", "key"),
    [
        (".gitref-lock.toml", '[strategies]\n"a/*.txt" = "nope"\n', "strategies.a/*.txt"),
        ("pyproject.toml", '[tool.gitref-lock.strategies]\n"x" = "json:arrays"\n', "tool.gitref-lock.strategies.x"),
        (".gitref-lock.toml", 'combined-trailer = "no key"\n', "combined-trailer"),
    ],
)
def test_what_a_settings_file_says_of_merging_is_a_fault_of_the_file(cli: Cli, file: str, text: str, key: str) -> None:
    """A push and the doctor name file and key of a strategy that nobody knows, before anything is done."""
    (cli.cwd / file).write_text(text)
    refused = cli("push", "-A", "-m", "change", "--json", code=3).error
    assert refused["code"] == "bad-config"
    assert (Path(refused["file"]).name, refused["key"]) == (file, key)
    assert f"{file}: {key}: " in refused["message"]
    examined = cli("doctor", "--offline", "--json", code=3).json
    assert "bad-config" in {item["code"] for item in examined["findings"] if item["severity"] == "error"}
    cli("acquire", "main")


def test_a_remote_of_another_user_is_told_apart_from_a_missing_right(cli: Cli, tmp_path: Path) -> None:
    """What git says of the owner is told in its lines, with the setting that trusts the repository as the hint."""
    bare = make_bare(tmp_path / "theirs.git")
    outside = tmp_path / "nowhere"
    outside.mkdir()
    elsewhere = cli.at(outside).under(GIT_TEST_ASSUME_DIFFERENT_OWNER="1", RUNNER_TEMP=str(outside))
    told = elsewhere("acquire", "x", "-r", bare.path, code=3).err
    assert "dubious ownership" in told
    assert "\\t" not in told
    assert f"hint: the repository belongs to another user; the user who runs git there must trust it: {TRUST}" in told
    assert f"{TRUST} '{bare.path}'" in told


def test_a_remote_that_takes_no_writes_is_not_called_unreadable(cli: Cli, bare_repo: Repo) -> None:
    """Where the server lets everybody read and nobody write, an acquire says that it cannot write."""
    cli("inspect", "x")
    bare_repo.config("http.receivepack", "false")
    refused = cli("acquire", "x", "--json", code=3).error
    assert refused["code"] == "permission"
    assert refused["message"].startswith(f"cannot write to {refused['remote']}: HTTP 403")
    assert "write access" in refused["hint"]
    cli("inspect", "x")
