"""Local commits on a moved remote: exactly ours, once, as their authors wrote them, signed anew where signing is on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitref_lock.errors import ConflictError
from gitref_lock.landing.commit import CommitWish
from tests.support.ci import advance, assert_sound, content, land, picture, write
from tests.support.gitcli import Repo, clone, git_env, git_result
from tests.support.runners import acquire_at, release, remote_at, subjects_at, tip_at


@pytest.fixture
def folder(url: str, tmp_path: Path) -> Repo:
    """Return a clone."""
    return clone(url, tmp_path / "c")


def commit(folder: Repo, files: dict[str | bytes, bytes | str | None], message: str, **env: str) -> None:
    """Commit files by the git command line."""
    write(folder, files)
    folder.git("add", "-A")
    folder.git("commit", "-q", "--allow-empty", "-F", "-", stdin=message.encode(), env=env)


def test_several_commits_land_in_order_before_the_new_one(bare: Repo, url: str, folder: Repo) -> None:
    """Commits made before the push land with it, each by itself, oldest first."""
    for number in range(3):
        commit(folder, {f"{number}.txt": f"{number}\n"}, f"local {number}")
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"last.txt": "last\n"})
    land(folder, url, message="last")
    assert subjects_at(bare)[:5] == ["last", "local 2", "local 1", "local 0", "theirs"]
    assert [bare.git("show", "--format=", "--name-only", f"main~{back}") for back in range(4)] == [
        "last.txt", "2.txt", "1.txt", "0.txt",
    ]  # fmt: skip
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert_sound(folder)


def test_commits_alone_land_without_a_change_in_the_work_tree(bare: Repo, url: str, folder: Repo) -> None:
    """With nothing to commit, commits that the remote lacks still land."""
    commit(folder, {"mine.txt": "mine\n"}, "local")
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    report = land(folder, url)
    assert (report.snapshot.commit, subjects_at(bare)[:2]) == (None, ["local", "theirs"])
    assert_sound(folder)


def test_what_the_remote_has_already_is_dropped(bare: Repo, url: str, folder: Repo) -> None:
    """A commit that somebody else applied meanwhile is not landed again, and is reported as dropped."""
    commit(folder, {"docs/guide.md": "same\n"}, "applied upstream")
    commit(folder, {"mine.txt": "mine\n"}, "only ours")
    advance(bare, {"docs/guide.md": "same\n", "theirs.txt": "theirs\n"}, "the same change")
    report = land(folder, url)
    assert subjects_at(bare)[:2] == ["only ours", "the same change"]
    assert report.landed is not None
    assert len(report.landed.dropped) == 1
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)


def test_a_change_that_the_remote_has_entirely_is_success(bare: Repo, url: str, folder: Repo) -> None:
    """When all of ours is there already nothing is landed, and the clone moves to the tip."""
    advance(bare, {"docs/guide.md": "same\n"}, "the same change")
    write(folder, {"docs/guide.md": "same\n"})
    report = land(folder, url)
    assert report.landed is not None
    assert report.landed.how.value == "already"
    assert subjects_at(bare)[0] == "the same change"
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert folder.git("status", "--porcelain") == ""


def test_an_empty_commit_made_on_purpose_stays(bare: Repo, url: str, folder: Repo) -> None:
    """--allow-empty on a moved tip lands: it was empty from the start."""
    commit(folder, {}, "trigger")
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    land(folder, url)
    assert subjects_at(bare)[:2] == ["trigger", "theirs"]


def test_author_dates_encoding_and_message_are_kept(bare: Repo, url: str, folder: Repo) -> None:
    """Every byte that the author gave survives a replay, in another encoding and time zone too."""
    folder.config("i18n.commitEncoding", "ISO-8859-1")
    write(folder, {"mine.txt": "mine\n"})
    folder.git("add", "-A")
    name = "Jörg".encode("latin-1").decode("utf-8", "surrogateescape")
    env = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_DATE": "1500000000 -0730"}
    text = "Größe\n\n  Absatz \n".encode("latin-1")
    folder.git("commit", "-q", "--cleanup=verbatim", "-F", "-", stdin=text, env=env)
    before = git_result("cat-file", "commit", "HEAD", cwd=folder.path).stdout
    folder.git("config", "--unset", "i18n.commitEncoding")
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    land(folder, url)
    after = git_result("cat-file", "commit", "main", cwd=bare.path).stdout

    def lasting(raw: bytes) -> list[bytes]:
        head, _, message = raw.partition(b"\n\n")
        kept = [line for line in head.split(b"\n") if not line.startswith((b"tree", b"parent", b"committer"))]
        return [*kept, message]

    assert lasting(after) == lasting(before)
    assert b"encoding ISO-8859-1" in after
    assert b" -0730" in after


def merged_locally(bare: Repo, folder: Repo) -> None:
    """Let the clone merge a side branch of its own, and the remote move."""
    folder.git("checkout", "-q", "-b", "side")
    commit(folder, {"side.txt": "side\n"}, "side")
    folder.git("checkout", "-q", "main")
    commit(folder, {"own.txt": "own\n"}, "own")
    folder.git("merge", "-q", "--no-ff", "-m", "merge side", "side")


def test_a_local_merge_lands_as_it_is_while_the_tip_stands_still(bare: Repo, url: str, folder: Repo) -> None:
    """Without a moved tip the merge is pushed unchanged."""
    merged_locally(bare, folder)
    head = folder.git("rev-parse", "HEAD")
    land(folder, url)
    assert tip_at(bare) == head


def test_a_local_merge_on_a_moved_tip_is_refused(bare: Repo, url: str, folder: Repo) -> None:
    """Replaying a merge on one parent would undo upstream work: refused, nothing changes."""
    merged_locally(bare, folder)
    tip = advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    before = picture(folder)
    with pytest.raises(ConflictError) as caught:
        land(folder, url)
    assert (caught.value.code, "--squash" in caught.value.hint) == ("merge-on-moved-tip", True)
    assert (picture(folder), tip_at(bare)) == (before, tip)


def test_squash_lands_a_local_merge_as_one_commit(bare: Repo, url: str, folder: Repo) -> None:
    """--squash lands what the merge changed, as one commit on the moved tip."""
    merged_locally(bare, folder)
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    land(folder, url, squash=True, wish=CommitWish(("all of it",)))
    assert subjects_at(bare)[:2] == ["all of it", "theirs"]
    assert bare.git("show", "--format=", "--name-only", "main").splitlines() == ["own.txt", "side.txt"]
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert_sound(folder)


def test_a_merge_with_upstream_is_measured_against_the_newest_merged_commit(bare: Repo, url: str, folder: Repo) -> None:
    """After `git pull` merged upstream work locally, --squash lands ours alone."""
    commit(folder, {"own.txt": "own\n"}, "own")
    advance(bare, {"upstream.txt": "upstream\n"}, "upstream")
    folder.git("pull", "-q", "--no-rebase", "--no-edit")
    advance(bare, {"upstream.txt": "upstream, changed again\n"}, "theirs")
    land(folder, url, squash=True, wish=CommitWish(("ours",)))
    assert bare.git("show", "--format=", "--name-only", "main") == "own.txt"
    assert content(bare, "upstream.txt") == b"upstream, changed again\n"


def test_an_edit_follows_a_rename(bare: Repo, url: str, folder: Repo) -> None:
    """A file that the remote renamed gets our edit under its new name."""
    text = content(bare, "src/app.py")
    advance(bare, {"src/app.py": None, "src/main.py": text}, "renamed")
    write(folder, {"src/app.py": text.replace(b"line 5\n", b"line five\n")})
    land(folder, url)
    assert b"line five\n" in content(bare, "src/main.py")
    assert "src/app.py" not in bare.git("ls-tree", "-r", "--name-only", "main")
    assert not (folder.path / "src/app.py").exists()
    assert folder.git("status", "--porcelain") == ""


# signatures


@pytest.fixture
def ssh_signing(folder: Repo, tmp_path: Path) -> dict[str, str]:
    """Let the clone sign with a fresh SSH key, which is trusted; return the environment."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"committer@example.invalid {key.with_suffix('.pub').read_text()}")
    folder.config("gpg.format", "ssh")
    folder.config("user.signingKey", str(key))
    folder.config("gpg.ssh.allowedSignersFile", str(allowed))
    folder.config("commit.gpgSign", "true")
    return {}


@pytest.fixture
def openpgp_signing(folder: Repo) -> Iterator[dict[str, str]]:
    """Let the clone sign with a throw-away OpenPGP key; return the environment that holds it."""
    import tempfile

    # the agent's socket needs a short path
    with tempfile.TemporaryDirectory(prefix="gpg-", ignore_cleanup_errors=True) as home:
        env = {**git_env(), "GNUPGHOME": home, "HOME": home}
        who = "Test Committer <committer@example.invalid>"
        words = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", who, "ed25519", "sign", "1d"]
        subprocess.run(words, env=env, check=True, capture_output=True)
        folder.config("commit.gpgSign", "true")
        folder.config("user.signingKey", "committer@example.invalid")
        yield {"GNUPGHOME": home, "HOME": home}
        subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False, capture_output=True)


@pytest.mark.parametrize("kind", ["ssh_signing", "openpgp_signing"])
def test_a_replayed_commit_is_signed_anew(
    bare: Repo, url: str, folder: Repo, kind: str, request: pytest.FixtureRequest
) -> None:
    """On a moved tip every replayed commit carries a new signature that git verifies."""
    env = request.getfixturevalue(kind)
    commit(folder, {"local.txt": "local\n"}, "signed by git", **env)
    first = folder.git("rev-parse", "HEAD")
    advance(bare, {"theirs.txt": "theirs\n"}, "theirs")
    write(folder, {"mine.txt": "mine\n"})
    land(folder, url, env=env)
    assert subjects_at(bare)[:3] == ["mine", "signed by git", "theirs"]
    for name in ("HEAD", "HEAD~1"):
        assert folder.git("log", "-1", "--format=%G?", name, env=env) in {"G", "U"}
        folder.git("verify-commit", name, env=env)
    assert folder.git("rev-parse", "HEAD~1") != first
    assert_sound(folder)


def test_a_signed_change_is_not_landed_by_others(
    bare: Repo, url: str, folder: Repo, tmp_path: Path, ssh_signing: dict[str, str]
) -> None:
    """Nobody else can sign for us: a queued change of a signing clone is landed by its own runner, signed."""
    from threading import Thread

    lease = acquire_at(remote_at(url))
    write(folder, {"mine.txt": "mine\n"})
    reports = []

    class Releasing:
        """Frees the lock as soon as the push waits in the queue."""

        def __init__(self) -> None:
            self.done = False

        def __call__(self) -> None:
            while not self.done and not bare.refs("refs/lock-queue/"):
                pass
            ticket = next(iter(bare.refs("refs/lock-queue/").values()))
            reports.append(bare.git("show", f"{ticket}:ticket.json"))
            release(lease)

    releasing = Releasing()
    thread = Thread(target=releasing)
    thread.start()
    try:
        report = land(folder, url)
    finally:
        releasing.done = True
        thread.join()
    assert report.landed is not None
    assert report.landed.how.value == "queued"
    assert '"combinable": false' in reports[0] or '"combinable":false' in reports[0], reports[0]
    assert folder.git("log", "-1", "--format=%G?") == "G"


def test_a_missing_key_ends_the_push_before_anything_is_sent(
    bare: Repo, url: str, folder: Repo, tmp_path: Path
) -> None:
    """A signature that cannot be made is an error in the signer's words; nothing changes."""
    from gitref_lock.landing.errors import SigningError

    folder.config("gpg.format", "ssh")
    folder.config("user.signingKey", str(tmp_path / "no-such-key"))
    folder.config("commit.gpgSign", "true")
    write(folder, {"mine.txt": "mine\n"})
    before, refs = picture(folder), bare.refs()
    with pytest.raises(SigningError, match="ssh-keygen could not sign"):
        land(folder, url)
    assert (picture(folder), bare.refs()) == (before, refs)
