"""Every CI system's variables: holder, workflow, run URL, branch, and what tells two jobs apart."""

from __future__ import annotations

import pytest

from gitref_lock.ci import CiContext, detect, holder_of

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://git.example",
    "GITHUB_REPOSITORY": "me/it",
    "GITHUB_RUN_ID": "11",
    "GITHUB_RUN_NUMBER": "3",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_JOB": "build",
    "GITHUB_WORKFLOW": "Deploy",
    "GITHUB_ACTOR": "octo",
    "GITHUB_REF": "refs/heads/feature/x",
    "GITHUB_REF_NAME": "feature/x",
    "GITHUB_REF_TYPE": "branch",
    "RUNNER_TRACKING_ID": "github_1",
    "RUNNER_TEMP": "/tmp/r",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "g/p",
    "CI_JOB_ID": "7",
    "CI_JOB_NAME": "deploy",
    "CI_JOB_URL": "https://git.example/g/p/-/jobs/7",
    "CI_COMMIT_BRANCH": "main",
    "GITLAB_USER_LOGIN": "ann",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_BUILD_URL": "https://ci.example/b/1",
    "BUILDKITE_JOB_ID": "j1",
    "BUILDKITE_PIPELINE_SLUG": "pipe",
    "BUILDKITE_BUILD_NUMBER": "1",
    "BUILDKITE_BRANCH": "main",
}
CIRCLE = {
    "CIRCLECI": "true",
    "CIRCLE_PROJECT_USERNAME": "me",
    "CIRCLE_PROJECT_REPONAME": "it",
    "CIRCLE_BUILD_NUM": "5",
    "CIRCLE_BUILD_URL": "https://ci.example/5",
    "CIRCLE_BRANCH": "main",
    "CIRCLE_JOB": "test",
}
JENKINS = {
    "JENKINS_URL": "https://ci.example/",
    "JOB_NAME": "folder/job",
    "BUILD_NUMBER": "8",
    "BUILD_URL": "https://ci.example/job/8/",
    "GIT_BRANCH": "origin/release/1",
    "NODE_NAME": "n1",
    "EXECUTOR_NUMBER": "0",
}
AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_COLLECTIONURI": "https://dev.example/org/",
    "SYSTEM_TEAMPROJECT": "proj",
    "BUILD_BUILDID": "42",
    "BUILD_DEFINITIONNAME": "nightly",
    "BUILD_SOURCEBRANCH": "refs/heads/main",
    "BUILD_REQUESTEDFOR": "Ann",
    "SYSTEM_JOBNAME": "Job",
}
BITBUCKET = {
    "BITBUCKET_BUILD_NUMBER": "9",
    "BITBUCKET_REPO_FULL_NAME": "me/it",
    "BITBUCKET_REPO_SLUG": "it",
    "BITBUCKET_GIT_HTTP_ORIGIN": "https://bb.example/me/it",
    "BITBUCKET_BRANCH": "main",
}


@pytest.mark.parametrize(
    ("environ", "system", "found_id", "workflow", "url", "branch"),
    [
        (
            GITHUB,
            "github",
            "github:me/it/11/2/build",
            "Deploy",
            "https://git.example/me/it/actions/runs/11/attempts/2",
            "feature/x",
        ),
        (
            {**GITHUB, "GITEA_ACTIONS": "true"},
            "gitea",
            "gitea:me/it/11/2/build",
            "Deploy",
            "https://git.example/me/it/actions/runs/3",
            "feature/x",
        ),
        (
            {**GITHUB, "FORGEJO_ACTIONS": "true"},
            "forgejo",
            "forgejo:me/it/11/2/build",
            "Deploy",
            "https://git.example/me/it/actions/runs/3",
            "feature/x",
        ),
        (GITLAB, "gitlab", "gitlab:g/p/7", "deploy", "https://git.example/g/p/-/jobs/7", "main"),
        (BUILDKITE, "buildkite", "buildkite:pipe/1/j1", "pipe", "https://ci.example/b/1#j1", "main"),
        (CIRCLE, "circleci", "circleci:me/it/5", "test", "https://ci.example/5", "main"),
        (JENKINS, "jenkins", "jenkins:folder/job/8", "folder/job", "https://ci.example/job/8/", "release/1"),
        (
            AZURE,
            "azure",
            "azure:proj/42/Job",
            "nightly",
            "https://dev.example/org/proj/_build/results?buildId=42",
            "main",
        ),
        (BITBUCKET, "bitbucket", "bitbucket:me/it/9", "it", "https://bb.example/me/it/pipelines/results/9", "main"),
    ],
    ids=lambda item: item if isinstance(item, str) else None,
)
def test_systems(environ: dict[str, str], system: str, found_id: str, workflow: str, url: str, branch: str) -> None:
    """Each system is recognised and described from its own variables."""
    found = detect(environ)
    assert (found.system, found.id, found.workflow) == (system, found_id, workflow)
    assert (found.run_url, found.branch) == (url, branch)
    assert found.job
    assert found.reads_commands is (system in {"github", "gitea", "forgejo"})


@pytest.mark.parametrize(
    ("environ", "branch"),
    [
        ({**GITHUB, "GITHUB_REF": "refs/pull/5/merge", "GITHUB_HEAD_REF": "topic"}, "topic"),
        ({**GITHUB, "GITHUB_REF": "refs/tags/v1", "GITHUB_REF_TYPE": "tag"}, None),
        ({**GITLAB, "CI_COMMIT_BRANCH": "", "CI_COMMIT_TAG": "v1", "CI_COMMIT_REF_NAME": "v1"}, None),
        ({**GITLAB, "CI_COMMIT_BRANCH": "", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic"}, "topic"),
        ({**BUILDKITE, "BUILDKITE_TAG": "v1"}, None),
        ({**CIRCLE, "CIRCLE_TAG": "v1"}, None),
        ({**JENKINS, "BRANCH_NAME": "PR-5", "CHANGE_BRANCH": "topic"}, "topic"),
        ({**JENKINS, "TAG_NAME": "v1"}, None),
        ({**AZURE, "BUILD_SOURCEBRANCH": "refs/tags/v1"}, None),
        ({**AZURE, "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/topic"}, "topic"),
        ({**BITBUCKET, "BITBUCKET_TAG": "v1"}, None),
        ({}, None),
    ],
)
def test_branches_of_tags_and_merge_requests(environ: dict[str, str], branch: str | None) -> None:
    """A merge request is its source branch's; a tag is no branch's."""
    assert detect(environ).branch == branch


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        (GITHUB, "GITHUB_RUN_ATTEMPT"),
        (GITHUB, "RUNNER_TRACKING_ID"),
        (GITLAB, "CI_JOB_ID"),
        (BUILDKITE, "BUILDKITE_JOB_ID"),
        (CIRCLE, "CIRCLE_BUILD_NUM"),
        (JENKINS, "EXECUTOR_NUMBER"),
        (AZURE, "BUILD_BUILDID"),
        (BITBUCKET, "BITBUCKET_BUILD_NUMBER"),
    ],
)
def test_two_jobs_are_told_apart(environ: dict[str, str], variable: str) -> None:
    """Another attempt, job or executor is another job, and the same job is itself."""
    assert detect(environ).job == detect(dict(environ)).job
    assert detect({**environ, variable: "another"}).job != detect(environ).job


def test_no_ci() -> None:
    """Outside CI there is no context, and a switch that says no is no system."""
    assert detect({}) == CiContext()
    assert detect({"GITHUB_ACTIONS": "false", "TF_BUILD": "", "HOME": "/x"}) == CiContext()


def test_holders() -> None:
    """A wished id comes first, then the CI's, then user, host and process; texts are cut to what a record carries."""
    inside = holder_of(detect(GITHUB), user="u", host="h", pid=5)
    assert (inside.id, inside.name, inside.workflow) == ("github:me/it/11/2/build", "octo", "Deploy")
    outside = holder_of(CiContext(), user="u", host="h", pid=5, workflow="w")
    assert (outside.id, outside.name, outside.workflow, outside.run_url) == ("u@h/5", "u", "w", "")
    wished = holder_of(detect(GITHUB), user="u", host="h", pid=5, wished="me", workflow="mine")
    assert (wished.id, wished.name, wished.workflow) == ("me", "me", "mine")
    assert len(holder_of(CiContext(), user="x" * 500, host="h", pid=5).id.encode()) <= 80
