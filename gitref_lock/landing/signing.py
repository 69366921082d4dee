"""Sign commits as commit.gpgSign asks: OpenPGP, X.509 and SSH keys, through the programs git uses.

A commit that is replayed gets a new id and so needs a new signature; ``sign_commit`` is called again for each.
Settings: git-config(1), gpg.format, gpg.program, gpg.ssh.program, gpg.ssh.defaultKeyCommand, user.signingKey.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dulwich.objects import Commit

from gitref_lock.landing.checkout import Checkout, text
from gitref_lock.landing.errors import SigningError
from gitref_lock.remotes import children
from gitref_lock.remotes.gitconfig import expand_path

if TYPE_CHECKING:
    from subprocess import CompletedProcess

_PROGRAMS = {"openpgp": "gpg", "x509": "gpgsm", "ssh": "ssh-keygen"}


def wants_signature(checkout: Checkout) -> bool:
    """Tell whether commit.gpgSign is on."""
    return checkout.flag("commit", "gpgSign", default=False)


def sign_commit(checkout: Checkout, commit: Commit) -> None:
    """Sign ``commit`` in place when commit.gpgSign is on, else drop a signature it carries; raise SigningError."""
    commit.gpgsig = None
    if wants_signature(checkout):
        commit.gpgsig = sign(checkout, commit.as_raw_string(), text(commit.committer))


def sign(checkout: Checkout, payload: bytes, committer: str) -> bytes:
    """Return the armoured signature of ``payload``; raise SigningError with the program's words."""
    kind = (checkout.setting("gpg", "format") or "openpgp").lower()
    if kind not in _PROGRAMS:
        raise SigningError("signing-failed", f"gpg.format {kind!r} is unknown", "use openpgp, x509 or ssh")
    program = checkout.setting("gpg", "program", kind)
    if program is None and kind == "openpgp":
        program = checkout.setting("gpg", "program")
    name = expand_path(program, checkout.environ) if program else _PROGRAMS[kind]
    key = checkout.setting("user", "signingKey") or ""
    if kind == "ssh":
        return _sign_ssh(checkout, name, key or _default_ssh_key(checkout), payload)
    done = _run(checkout, [name, "--status-fd=2", "-bsau", key or committer], payload)
    if done.returncode or not done.stdout or b"[GNUPG:] SIG_CREATED " not in done.stderr:
        raise _failure(name, done.stderr)
    return done.stdout.replace(b"\r\n", b"\n")


def _failure(program: str, words: bytes) -> SigningError:
    lines = [line for line in words.decode("utf-8", "replace").splitlines() if not line.startswith("[GNUPG:]")]
    return SigningError(
        "signing-failed",
        f"{program} could not sign the commit: {' / '.join(lines[-3:]) or 'no reason given'}",
        "check user.signingKey, or unset commit.gpgSign for this job",
    )


def _run(checkout: Checkout, command: list[str], payload: bytes) -> CompletedProcess[bytes]:
    try:
        return children.run(command, folder=checkout.work_tree, environ=checkout.environ, stdin=payload)
    except OSError as error:
        raise SigningError("signing-failed", f"{command[0]} cannot be run: {error.strerror}") from error


def _default_ssh_key(checkout: Checkout) -> str:
    command = checkout.setting("gpg", "defaultKeyCommand", "ssh")
    if not command:
        raise SigningError("signing-failed", "gpg.format is ssh, but user.signingKey is not set")
    done = _run(checkout, ["sh", "-c", command], b"")
    first = done.stdout.decode("utf-8", "replace").split("\n", 1)[0].strip()
    if done.returncode or not first:
        raise _failure("gpg.ssh.defaultKeyCommand", done.stderr)
    return first


def _sign_ssh(checkout: Checkout, program: str, key: str, payload: bytes) -> bytes:
    with tempfile.TemporaryDirectory(dir=checkout.private_dir) as folder:
        message = Path(folder) / "payload"
        message.write_bytes(payload)
        literal = key.removeprefix("key::") if key.startswith(("key::", "ssh-")) else None
        command = [program, "-Y", "sign", "-n", "git", "-f"]
        if literal is not None:
            public = Path(folder) / "key.pub"
            public.write_text(literal + "\n", encoding="utf-8")
            command += [str(public), "-U"]  # the private half is in the agent
        else:
            command.append(expand_path(key, checkout.environ))
        done = _run(checkout, [*command, str(message)], b"")
        signature = message.with_name("payload.sig")
        if done.returncode or not signature.exists():
            raise _failure(program, done.stderr)
        return signature.read_bytes().replace(b"\r\n", b"\n")
