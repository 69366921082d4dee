"""From a remote's name, URL or path to everything an adapter must know, by git's rules.

Runs before every request of every command, so it reads what git reads and nothing else, and imports no git library.
Sources: git-fetch(1), "REMOTES" and "GIT URLS"; git-config(1), ``url.*``, ``remote.*``, ``branch.*``, ``core.*``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from gitref_lock.remotes.address import Address, is_local, parse_address
from gitref_lock.remotes.gitconfig import GitConfig, RemoteConfigError, current_branch
from gitref_lock.remotes.redact import redact
from gitref_lock.remotes.repository import RepositoryPaths, find_repository, require_trusted
from gitref_lock.remotes.settings import HttpSettings, RemoteSpec


def resolve(
    remote: str | None,
    branch: str | None,
    repo: RepositoryPaths | None,
    config: GitConfig,
    environ: Mapping[str, str],
    *,
    base: Path | None = None,
) -> RemoteSpec:
    """Return the remote, fully resolved; raise RemoteConfigError when there is none or it cannot be used.

    ``remote`` is a configured name, a URL or a path; None takes the upstream remote of ``branch`` (default: the
    checked-out one), else ``origin``, else the only remote there is. ``branch.*.pushRemote`` and ``remote.pushDefault``
    do not count: all runners must meet at one remote, and those say where a person's own copy goes. With several push
    URLs the first is used: a lock lives in one place. ``base`` is what a relative path in ``remote`` refers to
    (default: the current folder, then the top of the work tree, as git has it).

    A push URL of its own serves reads as well. The fetch URL may be a mirror, and a read that lags behind a swap
    would let a lost race look open (docs/protocol.md, section 2).
    """
    name = remote if remote is not None else _default_remote(branch, repo, config)
    if config.get("remote", name, "vcs"):
        raise RemoteConfigError("unsupported-transport", f"remote {name!r} uses a remote helper", "name a URL instead")
    url = push_url(name, config)
    if url is not None:
        return _spec(name, url, repo.top if repo is not None else Path.cwd(), config, environ)
    url = _rewrite_for_push(name, config)
    folder = _folder_of(url, repo, base)
    if is_local(url) and not url.startswith("~") and not Path(folder, url).exists():
        raise _unknown(name, config)
    return _spec(None, url, folder, config, environ)


def fetch_url(name: str, config: GitConfig) -> str | None:
    """Return where git fetches a configured remote from, rewritten; None for a name that is not configured."""
    urls = _configured(config, name, "url") or _configured(config, name, "pushurl")
    return rewrite(urls[0], config, "insteadof") if urls else None


def push_url(name: str, config: GitConfig) -> str | None:
    """Return where git pushes a configured remote to, rewritten; None for a name that is not configured.

    ``pushInsteadOf`` does not apply to a ``pushurl`` that is written out.
    """
    explicit = _configured(config, name, "pushurl")
    if explicit:
        return rewrite(explicit[0], config, "insteadof")
    urls = _configured(config, name, "url")
    return _rewrite_for_push(urls[0], config) if urls else None


def rewrite(url: str, config: GitConfig, key: str) -> str:
    """Apply ``url.<base>.insteadOf`` (or ``pushInsteadOf``): the longest prefix that matches is replaced."""
    best, replacement = -1, ""
    for entry in config.entries:
        if entry.section != "url" or entry.key != key or entry.subsection is None or entry.value is None:
            continue
        if url.startswith(entry.value) and len(entry.value) > best:
            best, replacement = len(entry.value), entry.subsection
    return replacement + url[best:] if best >= 0 else url


def _rewrite_for_push(url: str, config: GitConfig) -> str:
    pushed = rewrite(url, config, "pushinsteadof")
    return pushed if pushed != url else rewrite(url, config, "insteadof")


def _configured(config: GitConfig, name: str, key: str) -> list[str]:
    """Return a remote's URLs; an empty one forgets those before it, as in git since 2.46."""
    found: list[str] = []
    for value in config.get_all("remote", name, key):
        if value:
            found.append(value)
        else:
            found.clear()
    return found


def remote_names(config: GitConfig) -> list[str]:
    """Return the names of all configured remotes."""
    return [
        n for n in config.subsections("remote") if _configured(config, n, "url") or _configured(config, n, "pushurl")
    ]


def _default_remote(branch: str | None, repo: RepositoryPaths | None, config: GitConfig) -> str:
    branch = branch or current_branch(repo.git_dir if repo is not None else None)
    upstream = config.get("branch", branch, "remote") if branch else None
    if upstream and upstream != ".":
        return upstream
    names = remote_names(config)
    if "origin" in names:
        return "origin"
    if len(names) == 1:
        return names[0]
    if repo is None and not names:
        raise RemoteConfigError(
            "no-remote", "no remote is named, and this is no git repository", "name one with --remote"
        )
    listed = f"it has {', '.join(sorted(names))}" if names else "it has none"
    raise RemoteConfigError(
        "no-remote", f"the repository has no remote called origin; {listed}", "name one with --remote NAME, URL or PATH"
    )


def _unknown(name: str, config: GitConfig) -> RemoteConfigError:
    names = ", ".join(sorted(remote_names(config)))
    return RemoteConfigError(
        "unknown-remote",
        f"{redact(name)!r} is neither a configured remote nor a repository's URL or path",
        f"configured: {names}" if names else "no remote is configured: git remote add origin URL",
    )


def _folder_of(url: str, repo: RepositoryPaths | None, base: Path | None) -> Path:
    """Return what a relative path on the command line refers to."""
    here = base or Path.cwd()
    if repo is not None and not (here / url).exists():
        return repo.top
    return here


def _spec(name: str | None, url: str, top: Path, config: GitConfig, environ: Mapping[str, str]) -> RemoteSpec:
    """Put the answer together for one address."""
    address = parse_address(url, top, environ)
    is_ssh = address.scheme == "ssh"
    return RemoteSpec(
        name=name,
        scheme=address.scheme,
        url=address.url,
        push_url=address.url,
        http=_http(address, url, name, top, config, environ),
        ssh_command=ssh_command(config, environ) if is_ssh else None,
        environment=_ssh_variant(config, environ) if is_ssh else {},
        promisor_filter=_promisor_filter(name, config),
    )


def _http(
    address: Address, url: str, name: str | None, top: Path, config: GitConfig, environ: Mapping[str, str]
) -> HttpSettings:
    if address.scheme != "http":
        return HttpSettings()
    from gitref_lock.remotes.http_settings import Surroundings, http_settings  # late: other transports need none of it

    proxy = config.get("remote", name, "proxy") if name is not None else None
    return http_settings(address, url, Surroundings(config, environ, top, proxy))


def ssh_command(config: GitConfig, environ: Mapping[str, str]) -> str | None:
    """Return the shell command that stands for ``ssh``, None for plain ``ssh``: variable, configuration, program."""
    command = environ.get("GIT_SSH_COMMAND") or config.get("core", None, "sshcommand")
    if command:
        return command
    program = environ.get("GIT_SSH")
    return shlex.quote(program) if program else None


def _ssh_variant(config: GitConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``ssh.variant`` as the variable that the adapter reads, unless the environment has it already."""
    variant = config.get("ssh", None, "variant")
    return {"GIT_SSH_VARIANT": variant} if variant and "GIT_SSH_VARIANT" not in environ else {}


def _promisor_filter(name: str | None, config: GitConfig) -> str | None:
    """Return the filter of a partial clone: objects fetched without it would not be lazily completed."""
    if name is None:
        return None
    is_promisor = config.get_bool("remote", name, "promisor") or config.get("extensions", None, "partialclone") == name
    return config.get("remote", name, "partialclonefilter") if is_promisor else None


__all__ = [
    "RemoteConfigError",
    "RepositoryPaths",
    "fetch_url",
    "find_repository",
    "push_url",
    "remote_names",
    "require_trusted",
    "resolve",
    "rewrite",
    "ssh_command",
]
