"""Under GitHub Actions: outputs for later steps, a summary table, annotations for problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.cli.github import set_outputs
from gitref_lock.cli.output import Output
from gitref_lock.system import SystemClock
from tests.cli.conftest import Cli

JOB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://git.example",
    "GITHUB_REPOSITORY": "me/it",
    "GITHUB_RUN_ID": "11",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_JOB": "build",
    "GITHUB_WORKFLOW": "Deploy | <b>it</b>",
    "GITHUB_ACTOR": "octo",
}


@pytest.fixture
def job(cli: Cli, tmp_path: Path) -> Cli:
    """Return a runner inside of an Actions job."""
    return cli.under(**JOB, GITHUB_OUTPUT=str(tmp_path / "output"), GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))


def test_outputs_and_summary(job: Cli, tmp_path: Path) -> None:
    """Scalars are outputs under the names of the JSON document; the table holds no markup of a stranger."""
    found = job("acquire", "main", "--json").json
    assert found["holder"]["run_url"] == "https://git.example/me/it/actions/runs/11/attempts/2"
    output = dict(line.split("=", 1) for line in (tmp_path / "output").read_text("utf-8").splitlines())
    assert output["acquired"] == "true"
    assert output["lock_oid"] == found["lock_oid"]
    assert output["generation"] == str(found["generation"])
    assert output["holder"] == "octo"
    summary = (tmp_path / "summary").read_text("utf-8")
    assert "| generation |" in summary.replace("&#", "")
    assert "<b>" not in summary


def test_values_of_several_lines_are_written_in_heredoc_form(tmp_path: Path) -> None:
    """A value cannot end its own heredoc, nor start another output."""
    path = tmp_path / "output"
    set_outputs(Output(SystemClock()), {"GITHUB_OUTPUT": str(path)}, {"a": "1\nb=2", "c": None, "d": False}, "EDGE")
    assert path.read_text("utf-8") == "a<<EDGE\n1\nb=2\nEDGE\nd=false\n"


def test_a_failure_becomes_an_annotation(job: Cli, cli: Cli) -> None:
    """One workflow command on stderr; stdout stays the document."""
    cli("acquire", "main")
    refused = job("acquire", "main", "-n", "--json", code=4)
    (line,) = [line for line in refused.err.splitlines() if line.startswith("::")]
    assert line.startswith("::error title=gitref-lock%3A lock-timeout::main was not acquired")
    assert refused.error["code"] == "lock-timeout"


def test_no_annotation_outside_actions(cli: Cli) -> None:
    """Other systems would show the command as text."""
    assert "::error" not in cli("release", code=6).err
