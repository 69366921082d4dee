"""Single JSON documents from the API of a host, with a token that goes to no other place.

Redirects are not followed, and every answer is bounded in size and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gitref_lock.ports import RemoteError, System, Traffic
from gitref_lock.remotes.address import parse_address
from gitref_lock.remotes.gitconfig import GitConfig
from gitref_lock.remotes.http_client import HttpClient
from gitref_lock.remotes.http_settings import Surroundings, http_settings
from gitref_lock.remotes.settings import HttpSettings
from gitref_lock.remotes.streams import Deadline

_MAX_BYTES = 1_000_000


class ApiClient(HttpClient):
    """GET requests below one base URL."""

    def get(self, path: str, timeout_s: float) -> bytes:
        """Return the body of a 200; raise RemoteError for everything else."""
        deadline = Deadline.after(self._system.clock, timeout_s)
        accept = [("Accept", "application/json")]
        try:
            reply = self._with_credentials(
                "GET", self.base_url + path, accept, b"", deadline, repeat=True, max_bytes=_MAX_BYTES
            )
        finally:
            self.close()  # the next question comes in half a minute
        if reply.status != 200:
            raise RemoteError("server-error", f"the API answers {reply.status} {reply.reason[:80]}")
        return reply.body


def api_settings(
    url: str, token_header: tuple[str, str], config: GitConfig, environ: Mapping[str, str], top: Path
) -> HttpSettings:
    """Return how to reach an API: proxy and certificates as git has them for its address, and the token."""
    settings = http_settings(parse_address(url, top, environ), url, Surroundings(config, environ, top))
    return replace(settings, headers=(token_header,), credential=None, next_credential=None)


def open_api(url: str, settings: HttpSettings, system: System) -> ApiClient:
    """Return a client for the API at ``url``; nothing is opened before the first request."""
    return ApiClient(url, settings, system, Traffic())
