"""Text without credentials: what may be shown, logged or raised.

Everything that comes from a remote, a configuration or a child process passes here before people or logs see it. When
in doubt the text loses more than it must; a shown token cannot be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

# Patterns are compiled on first use, by re itself: most commands show nothing that needs them.

# Every repetition that may begin at many places of a text has an upper bound, far above what occurs: without one a
# server's words of some kilobytes would take seconds.

# User info of an address. The second form is for a secret that was pasted unencoded and holds a slash, a question mark
# or an @; a port follows the host's colon, so digits before a slash are no secret.
_SSH_USER = r"(?i)\b((?:git\+)?ssh(?:\+git)?://[^\s/:@]{1,4096}):\S{0,4096}@"
_USERINFO = (
    r"(?i)\b((?!(?:git\+)?ssh(?:\+git)?://)[a-z][a-z0-9+.-]{0,200}://)"
    r"(?:[^\s/:@]{0,4096}:(?!\d{1,5}(?:/|$))\S{0,4096}@|[^\s/?#]{0,4096}@)"
)
_HEADER = (
    r"(?i)\b((?:proxy-)?authorization|(?:private|job|deploy|x-auth|x-api)-(?:token|key)|(?:set-)?cookie)"
    r"(['\"]?\s*[:=]\s*['\"]?)[^\r\n'\"]+"
)
_SCHEME = r"(?i)\b(basic|bearer|negotiate|token)(\s+)(?=\S*[0-9=+/_.~])[\w.~+/=-]{6,}"
_PARAMETER = (
    r"(?i)(?<![a-z0-9])(access_?token|token|secret|passw(?:or)?d|pwd|api_?key|signature|sig)"
    r"(=|['\"]\s*[:=]\s*['\"]?)(?!\d{1,12}\b)[^\s&;,'\"]+"
)
_KNOWN_SHAPE = (
    r"(?<![A-Za-z0-9])(?:"
    r"gh[opsur]_[A-Za-z0-9_.-]{16,}|github_pat_\w{16,}"
    r"|gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|wt|soat|ffct|sntr)-[\w.-]{16,}"
    r"|AT(?:BB|CTT|ATT)\w{3}[\w=-]{13,}"
    r"|xox[abeprs]-[\w-]{10,}"
    r"|A[KS]IA[0-9A-Z]{16}"
    r"|npm_[A-Za-z0-9]{30,}|bkua_\w{30,}"
    r"|eyJ[\w-]{8,8192}\.[\w-]{8,8192}\.[\w-]*"
    r")"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` without user info in addresses, authorization values, tokens of known shapes, and ``secrets``.

    ``secrets`` of fewer than three characters are left: their removal would only spell them out.
    """
    for secret in sorted({secret for secret in secrets if len(secret) >= 3}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    if "://" in text:
        text = re.sub(_SSH_USER, rf"\1:{MASK}@", text)
        text = re.sub(_USERINFO, rf"\1{MASK}@", text)
    text = re.sub(_HEADER, rf"\1\2{MASK}", text)
    text = re.sub(_SCHEME, rf"\1\2{MASK}", text)
    text = re.sub(_PARAMETER, rf"\1\2{MASK}", text)
    return re.sub(_KNOWN_SHAPE, MASK, text)
