"""What kind of place the remote is: its protocol, its clock, how far its word is trusted, what its host asks for."""

from __future__ import annotations

import re

from gitref_lock.core.clocks import ServerClock
from gitref_lock.insight.findings import Examination, Severity
from gitref_lock.runtime.remote import Remote

SKEW_WARNING_S = 10.0
_HOSTS = (
    (
        r"(^|[./@])github\.com([:/]|$)",
        "github",
        "GitHub asks for at most 6 pushes a minute and 15 reads a second per repository: choose long leases",
    ),
    (
        r"(^|[./@])(dev\.azure\.com|visualstudio\.com)([:/]|$)",
        "azure-devops",
        "Azure DevOps is reported to have no atomic pushes",
    ),
    (r"codecommit", "codecommit", "AWS CodeCommit is reported to have no atomic pushes"),
    (
        r"(^|[./@])gitlab\.[^/:]+([:/]|$)",
        "gitlab",
        "GitLab with transactions is reported to call failed atomic pushes ok; every ok is read back",
    ),
)
"""Public material about hosts; docs/reference/servers.md says what of it is measured and what only reported."""


def check_protocol(remote: Remote, version: int | None, found: Examination) -> None:
    """Without version 2 every listing downloads every ref of the repository."""
    found.measured["protocol_version"] = version
    if version == 2:
        found.add("protocol", Severity.OK, "listings are filtered by the server (protocol version 2)")
        return
    over_ssh = remote.store.display_url.startswith("ssh://") or "://" not in remote.store.display_url
    remedy = "ssh servers need 'AcceptEnv GIT_PROTOCOL'; web servers must pass the Git-Protocol header on"
    found.add(
        "protocol-v0",
        Severity.WARNING,
        "the server does not speak protocol version 2: each poll downloads all refs of the repository",
        remedy if over_ssh or remote.store.is_server_clocked else "use a server that speaks version 2",
    )


def check_trust(remote: Remote, agent: str, found: Examination) -> None:
    """Tell whether an ok of this server is believed or read back."""
    found.measured["agent"] = agent
    if not agent:
        text = "the server does not say what it is, so each of its oks is read back"
        found.add("no-agent", Severity.NOTE, text)
    elif not remote.store.is_server_clocked:
        found.add("agent", Severity.NOTE, f"{agent}; over this transport each ok is read back")
    else:
        found.add("agent", Severity.NOTE, agent)


def skew_s(clock: ServerClock, monotonic_s: float, wall_s: float) -> tuple[float, float] | None:
    """Return the least and the most that this machine's clock can be ahead of the server's; None without a reading."""
    if not clock.is_known:
        return None
    return wall_s - clock.latest(monotonic_s), wall_s - clock.earliest(monotonic_s)


def check_clock(remote: Remote, found: Examination) -> None:
    """Compare this machine's clock with the server's, where that is known."""
    now = remote.clock_reading()
    between = skew_s(remote.clock, now.monotonic_s, now.wall_s)
    if between is None:
        found.measured["server_time"] = False
        text = "the server does not tell its time: a lease of a dead runner ends once it was watched for its whole ttl"
        found.add("no-server-time", Severity.NOTE, text)
        return
    low, high = between
    found.measured["server_time"] = True
    found.measured["clock_ahead_s"] = [round(low, 3), round(high, 3)]
    if low > SKEW_WARNING_S or high < -SKEW_WARNING_S:
        ahead = "ahead of" if low > 0 else "behind"
        text = f"this machine's clock is {min(abs(low), abs(high)):.0f} s or more {ahead} the server's"
        remedy = "set the clock (NTP); locks do not compare the two, but logs, certificates and local times are off"
        found.add("clock-skew", Severity.WARNING, text, remedy)
    else:
        found.add("clock", Severity.OK, "this machine's clock agrees with the server's")


def check_host(url: str, agent: str, found: Examination) -> None:
    """Note what is publicly known about the host."""
    for pattern, name, advice in _HOSTS:
        if re.search(pattern, url, re.IGNORECASE) or (name == "github" and agent.startswith("github/")):
            found.measured["host"] = name
            found.add("host-advice", Severity.NOTE, advice)
            return
