"""``doctor`` as people run it, against a server that has what a push needs and against servers that lack one thing."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from gitref_lock.testing.gitserver import GitHttpServer
from tests.cli.conftest import Cli, end
from tests.support.gitcli import Repo

HOOK = """#!/bin/sh
while read -r old new ref; do
    case "$ref" in {pattern}) echo "{words}" >&2; exit 1 ;; esac
done
"""


def codes_of(found: dict[str, object], *severities: str) -> list[str]:
    """Return the codes of the findings of these severities."""
    listed = found["findings"]
    assert isinstance(listed, list)
    return [item["code"] for item in listed if item["severity"] in severities]


def refuse(repo: Repo, pattern: str, words: str = "not here") -> None:
    """Let the repository decline pushes to refs that match a shell pattern."""
    hook = repo.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK.format(pattern=pattern, words=words), encoding="ascii")
    hook.chmod(0o755)


def test_a_sound_remote_passes_every_check(cli: Cli, bare_repo: Repo) -> None:
    """All that a push needs is tried and found; the exit code is 0 and nothing is left on the remote."""
    before = bare_repo.refs()
    found = cli("doctor", "--json").json
    assert found["ok"] is True
    assert codes_of(found, "error", "warning") == []
    assert codes_of(found, "ok") == [
        "identity",
        "readable",
        "protocol",
        "clock",
        "namespace",
        "queue",
        "atomic",
        "exclusive",
        "deletion",
    ]
    measured = found["measured"]
    assert (measured["protocol_version"], measured["atomic_kept"], measured["race_exclusive"]) == (2, True, True)
    assert measured["ref_prefix"] == "refs/locks"
    assert bare_repo.refs() == before


def test_the_old_name_is_an_alias(cli: Cli) -> None:
    """`validate` is doctor; offline it needs no remote."""
    result = cli("validate", "--offline", "-r", "http://127.0.0.1:1/none.git")
    assert result.out.startswith("ok      identity: ")


def test_a_refused_namespace_is_replaced_by_one_that_works(cli: Cli, bare_repo: Repo, work_clone: Repo) -> None:
    """Where the host refuses refs/locks, doctor finds a prefix that works; --fix writes it, and push then works."""
    refuse(bare_repo, "refs/lock*")
    found = cli("doctor", "--json", code=3).json
    assert codes_of(found, "error") == ["namespace-refused"]
    assert found["measured"]["ref_prefix"] == "refs/heads/gitref-locks"
    settings = work_clone.path / ".gitref-lock.toml"
    settings.write_text('# ours\nttl = "5m"\n', encoding="ascii")
    fixed = cli("doctor", "--fix", "--json").json
    assert "namespace-fixed" in codes_of(fixed, "note")
    assert settings.read_text() == 'ref-prefix = "refs/heads/gitref-locks"\n# ours\nttl = "5m"\n'
    assert cli("doctor", "--json").json["measured"]["ref_prefix"] == "refs/heads/gitref-locks"
    assert list(bare_repo.refs()) == ["refs/heads/main"]
    (work_clone.path / "new.txt").write_text("new\n")
    cli("push", "-A", "-m", "under another prefix")
    assert set(bare_repo.refs()) == {"refs/heads/main", "refs/heads/gitref-locks/main"}


def test_a_remote_that_refuses_all_names_is_told_apart_from_one_without_write_access(cli: Cli, bare_repo: Repo) -> None:
    """No prefix works: for want of rights, or because of rules about names; each has its own code."""
    refuse(bare_repo, "*", "we take no such names")
    assert codes_of(cli("doctor", "--json", code=3).json, "error") == ["no-namespace"]
    refuse(bare_repo, "*", "you have no permission to push")
    assert codes_of(cli("doctor", "--json", code=3).json, "error") == ["not-writable"]
    bare_repo.config("http.receivepack", "false")
    assert codes_of(cli("doctor", "--json", code=3).json, "error") == ["not-writable"]


def test_refused_tickets_are_found(cli: Cli, bare_repo: Repo) -> None:
    """A host that allows the locks' prefix alone makes every wait fail, and doctor says which prefix is missing."""
    refuse(bare_repo, "refs/lock-queue/*")
    found = cli("doctor", "--json", code=3).json
    assert codes_of(found, "error") == ["queue-refused"]
    assert "refs/lock-queue/" in next(item["text"] for item in found["findings"] if item["code"] == "queue-refused")


def test_a_server_without_atomic_pushes_is_an_error(cli: Cli, bare_repo: Repo) -> None:
    """Without all-or-nothing there is no fence."""
    bare_repo.config("receive.advertiseAtomic", "false")
    assert codes_of(cli("doctor", "--json", code=3).json, "error") == ["no-atomic"]
    assert list(bare_repo.refs()) == ["refs/heads/main"]


def test_a_clock_that_is_off_is_a_warning(cli: Cli, git_server: GitHttpServer) -> None:
    """A server an hour ahead is reported, and does not make doctor fail."""
    git_server.date_offset_s = 3600
    assert codes_of(cli("doctor", "--json").json, "warning") == ["clock-skew"]


def test_an_unreachable_remote_and_a_missing_one_are_findings(cli: Cli, git_server: GitHttpServer) -> None:
    """The reason why a remote cannot be read is a finding with a remedy."""
    missing = cli("doctor", "--json", "-r", git_server.repo_url("none.git"), code=3).json
    assert codes_of(missing, "error") == ["remote-not-found"]
    unknown = cli("doctor", "--json", "-r", "nowhere", code=3).json
    assert codes_of(unknown, "error") == ["unknown-remote"]


def test_a_missing_identity_is_an_error(cli: Cli) -> None:
    """Without somebody to be the author nothing can be committed."""
    names = {f"GIT_{role}_{part}": "" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    found = cli.under(**names)("doctor", "--offline", "--json", code=3).json
    assert codes_of(found, "error") == ["no-identity"]


def test_a_faulty_settings_file_is_a_finding(cli: Cli, work_clone: Repo) -> None:
    """Where other commands end at once, doctor reports the fault and goes on."""
    (work_clone.path / ".gitref-lock.toml").write_text("ttl = 3\nunknown-key = 1\n")
    found = cli("doctor", "--json", code=3).json
    assert codes_of(found, "error") == ["bad-config"]
    assert "exclusive" in codes_of(found, "ok")


WORKFLOW = """\
jobs:
  deploy:
    permissions: {contents: read}
    steps:
      - run: gitref-lock push -m x
"""


def test_findings_in_files_reach_every_format(cli: Cli, work_clone: Repo) -> None:
    """The same finding, with its place, as text, SARIF and workflow commands."""
    path = work_clone.path / ".github" / "workflows" / "deploy.yml"
    path.parent.mkdir(parents=True)
    path.write_text(WORKFLOW)
    text = cli("doctor", "--offline", code=3)
    assert "error   workflow-permissions: .github/workflows/deploy.yml:3: job 'deploy' uses locks" in text.out
    log = json.loads(cli("doctor", "--offline", "--format", "sarif", code=3).out)
    assert log["version"] == "2.1.0"
    run = log["runs"][0]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("workflow-permissions", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": ".github/workflows/deploy.yml"}, "region": {"startLine": 3}}
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["workflow-permissions"]
    said = cli("doctor", "--offline", "--format", "github", code=3).err
    assert "::error title=gitref-lock%3A workflow-permissions,file=.github/workflows/deploy.yml,line=3::job" in said


def test_an_unknown_format_is_wrong_usage(cli: Cli) -> None:
    """The error names what is allowed."""
    assert "text, json, sarif, github" in cli("doctor", "--format", "xml", code=2).err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_examination_leaves_nothing_behind(
    cli: Cli, bare_repo: Repo, git_server: GitHttpServer, number: int
) -> None:
    """A signal in the middle of the writes ends it with 128+n, after what it wrote was removed."""
    git_server.latency_s = 0.15
    process = cli.start("doctor")
    until = time.monotonic() + 30
    while len(bare_repo.refs()) == 1:
        assert time.monotonic() < until
    assert end(process, number).code == 128 + number
    git_server.latency_s = 0
    assert list(bare_repo.refs()) == ["refs/heads/main"]


def test_rules_for_a_folder_that_is_no_clone(cli: Cli, repo_url: str, tmp_path: Path) -> None:
    """Outside a clone the remote alone is examined, and that is said."""
    folder = tmp_path / "outside"
    folder.mkdir()
    found = cli.at(folder)("doctor", "--json", "-r", repo_url).json
    assert codes_of(found, "note") == ["not-a-repository", "agent"]
