"""What is in the files: line ends, encodings, filters, bits, links and names come through a push as git has them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gitref_lock.landing.errors import LandingError
from tests.support.ci import advance, assert_sound, content, land, picture, strategies, write
from tests.support.gitcli import Repo, clone, git_env, git_result
from tests.support.needs import needed
from tests.support.runners import subjects_at, tip_at


def as_git_adds(folder: Repo, path: str, env: dict[str, str] | None = None) -> str:
    """Return the id that `git add` would store for a file, through a copy of the index."""
    git_dir = folder.path / ".git"
    copy = git_dir / "index-for-comparison"
    shutil.copy(git_dir / "index", copy)
    extra = {**(env or {}), "GIT_INDEX_FILE": str(copy)}
    folder.git("add", "-f", "--", path, env=extra)
    oid = folder.git("ls-files", "-s", "--", path, env=extra).split()[1]
    copy.unlink()
    return oid


def assert_followed(bare: Repo, folder: Repo) -> None:
    """Check that the clone stands on the remote's tip, clean and sound."""
    assert folder.git("rev-parse", "HEAD") == tip_at(bare)
    assert folder.git("status", "--porcelain") == ""
    assert_sound(folder)


@pytest.mark.parametrize(
    ("attributes", "written", "stored"),
    [
        ("*.txt text eol=crlf", b"a\r\nb\r\n", b"a\nb\n"),
        ("*.txt text eol=lf", b"a\r\nb\n", b"a\nb\n"),
        ("*.txt text=auto", b"a\r\nb\r\n", b"a\nb\n"),
        ("*.txt text=auto", b"a\r\n\0b\r\n", b"a\r\n\0b\r\n"),
        ("*.txt -text", b"a\r\nb\r\n", b"a\r\nb\r\n"),
        ("*.txt binary", b"a\r\nb\r\n", b"a\r\nb\r\n"),
        ("*.txt -diff", b"a\r\nb\r\n", b"a\r\nb\r\n"),
        ("*.txt text working-tree-encoding=UTF-16LE", "grüße\n".encode("utf-16-le"), "grüße\n".encode()),
        ("*.txt ident", b"$Id: 0123456789012345678901234567890123456789 $\n", b"$Id$\n"),
        ("[attr]mine text eol=crlf\n*.txt mine", b"a\r\nb\r\n", b"a\nb\n"),
    ],
)
def test_attributes_decide_what_is_stored(
    bare: Repo, url: str, tmp_path: Path, attributes: str, written: bytes, stored: bytes
) -> None:
    """What lands is byte for byte what `git add` stores, and the file that was pushed is not rewritten."""
    advance(bare, {".gitattributes": attributes + "\n"}, "attributes")
    folder = clone(url, tmp_path / "c")
    advance(bare, {"docs/guide.md": "theirs\n"}, "theirs")
    write(folder, {"mine.txt": written})
    expected = as_git_adds(folder, "mine.txt")
    land(folder, url)
    assert content(bare, "mine.txt") == stored
    assert bare.git("rev-parse", "main:mine.txt") == expected
    assert (folder.path / "mine.txt").read_bytes() == written
    assert_followed(bare, folder)


@pytest.mark.parametrize(
    ("attributes", "sent", "written"),
    [
        ("*.txt text eol=crlf", b"a\nb\n", b"a\r\nb\r\n"),
        ("*.txt text working-tree-encoding=UTF-16LE", "grüße\n".encode(), "grüße\n".encode("utf-16-le")),
        ("*.txt binary", b"a\nb\r\n", b"a\nb\r\n"),
    ],
)
def test_attributes_decide_what_is_written(
    bare: Repo, url: str, tmp_path: Path, attributes: str, sent: bytes, written: bytes
) -> None:
    """An incoming file is written as a checkout writes it."""
    advance(bare, {".gitattributes": attributes + "\n"}, "attributes")
    folder = clone(url, tmp_path / "c")
    advance(bare, {"theirs.txt": sent}, "theirs")
    write(folder, {"mine.md": "mine\n"})
    land(folder, url)
    assert (folder.path / "theirs.txt").read_bytes() == written
    assert_followed(bare, folder)


@pytest.mark.parametrize("autocrlf", ["true", "input", "false"])
def test_core_autocrlf(bare: Repo, url: str, tmp_path: Path, autocrlf: str) -> None:
    """core.autocrlf stores LF and writes what it says, as `git add` and a checkout do."""
    folder = clone(url, tmp_path / "c", "-c", f"core.autocrlf={autocrlf}")
    advance(bare, {"theirs.txt": b"a\nb\n"}, "theirs")
    write(folder, {"mine.txt": b"a\r\nb\r\n"})
    expected = as_git_adds(folder, "mine.txt")
    land(folder, url)
    assert bare.git("rev-parse", "main:mine.txt") == expected
    assert (folder.path / "theirs.txt").read_bytes() == (b"a\r\nb\r\n" if autocrlf == "true" else b"a\nb\n")
    assert_followed(bare, folder)


def changed_on_both_sides(
    bare: Repo, url: str, tmp_path: Path, path: str, attributes: str, base: bytes, ours: bytes, theirs: bytes
) -> Repo:
    """Return a clone with its own version of a file, of which the remote has another one now."""
    advance(bare, {".gitattributes": attributes + "\n", path: base}, "attributes")
    folder = clone(url, tmp_path / "c")
    advance(bare, {path: theirs}, "theirs")
    write(folder, {path: ours})
    return folder


def test_merge_union_keeps_the_lines_of_both(bare: Repo, url: str, tmp_path: Path) -> None:
    """`merge=union` keeps both sides' lines where they collide, and says so."""
    folder = changed_on_both_sides(
        bare, url, tmp_path, "CHANGES", "CHANGES merge=union", b"top\n", b"top\nmine\n", b"top\ntheirs\n"
    )
    report = land(folder, url)
    assert content(bare, "CHANGES") == b"top\nmine\ntheirs\n"
    assert strategies(report) == ["union"]
    assert_followed(bare, folder)


@pytest.mark.parametrize("attribute", ["merge=binary", "-merge", "binary"])
def test_merge_binary_never_merges_lines(bare: Repo, url: str, tmp_path: Path, attribute: str) -> None:
    """Where lines must not merge one side wins whole: ours in data/, theirs elsewhere; ours is rescued then."""
    base, ours, theirs = b"1\n2\n3\n4\n5\n", b"one\n2\n3\n4\n5\n", b"1\n2\n3\n4\nfive\n"
    folder = changed_on_both_sides(bare, url, tmp_path, "data/x.dat", f"*.dat {attribute}", base, ours, theirs)
    report = land(folder, url)
    assert content(bare, "data/x.dat") == ours
    assert report.to_json()["conflicts"] != []
    assert_followed(bare, folder)


def test_a_merge_driver_of_git_s_configuration_decides(bare: Repo, url: str, tmp_path: Path) -> None:
    """A driver gets base, ours and theirs as files, the path and the marker size; what it leaves in %A lands."""
    folder = changed_on_both_sides(bare, url, tmp_path, "it's.lock", "*.lock merge=mine", b"0\n", b"1\n", b"2\n")
    folder.config("merge.mine.name", "sum of both")
    folder.config("merge.mine.driver", "cat %O %A %B > %A.new && echo %L %P >> %A.new && mv %A.new %A")
    report = land(folder, url)
    assert content(bare, "it's.lock") == b"0\n1\n2\n7 it's.lock\n"
    assert strategies(report) == ["driver"]
    assert_followed(bare, folder)


def test_merge_default_names_the_driver_of_paths_without_one(bare: Repo, url: str, tmp_path: Path) -> None:
    """`merge.default` holds where no attribute says anything, a driver or one of git's own words."""
    folder = changed_on_both_sides(bare, url, tmp_path, "x.lock", "* text=auto", b"0\n", b"1\n", b"2\n")
    folder.config("merge.default", "union")
    report = land(folder, url)
    assert content(bare, "x.lock") == b"1\n2\n"
    assert strategies(report) == ["union"]


@pytest.mark.parametrize("driver", ["exit 1", "echo '<<<<<<< ours' > %A", "kill -9 $$"])
def test_a_merge_driver_that_fails_is_a_conflict(bare: Repo, url: str, tmp_path: Path, driver: str) -> None:
    """A driver that fails or leaves markers ends the push; nothing changed anywhere."""
    from gitref_lock.errors import ConflictError

    folder = changed_on_both_sides(bare, url, tmp_path, "x.lock", "*.lock merge=mine", b"0\n", b"1\n", b"2\n")
    folder.config("merge.mine.driver", driver)
    before, tip = picture(folder), tip_at(bare)
    with pytest.raises(ConflictError):
        land(folder, url)
    assert (picture(folder), tip_at(bare)) == (before, tip)


def test_bits_links_and_odd_names(bare: Repo, url: str, tmp_path: Path) -> None:
    """Executable bits, symlinks and names that are not UTF-8 go both ways."""
    advance(bare, {"run.sh": ("100644", b"#!/bin/sh\n")}, "script")
    folder = clone(url, tmp_path / "c")
    advance(
        bare,
        {
            b"theirs-\xff\xfe.txt": "odd\n",
            "their-link": ("120000", b"docs/guide.md"),
            "tool": ("100755", b"#!/bin/sh\n"),
        },
        "theirs",
    )
    (folder.path / "run.sh").chmod(0o755)
    (folder.path / "my-link").symlink_to("README.md")
    write(folder, {b"mine-\xe9.txt": "odd too\n", 'quo"te \t.txt': "odd\n"})
    land(folder, url)
    listing = git_result("ls-tree", "-r", "-z", "main", cwd=bare.path).stdout.split(b"\0")
    modes = {line.partition(b"\t")[2]: line[:6] for line in listing if line}
    assert modes[b"run.sh"] == modes[b"tool"] == b"100755"
    assert modes[b"my-link"] == modes[b"their-link"] == b"120000"
    assert {b"mine-\xe9.txt", b"theirs-\xff\xfe.txt", b'quo"te \t.txt'} <= modes.keys()
    assert (folder.path / os.fsdecode(b"theirs-\xff\xfe.txt")).exists()
    assert str((folder.path / "their-link").readlink()) == "docs/guide.md"
    assert os.access(folder.path / "tool", os.X_OK)
    assert_followed(bare, folder)


class LfsServer:
    """A Git LFS server that keeps what is uploaded: the batch API with basic transfers."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.objects: dict[str, bytes] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                base = f"http://127.0.0.1:{outer.port}/objects/"
                found = []
                for item in asked["objects"]:
                    known = item["oid"] in outer.objects
                    wanted = known if asked["operation"] == "download" else not known
                    actions = {asked["operation"]: {"href": base + item["oid"]}} if wanted else {}
                    found.append({**item, "authenticated": True, "actions": actions})
                self._answer(200, json.dumps({"transfer": "basic", "objects": found}).encode())

            def do_PUT(self) -> None:
                outer.objects[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(200, b"")

            def do_GET(self) -> None:
                self._answer(200, outer.objects[self.path.rpartition("/")[2]])

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.git-lfs+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def lfs() -> Iterator[LfsServer]:
    """Return a running LFS server."""
    server = LfsServer()
    yield server
    server.close()


@pytest.mark.servers
def test_lfs_content_is_uploaded_and_a_pointer_lands(bare: Repo, url: str, tmp_path: Path, lfs: LfsServer) -> None:
    """With git-lfs set up the clean filter makes the pointer, and the pre-push hook uploads before anything lands."""
    needed("git-lfs", "git-lfs")
    advance(bare, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}, "attributes")
    folder = clone(url, tmp_path / "c")
    env = {**git_env(), "HOME": str(tmp_path)}
    subprocess.run(["git", "lfs", "install", "--local"], cwd=folder.path, env=env, check=True, capture_output=True)
    folder.config("lfs.url", f"http://127.0.0.1:{lfs.port}/")
    folder.config("lfs.locksverify", "false")
    advance(bare, {"docs/guide.md": "theirs\n"}, "theirs")
    data = os.urandom(5000)
    write(folder, {"model.bin": data})
    land(folder, url, env={"HOME": str(tmp_path)})
    pointer = content(bare, "model.bin")
    assert pointer.startswith(b"version https://git-lfs.github.com/spec/v1\n")
    assert list(lfs.objects.values()) == [data]
    assert next(iter(lfs.objects)).encode() in pointer
    assert (folder.path / "model.bin").read_bytes() == data
    assert folder.git("status", "--porcelain", env={"HOME": str(tmp_path)}) == ""


def test_without_git_lfs_a_tracked_file_is_refused(bare: Repo, url: str, tmp_path: Path) -> None:
    """Where git-lfs is not set up, plain git would commit the content itself; here one sentence says what to do."""
    advance(bare, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}, "attributes")
    folder = clone(url, tmp_path / "c")
    write(folder, {"model.bin": b"content"})
    before, tip = picture(folder), tip_at(bare)
    with pytest.raises(LandingError, match="tracked by Git LFS, which is not set up here") as caught:
        land(folder, url)
    assert "git lfs install" in caught.value.hint
    assert (picture(folder), tip_at(bare)) == (before, tip)


def test_crlf_only_changes_make_no_commit(bare: Repo, url: str, tmp_path: Path) -> None:
    """A file whose line ends alone differ, where they are normalised, is no change."""
    advance(bare, {".gitattributes": "* text=auto\n"}, "attributes")
    folder = clone(url, tmp_path / "c")
    write(folder, {"docs/guide.md": b"guide\r\n"})
    report = land(folder, url)
    assert report.landed is None
    assert subjects_at(bare)[0] == "attributes"
