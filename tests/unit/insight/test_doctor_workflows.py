"""Workflow files as people write them, and what ``doctor`` says about each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitref_lock.config import parse_duration
from gitref_lock.insight.findings import Examination, Finding, Severity
from gitref_lock.insight.probes.workflows import Rules, examine_workflows, judge
from gitref_lock.insight.probes.yaml_lines import Node, parse

RULES = Rules(parse_duration, 1800.0)

GOOD = """\
name: deploy
on: [push]
permissions:
  contents: write
jobs:
  deploy:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: actions/checkout@v4
      - run: gitref-lock acquire deploy --ttl 45m
      - run: ./deploy.sh
      - name: free
        if: always()
        run: gitref-lock release deploy --if-held
"""


def found_in(text: str) -> list[Finding]:
    """Return the findings of one file."""
    return list(judge(text, RULES))


def codes(text: str) -> list[str]:
    """Return the codes of the findings of one file."""
    return [finding.code for finding in found_in(text)]


def test_a_sound_workflow_has_no_findings() -> None:
    """Write permission, a kept token, a release that always runs, a lease longer than the job: nothing to say."""
    assert found_in(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("  contents: write", "  contents: read", "workflow-permissions", 4),
        ("permissions:\n  contents: write", "permissions: read-all\n", "workflow-permissions", 3),
        (
            "permissions:\n  contents: write",
            "permissions: {contents: read, issues: write}\n",
            "workflow-permissions",
            3,
        ),
        ("permissions:\n  contents: write\n", "", "workflow-permissions-unset", 5),
        (
            "checkout@v4\n",
            "checkout@v4\n        with:\n          persist-credentials: false\n",
            "workflow-credentials",
            12,
        ),
        ("        if: always()\n", "", "workflow-release", 11),
        ("        if: always()\n", "        if: failure()\n", "workflow-release", 11),
        ("--ttl 45m", "--ttl 20m", "workflow-ttl", 11),
        ("timeout-minutes: 30", "timeout-minutes: 60", "workflow-ttl", 11),
        ("--ttl 45m", "", None, 0),
        ("timeout-minutes: 30", "timeout-minutes: ${{ inputs.minutes }}", None, 0),
        ("--ttl 45m", "--ttl ${{ inputs.ttl }}", None, 0),
        ("        if: always()\n", "        if: ${{ failure() || cancelled() || success() }}\n", None, 0),
        ("permissions:\n  contents: write", "permissions: write-all", None, 0),
    ],
)
def test_each_mistake_is_found_at_its_line(old: str, new: str, code: str | None, line: int) -> None:
    """One change to a sound workflow makes one finding, which points at the line to look at."""
    assert old in GOOD
    found = found_in(GOOD.replace(old, new))
    assert [(finding.code, finding.line) for finding in found] == ([] if code is None else [(code, line)])
    assert all(finding.remedy for finding in found)


def test_a_token_in_the_address_makes_up_for_dropped_credentials() -> None:
    """With GITREF_LOCK_REMOTE set the checkout's own token is not needed."""
    text = GOOD.replace("@v4\n", "@v4\n        with:\n          persist-credentials: false\n")
    assert codes(text.replace("jobs:", "env:\n  GITREF_LOCK_REMOTE: https://x@host/r\njobs:")) == []


def test_a_trap_frees_the_lock_too() -> None:
    """A script that releases in a trap needs no further step."""
    text = GOOD.replace(
        "run: gitref-lock acquire deploy --ttl 45m",
        "run: |\n          gitref-lock acquire deploy --ttl 45m\n          trap 'gitref-lock release deploy' EXIT",
    )
    assert codes(text.replace("        if: always()\n        run: gitref-lock release deploy --if-held\n", "")) == []


def test_workflows_without_locks_are_left_alone() -> None:
    """Nothing is said about a job that does not use the program, whatever its permissions."""
    text = GOOD.replace("gitref-lock", "some-other-tool").replace("contents: write", "contents: read")
    assert found_in(text) == []
    assert (
        codes(GOOD.replace("contents: write", "contents: read").replace("run: gitref-lock", "run: /x/gitref-lock"))
        == []
    )


def test_job_permissions_come_before_the_workflow_s() -> None:
    """A job's own permissions replace those of the file."""
    text = GOOD.replace("    runs-on", "    permissions:\n      contents: read\n    runs-on")
    assert codes(text) == ["workflow-permissions"]


def test_every_file_of_the_folder_is_examined(tmp_path: Path) -> None:
    """Findings name the file; a folder in which all is well gives one line."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text(GOOD)
    found = Examination()
    examine_workflows(tmp_path, RULES, found)
    assert [(finding.code, finding.severity) for finding in found.findings] == [("workflows", Severity.OK)]
    (folder / "b.yaml").write_bytes(GOOD.replace("contents: write", "contents: none").encode("utf-16"))
    (folder / "c.yaml").write_text(GOOD.replace("contents: write", "contents: none"))
    (folder / "notes.txt").write_text("gitref-lock acquire")
    found = Examination()
    examine_workflows(tmp_path, RULES, found)
    assert [(finding.code, finding.path) for finding in found.findings] == [
        ("workflow-permissions", ".github/workflows/c.yaml")
    ]
    assert len(found.errors) == 1


def plain(node: Node) -> object:
    """Return a document without its line numbers."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [plain(value) for value in node.value]
    return node.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("# only a comment\n", {}),
        ("a: 1\nb: 'two'  \nc: \"th#ree\" # no\n", {"a": "1", "b": "two", "c": "th#ree"}),
        ("on:\n- push\n- pull_request\n", {"on": ["push", "pull_request"]}),
        ("a:\n  - x: 1\n    y: 2\n  -\n    z: 3\n", {"a": [{"x": "1", "y": "2"}, {"z": "3"}]}),
        ("run: |\n  one: two\n\n  # kept\nnext: x\n", {"run": "one: two\n\n# kept", "next": "x"}),
        ("run: >-\n    folded\n    text\n", {"run": "folded\ntext"}),
        ("a: {b: c, d: 'e'}\nf: [g, h]\n", {"a": {"b": "c", "d": "e"}, "f": ["g", "h"]}),
        ("f: [\n  g,\n  h\n]\n", {"f": ["g", "h"]}),
        ("a: plain text\n  goes on\nb: x", {"a": "plain text goes on", "b": "x"}),
        ("\"on\": x\n'if': y\n", {"on": "x", "if": "y"}),
        ("a: http://x/y#z\n", {"a": "http://x/y#z"}),
        ("a:\nb:\n", {"a": "", "b": ""}),
        ("just text", "just text"),
        ("- a\n- |\n  b\n  c\n", ["a", "b\nc"]),
    ],
)
def test_the_reader_knows_what_people_write(text: str, value: object) -> None:
    """Mappings, lists, quotes, comments, block texts and simple flow forms are read as YAML has them."""
    assert plain(parse(text)) == value


@given(st.text(alphabet="ab:-#|>[]{},'\" \n\t&*!%@", max_size=200))
def test_the_reader_takes_any_text(text: str) -> None:
    """No file makes it fail or run on; every value's line is one of the file's."""
    last = text.count("\n") + 1

    def check(node: Node) -> None:
        assert 1 <= node.line <= last
        for inner in [*(value for _, value in node.items()), *node]:
            check(inner)

    check(parse(text))


@pytest.mark.parametrize("text", ["a: [" + "," * 200_000, "a: {\n" * 50_000, "a: [" + "[,]," * 50_000 + "]"])
def test_hostile_workflows_are_read_once(text: str) -> None:
    """Commas and brackets without end take a moment."""
    began = time.process_time()
    parse(text)
    assert time.process_time() - began < 5
