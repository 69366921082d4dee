"""Who and where this run is, from the CI's own variables: holder, workflow, run URL, branch, and the job's identity.

The holder is for people. The job's identity decides whether a lease file was written by the same job, so it holds
everything that tells two jobs apart, even two on one machine (docs/protocol.md, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from gitref_lock.core.lean import dataclass
from gitref_lock.core.record import Holder

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CiContext:
    """One CI run; every text may be ''. ``job`` holds what tells this job from all others, attempts included.

    ``branch`` is None where the run belongs to no branch (a tag). ``reads_commands`` tells that the system takes
    workflow commands in GitHub's form from the output, and reads the files that ``GITHUB_OUTPUT`` names.
    """

    system: str = ""
    id: str = ""
    actor: str = ""
    workflow: str = ""
    run_url: str = ""
    branch: str | None = None
    temp_dir: str = ""
    job: Mapping[str, str] = field(default_factory=dict)
    reads_commands: bool = False


def detect(environ: Environ) -> CiContext:
    """Return the CI run that the environment describes; an empty one outside CI."""
    for is_here, describe in _SYSTEMS:
        if is_here(environ):
            return describe(environ)
    return CiContext()


def holder_of(context: CiContext, *, user: str, host: str, pid: int, wished: str = "", workflow: str = "") -> Holder:
    """Return who holds: ``wished`` (a given holder id) before the CI's words, and these before user, host and pid."""
    found = wished or context.id or f"{user or 'unknown'}@{host}/{pid}"
    return Holder(
        id=found,
        name=wished or context.actor or user,
        workflow=workflow or context.workflow,
        run_url=context.run_url,
        host=host,
        pid=pid,
    ).clipped()


def _first(environ: Environ, *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _of(environ: Environ, *names: str) -> dict[str, str]:
    return {name: environ[name] for name in names if environ.get(name)}


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _without(prefix: str, ref: str) -> str | None:
    """Return the branch that a full or short ref names; None for tags, merge refs and nothing."""
    if ref.startswith("refs/") and not ref.startswith(prefix):
        return None
    return ref.removeprefix(prefix) or None


def _github(environ: Environ) -> CiContext:
    """Describe GitHub Actions, and Gitea or Forgejo Actions, which speak the same variables.

    Source: GitHub's "Variables reference"; a pull request's ``GITHUB_REF_NAME`` is a merge ref, no branch.
    """
    system = "gitea" if environ.get("GITEA_ACTIONS") else "forgejo" if environ.get("FORGEJO_ACTIONS") else "github"
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    run, attempt = environ.get("GITHUB_RUN_ID", ""), environ.get("GITHUB_RUN_ATTEMPT", "")
    number = run if system == "github" else environ.get("GITHUB_RUN_NUMBER", run)
    url = f"{server}/{repository}/actions/runs/{number}" if server and repository and number else ""
    if url and system == "github" and attempt:
        url += f"/attempts/{attempt}"
    is_branch = environ.get("GITHUB_REF_TYPE", "branch") == "branch"
    branch = environ.get("GITHUB_HEAD_REF") or (_without("refs/heads/", environ.get("GITHUB_REF", "")) or "")
    return CiContext(
        system=system,
        id=f"{system}:{_joined(repository, run, attempt, environ.get('GITHUB_JOB', ''))}",
        actor=environ.get("GITHUB_ACTOR", ""),
        workflow=environ.get("GITHUB_WORKFLOW", ""),
        run_url=url,
        branch=(branch or None) if is_branch else None,
        temp_dir=environ.get("RUNNER_TEMP", ""),
        job=_of(
            environ,
            "GITHUB_SERVER_URL",
            "GITHUB_REPOSITORY",
            "GITHUB_RUN_ID",
            "GITHUB_RUN_ATTEMPT",
            "GITHUB_JOB",
            "RUNNER_NAME",
            "RUNNER_TRACKING_ID",
            "GITHUB_WORKSPACE",
        ),
        reads_commands=True,
    )


def _gitlab(environ: Environ) -> CiContext:
    """Describe GitLab CI. Source: GitLab's "Predefined CI/CD variables"."""
    branch = _first(environ, "CI_COMMIT_BRANCH", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
    if not branch and not environ.get("CI_COMMIT_TAG"):
        branch = environ.get("CI_COMMIT_REF_NAME", "")
    return CiContext(
        system="gitlab",
        id=f"gitlab:{_joined(environ.get('CI_PROJECT_PATH', ''), environ.get('CI_JOB_ID', ''))}",
        actor=environ.get("GITLAB_USER_LOGIN", ""),
        workflow=_first(environ, "CI_PIPELINE_NAME", "CI_JOB_NAME"),
        run_url=_first(environ, "CI_JOB_URL", "CI_PIPELINE_URL"),
        branch=branch or None,
        job=_of(
            environ,
            "CI_SERVER_URL",
            "CI_PROJECT_ID",
            "CI_PIPELINE_ID",
            "CI_JOB_ID",
            "CI_RUNNER_ID",
            "CI_CONCURRENT_ID",
            "CI_PROJECT_DIR",
        ),
    )


def _buildkite(environ: Environ) -> CiContext:
    """Describe Buildkite. Source: Buildkite's "Environment variables"."""
    url, job = environ.get("BUILDKITE_BUILD_URL", ""), environ.get("BUILDKITE_JOB_ID", "")
    build = _joined(environ.get("BUILDKITE_PIPELINE_SLUG", ""), environ.get("BUILDKITE_BUILD_NUMBER", ""), job)
    return CiContext(
        system="buildkite",
        id=f"buildkite:{build}",
        actor=environ.get("BUILDKITE_BUILD_CREATOR", ""),
        workflow=_first(environ, "BUILDKITE_PIPELINE_NAME", "BUILDKITE_PIPELINE_SLUG"),
        run_url=f"{url}#{job}" if url and job else url,
        branch=None if environ.get("BUILDKITE_TAG") else environ.get("BUILDKITE_BRANCH") or None,
        job=_of(environ, "BUILDKITE_BUILD_ID", "BUILDKITE_JOB_ID", "BUILDKITE_RETRY_COUNT", "BUILDKITE_AGENT_ID"),
    )


def _circleci(environ: Environ) -> CiContext:
    """Describe CircleCI. Source: CircleCI's "Project values and variables"."""
    project = _joined(environ.get("CIRCLE_PROJECT_USERNAME", ""), environ.get("CIRCLE_PROJECT_REPONAME", ""))
    return CiContext(
        system="circleci",
        id=f"circleci:{_joined(project, environ.get('CIRCLE_BUILD_NUM', ''), environ.get('CIRCLE_NODE_INDEX', ''))}",
        actor=environ.get("CIRCLE_USERNAME", ""),
        workflow=environ.get("CIRCLE_JOB", ""),
        run_url=environ.get("CIRCLE_BUILD_URL", ""),
        branch=None if environ.get("CIRCLE_TAG") else environ.get("CIRCLE_BRANCH") or None,
        job=_of(
            environ,
            "CIRCLE_WORKFLOW_ID",
            "CIRCLE_WORKFLOW_JOB_ID",
            "CIRCLE_JOB",
            "CIRCLE_BUILD_NUM",
            "CIRCLE_NODE_INDEX",
        ),
    )


def _jenkins(environ: Environ) -> CiContext:
    """Describe Jenkins. ``GIT_BRANCH`` carries the remote's name in front; multibranch jobs set ``BRANCH_NAME``."""
    branch = _first(environ, "CHANGE_BRANCH", "BRANCH_NAME")
    if not branch:
        branch = environ.get("GIT_BRANCH", "").removeprefix("refs/heads/").removeprefix("origin/")
    return CiContext(
        system="jenkins",
        id=f"jenkins:{_joined(environ.get('JOB_NAME', ''), environ.get('BUILD_NUMBER', ''))}",
        actor=_first(environ, "BUILD_USER_ID", "BUILD_USER"),
        workflow=environ.get("JOB_NAME", ""),
        run_url=environ.get("BUILD_URL", ""),
        branch=None if environ.get("TAG_NAME") else branch or None,
        temp_dir=environ.get("WORKSPACE_TMP", ""),
        job=_of(
            environ,
            "JENKINS_URL",
            "JOB_NAME",
            "BUILD_NUMBER",
            "BUILD_TAG",
            "NODE_NAME",
            "EXECUTOR_NUMBER",
            "WORKSPACE",
        ),
    )


def _azure(environ: Environ) -> CiContext:
    """Describe Azure Pipelines. Source: Azure's "Use predefined variables"."""
    base, project = environ.get("SYSTEM_COLLECTIONURI", ""), environ.get("SYSTEM_TEAMPROJECT", "")
    build = environ.get("BUILD_BUILDID", "")
    url = f"{base.rstrip('/')}/{project}/_build/results?buildId={build}" if base and project and build else ""
    ref = _first(environ, "SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH")
    return CiContext(
        system="azure",
        id=f"azure:{_joined(project, build, environ.get('SYSTEM_JOBNAME', ''))}",
        actor=environ.get("BUILD_REQUESTEDFOR", ""),
        workflow=environ.get("BUILD_DEFINITIONNAME", ""),
        run_url=url,
        branch=_without("refs/heads/", ref),
        temp_dir=environ.get("AGENT_TEMPDIRECTORY", ""),
        job=_of(
            environ,
            "SYSTEM_COLLECTIONURI",
            "SYSTEM_TEAMPROJECTID",
            "BUILD_BUILDID",
            "SYSTEM_STAGEATTEMPT",
            "SYSTEM_JOBID",
            "SYSTEM_JOBATTEMPT",
            "AGENT_ID",
        ),
    )


def _bitbucket(environ: Environ) -> CiContext:
    """Describe Bitbucket Pipelines. Source: Bitbucket's "Variables and secrets"."""
    origin, number = environ.get("BITBUCKET_GIT_HTTP_ORIGIN", ""), environ.get("BITBUCKET_BUILD_NUMBER", "")
    repository = environ.get("BITBUCKET_REPO_FULL_NAME", "")
    return CiContext(
        system="bitbucket",
        id=f"bitbucket:{_joined(repository, number, environ.get('BITBUCKET_PARALLEL_STEP', ''))}",
        actor=environ.get("BITBUCKET_STEP_TRIGGERER_UUID", ""),
        workflow=environ.get("BITBUCKET_REPO_SLUG", ""),
        run_url=f"{origin}/pipelines/results/{number}" if origin and number else "",
        branch=None if environ.get("BITBUCKET_TAG") else environ.get("BITBUCKET_BRANCH") or None,
        job=_of(
            environ,
            "BITBUCKET_REPO_UUID",
            "BITBUCKET_PIPELINE_UUID",
            "BITBUCKET_BUILD_NUMBER",
            "BITBUCKET_STEP_UUID",
            "BITBUCKET_STEP_RUN_NUMBER",
            "BITBUCKET_PARALLEL_STEP",
        ),
    )


def _is_set(name: str) -> Callable[[Environ], bool]:
    return lambda environ: environ.get(name, "").lower() not in {"", "0", "false"}


_SYSTEMS: tuple[tuple[Callable[[Environ], bool], Callable[[Environ], CiContext]], ...] = (
    (_is_set("GITHUB_ACTIONS"), _github),
    (_is_set("GITEA_ACTIONS"), _github),
    (_is_set("FORGEJO_ACTIONS"), _github),
    (_is_set("GITLAB_CI"), _gitlab),
    (_is_set("BUILDKITE"), _buildkite),
    (_is_set("CIRCLECI"), _circleci),
    (_is_set("TF_BUILD"), _azure),
    (_is_set("BITBUCKET_BUILD_NUMBER"), _bitbucket),
    (_is_set("JENKINS_URL"), _jenkins),
)
