"""Servers that speak git themselves: git daemon, JGit's daemon, and dulwich's web server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.realservers.packages import program
from tests.realservers.serving import Service, accepts, free_port, git_version, open_folder, running, version_of


@contextmanager
def git_daemon() -> Iterator[Service]:
    """Start git daemon with pushes allowed."""
    with open_folder() as folder:
        root, port = folder / "served", free_port()
        root.mkdir()
        words = ["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", "--export-all"]
        words += ["--enable=receive-pack", "--informative-errors", f"--base-path={root}", str(root)]
        with running(words, accepts(port), folder / "log"):
            yield Service(
                name="git-daemon",
                version=f"git daemon {git_version()}",
                agent="git/",
                where=lambda name: root / name,
                address=lambda name: f"git://127.0.0.1:{port}/{name}",
            )


@contextmanager
def jgit() -> Iterator[Service]:
    """Start the daemon of JGit's command line; protocol version 0 only."""
    with open_folder() as folder:
        root, port = folder / "served", free_port()
        root.mkdir()
        library = Path(program("org.eclipse.jgit.jar")).parent
        jars = ":".join(str(path) for path in sorted(library.glob("*.jar")))
        words = [program("java"), "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", jars, "org.eclipse.jgit.pgm.Main"]
        words += ["daemon", "--listen", "127.0.0.1", "--port", str(port), "--enable", "receive-pack"]
        words += ["--export-all", str(root)]
        with running(words, accepts(port), folder / "log"):
            product = version_of(["ls", str(library)], r"org\.eclipse\.jgit-(\d+\.\d+\.\d+)")
            yield Service(
                name="jgit",
                version=f"JGit {product}",
                agent="JGit/",
                where=lambda name: root / name,
                address=lambda name: f"git://127.0.0.1:{port}/{name}",
                racers=6,
                speaks_v2=False,
            )


@contextmanager
def dulwich() -> Iterator[Service]:
    """Start dulwich's web server, one thread a request; its reports are not to be believed."""
    import dulwich as product

    with open_folder() as folder:
        root, port = folder / "served", free_port()
        root.mkdir()
        script = Path(__file__).with_name("dulwich_web.py")
        words: list[str | Path] = [sys.executable, script, root, str(port)]
        with running(words, accepts(port), folder / "log"):
            yield Service(
                name="dulwich",
                version=f"dulwich {'.'.join(map(str, product.__version__))}",
                agent="",
                where=lambda name: root / name,
                address=lambda name: f"http://127.0.0.1:{port}/{name}",
                speaks_v2=False,
            )
