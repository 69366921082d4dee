"""Credentials from where CI and people keep them, asked for only after a server demanded some.

The order is git's: netrc (curl looks there before git asks anybody), then credential helpers and askpass programs
through ``git credential fill``. Without git, helpers that are plain files are read and askpass programs are run here.
Each place is asked at most once per server. Sources: gitcredentials(7), git-credential(1), git-credential-store(1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gitref_lock.remotes.gitconfig import GitConfig, expand_path
from gitref_lock.remotes.settings import Credential
from gitref_lock.remotes.urlmatch import UrlParts, normalise

HELPER_TIMEOUT_S = 30.0
_PLACES = ("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE")


def source(
    config: GitConfig, environ: Mapping[str, str], work_dir: Path, *, username: str | None = None
) -> CredentialChain:
    """Return what answers a server's 401: called with its URL, it gives the next credential to try.

    ``username`` is the user the remote's address names; places that know another user are passed over.
    """
    return CredentialChain(config, environ, work_dir, username)


class CredentialChain:
    """A CredentialSource with a memory: a place is never asked twice for the same server."""

    def __init__(self, config: GitConfig, environ: Mapping[str, str], work_dir: Path, username: str | None) -> None:
        """Nothing is read or started before the first call."""
        self._config = config
        # programs run in the work tree, so a repository named relative to here is named in full
        places = {name: str(Path.cwd() / environ[name]) for name in _PLACES if environ.get(name)}
        self._environ = {**environ, **places}
        self._work_dir = work_dir
        self._username = username
        self._chains: dict[tuple[str, str, str], Iterator[Credential]] = {}

    def __call__(self, url: str) -> Credential | None:
        """Return the next credential for this server, None when every place has been asked."""
        parts = normalise(url)
        if parts is None:
            return None
        server = (parts.scheme, parts.host, parts.port)
        chain = self._chains.get(server)
        if chain is None:
            chain = self._chains[server] = self._places(url, parts)
        return next(chain, None)

    def approve(self, url: str, credential: Credential) -> None:
        """Let helpers store a credential that worked; best effort, as they may be missing."""
        self._tell("approve", url, credential)

    def reject(self, url: str, credential: Credential) -> None:
        """Let helpers forget a credential that was refused; best effort."""
        self._tell("reject", url, credential)

    def _places(self, url: str, parts: UrlParts) -> Iterator[Credential]:
        seen: set[tuple[str, str]] = set()
        for ask in (self._netrc, self._git_fill if self._has_git() else self._without_git):
            for credential in ask(url, parts):
                key = (credential.username, credential.password)
                if key not in seen:
                    seen.add(key)
                    yield credential

    def _has_git(self) -> bool:
        folders = self._environ.get("PATH", os.defpath).split(os.pathsep)
        return any(os.access(Path(folder, "git"), os.X_OK) for folder in folders if folder)

    def _user_for(self, url: str) -> str | None:
        return self._username or self._config.get_for_url("credential", url, "username")

    def _uses_path(self, url: str) -> bool:
        return self._config.get_bool_for_url("credential", url, "usehttppath", default=False)

    def _netrc(self, _url: str, parts: UrlParts) -> Iterator[Credential]:
        """Read ``~/.netrc`` (the format of ftp(1), as curl reads it)."""
        home = self._environ.get("HOME")
        path = Path(self._environ.get("NETRC") or f"{home}/.netrc")
        if (home is None and "NETRC" not in self._environ) or not path.is_file():
            return
        import netrc  # late: only after a 401, and only where the file exists

        try:
            entry = netrc.netrc(path).authenticators(parts.host.strip("[]"))
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
            return  # curl ignores a file it cannot read as well
        if entry is None:
            return
        login, _, password = entry
        if login and password and self._username in {None, login}:
            yield Credential(login, password)

    def _git_fill(self, url: str, parts: UrlParts) -> Iterator[Credential]:
        """Ask git, which asks the configured helpers and then the askpass program; never a terminal."""
        answer = self._git_credential("fill", _description(url, parts, self._username))
        if answer is None:
            return  # no helper, no answer, or a terminal would have been needed
        fields = dict(line.partition("=")[::2] for line in answer.splitlines())
        if "username" in fields and "password" in fields:
            yield Credential(fields["username"], fields["password"])

    def _without_git(self, url: str, parts: UrlParts) -> Iterator[Credential]:
        """Do what can be done without git: files of the ``store`` helper, then the askpass program."""
        for path in self._store_files(url):
            yield from _read_store(path, parts, self._user_for(url), uses_path=self._uses_path(url))
        yield from self._askpass(url, parts)

    def _store_files(self, url: str) -> Iterator[Path]:
        import shlex  # late: only after a 401 without git

        for helper in self._config.get_every_for_url("credential", url, "helper"):
            try:
                name, *options = shlex.split(helper)
            except ValueError:
                continue
            if name != "store":
                continue
            if options[:1] == ["--file"] and len(options) == 2:
                yield Path(self._work_dir, expand_path(options[1], self._environ))
                continue
            if options and options[0].startswith("--file="):  # no shell expands a ~ in the middle of a word
                yield Path(self._work_dir, options[0].removeprefix("--file="))
                continue
            home, xdg = self._environ.get("HOME"), self._environ.get("XDG_CONFIG_HOME")
            if home:
                yield Path(home, ".git-credentials")
            if xdg or home:
                yield Path(xdg or f"{home}/.config", "git/credentials")

    def _askpass(self, url: str, parts: UrlParts) -> Iterator[Credential]:
        """Run the askpass program as git does: the question is its only argument, the first line its answer."""
        environ = self._environ
        program = environ.get("GIT_ASKPASS") or self._config.get("core", None, "askpass") or environ.get("SSH_ASKPASS")
        if not program:
            return
        place = f"{parts.host}:{parts.port}" if parts.port else parts.host
        user = self._user_for(url) or self._ask(program, f"Username for '{parts.scheme}://{place}': ")
        if not user:
            return
        from urllib.parse import quote  # late: only after a 401 without git

        password = self._ask(program, f"Password for '{parts.scheme}://{quote(user, safe='')}@{place}': ")
        if password is not None:
            yield Credential(user, password)

    def _ask(self, program: str, question: str) -> str | None:
        answer = self._run([program, question], "")
        return None if answer is None else answer.partition("\n")[0].removesuffix("\r")

    def _tell(self, verb: str, url: str, credential: Credential) -> None:
        parts = normalise(url)
        if parts is None or not self._has_git():
            return
        self._git_credential(verb, [*_description(url, parts, credential.username), ("password", credential.password)])

    def _git_credential(self, verb: str, fields: Sequence[tuple[str, str]]) -> str | None:
        if any(char in value for _, value in fields for char in "\0\r\n"):
            return None  # a line break in a value would be read as another field
        return self._run(["git", "credential", verb], "".join(f"{name}={value}\n" for name, value in fields) + "\n")

    def _run(self, command: Sequence[str], text: str) -> str | None:
        """Run a program without a terminal and for a bounded time; None when it fails.

        It gets a session of its own: what it started (a hanging helper) ends with it, and it has no terminal to ask on.
        """
        import subprocess  # late: only after a 401

        from gitref_lock.remotes.children import end
        from gitref_lock.remotes.unbroken import unbroken

        environ = {**self._environ, "GIT_TERMINAL_PROMPT": "0"}
        child: subprocess.Popen[str] | None = None
        try:
            with unbroken():
                child = subprocess.Popen(
                    command,
                    cwd=self._work_dir,
                    env=environ,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    encoding="utf-8",
                    errors="surrogateescape",
                )
            answer, _ = child.communicate(text, timeout=HELPER_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired):
            return None
        finally:
            if child is not None and child.returncode is None:
                with child:
                    end(child, in_group=True)
        return answer if child.returncode == 0 else None


def _description(url: str, parts: UrlParts, username: str | None) -> list[tuple[str, str]]:
    """Write what git-credential(1) reads: the address in pieces, the path as git's own HTTP transport gives it."""
    from urllib.parse import unquote  # late: only after a 401

    place = url.partition("://")[2].partition("?")[0].partition("#")[0]
    path = unquote(place.partition("/")[2], errors="surrogateescape").strip("/")
    fields = [("protocol", parts.scheme), ("host", f"{parts.host}:{parts.port}" if parts.port else parts.host)]
    fields += [("path", path)] if path else []
    fields += [("username", username)] if username else []
    return fields


def _read_store(path: Path, parts: UrlParts, username: str | None, *, uses_path: bool) -> Iterator[Credential]:
    """Yield the credentials of a ``store`` file for a server; with ``credential.useHttpPath`` the path counts too."""
    from urllib.parse import unquote  # late: only after a 401 without git

    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        stored = normalise(line)
        if stored is None or (stored.scheme, stored.host, stored.port) != (parts.scheme, parts.host, parts.port):
            continue
        userinfo = line.partition("://")[2].partition("/")[0].rpartition("@")[0]
        user, colon, password = userinfo.partition(":")
        if colon and (not uses_path or stored.path == parts.path) and username in {None, unquote(user)}:
            yield Credential(unquote(user), unquote(password))
