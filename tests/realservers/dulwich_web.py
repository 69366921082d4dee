"""Serve a folder with dulwich's own web server, one thread a request: ``dulwich_web.py FOLDER PORT``."""

from __future__ import annotations

import socketserver
import sys
from wsgiref.simple_server import WSGIServer, make_server

from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain


class ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    """A web server that answers several clients at once."""

    daemon_threads = True


class Folder(DictBackend):
    """Opens a repository of the folder anew for each request."""

    def __init__(self, root: str) -> None:
        super().__init__({})
        self.root = root

    def open_repository(self, path: str | bytes) -> Repo:
        """Return the repository at a URL's path."""
        return Repo(self.root + (path.decode() if isinstance(path, bytes) else path))


if __name__ == "__main__":
    folder, port = sys.argv[1:3]
    make_server("127.0.0.1", int(port), make_wsgi_chain(Folder(folder)), ThreadingServer).serve_forever()
