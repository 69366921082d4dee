"""``init``: a commented configuration, and a workflow to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from gitref_lock.cli.command import Run
from gitref_lock.cli.declare import Option
from gitref_lock.errors import ConfigurationError, UsageError

CONFIG = """\
# gitref-lock: settings for everybody who works with this repository.
# A flag comes before its environment variable (GITREF_LOCK_TTL, ...), and both before this file.
# Durations: 90, "90s", "15m", "2h".

# ttl = "30m"               # length of a lease, 5s to 24h
# wait = "30m"              # how long to wait for a lock
# timeout = "1h"            # limit of a whole command
# remote = "origin"         # the remote that holds the locks
# ref-prefix = "refs/locks" # where the locks live on the remote
# conflict-exit-code = 4    # exit code when a lock is not acquired in time

# Which workflow is served first when several wait. A glob is compared with the workflow's name as written and in slug
# form (lower case, other characters to "-"); the first match counts. One point is worth ten seconds of waiting.
# [priorities]
# "deploy-*" = 100
# "nightly" = 10
# default = 20

# What single workflows want.
# [workflows."deploy-*"]
# ttl = "1h"
# wait = "2h"

# How conflicts are resolved when a push lands on a branch that moved; the first match counts.
# [strategies]
# "data/**/*.json" = "json"
# "*.lock" = "theirs"
"""

_GITHUB = """\
# An example: one deployment at a time, and a commit that lands whatever else lands meanwhile.
name: locked

on:
  workflow_dispatch:

permissions:
  contents: write

jobs:
  locked:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install gitref-lock
      - run: gitref-lock acquire deploy/prod --wait 30m
      - run: ./deploy.sh
      - if: always()
        run: gitref-lock release deploy/prod --if-held
      - run: gitref-lock push -m "Record the deployment"
"""

_GITLAB = """\
# An example: one deployment at a time, and a commit that lands whatever else lands meanwhile.
# GITREF_LOCK_REMOTE must be an address with a token that may write to the repository.
locked:
  image: python:3.12
  when: manual
  script:
    - pip install gitref-lock
    - gitref-lock acquire deploy/prod --wait 30m
    - ./deploy.sh
    - gitref-lock push -m "Record the deployment"
  after_script:
    - pip install gitref-lock
    - gitref-lock release deploy/prod --if-held
"""

_EXAMPLES = {
    "github": (".github/workflows/gitref-lock.yml", _GITHUB),
    "gitlab": (".gitlab/gitref-lock.yml", _GITLAB),
}

Ci = Annotated[
    str | None, Option("--ci", envvar="GITREF_LOCK_CI", metavar="github|gitlab", help="Write an example for it.")
]
Force = Annotated[bool, Option("--force", "-f", help="Replace files that exist.")]


def init(run: Run, ci: Ci = None, force: Force = False) -> None:
    """Write a commented configuration file, and with --ci a workflow example."""
    from gitref_lock import config

    if ci is not None and ci not in _EXAMPLES:
        raise UsageError(f"--ci: {ci[:60]!r} is not allowed; it must be {' or '.join(_EXAMPLES)}")
    top = run.around.top or run.around.folder
    files = {top / config.FILE: CONFIG}
    if ci is not None:
        name, text = _EXAMPLES[ci]
        files[top / name] = text
    existing = [path for path in files if path.exists()]
    if existing and not force:
        raise ConfigurationError(
            f"{', '.join(str(path) for path in existing)} exists already; nothing was written",
            code="exists",
            hint="--force replaces it",
        )
    for path, text in files.items():
        _write(path, text)
    run.out.document({"written": [str(path) for path in files]})
    for path in files:
        run.out.data(str(path))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", code="unwritable") from error
