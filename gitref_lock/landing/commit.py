"""Build the commit that a push lands: message, identities, encoding, signature."""

from __future__ import annotations

from collections.abc import Sequence

from dulwich.objects import Commit, ObjectID

from gitref_lock.core.lean import dataclass
from gitref_lock.core.names import Oid
from gitref_lock.landing import message as messages
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.errors import HookError, LandingError
from gitref_lock.landing.identity import Signature, signature
from gitref_lock.landing.signing import sign_commit


@dataclass(frozen=True, slots=True)
class CommitWish:
    """What the user asked for. ``messages`` are paragraphs; ``author`` is ``Name <email>`` or None."""

    messages: Sequence[str]
    author: str | None = None
    is_signed_off: bool = False
    trailers: Sequence[str] = ()
    allows_empty_message: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """Message and identities, settled before any hook runs, so that a missing identity is told early."""

    message: str
    author: Signature
    committer: Signature


def draft(checkout: Checkout, wish: CommitWish, now_s: int) -> Draft:
    """Return message and identities for a commit made at Unix second ``now_s``.

    Raises IdentityError, or LandingError (``empty-message``, ``bad-trailer``).
    """
    author = signature(checkout, "author", now_s, wish.author)
    committer = signature(checkout, "committer", now_s)
    body = cleaned(checkout, messages.join(wish.messages))
    trailers = list(wish.trailers)
    if wish.is_signed_off or checkout.flag("format", "signOff", default=False):
        trailers.append(f"Signed-off-by: {committer.name} <{committer.email}>")
    if body or trailers:
        body = messages.add_trailers(body, trailers)
    if not wish.allows_empty_message and messages.says_nothing(body, _cleanup(checkout)):
        raise LandingError("empty-message", "the commit message is empty", "give one with -m or -F")
    return Draft(body, author, committer)


def after_hooks(checkout: Checkout, wish: CommitWish, message: str) -> str:
    """Return the message that the hooks have left, cleaned up once more; raise HookError when nothing is left."""
    message = cleaned(checkout, message)
    if not wish.allows_empty_message and messages.says_nothing(message, _cleanup(checkout)):
        raise HookError(
            "hook-failed",
            "prepare-commit-msg or commit-msg has left an empty commit message",
            "nothing was pushed; correct the hook",
        )
    return message


def cleaned(checkout: Checkout, message: str) -> str:
    """Return ``message`` cleaned up as commit.cleanup says."""
    return messages.clean(message, _cleanup(checkout))


def _cleanup(checkout: Checkout) -> str:
    mode = (checkout.setting("commit", "cleanup") or "default").lower()
    return "whitespace" if mode == "default" else mode


def build_commit(checkout: Checkout, tree: Oid, parents: Sequence[Oid], what: Draft) -> Commit:
    """Store and return the commit, signed when commit.gpgSign asks for it; raise SigningError."""
    commit = Commit()
    commit.tree = ObjectID(tree.encode())
    commit.parents = [ObjectID(parent.encode()) for parent in parents]
    commit.author, commit.author_time, commit.author_timezone = _header(what.author)
    commit.committer, commit.commit_time, commit.commit_timezone = _header(what.committer)
    encoding = checkout.setting("i18n", "commitEncoding") or "utf-8"
    if encoding.lower() in {"utf-8", "utf8"}:
        commit.message = what.message.encode("utf-8", "surrogateescape")
    else:
        try:
            commit.message = what.message.encode(encoding)
            commit.author = f"{what.author.name} <{what.author.email}>".encode(encoding)
            commit.committer = f"{what.committer.name} <{what.committer.email}>".encode(encoding)
        except (LookupError, UnicodeEncodeError) as error:
            raise LandingError("bad-encoding", f"i18n.commitEncoding {encoding!r} cannot hold the message") from error
        commit.encoding = encoding.encode()
    sign_commit(checkout, commit)
    checkout.add_object(commit)
    return commit


def _header(who: Signature) -> tuple[bytes, int, int]:
    return who.person, who.at_s, who.offset_s
